"""Parts that a user wrote: a config names them as "module:name"."""

import importlib
from typing import Any


def is_own(name: Any) -> bool:
    return isinstance(name, str) and ":" in name


def imported(what: str, name: str) -> Any:
    """Returns what "module:name" names; `what` begins the message if that fails."""
    module, _, attribute = name.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except Exception as error:  # whatever the user's own module raises
        raise ValueError(f"{what}: cannot import {name}: {error}") from None
