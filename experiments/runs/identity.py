"""Which run a config means: its hash covers what the run reads, and nothing else.

READS declares, by section, which keys a run reads, and when. `read_part` hands a run those keys
alone, so that a key which is not declared cannot be read.
"""

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from typing import Any

Flat = Mapping[str, Any]  # by dotted key


def always(config: Flat) -> bool:
    return True


def when(key: str, *values) -> Callable[[Flat], bool]:
    return lambda config: config.get(key) in values


def is_noisy(config: Flat) -> bool:
    """Whether wrong targets are drawn. Instance-dependent noise draws some at rate 0, too."""
    kind, rate = config.get("noise.kind"), config.get("noise.rate")
    return kind != "given" and (bool(rate) or kind == "instance_dependent")


def is_split(config: Flat) -> bool:
    whole = not config.get("data.validation") and config.get("data.imbalance", 1) == 1
    return not whole or config.get("data.name") == "digits"


of_superloss = when("loss.method", "superloss", "trend_superloss")


def with_threshold(*names: str) -> Callable[[Flat], bool]:
    return lambda config: of_superloss(config) and config.get("loss.threshold") in names


stepwise = when("optimizer.schedule", "piecewise", "cyclic")
sgd = when("optimizer.name", "sgd")

Section = dict[str, Callable[[Flat], bool]]

EVERY_RUN: dict[str, Section] = {
    "": dict.fromkeys(("task", "seed", "epochs", "batch_size", "devices"), always),
    "data": {"exclude": always, "exclude_rate": always},
    "model": {"bn_groups": always},
    "optimizer": {
        "name": always, "learning_rate": always, "weight_decay": always, "schedule": always,
        "warmup_epochs": always, "boundaries": stepwise, "factor": stepwise,
        "momentum": sgd, "nesterov": sgd,
    },
    # Of the methods' own sections, those of `method` and `base`.
    "loss": {
        "method": always, "base": always, "lam": of_superloss, "threshold": of_superloss,
        "decay": with_threshold("ema", "per_class"), "tau": with_threshold("constant"),
        "window": with_threshold("windowed"),
        "data_parameters.class_rate": when("loss.data_parameters.kind", "class", "both"),
        "data_parameters.instance_rate": when("loss.data_parameters.kind", "instance", "both"),
    },
}  # fmt: skip
READS: dict[str, dict[str, Section]] = {  # beside those, by task
    "classification": {
        "data": {
            "name": always, "path": always, "sha256": always, "variant": always,
            "validation": always, "imbalance": always, "split_seed": is_split,
            "validation_labels": lambda config: bool(config.get("data.validation")),
            "imbalance_exact": lambda config: config.get("data.imbalance", 1) != 1,
        },
        "augment": dict.fromkeys(("pad", "flip", "cutout", "mixup"), always),
        "noise": {
            "kind": always, "rate": lambda config: config.get("noise.kind") != "given",
            "exact": is_noisy, "seed": is_noisy,
        },
        "model": dict.fromkeys(("name", "init", "dtype", "dropout"), always),
    },
}  # fmt: skip

# How a run is carried out, watched and judged: at most rounding depends on these.
CARRIED_OUT = ("checkpoint", "report", "vmap_seeds", "data.device_budget_mb")

# Keys that were added after results existed, at the value that means what was done before.
BEFORE: dict[str, Any] = {"task": "classification"}


def flattened(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """By dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            flat |= flattened(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """By dotted keys, without how the run is carried out."""
    return {key: value for key, value in flattened(config).items() if not is_carried_out(key)}


def is_carried_out(key: str) -> bool:
    return any(key == one or key.startswith(f"{one}.") for one in CARRIED_OUT)


def is_read(key: str, flat: Flat) -> bool:
    """Whether a run of this config reads the key, and its numbers depend on it."""
    if is_carried_out(key):
        return False
    task = flat.get("task", BEFORE["task"])
    section, name = split(key)
    for declared in (EVERY_RUN, READS.get(task, {})):
        if name in declared.get(section, {}):
            return declared[section][name](flat) and is_of_method(key, flat)
    if section == "loss":
        return "." in name and is_of_method(key, flat)
    return task not in READS  # a user's own task may read whatever there is


def split(key: str) -> tuple[str, str]:
    """The section of a key, and its name there, which in `loss` may have a dot."""
    section, _, name = key.rpartition(".") if key.count(".") < 2 else key.partition(".")
    return section, name


def check_known(config: Mapping[str, Any]) -> None:
    """Raises ValueError for a key in a section of this program that nothing here ever reads."""
    flat = flattened(config)
    if flat.get("task", BEFORE["task"]) not in READS:
        return
    known: dict[str, set[str]] = {}
    for table in (EVERY_RUN, *READS.values()):
        for section, names in table.items():
            known.setdefault(section, set()).update(names)
    for key in flat:
        section, name = split(key)
        of_method = section == "loss" and "." in name
        stray = section in known and section and name not in known[section] and not of_method
        if stray and not is_carried_out(key):
            where = "experiments/runs/identity.py"
            raise ValueError(f"config.{key}: nothing reads it; declare it in {where}")


def is_of_method(key: str, flat: Flat) -> bool:
    """Whether a key of a method's own section is the method's or the base's; True for others."""
    parts = key.split(".")
    named = flat.get("loss.method"), flat.get("loss.base")
    return parts[0] != "loss" or len(parts) < 3 or parts[1] in named


def meaning(config: Mapping[str, Any]) -> dict[str, Any]:
    """What a run of this config reads, where it is not what it was before the key existed."""
    flat = flattened(config)
    read = {key: value for key, value in flat.items() if is_read(key, flat)}
    if "noise.rate" in read and not is_noisy(flat):
        read["noise.kind"] = "none"  # whatever kind it is, nothing is wrong
    return {key: value for key, value in read.items() if BEFORE.get(key, ...) != value}


def config_sha256(config: Mapping[str, Any]) -> str:
    """The hash of all that a result depends on, beside versions and platform."""
    text = json.dumps(plain(meaning(config)), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def plain(value):
    """A value as JSON gives it back: None for NaN and infinity, lists for tuples."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def read_part(config):
    """A copy of a ConfigDict with what its run reads and how it is carried out, and no more."""
    part = config.copy_and_resolve_references()
    flat = flattened(part.to_dict())
    check_known(flat)
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
