"""Figures of what runs report: test scores against noise, and metrics over epochs."""

import itertools
import pathlib
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np

from experiments.pictures import Figure
from experiments.report import drawing, rows, runs
from experiments.report.runs import Condition, FinishedRun
from experiments.runs.selection import SELECTIONS
from experiments.tasks.scores import Score

MOST = 4  # panels a side


def band(groups: Iterable[list[FinishedRun]]) -> str:
    """The sentence of a note that says what lines and bands are."""
    alone = all(len(group) == 1 for group in groups)
    if alone:
        return "Each line is one run."
    return "Lines are means over seeds, and bands reach from the lowest to the highest seed."


def foremost(found: list[FinishedRun]) -> str:
    """The selection that all configs declare first.

    The last epoch if they differ or name none, or if not all have the epochs the oracle needs.
    """
    first = {(*runs.declared(run), "last")[0] for run in found}
    name = first.pop() if len(first) == 1 else "last"
    return "last" if name == "best_test" and metrics_by_run(found)[1] else name


def declared(found: list[FinishedRun]) -> tuple[str, ...]:
    """The foremost selection, and every further one that runs declare and have a score of."""
    names = {name for run in found for name in runs.declared(run)}
    if metrics_by_run(found)[1]:
        names -= {"best_test"}  # which not all have the epochs for
    first = foremost(found)
    further = [name for name in SELECTIONS if name in names - {first}]
    has = [any(np.isfinite(runs.score_at(run, name)) for run in found) for name in further]
    return first, *itertools.compress(further, has)


def metrics_by_run(found: Iterable[FinishedRun]) -> tuple[dict[pathlib.Path, list[dict]], str]:
    """Metrics by a run's path, and a note's sentence about runs whose metrics cannot be read."""
    metrics, reasons = {}, []
    for run in found:
        try:
            metrics[run.path] = runs.metrics(run)
        except ValueError as error:
            reasons.append(str(error))
    left_out = f"{runs.number(len(reasons))} {'are' if len(reasons) > 1 else 'is'} left out"
    return metrics, f"{left_out}: {'; '.join(reasons)}." if reasons else ""


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
    return (f"MIXED: the means are of runs that differ in {'; '.join(inside)}; those of the same "
            "seeds count once.")  # fmt: skip


def setting(kind: Condition) -> str:
    """Names a panel: data, model, imbalance if there is any, and further conditions."""
    parts = [kind.data, kind.variant, kind.model]
    parts += [f"imbalance {kind.imbalance:g}"] if kind.imbalance != 1 else []
    parts += runs.further(kind, kind.more)
    return runs.joined(*parts)


def history(metrics: list[list[dict]], key: str) -> np.ndarray:
    """A metric of runs as an array of shape (runs, epochs); NaN where a run has no such number."""
    values = np.full((len(metrics), max(map(len, metrics), default=0)), np.nan)
    for i, epochs in enumerate(metrics):
        values[i, : len(epochs)] = [np.nan if row.get(key) is None else row[key] for row in epochs]
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


def histories(found, order, scales: Mapping[str, float]) -> Histories:
    """Reads the metrics that `scales` names, each multiplied by its number."""
    metrics, unread = metrics_by_run(run for run in found if run.row in order)
    groups = runs.by_cell(run for run in found if run.path in metrics)
    values = {}
    for (row, column), of in groups.items():
        for key, scale in scales.items():
            one = scale * over_seeds(of, history([metrics[run.path] for run in of], key))
            if np.isfinite(one).any():
                values[row, column, key] = one
    return Histories(values, groups, unread)


def over_epochs(
    found, order, panels: dict[str, str], scale: float, needs: str, **unscaled: str
) -> Figure:
    """Draws metrics over epochs: a column for each metric, a line for each condition."""
    scales = dict.fromkeys(panels, scale) | dict.fromkeys(unscaled, 1.0)
    values, groups, unread = histories(found, order, scales)
    panels |= unscaled
    styles, others = drawing.styled(order, {row for row, _, key in values if key == needs})
    columns = {column for row, column, key in values if key == needs and row in styles}
    if not columns:
        raise ValueError(f"{missing(needs, others)}. {unread}".rstrip(". "))
    keys = [key for key in panels
            if any(at == key and row in styles for row, _, at in values)]  # fmt: skip
    shown, headings, hidden = conditions(found, columns)
    places = [(column, key) for column in shown for key in keys]
    # What has another scale shares its axis with the panels below, not with those beside it.
    share = "col" if unscaled else "row"
    figure = draw_panels(places, values, styles, panels, headings, share)
    drawn = [(row, *place) for place in places for row in styles if (row, *place) in values]
    cells = {(row, column): groups[row, column] for row, column, _ in drawn}
    drawing.note(
        figure, band(cells.values()), hidden,
        drawing.thinning(np.isfinite(values[at]).any(0).sum() for at in drawn),
        mixed(cells.values()), rows.settings(run for group in cells.values() for run in group),
        unread, drawing.left_out(others),
    )  # fmt: skip
    return figure


def conditions(found, columns) -> tuple[list[Condition], dict[Condition, str], str]:
    """Chooses the noisiest conditions; returns them, all headings, and a note of the others."""
    rates = {column: wrong_rate(found, column) for column in columns}
    noisiest = sorted(columns, key=lambda column: (-rates[column], column))
    shown = sorted(noisiest[:MOST], key=lambda column: (column[:4], rates[column], column))
    headings = titles(noisiest, sorted({run.column for run in found}))
    hidden = [headings[column] for column in noisiest[MOST:]]
    number = f"{len(hidden)} condition{'s are' if len(hidden) > 1 else ' is'}"
    return shown, headings, f"{number} not shown: {'; '.join(hidden)}." if hidden else ""


def titles(shown: list[Condition], every: list[Condition]) -> dict[Condition, str]:
    """Heads panels by how their conditions differ, or by the condition if there is only one."""
    if len(every) > 1:
        return {column: runs.heading(column, every) for column in shown}
    return {column: runs.joined(setting(column), runs.heading(column, every)) for column in shown}


def missing(needs: str, others: list[str]) -> str:
    if others:
        return f"only rows without a style have {needs} (--rows): {'; '.join(others)}"
    return f"no run has {needs} in its metrics.jsonl"


def draw_panels(places, values, styles, panels, headings, share: str) -> Figure:
    """Draws a panel for each condition and metric; the metrics of a condition share a line."""
    keys = {key for _, key in places}
    beside = len(keys) == 1
    wide = len(places) if beside else len(keys)
    high = len(places) // wide
    lines = [[row for row in styles if (row, *place) in values] for place in places]
    named = drawing.named_once(lines, wide)
    width = 1.5 * len({i % wide for i, names in enumerate(named) if names})
    figure, grid = drawing.grid(high, wide, 3.1, names=width, sharex=True, sharey=share)
    figure.get_layout_engine().set(w_pad=0.08)  # from an axis's name to the panel before it
    for i, (axes, (column, key)) in enumerate(zip(grid.flat, places, strict=True)):
        for row in lines[i]:
            one = values[row, column, key]
            drawing.curve(axes, np.arange(1, one.shape[1] + 1), one, styles[row], row)
        axes.locator_params(axis="y", nbins=5)
        drawing.over_epochs(axes)
        if i % wide == 0 or beside:
            axes.set_title(headings[column], loc="left")
        if i % wide == 0 or not beside:
            axes.set_ylabel(drawing.axis_name(panels[key]))
    for axes in grid[:-1].flat:
        axes.set_xlabel("")
    for axes, names in zip(grid.flat, named, strict=True):
        drawing.name_ends(axes, names)
    return figure


def score_axis(text: str, score: Score) -> str:
    """Names the axis of a score, and says so where a small one is good."""
    better = "" if score.larger_is_better else "lower is better"
    return drawing.axis_name(text, runs.joined(score.unit, better))


def score_over_epochs(found, order, split) -> Figure:
    score = found[0].score
    kinds = " and ".join(sorted({runs.validation_kind(run) for run in found}))
    texts = {
        f"validation_{score.key}": f"validation {score.name}, {kinds} {score.target}s",
        f"test_{score.key}": f"test {score.name}",
    }
    panels = {key: score_axis(text, score) for key, text in texts.items()}
    return over_epochs(found, order, panels, score.scale, f"test_{score.key}")


def memorisation(found, order, split) -> Figure:
    """What is predicted of wrong examples: the given target, the right one, another."""
    score = found[0].score
    right, wrong = runs.fitted(score)
    panels = {
        f"{score.key}_clean": right,
        "wrong_correct": f"wrong {score.target}s: true {score.target} predicted",
        "wrong_other": f"wrong {score.target}s: another {score.target} predicted",
        f"{score.key}_wrong": wrong,
    }
    needed = f"{score.key}_wrong"
    known = {name for run in found for name in run.results.get("last_epoch", {})}
    if "wrong_memorised" in known and needed not in known:  # the score is one of whole splits
        del panels[f"{score.key}_clean"], panels[needed]
        needed = "wrong_memorised"
        panels[needed] = f"wrong {score.target}s: given {score.target} predicted"
    panels = {key: drawing.axis_name(text, score.unit) for key, text in panels.items()}
    return over_epochs(found, order, panels, score.scale, needed)


def pseudo_labels(found, order, split) -> Figure:
    """How often what a teacher says of unlabelled examples is right: of all, and by weight."""
    unit, right = found[0].score.unit, f"right pseudo-{found[0].score.target}s"
    panels = {
        "pseudo_label_accuracy": drawing.axis_name(right, unit),
        "pseudo_label_weighted": drawing.axis_name(f"{right}, by weight", unit),
    }
    return over_epochs(found, order, panels, found[0].score.scale, "pseudo_label_accuracy")


def tau(found, order, split) -> Figure:
    """SuperLoss's threshold over epochs."""
    return over_epochs(found, order, {"tau": "tau, in units of the loss"}, 1, "tau")


def memory(found, order, split) -> Figure:
    """How many wrong targets are fitted, beside what remembered SuperLoss does about it."""
    score = found[0].score
    if not any("memory" in row for rows in metrics_by_run(found)[0].values() for row in rows):
        raise ValueError(missing("memory", []))
    needs = f"{score.key}_wrong"
    panels = {needs: drawing.axis_name(runs.fitted(score)[1], score.unit)}
    return over_epochs(found, order, panels, score.scale, needs, memory="memory g")


def pairs(found, order, split) -> Figure:
    """How pairs of images are weighed over epochs, and how alike images of other classes are."""
    panels = {
        "sigma_right_positive": "sigma of right positive pairs",
        "sigma_right_negative": "sigma of right negative pairs",
        "similarity_right_negative": "cosine of right negative pairs",
    }
    return over_epochs(found, order, panels, 1, "similarity_right_negative")
