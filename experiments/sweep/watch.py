"""A sweep as it goes: what runs and how far it is, what failed and why, how long the rest takes."""

import contextlib
import functools
import pathlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from experiments.progress import console
from experiments.runs import files, stored
from experiments.runs.reading import json_object
from experiments.sweep.points import Point
from experiments.tasks import score_of
from experiments.tasks.scores import Score


class Progress(NamedTuple):
    epochs: int = 0  # finished
    of: int = 0  # 0: not known yet
    seconds: float = 0.0  # of the finished ones
    loss: float | None = None  # of the newest
    test: str = ""  # the test score of the newest, as people write it


def progress(point: Point) -> Progress:
    """How far a run is, from its packed record or its files, which may be missing or growing."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        if (run := stored.of_config(point.path.parent, point.sha256)) is not None:
            record = stored.record_of(run)
            config, metrics, timing = record.results["config"], record.metrics, record.timing
        else:
            config = json_object(point.path / files.CONFIG)
            metrics, timing = (_rows(point.path / name) for name in (files.METRICS, files.TIMING))
        last, score = metrics[-1] if metrics else {}, score_of(config)
        seconds, loss = sum(row["seconds"] for row in timing), last.get("train_loss")
        return Progress(len(timing), config["epochs"], seconds, loss, on_test(last, score))
    return Progress()


def on_test(row: dict, score: Score) -> str:
    value = row.get(f"test_{score.key}")
    if value is None:
        return ""
    space = " " if score.unit not in ("", "%") else ""  # a live table is narrow
    return f"{score.scale * value:.{score.digits}f}{space}{score.unit}"


def _rows(path: pathlib.Path) -> list[dict]:
    """Reads a file that grows by whole lines; reads it again only when it has changed."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return []
    return _read(path, found.st_mtime_ns, found.st_size)


@functools.lru_cache(maxsize=4096)
def _read(path: pathlib.Path, changed: int, size: int) -> list[dict]:
    return files.whole_rows(path)


def remaining(points: list[Point], states: dict[int, str], number: int) -> float | None:
    """Estimates the seconds left from finished and running runs; None while nothing is known."""
    found = {i: progress(point) for i, point in enumerate(points)}
    whole = [one.seconds for i, one in found.items() if states[i] == "done" and one.epochs]
    if not whole:
        whole = [one.seconds / one.epochs * one.of for one in found.values() if one.epochs]
    if not whole:
        return None
    left = [1 - one.epochs / max(one.of, one.epochs, 1) for i, one in found.items()
            if states[i] in ("running", "missing", "queued")]  # fmt: skip
    if not left:
        return None
    # No sooner than one after another in so many places, nor than the longest.
    return float(np.mean(whole)) * max(sum(left) / number, max(left))


def duration(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return f"about {seconds / 60:.0f} min left" if seconds >= 90 else f"about {seconds:.0f} s left"


def counts(states: dict[int, str]) -> str:
    names = [*states.values()]
    return ", ".join(f"{names.count(name)} {name}" for name in dict.fromkeys(sorted(names)))


def reason(point: Point) -> str:
    with contextlib.suppress(OSError):
        return files.reason(point.path)
    return ""


def headline(points: list[Point], states: dict[int, str], number: int) -> str:
    left = duration(remaining(points, states, number))
    return f"{len(points)} runs: {counts(states)}{', ' if left else ''}{left}"


SHOWN = 12  # rows of one state
BESIDE = 42  # what the columns beside a run's name take


def shortened(name: str, width: int) -> str:
    """Cuts the longest words of a name until it fits: each of its settings stays recognisable."""
    words = name.split(" ")
    while len(" ".join(words)) > max(width, 12) and max(map(len, words)) > 4:
        # A word by itself first: a part of KEY=VALUE says less.
        longest = max(range(len(words)), key=lambda i: (
            len(words[i]) > 4, "=" not in words[i], len(words[i])))  # fmt: skip
        words[longest] = f"{words[longest].removesuffix('…')[:-1]}…"
    return " ".join(words)


def view(points: list[Point], states: dict[int, str], number: int) -> Group:
    """The live table: what is running, what failed, what was finished last."""
    head = Text(headline(points, states, number), style="bold")
    table = Table(box=None, pad_edge=False)
    table.add_column("state")
    table.add_column("run")
    for name in ("epoch", "loss", "test", "s/epoch"):
        table.add_column(name, justify="right", no_wrap=True)
    for state, style in (("running", "cyan"), ("failed", "red"), ("done", "green")):
        named = [i for i, found in states.items() if found == state]
        for i in named[:SHOWN] if state == "running" else named[-SHOWN:]:
            name = shortened(points[i].label or points[i].path.name, console.width - BESIDE)
            if state == "failed":
                table.add_row(Text(state, style), Text(f"{name}\n  {reason(points[i])}"))
                continue
            one = progress(points[i])
            table.add_row(
                Text(state, style),
                Text(name, no_wrap=True, overflow="ellipsis"),
                f"{one.epochs}/{one.of}",
                "" if one.loss is None else f"{one.loss:.3f}",
                one.test,
                f"{one.seconds / one.epochs:.1f}" if one.epochs else "",
            )  # fmt: skip
    return Group(head, table)


@contextlib.contextmanager
def watching(
    points: list[Point], states: dict[int, str], number: int
) -> Iterator[Callable[[int], None]]:
    """A live table of `states` on a terminal; yields what elsewhere prints a line: `ended(i)`."""
    if console.is_terminal:
        with Live(
            get_renderable=lambda: view(points, dict(states), number), console=console,
            refresh_per_second=0.5, transient=True,
        ):  # fmt: skip
            yield lambda i: None
        return

    def ended(i: int) -> None:
        said = f"{points[i].path.name}: {states[i]} {reason(points[i])}".rstrip()
        console.print(f"{said}  ({headline(points, states, number)})")

    yield ended
