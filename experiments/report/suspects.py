"""The training examples whose targets a run trusts least."""

import csv
import pathlib
import shlex

import jax
import ml_collections
import numpy as np

from experiments import checks
from experiments.report.drawing import plt
from experiments.runs import contents, files, packed, samples, stored
from experiments.runs.selection import best_validation
from experiments.tasks import score_of, task_of

EPOCHS = {"best": files.BEST, "last": files.SAMPLES}
NEEDED = "expected a run that records a target and a prediction of each example"
MEASURED = "docs/methods.md#which-score-and-which-epoch"


def suspects(args) -> None:
    """The training examples whose targets a run trusts least: a list, and a picture."""
    path = checks.path("--workdir", args.workdir)
    refuse_several(path, args)
    config = config_of(path)
    epochs = [name for name, file in EPOCHS.items() if (path / file).exists()]
    epoch = args.epoch or epochs[0]
    checks.choose("--epoch, of what the run has kept,", epoch, dict.fromkeys(epochs))
    rows = rows_of(path, EPOCHS[epoch])
    scores = [*samples.suspicion(rows)]
    score = args.score or (scores[-1] if scores else "")
    first = samples.order(rows, args.score)[: args.number]
    dataset = task_of(config).load(config, args.data_dir)
    target, names = score_of(config).target, getattr(dataset, "class_names", ())
    print(f"ranked by {score} in the {described(path, config, epoch)}, of {', '.join(scores)}")
    write_list(path / "suspects.csv", rows, first, target, names, getattr(dataset, "files", ()))
    # Of the whole training set, whatever the run left out: found by the published position.
    place = {int(index): i for i, index in enumerate(dataset.train.index)}
    images = [shown_image(dataset.train, place[int(rows["index"][i])], rows, i) for i in first[:40]]
    if images and np.ndim(images[0]) == 3:  # rows of numbers are no picture
        picture(images, titles_of(rows, first[:40], names), path / "suspects.png")
    print(counts(rows, first, target))
    for line in memorised(rows, first, epoch, epochs, score, scores):
        print(line)
    print(f"which methods and scores find most: {MEASURED}")
    if "object" not in rows and first.size:
        rate = len(first) / len(rows["index"])
        print(f"to train without the most suspect: {without(path, rate)}")


def config_of(path: pathlib.Path):
    """Returns the config of a finished run.

    Raises:
      ValueError: if there is no such run, or its data have changed since.
    """
    try:
        config = ml_collections.ConfigDict(stored.config_of(path))
        (path / files.SAMPLES).stat()
    except (OSError, ValueError) as error:
        raise ValueError(f"--workdir: expected a finished run: {error}") from None
    if "data" not in config:
        raise ValueError(f"--workdir: {path}: {NEEDED}")
    recorded = config.data.get("sha256")
    contents.note(config)
    if config.data.get("sha256") != recorded:
        raise ValueError(f"config.data.path: {config.data.path} has changed since the run")
    return config


def rows_of(path: pathlib.Path, name: str) -> samples.Samples:
    try:
        rows = samples.with_target(samples.read_samples(path, name))
    except (OSError, ValueError) as error:
        raise ValueError(f"--workdir: expected a finished run: {error}") from None
    if not {"target", "predicted"} <= rows.keys():
        raise ValueError(f"--workdir: {path}: {NEEDED}")
    return rows


def described(path: pathlib.Path, config, epoch: str) -> str:
    """The epoch in words: which, and of how many."""
    metrics = files.whole_rows(path / files.METRICS) if (path / files.METRICS).exists() else []
    number = best_validation(metrics, score_of(config)) if metrics else None
    if epoch == "last" or number is None:
        return f"{epoch} epoch of {config.epochs}"
    return f"best epoch on validation {score_of(config).target}s, {number} of {config.epochs}"


def write_list(path: pathlib.Path, rows, first, target: str, names, paths) -> None:
    numbers = [name for name in ("weight", "loss", "mean_loss") if name in rows]
    known = (rows["wrong"] >= 0).any()
    own = ["index", "object"] if "object" in rows else ["index"]
    head = [*own, f"given_{target}", f"predicted_{target}", *numbers]
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(head + ["wrong"] * bool(known) + ["path"] * bool(paths))
        for i in first:
            line = [*(rows[name][i] for name in own)]
            line += [shown(rows[name][i], names) for name in ("target", "predicted")]
            line += [f"{rows[name][i]:.6g}" for name in numbers]
            line += [{1: "1", 0: "0"}.get(int(rows["wrong"][i]), "")] * bool(known)
            line += [paths[rows["index"][i]]] if paths else []
            writer.writerow(line)
    print(path)


def titles_of(rows, first, names) -> list[tuple[str, str]]:
    """The title of each picture, and its colour: red if the target is known to be wrong."""
    titles = []
    for i in first:
        given, predicted = (shown(rows[name][i], names) for name in ("target", "predicted"))
        colour = "red" if rows["wrong"][i] == 1 else "black"
        titles.append((f"{rows['index'][i]}: {given}\n{predicted}?", colour))
    return titles


def counts(rows, first, target: str) -> str:
    """How many are wrong, of those listed and of all."""
    wrong = samples.known_wrong(rows)
    if wrong is None:
        return f"{len(first)} of {len(rows['wrong'])} {target}s; which are wrong is not known"
    here, everywhere = wrong[first], wrong
    part = f"of these {len(here)}, {here.mean():.1%} are wrong ({here.sum()})"
    return f"{part}; of all {len(everywhere)}, {everywhere.mean():.1%} ({everywhere.sum()})"


def memorised(rows, first, epoch: str, epochs, score: str, scores) -> list[str]:
    """Says in one line if most are predicted as given, and what to do; else nothing.

    Of numbers and of boxes, a prediction does not say so.
    """
    if "object" in rows or rows["target"].dtype.kind not in "iu":
        return []
    same = int(np.sum(rows["target"][first] == rows["predicted"][first]))
    if 2 * same <= len(first):
        return []
    advice = ["--score=mean_loss"] if "mean_loss" in scores and score != "mean_loss" else []
    if epoch == "last":
        advice += ["--epoch=best"] if "best" in epochs else ["a run with fewer epochs"]
    advice.append("python -m experiments.clean, whose models have not seen what they judge")
    said = f"{same} of these {len(first)} are predicted as given: the model has memorised them"
    return [f"warning: {said}; try {', or '.join(advice)}"]


def without(path: pathlib.Path, rate: float) -> str:
    """The command that trains again without as many; it ranks as the last epoch does."""
    given = [f"--config.data.exclude={path}", f"--config.data.exclude_rate={rate:.2g}"]
    words = ["python", "-m", "experiments.main", "--config=CONFIG", *given, "--workdir=NEW"]
    return shlex.join(words)


def refuse_several(path: pathlib.Path, args) -> None:
    """Lists the command for each run below a directory that is not a run's own, and raises."""
    if not path.is_dir() or (path / files.SAMPLES).exists():
        return
    below = sorted(found.parent for found in path.glob(f"**/{files.SAMPLES}"))
    given = [f"--data_dir={args.data_dir}"] if args.data_dir else []
    for run in below:
        command = ["python", "-m", "experiments.report", "suspects", f"--workdir={run}", *given]
        print(shlex.join(command))
    if packed.is_packed(path) and not below:
        said = "expected a run with its samples.npz, got a packed sweep without"
        raise ValueError(f"--workdir: {said}: {path}")
    if below:
        raise ValueError(
            f"--workdir: expected a run, got {path}, which holds {len(below)}: see above"
        )


def shown_image(train, place: int, rows, i: int):
    """Returns the image of an example, or what is in the box of an object."""
    image = jax.tree.leaves(train.inputs)[0][place]  # of several inputs, the first is what is shown
    if "object" not in rows:
        return image
    left, top, right, bottom = train.targets.box[place, rows["object"][i]].round().astype(int)
    return image[top : max(bottom, top + 1), left : max(right, left + 1)]


def shown(value, names) -> str:
    """A target as people write it: the name of what was counted, or a number."""
    return names[value] if names else f"{value:g}"


def picture(images, titles, path: pathlib.Path) -> None:
    columns = 10
    rows = -(-len(images) // columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(1.25 * columns, 1.6 * rows), squeeze=False, layout="constrained"
    )
    for axis in axes.flat:
        axis.axis("off")
    for axis, image, (title, colour) in zip(axes.flat, images, titles, strict=False):
        axis.imshow(np.squeeze(image), cmap="gray")
        axis.set_title(title, fontsize=7, color=colour)
    figure.savefig(path, dpi=120)
    plt.close(figure)
    print(path)


def add_command(commands) -> None:
    command = commands.add_parser("suspects", help=suspects.__doc__)
    command.add_argument("--workdir", required=True, help="directory of a finished run")
    command.add_argument("--data_dir", help="directory with data sets")
    command.add_argument(
        "--number", type=checks.natural, default=100, help="how many (default 100)"
    )
    command.add_argument("--score", help="what ranks them (default: mean_loss, if recorded)")
    command.add_argument("--epoch", help="best or last (default: best, if there is validation)")
    command.set_defaults(call=suspects)
