"""How figures look: lines told apart by colour, dash, marker and a name at their end."""

import io
import pathlib
import re
import textwrap
from typing import Any

import matplotlib
import numpy as np
from scipy import optimize

from experiments.figures import COLOURS

matplotlib.use("Agg")
from matplotlib import pyplot as plt

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
POINTS = 45  # of a curve: more are not seen, and make the file large


def styled(order: list[str], having) -> dict[str, Style]:
    """The first rows that have the data; the first of all rows look alike in every figure."""
    shown = [row for row in order if row in having][: len(STYLES)]
    own = {row: style for row, style in zip(order, STYLES, strict=False) if row in shown}
    free = (style for style in STYLES if style not in own.values())
    return {row: own[row] if row in own else next(free) for row in shown}


def grid(rows: int, columns: int, width=2.9, height=2.5, names=1.5, **more):
    """A figure and its axes, with room for names right of the last column."""
    size = columns * width + names, rows * height + 0.4
    return plt.subplots(
        rows, columns, figsize=size, squeeze=False, layout="constrained", **more
    )  # fmt: skip


def curve(axes, x, values, style: Style, label: str, middle=np.nanmean) -> None:
    """The mean of rows of values, or another middle, and a band from the lowest to the highest."""
    kept = np.unique(np.linspace(0, len(x) - 1, min(len(x), POINTS)).round().astype(int))
    kept = kept[np.isfinite(values[:, kept]).any(0)]
    x, values = np.asarray(x)[kept], values[:, kept]
    step = max(1, len(x) // 5)
    every = (STYLES.index(style) % step, step)
    line = middle(values, axis=0)
    axes.plot(x, line, label=label, markersize=4, lw=1.5, markevery=every, **style)
    if len(values) > 1:
        low, high = np.nanmin(values, 0), np.nanmax(values, 0)
        axes.fill_between(x, low, high, color=style["color"], alpha=0.18, lw=0)


def name_ends(axes, size: float = 8) -> None:
    """Writes each line's name right of its end, as near to it as the others let it.

    To be called when all axes that share their limits are drawn.
    """
    axes.get_xlim(), axes.get_ylim()  # brings the transform up to date
    lines = [line for line in axes.get_lines() if not line.get_label().startswith("_")]
    ends = [(line.get_xdata()[-1], line.get_ydata()[-1]) for line in lines]
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


def apart(heights: np.ndarray, gap: float) -> np.ndarray:
    """The nearest heights, least squares, that are a gap apart and between 0 and 1 if they fit."""
    order = np.argsort(heights, kind="stable")
    steps = gap * np.arange(len(heights))
    # Heights a gap apart are such that grow, once the gaps are taken out.
    grown = optimize.isotonic_regression(heights[order] - steps).x
    placed = np.empty_like(steps)
    placed[order] = np.clip(grown, 0, max(0, 1 - steps[-1])) + steps
    return placed


def note(figure, text: str) -> None:
    """What the lines and bands are, below the picture."""
    lines = textwrap.fill(text, int(15 * figure.get_figwidth()))
    figure.supxlabel(lines, fontsize=8, color="0.3", x=0.01, ha="left")


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
    """Writes PNG and SVG; that first, since drawing moves the layout by a trace."""
    png, text = path.with_suffix(".png"), path.with_suffix(".svg")
    text.write_text(svg(figure))
    figure.savefig(png, dpi=150, metadata={"Software": None})
    return [png, text]
