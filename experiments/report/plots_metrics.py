"""Figures of what runs report: accuracy against noise, and metrics over epochs."""

import numpy as np
from matplotlib.figure import Figure

from experiments.report import drawing, runs
from experiments.report.runs import Condition, FinishedRun

PANELS = 3  # beside each other
MOST = 12  # panels of one figure
BAND = "Mean over seeds; band: lowest to highest seed."


def foremost(found: list[FinishedRun]) -> str:
    """The selection that all configs declare first; the last epoch if they differ or name none."""
    first = {(*runs.declared(run), "last")[0] for run in found}
    return first.pop() if len(first) == 1 else "last"


def by_cell(found: list[FinishedRun]) -> dict[tuple[str, Condition], list[FinishedRun]]:
    cells: dict[tuple[str, Condition], list[FinishedRun]] = {}
    for run in found:
        cells.setdefault((run.row, run.column), []).append(run)
    return cells


def accuracy_over_noise(found, order, split) -> Figure:
    """Test accuracy against the rate of noise."""
    selection = foremost(found)
    lines = lines_over_noise(found, selection)
    if not lines:
        rates = sorted({f"{run.column.rate:g}" for run in found})
        raise ValueError(f"expected runs at several rates of noise, got {', '.join(rates)}")
    styles = drawing.styled(order, {row for of in lines.values() for row in of})
    wide = min(len(lines), PANELS)
    figure, grid = drawing.grid(-(-len(lines) // wide), wide, 4.2 + (wide > 1), 3.4, 1.2)
    for axes, (kind, of_rows) in zip(grid.flat, lines.items(), strict=False):
        for row in filter(of_rows.get, styles):
            values = sorted(of_rows[row].items())
            seeds = np.full((max(len(of) for _, of in values), len(values)), np.nan)
            for i, (_, of) in enumerate(values):
                seeds[: len(of), i] = of
            drawing.curve(axes, [100 * rate for rate, _ in values], seeds, styles[row], row)
        axes.set(xlabel=f"noise rate (%), {kind.noise}", ylabel="test accuracy (%)",
                 title=setting(kind, list(lines)))  # fmt: skip
        drawing.name_ends(axes)
    for axes in list(grid.flat)[len(lines) :]:
        axes.remove()
    drawing.note(figure, f"Test accuracy, {runs.selected(found[0], selection)}. {BAND}")
    return figure


def lines_over_noise(found, selection: str) -> dict[Condition, dict[str, dict[float, list]]]:
    """By kind of noise and row: accuracies by rate, where there are several rates.

    Without noise its kind makes no difference: such runs belong to every kind.
    """
    cells = {cell: of for cell, of in by_cell(found).items() if cell[1].noise != "given"}
    kinds = sorted({column._replace(rate=-1.0) for _, column in cells if column.rate})
    lines: dict[Condition, dict[str, dict[float, list]]] = {}
    for kind in kinds:
        of_rows: dict[str, dict[float, list]] = {}
        for (row, column), of in cells.items():
            at = column._replace(rate=-1.0, noise=column.noise if column.rate else kind.noise)
            if at == kind:
                values = of_rows.setdefault(row, {}).setdefault(column.rate, [])
                values += [runs.accuracy(run, selection) for run in of]
        if len({rate for of in of_rows.values() for rate in of}) > 1:
            lines[kind] = of_rows
    return lines


def setting(kind: Condition, kinds: list[Condition]) -> str:
    """Data and model, and the imbalance where there is one."""
    parts = [kind.data, kind.variant, kind.model]
    parts += [f"imbalance {kind.imbalance:g}"] if kind.imbalance != 1 else []
    return ", ".join(filter(None, parts))


def history(of: list[FinishedRun], key: str) -> np.ndarray:
    """Of shape (seeds, epochs); NaN where a run has no such number."""
    rows = [runs.metrics(run) for run in of]
    length = max(map(len, rows))
    values = np.full((len(rows), length), np.nan)
    for seed, run in enumerate(rows):
        values[seed, : len(run)] = [np.nan if row.get(key) is None else row[key] for row in run]
    return values


def over_epochs(
    found, order, panels: dict[str, str], scale: float, unit: str, needs: str
) -> Figure:
    """Metrics over epochs, a panel each; conditions below each other, or of one metric beside."""
    histories = {
        (row, column, key): values
        for (row, column), of in by_cell(found).items()
        for key in panels
        if np.isfinite(values := scale * history(of, key)).any()
    }
    styles = drawing.styled(order, {row for row, _, key in histories if key == needs})
    columns = {column for row, column, key in histories if key == needs and row in styles}
    if not columns:
        raise ValueError(f"no run has {needs} in its metrics.jsonl")
    every = sorted({run.column for run in found})
    keys = [key for key in panels
            if any(at == key and row in styles for row, _, at in histories)]  # fmt: skip
    # The noisiest, if there are too many; a figure has at most four a side.
    most = min(4, MOST // len(keys))
    shown = sorted(sorted(columns, key=lambda column: -column.rate)[:most])
    beside = len(keys) == 1
    shape = (1, len(shown)) if beside else (len(shown), len(keys))
    figure, grid = drawing.grid(*shape, sharex=True, sharey="row")
    for i, axes in enumerate(grid.flat):
        column, key = shown[i // len(keys)], keys[i % len(keys)]
        for row in styles:
            if (row, column, key) in histories:
                values = histories[row, column, key]
                drawing.curve(axes, np.arange(1, values.shape[1] + 1), values, styles[row], row)
        axes.locator_params(nbins=5)
        heading = runs.heading(column, every)
        if i < shape[1]:
            axes.set_title(f"{panels[key]}, {heading}" if beside else panels[key])
        if i % shape[1] == 0:
            axes.set_ylabel(unit if beside else f"{heading}\n{unit}")
        if i // shape[1] == shape[0] - 1:
            axes.set_xlabel("epoch")
    for axes in grid[:, -1]:
        if axes.get_lines():
            drawing.name_ends(axes)
    left_out = len(columns) - len(shown)
    more = f" {left_out} with less noise not shown." if left_out else ""
    drawing.note(figure, BAND + more)
    return figure


def accuracy_over_epochs(found, order, split) -> Figure:
    """Accuracy on validation and test examples over epochs."""
    labels = sorted({run.results["config"]["data"]["validation_labels"] for run in found})
    panels = {
        "validation_accuracy": f"validation accuracy ({' and '.join(labels)} labels)",
        "test_accuracy": "test accuracy",
    }
    return over_epochs(found, order, panels, 100, "% of examples", "test_accuracy")


def memorisation(found, order, split) -> Figure:
    """What is predicted of training examples over epochs, as they are trained on (after ELR)."""
    panels = {
        "accuracy_clean": "right labels: fitted",
        "wrong_correct": "wrong labels: true class predicted",
        "wrong_other": "wrong labels: another class",
        "accuracy_wrong": "wrong labels: memorised",
    }
    return over_epochs(found, order, panels, 100, "% of examples", "accuracy_wrong")


def tau(found, order, split) -> Figure:
    """SuperLoss's threshold over epochs."""
    return over_epochs(found, order, {"tau": "tau"}, 1, "loss", "tau")
