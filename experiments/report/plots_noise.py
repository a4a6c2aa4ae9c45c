"""The figure of test scores against the rate of noise."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from experiments.pictures import Figure
from experiments.report import drawing, rows, runs, statistics
from experiments.report.plots_metrics import band, declared, mixed, score_axis, setting
from experiments.report.runs import Condition
from experiments.report.statistics import Cell

PANELS = 3  # beside each other


class Place(NamedTuple):
    """A panel: the runs of one kind of noise, under one selection."""

    kind: Condition
    selection: str


def score_over_noise(found, order, split) -> Figure:
    """Draws a panel for each kind of noise and each selection that the runs declare."""
    score, names = found[0].score, declared(found)
    some = [run for run in found if run.row in order]
    of_name = {name: lines_over_noise(some, name) for name in names}
    kinds = sorted({kind for of in of_name.values() for kind in of})
    every = {
        Place(kind, name): of_name[name][kind]
        for kind in kinds
        for name in names
        if len({*rates_of(of_name[name].get(kind, {}))}) > 1
    }
    styles, others = drawing.styled(order, {row for of in every.values() for row in of})
    shown = {place: {row: of[row] for row in styles if row in of} for place, of in every.items()}
    shown = {place: of for place, of in shown.items() if len({*rates_of(of)}) > 1}
    if not shown:
        known = [run for run in some if np.isfinite(runs.score_at(run, names[0]))]
        got = ", ".join(sorted({f"{run.column.rate:g}" for run in known})) or "none"
        raise ValueError(f"expected a test {score.name} at several rates of noise, got {got}")
    groups = {
        place: [cell.runs for cells in of.values() for cell in cells.values()]
        for place, of in shown.items()
    }
    epochs = {place: selected(of, place.selection) for place, of in groups.items()}
    figure = draw(shown, styles, epochs, f"test {score.name}", score)
    same = {*epochs.values()}
    cells = [group for of in groups.values() for group in of]
    said = f"The test {score.name} is that of the {same.pop()}." if len(same) == 1 else ""
    drawing.note(figure, said, band(cells), mixed(cells),
                 rows.settings(run for group in cells for run in group),
                 drawing.left_out(others))  # fmt: skip
    return figure


def selected(groups, selection: str) -> str:
    names = {runs.selection_in_full(run, selection) for group in groups for run in group}
    return " or ".join(sorted(names))


def draw(shown, styles, epochs: dict[Place, str], text: str, score) -> Figure:
    """Draws the panels, headed by their conditions and, if they differ in it, by the selection."""
    several = len({*epochs.values()}) > 1
    wide = len({place.selection for place in shown}) if several else min(len(shown), PANELS)
    named = drawing.named_once([*shown.values()], wide)
    room = 1.5 * len({i % wide for i, names in enumerate(named) if names})
    high = -(-len(shown) // wide)
    # Selections of the same runs are to be compared.
    figure, grid = drawing.grid(high, wide, 4.0, 3.4, room, sharey="row" if several else False)
    for i, (place, of_rows) in enumerate(shown.items()):
        axes = grid.flat[i]
        for row, of in of_rows.items():
            cells = sorted(of.items())
            seeds = np.full((max(cell.n for _, cell in cells), len(cells)), np.nan)
            for at, (_, cell) in enumerate(cells):
                seeds[: cell.n, at] = [*cell.values.values()]
            drawing.curve(axes, [100 * rate for rate, _ in cells], seeds, styles[row], row)
        headings = [setting(place.kind)] + [epochs[place]] * several
        axes.set(xlabel=f"noise rate (%), {place.kind.noise}",
                 title="\n".join(filter(None, headings)))  # fmt: skip
        axes.locator_params(axis="x", nbins=6)
        if not several or axes is grid[i // wide, 0]:
            axes.set_ylabel(score_axis(text, score))
    for axes, names in zip(grid.flat, named, strict=False):
        drawing.name_ends(axes, names)
    for axes in list(grid.flat)[len(shown) :]:
        axes.remove()
    return figure


Lines = dict[str, dict[float, Cell]]  # by row and rate


def rates_of(of_rows: Lines) -> Iterable[float]:
    return (rate for cells in of_rows.values() for rate in cells)


def lines_over_noise(found, selection: str) -> dict[Condition, Lines]:
    """The cells that have a score, by kind of noise.

    Without noise its kind makes no difference: such runs belong to every kind. Runs whose rate
    does not say how many targets are wrong have no place here.
    """
    cells = {
        (row, column): cell
        for (row, column), of in runs.by_cell(found).items()
        if (column.rate or column.noise == "none")
        and (cell := statistics.make_cell(of, selection)).n
    }
    lines: dict[Condition, Lines] = {}
    for kind in sorted({column._replace(rate=-1.0) for _, column in cells if column.rate}):
        for (row, column), cell in cells.items():
            noise = column.noise if column.rate else kind.noise
            if column._replace(rate=-1.0, noise=noise) == kind:
                lines.setdefault(kind, {}).setdefault(row, {})[column.rate] = cell
    return lines
