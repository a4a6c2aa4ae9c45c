"""Where training would stop: without validation examples, or by them.

Label Wave looks at the predictions of training examples alone: see `runs/selection.py`.
"""

import pathlib

import numpy as np

from experiments.report import runs
from experiments.report.runs import FinishedRun

BY = ("condition", "method")
STOPS = ("best_validation", "label_wave", "last")


def stops(args) -> None:
    """How far Label Wave's stop is from the best epoch on validation examples, at what cost."""
    found = [run for run in runs.finished_runs(pathlib.Path(args.workdir)) if is_comparable(run)]
    if not found:
        said = "has both an epoch of least changed predictions and validation scores"
        raise ValueError(f"--workdir: no run in {args.workdir} {said}")
    columns = sorted({run.column for run in found})
    groups: dict[str, list[FinishedRun]] = {}
    for run in sorted(found, key=lambda run: (run.column, run.row)):
        name = runs.heading(run.column, columns) or "all"
        groups.setdefault(run.row if args.by == "method" else name, []).append(run)
    groups |= {"all": found}
    names = [runs.selection_in_full(found[0], stop) for stop in STOPS]
    heads = [args.by, "runs", "epochs later", *names, "difference"]
    print(f"| {' | '.join(heads)} |\n{'|---' * len(heads)}|")
    for name, group in groups.items():
        print(f"| {' | '.join([name, str(len(group)), *compared(group)])} |")
    score = found[0].score
    said = f"Mean test {runs.with_unit(score)}. Epochs later: from the best epoch on validation"
    said += f" {score.target}s to that of least changed predictions; median, and the middle half"
    said += " of the runs. Difference: between their test scores, the second less the first; mean,"
    print(f"\n{said} and the middle 90 % of the runs. {runs.number(len(found))}.")


def is_comparable(run: FinishedRun) -> bool:
    return {"label_wave_epoch", "best_epoch"} <= {*run.results.get(f"test_{run.score.key}", {})}


def compared(group: list[FinishedRun]) -> list[str]:
    """The cells of a line: epochs between the stops, scores at each, and their difference."""
    digits = group[0].score.digits
    chosen = [run.results[f"test_{run.score.key}"] for run in group]
    later = [one["label_wave_epoch"] - one["best_epoch"] for one in chosen]
    low, middle, high = np.quantile(later, (0.25, 0.5, 0.75))
    scores = {stop: np.array([runs.score_at(run, stop) for run in group]) for stop in STOPS}
    difference = scores["label_wave"] - scores["best_validation"]
    least, most = np.quantile(difference, (0.05, 0.95))
    return [
        f"{round(middle):+} [{round(low):+}, {round(high):+}]",
        *(f"{values.mean():.{digits}f}" for values in scores.values()),
        f"{difference.mean():+.{digits}f} [{least:+.{digits}f}, {most:+.{digits}f}]",
    ]


def add_command(commands) -> None:
    command = commands.add_parser("stops", help=stops.__doc__)
    command.add_argument("--workdir", required=True, help="directory that holds the runs")
    command.add_argument(
        "--by", choices=BY, default=BY[0], help="what a line is (default: %(default)s)"
    )
    command.set_defaults(call=stops)
