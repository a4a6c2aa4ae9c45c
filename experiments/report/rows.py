"""Names of a table's rows: the method, and the settings that most runs do not share."""

from collections.abc import Iterable
from typing import Any

from experiments import checks
from experiments.runs import files, identity
from experiments.runs.files import OF_SEEDS, SEEDS

CONDITIONS = ("data.name", "data.variant", "model.name", "data.imbalance", "noise.kind",
              "noise.rate")  # fmt: skip


def row_names(configs: list[dict], columns: Iterable[str] = ()) -> list[tuple[str, str]]:
    """Each run's row, and the settings that are not in its name.

    A row is the method plus each value that it reads and that differs from the majority's, except
    those in `columns`. Where a method has one row, its name is the method's.

    Runs of one row differ in their seeds and conditions alone, or in keys that older ones lack.
    """
    flat = [identity.settings(config) for config in configs]
    keys = {key for one in flat for key in one} - {
        *SEEDS,
        *OF_SEEDS,
        *CONDITIONS,
        *columns,
        "loss.method",
    }
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
        own = [key for key in own if identity.is_read(key, one) and one[key] is not None]
        texts = [f"{short[key]} {one[key]}" for key in own]
        names.append((one["loss.method"], *texts))
        told.append(", ".join(in_caption(one, key, short[key], usual[key]) for key in own))
    methods = [method for method, *_ in {*names}]
    return [
        (name[0], text) if methods.count(name[0]) == 1 else (", ".join(name), "")
        for name, text in zip(names, told, strict=True)
    ]


def in_caption(one: dict, key: str, name: str, usual: str | None) -> str:
    """Names a setting; one that every method has, as a learning rate, with most runs' value."""
    of_loss = key.startswith("loss.")
    return f"{name} {one[key]}" + f" (most: {usual})" * (not of_loss and usual is not None)


def settings(found: Iterable[Any]) -> str:
    """The sentences of a caption about settings of finished runs that a reader must know.

    These are settings that rows' names leave out, and what departs from a method's article.
    """
    runs = [*found]
    of_row = {run.row: run.settings for run in runs if run.settings}
    texts = [f"{row} with {of_row[row]}" for row in sorted(of_row)]
    said = f"Some settings are unlike most runs': {'; '.join(texts)}. " if texts else ""
    flat = [identity.meaning(run.results["config"]) for run in runs]
    if any(one.get("loss.normalise_weights") for one in flat):
        said += "normalise_weights divides sigma by its mean over a batch; the article does not."
    return said.rstrip()


def column_values(configs: list[dict], keys: list[str]) -> list[tuple[tuple[str, Any], ...]]:
    """The values of keys in each config: numbers, or texts where not all are numbers."""
    flat = [identity.settings(config) for config in configs]
    known = {key for one in flat for key in one} - {*SEEDS, *CONDITIONS, "loss.method"}
    differing = [key for key in sorted(known) if len({str(one.get(key)) for one in flat}) > 1]
    for key in keys:
        checks.choose("--columns", key, dict.fromkeys(differing or ["none, for no key differs"]))
    texts = {k for k in keys if not all(isinstance(one.get(k), int | float) for one in flat)}
    return [
        tuple((key, str(one.get(key)) if key in texts else one[key]) for key in keys)
        for one in flat
    ]
