"""Errors for people: what was expected, what came, the choices."""

import difflib
from collections.abc import Mapping
from typing import TypeVar

T = TypeVar("T")


def choose(what: str, name: str, table: Mapping[str, T]) -> T:
    """Returns `table[name]`, or raises a ValueError that lists the choices."""
    if name in table:
        return table[name]
    close = difflib.get_close_matches(str(name), table, n=1)
    hint = f"; did you mean {close[0]}?" if close else ""
    raise ValueError(f"{what}: expected one of {', '.join(table)}, got {name!r}{hint}")


def at_least(what: str, value: int, smallest: int) -> int:
    """Returns `value`, or raises a ValueError if it is smaller."""
    if value < smallest:
        raise ValueError(f"{what}: expected an integer >= {smallest}, got {value!r}")
    return value


def positive(what: str, value: float) -> float:
    """Returns `value`, or raises a ValueError if it is not a finite number above 0."""
    if not 0 < value < float("inf"):  # false for NaN, too
        raise ValueError(f"{what}: expected a number > 0, got {value!r}")
    return value
