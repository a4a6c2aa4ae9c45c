"""A user's own table, CSV or Parquet: paths of images with labels, or numbers with labels."""

import importlib.util
import os
import pathlib
from collections.abc import Callable

import numpy as np

from experiments import checks
from experiments.data import features, own_labels, pictures
from experiments.data.base import Dataset, counted, dataset, some

MOST_KINDS = 20  # different texts of a column that is a feature


def read(
    path: str | None,
    label_column: str | None,
    path_column: str | None,
    side: int,
    damaged: str,
    decode: str = "memory",
) -> Dataset:
    """Reads the file.

    Args:
      path: of the file. Where it has paths of images, these are relative to its folder.
      label_column: its name; None for `label`, or for the only one that can be meant.
      path_column: its name; None for the one that holds names of image files, if there is one.
      side: as in `pictures.read`.
      damaged: as in `pictures.read`.
      decode: as in `pictures.read`.
    """
    if not path:
        raise ValueError("config.data.path: expected a CSV or Parquet file, got none")
    pictures.check_options(side, damaged, decode)
    place = checks.path("config.data.path", path)
    table = _loaded(place)
    from experiments.data import columns

    paths = columns.paths_column(table, path_column)
    name = columns.label_column(table, label_column, paths)
    where = f"config.data.path: {place}"
    found = {name: columns.labels(table[name], f"{where}: {name}")}
    mapped, class_names = own_labels.as_classes(where, found, None)
    labels = mapped[name].astype(np.int32)
    if paths is None:
        return _rows(place, table.drop_columns(name), labels, class_names)
    names = table[paths].to_pylist()
    images = pictures.Pictures(
        names=names,
        content=lambda i: files[i],
        labels=labels,
        is_test=np.zeros(len(names), bool),
        class_names=class_names,
        files=(files := _files(place, names)),
        told=(f"columns  {paths} has the images, {name} the labels",),
    )
    return pictures.read("table", images, side, damaged, decode)


def _loaded(place: pathlib.Path):
    """Returns the table, or says in one line why it cannot be read."""
    if importlib.util.find_spec("pyarrow") is None:
        raise ValueError("tables need: pip install -e '.[experiments]'")
    import pyarrow as pa
    from pyarrow import csv, parquet

    from experiments.data import columns

    try:
        with open(place, "rb") as file:
            is_parquet = file.read(4) == b"PAR1" or place.suffix == ".parquet"
        if is_parquet:
            table = parquet.ParquetFile(place).read()
        else:
            # Types are chosen from the first block: so all is one.
            block = csv.ReadOptions(block_size=min(max(place.stat().st_size, 2**20), 2**30))
            parts = csv.ParseOptions(
                delimiter="\t" if ".tsv" in place.suffixes else ",", newlines_in_values=True
            )
            table = csv.read_csv(place, block, parts)
        names = table.column_names
    except (OSError, UnicodeDecodeError, pa.ArrowException) as error:
        reason = getattr(error, "strerror", None) or (str(error) or repr(error)).splitlines()[0]
        raise ValueError(f"config.data.path: cannot read {place}: {reason[:200]}") from None
    if twice := {one for one in names if names.count(one) > 1}:
        raise ValueError(f"config.data.path: {place}: two columns are named {min(twice)!r}")
    if len(names) == 1 and any(mark in names[0] for mark in ";\t|"):
        said = f"expected columns parted by commas, got one column {names[0]!r}"
        raise ValueError(f"config.data.path: {place}: {said}")
    if not table.num_rows:
        raise ValueError(f"config.data.path: {place} has no rows")
    return columns.decoded(table)


# --- Images. --------------------------------------------------------------------------------------


def _files(place: pathlib.Path, names: list[str | None]) -> list[pathlib.Path]:
    """Returns the files that a table names, or says which are none."""
    said = f"config.data.path: {place}, row"
    seen: dict[str, int] = {}
    for i, name in enumerate(names, start=1):
        if not name:
            raise ValueError(f"{said} {i}: it has no path")
        path = os.path.normpath(name)
        if os.path.isabs(path) or path.split("/")[0] == ".." or "\0" in name:
            raise ValueError(f"{said} {i}: expected a path below the table's folder, got {name!r}")
        if (first := seen.setdefault(path, i)) != i:
            raise ValueError(f"{said} {i}: {name} is in row {first}, too")
    files = [place.parent / name for name in seen]
    if lacking := [
        name for name, file in zip(seen, files, strict=True) if not os.path.isfile(file)
    ]:
        number = f"{len(lacking)} of {len(names)} images are not there"
        raise ValueError(f"config.data.path: {place}: {number}: {some(lacking)}")
    return files


# --- Numbers. -------------------------------------------------------------------------------------


Inputs = Callable[[np.ndarray], np.ndarray]  # of training positions, as `features.standardised`


def targets(path: str | None, column: str | None) -> tuple[Inputs, np.ndarray, tuple[str, ...]]:
    """Reads numbers to predict, of the column `target` unless another is given.

    Returns a function that gives the inputs, the targets, and lines for the log.
    """
    if not path:
        raise ValueError("config.data.path: expected a CSV or Parquet file, got none")
    place = checks.path("config.data.path", path)
    table = _loaded(place)
    from experiments.data import columns

    name = column or "target"
    checks.choose("config.data.label_column", name, dict.fromkeys(table.column_names))
    if not columns.is_number(table[name].type):
        said = f"expected a column of numbers, got {name} of {table[name].type}"
        raise ValueError(f"config.data.label_column: {said}")
    inputs, told = _inputs(place, table.drop_columns(name))
    return inputs, columns.numbers(table[name]), told


def _rows(place: pathlib.Path, table, labels: np.ndarray, class_names: list[str]) -> Dataset:
    """Returns a data set of rows of float32; all of them are training examples."""
    of, done = _inputs(place, table)
    inputs = of(np.arange(len(labels)))
    counts = np.bincount(labels[labels >= 0], minlength=len(class_names))
    told = (f"classes  {counted(class_names, counts)}", *done)
    arrays = {
        "train_images": inputs, "train_labels": labels, "clean_labels": np.full_like(labels, -1),
        "test_images": inputs[:0], "test_labels": labels[:0],
    }  # fmt: skip
    return dataset("table", class_names, arrays)._replace(told=told)


def _inputs(place: pathlib.Path, table) -> tuple[Inputs, tuple[str, ...]]:
    """Returns a function that gives the inputs, and lines that say what they are made of."""
    from experiments.data import columns

    numbers: dict[str, np.ndarray] = {}
    kinds: dict[str, np.ndarray] = {}
    left: list[str] = []
    for name in table.column_names:
        column = table[name]
        if columns.is_number(column.type):
            values = columns.numbers(column)
            if _counts_rows(values):
                left.append(f"{name or 'the one without a name'} (it counts the rows)")
            else:
                numbers[name] = _checked(f"config.data.path: {place}: {name}", values)
        elif columns.is_text(column.type) and len(column.unique()) <= MOST_KINDS:
            kinds[name] = np.array(column.fill_null("").to_pylist(), object)
        else:
            left.append(f"{name} ({column.type})")
    if not numbers and not kinds:
        got = some(left) or "none"
        said = f"expected columns of numbers, or one with paths of images, got {got}"
        raise ValueError(f"config.data.path: {place}: {said}")
    none = np.empty((table.num_rows, 0))
    stacked = [np.stack([*of.values()], axis=1) if of else none for of in (numbers, kinds)]
    done = [f"{len(numbers)} of numbers, standardised"] * bool(numbers)
    done += [f"{len(kinds)} of texts, now 0 or 1 for each that occurs"] * bool(kinds)
    told = [f"columns  {', '.join(done)}"]
    told += [f"columns  left out: {some(left)}"] * bool(left)
    if missing := int(np.isnan(stacked[0]).sum()):
        told.append(f"missing  {missing} numbers, now the median of their column")
    return features.standardised(*stacked), tuple(told)


def _counts_rows(values: np.ndarray) -> bool:
    """Whether it is the column that pandas adds, say: in a sorted file it would tell the label."""
    return values[0] in (0, 1) and len(values) > 2 and bool((np.diff(values) == 1).all())


def _checked(where: str, values: np.ndarray) -> np.ndarray:
    """Returns the numbers, or says which cannot be standardised."""
    large = np.abs(values) > 1e30  # their squares would not fit into float32
    if large.any():
        i = int(large.argmax())
        raise ValueError(f"{where}: row {i + 1}: expected at most 1e30, got {values[i]:g}")
    return values
