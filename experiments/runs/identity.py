"""Identifies runs: the hash of a config covers the keys that the run reads, and no others.

READS declares, by section, which keys a run reads and under which condition. `read_part` gives a
run only these keys, so that it cannot read a key that is not declared.
"""

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from experiments import keys as dotted

Flat = Mapping[str, Any]  # from dotted keys to values


def always(config: Flat) -> bool:
    return True


def when(key: str, *values) -> Callable[[Flat], bool]:
    return lambda config: config.get(key) in values


def is_noisy(config: Flat) -> bool:
    """Whether wrong targets are drawn."""
    return config.get("noise.kind") != "given" and bool(config.get("noise.rate"))


def is_split(config: Flat) -> bool:
    whole = not config.get("data.validation") and config.get("data.imbalance", 1) == 1
    return not whole or config.get("data.name") == "digits"


def is_drawn(config: Flat) -> bool:
    """Whether the training examples of a regression depend on a seed."""
    chosen = config.get("data.validation") or config.get("data.examples")
    return bool(chosen) or config.get("data.name") not in ("mnist", "mnist20k")  # have a test set


def clean_validation(config: Flat) -> bool:
    """Whether a regression validates on clean targets; the others have the wrong ones, too."""
    return bool(config.get("data.validation")) and config.get("data.validation_labels") != "noisy"


of_superloss = when("loss.method", "superloss", "trend_superloss")
remembers = when("loss.method", "remembered_superloss")


def with_lam(config: Flat) -> bool:
    return of_superloss(config) or remembers(config)


def with_threshold(*names: str) -> Callable[[Flat], bool]:
    return lambda config: of_superloss(config) and config.get("loss.threshold") in names


def with_decay(config: Flat) -> bool:
    return with_threshold("ema", "per_class")(config) or remembers(config)


stepwise = when("optimizer.schedule", "piecewise", "cyclic")
sgd = when("optimizer.name", "sgd")

Section = dict[str, Callable[[Flat], bool]]


def of(method: str, *names: str) -> Section:
    """The keys of a method's own section, which are read if it is the method or the base."""
    return {f"{method}.{name}": always for name in names}


EVERY_RUN: dict[str, Section] = {
    "": dict.fromkeys(("task", "seed", "epochs", "batch_size", "devices"), always),
    "data": {"exclude": always, "exclude_rate": always, "exclude_sha256": always},
    "model": {"bn_groups": always},
    "average": {"decay": always},
    "optimizer": {
        "name": always, "learning_rate": always, "weight_decay": always, "schedule": always,
        "warmup_epochs": always, "boundaries": stepwise, "factor": stepwise,
        "momentum": sgd, "nesterov": sgd,
    },
    # The sections of `method` and `base` are read as well: see is_of_method.
    "loss": {
        "method": always, "base": always, "lam": with_lam, "threshold": of_superloss,
        "decay": with_decay, "tau": with_threshold("constant"),
        "window": with_threshold("windowed"),
        **of("generalized_cross_entropy", "q"), **of("truncated_gce", "q", "k", "start"),
        **of("symmetric_cross_entropy", "alpha", "beta", "log_zero"),
        **of("active_passive", "passive", "alpha", "beta"), **of("bootstrap", "hard", "beta"),
        **of("focal", "gamma"), **of("cauchy", "scale"), **of("trimmed", "forget_rate", "warmup"),
        **of("self_paced", "weights", "threshold", "growth", "every"),
        **of("mentornet", "percentile", "decay", "burn_in", "second", "second_from"),
        **of("data_parameters", "kind", "momentum", "clamp"),
        "data_parameters.class_rate": when("loss.data_parameters.kind", "class", "both"),
        "data_parameters.instance_rate": when("loss.data_parameters.kind", "instance", "both"),
        **of("trend_superloss", "alpha", "window"), **of("remembered_superloss", "share", "memory"),
        **of("early_learning", "lam", "beta"), **of("self_filter", "decay", "start"),
        **of("co_teaching", "forget_rate", "warmup"), **of("jocor", "forget_rate", "lam", "warmup"),
    },
}  # fmt: skip
CLASSES: dict[str, Section] = {
    "data": {
        "name": always, "path": always, "sha256": always, "variant": always,
        "validation": always, "imbalance": always, "split_seed": is_split,
        "validation_labels": lambda config: bool(config.get("data.validation")),
        "imbalance_exact": lambda config: config.get("data.imbalance", 1) != 1,
        "labelled": always, "labelled_seed": lambda config: bool(config.get("data.labelled")),
    },
    "augment": dict.fromkeys(("pad", "flip", "cutout", "mixup"), always),
    "noise": {
        "kind": always, "rate": lambda config: config.get("noise.kind") != "given",
        "exact": is_noisy, "seed": is_noisy,
    },
    "model": dict.fromkeys(("name", "init", "dtype", "dropout"), always),
}  # fmt: skip
of_fixmatch = when("consistency.kind", "fixmatch")
taught = when("consistency.kind", "fixmatch", "mean_teacher")
READS: dict[str, dict[str, Section]] = {  # further keys, by task
    "classification": CLASSES,
    "semi_supervised": CLASSES | {
        "augment": dict.fromkeys(("pad", "flip", "cutout"), always),
        "consistency": {
            "kind": always, "labelled": always,
            **dict.fromkeys(("weight", "warmup_epochs"), taught),
            "threshold": of_fixmatch, "operations": of_fixmatch,
        },
    },
    "regression": {
        "data": {
            "name": always, "validation": always, "examples": always, "split_seed": is_drawn,
            **dict.fromkeys(("path", "sha256", "pattern", "side"), when("data.name", "images")),
            "validation_labels": clean_validation,
        },
        "noise": {
            "kind": always, "rate": lambda config: config.get("noise.kind") != "given",
            "seed": is_noisy,
        },
        "model": dict.fromkeys(("name", "dtype", "dropout"), always),
        "residual": {
            "loss": always, "truncation": always, "delta": when("residual.loss", "huber"),
        },
    },
}  # fmt: skip

# How a run is carried out, monitored and evaluated: these change results by rounding at most.
CARRIED_OUT = (
    "checkpoint.every_epochs", "checkpoint.every_minutes", "checkpoint.keep", "report.selection",
    "report.losses", "vmap_seeds", "data.device_budget_mb",
)  # fmt: skip

# Keys that are newer than some results, with the value that gives the old behaviour.
BEFORE: dict[str, Any] = {
    "task": "classification", "average.decay": 0.0, "data.labelled": 0,
    "loss.remembered_superloss.memory": "held_out",
}  # fmt: skip

# Keys that a user's own config may lack: what reads them has a value for that.
OPTIONAL = (
    *BEFORE, "data.exclude", "data.exclude_rate", "data.exclude_sha256", "data.sha256",
    "data.device_budget_mb", "data.labelled_seed", "model.bn_groups",
)  # fmt: skip


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
    """Returns the config with dotted keys, without the keys in CARRIED_OUT."""
    return {key: value for key, value in flattened(config).items() if not is_carried_out(key)}


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
            where = "experiments/runs/identity.py"
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
