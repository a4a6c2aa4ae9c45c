"""Identifies runs: the hash of a config covers the keys that the run reads, and no others.

`reads.py` declares which keys a run reads. `read_part` gives a run only these, so that it cannot
read a key that is not declared.
"""

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

from experiments import keys as dotted
from experiments.runs.reads import (
    BEFORE,
    CARRIED_OUT,
    EVERY_RUN,
    OPTIONAL,
    READS,
    Flat,
    Section,
    always,
    is_noisy,
)


def flattened(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flattens nested sections to dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            flat |= flattened(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the config with dotted keys, without the keys in CARRIED_OUT.

    A key that the run reads and that is newer than the config has its old behaviour.
    """
    found = flattened(config)
    if found.get("task", BEFORE["task"]) in READS:
        found = {key: value for key, value in BEFORE.items() if is_read(key, found)} | found
    return {key: value for key, value in found.items() if not is_carried_out(key)}


def is_carried_out(key: str) -> bool:
    return key in CARRIED_OUT


def is_read(key: str, flat: Flat) -> bool:
    """Whether a run of this config reads the key and its results depend on it."""
    if is_carried_out(key):
        return False
    task = flat.get("task", BEFORE["task"])
    section, name = split(key)
    for declared in (EVERY_RUN, READS.get(task, {})):
        if name in declared.get(section, {}):
            return declared[section][name](flat) and is_of_method(key, flat)
    return task not in READS  # a user's own task may read any key


def is_of_task(key: str, flat: Flat) -> bool:
    """Whether some run of the config's task reads the key."""
    task = flat.get("task", BEFORE["task"])
    section, name = split(key)
    tables = EVERY_RUN, READS.get(task, {})
    declared = any(name in table.get(section, {}) for table in tables)
    return task not in READS or is_carried_out(key) or declared


def check_asked(flats: Iterable[Flat], keys: Iterable[str]) -> None:
    """Raises ValueError for a key that the tasks of all these configs pass over in silence."""
    flats = list(flats)
    for key in keys:
        if not any(is_of_task(key, flat) for flat in flats):
            task = flats[0].get("task", BEFORE["task"])
            others = [one for one in READS if is_of_task(key, {"task": one})]
            hint = f"; those of {' and '.join(map(repr, others))} do" if others else ""
            raise ValueError(f"config.{key}: no run of config.task={task!r} reads it{hint}")


def unread(flat: Flat, keys: Iterable[str]) -> list[str]:
    """The keys that the run does not read, since other values make them meaningless."""
    return [key for key in keys if not is_read(key, flat) and not is_carried_out(key)]


def split(key: str) -> tuple[str, str]:
    """Splits a key into its section and its name there; in `loss`, a name may contain a dot."""
    section, _, name = key.rpartition(".") if key.count(".") < 2 else key.partition(".")
    return section, name


def check_known(flat: Flat, keys: Iterable[str]) -> None:
    """Raises ValueError if one of the keys is never read, and would be passed over in silence.

    Whole sections that only another task or method has are left alone.
    """
    if flat.get("task", BEFORE["task"]) not in READS:
        return
    known: dict[str, set[str]] = {}
    for table in (EVERY_RUN, *READS.values()):
        for section, names in table.items():
            known.setdefault(section, set()).update(names)
    for key in CARRIED_OUT:
        section, name = split(key)
        known.setdefault(section, set()).add(name)
    for key in keys:
        section, name = split(key)
        if section in known and name not in known[section] and is_of_method(key, flat):
            where = "experiments/runs/reads.py"
            hint = dotted.hint(key, [one for one in flat if one != key])
            raise ValueError(f"config.{key}: nothing reads it; declare it in {where}{hint}")


def check_complete(config: Mapping[str, Any]) -> None:
    """Raises ValueError if the config lacks a key that its run reads."""
    flat = flattened(config)
    task = flat.get("task", BEFORE["task"])
    declared: Section = dict.fromkeys(CARRIED_OUT, always)
    for table in (EVERY_RUN, READS.get(task, {}) if isinstance(task, str) else {}):
        for section, names in table.items():
            declared |= {f"{section}.{name}".lstrip("."): own for name, own in names.items()}
    for key in sorted(declared.keys() - flat.keys() - {*OPTIONAL}):
        if declared[key](flat) and is_of_method(key, flat):
            raise ValueError(f"config.{key}: the config lacks it; configs/base.py has its meaning")


def is_of_method(key: str, flat: Flat) -> bool:
    """False for a key in the section of a method that is neither the config's method nor base."""
    parts = key.split(".")
    named = flat.get("loss.method"), flat.get("loss.base")
    return parts[0] != "loss" or len(parts) < 3 or parts[1] in named


def meaning(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the keys and values that a run reads, except newer keys at their old behaviour."""
    flat = flattened(config)
    read = {key: value for key, value in flat.items() if is_read(key, flat)}
    if "noise.rate" in read and not is_noisy(flat):
        read["noise.kind"] = "none"  # if no target is wrong, the kind does not matter
    return {key: value for key, value in read.items() if BEFORE.get(key, ...) != value}


def config_sha256(config: Mapping[str, Any]) -> str:
    """Hashes everything that a result depends on, except versions and platform."""
    text = json.dumps(plain(meaning(config)), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def is_config(value) -> bool:
    """Whether a value read from a file has the parts that every run's config has."""
    if not isinstance(value, dict) or not isinstance(value.get("task", ""), str):
        return False
    if not all(isinstance(value.get(name, {}), dict) for name in ("data", "noise", "report")):
        return False
    loss = value.get("loss")
    named = isinstance(loss, dict) and isinstance(loss.get("method"), str)
    return named and type(value.get("epochs")) is int


def plain(value):
    """Returns a value as JSON reads it back: None for NaN and infinity, lists for tuples."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def read_part(config):
    """Copies a ConfigDict with only the keys that its run reads, and those in CARRIED_OUT."""
    part = config.copy_and_resolve_references()
    flat = flattened(part.to_dict())
    check_complete(flat)
    check_known(flat, flat)
    with part.unlocked():
        for key in flat:
            if not is_read(key, flat) and not is_carried_out(key):
                section, _, name = key.rpartition(".")
                del (_at(part, section) if section else part)[name]
    return part


def _at(config, dotted: str):
    for name in dotted.split("."):
        config = config[name]
    return config
