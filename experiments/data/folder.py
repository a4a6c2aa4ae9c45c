"""A folder of images by class: DIR/CLASS/*.png, or DIR/train/CLASS and DIR/test/CLASS."""

import pathlib
from typing import NamedTuple

import numpy as np

from experiments import checks
from experiments.data import image_files, pictures
from experiments.data.base import Dataset, some


class Part(NamedTuple):
    """The images of the training or of the test set."""

    files: list[pathlib.Path]
    labels: list[int]
    others: list[str]  # files that are no images


def read(path: str | None, side: int = 0, damaged: str = "stop", decode: str = "memory") -> Dataset:
    """Reads the images; `pictures.read` says what the options are."""
    if not path:
        raise ValueError("config.data.path: expected a folder of images by class, got none")
    root = checks.path("config.data.path", path)
    if not root.is_dir():
        raise ValueError(f"config.data.path: {path} is not a folder")
    pictures.check_options(side, damaged, decode)
    names, parts = _listed(root)
    others = [file for part in parts for file in part.others]
    files = [file for part in parts for file in part.files]
    found = pictures.Pictures(
        names=[str(file.relative_to(root)) for file in files],
        content=files.__getitem__,
        labels=np.array([label for part in parts for label in part.labels], np.int32),
        is_test=np.arange(len(files)) >= len(parts[0].files),
        class_names=names,
        files=files,
        told=(f"files    {some(others)} left out: no images",) if others else (),
    )
    return pictures.read("folder", found, side, damaged, decode)


def _listed(root: pathlib.Path) -> tuple[list[str], list[Part]]:
    """Returns the names of the classes, the training part, and the test part if there is one."""
    below = _folders(root)
    train: pathlib.Path = root
    test: pathlib.Path | None = None
    if "train" in below:
        train, test = root / "train", root / "test" if "test" in below else None
        if extra := {*below} - {"train", "test"}:
            said = f"expected folders train and test, or one for each class, got {some(extra)}"
            raise ValueError(f"config.data.path: {root}: {said} beside train")
    names = _folders(train)
    if len(names) < 2:
        got = f"the folder {names[0]}" if names else "no folder"
        said = f"expected a folder of images for each of 2 classes or more, got {got}"
        raise ValueError(f"config.data.path: {train}: {said}")
    parts = [_part(place, names, root) for place in (train, test) if place]
    for name in sorted({*names} - {names[label] for label in parts[0].labels}):
        suffixes = " ".join(image_files.SUFFIXES)
        said = f"the class {name} has no image; expected files of {suffixes}"
        raise ValueError(f"config.data.path: {train}: {said}")
    return names, parts


def _part(place: pathlib.Path, names: list[str], root: pathlib.Path) -> Part:
    part = Part([], [], [])
    for name in _folders(place):
        if name not in names:
            said = f"the class {name} of test is none of train"
            raise ValueError(f"config.data.path: {root}: {said}")
        label = names.index(name)
        for file in sorted((place / name).rglob("*")):
            if not file.is_file() or file.name.startswith("."):
                continue
            if image_files.is_image(file):
                part.files.append(file)
                part.labels.append(label)
            else:
                part.others.append(str(file.relative_to(root)))
    _check_names(part.files)
    return part


def _folders(path: pathlib.Path) -> list[str]:
    return sorted(one.name for one in path.iterdir() if one.is_dir() and one.name[0] != ".")


def _check_names(files: list[pathlib.Path]) -> None:
    """Raises ValueError for two files of one name, a.png and a.jpg: probably the same image."""
    seen: dict[pathlib.Path, pathlib.Path] = {}
    for file in files:
        if (first := seen.setdefault(file.with_suffix(""), file)) is not file:
            said = f"two files of one name, {first.name} and {file.name}, in {file.parent}"
            raise ValueError(f"config.data.path: {said}: rename or remove one")
