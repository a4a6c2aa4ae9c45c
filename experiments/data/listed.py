"""Images of identities: a folder for each class, or lists of files and labels."""

import pathlib
from collections.abc import Iterable

import numpy as np

from experiments import checks
from experiments.data import image_files, picture_table
from experiments.progress import track

PARTS = ("train", "test")


def folder(path: str | None, side: int):
    """Reads the images of `path/train/CLASS/*` and `path/test/CLASS/*`.

    Returns images of side x side, the class of each, the names of the classes, those of `train`
    first, and how many there are of these.
    """
    root = _root(path)
    files: list[pathlib.Path] = []
    labels: list[int] = []
    names: list[str] = []
    numbers = []
    for part in PARTS:
        if not (root / part).is_dir():
            said = "expected folders train and test, each with a folder for each class"
            raise ValueError(f"config.data.path: {said}, got {root}")
        for of_class in sorted(one for one in (root / part).iterdir() if one.is_dir()):
            found = sorted(one for one in of_class.iterdir() if image_files.is_image(one))
            if not found:
                raise ValueError(f"config.data.path: {of_class} has no images")
            files += found
            labels += [len(names)] * len(found)
            names.append(of_class.name)
        numbers.append(len(names))
    return _images(files, side), np.array(labels, np.int32), tuple(names), numbers[0]


def lists(path: str | None, side: int, train_list: str | None, test_list: str | None):
    """Reads the images of two lists, whose lines are "path,label"; paths are below `path`.

    Where a list NAME_train.csv has wrong labels, a list NAME_cleaned_train.csv beside it has the
    lines that are right: the lists of alibaba-edu/Ranking-based-Instance-Selection do so. Of the
    other images only that their label is wrong is known: each counts as an identity of its own.

    Returns what `folder` does, and the clean labels, or None if there is no such list.
    """
    root = _root(path)
    train, test = (
        _lines(f"config.data.{key}", root, given)
        for key, given in (("train_list", train_list), ("test_list", test_list))
    )
    if both := {file for file, _ in train} & {file for file, _ in test}:
        raise ValueError(f"config.data.test_list: {min(both)} is in the training list, too")
    names = [*_unique(label for _, label in train), *_unique(label for _, label in test)]
    number = len({label for _, label in train})
    places = [
        {name: i for i, name in enumerate(names[:number])},
        {name: number + i for i, name in enumerate(names[number:])},
    ]
    labels = np.array(
        [place[label] for place, part in zip(places, (train, test), strict=True)
         for _, label in part], np.int32,
    )  # fmt: skip
    images = _images([file for file, _ in (*train, *test)], side)
    return images, labels, tuple(names), number, _clean(root, str(train_list), train, labels)


def _clean(root: pathlib.Path, train_list: str, train, labels) -> np.ndarray | None:
    file = pathlib.Path(train_list).expanduser()
    cleaned = file.with_name(file.name.replace("_train.csv", "_cleaned_train.csv"))
    if cleaned == file or not cleaned.is_file():
        return None
    right = {file for file, _ in _lines("config.data.train_list", root, str(cleaned))}
    known = np.array([file in right for file, _ in train])
    if not known.any():
        raise ValueError(f"config.data.train_list: {cleaned} has no image of {file}")
    clean = labels.copy()
    wrong = np.flatnonzero(~known)
    clean[wrong] = labels.max() + 1 + np.arange(len(wrong))
    return clean


def _lines(key: str, root: pathlib.Path, given: str | None) -> list[tuple[pathlib.Path, str]]:
    """Reads a list; a file that starts with a slash is below the root as well."""
    if not given:
        raise ValueError(f'{key}: expected a file with lines "path,label", got none')
    try:
        text = checks.path(key, given).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{key}: {given}: {getattr(error, 'strerror', error)}") from None
    found: dict[pathlib.Path, str] = {}
    for i, line in enumerate(text.splitlines(), start=1):
        name, comma, label = line.strip().rpartition(",")
        if not comma or not name or not label:
            raise ValueError(f'{key}: {given}, line {i}: expected "path,label", got {line!r}')
        file = root / name.lstrip("/")
        if file in found:
            raise ValueError(f"{key}: {given}, line {i}: {name} occurs twice")
        found[file] = label
    if not found:
        raise ValueError(f"{key}: {given} has no lines")
    return [*found.items()]


def _root(path: str | None) -> pathlib.Path:
    if not path:
        raise ValueError("config.data.path: expected a folder of images, got none")
    root = checks.path("config.data.path", path)
    if not root.is_dir():
        raise ValueError(f"config.data.path: {path} is no folder")
    return root


def _images(files: list[pathlib.Path], side: int) -> np.ndarray:
    return np.stack([picture_table.image(file, side) for file in track(files, "reading images")])


def _unique(labels: Iterable[str]) -> list[str]:
    return [*dict.fromkeys(labels)]
