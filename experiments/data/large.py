"""Large data sets of photographs in the layout of their publishers, at `data.path`.

- `imagenet`: train/WNID/*.JPEG; val/WNID/*.JPEG, or val/*.JPEG with LOC_val_solution.csv
- `webvision` (1.0): info/train_filelist_google.txt and ..._flickr.txt, with lines "FILE CLASS",
  info/val_filelist.txt of val_images_256, info/synsets.txt; `mini_webvision`: the first 50 classes
  and Google's images alone, after Pengfei Chen et al., "Understanding and Utilizing Deep Neural
  Networks Trained with Noisy Labels", ICML 2019
- `clothing1m`: noisy_label_kv.txt and clean_label_kv.txt, with lines "FILE CLASS", and the lists of
  files noisy_train_key_list.txt, clean_val_key_list.txt, clean_test_key_list.txt;
  category_names_eng.txt

Published validation sets are the tests, but that Clothing1M has both. Images are usually decoded
when a batch needs them: the lists are read at the start, the images are not.
"""

import csv
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from experiments import checks
from experiments.data import image_files
from experiments.data.base import Dataset, Examples, dataset
from experiments.data.encoded import CHOICES, Encoded, stays_encoded

SIDE = 224
IMAGENET = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)  # as torchvision's models have them
# As in the code of Junnan Li et al., "DivideMix", ICLR 2020.
CLOTHING1M = (177.45, 166.69, 162.46), (79.38, 81.40, 81.96)
MINI = 50


class Part(NamedTuple):
    files: list[str]  # below the data set's folder
    labels: list[int]


NONE = Part([], [])


class Lists(NamedTuple):
    """Which images there are."""

    classes: list[str]
    train: Part
    validation: Part
    test: Part
    clean: list[int] | None  # labels of train, -1 where unknown; None if all are
    moments: tuple[tuple[float, ...], tuple[float, ...]]


def read(name: str, path: str | None, side: int = 0, decode: str = "auto") -> Dataset:
    """Reads the lists of a data set. The middle of each image is resized to side x side pixels.

    Args:
      name: one of LARGE.
      path: its folder.
      side: in pixels; 0 is 224.
      decode: whether images are decoded into "memory", or stay in their "files"; or "auto".
    """
    checks.choose("config.data.decode", decode, CHOICES)
    if not path or not (root := checks.path("config.data.path", path)).is_dir():
        raise ValueError(f"config.data.path: expected the folder of {name}, got {path}")
    side = side or SIDE
    checks.within("config.data.side", side, 8, 1024)
    found = LARGE[name](root)
    parts = found.train, found.validation, found.test
    for part in parts:
        _check_there(root, part.files)
    files = [file for part in parts for file in part.files]

    def image(place: int) -> np.ndarray:
        one = image_files.square(files[place], root / files[place], side)
        return image_files.fitted(one.pixels, side, channels=3)

    images = Encoded(image, np.arange(len(files)), (side, side, 3))
    rows = np.split(np.arange(len(files)), np.cumsum([len(part.files) for part in parts])[:-1])
    train, validation, test = (images[one] for one in rows)
    if not stays_encoded(decode, images.nbytes):
        train, validation, test = map(np.asarray, (train, validation, test))
    labels = [np.array(part.labels, np.int32) for part in parts]
    clean = np.full_like(labels[0], -1) if found.clean is None else np.array(found.clean, np.int32)
    arrays = {
        "train_images": train, "train_labels": labels[0], "clean_labels": clean,
        "test_images": test, "test_labels": labels[2],
    }  # fmt: skip
    whole = dataset(name, found.classes, arrays, *found.moments)
    held_out = Examples(validation, labels[1], labels[1], rows[1].astype(np.int32))
    return whole._replace(validation=held_out, files=tuple(files[: len(rows[0])]))


def _check_there(root: pathlib.Path, files: Sequence[str]) -> None:
    """Raises ValueError if the first, middle or last file is not there: all would take too long."""
    for place in {0, len(files) // 2, len(files) - 1} if files else ():
        if not (root / files[place]).is_file():
            raise ValueError(f"config.data.path: {root}: expected the listed file {files[place]}")


# --- The data sets. -------------------------------------------------------------------------------


def _imagenet(root: pathlib.Path) -> Lists:
    names = _folders(root / "train")
    if len(names) < 2:
        raise ValueError(f"config.data.path: {root}: expected train/WNID/*.JPEG for each class")
    solution = root / "LOC_val_solution.csv"
    if _folders(root / "val"):
        test = _by_class(root, "val", names)
    elif solution.is_file():
        with open(solution, newline="") as file:
            rows = [(row["ImageId"], row["PredictionString"].split()[0]) for row in _rows(file)]
        pairs = [[f"val/{image}.JPEG", name] for image, name in rows]
        test = _part(solution, pairs, {name: i for i, name in enumerate(names)})
    else:
        said = "expected val/WNID/*.JPEG, or LOC_val_solution.csv beside val/*.JPEG"
        raise ValueError(f"config.data.path: {root}: {said}")
    return Lists(names, _by_class(root, "train", names), NONE, test, None, IMAGENET)


def _rows(file) -> csv.DictReader:
    rows = csv.DictReader(file)
    if not {"ImageId", "PredictionString"} <= {*(rows.fieldnames or ())}:
        raise ValueError(f"{file.name}: expected the columns ImageId and PredictionString")
    return rows


def _webvision(root: pathlib.Path, number: int | None = None, webs=("google", "flickr")) -> Lists:
    lines = _text(root / "info" / "synsets.txt").splitlines()
    names = [line.partition(" ")[2].partition(",")[0] or line for line in lines][:number]
    classes = {str(i): i for i in range(len(lines))}
    train = _joined(
        _listed(root / "info" / f"train_filelist_{web}.txt", classes, number) for web in webs
    )
    test = _listed(root / "info" / "val_filelist.txt", classes, number)
    test = test._replace(files=[f"val_images_256/{file}" for file in test.files])
    return Lists(names, train, NONE, test, None, IMAGENET)


def _mini_webvision(root: pathlib.Path) -> Lists:
    return _webvision(root, MINI, ("google",))


def _clothing1m(root: pathlib.Path) -> Lists:
    names = _text(root / "category_names_eng.txt").split("\n")
    names = [name.strip() for name in names if name.strip()]
    classes = {str(i): i for i in range(len(names))}
    noisy, clean = (
        dict(zip(*_listed(root / f"{kind}_label_kv.txt", classes), strict=True))
        for kind in ("noisy", "clean")
    )
    train = _keys(root / "noisy_train_key_list.txt", noisy)
    validation, test = (
        _keys(root / f"clean_{part}_key_list.txt", clean) for part in ("val", "test")
    )
    known = [clean.get(file, -1) for file in train.files]
    return Lists(names, train, validation, test, known, CLOTHING1M)


LARGE = {
    "imagenet": _imagenet,
    "webvision": _webvision,
    "mini_webvision": _mini_webvision,
    "clothing1m": _clothing1m,
}


# --- Their lists. ---------------------------------------------------------------------------------


def _by_class(root: pathlib.Path, part: str, names: list[str]) -> Part:
    found = Part([], [])
    for label, name in enumerate(names):
        place = root / part / name
        files = sorted(place.iterdir()) if place.is_dir() else []
        images = [f"{part}/{name}/{one.name}" for one in files if image_files.is_image(one)]
        found.files.extend(images)
        found.labels.extend([label] * len(images))
    return found


def _folders(path: pathlib.Path) -> list[str]:
    return sorted(one.name for one in path.iterdir() if one.is_dir()) if path.is_dir() else []


def _listed(file: pathlib.Path, classes: dict[str, int], number: int | None = None) -> Part:
    """Reads lines of a file and a class, of the first `number` classes."""
    part = _part(file, [line.rsplit(maxsplit=1) for line in _text(file).splitlines()], classes)
    if number is None:
        return part
    kept = [i for i, label in enumerate(part.labels) if label < number]
    return Part([part.files[i] for i in kept], [part.labels[i] for i in kept])


def _part(file: pathlib.Path, pairs: list[list[str]], classes: dict[str, int]) -> Part:
    for i, pair in enumerate(pairs, start=1):
        if len(pair) != 2 or pair[1] not in classes:
            got = " ".join(pair)
            said = f"expected a file and one of {len(classes)} classes, got {got!r}"
            raise ValueError(f"config.data.path: {file}, line {i}: {said}")
    return Part([one for one, _ in pairs], [classes[label] for _, label in pairs])


def _keys(file: pathlib.Path, labels: dict[str, int]) -> Part:
    keys = [line.strip() for line in _text(file).splitlines()]
    if lacking := [key for key in keys if key not in labels]:
        raise ValueError(f"config.data.path: {file}: {lacking[0]} has no label")
    return Part(keys, [labels[key] for key in keys])


def _joined(parts) -> Part:
    parts = [*parts]
    return Part([one for part in parts for one in part.files],
                [one for part in parts for one in part.labels])  # fmt: skip


def _text(file: pathlib.Path) -> str:
    try:
        return file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        said = getattr(error, "strerror", None) or "no text"
        raise ValueError(f"config.data.path: expected {file}: {said}") from None
