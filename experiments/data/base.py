"""The types for data sets and their examples."""

from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.data.encoded import Encoded


class NotThere(ValueError):  # noqa: N818 (the data are not faulty)
    """Raised when a data set is not on this machine."""


class Examples(NamedTuple):
    """Arrays, or trees of arrays, with one row per example."""

    inputs: Any
    targets: Any  # used for training
    clean_targets: Any  # used only for metrics
    index: Any  # int32, position in the published file

    def rows(self, rows) -> "Examples":
        return jax.tree.map(lambda array: array[rows], self)

    def decoded(self) -> "Examples":
        """Returns them with images that lie in files decoded."""
        return jax.tree.map(np.asarray, self)

    def is_encoded(self) -> bool:
        return any(isinstance(leaf, Encoded) for leaf in jax.tree.leaves(self))

    def only(self, mask) -> "Examples":
        """Returns the rows where the mask is True, without a copy if that is everywhere."""
        return self if mask.all() else self.rows(mask)


class Dataset(NamedTuple):
    """Inputs and int32 labels; -1 means unknown.

    Inputs are uint8 images of shape (N, height, width, channels), or standardised rows of float32
    of shape (N, features).
    """

    name: str
    class_names: tuple[str, ...]
    train: Examples
    validation: Examples
    test: Examples
    mean: tuple[float, ...]  # per channel, for normalisation
    std: tuple[float, ...]
    labels_sha256: str = ""  # of all training labels (noisy), before any split
    files: tuple[str, ...] = ()  # of training examples by index, if each is a file
    told: tuple[str, ...] = ()  # lines for the log: what was found, and what was done to it


def is_known(labels, clean_labels):
    """Returns a mask of the examples of which it is known whether their label is wrong."""
    return (labels >= 0) & (clean_labels >= 0)


def is_wrong(labels, clean_labels):
    """Returns a mask of the labels that are known to be wrong."""
    return is_known(labels, clean_labels) & (labels != clean_labels)


def wrong(examples: Examples) -> np.ndarray:
    return is_wrong(examples.targets, examples.clean_targets)


def dataset(name: str, class_names, arrays: dict[str, np.ndarray], mean=None, std=None) -> Dataset:
    """Builds a data set from arrays in their original order.

    `arrays` needs `clean_labels` only if they differ from `train_labels`.

    Raises:
      ValueError: if shapes, dtypes or label values are not valid.
    """
    if len(class_names) < 2:
        raise ValueError(f"data set {name}: expected at least 2 classes, got {len(class_names)}")
    images, labels = arrays["train_images"], arrays["train_labels"]
    train = _examples(name, images, labels, arrays.get("clean_labels", labels), class_names)
    images, labels = arrays["test_images"], arrays["test_labels"]
    test = _examples(f"{name} test", images, labels, labels, class_names)
    if len(test.targets) and test.inputs.shape[1:] != train.inputs.shape[1:]:
        shapes = train.inputs.shape[1:], test.inputs.shape[1:]
        raise ValueError(f"data set {name}: training and test images differ in shape: {shapes}")
    if train.inputs.ndim == 2:
        mean, std = (0.0,), (1.0,)
    elif mean is None:
        mean, std = moments(train.inputs)
    return Dataset(name, tuple(class_names), train, train.rows(slice(0)), test, mean, std)


def _examples(what, images, labels, clean_labels, class_names) -> Examples:
    good = images.ndim == 4 and images.shape[3] in (1, 3) and min(images.shape[1:3]) > 0
    is_rows = images.ndim == 2 and images.dtype == np.float32 and images.shape[1] > 0
    if (images.dtype != np.uint8 or not good) and not is_rows:
        raise ValueError(
            f"data set {what}: expected uint8 images of shape (N, height, width, 1 or 3), got"
            f" {images.dtype} of {images.shape}"
        )
    for name, values in (("labels", labels), ("clean_labels", clean_labels)):
        if values.dtype.kind not in "iu" or values.shape != (len(images),):
            raise ValueError(
                f"data set {what}: expected {name} as integers of shape ({len(images)},), got"
                f" {values.dtype} of {values.shape}"
            )
        high = len(class_names) - 1
        if len(values) and not -1 <= values.min() <= values.max() <= high:
            raise ValueError(
                f"data set {what}: expected {name} from 0 to {high}, got"
                f" {values.min()} to {values.max()}; -1 marks an unknown one"
            )
    indices = np.arange(len(images), dtype=np.int32)
    return Examples(images, labels.astype(np.int32), clean_labels.astype(np.int32), indices)


def moments(images: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Returns the exact mean and standard deviation per channel, from a histogram of 256 values."""
    return moments_of(counts_of(images))


def counts_of(images: np.ndarray) -> np.ndarray:
    """Counts how often each of the 256 values occurs, by channel, which is the last axis."""
    channels = np.moveaxis(images, -1, 0)
    return np.stack([np.bincount(one.ravel(), minlength=256) for one in channels])


def moments_of(counts: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    means, stds = [], []
    for number in counts:
        share = number / number.sum()
        mean = float(share @ np.arange(256))
        means.append(mean)
        stds.append(float(np.sqrt(share @ (np.arange(256) - mean) ** 2)) or 1.0)
    return tuple(means), tuple(stds)


def counted(names: list[str], counts: np.ndarray) -> str:
    """The number of classes, and how many examples each has."""
    shown = [f"{name} {count}" for name, count in zip(names, counts, strict=True)]
    return f"{len(names)}: {some(shown, 20)}"


def some(texts, number: int = 5) -> str:
    """The first of some texts, and how many more there are."""
    texts = sorted(texts) if isinstance(texts, set) else list(texts)
    more = f" and {len(texts) - number} more" if len(texts) > number else ""
    return f"{', '.join(texts[:number])}{more}"
