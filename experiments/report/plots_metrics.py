"""Figures of what runs report: test scores against noise, and metrics over epochs."""

import pathlib
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from experiments.pictures import Figure
from experiments.report import drawing, runs, statistics
from experiments.report.runs import Condition, FinishedRun
from experiments.report.statistics import Cell
from experiments.tasks.scores import Score

PANELS = 3  # beside each other
MOST = 4  # panels a side


def band(groups: Iterable[list[FinishedRun]]) -> str:
    """The sentence of a note that says what lines and bands are."""
    alone = all(len(group) == 1 for group in groups)
    return "One run each." if alone else "Mean over seeds; band: lowest to highest seed."


def foremost(found: list[FinishedRun]) -> str:
    """The selection that all configs declare first.

    The last epoch if they differ or name none, or if not all have the epochs the oracle needs.
    """
    first = {(*runs.declared(run), "last")[0] for run in found}
    name = first.pop() if len(first) == 1 else "last"
    return "last" if name == "best_test" and metrics_by_run(found)[1] else name


def metrics_by_run(found: Iterable[FinishedRun]) -> tuple[dict[pathlib.Path, list[dict]], str]:
    """Metrics by a run's path, and a note's sentence about runs whose metrics cannot be read."""
    metrics, reasons = {}, []
    for run in found:
        try:
            metrics[run.path] = runs.metrics(run)
        except ValueError as error:
            reasons.append(str(error))
    text = f"Without {runs.number(len(reasons))}: {'; '.join(reasons)}." if reasons else ""
    return metrics, text


def wrong_rate(found: list[FinishedRun], column: Condition) -> float:
    """The share of wrong targets, averaged over runs; where it is unknown, the rate asked for.

    What people gave is wrong though the config asks for no noise.
    """
    rates = [run.results["noise"]["realised_rate"] for run in found if run.column == column]
    known = [rate for rate in rates if rate is not None]
    return float(np.mean(known)) if known else column.rate


def mixed(groups: Iterable[list[FinishedRun]]) -> str:
    """The sentence of a note about groups whose runs differ in more than their seeds."""
    inside = sorted({text for group in groups for text in runs.differences(group)})
    if not inside:
        return ""
    return (f"MIXED: averages runs that differ in {'; '.join(inside)}; those of the same seeds "
            "count once.")  # fmt: skip


def score_over_noise(found, order, split) -> Figure:
    selection, score = foremost(found), found[0].score
    every = lines_over_noise([run for run in found if run.row in order], selection)
    styles, others = drawing.styled(order, {row for of in every.values() for row in of})
    lines = {kind: {row: of[row] for row in styles if row in of} for kind, of in every.items()}
    lines = {kind: of for kind, of in lines.items() if len({*rates_of(of)}) > 1}
    if not lines:
        rates = {
            f"{run.column.rate:g}"
            for run in found
            if run.row in order and np.isfinite(runs.score_at(run, selection))
        }
        got = ", ".join(sorted(rates)) or "none"
        raise ValueError(f"expected a test {score.name} at several rates of noise, got {got}")
    wide = min(len(lines), PANELS)
    unit = f" ({score.unit})" if score.unit else ""
    figure, grid = drawing.grid(-(-len(lines) // wide), wide, 4.2 + (wide > 1), 3.4, 1.2)
    for axes, (kind, of_rows) in zip(grid.flat, lines.items(), strict=False):
        for row, of in of_rows.items():
            cells = sorted(of.items())
            seeds = np.full((max(cell.n for _, cell in cells), len(cells)), np.nan)
            for i, (_, cell) in enumerate(cells):
                seeds[: cell.n, i] = [*cell.values.values()]
            drawing.curve(axes, [100 * rate for rate, _ in cells], seeds, styles[row], row)
        axes.set(xlabel=f"noise rate (%), {kind.noise}", ylabel=f"test {score.name}{unit}",
                 title=setting(kind))  # fmt: skip
        drawing.name_ends(axes)
    for axes in list(grid.flat)[len(lines) :]:
        axes.remove()
    groups = [cell.runs for of in lines.values() for at in of.values() for cell in at.values()]
    names = sorted({runs.selection_in_full(run, selection) for group in groups for run in group})
    drawn = [run for group in groups for run in group]
    drawing.note(figure, f"Test {score.name}, {' or '.join(names)}.", band(groups), mixed(groups),
                 runs.settings(drawn), drawing.left_out(others))  # fmt: skip
    return figure


Lines = dict[str, dict[float, Cell]]  # by row and rate


def rates_of(of_rows: Lines) -> Iterable[float]:
    return (rate for cells in of_rows.values() for rate in cells)


def lines_over_noise(found, selection: str) -> dict[Condition, Lines]:
    """The cells that have a score, by kind of noise.

    Without noise its kind makes no difference: such runs belong to every kind.
    """
    cells = {
        (row, column): cell
        for (row, column), of in runs.by_cell(found).items()
        if column.noise != "given" and (cell := statistics.make_cell(of, selection)).n
    }
    lines: dict[Condition, Lines] = {}
    for kind in sorted({column._replace(rate=-1.0) for _, column in cells if column.rate}):
        for (row, column), cell in cells.items():
            noise = column.noise if column.rate else kind.noise
            if column._replace(rate=-1.0, noise=noise) == kind:
                lines.setdefault(kind, {}).setdefault(row, {})[column.rate] = cell
    return lines


def setting(kind: Condition) -> str:
    """Names a panel: data, model, imbalance if there is any, and further conditions."""
    parts = [kind.data, kind.variant, kind.model]
    parts += [f"imbalance {kind.imbalance:g}"] if kind.imbalance != 1 else []
    parts += runs.further(kind, kind.more)
    return ", ".join(filter(None, parts))


def history(metrics: list[list[dict]], key: str) -> np.ndarray:
    """A metric of runs as an array of shape (runs, epochs); NaN where a run has no such number."""
    values = np.full((len(metrics), max(map(len, metrics))), np.nan)
    for i, rows in enumerate(metrics):
        values[i, : len(rows)] = [np.nan if row.get(key) is None else row[key] for row in rows]
    return values


def over_seeds(of: list[FinishedRun], values: np.ndarray) -> np.ndarray:
    """Averages runs of the same seeds, as the table does; returns shape (seeds, epochs)."""
    seeds = [run.seeds for run in of]
    groups = [values[[one == each for each in seeds]] for one in sorted({*seeds})]
    counts = [np.isfinite(group).sum(0) for group in groups]
    return np.array([
        np.where(count, np.nansum(group, 0) / np.maximum(count, 1), np.nan)
        for group, count in zip(groups, counts, strict=True)
    ])  # fmt: skip


class Histories(NamedTuple):
    """Metrics over epochs: arrays of shape (seeds, epochs) by row, condition and metric."""

    values: dict[tuple[str, Condition, str], np.ndarray]
    groups: dict[tuple[str, Condition], list[FinishedRun]]
    unread: str  # what a note says of the runs without metrics


def histories(found, order, keys: Iterable[str], scale: float) -> Histories:
    metrics, unread = metrics_by_run(run for run in found if run.row in order)
    groups = runs.by_cell(run for run in found if run.path in metrics)
    values = {}
    for (row, column), of in groups.items():
        for key in keys:
            one = scale * over_seeds(of, history([metrics[run.path] for run in of], key))
            if np.isfinite(one).any():
                values[row, column, key] = one
    return Histories(values, groups, unread)


def over_epochs(
    found, order, panels: dict[str, str], scale: float, unit: str, needs: str
) -> Figure:
    """Draws metrics over epochs: a column for each metric, a line for each condition."""
    values, groups, unread = histories(found, order, panels, scale)
    styles, others = drawing.styled(order, {row for row, _, key in values if key == needs})
    columns = {column for row, column, key in values if key == needs and row in styles}
    if not columns:
        raise ValueError(f"{missing(needs, others)}. {unread}".rstrip(". "))
    keys = [key for key in panels
            if any(at == key and row in styles for row, _, at in values)]  # fmt: skip
    rates = {column: wrong_rate(found, column) for column in columns}
    noisiest = sorted(columns, key=lambda column: (-rates[column], column))
    shown = sorted(noisiest[:MOST], key=lambda column: (column[:4], rates[column], column))
    every = sorted({run.column for run in found})
    headings = {column: runs.heading(column, every) for column in noisiest}
    places = [(column, key) for column in shown for key in keys]
    figure = draw_panels(places, values, styles, panels, headings, unit)
    drawn = [(row, *place) for place in places for row in styles if (row, *place) in values]
    cells = {(row, column): groups[row, column] for row, column, _ in drawn}
    hidden = [headings[column] for column in noisiest[MOST:]]
    number = f"{len(hidden)} condition{'s' * (len(hidden) != 1)}"
    drawing.note(
        figure, band(cells.values()), f"{number} not shown: {'; '.join(hidden)}." if hidden else "",
        drawing.thinning(np.isfinite(values[at]).any(0).sum() for at in drawn),
        mixed(cells.values()), runs.settings(run for group in cells.values() for run in group),
        unread, drawing.left_out(others),
    )  # fmt: skip
    return figure


def missing(needs: str, others: list[str]) -> str:
    if others:
        return f"only rows without a style have {needs} (--rows): {'; '.join(others)}"
    return f"no run has {needs} in its metrics.jsonl"


def draw_panels(places, values, styles, panels, headings, unit: str) -> Figure:
    """Draws a panel for each condition and metric; the metrics of a condition share a line."""
    keys = {key for _, key in places}
    beside = len(keys) == 1
    wide = len(places) if beside else len(keys)
    high = len(places) // wide
    named = last_places(places, wide, styles, values)
    width = 1.5 * len({i % wide for i, names in enumerate(named) if names})
    figure, grid = drawing.grid(high, wide, names=width, sharex=True, sharey="row")
    for i, (axes, (column, key)) in enumerate(zip(grid.flat, places, strict=True)):
        for row in styles:
            if (row, column, key) in values:
                one = values[row, column, key]
                drawing.curve(axes, np.arange(1, one.shape[1] + 1), one, styles[row], row)
        axes.locator_params(nbins=5)
        if i < wide:
            axes.set_title(f"{panels[key]}, {headings[column]}" if beside else panels[key])
        if i % wide == 0:
            axes.set_ylabel(unit if beside else f"{headings[column]}\n{unit}")
        if i // wide == high - 1:
            axes.set_xlabel("epoch")
    for axes, names in zip(grid.flat, named, strict=True):
        drawing.name_ends(axes, names)
    return figure


def last_places(places, wide: int, rows, having) -> list[set[str]]:
    """Returns the rows to name in each panel: rows that no later panel in the same line has."""
    named: list[set[str]] = [set() for _ in places]
    for first in range(0, len(places), wide):
        for row in rows:
            at = [i for i in range(first, first + wide) if (row, *places[i]) in having]
            if at:
                named[at[-1]].add(row)
    return named


def axis_name(score: Score) -> str:
    return f"{score.unit} of examples" if score.unit == "%" else score.unit or score.name


def score_over_epochs(found, order, split) -> Figure:
    score = found[0].score
    kinds = " and ".join(sorted({runs.validation_kind(run) for run in found}))
    panels = {
        f"validation_{score.key}": f"validation {score.name} ({kinds} {score.target}s)",
        f"test_{score.key}": f"test {score.name}",
    }
    return over_epochs(
        found, order, panels, score.scale, axis_name(score), f"test_{score.key}"
    )  # fmt: skip


def memorisation(found, order, split) -> Figure:
    """What is predicted of wrong examples: the given target, the right one, another."""
    score = found[0].score
    wrong = f"wrong {score.target}s"
    panels = {
        f"{score.key}_clean": f"right {score.target}s: fitted",
        "wrong_correct": f"{wrong}: true class predicted",
        "wrong_other": f"{wrong}: another class",
        f"{score.key}_wrong": f"{wrong}: memorised",
    }
    return over_epochs(
        found, order, panels, score.scale, axis_name(score), f"{score.key}_wrong"
    )  # fmt: skip


def tau(found, order, split) -> Figure:
    """SuperLoss's threshold over epochs."""
    return over_epochs(found, order, {"tau": "tau"}, 1, "loss", "tau")
