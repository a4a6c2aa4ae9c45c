"""Settings by their score on validation examples: what a table's config is tuned by."""

import math
import pathlib

import numpy as np

from experiments.report import runs
from experiments.runs.selection import best_epoch


def validation_score(run: runs.FinishedRun, epoch: str) -> float | None:
    """The score on validation examples in the best or in the last epoch, as people write it."""
    key = f"validation_{run.score.key}"
    values = [np.nan if row.get(key) is None else row[key] for row in runs.metrics(run)]
    if np.isnan(values).all():
        return None
    at = -1 if epoch == "last" else best_epoch(values, run.score)
    return run.score.scale * values[at]


def choose(args) -> None:
    """Settings of each method by their score on validation examples, the best first."""
    found = runs.finished_runs(pathlib.Path(args.workdir))
    if len({run.column for run in found}) > 1:
        raise ValueError("--workdir: expected runs of one condition: a choice is made at one")
    score = found[0].score
    groups: dict[str, dict[str, list[float]]] = {}  # by method and setting
    for run in found:
        if (one := validation_score(run, args.epoch)) is None:
            raise ValueError(
                f"--workdir: {run.path} has no validation {score.target}s to choose by"
            )
        setting = run.settings or run.row.partition(", ")[2] or "as configured"
        method = run.results["config"]["loss"]["method"]
        groups.setdefault(method, {}).setdefault(setting, []).append(one)
    for row in {run.row for run in found}:
        runs.check_alike([run for run in found if run.row == row], row)
    print(f"| method | setting | validation {score.name} |\n|---|---|---|")
    sign = 1 if score.larger_is_better else -1
    for method, settings in groups.items():
        ordered = sorted(settings.items(), key=lambda item: -sign * float(np.mean(item[1])))
        for place, (setting, values) in enumerate(ordered):
            text = runs.mean_and_spread(values, 2)
            chosen = f"**{text}**" if place == 0 else text
            print(f"| {method} | {setting} | {chosen} |")
    said = runs.capital(runs.with_unit(score))
    said += f" on {runs.validation_kind(found[0])} validation {score.target}s"
    said += " in the last epoch" if args.epoch == "last" else " at its best epoch"
    said += ", the best in bold"
    count = found[0].results["config"].get("data", {}).get("validation", 0)
    # What is no mean over examples, such as recall, has no score of the training examples.
    is_share = score.unit == "%" and f"train_{score.key}" in runs.metrics(found[0])[0]
    if is_share and count:
        means = [float(np.mean(values)) for of in groups.values() for values in of.values()]
        share = max(means, key=lambda mean: sign * mean) / 100
        error = 100 * math.sqrt(share * (1 - share) / count)
        said += f"; {count} {score.target}s tell it to a standard error of {error:.1f}"
    print(f"\n{said}; {runs.caption(found)}")


def add_command(commands) -> None:
    command = commands.add_parser("choose", help=choose.__doc__)
    command.add_argument("--workdir", required=True, help="directory that holds the runs")
    which = "whose score counts (default: best): last where training is to go on to its end"
    command.add_argument("--epoch", choices=("best", "last"), default="best", help=which)
    command.set_defaults(call=choose)
