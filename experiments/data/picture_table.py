"""Images with a number each: a CSV file of paths and targets, or a folder of named files."""

import csv
import math
import pathlib
import re

import numpy as np

from experiments import checks
from experiments.data import image_files


def read(path: str | None, pattern: str | None, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Reads images, resized to side x side, and their targets.

    Args:
      path: a CSV file with the columns path and target, whose paths are relative to its folder; or
        a folder, whose files have the target in their names.
      pattern: for a folder, a regular expression whose first group is the target: r"^(\\d+)_" for
        UTKFace's ages.
      side: of the images in pixels.
    """
    if not path:
        raise ValueError("config.data.path: expected a CSV file or a folder of images, got none")
    checks.within("config.data.side", side, 8, 1024)
    place = pathlib.Path(path).expanduser()
    if place.is_dir():
        found = _named(place, pattern)
    elif place.is_file():
        found = _listed(place)
    else:
        raise ValueError(f"config.data.path: {path} is neither a file nor a folder")
    if not found:
        raise ValueError(f"config.data.path: {path} has no images")
    images = np.stack([image(file, side) for file, _ in found])
    return images, np.array([target for _, target in found])


def _named(folder: pathlib.Path, pattern: str | None) -> list[tuple[pathlib.Path, float]]:
    try:
        target = re.compile(pattern or "")
    except re.error as error:
        raise ValueError(f"config.data.pattern: {pattern!r}: {error}") from None
    if target.groups < 1:
        said = r"expected a regular expression with a group for the target, such as ^(\d+)_"
        raise ValueError(f"config.data.pattern: {said}, got {pattern!r}")
    found = []
    for file in sorted(folder.iterdir()):
        if image_files.is_image(file):
            match = target.search(file.name)
            if not match:
                raise ValueError(f"config.data.pattern: {pattern!r} is not in {file.name}")
            found.append((file, _number(match[1], str(file.name))))
    return found


def _listed(table: pathlib.Path) -> list[tuple[pathlib.Path, float]]:
    try:
        with open(table, newline="", encoding="utf-8-sig") as file:  # -sig: a BOM is not text
            reader = csv.DictReader(file)
            lines = [(reader.line_num, line) for line in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"config.data.path: {table} is no CSV file: {error}") from None
    if lines and not {"path", "target"} <= {*(reader.fieldnames or ())}:
        got = ", ".join(map(str, reader.fieldnames or ()))
        raise ValueError(f"config.data.path: {table}: expected columns path and target, got {got}")
    return [
        (table.parent / (line["path"] or ""), _number(line["target"], f"{table}, line {i}"))
        for i, line in lines
    ]


def _number(text: str | None, where: str) -> float:
    try:
        number = float(text or "")
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"config.data.path: {where}: the target {text!r} is no finite number")
    return number


def image(path: pathlib.Path, side: int) -> np.ndarray:
    """Reads an image, resized to side x side, or says which file cannot be read."""
    try:
        return image_files.stretched(path, side)
    except ValueError as error:
        raise ValueError(f"config.data.path: {error}") from None
