"""One page about all runs below a directory, without a network: report html --workdir=DIR"""

import html
import pathlib
import re
import shlex
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from experiments import checks
from experiments.report import drawing, plots, runs, statistics, table
from experiments.report.plots_metrics import declared, history, metrics_by_run
from experiments.report.rows import CONDITIONS
from experiments.report.runs import FinishedRun
from experiments.report.unfinished import unfinished
from experiments.runs import files, identity
from experiments.tasks.scores import Score

WIDTH, HEIGHT = 220, 90  # of that picture
POINTS = 100  # of a curve, about

STYLE = """
:root { color-scheme: light dark; --back: #fff; --text: #1a1a1a; --soft: #666; --line: #ccc;
  --head: #f2f2f2; --test: #0072b2; --clean: #00805c; --wrong: #c04e00; }
@media (prefers-color-scheme: dark) { :root { --back: #171717; --text: #e6e6e6; --soft: #a0a0a0;
  --line: #444; --head: #24272b; --test: #56b4e9; --clean: #2fc79b; --wrong: #ff9a4d; }
  figure svg { filter: invert(0.91) hue-rotate(180deg); } }
body { font: 16px/1.5 system-ui, sans-serif; background: var(--back); color: var(--text);
  max-width: 76rem; margin: 0 auto; padding: 1rem; }
h1 { line-height: 1.2; } h1, h2, code { overflow-wrap: anywhere; }
h2 { margin-top: 2.5rem; border-bottom: 1px solid var(--line); }
p { max-width: 50rem; } .soft, figcaption { color: var(--soft); font-size: 0.875rem; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-size: 0.875rem; }
th, td { padding: 0.25rem 0.75rem; border-bottom: 1px solid var(--line); text-align: right;
  font-variant-numeric: tabular-nums; white-space: nowrap; }
thead th { background: var(--head); vertical-align: bottom; white-space: normal; min-width: 5rem; }
th:first-child, .text th, .text td { text-align: left; }
.text td { white-space: normal; min-width: 5rem; }
th:first-child { position: sticky; left: 0; background: var(--back); font-weight: normal;
  white-space: normal; min-width: 7rem; }
thead th:first-child { background: var(--head); }
figure { margin: 1.5rem 0; } figure .scroll { background: var(--back); }
figure svg { display: block; max-width: 100%; height: auto; }
summary { cursor: pointer; padding: 0.25rem 0; } details { margin: 0.25rem 0; }
.grid { display: grid; gap: 0.75rem; grid-template-columns: repeat(auto-fill, minmax(13rem, 1fr)); }
.run { border: 1px solid var(--line); border-radius: 4px; padding: 0.5rem; font-size: 0.8rem; }
.run svg, .key svg { width: 100%; height: auto; display: block; } .key svg { width: 2.5rem; }
.run polyline, .key line { fill: none; stroke-width: 2; vector-effect: non-scaling-stroke; }
.run line { stroke: var(--line); vector-effect: non-scaling-stroke; }
.run text { fill: var(--soft); font-size: 8px; }
.test { stroke: var(--test); }
.clean { stroke: var(--clean); stroke-dasharray: 2 2; }
.wrong { stroke: var(--wrong); stroke-dasharray: 6 3; }
.key { display: flex; flex-wrap: wrap; gap: 0 1.5rem; font-size: 0.875rem; }
.key span { display: flex; align-items: center; gap: 0.5rem; }
pre { overflow-x: auto; font-size: 0.8rem; }
"""


def text(value) -> str:
    return html.escape(str(value))


def table_of(head: list[str], lines: list[list[str]], kind: str = "") -> str:
    """An HTML table in a box that scrolls on a narrow screen; **a cell** is printed bold."""

    def cell(value: str) -> str:
        return re.sub(r"^\*\*(.*)\*\*", r"<strong>\1</strong>", text(value))

    heads = "".join(f'<th scope="col">{cell(value)}</th>' for value in head)
    body = "\n".join(
        f'<tr><th scope="row">{cell(first)}</th>' + "".join(f"<td>{cell(one)}</td>" for one in rest)
        for first, *rest in lines
    )
    return (
        f'<div class="scroll"><table class="{kind}"><thead><tr>{heads}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody></table></div>"
    )


class Curve(NamedTuple):
    """A line of a run's own picture."""

    kind: str  # in STYLE
    key: str  # in metrics
    name: str


def curves(score: Score) -> list[Curve]:
    right, wrong = runs.fitted(score)
    return [
        Curve("clean", f"{score.key}_clean", right),
        Curve("wrong", f"{score.key}_wrong", wrong),
        Curve("test", f"test_{score.key}", f"test {score.name}"),
    ]


def score_tables(found: list[FinishedRun]) -> Iterator[str]:
    """Yields the tables of every selection that the runs declare, and what is said of them."""
    made = statistics.make_table(found, declared(found))
    for part, columns in table.split(made, with_pairs=False):
        yield table_of(*table.grid(part, False, columns))
    yield f'<p class="soft">{text(table.caption(found, made, False))}</p>'


def pictures(found: list[FinishedRun], rows: str | None, split: int) -> tuple[list[str], list[str]]:
    """Every figure that can be drawn, and a line about each that cannot."""
    shown, missing = [], []
    for name, title, figure, reason in plots.drawn(found, rows, split):
        if figure is None:
            missing.append(f"{name}: not drawn: {reason}")
            continue
        # Below this width letters are too small: the box scrolls.
        least = f'<svg role="img" aria-label="{text(title)}" style="min-width: '
        least += f'{70 * figure.get_figwidth():.0f}px" '
        picture = drawing.svg(figure, f"{name}-").replace("<svg ", least, 1)
        shown.append(
            f'<figure><figcaption>{text(title)}</figcaption><div class="scroll">{picture}</div>'
            "</figure>"
        )
    return shown, missing


def limits(score: Score, metrics: list[list[dict]]) -> tuple[float, float]:
    """The lowest and highest value in the pictures of runs; those of a share are 0 and 1."""
    if score.unit == "%":
        return 0.0, 100 / score.scale
    values = [history(metrics, curve.key) for curve in curves(score)]
    known = [one[np.isfinite(one)] for one in values]
    seen = np.concatenate([*known, np.zeros(1)])
    return float(seen.min()), float(seen.max()) or 1.0


def sparkline(run: FinishedRun, low: float, high: float) -> str:
    """A run's curves over epochs, or why there are none; all runs have the same limits."""
    try:
        metrics = runs.metrics(run)
    except ValueError as error:
        return text(error)
    parts = [
        f'<line x1="0" x2="{WIDTH}" y1="{y}" y2="{y}"/>' for y in (0, HEIGHT // 2, HEIGHT)
    ]  # fmt: skip
    said = []
    for curve in curves(run.score):
        values = history([metrics], curve.key)[0]
        epochs = np.flatnonzero(np.isfinite(values))
        if not len(epochs):
            continue
        kept = epochs[drawing.thinned(len(epochs), POINTS)]
        x = WIDTH * kept / max(1, len(values) - 1)
        y = HEIGHT * (1 - (values[kept] - low) / (high - low))
        points = " ".join(f"{a:.0f},{b:.1f}" for a, b in zip(x, y, strict=True))
        parts.append(f'<polyline class="{curve.kind}" points="{points}"/>')
        last = (
            f"{run.score.scale * values[epochs[-1]]:.{run.score.digits}f} {run.score.unit}".rstrip()
        )
        said.append(f"{curve.name} {last}")
    if not said:
        return "No curve: metrics.jsonl has none of these numbers."
    summary = ", ".join(said)
    svg = (
        f'<svg viewBox="0 -2 {WIDTH} {HEIGHT + 4}" role="img" aria-label="{text(summary)}">'
        f"{''.join(parts)}</svg>"
    )
    return f"{svg}\n{text(summary)}"


def each_run(found: list[FinishedRun], order: list[str]) -> Iterator[str]:
    columns, score = sorted({run.column for run in found}), found[0].score
    metrics = [*metrics_by_run(found)[0].values()]
    shown = [one for one in curves(score) if np.isfinite(history(metrics, one.key)).any()]
    names = "".join(
        f'<span><svg viewBox="0 0 40 8"><line class="{curve.kind}" x2="40" y1="4" y2="4"/></svg>'
        f"{text(curve.name)}</span>"
        for curve in shown
    )
    if shown:
        yield f'<div class="key">{names}</div>'
    low, high = limits(score, metrics)
    ends = " to ".join(f"{score.scale * end:.4g}" for end in (low, high))
    unit = f"in {score.unit}, " if score.unit else ""
    told = f"Over epochs, {unit}from {ends}; seeds: training / noise / split."
    thinning = drawing.thinning((run.results["config"]["epochs"] for run in found), POINTS)
    yield f'<p class="soft">{text(told)} {thinning}</p>'
    for row in order:
        same = [run for run in found if run.row == row]
        yield f'<details open><summary>{text(row)} ({len(same)})</summary><div class="grid">'
        for run in sorted(same, key=lambda run: (run.column, run.seeds)):
            seeds = run.seeds[:1] if len({*run.seeds}) == 1 else run.seeds
            seed = f"seed {'/'.join(map(str, seeds))}"
            place = runs.joined(runs.heading(run.column, columns), seed)
            picture = sparkline(run, low, high)
            yield f'<div class="run"><strong>{text(place)}</strong>\n{picture}</div>'
        yield "</div></details>"


def configs(found: list[FinishedRun], order: list[str]) -> str:
    """A table of the settings in which rows differ, and a list of those that all runs share."""
    flat = [(run.row, identity.settings(run.results["config"])) for run in found]
    values: dict[str, dict[str, set[str]]] = {}  # by key and row
    for key in sorted({key for _, config in flat for key in config}):
        for row, config in flat:
            one = str(config.get(key, "-"))
            values.setdefault(key, {}).setdefault(row, set()).add(one)
    common = {key: of for key, of in values.items() if len(set().union(*of.values())) == 1}
    more = {key for run in found for key, _ in run.column.more}
    known = {*common, *files.SEEDS, *CONDITIONS, *more, "loss.method"}  # said elsewhere
    differing = [key for key in values if key not in known]
    lines = [[row, *(" / ".join(sorted(values[key][row])) for key in differing)] for row in order]
    shared = "\n".join(f"{key} = {next(iter(of[order[0]]))}" for key, of in common.items())
    parts = [table_of(["method", *differing], lines, "text")] if differing else []
    parts.append(
        f"<details><summary>The same in all runs</summary><pre>{text(shared)}</pre></details>"
    )
    return "\n".join(parts)


def versions(found: list[FinishedRun]) -> str:
    counts: dict[str, int] = {}
    for run in found:
        made_with = runs.made_with(run.results)
        counts[made_with] = counts.get(made_with, 0) + 1
    lines = [[str(number), made_with] for made_with, number in counts.items()]
    return table_of(["runs", "made with"], lines, "text")


def make(found: list[FinishedRun], root: pathlib.Path, command: str, figures: list[str]) -> str:
    order = plots.ranked(found)
    begun = [[*one] for one in unfinished(root)]
    title = f"superloss_jax: {root.resolve().name}"
    parts = {
        f"Test {found[0].score.name}": score_tables(found),
        "Figures": figures,
        "Runs without a result": [table_of(["directory", "state"], begun, "text")] * bool(begun),
        "Each run": each_run(found, order),
        "Configs": [configs(found, order)],
        "Versions": [versions(found)],
    }  # fmt: skip
    body = "\n".join(
        f"<h2>{heading}</h2>\n{content}"
        for heading, content in ((name, "\n".join(part)) for name, part in parts.items())
        if content
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>{text(title)}</title>
<style>{STYLE}</style>
</head>
<body>
<h1>{text(title)}</h1>
<p class="soft">Made by <code>{text(command)}</code></p>
{body}
</body>
</html>
"""


def page(args) -> None:
    """Writes one HTML file with the table, the figures and each run's curves."""
    root = checks.path("--workdir", args.workdir)
    given = {"workdir": args.workdir, "columns": args.columns, "rows": args.rows}
    flags = [f"--{name}={value}" for name, value in given.items() if value is not None]
    flags += [f"--split={args.split}"] * (args.split != plots.SPLIT)
    command = shlex.join(["python", "-m", "experiments.report", "html", *flags])
    output = checks.path("--output", args.output) if args.output else root / "report.html"
    try:
        found = runs.finished_runs(root, args.columns)
        figures, missing = pictures(found, args.rows, args.split)
        content = make(found, root, command, figures)
        output.write_text(content)
    except OSError as error:
        raise ValueError(f"{error.filename}: {error.strerror}") from None
    print("\n".join([*missing, f"{output}: {len(content.encode()) / 1e6:.1f} MB"]))


def add_command(commands) -> None:
    command = commands.add_parser("html", help=page.__doc__)
    runs.add_arguments(command)
    command.add_argument("--output", help="file to write (default: WORKDIR/report.html)")
    plots.add_choices(command)
    command.set_defaults(call=page)
