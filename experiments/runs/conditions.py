"""Conditions under which a run reads a key of its config."""

from collections.abc import Callable, Mapping
from typing import Any

Flat = Mapping[str, Any]  # from dotted keys to values


def always(config: Flat) -> bool:
    return True


def when(key: str, *values) -> Callable[[Flat], bool]:
    return lambda config: config.get(key) in values


def is_drawn_noise(config: Flat) -> bool:
    return config.get("noise.kind") != "given"


def is_noisy(config: Flat) -> bool:
    """Whether wrong targets are drawn."""
    return is_drawn_noise(config) and bool(config.get("noise.rate"))


def given(key: str) -> Callable[[Flat], bool]:
    return lambda config: bool(config.get(key))


has_validation = given("data.validation")


def is_validated(config: Flat) -> bool:
    named = ("data.validation", "data.validation_share", "data.folds")
    return any(config.get(name) for name in named)


def is_split(config: Flat) -> bool:
    whole = not is_validated(config) and config.get("data.imbalance", 1) == 1
    return not whole or config.get("data.name") == "digits"


def is_drawn(config: Flat) -> bool:
    """Whether the training examples of a regression depend on a seed."""
    chosen = config.get("data.validation") or config.get("data.examples")
    return bool(chosen) or config.get("data.name") not in ("mnist", "mnist20k")  # have a test set


def clean_validation(config: Flat) -> bool:
    """Whether a regression validates on clean targets; the others have the wrong ones, too."""
    return has_validation(config) and config.get("data.validation_labels") != "noisy"


LARGE = ("imagenet", "webvision", "mini_webvision", "clothing1m")  # in their publishers' layouts
FOLDERS = ("voc_folder", "coco_json")  # data sets for detection that `data.path` names


def has_noisy_boxes(config: Flat) -> bool:
    """Whether anything is drawn that is wrong with boxes."""
    names = ("noise.rate", "noise.box", "noise.missing", "noise.bogus")
    return is_drawn_noise(config) and any(config.get(name) for name in names)


of_superloss = when("loss.method", "superloss", "trend_superloss")
remembers = when("loss.method", "remembered_superloss")


def corrects(config: Flat) -> bool:
    """Whether a noise matrix is needed that no drawn noise has."""
    methods = {config.get("loss.method"), config.get("loss.base")}
    need = not methods.isdisjoint({"forward_correction", "backward_correction"})
    return need and not is_drawn_noise(config)


def has_curriculum(config: Flat) -> bool:
    return config.get("curriculum.difficulty") is not None


def with_lam(config: Flat) -> bool:
    return of_superloss(config) or remembers(config)


def with_threshold(*names: str) -> Callable[[Flat], bool]:
    return lambda config: of_superloss(config) and config.get("loss.threshold") in names


def with_decay(config: Flat) -> bool:
    return with_threshold("ema", "per_class")(config) or remembers(config)


stepwise = when("optimizer.schedule", "piecewise", "cyclic")
sgd = when("optimizer.name", "sgd")
