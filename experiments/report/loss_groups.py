"""Losses of easy, hard and wrong examples over epochs, as in the SuperLoss article's figure 4."""

import csv
import pathlib

import numpy as np

from experiments.checks import within
from experiments.report.runs import FinishedRun
from experiments.runs import files, samples, stored

GROUPS = ("easy", "hard", "wrong")
QUANTILES = (0.10, 0.25, 0.50, 0.75, 0.90)
COLUMNS = ("run", "split", "epoch", "group", *(f"q{100 * q:.0f}" for q in QUANTILES), "count")

# Of each group a row an epoch: the quantiles, and the number of examples they are of.
Summary = dict[str, np.ndarray]


def members(rows: dict[str, np.ndarray], losses: np.ndarray) -> dict[str, np.ndarray]:
    """Easy and hard examples: the clean ones in the lowest and the highest quarter of losses."""
    wrong = samples.known_wrong(rows)
    if wrong is None:
        raise ValueError("it is not known which targets are wrong, or none is")
    right = rows["wrong"] == 0
    if not np.isfinite(losses[right]).any():
        raise ValueError("no loss of a clean example was recorded")
    low, high = np.nanquantile(losses[right], (0.25, 0.75))
    return {"easy": right & (losses <= low), "hard": right & (losses >= high), "wrong": wrong}


def summarise(rows: dict[str, np.ndarray], losses: np.ndarray, split: int) -> Summary:
    """Summarises losses of shape (epochs, examples); epoch `split` decides which are easy."""
    within("--split", split, 1, len(losses))
    summary = {}
    for group, of in members(rows, losses[split - 1]).items():
        lines = []
        for epoch in losses[:, of]:
            seen = epoch[np.isfinite(epoch)]
            quantiles = np.quantile(seen, QUANTILES) if len(seen) else [np.nan] * len(QUANTILES)
            lines.append([*quantiles, len(seen)])
        summary[group] = np.array(lines)
    return summary


def are_kept(run: FinishedRun) -> bool:
    return (run.path / samples.LOSSES).is_dir() or bool(stored.losses_of(run.stored))


def summary_of(run: FinishedRun, split: int) -> Summary:
    """Summarises every example's losses; where they were deleted, reads losses.csv instead."""
    if (run.path / samples.LOSSES).is_dir():
        losses = samples.read_losses(run.path, run.results["config"]["epochs"])
        try:
            rows = samples.read_samples(run.path)
        except OSError as error:
            raise ValueError(f"{run.path}: expected {files.SAMPLES}: {error}") from None
        return summarise(rows, losses, split)
    path, names = run.path / files.LOSSES, COLUMNS[4:]
    head, *rest = stored.losses_of(run.stored) or [[]]
    if (*head,) != COLUMNS or len({one[0] for one in rest}) != 1:
        raise ValueError(f"{path}: expected the columns {','.join(COLUMNS)}, of one run")
    lines = [dict(zip(COLUMNS, one, strict=True)) for one in rest]
    made = {line["split"] for line in lines}
    if made != {str(split)}:
        raise ValueError(f"{path} was made with --split={','.join(sorted(made))}, not {split}")
    summary: dict[str, list[list[float]]] = {group: [] for group in GROUPS}
    for line in lines:
        summary[line["group"]].append([float(line[name]) for name in names])
    return {group: np.array(values) for group, values in summary.items()}


def write(path: pathlib.Path, split: int, summaries: dict[str, Summary]) -> None:
    """Writes summaries by run, with six digits, as many as a float32 loss has."""
    with open(path, "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for name, summary in summaries.items():
            for group, lines in summary.items():
                for epoch, (*quantiles, count) in enumerate(lines, 1):
                    numbers = (f"{value:.6g}" for value in quantiles)
                    writer.writerow([name, split, epoch, group, *numbers, int(count)])
