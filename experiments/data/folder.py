"""A folder of images by class: DIR/CLASS/*.png, or DIR/train/CLASS and DIR/test/CLASS."""

import pathlib
from typing import NamedTuple

import numpy as np

from experiments import checks
from experiments.data import image_files
from experiments.data.base import Dataset, counted, dataset, some
from experiments.data.encoded import CHOICES, stays_encoded
from experiments.data.survey import Seen, in_files

LARGEST = 64  # the largest side in pixels that is chosen, for training without an accelerator
SMALLEST = 8
DAMAGED = ("stop", "leave_out")


class Part(NamedTuple):
    """The images of the training or of the test set."""

    files: list[pathlib.Path]
    labels: list[int]
    others: list[str]  # files that are no images


def read(path: str | None, side: int = 0, damaged: str = "stop", decode: str = "memory") -> Dataset:
    """Reads the images. The middle of each is resized to side x side pixels.

    Args:
      path: the folder.
      side: in pixels; 0 chooses the median of the images' shorter sides, at most 64.
      damaged: what to do about files that cannot be read: "stop", or "leave_out".
      decode: whether images are decoded into "memory", or stay in their "files"; or "auto".
    """
    if not path:
        raise ValueError("config.data.path: expected a folder of images by class, got none")
    root = checks.path("config.data.path", path)
    if not root.is_dir():
        raise ValueError(f"config.data.path: {path} is not a folder")
    if side:
        checks.within("config.data.side", side, SMALLEST, 1024)
    checks.choose("config.data.damaged", damaged, dict.fromkeys(DAMAGED))
    checks.choose("config.data.decode", decode, CHOICES)
    names, parts = _listed(root)
    others = [file for part in parts for file in part.others]
    told = [f"files    {some(others)} left out: no images"] if others else []
    files = [file for part in parts for file in part.files]
    labels = np.array([label for part in parts for label in part.labels], np.int32)
    is_test = np.arange(len(files)) >= len(parts[0].files)
    heads = image_files.of_each(image_files.head, files, "looking at images")
    good = [one for one in heads if not isinstance(one, ValueError)]
    side = side or _fitting(good)
    grey = all(one.grey for one in good)
    relative = [str(file.relative_to(root)) for file in files]
    if stays_encoded(decode, len(files) * side * side * (1 if grey else 3)):
        images, errors, moments = in_files(files, side, grey, ~is_test, relative)
    else:
        images, errors, moments = _in_memory(files, side, grey)
    bad = np.isin(np.arange(len(files)), [*errors])
    if errors:
        _check_damaged([*errors.values()], damaged, root)
        told.append(f"files    {len(errors)} damaged ones left out")
    told.append(_sizes(good, side))
    arrays: dict = {}
    for name, mask in (("train", ~is_test & ~bad), ("test", is_test & ~bad)):
        arrays |= {f"{name}_images": images[mask], f"{name}_labels": labels[mask]}
    arrays["clean_labels"] = np.full_like(arrays["train_labels"], -1)
    counts = np.bincount(arrays["train_labels"], minlength=len(names))
    told.insert(0, f"classes  {counted(names, counts)}")
    kept = tuple(relative[i] for i in np.flatnonzero(~is_test & ~bad))
    found = dataset("folder", names, arrays, *(moments or ()))
    return found._replace(files=kept, told=tuple(told))


def _in_memory(files: list[pathlib.Path], side: int, grey: bool) -> Seen:
    pixels = image_files.of_each(
        lambda file: image_files.cropped(file, side, grey), files, "decoding images"
    )
    images = np.zeros((len(files), side, side, 1 if grey else 3), np.uint8)
    errors: dict[int, str] = {}
    for i, one in enumerate(pixels):
        if isinstance(one, ValueError):
            errors[i] = str(one)
        else:
            images[i] = one
    return Seen(images, errors, None)


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


def _fitting(heads: list[image_files.Head]) -> int:
    """The median of the shorter sides, within what a small network learns."""
    middle = int(np.median([min(one.width, one.height) for one in heads])) if heads else 0
    return max(SMALLEST, min(middle, LARGEST))


def _check_damaged(errors: list[str], damaged: str, root: pathlib.Path) -> None:
    if damaged == "stop":
        short = [error.replace(f"{root}/", "") for error in errors]
        said = f"{len(errors)} files cannot be read: {some(short)}"
        raise ValueError(
            f"config.data.path: {said}; to leave them out: --config.data.damaged=leave_out"
        )


def _sizes(heads: list[image_files.Head], side: int) -> str:
    """The line that says what was done to the images."""
    sizes = {(one.width, one.height) for one in heads}
    resized = sum(min(one.width, one.height) != side for one in heads)
    cut = sum(one.width != one.height for one in heads)
    low, high = min(sizes), max(sizes)
    seen = f"{low[0]}x{low[1]}" + (f" to {high[0]}x{high[1]}" if len(sizes) > 1 else "")
    done = [f"{resized} resized"] * bool(resized) + [f"{cut} cut to their middle"] * bool(cut)
    return f"sizes    {seen}; now {side}x{side}: {', '.join(done) or 'as they are'}"
