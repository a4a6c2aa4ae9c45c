"""Checks of values. Error messages say what was expected, what was given, and the choices."""

import difflib
from collections.abc import Mapping
from typing import Any


def choose(what: str, name: str, table: Mapping[str, Any]) -> Any:
    """Returns `table[name]`, or raises a ValueError that lists the choices."""
    if name in table:
        return table[name]
    close = difflib.get_close_matches(str(name), table, n=1)
    hint = f"; did you mean {close[0]}?" if close else ""
    raise ValueError(f"{what}: expected one of {', '.join(table)}, got {name!r}{hint}")


def within(what: str, value, low, high) -> None:
    """Raises a ValueError unless low <= value <= high; NaN is outside."""
    if not low <= value <= high:
        raise ValueError(f"{what}: expected a number from {low:g} to {high:g}, got {value!r}")


def seed(what: str, value: int) -> None:
    if not 0 <= value < 2**31:
        raise ValueError(f"{what}: expected an integer in [0, 2**31), got {value!r}")


def positive(what: str, value: float) -> None:
    if not 0 < value < float("inf"):  # also rejects NaN
        raise ValueError(f"{what}: expected a finite number > 0, got {value!r}")
