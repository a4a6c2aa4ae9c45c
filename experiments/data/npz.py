"""Reads a user's own npz file, or arrays of the same names from a function of the user's."""

import numpy as np

from experiments import checks
from experiments.data import own_labels
from experiments.data.base import Dataset, counted, dataset, some

Arrays = dict[str, np.ndarray]

NAMES = ("images", "labels", "clean_labels", "test_images", "test_labels", "class_names")
LABELS = ("labels", "clean_labels", "test_labels")


def read(path: str | None) -> Dataset:
    """Reads the file; raises ValueError if it cannot be meant."""
    if not path:
        raise ValueError("config.data.path: npz needs the name of a file")
    return from_arrays("npz", path, _arrays(path))


def from_arrays(name: str, path: str, found: Arrays) -> Dataset:
    """Returns the data set of arrays by NAMES; `path` begins each message."""
    tests = {"test_images", "test_labels"}
    lacking = {"images", "labels"} | (tests if tests & found.keys() else set())
    for key in sorted(found.keys() ^ ({*NAMES} & found.keys() | lacking)):
        verb = "lacks" if key in lacking else "has an unknown"
        raise ValueError(f"{path}: {verb} array {key}; expected {', '.join(NAMES)}")
    labels = {key: found[key] for key in LABELS if key in found}
    names = _class_names(path, found)
    mapped, names = own_labels.as_classes(path, labels, names)
    pixels: Arrays = {key: found[key] for key in ("images", "test_images") if key in found}
    images, done = _images(path, pixels)
    train = images["images"]
    arrays = {"train_images": train, "train_labels": mapped["labels"]}
    arrays["test_images"] = images.get("test_images", np.zeros((0, *train.shape[1:]), np.uint8))
    arrays["test_labels"] = mapped.get("test_labels", mapped["labels"][:0])
    arrays["clean_labels"] = mapped.get("clean_labels", np.full(mapped["labels"].shape, -1))
    counts = np.bincount(mapped["labels"][mapped["labels"] >= 0], minlength=len(names))
    told = [f"classes  {counted(names, counts)}"]
    if alone := [one for one, count in zip(names, counts, strict=True) if count == 1]:
        said = "one example each; an unknown label is -1, or an empty name"
        told.append(f"alone    {some(alone)}: {said}")
    return dataset(name, names, arrays)._replace(told=(*told, *done))


def _images(path: str, found: Arrays) -> tuple[Arrays, list[str]]:
    """Returns uint8 images, channels last, and lines that say what was changed."""
    done = []
    if all(one.dtype.kind == "f" for one in found.values()):
        low, high = (
            float(end([end(one) for one in found.values() if one.size] or [0]))
            for end in (np.min, np.max)
        )
        if not (low >= 0 and high <= 255):  # also NaN
            said = "expected float images from 0 to 1, or to 255"
            raise ValueError(f"{path}: {said}, got {low:g} to {high:g}")
        scale = 255 if high <= 1 else 1
        found = {key: np.rint(scale * one).astype(np.uint8) for key, one in found.items()}
        done.append(f"images   from 0 to {255 // scale} in the file, now 8 bits")
    if all(one.ndim == 4 and one.shape[1] in (1, 3) and one.shape[3] not in (1, 3)
           for one in found.values()):  # fmt: skip
        found = {key: np.moveaxis(one, 1, -1) for key, one in found.items()}
        done.append("images   channels first in the file, now last")
    return {key: one[..., None] if one.ndim == 3 else one for key, one in found.items()}, done


def _arrays(path: str) -> Arrays:
    try:
        with open(checks.path("config.data.path", path), "rb") as file:
            content = np.load(file, allow_pickle=False)
            if not isinstance(content, np.lib.npyio.NpzFile):
                raise ValueError("it holds one array without a name; write it with np.savez")
            return {name: content[name] for name in content.files}
    except Exception as error:  # zipfile and NumPy raise many types
        raise ValueError(f"config.data.path: cannot read {path}: {error}") from None


def _class_names(path: str, found: Arrays) -> list[str] | None:
    if "class_names" not in found:
        return None
    names = found["class_names"]
    if names.dtype.kind != "U" or names.ndim != 1:
        got = f"{names.dtype} of {names.shape}"
        raise ValueError(f"{path}: expected class_names as a row of strings, got {got}")
    if len(names) > own_labels.MOST_CLASSES:
        most = own_labels.MOST_CLASSES
        raise ValueError(f"{path}: expected at most {most} classes, got {len(names)}")
    return names.tolist()
