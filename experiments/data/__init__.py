"""Data sets, their wrong labels and their splits, as arrays."""

from experiments.data.base import Dataset, Examples, wrong
from experiments.data.labels import (
    check_noise,
    corrupt,
    labels_sha256,
    noise_matrix,
    realised_rate,
    split,
)
from experiments.data.sources import DATASETS, load

__all__ = [
    "DATASETS", "Dataset", "Examples", "build", "check_noise", "corrupt", "described",
    "labels_sha256", "load", "noise_matrix", "realised_rate", "split", "wrong",
]  # fmt: skip


def build(config, noise, data_dir: str | None = None) -> Dataset:
    """The data set that `config.data` and `config.noise` mean."""
    check_noise(config.name, **noise)
    source = {key: config[key] for key in ("split_seed", "path", "variant")}
    dataset = corrupt(load(config.name, **source, data_dir=data_dir), **noise)
    dataset = dataset._replace(labels_sha256=labels_sha256(dataset))
    names = ("split_seed", "validation", "validation_labels", "imbalance", "imbalance_exact")
    return split(dataset, **{key: config[key] for key in names})


def described(dataset: Dataset, noise) -> tuple[str, ...]:
    """Lines that say what is trained on, and how much of it is wrong."""
    counts = ", ".join(
        f"{len(getattr(dataset, part).targets)} {part}" for part in ("train", "validation", "test")
    )
    rate = realised_rate(dataset.train)
    known = "how many are wrong is not known" if rate is None else f"{rate:.2%} are wrong"
    return (
        f"data     {dataset.name}: {counts} images",
        f"noise    {noise.kind}, rate {noise.rate}: of the training labels, {known}",
    )
