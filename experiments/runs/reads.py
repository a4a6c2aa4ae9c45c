"""Declares, by section, which keys of a config a run reads, and under which condition."""

from collections.abc import Callable
from typing import Any

from experiments.runs.conditions import (
    FOLDERS,
    LARGE,
    Flat,
    always,
    clean_validation,
    corrects,
    given,
    has_curriculum,
    has_noisy_boxes,
    has_validation,
    is_drawn,
    is_drawn_noise,
    is_noisy,
    is_split,
    is_validated,
    of_superloss,
    sgd,
    stepwise,
    when,
    with_decay,
    with_lam,
    with_threshold,
)

Section = dict[str, Callable[[Flat], bool]]


def of(method: str, *names: str) -> Section:
    """The keys of a method's own section, which are read if it is the method or the base."""
    return {f"{method}.{name}": always for name in names}


EVERY_RUN: dict[str, Section] = {
    "": dict.fromkeys(("task", "seed", "epochs", "batch_size", "devices"), always),
    "data": {"exclude": always, "exclude_rate": always, "exclude_sha256": always},
    "model": {"bn_groups": always},
    "average": {"decay": always},
    "curriculum": {
        **dict.fromkeys(("difficulty", "difficulty_sha256", "classes"), always),
        **dict.fromkeys(("hardest_first", "pacing", "start", "end", "balanced"), has_curriculum),
        "steps": lambda config: config.get("curriculum.pacing") in ("exponential", "baby_steps")
        and has_curriculum(config),
    },
    "optimizer": {
        "name": always, "learning_rate": always, "weight_decay": always, "schedule": always,
        "l1": always, "clip": always, "sam": always, "warmup_epochs": always,
        "boundaries": stepwise, "factor": stepwise, "momentum": sgd, "nesterov": sgd,
    },
    # The sections of `method` and `base` are read as well: see is_of_method.
    "loss": {
        "method": always, "base": always, "lam": with_lam, "threshold": of_superloss,
        "decay": with_decay, "tau": with_threshold("constant"),
        "window": with_threshold("windowed"), "normalise_weights": with_lam,
        **of("generalized_cross_entropy", "q"), **of("truncated_gce", "q", "k", "start"),
        **of("symmetric_cross_entropy", "alpha", "beta", "log_zero"),
        **of("active_passive", "passive", "alpha", "beta"), **of("bootstrap", "hard", "beta"),
        "active_passive.a": when("loss.active_passive.passive", "agce", "aul", "ael"),
        "active_passive.q": when("loss.active_passive.passive", "agce", "aul"),
        **of("active_negative", "alpha", "beta"), **of("joint_asymmetric", "alpha", "beta", "a"),
        **of("asymmetric_gce", "a", "q"), **of("asymmetric_unhinged", "a", "q"),
        **of("asymmetric_exponential", "a"), **of("epsilon_softmax", "m", "alpha", "beta"),
        **of("logit_clip", "delta"), **of("label_smoothing", "smoothing"),
        **of("logit_adjustment", "tau"), **of("dynamics_aware", "q_start", "q_end", "end"),
        **of("optimized_clipping", "epsilon", "size", "interval"),
        **of("focal", "gamma"), **of("cauchy", "scale"), **of("trimmed", "forget_rate", "warmup"),
        **of("self_paced", "weights", "threshold", "growth", "every"),
        **of("mentornet", "percentile", "decay", "burn_in", "second", "second_from"),
        **of("learned_mentornet", "path", "sha256", "percentile", "decay", "burn_in"),
        **of("data_parameters", "kind", "momentum", "clamp"),
        "data_parameters.class_rate": when("loss.data_parameters.kind", "class", "both"),
        "data_parameters.instance_rate": when("loss.data_parameters.kind", "instance", "both"),
        **of("trend_superloss", "alpha", "window"), **of("remembered_superloss", "share", "memory"),
        **of("early_learning", "lam", "beta"), **of("self_filter", "decay", "start"),
        **of("co_teaching", "forget_rate", "warmup"), **of("jocor", "forget_rate", "lam", "warmup"),
    },
}  # fmt: skip


def of_columns(config: Flat) -> bool:
    """Whether a column is chosen for the targets."""
    name = config.get("data.name")
    return name in ("table", "huggingface") or str(name).startswith("tfds:")


def of_pictures(config: Flat) -> bool:
    """Whether the images may have any sizes."""
    return of_columns(config) or config.get("data.name") == "folder"


CLASSES: dict[str, Section] = {
    "data": {
        "name": always, "path": always, "sha256": always, "variant": always,
        "validation": always, "imbalance": always, "split_seed": is_split,
        "validation_share": always, "validation_labels": is_validated,
        "folds": always, "fold": given("data.folds"),
        **dict.fromkeys(("corrections", "corrections_sha256"), always),
        **dict.fromkeys(("noise_matrix", "noise_matrix_sha256"), corrects),
        "side": lambda config: of_pictures(config) or config.get("data.name") in LARGE,
        "damaged": of_pictures,
        **dict.fromkeys(("label_column", "path_column"), of_columns),
        "imbalance_exact": lambda config: config.get("data.imbalance", 1) != 1,
        "labelled": always, "labelled_seed": given("data.labelled"),
    },
    "augment": dict.fromkeys(("pad", "flip", "cutout", "mixup"), always),
    "noise": {
        "kind": always, "rate": is_drawn_noise,
        "exact": is_noisy, "seed": is_noisy,
    },
    "model": dict.fromkeys(("name", "init", "dtype", "dropout"), always),
}  # fmt: skip
of_fixmatch = when("consistency.kind", "fixmatch")
taught = when("consistency.kind", "fixmatch", "mean_teacher")


def weighs_pairs(config: Flat) -> bool:
    """Whether pairs of two kinds have a loss each."""
    units = config.get("embedding.units"), config.get("embedding.loss")
    return units == ("pairs", "contrastive")


of_files = when("data.name", "folder", "listed")
of_pairs = when("embedding.loss", "contrastive", "triplet")
READS: dict[str, dict[str, Section]] = {  # further keys, by task
    "classification": CLASSES | {
        "easy_anchors": {"weight": always}
        | dict.fromkeys(("margin", "number", "end", "rest"), given("easy_anchors.weight")),
        "mean_teacher": {
            "weight": always,
            "warmup_epochs": lambda config: bool(config.get("mean_teacher.weight")),
        },
    },
    "semi_supervised": CLASSES | {
        "augment": dict.fromkeys(("pad", "flip", "cutout"), always),
        "consistency": {
            "kind": always, "labelled": always,
            **dict.fromkeys(("weight", "warmup_epochs"), taught),
            "threshold": of_fixmatch, "operations": of_fixmatch,
        },
    },
    "divide_mix": CLASSES | {
        "divide_mix": dict.fromkeys(
            ("warmup_epochs", "penalise_confidence", "threshold", "temperature", "alpha", "weight",
             "rampup_epochs", "prior"), always
        ),
    },
    "detection": {
        "data": {
            **dict.fromkeys(("name", "height", "width", "boxes", "validation"), always),
            **dict.fromkeys(("path", "sha256"), when("data.name", *FOLDERS)),
            **dict.fromkeys(("test_path", "test_sha256"), when("data.name", "coco_json")),
            "split_seed": lambda config: (
                config.get("data.name") in FOLDERS or has_validation(config)
            ),
            "validation_labels": always,
        },
        "augment": {"flip": always},
        "noise": {
            "kind": always,
            **dict.fromkeys(("rate", "box", "missing", "bogus"), is_drawn_noise),
            "seed": has_noisy_boxes,
        },
        "model": dict.fromkeys(("name", "dtype"), always),
        "detection": dict.fromkeys(
            ("classes", "boxes", "box_weight", "weighs", "radius", "suppression"), always
        ),
    },
    "regression": {
        "data": {
            "name": always, "validation": always, "examples": always, "split_seed": is_drawn,
            **dict.fromkeys(("path", "sha256"), when("data.name", "images", "table")),
            **dict.fromkeys(("pattern", "side"), when("data.name", "images")),
            "label_column": when("data.name", "table"),
            "validation_labels": clean_validation,
        },
        "noise": {
            "kind": always, "rate": is_drawn_noise,
            "seed": is_noisy,
        },
        "model": dict.fromkeys(("name", "dtype", "dropout"), always),
        "residual": {
            "loss": always, "truncation": always, "delta": when("residual.loss", "huber"),
        },
    },
    "retrieval": {
        "data": {
            "name": always, "validation": always,
            **dict.fromkeys(("split_seed", "validation_labels"), has_validation),
            **dict.fromkeys(("path", "sha256"), of_files),
            "side": when("data.name", "omniglot_small", "folder", "listed"),
            **dict.fromkeys(("train_list", "test_list"), when("data.name", "listed")),
        },
        "augment": dict.fromkeys(("pad", "flip"), always),
        "noise": {
            "kind": always, "rate": is_drawn_noise,
            "seed": is_noisy,
        },
        "model": dict.fromkeys(("name", "dtype", "dropout"), always),
        "embedding": {
            "loss": always, "dim": always, "per_class": always, "margin": of_pairs,
            "units": when("embedding.loss", "contrastive"), "positives": weighs_pairs,
            "negatives": when("embedding.loss", "triplet"),
            "temperature": when("embedding.loss", "softmax"),
            **dict.fromkeys(
                ("alpha", "beta", "base", "epsilon"), when("embedding.loss", "multi_similarity")
            ),
        },
    },
}  # fmt: skip

# How a run is carried out, monitored and evaluated: these change results by rounding at most.
CARRIED_OUT = (
    "checkpoint.every_epochs", "checkpoint.every_minutes", "checkpoint.keep", "report.selection",
    "report.losses", "report.logger", "vmap_seeds", "data.device_budget_mb", "data.decode",
    "data.workers",
)  # fmt: skip

# Keys that are newer than some results, with the value that gives the old behaviour.
BEFORE: dict[str, Any] = {
    "task": "classification", "average.decay": 0.0, "data.labelled": 0,
    "data.validation_share": 0.0, "data.folds": 0, "data.corrections": None,
    "data.noise_matrix": None,
    "loss.normalise_weights": False,
    "embedding.positives": 1.0, "optimizer.l1": 0.0, "optimizer.clip": 0.0, "optimizer.sam": 0.0,
    "loss.remembered_superloss.memory": "held_out", "curriculum.difficulty": None,
    "curriculum.classes": "given", "easy_anchors.weight": 0.0, "mean_teacher.weight": 0.0,
}  # fmt: skip

# Of what else a run reads: `contents.note` adds them to a config.
HASHES = (
    "data.sha256", "data.test_sha256", "data.exclude_sha256", "data.corrections_sha256",
    "data.noise_matrix_sha256", "curriculum.difficulty_sha256",
    "loss.learned_mentornet.sha256",
)  # fmt: skip

# Keys that a user's own config may lack: what reads them has a value for that.
OPTIONAL = (
    *BEFORE, *HASHES, "data.exclude", "data.exclude_rate", "data.device_budget_mb",
    "data.labelled_seed", "data.side", "data.damaged", "data.fold", "model.bn_groups",
    "data.label_column", "data.path_column", "report.logger", "curriculum.hardest_first",
    "curriculum.pacing", "curriculum.start", "curriculum.end", "curriculum.steps",
    "curriculum.balanced", "mean_teacher.warmup_epochs",
    "data.decode", "data.workers",
)  # fmt: skip
