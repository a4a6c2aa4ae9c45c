"""How figures look: lines told apart by colour, dash, marker and a name at their end."""

import io
import pathlib
import re
import textwrap
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from scipy import optimize

from experiments.pictures import plt

# Okabe and Ito's colours, told apart by colour-blind readers and in print.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
LOOK: dict[Any, Any] = {
    "svg.hashsalt": "superloss_jax",  # ids that depend on the content alone
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
}
# As many lines as can be told apart.
STYLES: list[dict[str, Any]] = [
    {"color": colour, "linestyle": dash, "marker": marker}
    for colour, dash, marker in zip(
        COLOURS, ("-", "--", "-.", ":", (0, (6, 1, 1, 1, 1, 1)), (0, (3, 1))), "os^Dvx", strict=True
    )
]
Style = dict[str, Any]
POINTS = 45  # of a curve, about: more make the file large


def styled(order: list[str], having) -> tuple[dict[str, Style], list[str]]:
    """The styles of the rows in `having`, and those rows for which no style is left.

    A style is the same row's in every figure: a row that is absent keeps its own.
    """
    own = dict(zip(order, STYLES, strict=False))
    shown = [row for row in order if row in having]
    return {row: own[row] for row in shown if row in own}, [row for row in shown if row not in own]


def left_out(rows: list[str]) -> str:
    """The sentence of a note about rows without a style."""
    if not rows:
        return ""
    is_not = "is" if len(rows) == 1 else "are"
    return f"As there are {len(STYLES)} styles, {'; '.join(rows)} {is_not} not drawn."


def grid(rows: int, columns: int, width=2.9, height=2.5, names=1.5, **more):
    """A figure and its axes, with room for names right of the last column."""
    size = columns * width + names, rows * height + 0.4
    return plt.subplots(
        rows, columns, figsize=size, squeeze=False, layout="constrained", **more
    )  # fmt: skip


def stride(length: int, points: int = POINTS) -> int:
    return max(1, -(-length // points))


def thinned(length: int, points: int = POINTS) -> np.ndarray:
    """The epochs to draw: every kth counted back from the last, and the first."""
    return np.union1d([0] * min(length, 1), np.arange(length)[:: -stride(length, points)])


def thinning(lengths, points: int = POINTS) -> str:
    """The sentence of a note about curves that do not show every epoch; empty if all do."""
    steps = sorted({stride(length, points) for length in lengths} - {1})
    if not steps:
        return ""
    endings = {1: "st", 2: "nd", 3: "rd"}
    texts = [f"{k}{'th' if k // 10 % 10 == 1 else endings.get(k % 10, 'th')}" for k in steps]
    return f"Curves of more than {points} epochs show every {' or '.join(texts)} epoch."


def over_epochs(axes) -> None:
    """Makes x the axis of epochs, which are whole numbers, however few there are."""
    axes.set_xlabel("epoch")
    axes.locator_params(axis="x", nbins=5, integer=True, min_n_ticks=1)


def axis_name(text: str, unit: str = "") -> str:
    """What an axis shows and its unit, on as many lines as a panel's height needs."""
    return textwrap.fill(f"{text} ({unit})" if unit else text, 32)


def curve(axes, x, values, style: Style, label: str, middle=np.nanmean) -> None:
    """Draws the mean (or another middle) of rows of values, and a band from lowest to highest."""
    kept = np.flatnonzero(np.isfinite(values).any(0))
    if not len(kept):
        return
    kept = kept[thinned(len(kept))]
    x, values = np.asarray(x)[kept], values[:, kept]
    step = max(1, len(x) // 5)
    every = (STYLES.index(style) % step, step)
    line = middle(values, axis=0)
    axes.plot(x, line, label=label, markersize=4, lw=1.5, markevery=every, **style)
    if len(values) > 1:
        low, high = np.nanmin(values, 0), np.nanmax(values, 0)
        axes.fill_between(x, low, high, color=style["color"], alpha=0.18, lw=0)


def name_ends(axes, only=None, size: float = 8) -> None:
    """Writes each line's name, or only some, right of its end, as near as the others let it.

    To be called when all axes that share their limits are drawn.
    """
    axes.get_xlim(), axes.get_ylim()  # brings the transform up to date
    points = {
        line: line.get_xydata()[np.isfinite(line.get_xydata()).all(1)]
        for line in axes.get_lines()
        if not line.get_label().startswith("_") and (only is None or line.get_label() in only)
    }
    lines = [line for line in points if len(points[line])]
    if not lines:
        return
    ends = [points[line][-1] for line in lines]
    to_axes = axes.transData + axes.transAxes.inverted()
    heights = np.array([to_axes.transform(end)[1] for end in ends])
    names = [textwrap.fill(line.get_label(), 30) for line in lines]
    tallest = max(name.count("\n") + 1 for name in names)
    pixels = axes.get_window_extent().height
    places = apart(heights, 1.3 * tallest * size * axes.figure.dpi / 72 / pixels)
    for line, end, name, place in zip(lines, ends, names, places, strict=True):
        leader = {"arrowstyle": "-", "color": line.get_color(), "relpos": (0, 0.5), "shrinkB": 0}
        axes.annotate(
            name, end, (1.07, place), textcoords="axes fraction", va="center", fontsize=size,
            color="0.15", arrowprops=leader | {"lw": 0.9, "shrinkA": 1}, annotation_clip=False,
        )  # fmt: skip


def named_once(panels: Sequence[Collection[str]], wide: int) -> list[set[str]]:
    """The lines to name in each panel: each once, in the last panel of the first row that has it.

    `panels` are the lines of each, `wide` of them beside each other.
    """
    named: list[set[str]] = [set() for _ in panels]
    for first in range(0, len(panels), wide):
        done = set().union(*named)
        beside = range(first, min(first + wide, len(panels)))
        for line in set().union(*(panels[i] for i in beside)) - done:
            named[max(i for i in beside if line in panels[i])].add(line)
    return named


def apart(heights: np.ndarray, gap: float) -> np.ndarray:
    """Moves heights least, in squares, so that they are a gap apart and in [0, 1] if they fit."""
    order = np.argsort(heights, kind="stable")
    steps = gap * np.arange(len(heights))
    # Heights a gap apart are such that grow, once the gaps are taken out.
    grown = optimize.isotonic_regression(heights[order] - steps).x
    placed = np.empty_like(steps)
    placed[order] = np.clip(grown, 0, max(0, 1 - steps[-1])) + steps
    return placed


def note(figure, *parts: str) -> None:
    """What the lines and bands are, below the picture; a long text gets room of its own."""
    lines = textwrap.wrap(" ".join(filter(None, parts)), int(15 * figure.get_figwidth()))
    figure.set_figheight(figure.get_figheight() + 0.13 * max(0, len(lines) - 2))
    figure.supxlabel("\n".join(lines), fontsize=8, color="0.3", x=0.01, ha="left")


def svg(figure, prefix: str = "") -> str:
    """The picture as text, the same for the same figure; its ids may get a prefix of their own."""
    content = io.StringIO()
    figure.savefig(content, format="svg", metadata={"Date": None})
    text = content.getvalue()
    text = re.sub(r'(?<= )(?:d|x|y)="[^"]*"|translate[^)]*', shortened, text)
    text = re.sub(r"\n +", "\n", text)
    if prefix:
        text = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{prefix}", text)
        text = text[text.index("<svg") :]  # what stands before is for files
        text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    return text


def shortened(place: re.Match) -> str:
    """Coordinates in tenths of a point, finer than is seen; lines without their letters."""
    text = re.sub(r"\d+\.\d+", lambda number: f"{float(number[0]):.1f}", place[0])
    return text if re.search("[CQ]", text) else re.sub(r"\s+L ", " ", text)


def save(figure, path: pathlib.Path) -> list[pathlib.Path]:
    """Writes PNG and SVG, of one layout: each drawing would move it by a trace, and take longer."""
    png, text = path.with_suffix(".png"), path.with_suffix(".svg")
    text.write_text(svg(figure))
    figure.set_layout_engine("none")
    figure.savefig(png, dpi=150, metadata={"Software": None})
    return [png, text]
