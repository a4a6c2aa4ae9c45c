"""For the site: all methods, ranked on each data set by the packed runs of results/.

    python -m scripts.docs_pages

A new sweep of methods is a line of RANKED.
"""

import pathlib
import re
from collections.abc import Iterator
from typing import NamedTuple

import jax
import numpy as np
import optax

from configs import base
from experiments.report import runs
from experiments.report.statistics import Cell, make_cell, paired
from experiments.training.facts import Facts
from experiments.training.methods import FROM_FILE, METHODS, make_method
from scripts.docs_tables import rows_of, table
from superloss_jax import noise

RANKED = {  # directories of results/, by the headings of their rankings
    "Digits, every method": "every_method",
    "Digits": "rivals_digits",
    "Digits, more noise": "remembered_digits",
    "Digits, 240 epochs": "remembered_digits_long",
    "CIFAR-10 with augmentation, LeNet": "rivals_cifar10",
    "CIFAR-10 without augmentation": "remembered_cifar10",
    "CIFAR-10 with augmentation, ConvNetSmall": "remembered_cifar10_augmented",
    "CIFAR-10 with augmentation, ten epochs": "cifar_cpu_table",
    "CIFAR-10N with augmentation, ten epochs": "cifar10n",
    "Numbers": "remembered_regression",
}
SELECTED = ("last", "best_validation")
PLAIN = ("cross_entropy", "plain")
SIZES = {"num_examples": 50_000, "num_classes": 10}  # CIFAR-10's, for the memory that a state takes


class Line(NamedTuple):
    """A row of a sweep on one data set: a method and its settings."""

    row: str
    scores: dict[str, list[float]]  # by selection: of each seed, over the kinds of noise
    clean: list[float]  # of each seed, without wrong targets, in the last epoch
    places: dict[str, int]  # by selection, from 1
    ahead: dict[str, list[int]]  # by selection: for each kind of noise what `signs` says


class Ranking(NamedTuple):
    """The rows of a sweep on one data set, the best in the last epoch first."""

    title: str
    directory: str
    lines: list[Line]
    said: str  # the caption's account of data, model, epochs and noise
    score: str
    digits: int  # after the point
    noises: int  # kinds or rates of wrong targets, over which a score is the mean


# --- From runs to places. -------------------------------------------------------------------------


def rankings(root: pathlib.Path) -> list[Ranking]:
    return [one for title, name in RANKED.items() for one in of_sweep(root, title, name)]


def of_sweep(root: pathlib.Path, title: str, name: str) -> Iterator[Ranking]:
    """A ranking for each data set of a sweep."""
    found = runs.finished_runs(root / "results" / name)
    data = sorted({run.column[:2] for run in found})
    for of_data in data:
        some = [run for run in found if run.column[:2] == of_data]
        own = f"{title}, {' '.join(filter(None, of_data))}" if len(data) > 1 else title
        score = runs.with_unit(some[0].score)
        said = runs.caption(some).partition("; ")[2].partition("; jax")[0]
        noises = len({run.column for run in some if run.column.noise != "none"})
        yield Ranking(own, name, lines_of(some), said, score, some[0].score.digits, noises)


def lines_of(found: list[runs.FinishedRun]) -> list[Line]:
    rows, groups = sorted({run.row for run in found}), runs.by_cell(found)
    sign = 1 if found[0].score.larger_is_better else -1
    columns = sorted({run.column for run in found})
    wrong = [one for one in columns if one.noise != "none"]
    clean = [one for one in columns if one.noise == "none" and one.imbalance == 1]
    plain = next(row for row in PLAIN if row in rows)

    def cell(selection: str, row: str, column: runs.Condition) -> Cell:
        return make_cell(groups.get((row, column), []), selection)

    cells = {(s, row): [cell(s, row, one) for one in wrong] for s in SELECTED for row in rows}
    scores = {key: by_seed(some) for key, some in cells.items()}
    means = {key: sign * np.mean(some) if some else -np.inf for key, some in scores.items()}
    made = []
    for row in rows:
        places = {s: 1 + sum(means[s, other] > means[s, row] for other in rows) for s in SELECTED}
        ahead = {s: [*signs(sign, cells[s, row], cells[s, plain])] for s in SELECTED}
        own = {s: scores[s, row] for s in SELECTED}
        without = by_seed([cell("last", row, one) for one in clean])
        made.append(Line(row, own, without, places, ahead))
    return sorted(made, key=lambda line: (line.places["last"], line.row))


def by_seed(cells: list[Cell]) -> list[float]:
    """The mean over cells for each seed that all of them have."""
    seeds = set.intersection(*({*cell.values} for cell in cells)) if cells else set()
    return [float(np.mean([cell.values[one] for cell in cells])) for one in sorted(seeds)]


def signs(sign: int, cells: list[Cell], plain: list[Cell]) -> Iterator[int]:
    """For each pair: is the 95 % interval of the difference above 0 (1), below (-1) or neither.

    Differences are by seed; a pair with fewer than two seeds in common is left out.
    """
    for cell, other in zip(cells, plain, strict=True):
        difference = paired(cell, other)
        if difference is not None and difference.n > 1:
            low, high = sorted((sign * difference.low, sign * difference.high))
            yield int(low > 0) - int(high < 0)


# --- What a method is, needs and costs. -----------------------------------------------------------


def of_method(line: Line) -> str:
    return line.row.split(",")[0]


def foremost(ranking: Ranking, method: str) -> Line | None:
    """The row of a method with the fewest settings in its name."""
    own = [line for line in ranking.lines if of_method(line) == method]
    return min(own, key=lambda line: (line.row.count(","), line.row), default=None)


def state_size(method: str) -> int:
    """Bytes of a method's state; 0 for one that is read from a user's file."""
    if method in FROM_FILE:
        return 0
    classes = SIZES["num_classes"]
    facts = Facts(
        **SIZES, steps=1000, rate=optax.constant_schedule(0.1), noise_rate=0.4,
        matrix=lambda: noise.transition_matrix("symmetric_exclusive", 0.4, classes),
        counts=lambda: np.ones(classes, int),
    )  # fmt: skip
    loss = base.get_config().unlock().loss
    loss.method = method
    state = jax.eval_shape(make_method(loss, facts).init)
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))


def size_text(size: int) -> str:
    """With a space that does not break."""
    if size < 1000:
        return f"{size}\u00a0B" if size else ""
    return f"{size / 1e6:.1f}\u00a0MB" if size >= 1e5 else f"{size / 1e3:.0f}\u00a0kB"


def needs(root: pathlib.Path) -> dict[str, str]:
    """What `update` asks for beside losses, by method, as docs/methods.md says it."""
    told = rows_of((root / "docs/methods.md").read_text(), "| method | paper")
    return {name: rest[-1] for names, rest in told.items()
            for name in re.findall(r"`(?:\w+\.)?(\w+)`", names)}  # fmt: skip


ADVICE = TRY, BESIDE, ALIKE, NOT, UNKNOWN = (
    "try it", "try it beside the plain loss", "not told from the plain loss", "rather not",
    "not compared here",
)  # fmt: skip


def advice(last: list[int], best: list[int]) -> str:
    """By the comparisons with the plain loss in the last epoch and at the best one."""
    every = last + best
    if not every:
        return UNKNOWN
    if 1 in every:
        return BESIDE if -1 in every else TRY
    return NOT if -1 in every else ALIKE


def counted(signs: list[int]) -> str:
    return f"{signs.count(1)} / {signs.count(-1)} of {len(signs)}" if signs else ""


def compared(found: list[Ranking], method: str) -> tuple[list[int], list[int]]:
    """A method's comparisons with the plain loss, in the last epoch and at the best one."""
    own = [line for one in found if (line := foremost(one, method))]
    last, best = ([sign for line in own for sign in line.ahead[s]] for s in SELECTED)
    return last, best


def merit(last: list[int], best: list[int]) -> tuple[int, float]:
    """What the methods are sorted by: the advice, then how often ahead less how often behind."""
    return ADVICE.index(advice(last, best)), -float(np.mean([*last, 0]))


# --- The page. ------------------------------------------------------------------------------------


def ranking_page(root: pathlib.Path) -> str:
    found = rankings(root)
    parts = [INTRODUCTION, overview(root, found), CAPTION]
    for one in found:
        parts += [f"## {one.title}\n", of_data(one)]
    return "\n".join(parts)


INTRODUCTION = """# Methods ranked

All methods by what was measured here: on each data set below, and in one table with what each
needs, keeps and costs. The networks are small, and most settings are the papers' for others: a
place says what happened here, and no more. Places are by the mean over seeds and kinds of noise; a
score without ± is of one seed. [Which method to take](../advice.md) has the reasons,
[each method](methods.md) its formula and source.

## All methods
"""
CAPTION = f"""
The state is that of 50,000 examples and ten classes. A step is in multiples of cross entropy's,
LeNet at batch 128 ([how it was measured](../methods.md#cost)). Where nothing stands, nothing was
measured, or the state is empty.

A method is compared with the plain loss (cross entropy, where targets are classes) in each
condition below that has wrong targets and several seeds. It is ahead where the 95 % interval of the
difference by seed lies above 0, and behind where it lies below; nothing corrects for the number of
comparisons. The advice is made of them, those in the last epoch and those at the best one:

- **{TRY}**: ahead at least once, and never behind
- **{BESIDE}**: ahead at least once, and behind at least once
- **{ALIKE}**: never ahead, and never behind
- **{NOT}**: never ahead, and behind at least once

One condition says little, so their number stands there. The best epoch is the best by noisy
validation labels. Of a method with several rows in a sweep, the one with the fewest settings in its
name counts. Made by `python -m scripts.docs_pages`, from the runs that the sections below name.
"""


def overview(root: pathlib.Path, found: list[Ranking]) -> str:
    known = (root / "docs/methods.md").read_text()
    costs, asked, rows = rows_of(known, "| method | LeNet step"), needs(root), []
    shown = {method: compared(found, method) for method in METHODS if method not in PLAIN}
    for method, signs in sorted(shown.items(), key=lambda one: (merit(*one[1]), one[0])):
        link = f"[{method}](methods.md#{method.replace('_', '-')})"
        about = asked.get(method, ""), size_text(state_size(method)), costs.get(method, [""])[0]
        rows.append([link, *about, *map(counted, signs), advice(*signs)])
    ahead = "ahead / behind,"
    head = ["method", "needs", "state", "step", f"{ahead} last epoch", f"{ahead} best epoch"]
    return table([*head, "advice"], rows)


def of_data(ranking: Ranking) -> str:
    """The table of one data set, and how to make its numbers."""
    digits, with_clean = ranking.digits, any(line.clean for line in ranking.lines)
    head = ["place", "method", "last epoch", "place", "best epoch"]
    rows = []
    for line in ranking.lines:
        last, best = (f"{text(line.scores[s], digits)}" for s in SELECTED)
        row = [f"{line.places['last']}", line.row, last, f"{line.places['best_validation']}", best]
        rows.append(row + [text(line.clean, digits)] * with_clean)
    over = f", the mean over {ranking.noises} kinds or rates of noise" * (ranking.noises > 1)
    command = f"python -m experiments.report table --workdir=results/{ranking.directory}"
    said = f"Test {ranking.score}{over}; {ranking.said}. [All of it](results.md#"
    said += f"{ranking.directory.replace('_', '-')}); `{command} --select=last,best_validation`."
    return table(head + ["no wrong targets, last epoch"] * with_clean, rows) + f"\n{said}\n"


def text(values: list[float], digits: int) -> str:
    return runs.mean_and_spread(values, digits) if values else "-"


def places(found: list[Ranking], method: str) -> Iterator[str]:
    """A line for the page of each method: where it is in the rankings."""
    own = [f"{one.title} {line.places['last']} of {len(one.lines)}"
           for one in found if (line := foremost(one, method))]  # fmt: skip
    if own:
        yield f"[Place](ranking.md) in the last epoch: {'; '.join(own)}"
