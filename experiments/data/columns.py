"""Columns of a table that PyArrow read: which has the labels, which paths, and what they hold."""

import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types

from experiments import checks
from experiments.data import image_files
from experiments.data.base import some

LONGEST = 200  # characters of a label


def decoded(table: pa.Table) -> pa.Table:
    """Returns the table with plain columns in place of those in which a code stands for a value."""
    for i, field in enumerate(table.schema):
        if types.is_dictionary(field.type):
            table = table.set_column(i, field.name, table[i].cast(field.type.value_type))
    return table


def is_text(kind: pa.DataType) -> bool:
    return types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)


def is_number(kind: pa.DataType) -> bool:
    real = types.is_floating(kind) or types.is_decimal(kind)
    return real or types.is_integer(kind) or types.is_boolean(kind)


def paths_column(table: pa.Table, given: str | None) -> str | None:
    """Returns the name of the column with paths of images, or None if there is none."""
    if given:
        checks.choose("config.data.path_column", given, dict.fromkeys(table.column_names))
        if not is_text(table[given].type):
            said = f"expected a column of paths, got {given} of {table[given].type}"
            raise ValueError(f"config.data.path_column: {said}")
        return given
    found = [name for name in table.column_names if _has_paths(table[name])]
    if len(found) > 1:
        said = f"expected the column with the paths of the images, one of {some(found)}"
        raise ValueError(f"config.data.path_column: {said}")
    return found[0] if found else None


def _has_paths(column: pa.ChunkedArray) -> bool:
    """Whether most that the column holds are names of image files; the others are then told."""
    if not is_text(column.type):
        return False
    ends = "|".join(map(re.escape, image_files.SUFFIXES))
    are = pc.match_substring_regex(column.fill_null(""), f"(?i)({ends})$")
    return 2 * (pc.sum(are).as_py() or 0) > len(column)


def label_column(table: pa.Table, given: str | None, paths: str | None) -> str:
    """Returns the name of the column with the labels.

    That is `label`, or else the only one that holds neither paths nor features.
    """
    others = [name for name in table.column_names if name != paths]
    if given or "label" in others:
        checks.choose("config.data.label_column", given or "label", dict.fromkeys(others))
        return given or "label"
    free = [name for name in others if paths or not is_number(table[name].type)]
    if len(free) != 1:
        said = f"expected the column with the labels, one of {some(others, 20) or 'none'}"
        raise ValueError(f"config.data.label_column: {said}")
    return free[0]


def labels(column: pa.ChunkedArray, where: str) -> np.ndarray:
    """Returns names, "" where one is missing, or numbers, -1 where one is missing."""
    kind = column.type
    if types.is_null(kind):
        return np.full(len(column), -1)
    if types.is_integer(kind):
        return (column.cast(pa.int64()).fill_null(-1) if column.null_count else column).to_numpy()
    if types.is_floating(kind) or types.is_decimal(kind):
        values = numbers(column)
        return np.where(np.isnan(values), -1, values)
    binary = types.is_binary(kind) or types.is_large_binary(kind)
    if not (is_text(kind) or binary or types.is_temporal(kind) or types.is_boolean(kind)):
        raise ValueError(f"{where}: expected names or whole numbers, got {kind}")
    try:
        column = column.cast(pa.string())
    except pa.ArrowInvalid:
        raise ValueError(f"{where}: expected names in UTF-8") from None
    if (longest := pc.max(pc.utf8_length(column)).as_py() or 0) > LONGEST:
        raise ValueError(f"{where}: expected names of classes, got a text of {longest} characters")
    return np.array(column.fill_null("").to_pylist(), str)


def numbers(column: pa.ChunkedArray) -> np.ndarray:
    """Returns float64; what is missing is NaN."""
    if types.is_decimal(column.type) or types.is_boolean(column.type) or column.null_count:
        column = column.cast(pa.float64())
    return column.to_numpy().astype(np.float64)
