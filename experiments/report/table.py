"""The table: methods down, conditions across, a block of columns for each selection.

python -m experiments.report table --workdir=DIR [--select=last,best_validation] [--paired[=ROW]]
    [--columns=KEY,KEY] [--published] [--format=md|csv|latex] [--mixed]
"""

import csv
import itertools
import math
import re
import sys

from experiments import checks
from experiments.report import published, runs
from experiments.report.runs import Condition, FinishedRun
from experiments.report.statistics import LEVEL, Table, is_testable, least_p, make_table
from experiments.report.unfinished import counted
from experiments.runs.selection import SELECTIONS

BEST = "best"  # what --paired alone is


def table(args) -> None:
    """Test scores of all runs below a directory: mean and standard deviation over seeds."""
    root = checks.path("--workdir", args.workdir)
    found = runs.finished_runs(root, args.columns)
    selections = wanted(found, args.select)
    with_pairs = args.paired is not None
    baseline = args.paired if with_pairs and args.paired != BEST else None
    if baseline is not None:
        checks.choose("--paired", baseline, dict.fromkeys(sorted({run.row for run in found})))
    made = make_table(found, selections, baseline)
    if not made.best:
        names = ", ".join(selections)
        said = f"has a test {made.score.name} of {names}"
        raise ValueError(f"--select: no run in {args.workdir} {said}")
    if not args.mixed:
        for (_, row, column), cell in made.cells.items():
            where = runs.joined(row, runs.heading(column, made.columns))
            runs.check_alike(cell.runs, f"{where}: --mixed averages them")
    tables = split(made, with_pairs)
    said = f"{caption(found, made, with_pairs)} {counted(root)}".rstrip()
    # In LaTeX each table floats on its own.
    texts = [said if args.format == "latex" else ""] * (len(tables) - 1) + [said]
    parts = [
        (*grid(one, with_pairs, columns), text)
        for (one, columns), text in zip(tables, texts, strict=True)
    ]
    listed = published.listed(made.score) if args.published else []
    matched = published.comparisons(made.cells, listed)
    if args.format == "csv":
        write_csv(made, with_pairs, matched if args.published else None)
        print(texts[-1], file=sys.stderr)
        return
    if args.published:
        parts.append((*published.matched(made.cells, matched), published.CAPTION))
        parts.append((*published.apart(made.cells, listed), "Published, and not comparable."))
    render = {"md": markdown, "latex": latex}[args.format]
    print("\n".join(render(*part) for part in parts if part[1]), end="")
    if args.published and not any(lines for _, lines, _ in parts[len(tables) :]):
        comment = "% " if args.format == "latex" else "\n"
        print(f"{comment}No published number is of the same data set, model, method and noise.")


MOST_COLUMNS = {False: 7, True: 3}  # of a table, without and with differences: a page's width


def split(made: Table, with_pairs: bool) -> list[tuple[Table, list[Condition]]]:
    """With several columns a table for each selection, as their heads are long enough.

    Where they are too many for a page, there are several tables, each with some of them.
    """
    if len(made.columns) == 1:
        return [(made, made.columns)]
    number = math.ceil(len(made.columns) / MOST_COLUMNS[with_pairs])
    size = math.ceil(len(made.columns) / number)
    some = [made.columns[i : i + size] for i in range(0, len(made.columns), size)]
    return [(made._replace(selections=(name,)), part) for name in made.selections for part in some]


def wanted(found: list[FinishedRun], select: str | None) -> tuple[str, ...]:
    """The selections to report: those given by --select, or else those that the runs declare."""
    declared = sorted({runs.declared(run) for run in found} - {()})
    names = tuple(dict.fromkeys(select.split(","))) if select else ()
    if not names and len(declared) > 1:
        texts = " and ".join(",".join(one) for one in declared)
        raise ValueError(
            f"--select: expected runs that declare the same selections, got {texts}: name those to"
            f" report, of {', '.join(SELECTIONS)}"
        )
    names = names or (declared[0] if declared else ("last",))
    for name in names:
        checks.choose("--select" if select else "config.report.selection", name, SELECTIONS)
    return names


def grid(made: Table, with_pairs: bool, columns: list[Condition]):
    """The head and the rows as texts of a table with some columns; ** around the best."""
    most = max(cell.n for cell in made.cells.values())
    names = {selection: selection_name(made, selection) for selection in made.selections}
    alone = len(names) == 1 and len(made.columns) > 1
    head = [f"method, {names[made.selections[0]]}" if alone else "method"]
    lines = [[row] for row in made.rows]
    for selection, column in itertools.product(made.selections, columns):
        condition = runs.heading(column, made.columns)
        head += [condition if alone else runs.joined(names[selection], condition)]
        head += [f"difference to {made.baseline or 'the best'}"] * with_pairs
        known = [row for row in made.rows if made.cells[selection, row, column].n]
        for line, row in zip(lines, made.rows, strict=True):
            key = selection, row, column
            cell = made.cells[key]
            text = (
                runs.mean_and_spread([*cell.values.values()], made.score.digits) if cell.n else "-"
            )
            if len(known) > 1 and row == made.best[selection, column]:
                text = f"**{text}**"
            line.append(text + (f" (n = {cell.n})" if 0 < cell.n < most else ""))
            if with_pairs:
                line.append(pair_text(made, key, most))
    return head, lines


def selection_name(made: Table, selection: str) -> str:
    cells = [cell for (name, _, _), cell in made.cells.items() if name == selection]
    names = {runs.selection_in_full(run, selection) for cell in cells for run in cell.runs}
    return " or ".join(sorted(names))


def pair_text(made: Table, key, most: int) -> str:
    pair, cell = made.pairs.get(key), made.cells[key]
    if pair is None:
        first = made.baseline or made.best.get((key[0], key[2]))
        return "no seed in common" if cell.n and key[1] != first else ""
    digits = made.score.digits
    text = f"{pair.mean:+.{digits}f}"
    if pair.n > 1:
        text += f" [{pair.low:+.{digits}f}, {pair.high:+.{digits}f}]"
    if key in made.adjusted and is_testable(made, pair.n):
        text += f", p = {made.adjusted[key]:.2g}"
    return text + (f" (n = {pair.n})" if pair.n < most else "")


def caption(found: list[FinishedRun], made: Table, with_pairs: bool) -> str:
    """What the numbers are, how they were selected, and what is missing."""
    counts = [cell.n for cell in made.cells.values()]
    most, missing = max(counts), counts.count(0)
    fewer = sum(0 < n < most for n in counts)
    parts = [f"Test {runs.with_unit(made.score)}; {runs.caption(found)}"]
    parts.append(f"n = {most}{' where no other is shown' if fewer else ''}.")
    parts.append(declaration(found, made))
    parts += ["Bold: the best mean, and no more than that."] * (len(made.rows) > 1)
    if "best_test" in made.selections:
        targets = f"test {made.score.target}s"
        parts.append(f"†: the epoch was chosen with the {targets}, which is optimistic.")
    if len(made.columns) > 1:
        parts += [realised(found, made), "Rows by their mean rank over the columns."]
    if missing or fewer:
        texts = [f"{missing} of {len(counts)} cells missing (-)"] * bool(missing)
        texts += [f"{fewer} of {len(counts)} with fewer seeds"] * bool(fewer)
        parts.append(f"{', '.join(texts)}.")
    inside = sorted({text for cell in made.cells.values() for text in runs.differences(cell.runs)})
    if inside:
        parts.append(
            f"MIXED: cells average runs that differ in {'; '.join(inside)}; those of the same"
            " seeds count once."
        )
    elif runs.made_differently(found):
        parts.append(f"Cells differ in {'; '.join(runs.made_differently(found))}.")
    return " ".join(parts + ([pairs_caption(made)] if with_pairs and made.pairs else []))


def declaration(found: list[FinishedRun], made: Table) -> str:
    texts = []
    for name in made.selections:
        number = sum(name not in runs.declared(run) for run in found)
        text = "declared before the runs"
        if number:
            text = f"chosen when reporting, not declared before {number} of the {len(found)} runs"
        texts.append(f"{selection_name(made, name)}: {text}")
    foremost = {runs.declared(run)[0] for run in found if runs.declared(run)}
    if foremost - {made.selections[0]}:
        texts.append(f"foremost by declaration: {', '.join(sorted(foremost))}")
    return f"Selection: {'; '.join(texts)}."


def realised(found: list[FinishedRun], made: Table) -> str:
    texts = []
    for column in made.columns:
        rates = {run.results["noise"]["realised_rate"] for run in found if run.column == column}
        known = [f"{rate:.2%}" for rate in sorted(rates - {None})]
        text = " to ".join(dict.fromkeys((known[0], known[-1]))) if known else "unknown"
        texts.append(f"{runs.heading(column, made.columns)}: {text}")
    return f"{runs.capital(made.score.target)}s wrong: {'; '.join(texts)}."


def pairs_caption(made: Table) -> str:
    text = (
        f"Differences to {made.baseline or 'the best'} are paired by seed, with 95 % t intervals,"
        " not adjusted for their number"
    )
    hindsight = "; the best was chosen after the fact, which makes them look larger."
    text += "." if made.baseline else hindsight
    number, ns = len(made.adjusted), {made.pairs[key].n for key in made.adjusted}
    if any(is_testable(made, n) for n in ns):
        text += (
            f" p: exact sign-flip test, Holm over the {number} comparisons of the first selection."
        )
    small = [n for n in ns if not is_testable(made, n)]
    if small:
        n = max(small)
        text += (
            f" n too small for a test: the sign-flip p of n = {n} cannot go below {least_p(n):.2g},"
            f" and {number} comparison{'s need' if number > 1 else ' needs'} {LEVEL / number:.2g}."
        )
    return text


def write_csv(made: Table, with_pairs: bool, matched: dict | None) -> None:
    """Writes a line for each cell, or for each of its published numbers, in full precision."""
    number = len(Condition._fields)
    head = ["selection", "row", "settings", *Condition._fields, "n", "mean", "deviation", "seeds"]
    head.append("best")
    head += ["paired_n", "difference", "low", "high", "p", "p_holm"] * with_pairs
    head += ["published", "published_deviation", "published_n", "published_difference", "within",
             "source"] * (matched is not None)  # fmt: skip
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(head)
    for key in itertools.product(made.selections, made.rows, made.columns):
        cell, pair = made.cells[key], made.pairs.get(key)
        more = ", ".join(runs.further(key[2], key[2].more))
        settings = next((run.settings for run in cell.runs), "")
        line = [*key[:2], settings, *key[2][: number - 1], more]
        line += [cell.n, cell.mean, cell.deviation]
        line.append(" ".join("/".join(map(str, seeds)) for seeds in cell.values))
        line.append(made.best.get((key[0], key[2])) == key[1])
        if with_pairs:
            tested = key in made.adjusted and pair is not None and is_testable(made, pair.n)
            line += [*pair[:4]] if pair else [""] * 4
            line += [pair.p, made.adjusted[key]] if pair and tested else ["", ""]
        for one in (matched or {}).get(key) or [None]:
            theirs: list = []
            if matched is not None:
                theirs = [""] * 6
            if one:
                their = one.published
                theirs = [their.value, their.deviation, their.n or "", one.difference,
                          {None: ""}.get(one.within, one.within), their.source]  # fmt: skip
            values = [*line, *theirs]
            writer.writerow("" if isinstance(v, float) and math.isnan(v) else v for v in values)


def markdown(head: list[str], lines: list[list[str]], text: str) -> str:
    rows = [head, ["---"] * len(head), *lines]
    rows = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows) + (f"\n{text}\n" if text else "")


LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "_": r"\_", "#": r"\#", "$": r"\$",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "±": r"$\pm$", "†": r"$\dagger$", "<": r"$<$", ">": r"$>$",
}  # fmt: skip


def latex(head: list[str], lines: list[list[str]], text: str) -> str:
    """A table for LaTeX with the package booktabs."""

    def escaped(text: str) -> str:
        text = "".join(LATEX.get(character, character) for character in text)
        text = re.sub(r"(?<![\w.])-(?=\d)", "$-$", text)
        return re.sub(r"\*\*(.+?)\*\*", r"\\textbf{\1}", text)

    def row(cells: list[str]) -> str:
        return " & ".join("--" if cell == "-" else escaped(cell) for cell in cells) + r" \\"

    return "\n".join([
        r"\begin{table}", rf"\caption{{{escaped(text)}}}",
        rf"\begin{{tabular}}{{l{'r' * (len(head) - 1)}}}", r"\toprule", row(head), r"\midrule",
        *map(row, lines), r"\bottomrule", r"\end{tabular}", r"\end{table}", "",
    ])  # fmt: skip


def add_command(commands) -> None:
    command = commands.add_parser("table", help=table.__doc__)
    runs.add_arguments(command)
    names = ", ".join(SELECTIONS)
    command.add_argument("--select", help=f"instead of what the runs declare, some of {names}")
    command.add_argument("--format", choices=("md", "csv", "latex"), default="md", help="of output")
    command.add_argument(
        "--paired",
        nargs="?",
        const=BEST,
        metavar="ROW",
        help="differences to it by seed, or to the best",
    )
    command.add_argument("--published", action="store_true", help="published numbers beside ours")
    command.add_argument(
        "--mixed", action="store_true", help="average runs of different config, version or device"
    )
    command.set_defaults(call=table)
