"""Reads a user's own npz file."""

import numpy as np

from experiments import checks
from experiments.data.base import Dataset, dataset

Arrays = dict[str, np.ndarray]

NAMES = ("images", "labels", "clean_labels", "test_images", "test_labels", "class_names")
MOST_CLASSES = 100_000


def read(path: str | None) -> Dataset:
    """Reads the file; raises ValueError if it cannot be meant."""
    if not path:
        raise ValueError("config.data.path: npz needs the name of a file")
    found = _arrays(path)
    tests = {"test_images", "test_labels"}
    lacking = {"images", "labels"} | (tests if tests & found.keys() else set())
    for name in sorted(found.keys() ^ ({*NAMES} & found.keys() | lacking)):
        verb = "lacks" if name in lacking else "has an unknown"
        raise ValueError(f"{path}: {verb} array {name}; expected {', '.join(NAMES)}")
    labels = found["labels"]
    if labels.dtype.kind not in "iu" or labels.ndim != 1 or not len(labels):
        got = f"{labels.dtype} of {labels.shape}"
        raise ValueError(f"{path}: expected labels as integers, one for each image, got {got}")
    images = {key: found[key] for key in ("images", "test_images") if key in found}
    images = {key: a[..., None] if a.ndim == 3 else a for key, a in images.items()}
    train = images["images"]
    arrays = {"train_images": train, "train_labels": labels}
    arrays["test_images"] = images.get("test_images", np.zeros((0, *train.shape[1:]), np.uint8))
    arrays["test_labels"] = found.get("test_labels", labels[:0])
    arrays["clean_labels"] = found.get("clean_labels", np.full(labels.shape, -1))
    return dataset("npz", _class_names(path, found), arrays)


def _arrays(path: str) -> Arrays:
    try:
        with open(checks.path("config.data.path", path), "rb") as file:
            content = np.load(file, allow_pickle=False)
            if not isinstance(content, np.lib.npyio.NpzFile):
                raise ValueError("it holds one array without a name; write it with np.savez")
            return {name: content[name] for name in content.files}
    except Exception as error:  # zipfile and NumPy raise many types
        raise ValueError(f"config.data.path: cannot read {path}: {error}") from None


def _class_names(path: str, found: Arrays) -> list[str]:
    """The file's class names; without them the numbers of the classes, none of which may lack."""
    if "class_names" in found:
        names = found["class_names"]
        if names.dtype.kind != "U" or names.ndim != 1:
            got = f"{names.dtype} of {names.shape}"
            raise ValueError(f"{path}: expected class_names as a row of strings, got {got}")
        if len(names) > MOST_CLASSES:
            raise ValueError(f"{path}: expected at most {MOST_CLASSES} classes, got {len(names)}")
        return names.tolist()
    # Not those of clean_labels: a number that no label has may be somebody's mark for unknown.
    classes = [value for value in np.unique(found["labels"]).tolist() if value >= 0]
    if classes != [*range(len(classes))]:
        shown = ", ".join(map(str, classes[:3])) + f" ... {classes[-1]}" * (len(classes) > 3)
        lacking = next(i for i, value in enumerate(classes) if i != value)
        raise ValueError(
            f"{path}: expected labels 0 to C - 1, each at least once, got {shown}; no example"
            f" is of class {lacking}: renumber them with np.unique(labels, return_inverse=True), or"
            " add class_names with a name for every class"
        )
    return [str(i) for i in classes]
