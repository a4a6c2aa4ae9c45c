"""Data sets as arrays: uint8 images in HWC, int32 labels, in their original order."""

import importlib.util
import pathlib
from typing import NamedTuple

import jax
import numpy as np

from experiments import cache, choices
from experiments.progress import track
from superloss_jax import noise


class Dataset(NamedTuple):
    name: str
    class_names: tuple[str, ...]
    train_images: np.ndarray
    train_labels: np.ndarray  # clean, as published
    test_images: np.ndarray
    test_labels: np.ndarray
    mean: tuple[float, ...]  # of the pixels of each channel, to normalise by
    std: tuple[float, ...]


def _digits(data_dir, split_seed):
    """1,797 handwritten digits of 8x8 that come with scikit-learn; 500 of them to test."""
    del data_dir
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    images = images.reshape(-1, 8, 8, 1).astype(np.uint8)  # values 0 to 16
    order = np.random.Generator(np.random.PCG64(split_seed)).permutation(len(labels))
    test, train = np.sort(order[:500]), np.sort(order[500:])
    labels = labels.astype(np.int32)
    return Dataset(
        name="digits",
        class_names=tuple(str(digit) for digit in range(10)),
        train_images=images[train],
        train_labels=labels[train],
        test_images=images[test],
        test_labels=labels[test],
        mean=(0.0,),
        std=(16.0,),
    )


def _tfds_builder(name, data_dir):
    root = pathlib.Path(data_dir or "~/tensorflow_datasets").expanduser()
    if importlib.util.find_spec("tensorflow_datasets") is None:
        raise ValueError("data sets beyond digits need: pip install -e '.[experiments]'")
    found = sorted((root / name).glob("*/dataset_info.json"))
    if not found:
        raise ValueError(
            f"data set {name}: expected a prepared TFDS directory {root / name}; point --data_dir"
            ' at one, or make it (with tensorflow installed) by: python -c "import'
            f" tensorflow_datasets as t; t.builder('{name}', data_dir='{root}',"
            " file_format='array_record').download_and_prepare()\""
        )
    import tensorflow_datasets as tfds

    try:
        return tfds.builder_from_directory(str(found[-1].parent))
    except Exception as error:  # whatever its parsers raise
        reason = str(error).strip().splitlines()[0]
        raise ValueError(f"data set {name}: cannot read {found[-1].parent}: {reason}") from None


def read_split(builder, split: str, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels of array_record files, read without TensorFlow, in their original order."""
    source = builder.as_data_source(split)
    if len(source) != count:
        raise ValueError(f"{builder.name} {split}: expected {count} records, got {len(source)}")
    images = np.empty((count, *builder.info.features["image"].shape), np.uint8)
    labels = np.full(count, -1, np.int32)
    # TFDS shuffles when it writes; an id ends in the position in the official file.
    for record in track(source, f"decoding {builder.name} {split}"):
        index = int(record["id"].decode().rsplit("_", 1)[1])
        images[index], labels[index] = record["image"], record["label"]
    if (labels < 0).any():
        raise ValueError(f"{builder.name} {split}: ids other than 0 to {count - 1}, each once")
    return images, labels


def _cifar10(data_dir, split_seed):
    del split_seed  # it has an official test set
    builder = _tfds_builder("cifar10", data_dir)

    def decode():
        train, test = read_split(builder, "train", 50_000), read_split(builder, "test", 10_000)
        names = ("train_images", "train_labels", "test_images", "test_labels")
        return dict(zip(names, (*train, *test), strict=True))

    return Dataset(
        name="cifar10",
        class_names=tuple(builder.info.features["label"].names),
        **cache.cached("cifar10", pathlib.Path(builder.data_dir), decode),
        mean=(125.31, 122.95, 113.87),
        std=(62.99, 62.09, 66.70),
    )


DATASETS = {"digits": _digits, "cifar10": _cifar10}


def load(name: str, split_seed: int, data_dir: str | None = None) -> Dataset:
    choices.seed("config.data.split_seed", split_seed)
    return choices.choose("config.data.name", name, DATASETS)(data_dir, split_seed)


FLIPS = {"cifar10": noise.CIFAR10_FLIPS}  # of asymmetric noise, as published


def check_noise(dataset: str, kind: str, rate: float, exact: bool, seed: int) -> None:
    """Raises ValueError for noise that cannot be meant, before any data is read."""
    del exact
    if kind == "asymmetric" and dataset not in FLIPS:
        raise ValueError(f"config.noise.kind: asymmetric has no published map for {dataset}")
    try:
        flips = {0: 1} if kind == "asymmetric" else None
        noise.transition_matrix(kind, rate, num_classes=2, flips=flips)
    except ValueError as error:
        raise ValueError(f"config.noise: {error}") from None
    choices.seed("config.noise.seed", seed)


def corrupt(dataset: Dataset, kind: str, rate: float, exact: bool, seed: int) -> np.ndarray:
    """Noisy training labels: a pure function of the data set and of these values."""
    flips = FLIPS[dataset.name] if kind == "asymmetric" else None
    matrix = noise.transition_matrix(kind, rate, len(dataset.class_names), flips=flips)
    key = jax.random.key(seed, impl="threefry2x32")
    return np.asarray(noise.corrupt_labels(key, dataset.train_labels, matrix, exact=exact))
