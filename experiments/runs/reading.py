"""Reads JSON files that may be damaged: one kind of error, with the file's name, whatever it is."""

import contextlib
import json
import pathlib
import re
import reprlib
from collections.abc import Iterator
from typing import Any

from experiments.runs import identity


def json_object(path: pathlib.Path) -> dict[str, Any]:
    """Reads a file that holds one JSON object.

    Raises:
      ValueError: if it holds anything else.
      OSError: if it cannot be read.
    """
    return as_object(path.read_bytes(), path)


def as_object(content: bytes, name: Any) -> dict[str, Any]:
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:  # not UTF-8, among others; nested too deeply
        raise ValueError(f"{name} is torn: {error}") from None
    if not isinstance(value, dict):
        said = f"expected a JSON object, got {reprlib.repr(value)}"
        raise ValueError(f"{name} is torn: {said}")
    return value


def read_rows(path: pathlib.Path) -> list[dict[str, Any]]:
    """Reads a file of a row an epoch.

    Raises:
      ValueError: if a line is no such row.
      OSError: if it cannot be read.
    """
    return rows_of(path.read_bytes(), path)


def rows_of(content: bytes, name: Any) -> list[dict[str, Any]]:
    lines = content.splitlines()
    return [_row(line, f"{name}: line {number}") for number, line in enumerate(lines, 1)]


def whole_rows(path: pathlib.Path) -> list[dict[str, Any]]:
    """Reads a file that may be growing, or whose run was killed; skips lines that are no rows."""
    found = []
    for line in path.read_bytes().splitlines():
        with contextlib.suppress(ValueError):
            found.append(_row(line, path))
    return found


# Numbers in every row that has them; what else a task records may be anything.
MEASURED = re.compile("(train|test|validation|auroc)_|(tau|seconds)$")


def _row(line: bytes, name: Any) -> dict[str, Any]:
    row = as_object(line, name)
    whole = type(row["epoch"]) is int if "epoch" in row else any(map(MEASURED.match, row))
    if not whole:
        raise ValueError(f"{name} is torn: expected a row of an epoch, got {reprlib.repr(row)}")
    for key, value in row.items():
        number = value is None or isinstance(value, int | float)
        if MEASURED.match(key) and not number:
            raise ValueError(f"{name} is torn: expected a number as {key}, got {value!r:.40}")
    return row


# What reports read of every result; some of it is not in those of older versions.
SHAPES = {"versions": dict, "devices": int, "platform": str, "x64": bool}
LATER = {"noise": dict, "score": dict, "detectors": dict, "last_epoch": dict}


def check_results(results: dict) -> None:
    """Raises ValueError if a result lacks what every run's has."""
    if not identity.is_config(results.get("config")):
        raise ValueError("expected a run's config")
    for name, kind in (SHAPES | LATER).items():
        value = results.get(name)
        if not isinstance(value, kind) and (name in SHAPES or name in results):
            raise ValueError(f"expected {kind.__name__} as {name}, got {reprlib.repr(value)}")


@contextlib.contextmanager
def torn(folder: pathlib.Path) -> Iterator[None]:
    """Says of a packed sweep with other contents than a sweep's where it is."""
    try:
        yield
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        said = f"expected the files of a packed sweep ({error!r})"
        raise ValueError(f"--workdir: {folder} is torn: {said}") from None
