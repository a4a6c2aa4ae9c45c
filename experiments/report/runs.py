"""Finished runs as a report needs them: which belong together, and what they have in common."""

import json
import pathlib
import re
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from experiments import checks
from experiments.runs import files
from experiments.runs.files import SEEDS
from experiments.runs.selection import SELECTIONS


class Condition(NamedTuple):
    """What methods are compared under: a column of a table."""

    data: str
    variant: str
    model: str
    imbalance: float
    noise: str
    rate: float
    more: tuple[tuple[str, Any], ...] = ()  # what --columns names, and its values


CONDITIONS = ("data.name", "data.variant", "model.name", "data.imbalance", "noise.kind",
              "noise.rate")  # fmt: skip


class FinishedRun(NamedTuple):
    """A results.json and where it lies. Runs of one row and one column differ in seeds alone."""

    path: pathlib.Path
    results: dict[str, Any]
    row: str
    column: Condition
    settings: str = ""  # which, where the row's name is the method alone

    @property
    def seeds(self) -> tuple[int, ...]:
        flat = files.flattened(self.results["config"])
        return tuple(flat[key] for key in SEEDS)


def read(root: pathlib.Path, columns: str | None = None) -> list[FinishedRun]:
    """Every finished run below a directory, by name; of one config and platform, the first.

    `columns`: keys, with commas between, whose values are conditions, too.

    Raises:
      ValueError: if there is none, a file is torn, or no config has such a key.
    """
    found: dict[str, tuple[pathlib.Path, dict]] = {}
    for path in sorted(root.expanduser().glob(f"**/{files.RESULTS}")):
        try:
            results = json.loads(path.read_text())
        except ValueError as error:
            raise ValueError(f"--workdir: {path} is torn: {error}") from None
        if "config" not in results:  # of several seeds, which have files of their own
            continue
        # A copy is no further seed.
        key = files.config_sha256(results["config"]) + made_with(results)
        found.setdefault(key, (path.parent, results))
    if not found:
        raise ValueError(f"--workdir: no finished run in {root}")
    configs = [results["config"] for _, results in found.values()]
    keys = [*dict.fromkeys(columns.split(","))] if columns is not None else []
    names, more = labels(configs, keys), values(configs, keys)
    return [
        FinishedRun(path, results, row, condition(results["config"])._replace(more=own), settings)
        for (path, results), (row, settings), own in zip(found.values(), names, more, strict=True)
    ]


def values(configs: list[dict], keys: list[str]) -> list[tuple[tuple[str, Any], ...]]:
    """What each config has for keys; numbers, or texts if not all are."""
    flat = [files.flattened(config) for config in configs]
    known = {key for one in flat for key in one} - {*SEEDS, *CONDITIONS, "loss.method"}
    differing = [key for key in sorted(known) if len({str(one.get(key)) for one in flat}) > 1]
    for key in keys:
        checks.choose("--columns", key, dict.fromkeys(differing or ["none, for no key differs"]))
    texts = {k for k in keys if not all(isinstance(one.get(k), int | float) for one in flat)}
    return [
        tuple((key, str(one.get(key)) if key in texts else one[key]) for key in keys)
        for one in flat
    ]


def made_with(results: dict) -> str:
    """On what numbers depend beside the config: runs that differ in it are not averaged."""
    versions = ", ".join(f"{name} {number}" for name, number in results["versions"].items())
    return f"{versions}; {results['devices']} of {results['platform']}, x64 {results['x64']}"


def condition(config: dict) -> Condition:
    flat = files.flattened(config)
    kind, rate = flat["noise.kind"], flat["noise.rate"]
    return Condition(
        data=flat["data.name"],
        variant=flat.get("data.variant") or "",
        model=flat["model.name"],
        imbalance=flat.get("data.imbalance", 1.0),
        noise=kind if rate or kind == "given" else "none",
        rate=rate,
    )


def heading(column: Condition, columns: list[Condition]) -> str:
    """As much of a condition as tells it from the others."""
    differing = {
        name for i, name in enumerate(Condition._fields) if len({one[i] for one in columns}) > 1
    }
    parts = [getattr(column, name) for name in ("data", "variant", "model") if name in differing]
    if column.rate and len({one.noise for one in columns if one.rate}) > 1:
        parts.append(column.noise)
    if column.imbalance != 1 or differing == {"imbalance"}:
        parts.append(f"imbalance {column.imbalance:g}")
    own = [pair for pair in column.more if any(pair not in one.more for one in columns)]
    said = column.rate or (column.noise != "given" and column.imbalance == 1)
    if said and not (own and "rate" not in differing):
        parts.append(f"noise {column.rate:g}")
    parts += further(column, own)
    return ", ".join(filter(None, parts)) or column.noise


def further(column: Condition, pairs: Iterable[tuple[str, Any]]) -> list[str]:
    """Some of a condition's further keys, by as much of their names as tells them apart."""
    short = files.short_names(key for key, _ in column.more)
    return [f"{short[key]} {value}" for key, value in pairs]


def labels(configs: list[dict], columns: Iterable[str] = ()) -> list[tuple[str, str]]:
    """Each run's row, and the settings that are not in its name.

    A row is a method, and every value in which it differs from most of the others, but for those of
    `columns`, which are conditions. Where a method has one row, its name is the method's.

    Runs of one row differ in their seeds and conditions alone, or in keys that older ones lack.
    """
    flat = [files.flattened(config) for config in configs]
    keys = {key for one in flat for key in one} - {*SEEDS, *CONDITIONS, *columns, "loss.method"}
    usual = {}
    for key in sorted(keys):
        values = [str(one[key]) for one in flat if key in one]
        counts = {value: values.count(value) for value in values}
        most = max(counts, key=counts.__getitem__)
        if len(counts) > 1:  # where no value is that of most, each is named
            usual[key] = most if 2 * counts[most] > len(values) else None
    short = files.short_names(usual)
    names, told = [], []
    for one in flat:
        own = [key for key in short if key in one and str(one[key]) != usual[key]]
        texts = [f"{short[key]} {one[key]}" for key in own]
        names.append((one["loss.method"], *texts))
        texts = [in_caption(one, key, short[key], usual[key]) for key in own]
        told.append(", ".join(filter(None, texts)))
    methods = [method for method, *_ in {*names}]
    return [
        (name[0], text) if methods.count(name[0]) == 1 else (", ".join(name), "")
        for name, text in zip(names, told, strict=True)
    ]


def in_caption(one: dict, key: str, name: str, usual: str | None) -> str:
    """A setting, with most runs' beside it where every method has one, as a learning rate."""
    of_loss = key.startswith("loss.")
    if of_loss and one["loss.method"] == "cross_entropy":  # which reads none of these
        return ""
    return f"{name} {one[key]}" + f" (most: {usual})" * (not of_loss and usual is not None)


def settings(found: Iterable[FinishedRun]) -> str:
    """What a caption says of the settings that rows' names leave out."""
    of_row = {run.row: run.settings for run in found if run.settings}
    texts = [f"{row} with {of_row[row]}" for row in sorted(of_row)]
    return f"Settings unlike most runs': {'; '.join(texts)}." if texts else ""


def by_cell(found: Iterable[FinishedRun]) -> dict[tuple[str, Condition], list[FinishedRun]]:
    """By row and column: what is averaged."""
    cells: dict[tuple[str, Condition], list[FinishedRun]] = {}
    for run in found:
        cells.setdefault((run.row, run.column), []).append(run)
    return cells


def differences(group: list[FinishedRun]) -> list[str]:
    """In what runs differ beside their seeds: config, versions, device."""
    configs = [files.flattened(run.results["config"]) for run in group]
    texts = []
    for key in sorted({key for config in configs for key in config} - {*SEEDS}):
        values = sorted({str(config.get(key)) for config in configs})
        if len(values) > 1:
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
    """Which epochs' accuracy the config says that counts, the first foremost; () of older runs."""
    return tuple(run.results["config"].get("report", {}).get("selection", ()))


def accuracy(run: FinishedRun, selection: str) -> float:
    """Test accuracy in %; NaN where the run has none of that kind."""
    if selection == "best_test":
        test = [row.get("test_accuracy", np.nan) for row in metrics(run)]
        return 100 * max(test, default=np.nan)
    return 100 * run.results["test_accuracy"].get(selection, np.nan)


def validation(run: FinishedRun) -> float | None:
    """The best accuracy on validation labels, in %."""
    values = [row["validation_accuracy"] for row in metrics(run) if "validation_accuracy" in row]
    return 100 * max(values) if values else None


def selected(run: FinishedRun, selection: str) -> str:
    """A selection's name in full: the kind of validation labels makes a difference."""
    kind = run.results["config"]["data"]["validation_labels"]
    return SELECTIONS[selection].format(validation=kind)


def metrics(run: FinishedRun) -> list[dict]:
    """A row an epoch.

    Raises:
      ValueError: if they are not there, or torn.
    """
    path = run.path / files.METRICS
    try:
        return files.read_rows(path)
    except (OSError, ValueError) as error:
        raise ValueError(f"--workdir: {path}: {error}") from None


def number(runs: int) -> str:
    return f"{runs} run{'s' * (runs != 1)}"


def mean_and_spread(values: list[float], digits: int) -> str:
    spread = f" ± {np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else ""
    return f"{np.mean(values):.{digits}f}{spread}"


def caption(runs: list[FinishedRun]) -> str:
    """What the runs have in common, or that they have not."""

    def common(of):
        values = sorted({str(of(run.results)) for run in runs})
        return values[0] if len(values) == 1 else f"mixed ({', '.join(values)})"

    rates = {run.results["noise"]["realised_rate"] for run in runs}
    known = [f"{rate:.2%}" for rate in sorted(rates - {None})]
    wrong = " to ".join(dict.fromkeys((known[0], known[-1]))) if known else "unknown"
    wrong += " (of some runs unknown)" if known and None in rates else ""
    seeds = zip(*(run.seeds for run in runs), strict=True)
    varied = [name for name, of in zip(SEEDS.values(), seeds, strict=True) if len({*of}) > 1]
    vmapped = sum("vmapped" in run.results for run in runs)
    parts = (
        f"mean ± sample standard deviation over n seeds{' of ' * bool(varied)}{', '.join(varied)}",
        number(len(runs)) + f", {vmapped} of them with other seeds at once" * bool(vmapped),
        f"{common(lambda r: r['config']['data']['name'])}",
        f"{common(lambda r: r['config']['model']['name'])}",
        f"{common(lambda r: r['config']['epochs'])} epochs",
        f"noise {common(lambda r: r['noise']['convention'])}, part of wrong labels {wrong}",
        f"jax {common(lambda r: r['versions']['jax'])} on {common(lambda r: r['platform'])}",
    )
    return f"{'; '.join(parts)}. {settings(runs)}".rstrip()


def add_arguments(command) -> None:
    """Which runs, and what is a condition of theirs."""
    command.add_argument("--workdir", required=True, help="directory that holds the runs")
    told = "keys of the config, commas between, whose values are columns and no part of rows' names"
    command.add_argument("--columns", metavar="KEYS", help=told)
