"""Image files with boxes: decoding at one size, and checks of the boxes."""

import pathlib
from typing import NamedTuple

import numpy as np

from experiments import cache
from experiments.progress import track

NONE, UNKNOWN = -1, -2  # in place of a class: there is no object; it is not known which one
MOST_CACHED = 2**30  # bytes; larger sets are decoded at each start


class Picture(NamedTuple):
    """An image file and its boxes, in pixels of the file."""

    file: pathlib.Path
    boxes: np.ndarray  # float64, (n, 4)
    labels: np.ndarray  # int32, (n,)
    crowd: np.ndarray  # bool, (n,)
    source: pathlib.Path  # the file with the boxes, for messages


def picture(file: pathlib.Path, rows, source: pathlib.Path) -> Picture:
    """Makes a Picture of rows of (left, top, right, bottom, class, crowd)."""
    table = np.array(rows, np.float64).reshape(-1, 6)
    return Picture(
        file, table[:, :4], table[:, 4].astype(np.int32), table[:, 5].astype(bool), source
    )


def read(name: str, pictures: list[Picture], height: int, width: int) -> dict[str, np.ndarray]:
    """Reads images: `pixels` (N, height, width, 3), `scale` (N,), and `sizes` (N, 2), as (x, y)."""
    files = [one.file for one in pictures]

    def decode():
        pixels = np.zeros((len(files), height, width, 3), np.uint8)
        sizes = np.zeros((len(files), 2), np.int32)
        for i, file in enumerate(track(files, f"decoding {name}")):
            pixels[i], sizes[i] = _image(file, height, width)
        return {"pixels": pixels, "sizes": sizes}

    key = f"{name}_{width}x{height}"
    small = len(files) * height * width * 3 <= MOST_CACHED
    for file in files:
        if not file.is_file():
            raise ValueError(f"--data_dir or config.data.path: there is no image {file}")
    found = cache.cached(key, files, decode) if small else decode()
    sides = np.array([[width, height]]) / np.maximum(found["sizes"], 1)
    return found | {"scale": sides.min(axis=1).astype(np.float32)}


def _image(file: pathlib.Path, height: int, width: int) -> tuple[np.ndarray, tuple[int, int]]:
    from PIL import Image

    try:
        with Image.open(file) as image:
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
        raise ValueError(f"{file}: {said}") from None


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
