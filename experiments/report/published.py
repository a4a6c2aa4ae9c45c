"""Published numbers beside ours: only where data, model, method, noise and selection are the same.

Source, convention and selection of each are in published_results.csv. What is not known there
matches nothing, and is printed apart. The file names noise as configs do. On CIFAR-100, numbers of
code that flips in blocks of five classes are of `asymmetric_blocks`, whatever their paper says.
"""

import csv
import math
import pathlib
from typing import NamedTuple

from experiments.report import runs
from experiments.report.runs import FinishedRun
from experiments.report.statistics import Cell
from experiments.tasks.scores import Score

FILE = pathlib.Path(__file__).with_name("published_results.csv")
# Ours, and theirs with the values that it has there. Others are left out: which of our forms
# theirs is, or with which values, is not known (self_paced, bootstrap, data_parameters, ...).
METHODS: dict[str, tuple[str, dict]] = {
    "cross_entropy": ("cross_entropy", {}),
    "superloss": ("superloss", {"lam": 1.0, "threshold": "ema", "decay": 0.9}),
    "generalized_cross_entropy": ("generalized_cross_entropy", {"q": 0.7}),
    "symmetric_cross_entropy": ("symmetric_cross_entropy", {"alpha": 0.1, "beta": 1.0}),
    "early_learning": ("early_learning_regularization", {"lam": 3.0, "beta": 0.7}),
    "forward_correction": ("forward_correction", {}),
    "active_passive": ("nce_rce", {"passive": "rce", "alpha": 1.0, "beta": 1.0}),
    "epsilon_softmax": ("epsilon_softmax_ce_mae", {"m": 1e5, "alpha": 0.01, "beta": 5.0}),
    "co_teaching": ("co_teaching", {}),
    "jocor": ("jocor", {"lam": 0.9}),
}
OF_CIFAR100 = {
    "symmetric_cross_entropy": {"alpha": 6.0, "beta": 0.1},
    "early_learning": {"lam": 7.0, "beta": 0.9},
}
MODELS = {"vit_curbench": "vit"}
HUMAN = {
    ("cifar10n", "worse"): ("cifar10", "human_worse"),
    ("cifar100n", "noisy"): ("cifar100", "human"),
}
UNKNOWN = ("", "unknown", "symmetric_unknown")


class Measured(NamedTuple):
    """What was measured, by the names in the file; the selection is kept apart."""

    data: str
    model: str
    method: str
    noise: str
    rate: float


class Published(NamedTuple):
    task: Measured
    selection: str
    value: float  # as people write it
    deviation: float  # NaN where it is not given
    n: int  # 0 where it is not given
    source: str


class Comparison(NamedTuple):
    published: Published
    difference: float  # ours less theirs
    within: bool | None  # 2 sqrt(s1^2 / n1 + s2^2 / n2); None: no verdict


def listed(score: Score) -> list[Published]:
    """The published numbers of a score; there are none if the file has no column of its key."""
    with open(FILE, newline="") as file:
        return [
            Published(
                task=Measured(
                    row["dataset"], row["model"], row["method"], row["noise"],
                    _rate(row["noise"], float(row["rate"])),
                ),
                selection=row["selection"],
                value=float(row[score.key]),
                deviation=float(row["std"] or "nan"),
                n=int(row["seeds"] or 0),
                source=row["source"],
            )
            for row in csv.DictReader(file)
            if score.key in row
        ]  # fmt: skip


def _rate(noise: str, rate: float) -> float:
    """Returns 0 for what people gave: its one rate is written with two, three or four digits."""
    return 0.0 if noise.startswith("human") else rate


def measured_by(run: FinishedRun) -> Measured | None:
    """What a run measures, by the names in the file; None if nothing published can match."""
    column = run.column
    data, noise = column.data, column.noise
    if noise == "given":
        data, noise = HUMAN.get((data, column.variant), (data, noise))
    elif noise == "none":
        noise = "none" if column.imbalance == 1 else f"imbalance_{column.imbalance:g}"
    if column.imbalance != 1 and not noise.startswith("imbalance"):
        return None
    method = _method(run, data)
    if method is None:
        return None
    return Measured(data, MODELS.get(column.model, column.model), method, noise,
                _rate(noise, column.rate))  # fmt: skip


def _method(run: FinishedRun, data: str) -> str | None:
    """The published name of a run's method; None if nobody published this form of it.

    By the config, as a label shows only in what a run differs from most of the others.
    """
    config = run.results["config"]
    loss, name = config["loss"], config["loss"]["method"]
    augment, order = config.get("augment", {}), config.get("curriculum", {})
    extra = (
        augment.get("mixup"), augment.get("cutout"), config.get("data", {}).get("exclude"),
        order.get("difficulty"), order.get("classes", "given") != "given",
        config.get("easy_anchors", {}).get("weight"),
    )  # fmt: skip
    if name not in METHODS or any(extra) or loss.get("base", "cross_entropy") != "cross_entropy":
        return None
    theirs, values = METHODS[name]
    values = OF_CIFAR100.get(name, values) if data == "cifar100" else values
    if name in ("co_teaching", "jocor") and run.column.noise != "given":
        values = values | {"forget_rate": run.column.rate}  # told the true rate
    own = loss if name == "superloss" else loss.get(name, {})
    return theirs if all(own.get(key) == value for key, value in values.items()) else None


def selection_of(run: FinishedRun, selection: str) -> str | None:
    """The file's name for a selection; None if the file has no such numbers."""
    if selection == "best_validation":
        if run.column.noise == "none":
            return "clean_validation"  # nothing is noisy
        return f"{runs.validation_kind(run)}_validation"
    names = {"last": "last", "mean_of_last_10": "last10", "best_test": "test_best"}
    return names.get(selection)


def matches(run: FinishedRun, selection: str, all_published: list[Published]) -> list[Published]:
    """The published numbers that match a run; one that a paper's figure repeats counts once."""
    if not all_published:
        return []
    task, name = measured_by(run), selection_of(run, selection)
    if task is None or name is None:
        return []
    found = [one for one in all_published if (one.task, one.selection) == (task, name)]
    given = {one.value for one in found if not math.isnan(one.deviation)}
    return [one for one in found if not math.isnan(one.deviation) or one.value not in given]


def compare(cell: Cell, one: Published) -> Comparison:
    within = None
    if cell.n >= 3 and one.n > 1 and not math.isnan(one.deviation):
        error = math.sqrt(cell.deviation**2 / cell.n + one.deviation**2 / one.n)
        within = abs(cell.mean - one.value) <= 2 * error
    return Comparison(one, cell.mean - one.value, within)


def comparisons(cells: dict, all_published: list[Published]) -> dict[tuple, list[Comparison]]:
    """Compares each cell that has values, by selection, row and column."""
    return {
        key: [compare(cell, one) for one in matches(cell.runs[0], key[0], all_published)]
        for key, cell in cells.items()
        if cell.n
    }


VERDICTS = {True: "yes", False: "no", None: "-"}
CAPTION = (
    "Ours less the published number, where data set, model, method, noise convention, rate and"
    " selection are the same; other settings may differ. The verdict is whether the difference is"
    " within 2 sqrt(s1^2/n1 + s2^2/n2), which proves no equality; there is none (-) for fewer than"
    " 3 seeds of ours, or where the published number has no standard deviation or n."
)


def matched(cells: dict, found: dict[tuple, list[Comparison]]):
    """The head and the rows of a table of what was compared."""
    columns = [column for _, _, column in cells]
    head = ["method", "condition", "selection", "ours", "published", "difference",
            "within 2 standard errors", "source"]  # fmt: skip
    lines = []
    for (selection, row, column), some in found.items():
        cell = cells[selection, row, column]
        ours = f"{runs.mean_and_spread([*cell.values.values()], 2)} (n = {cell.n})"
        condition = runs.heading(column, columns) or f"noise {column.noise}"
        where = condition, runs.selection_in_full(cell.runs[0], selection)
        for one in some:
            numbers = _number(one.published), f"{one.difference:+.2f}", VERDICTS[one.within]
            lines.append([row, *where, ours, *numbers, one.published.source])
    return head, lines


def apart(cells: dict, all_published: list[Published]):
    """The head and the rows of a table of what is near, and why it is not compared."""
    tasks: dict[Measured, set[str | None]] = {}
    for (selection, _, _), cell in cells.items():
        if cell.n and (task := measured_by(cell.runs[0])) is not None:
            tasks.setdefault(task, set()).add(selection_of(cell.runs[0], selection))
    lines = []
    for one in all_published:
        near = [task for task in tasks if _near(task, one.task)]
        same = [task for task in near if task.noise == one.task.noise]
        if not near:
            continue
        why = [] if same else ["noise convention" + _said(one.task.noise)]
        if not any(one.selection in tasks[task] for task in same or near):
            why.append("selection" + _said(one.selection))
        if why:
            rate = f" {one.task.rate:g}" if one.task.rate else ""
            what = one.task.method, one.task.data, one.task.model, one.task.noise + rate
            lines.append([*what, _number(one), f"not comparable: {', '.join(why)}", one.source])
    return ["method", "data", "model", "noise", "published", "why", "source"], lines


def _near(ours: Measured, theirs: Measured) -> bool:
    """Whether two tasks are the same, except for how wrong targets were drawn."""
    kinds = {one.noise.partition("_")[0] for one in (ours, theirs)}
    return ours._replace(noise="") == theirs._replace(noise="") and (
        ours.noise == theirs.noise or kinds in ({"symmetric"}, {"asymmetric"})
    )


def _said(name: str) -> str:
    return " unknown" if name in UNKNOWN else f" is {name}"


def _number(one: Published) -> str:
    spread = "" if math.isnan(one.deviation) else f" ± {one.deviation:.2f}"
    return f"{one.value:.2f}{spread}" + (f" (n = {one.n})" if one.n else "")
