"""Finished runs for reports: loading, grouping into cells, and common settings."""

import pathlib
import re
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from experiments import checks
from experiments.report import rows
from experiments.runs import files, identity, stored
from experiments.runs.files import OF_SEEDS, SEEDS
from experiments.runs.selection import SELECTIONS, best_epoch
from experiments.runs.stored import Stored
from experiments.tasks import score_of
from experiments.tasks.scores import Score


class Condition(NamedTuple):
    """What methods are compared under: a column of a table."""

    data: str
    variant: str
    model: str
    imbalance: float
    noise: str
    rate: float
    more: tuple[tuple[str, Any], ...] = ()  # what --columns names, and its values


class FinishedRun(NamedTuple):
    """A finished run and its place in a table. Runs of the same cell differ only in their seeds."""

    path: pathlib.Path
    results: dict[str, Any]
    row: str
    column: Condition
    settings: str = ""  # which, where the row's name is the method alone
    pack: pathlib.Path | None = None  # the packed sweep's directory, where it is of one

    @property
    def seeds(self) -> tuple[int, ...]:
        flat = identity.settings(self.results["config"])
        return tuple(flat.get(key, 0) for key in SEEDS)

    @property
    def score(self) -> Score:
        """Returns the score of a run; for older results, it comes from the config."""
        known = self.results.get("score")
        return Score(**known) if known else score_of(self.results["config"])

    @property
    def stored(self) -> Stored:
        return Stored(self.path, self.results, self.pack)


def finished_runs(root: pathlib.Path, columns: str | None = None) -> list[FinishedRun]:
    """Every finished run below a directory, by name; copies of a run count once.

    `columns`: keys, with commas between, whose values are conditions, too.

    Raises:
      ValueError: if there is none, a file is torn, no config has such a key, or scores differ.
    """
    found: dict[str, Stored] = {}
    for one in stored.finished_below(checks.path("--workdir", root)):
        # A copy of a run must not count as another seed; one with other wrong targets is no copy.
        key = identity.config_sha256(one.results["config"]) + made_with(one.results)
        key += condition_of(one.results).noise
        found.setdefault(key, one)
    if not found:
        raise ValueError(f"--workdir: no finished run in {root}")
    return placed([*found.values()], columns)


def placed(found: list[Stored], columns: str | None = None) -> list[FinishedRun]:
    """Gives runs their rows and columns in a table.

    Raises:
      ValueError: if no config has a key that `columns` names, or scores differ.
    """
    configs = [one.results["config"] for one in found]
    keys = [*dict.fromkeys(columns.split(","))] if columns is not None else []
    names, more = rows.row_names(configs, keys), rows.column_values(configs, keys)
    runs = [
        FinishedRun(one.path, one.results, row,
                    condition_of(one.results)._replace(more=own), settings, one.pack)
        for one, (row, settings), own in zip(found, names, more, strict=True)
    ]  # fmt: skip
    if len(scores := sorted({run.score for run in runs})) > 1:
        got = ", ".join(score.key for score in scores)
        raise ValueError(f"--workdir: expected runs of one score, got {got}")
    return runs


def made_with(results: dict) -> str:
    """Returns what results depend on besides the config; runs that differ here are not averaged."""
    versions = ", ".join(f"{name} {number}" for name, number in results["versions"].items())
    return f"{versions}; {results['devices']} of {results['platform']}, x64 {results['x64']}"


def condition_of(results: dict) -> Condition:
    return condition(results["config"], results.get("noise", {}).get("realised_rate"))


def condition(config: dict, wrong: float | None = None) -> Condition:
    """The condition of a run; `wrong` is the known share of its targets that are wrong.

    Only a run without wrong targets is without noise, whatever its config asks for.
    """
    flat = identity.settings(config)
    kind, rate = flat.get("noise.kind", "given"), flat.get("noise.rate", 0.0)
    if flat.get("noise.kind") == "given":  # reads no rate
        rate = 0.0
    return Condition(  # with defaults: a user's own task may have none of these
        data=flat.get("data.name", ""),
        variant=flat.get("data.variant") or "",
        model=flat.get("model.name", ""),
        imbalance=flat.get("data.imbalance", 1.0),
        noise=kind if rate or wrong or kind == "given" else "none",
        rate=rate,
    )


def heading(column: Condition, columns: list[Condition]) -> str:
    """The parts of a condition that tell it from the others; "" if nothing need be told."""
    differing = {
        name for i, name in enumerate(Condition._fields) if len({one[i] for one in columns}) > 1
    }
    parts = [getattr(column, name) for name in ("data", "variant", "model") if name in differing]
    unsaid = not column.rate and column.noise not in ("none", "given")  # wrong at a rate of 0
    if unsaid or (column.rate and len({one.noise for one in columns if one.rate}) > 1):
        parts.append(column.noise)
    if column.imbalance != 1 or differing == {"imbalance"}:
        parts.append(f"imbalance {column.imbalance:g}")
    own = [pair for pair in column.more if any(pair not in one.more for one in columns)]
    said = column.rate or (column.noise == "none" and column.imbalance == 1)
    if said and not (own and "rate" not in differing):
        parts.append(f"noise {column.rate:g}")
    parts += further(column, own)
    return joined(*parts) or (f"noise {column.noise}" if differing else "")


def further(column: Condition, pairs: Iterable[tuple[str, Any]]) -> list[str]:
    """Names some of a condition's further keys, as shortly as tells them apart."""
    short = files.short_names(key for key, _ in column.more)
    return [f"{short[key]} {value}" for key, value in pairs]


def by_cell(found: Iterable[FinishedRun]) -> dict[tuple[str, Condition], list[FinishedRun]]:
    """Groups runs by row and column; each group is averaged."""
    cells: dict[tuple[str, Condition], list[FinishedRun]] = {}
    for run in found:
        cells.setdefault((run.row, run.column), []).append(run)
    return cells


def differences(group: list[FinishedRun]) -> list[str]:
    """Lists how runs differ beside their seeds: in config, versions, device."""
    configs = [identity.settings(run.results["config"]) for run in group]
    texts = []
    for key in sorted({key for config in configs for key in config} - {*SEEDS, *OF_SEEDS}):
        values = sorted({str(config.get(key)) for config in configs})
        if len(values) > 1 and any(identity.is_read(key, config) for config in configs):
            texts.append(f"{key} {' / '.join(values)}")
    return texts + made_differently(group)


def made_differently(group: list[FinishedRun]) -> list[str]:
    parts = [re.split("[;,] ", made_with(run.results)) for run in group]
    differing = {part for some in parts for part in some if any(part not in one for one in parts)}
    return [" / ".join(sorted(differing))] if differing else []


def check_alike(group: list[FinishedRun], name: str) -> None:
    """Raises a ValueError if runs that are to be averaged differ in more than their seeds."""
    if texts := differences(group):
        raise ValueError(
            f"--workdir: expected runs of one config, version and device, got {'; '.join(texts)}"
            f" in those of {name}"
        )


def declared(run: FinishedRun) -> tuple[str, ...]:
    """The selections that the config declares, the most important first; () in older runs."""
    return tuple(run.results["config"].get("report", {}).get("selection", ()))


def score_at(run: FinishedRun, selection: str) -> float:
    """The test score, as people write it; NaN where the run has none of that kind."""
    score, key = run.score, f"test_{run.score.key}"
    if selection == "best_test":
        test = [value for row in metrics(run) if (value := row.get(key)) is not None]
        return score.scale * test[best_epoch(test, score)] if test else np.nan
    value = run.results[key].get(selection)
    return np.nan if value is None else score.scale * value


def selection_in_full(run: FinishedRun, selection: str) -> str:
    """A selection's full name, with the kind of validation targets."""
    return SELECTIONS[selection].format(validation=validation_kind(run), target=run.score.target)


def validation_kind(run: FinishedRun) -> str:
    """Whether the targets of validation examples are noisy or clean."""
    return run.results["config"].get("data", {}).get("validation_labels", "held-out")


def metrics(run: FinishedRun) -> list[dict]:
    """Reads the metrics of a run, a row per epoch.

    Raises:
      ValueError: if they are not there, or torn.
    """
    return stored.metrics_of(run.stored)


def fitted(score: Score) -> tuple[str, str]:
    """What a score on right and on wrong training targets is called: in %, it is their share."""
    right, wrong = f"right {score.target}s", f"wrong {score.target}s"
    if score.unit == "%":
        return f"{right} fitted", f"{wrong} memorised"
    return f"{score.name} on {right}", f"{score.name} on {wrong}"


def with_unit(score: Score) -> str:
    return f"{score.name} in {score.unit}" if score.unit else score.name


def joined(*parts: str) -> str:
    return ", ".join(filter(None, parts))


def capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def number(runs: int) -> str:
    return f"{runs} run{'s' * (runs != 1)}"


def mean_and_spread(values: list[float], digits: int) -> str:
    spread = f" ± {np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else ""
    return f"{np.mean(values):.{digits}f}{spread}"


def caption(runs: list[FinishedRun]) -> str:
    """Describes what runs have in common, and where they are mixed."""

    def common(values):
        values = sorted({*map(str, values)})
        return values[0] if len(values) == 1 else f"mixed ({', '.join(values)})"

    rates = {run.results["noise"]["realised_rate"] for run in runs}
    known = [f"{rate:.2%}" for rate in sorted(rates - {None})]
    wrong = " to ".join(dict.fromkeys((known[0], known[-1]))) if known else "unknown"
    wrong += " (of some runs unknown)" if known and None in rates else ""
    seeds = zip(*(run.seeds for run in runs), strict=True)
    varied = [name for name, of in zip(SEEDS.values(), seeds, strict=True) if len({*of}) > 1]
    target = runs[0].score.target
    vmapped = sum("vmapped" in run.results for run in runs)
    every = [run.results for run in runs]
    epochs = (one["config"]["epochs"] for one in every)
    conventions = (one["noise"]["convention"] for one in every)
    versions, platforms = (
        (one["versions"]["jax"] for one in every),
        (one["platform"] for one in every),
    )
    subject = {run.column.data for run in runs}, {run.column.model for run in runs}
    parts = (
        f"mean ± sample standard deviation over n seeds{' of ' * bool(varied)}{', '.join(varied)}",
        number(len(runs)) + f", {vmapped} of them with other seeds at once" * bool(vmapped),
        *(common(names) for names in subject if names != {""}),  # a user's own task may have none
        f"{(several := common(epochs))} epoch{'s' * (several != '1')}",
        f"noise {common(conventions)}, part of wrong {target}s {wrong}",
        f"jax {common(versions)} on {common(platforms)}",
    )
    return f"{'; '.join(parts)}. {rows.settings(runs)}".rstrip()


def add_arguments(command) -> None:
    """Adds the flags that say which runs to read, and which keys are conditions."""
    command.add_argument("--workdir", required=True, help="directory that holds the runs")
    told = "keys of the config, commas between, whose values are columns and no part of rows' names"
    command.add_argument("--columns", metavar="KEYS", help=told)
