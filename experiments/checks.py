"""Checks of values. Error messages say what was expected, what was given, and the choices."""

import argparse
import difflib
import os
import pathlib
from collections.abc import Callable, Collection, Mapping
from typing import Any


def choose(what: str, name: str, table: Mapping[str, Any]) -> Any:
    """Returns `table[name]`, or raises a ValueError that lists the choices."""
    if isinstance(name, str | None) and name in table:
        return table[name]
    close = difflib.get_close_matches(str(name), table, n=1)
    hint = f"; did you mean {close[0]}?" if close else ""
    raise ValueError(f"{what}: expected one of {', '.join(table)}, got {name!r}{hint}")


def within(what: str, value, low, high) -> None:
    """Raises a ValueError unless low <= value <= high; NaN and what is no number are outside."""
    if not is_number(value) or not low <= value <= high:
        raise ValueError(f"{what}: expected a number from {low:g} to {high:g}, got {value!r}")


def integer(what: str, value, low: int, high: int) -> None:
    if type(value) is not int or not low <= value <= high:
        raise ValueError(f"{what}: expected an integer from {low} to {high}, got {value!r}")


def natural(text: str) -> int:
    """An argparse type: an integer from 1."""
    if not text.strip().isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected an integer from 1, got {text!r}")
    return int(text)


def several(table: Collection[str]) -> Callable[[str], list[str]]:
    """An argparse type: names of a table, with commas between them."""

    def names(text: str) -> list[str]:
        found = text.split(",")
        if strange := [name for name in found if name not in table]:
            said = f"expected some of {', '.join(table)}, got {strange[0]!r}"
            raise argparse.ArgumentTypeError(said)
        return found

    return names


def seed(what: str, value) -> None:
    if type(value) is not int or not 0 <= value < 2**31:
        raise ValueError(f"{what}: expected an integer in [0, 2**31), got {value!r}")


def positive(what: str, value) -> None:
    if not is_number(value) or not 0 < value < float("inf"):  # also rejects NaN
        raise ValueError(f"{what}: expected a finite number > 0, got {value!r}")


def is_number(value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def path(what: str, text: str | os.PathLike) -> pathlib.Path:
    """Returns the path that a user means, with ~ and ~user expanded.

    Raises:
      ValueError: if there is no such user, or no file can have this name.
    """
    if "\0" in os.fspath(text):
        raise ValueError(f"{what}: expected the name of a file, got {text!r}")
    try:
        return pathlib.Path(text).expanduser()
    except RuntimeError:
        raise ValueError(f"{what}: the home directory in {text} is not known") from None
