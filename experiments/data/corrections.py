"""Labels that a person, or a program, has corrected: a CSV file beside the data set."""

import csv
import pathlib

from experiments import checks
from experiments.data.base import Dataset

KEY = "config.data.corrections"


def corrected(dataset: Dataset, path: str) -> Dataset:
    """Returns the data set with the labels of a CSV file in place of its training labels.

    The file has a column `label`, with names of classes, and a column `index` or `path`: the
    position of an example in the whole training set, or its file as `suspects.csv` names it. An
    empty label leaves the example out. Other columns, and examples that are not listed, do not
    matter.
    """
    targets = dataset.train.targets.copy()
    decided = _decided(dataset, path)
    targets[[*decided]] = [*decided.values()]
    changed = targets != dataset.train.targets
    dropped = int((changed & (targets < 0)).sum())
    name = checks.path(KEY, path).name
    told = f"labels   {changed.sum() - dropped} corrected, {dropped} left out: {name}"
    train = dataset.train._replace(targets=targets)
    return dataset._replace(train=train, told=(*dataset.told, told))


def by_index(dataset: Dataset, path: str | None) -> dict[int, str]:
    """Returns the names of the labels in such a file, by index; "" for what is left out."""
    names = [*dataset.class_names, ""]  # -1 is the last
    index = dataset.train.index
    decided = _decided(dataset, path) if path else {}
    return {int(index[place]): names[label] for place, label in decided.items()}


def _decided(dataset: Dataset, path: str) -> dict[int, int]:
    """Returns the labels by place among the training examples; -1 for what is left out."""
    file = checks.path(KEY, path)
    rows = _read(file)
    index = {int(at): i for i, at in enumerate(dataset.train.index)}
    paths = {name: index.get(i) for i, name in enumerate(dataset.files)}
    numbers = {str(at): i for at, i in index.items()}
    column, places = ("path", paths) if "path" in rows[0] and paths else ("index", numbers)
    if column not in rows[0]:
        raise ValueError(f"{KEY}: {file}: expected a column index, got {', '.join(rows[0])}")
    classes = {name: i for i, name in enumerate(dataset.class_names)} | {"": -1}
    decided: dict[int, int] = {}
    for line, row in enumerate(rows, start=2):
        where, name = f"{KEY}: {file}, line {line}", (row["label"] or "").strip()
        place = places.get(row[column])
        if place is None:
            raise ValueError(f"{where}: no training example has the {column} {row[column]!r}")
        if place in decided:
            raise ValueError(f"{where}: the {column} {row[column]!r} occurs twice")
        if name not in classes:
            known = ", ".join([*dataset.class_names][:5]) + ", ..." * (len(classes) > 6)
            raise ValueError(f"{where}: {name!r} is none of the classes {known}")
        decided[place] = classes[name]
    return decided


def _read(file: pathlib.Path) -> list[dict[str, str]]:
    try:
        with open(file, newline="", encoding="utf-8-sig") as text:  # -sig: a BOM is not text
            reader = csv.DictReader(text, restval="")
            rows = [*reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{KEY}: {file} is no CSV file: {error}") from None
    except OSError as error:
        raise ValueError(f"{KEY}: {file}: {error.strerror}") from None
    if not rows or "label" not in rows[0]:
        got = f"columns {', '.join(rows[0])}" if rows else "no rows"
        raise ValueError(f"{KEY}: {file}: expected rows with index or path, and label, got {got}")
    return rows
