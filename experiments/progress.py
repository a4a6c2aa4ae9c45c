"""Shows progress: a live line on a terminal, otherwise a plain line every few seconds."""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

console = Console(stderr=True, highlight=False, soft_wrap=True, markup=False)
_SECONDS_BETWEEN_LINES = 10


@contextlib.contextmanager
def progress_line(total: int, text: str) -> Iterator[Callable[[int, str], None]]:
    """Yields `update(done, text)`, which may be called at any rate."""
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=20), MofNCompleteColumn(),
               TimeRemainingColumn())  # fmt: skip
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(text, total=total)
        printed = time.monotonic()

        def update(done: int, text: str) -> None:
            nonlocal printed
            bar.update(task, completed=done, description=text)
            due = time.monotonic() - printed > _SECONDS_BETWEEN_LINES or done == total
            if due and not console.is_terminal:
                printed = time.monotonic()
                console.print(f"{text} ({done}/{total})")

        yield update


def track(items: Sequence, text: str) -> Iterator:
    """Iterates over `items` and shows the progress."""
    with progress_line(len(items), text) as update:
        for i in range(len(items)):
            yield items[i]
            if (i + 1) % 256 == 0 or i + 1 == len(items):
                update(i + 1, text)
