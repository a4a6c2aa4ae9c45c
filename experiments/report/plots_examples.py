"""Figures of single examples of a run: their weights, their losses."""

from collections.abc import Callable

import numpy as np

from experiments.pictures import Figure, Line2D
from experiments.report import drawing, loss_groups, runs
from experiments.report.drawing import STYLES
from experiments.report.plots_metrics import wrong_rate
from experiments.report.runs import Condition, FinishedRun
from experiments.runs import files, samples

PANELS = 3  # runs beside each other
SEEN = 3000  # examples drawn of a run


def sources(found, order, has: Callable[[FinishedRun], bool]) -> list[FinishedRun]:
    """Picks one run a row, all under the condition that most rows have, or else the noisiest."""
    of_column: dict[Condition, dict[str, FinishedRun]] = {}
    for run in found:
        if run.row in order and has(run):
            of_column.setdefault(run.column, {}).setdefault(run.row, run)
    if not of_column:
        return []
    rates = {column: wrong_rate(found, column) for column in of_column}
    best = max(of_column, key=lambda column: (len(of_column[column]), rates[column], column))
    return [of_column[best][row] for row in order if row in of_column[best]][:PANELS]


def weighs(run: FinishedRun) -> bool:
    """Whether each example's weight in the last epoch is known, and the weights differ."""
    if not (run.path / files.SAMPLES).is_file():
        return False
    weight = samples.read_samples(run.path)["weight"]
    return bool(np.isfinite(weight).any() and np.nanmax(weight) > np.nanmin(weight))


def last_tau(run: FinishedRun) -> tuple[float | None, str]:
    """SuperLoss's threshold in the last epoch, if there is one, and why it is not known."""
    try:
        return [{}, *runs.metrics(run)][-1].get("tau"), ""
    except ValueError as error:
        return None, f"{run.row}: tau is not known: {error}."


def sigma_over_loss(found, order, split) -> Figure:
    """Weight against loss of training examples in the last epoch, and how many have which loss."""
    drawn = sources(found, order, weighs)
    if not drawn:
        raise ValueError("no run of these rows has samples.npz with weights that differ")
    figure, grid = drawing.grid(
        2, len(drawn), 3.8, 2.4, 0, sharex="col", gridspec_kw={"height_ratios": (3, 2)}
    )
    unknown = []
    for (upper, lower), run in zip(grid.T, drawn, strict=True):
        rows = samples.read_samples(run.path)
        groups = groups_of(run, rows)
        last = np.nanquantile(rows["loss"], 0.995)  # a few losses would leave the others no room
        some = np.random.default_rng(0).permutation(len(rows["loss"]))[:SEEN]
        bins = np.linspace(0, last, 50)
        for (name, of), style, filled in zip(
            groups.items(), STYLES, (True, False, False), strict=False
        ):
            at = some[of[some]]
            upper.plot(rows["loss"][at], rows["weight"][at], style["marker"], ms=3, alpha=0.5,
                       mew=0, color=style["color"], label=name, rasterized=True)  # fmt: skip
            lower.hist(rows["loss"][of], bins, histtype="stepfilled" if filled else "step", lw=1.5,
                       alpha=0.5 if filled else 1, color=style["color"], label=name)  # fmt: skip
        threshold, reason = last_tau(run)
        unknown.append(reason)
        for axes in (upper, lower) if threshold is not None else ():
            axes.axvline(threshold, color="0.2", ls=":", lw=1.2)
        if threshold is not None:
            upper.annotate("tau", (threshold, 1), (3, -8), xycoords=("data", "axes fraction"),
                           textcoords="offset points", color="0.2")  # fmt: skip
        upper.set(title=run.row, xlim=(0, last), ylabel="weight")
        lower.set(xlabel="loss", ylabel="examples", yscale="log")
    one_legend(figure, grid[0])
    drawing.note(figure, f"{each_is_a_run(found, drawn[0])}, in its last epoch. The upper panels"
                         f" show {SEEN} examples at most, and the lower ones all, up to the loss"
                         " that 0.5 % exceed.", *unknown)  # fmt: skip
    return figure


def groups_of(run: FinishedRun, rows) -> dict[str, np.ndarray]:
    """The examples with a right, a wrong and no target; all that were seen if it is not known."""
    seen, target = np.isfinite(rows["loss"]), run.score.target
    if samples.known_wrong(rows) is None:
        return {"all": seen}
    kinds = {f"right {target}": 0, f"wrong {target}": 1, f"no {target}": samples.NO_TARGET}
    return {name: seen & (rows["wrong"] == i) for name, i in kinds.items() if i in rows["wrong"]}


def one_legend(figure: Figure, panels) -> None:
    """Adds the figure's one legend: each name in its panels once."""
    lines: dict[str, Line2D] = {}
    for line in (line for axes in panels for line in axes.get_lines()):
        if not line.get_label().startswith("_"):
            lines[line.get_label()] = line
    figure.legend([*lines.values()], [*lines], loc="outside upper right", ncols=2, frameon=False,
                  markerscale=2)  # fmt: skip


def each_is_a_run(found, run: FinishedRun) -> str:
    place = runs.heading(run.column, sorted({run.column for run in found}))
    return "Each column is one run" + f" at {place}" * bool(place)


def summaries(found, order, split) -> list[tuple[FinishedRun, loss_groups.Summary]]:
    """The summaries to draw; raises the last run's reason if there are none."""
    readable, reason = [], "no run of these rows has losses/ (config.report.losses) or losses.csv"
    for run in sources(found, order, loss_groups.are_kept):
        try:
            readable.append((run, loss_groups.summary_of(run, split)))
        except ValueError as error:
            reason = str(error)
    if not readable:
        raise ValueError(reason)
    return readable


def losses(found, order, split) -> Figure:
    """Losses of easy, hard and wrongly labelled training examples over epochs."""
    drawn = summaries(found, order, split)
    figure, grid = drawing.grid(1, len(drawn), 3.4, 3.0, 0.8, sharey=True)
    for axes, (run, summary) in zip(grid[0], drawn, strict=True):
        for (group, lines), style in zip(summary.items(), STYLES, strict=False):
            epochs = np.arange(1, len(lines) + 1)
            drawing.curve(axes, epochs, lines[:, 1:4].T, style, group, np.nanmedian)
        axes.axvline(split, color="0.5", ls=":", lw=1)
        axes.set_title(run.row)
        drawing.over_epochs(axes)
    named = drawing.named_once([[*summary] for _, summary in drawn], len(drawn))
    for axes, names in zip(grid[0], named, strict=True):
        drawing.name_ends(axes, names)
    grid[0, 0].set_ylabel("loss")
    lengths = [np.isfinite(lines[:, 1:4]).any(1).sum() for _, of in drawn for lines in of.values()]
    targets = f"{drawn[0][0].score.target}s"
    drawing.note(figure, f"{each_is_a_run(found, drawn[0][0])}. Easy and hard examples are those"
                         f" in the lowest and the highest quarter of its right {targets}' losses"
                         f" in epoch {split} (dotted). Lines are medians, and bands reach from 25"
                         " to 75 %.",
                 drawing.thinning(lengths))  # fmt: skip
    return figure
