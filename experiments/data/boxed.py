"""Image files with boxes: decoding at one size, and checks of the boxes."""

import pathlib
from collections.abc import Callable
from typing import IO, NamedTuple

import numpy as np

from experiments import cache
from experiments.progress import track

NONE, UNKNOWN = -1, -2  # in place of a class: there is no object; it is not known which one
MOST_CACHED = 2**30  # bytes; larger sets are decoded at each start


class Picture(NamedTuple):
    """An image and its boxes, in pixels of the image."""

    file: pathlib.Path
    boxes: np.ndarray  # float64, (n, 4)
    labels: np.ndarray  # int32, (n,)
    crowd: np.ndarray  # bool, (n,)
    source: pathlib.Path  # the file with the boxes, for messages
    # Opens the image, if it lies in no file of its own; the boxes are then parts of its sides.
    encoded: Callable[[], IO[bytes]] | None = None


def picture(file: pathlib.Path, rows, source: pathlib.Path) -> Picture:
    """Makes a Picture of rows of (left, top, right, bottom, class, crowd)."""
    table = np.array(rows, np.float64).reshape(-1, 6)
    return Picture(
        file, table[:, :4], table[:, 4].astype(np.int32), table[:, 5].astype(bool), source
    )


def read(name: str, pictures: list[Picture], height: int, width: int) -> dict[str, np.ndarray]:
    """Reads images: `pixels` (N, height, width, 3), `scale` (N,), and `sizes` (N, 2), as (x, y)."""
    files = [one.file for one in pictures if one.encoded is None]

    def decode():
        pixels = np.zeros((len(pictures), height, width, 3), np.uint8)
        sizes = np.zeros((len(pictures), 2), np.int32)
        for i, one in enumerate(track(pictures, f"decoding {name}")):
            pixels[i], sizes[i] = _image(one, height, width)
        return {"pixels": pixels, "sizes": sizes}

    for one in pictures:
        if one.encoded is None and not one.file.is_file():
            raise ValueError(f"{one.source}: there is no image {one.file}")
    small = len(pictures) * height * width * 3 <= MOST_CACHED
    kept = files and len(files) == len(pictures) and small
    found = cache.cached(f"{name}_{width}x{height}", files, decode) if kept else decode()
    sides = np.array([[width, height]]) / np.maximum(found["sizes"], 1)
    return found | {"scale": sides.min(axis=1).astype(np.float32)}


def _image(one: Picture, height: int, width: int) -> tuple[np.ndarray, tuple[int, int]]:
    from PIL import Image

    try:
        with Image.open(one.encoded() if one.encoded else one.file) as image:
            size = image.size
            scale = min(width / size[0], height / size[1])
            own = max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
            image.draft("RGB", own)  # a JPEG can be decoded at half its size
            small = image.convert("RGB").resize(own, Image.Resampling.BILINEAR, reducing_gap=3.0)
            pixels = np.zeros((height, width, 3), np.uint8)
            pixels[: own[1], : own[0]] = np.asarray(small)
            return pixels, size
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        said = getattr(error, "strerror", None) or "no image that can be read"
        raise ValueError(f"{one.file}: {said}") from None


def in_pixels(pictures: list[Picture], sizes: np.ndarray) -> list[Picture]:
    """Returns the pictures with their boxes in pixels."""
    return [
        one._replace(boxes=one.boxes * np.tile(size, 2)) if one.encoded else one
        for one, size in zip(pictures, sizes, strict=True)
    ]


def check_boxes(pictures: list[Picture], sizes: np.ndarray) -> None:
    """Raises ValueError for a box without area, or one more than a pixel outside of its image."""
    for one, (width, height) in zip(pictures, sizes, strict=True):
        low, high = one.boxes[:, :2], one.boxes[:, 2:]
        flat = ~((high - low) > 0).all(axis=1)  # also NaN
        outside = (low < -1).any(axis=1) | (high > np.array([[width, height]]) + 1).any(axis=1)
        for wrong, said in ((flat, "has no area"), (outside, "reaches out of the image")):
            if wrong.any():
                box = ", ".join(f"{value:g}" for value in one.boxes[wrong.argmax()])
                what = f"the box {box} of {one.file.name}, {width}x{height} pixels, {said}"
                raise ValueError(f"{one.source}: {what}")
