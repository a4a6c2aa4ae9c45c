"""Loads data sets as arrays, draws wrong labels, and splits off validation examples."""

from typing import Any

from experiments.data.base import Dataset, Examples, is_wrong, wrong
from experiments.data.labels import (
    check_noise,
    corrupt,
    hide,
    labels_sha256,
    noise_matrix,
    realised_rate,
    split,
)
from experiments.data.sources import DATASETS, load, options

__all__ = [
    "DATASETS", "Dataset", "Examples", "build", "check_noise", "corrupt", "described", "hide",
    "is_wrong", "labelled", "labels_sha256", "load", "noise_matrix", "realised_rate", "split",
    "wrong",
]  # fmt: skip


def build(config, noise, data_dir: str | None = None) -> Dataset:
    """Returns the data set described by `config.data` and `config.noise`.

    It reads only the keys that experiments.runs.reads declares for this configuration.
    """
    wanted = noise_of(noise)
    check_noise(config.name, **wanted)
    source = {"path": config.path, "variant": config.variant}
    source |= {key: config[key] for key in options(config.name) if key in config}
    if config.name == "digits":  # has no official test set, so the split depends on a seed
        source["split_seed"] = config.split_seed
    dataset = corrupt(load(config.name, **source, data_dir=data_dir), **wanted)
    dataset = dataset._replace(labels_sha256=labels_sha256(dataset))
    share = config.get("validation_share", 0.0)
    if config.validation or share or config.imbalance != 1:
        dataset = split(
            dataset,
            config.split_seed,
            config.validation,
            validation_labels=config.validation_labels if config.validation or share else "noisy",
            imbalance=config.imbalance,
            imbalance_exact=config.imbalance != 1 and config.imbalance_exact,
            share=share,
        )
    if not config.get("labelled", 0):
        return dataset
    train = hide(dataset.train, config.labelled, config.labelled_seed, dataset.class_names)
    return dataset._replace(train=train)


def labelled(dataset: Dataset, *parts: str) -> Dataset:
    """Leaves out the examples of these parts that have no label."""
    for part in parts:
        examples = getattr(dataset, part)
        dataset = dataset._replace(**{part: examples.only(examples.targets >= 0)})
    if not len(dataset.train.index):
        raise ValueError(f"data set {dataset.name}: no training example has a label")
    return dataset


def noise_of(noise) -> dict[str, Any]:
    """Returns the keys of `config.noise` that affect the labels."""
    if noise.kind == "given":
        return {"kind": "given"}
    wanted = {"kind": noise.kind, "rate": noise.rate}
    if noise.rate:
        wanted |= {"exact": noise.exact, "seed": noise.seed}
    return wanted


def described(dataset: Dataset, noise) -> tuple[str, ...]:
    """Returns lines for the log: the sizes of the data set and its noise rate."""
    counts = ", ".join(
        f"{len(getattr(dataset, part).targets)} {part}" for part in ("train", "validation", "test")
    )
    rate = realised_rate(dataset.train)
    unlabelled = int((dataset.train.targets < 0).sum())
    without = f", {unlabelled} of them without a label" if unlabelled else ""
    known = "how many are wrong is not known" if rate is None else f"{rate:.2%} are wrong"
    asked = "" if noise.kind == "given" else f", rate {noise.rate}"
    what = "images" if dataset.train.inputs.ndim > 2 else "rows"
    return (
        f"data     {dataset.name}: {counts} {what}{without}",
        *dataset.told,
        f"noise    {noise.kind}{asked}: of the training labels, {known}",
    )
