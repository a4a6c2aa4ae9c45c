"""Figures of targets that are numbers: what is predicted of them, and by their size."""

import re

import numpy as np

from experiments.pictures import Figure
from experiments.report import drawing, runs
from experiments.report.drawing import STYLES
from experiments.report.plots_examples import (
    SEEN,
    each_is_a_run,
    groups_of,
    one_legend,
    sources,
)
from experiments.report.plots_metrics import band, conditions, metrics_by_run, mixed
from experiments.report.runs import FinishedRun
from experiments.runs import files, samples

TENTH = re.compile(r"tenth_(\d+)_(\w+)")  # a metric of a tenth of the targets, by size


def predicts_numbers(run: FinishedRun) -> bool:
    if not (run.path / files.SAMPLES).is_file():
        return False
    predicted = samples.read_samples(run.path).get("predicted")
    if predicted is None or predicted.dtype.kind != "f":
        return False
    return bool(np.isfinite(predicted).any())


def predictions(found, order, split) -> Figure:
    """What is predicted of training examples in the last epoch, over their given targets."""
    drawn = sources(found, order, predicts_numbers)
    if not drawn:
        raise ValueError("no run of these rows has samples.npz with predictions that are numbers")
    figure, grid = drawing.grid(1, len(drawn), 3.4, 3.2, 0, sharex=True, sharey=True)
    for axes, run in zip(grid[0], drawn, strict=True):
        rows = samples.read_samples(run.path)
        some = np.random.default_rng(0).permutation(len(rows["loss"]))[:SEEN]
        for (name, of), style in zip(groups_of(run, rows).items(), STYLES, strict=False):
            at = some[of[some]]
            axes.plot(rows["target"][at], rows["predicted"][at], style["marker"], ms=3, alpha=0.5,
                      mew=0, color=style["color"], label=name, rasterized=True)  # fmt: skip
        ends = rows["target"].min(), rows["target"].max()
        axes.plot(ends, ends, color="0.2", ls=":", lw=1.2, label="_given")
        axes.set(title=run.row, xlabel=f"given {run.score.target}")
        axes.locator_params(nbins=5)
    grid[0, 0].set_ylabel("predicted")
    one_legend(figure, grid[0])
    drawing.note(figure, f"{each_is_a_run(found, drawn[0])}, in its last epoch, with {SEEN}"
                         " training examples at most. On the dotted line the given target is"
                         " predicted.")  # fmt: skip
    return figure


def by_tenths(found, order, split) -> Figure:
    """Metrics of the last epoch by tenths of the targets that are right, from small to large."""
    metrics, unread = metrics_by_run(run for run in found if run.row in order)
    cells = {
        cell: [tenths(metrics[run.path]) for run in of]
        for cell, of in runs.by_cell(run for run in found if run.path in metrics).items()
    }
    cells = {cell: of for cell, of in cells.items() if all(of)}
    styles, others = drawing.styled(order, {row for row, _ in cells})
    columns = {column for row, column in cells if row in styles}
    if not columns:
        raise ValueError(f"no run has metrics of tenths of its targets. {unread}".rstrip(". "))
    shown, headings, hidden = conditions(found, columns)
    names = sorted({name for of in cells.values() for one in of for name in one})
    figure, grid = drawing.grid(len(names), len(shown), 2.8, 2.3, sharex=True, sharey="row")
    for (i, j), axes in np.ndenumerate(grid):
        for row in [row for row in styles if (row, shown[j]) in cells]:
            values = np.array([one[names[i]] for one in cells[row, shown[j]]])
            drawing.curve(axes, np.arange(1, values.shape[1] + 1), values, styles[row], row)
        axes.locator_params(axis="x", nbins=10, integer=True)
    for j, column in enumerate(shown):
        grid[0, j].set_title(headings[column], loc="left")
        grid[-1, j].set_xlabel(f"tenth of the right {found[0].score.target}s")
    named = drawing.named_once([[*styles]] * len(shown), len(shown))
    for axes, lines in zip(grid[0], named, strict=True):
        drawing.name_ends(axes, lines)
    for axes, name in zip(grid[:, 0], names, strict=True):
        axes.set_ylabel(name)
    groups = [of for cell, of in runs.by_cell(found).items() if cell in cells and cell[1] in shown]
    drawing.note(figure, "Training examples whose targets are right, in the last epoch, by tenths"
                         " from the smallest targets to the largest.", band(groups),
                 hidden, mixed(groups), unread, drawing.left_out(others))  # fmt: skip
    return figure


def tenths(metrics: list[dict]) -> dict[str, list[float]]:
    """The last epoch's metrics of each tenth, by what they measure; {} if there are none."""
    found: dict[str, dict[int, float]] = {}
    for key, value in (metrics[-1] if metrics else {}).items():
        if (match := TENTH.fullmatch(key)) and value is not None:
            found.setdefault(match[2], {})[int(match[1])] = value
    return {name: [of[i] for i in sorted(of)] for name, of in found.items()}
