"""What a sweep ends with: the scores of its finished runs, and the commands that say more."""

import pathlib
import shlex
from collections.abc import Iterable

from rich.console import Console
from rich.table import Table
from rich.text import Text

from experiments.report import runs, statistics, table
from experiments.runs import files, stored
from experiments.runs.stored import Stored
from experiments.sweep.points import Point


def results_of(points: Iterable[Point]) -> list[Stored]:
    """The results of the points that have one, in their directories or packed beside them."""
    found = []
    for point in points:
        whole = files.is_done(point.path, point.sha256)
        run = stored.at(point.path) if whole else None
        run = run or stored.of_config(point.path.parent, point.sha256)
        found += [run] if run else []
    return found


def print_outcome(points: list[Point], root: pathlib.Path) -> None:
    """Prints the table of the selection that counts, and where the full report comes from."""
    if not (found := results_of(points)):
        return
    console = Console(highlight=False)
    try:
        title, made = scores(runs.placed(found), console)
        print(f"\n{title}\n")
        console.print(made)
    except ValueError as error:  # e.g. points of several scores
        print(f"no table: {error}")
    command = f"--workdir={shlex.quote(str(root))}"
    print(f"\nmore of it:   python -m experiments.report table {command}")
    print(f"full report:  python -m experiments.report html {command}")


def scores(found: list[runs.FinishedRun], console: Console) -> tuple[str, Table]:
    """A title, and a table of means that fits the console: of many columns, a line for each."""
    made = statistics.make_table(found, table.wanted(found, None)[:1])
    for (_, row, column), cell in made.cells.items():
        runs.check_alike(cell.runs, f"{row}, {runs.heading(column, made.columns)}")
    head, lines = table.grid(made, with_pairs=False, columns=made.columns)
    most = max(cell.n for cell in made.cells.values())
    over = f", mean ± standard deviation over {most} seeds" if most > 1 else ""
    title = f"Test {runs.with_unit(made.score)}{over}:"
    whole = drawn(head, lines)
    if Console(width=10_000).measure(whole).maximum <= console.width:
        return title, whole
    split = [[line[0], name, cell] for line in lines
             for name, cell in zip(head[1:], line[1:], strict=True)]  # fmt: skip
    return title, drawn([head[0], "", ""], split)


def drawn(head: list[str], lines: list[list[str]]) -> Table:
    made = Table(box=None, pad_edge=False)
    for i, name in enumerate(head):
        made.add_column(Text(name), justify="right" if i else "left", no_wrap=bool(i))
    for line in lines:
        cells = [Text(cell.strip("*"), "bold" if cell.startswith("**") else "") for cell in line]
        made.add_row(*cells)
    return made
