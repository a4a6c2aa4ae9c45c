"""Image files: which there are, how large they are, and their pixels at one size."""

import concurrent.futures
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from experiments.progress import track

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
GREY = ("1", "L", "LA")  # modes of PIL


class Head(NamedTuple):
    """What a file says of its image before it is decoded."""

    width: int
    height: int
    grey: bool


def is_image(path: pathlib.Path) -> bool:
    return path.suffix.lower() in SUFFIXES


def opened(path: pathlib.Path, use):
    """Returns `use(image)` of a file, or raises ValueError with its path and what is wrong."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            if image.mode.startswith(("I", "F")):  # conversion would cut off what is above 255
                raise ValueError(f"expected 8 bits per channel, got mode {image.mode}")
            return use(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        unknown = "no image that can be read" if isinstance(error, OSError) else str(error)
        said = getattr(error, "strerror", None) or unknown
        raise ValueError(f"{path}: {said}") from None


def head(path: pathlib.Path) -> Head:
    return opened(path, lambda image: Head(image.width, image.height, image.mode in GREY))


def stretched(path: pathlib.Path, side: int) -> np.ndarray:
    """Returns the image resized to side x side in RGB, whatever its proportions are."""
    from PIL import Image

    size, bilinear = (side, side), Image.Resampling.BILINEAR
    return opened(path, lambda image: np.asarray(image.convert("RGB").resize(size, bilinear)))


def cropped(path: pathlib.Path, side: int, grey: bool) -> np.ndarray:
    """Returns the middle of the image, resized so that its shorter side is `side`."""
    from PIL import Image, ImageOps

    def middle(image):
        mode = "L" if grey else "RGB"
        image.draft(mode, (side, side))  # a JPEG can be decoded at half its size
        fitted = ImageOps.fit(image.convert(mode), (side, side), Image.Resampling.BILINEAR)
        return np.asarray(fitted).reshape(side, side, -1)

    return opened(path, middle)


def of_each(use, files: Sequence[pathlib.Path], text: str) -> list:
    """Returns `use(file)` of each file, or the ValueError that it raised; threads share it."""

    def attempt(path):
        try:
            return use(path)
        except ValueError as error:
            return error

    with concurrent.futures.ThreadPoolExecutor() as pool:
        found = pool.map(attempt, files)
        return [next(found) for _ in track(files, text)]
