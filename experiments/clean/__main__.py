"""Finds wrong labels: a model for each fold scores the examples that it has not seen.

python -m experiments.clean --config=configs/own.py --config.data.path=DIR --workdir=DIR [--folds=5]

It leaves suspects.csv, a page to look through, labels_cleaned.csv, pred_probs.npy with labels.npy
in the form that cleanlab reads, and an estimate of the noise matrix.
"""

import pathlib
import shlex

from absl import app, flags, logging
from ml_collections import config_flags

from experiments import checks, streams
from experiments.flags import CONFIG, DATA_DIR, parser, refuse, stop
from experiments.runs import files, identity
from experiments.sweep.local import local, stopped_by_signals
from experiments.sweep.points import Point
from experiments.sweep.pool import places, pool_of, state
from experiments.sweep.watch import reason

WORKDIR = flags.DEFINE_string("workdir", None, "Directory for all that is written.", required=True)
FOLDS = flags.DEFINE_integer("folds", 5, "How many parts; each is scored by the model of the rest.")
WORKERS = flags.DEFINE_integer("workers", 0, "Runs at a time; 0: one a GPU, or else one a core.")
SHOWN = flags.DEFINE_integer("shown", 500, "How many suspects the page shows.")
parse = parser(__doc__, WORKDIR, FOLDS, WORKERS, SHOWN)


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        refuse(ValueError(f"unexpected argument {argv[1]!r}: values are given as --name=value"))
    logging.set_verbosity(logging.WARNING)  # JAX reports each backend it does not find
    try:
        clean(checks.path("--workdir", WORKDIR.value))
    except (ValueError, TypeError) as error:
        refuse(error)
    except OSError as error:
        refuse(error, 1)
    streams.check_output()


def clean(root: pathlib.Path) -> None:
    # Imported late, so that typos are told at once.
    from experiments.clean import folds, page, scores, written
    from experiments.data import corrections
    from experiments.data.asked import check_labels

    checks.within("--folds", FOLDS.value, 2, 100)
    checks.within("--shown", SHOWN.value, 1, 100_000)
    given = dict(config_flags.get_override_values(flags.FLAGS["config"]))
    file = config_flags.get_config_filename(flags.FLAGS["config"])
    identity.check_complete(CONFIG.value.to_dict())
    check_labels(CONFIG.value, given)
    gpus, number = places(WORKERS.value)
    points = folds.points(FOLDS.value, file, CONFIG.value, given, root, DATA_DIR.value)
    dataset = folds.whole(CONFIG.value, DATA_DIR.value)
    earlier = corrections.by_index(dataset, CONFIG.value.data.get("corrections"))
    files.make_workdir(root)
    train(points, gpus, number)
    out = folds.collected(points, dataset)
    one = scores.found(out)
    given.pop("data.corrections", None)  # what is written holds them
    retrain = ["python", "-m", "experiments.main", f"--config={file}"]
    retrain += [f"--config.{key}={value}" for key, value in given.items()]
    retrain += [f"--data_dir={DATA_DIR.value}"] * bool(DATA_DIR.value)
    retrain += [f"--workdir={root / 'retrained'}", f"--config.data.corrections={root}/"]
    command = shlex.join(retrain)
    by_hand = f"{command}corrections.csv"
    text = page.page(dataset, out, one, SHOWN.value, by_hand, earlier)
    summary = written.write(root, dataset, out, one, text)
    print(told(summary))
    print(f"look through   {root / written.PAGE}")
    print(f"or train on    {command}{written.LABELS}")


def train(points: list[Point], gpus: list[str], number: int) -> None:
    """Trains the folds that have no result yet, as a sweep does.

    Raises:
      ValueError: if one of them fails.
    """
    states = {i: state(point) for i, point in enumerate(points)}
    with pool_of(gpus) as pool, stopped_by_signals(pool):
        local(points, states, pool, number)
    if pool.stopped.is_set():
        stop("interrupted: saved; run the same command again to continue", 130)
    failed = [points[i] for i, found in states.items() if found != "done"]
    if failed:
        raise ValueError(f"{failed[0].path}: {reason(failed[0])}")


def told(summary: dict) -> str:
    """The summary as text; where the truth is known, with how well each score finds it."""
    share = summary["seem_wrong"] / summary["examples"]
    lines = [f"about {summary['seem_wrong']:,} of {summary['examples']:,} labels seem wrong,"
             f" {share:.1%}; {summary['suspected']:,} are suspects"]  # fmt: skip
    if "wrong" in summary:
        lines[0] += f"; in truth {summary['wrong']:,} are wrong"
        lines.append(
            f"of the suspects {summary['precision']:.1%} are wrong, which is"
            f" {summary['recall']:.1%} of all wrong ones"
        )
        columns = [*next(iter(summary["scores"].values()))]
        wide = max(map(len, summary["scores"]))
        lines.append(f"{'score':{wide}s}" + "".join(f"{name:>21s}" for name in columns))
        for name, row in summary["scores"].items():
            lines.append(f"{name:{wide}s}" + "".join(f"{row[column]:21.4f}" for column in columns))
    return "\n".join(lines)


if __name__ == "__main__":
    app.run(main, flags_parser=parse)
