"""Labels as people have them, names or any whole numbers, one-hot or in a column, as 0 to C - 1."""

from collections.abc import Mapping

import numpy as np

MOST_CLASSES = 100_000
UNKNOWN = ("", "-1")  # besides the number -1


def as_classes(
    where: str, found: Mapping[str, np.ndarray], names: list[str] | None
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Maps labels to classes, the same way in all arrays.

    Args:
      where: begins each message.
      found: arrays of labels by name. The classes are those of the first, sorted. One-hot rows, or
        a column, count as one label each. -1 or an empty name is an unknown label.
      names: of the classes, where these are known. Labels are then such names, or numbers from 0.

    Returns:
      Arrays of int64 with -1 for unknown, and the classes' names.
    """
    flat = {name: _flat(f"{where}: {name}", labels) for name, labels in found.items()}
    first, *_ = flat.values()
    if names is None:
        values = [value for value in np.unique(first).tolist() if not _is_unknown(value)]
        _check_classes(where, values, len(first))
        names = [str(value) for value in values]
    else:
        values = list(names) if first.dtype.kind == "U" else [*range(len(names))]
    place = {value: i for i, value in enumerate(values)}
    mapped = {name: _mapped(f"{where}: {name}", one, place) for name, one in flat.items()}
    return mapped, names


def _flat(where: str, labels: np.ndarray) -> np.ndarray:
    """Returns one label, a whole number or a name, for each example."""
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    elif labels.ndim == 2 and labels.dtype.kind in "biuf":
        one_hot = ((labels == 0) | (labels == 1)).all() and (labels.sum(axis=1) == 1).all()
        if not one_hot:
            raise ValueError(f"{where}: expected a label each, or rows with a single 1")
        labels = labels.argmax(axis=1)
    if labels.ndim != 1 or labels.dtype.kind not in "biufUS":
        got = f"{labels.dtype} of {labels.shape}"
        raise ValueError(f"{where}: expected a whole number or a name for each image, got {got}")
    if labels.dtype.kind == "S":
        return np.char.decode(labels, "utf-8")
    if labels.dtype.kind == "f":
        broken = labels[~(np.isfinite(labels) & (labels == np.round(labels)))]
        if len(broken):
            said = f"expected whole numbers or names, got {broken[0]:g}"
            raise ValueError(f"{where}: {said}; for numbers to predict: config.task=regression")
        return labels.astype(np.int64)
    return labels


def _is_unknown(value) -> bool:
    return value == -1 or value in UNKNOWN


def _check_classes(where: str, values: list, number: int) -> None:
    if values and not isinstance(values[0], str) and values[0] < 0:
        raise ValueError(f"{where}: expected labels from 0 on, or -1 if unknown, got {values[0]}")
    if len(values) < 2:
        got = f"only {values[0]!r}" if values else "none"
        raise ValueError(f"{where}: expected labels of at least 2 classes, got {got}")
    if len(values) > MOST_CLASSES or (len(values) > 10 and 2 * len(values) > number):
        said = f"{len(values)} different labels of {number} examples are no classes"
        raise ValueError(f"{where}: {said}; for numbers to predict: config.task=regression")


def _mapped(where: str, labels: np.ndarray, place: dict) -> np.ndarray:
    different, inverse = np.unique(labels, return_inverse=True)
    numbers = []
    for value in different.tolist():
        if value not in place and not _is_unknown(value):
            known = ", ".join(map(str, list(place)[:3])) + ", ..." * (len(place) > 3)
            raise ValueError(f"{where}: {value!r} is none of the classes {known}")
        numbers.append(place.get(value, -1))
    return np.array(numbers, np.int64)[inverse.reshape(labels.shape)]
