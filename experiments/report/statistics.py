"""Means over seeds, and how far they differ: paired by seed, an interval, an exact test."""

import itertools
import math
from typing import NamedTuple

import numpy as np
from scipy import special

from experiments.report import runs
from experiments.report.runs import Condition, FinishedRun
from experiments.tasks.scores import Score

LEVEL = 0.05


class Cell(NamedTuple):
    """Test scores, as people write them, of runs that differ in their seeds alone."""

    runs: list[FinishedRun]
    values: dict[tuple[int, ...], float]  # by a run's seeds

    @property
    def n(self) -> int:
        return len(self.values)

    @property
    def mean(self) -> float:
        return float(np.mean([*self.values.values()])) if self.values else math.nan

    @property
    def deviation(self) -> float:
        """The sample's standard deviation; NaN for fewer than two values."""
        return float(np.std([*self.values.values()], ddof=1)) if self.n > 1 else math.nan


class Paired(NamedTuple):
    """The difference of two cells over the seeds that both have."""

    n: int
    mean: float
    low: float  # of the 95 % t interval; NaN for one seed
    high: float
    p: float  # of the sign-flip test


def make_cell(group: list[FinishedRun], selection: str) -> Cell:
    """Makes a cell; runs of the same seeds are averaged first, so that n counts seeds."""
    values: dict[tuple[int, ...], list[float]] = {}
    for run in group:
        value = runs.score_at(run, selection)
        if not math.isnan(value):
            values.setdefault(run.seeds, []).append(value)
    return Cell(group, {seeds: float(np.mean(some)) for seeds, some in sorted(values.items())})


def paired(cell: Cell, best: Cell) -> Paired | None:
    """Compares two cells by seed; returns None where they have no seed in common."""
    common = sorted({*cell.values} & {*best.values})
    if not common:
        return None
    differences = np.array([cell.values[seeds] - best.values[seeds] for seeds in common])
    mean, low, high = float(differences.mean()), math.nan, math.nan
    if len(common) > 1:
        error = differences.std(ddof=1) / math.sqrt(len(common))
        width = error * special.stdtrit(len(common) - 1, 1 - LEVEL / 2)  # Student's t
        low, high = float(mean - width), float(mean + width)
    return Paired(len(common), mean, low, high, sign_flip(differences))


def sign_flip(differences: np.ndarray) -> float:
    """The exact two-sided p of a mean of 0, over all 2^n signs of the differences.

    A sum over all is one over the first half and one over the second: 2^(n/2) of each, sorted.
    """
    half = len(differences) // 2
    first, second = np.zeros(1), np.zeros(1)
    for value in differences[:half]:
        first = np.concatenate([first - value, first + value])
    for value in differences[half:]:
        second = np.concatenate([second - value, second + value])
    # Sums that are equal up to rounding are ties, which count as extreme.
    least = abs(differences.sum()) - 1e-9 * np.abs(differences).sum()
    if least <= 0:
        return 1.0
    below = np.searchsorted(np.sort(second), least - first)
    return float(2 * (len(second) - below).sum() / 2 ** len(differences))


def least_p(n: int) -> float:
    """The smallest p that a sign-flip test of n differences can give."""
    return min(1.0, 2.0 ** (1 - n))


def holm(p: list[float]) -> list[float]:
    """p adjusted for their number: Sture Holm, 1979."""
    adjusted, largest = [1.0] * len(p), 0.0
    for rank, i in enumerate(np.argsort(p)):
        largest = max(largest, min(1.0, (len(p) - rank) * p[i]))
        adjusted[i] = largest
    return adjusted


class Table(NamedTuple):
    """Cells and paired comparisons, by selection, row and column."""

    score: Score
    selections: tuple[str, ...]
    rows: list[str]  # the best first
    columns: list[Condition]
    cells: dict[tuple[str, str, Condition], Cell]
    best: dict[tuple[str, Condition], str]  # rows
    pairs: dict[tuple[str, str, Condition], Paired]
    adjusted: dict[tuple[str, str, Condition], float]  # p by Holm, of the first selection
    baseline: str | None = None  # the row to compare with; None: each best


def make_table(
    found: list[FinishedRun], selections: tuple[str, ...], baseline: str | None = None
) -> Table:
    rows, columns = sorted({run.row for run in found}), sorted({run.column for run in found})
    groups = runs.by_cell(found)
    cells = {
        (selection, row, column): make_cell(groups.get((row, column), []), selection)
        for selection, row, column in itertools.product(selections, rows, columns)
    }
    score = found[0].score
    sign = 1 if score.larger_is_better else -1
    rows = ordered(cells, sign, selections[0], rows, columns)
    best = {}
    for selection, column in itertools.product(selections, columns):
        cells_of = {row: cells[selection, row, column] for row in rows}
        means = {row: sign * cell.mean for row, cell in cells_of.items() if cell.n}
        if means:
            best[selection, column] = max(means, key=means.__getitem__)
    pairs = {}
    for (selection, row, column), cell in cells.items():
        first = baseline or best.get((selection, column), row)
        difference = paired(cell, cells[selection, first, column])
        if row != first and difference:
            pairs[selection, row, column] = difference
    tested = [key for key in pairs if key[0] == selections[0]]
    adjusted = dict(zip(tested, holm([pairs[key].p for key in tested]), strict=True))
    return Table(score, selections, rows, columns, cells, best, pairs, adjusted, baseline)


def ordered(
    cells, sign: int, selection: str, rows: list[str], columns: list[Condition]
) -> list[str]:
    """Sorts rows by their mean rank over columns, then by name; a high sign * mean is best."""
    ranks: dict[str, list[int]] = {row: [] for row in rows}
    for column in columns:
        means = {row: sign * cells[selection, row, column].mean for row in rows}
        for row, mean in means.items():
            if not math.isnan(mean):
                ranks[row].append(1 + sum(other > mean for other in means.values()))
    return sorted(rows, key=lambda row: sum(ranks[row]) / len(ranks[row]) if ranks[row] else 1e9)


def is_testable(made: Table, n: int) -> bool:
    """Whether n pairs can reach the level after Holm's correction."""
    return least_p(n) <= LEVEL / len(made.adjusted)
