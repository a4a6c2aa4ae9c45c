"""Image files: which there are, and their pixels at one size."""

import concurrent.futures
import io
import itertools
import pathlib
import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from experiments.progress import track

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
GREY = ("1", "L", "LA")  # modes of PIL
SMALLEST = 8  # the smallest side in pixels
LARGEST = 64  # the largest side in pixels that is chosen, for training without an accelerator
AT_ONCE = 1024  # images whose encoded bytes are in memory


class Square(NamedTuple):
    """The middle of an image, and the size that the image had."""

    pixels: np.ndarray  # uint8, (side, side, 1 if it is grey, else 3)
    width: int
    height: int


def is_image(path: pathlib.Path) -> bool:
    return path.suffix.lower() in SUFFIXES


def opened(path: pathlib.Path | str, use, content: bytes | None = None):
    """Returns `use(image)` of a file, or raises ValueError with its path and what is wrong.

    If its content is given, the path only names it.
    """
    from PIL import Image

    try:
        with Image.open(path if content is None else io.BytesIO(content)) as image:
            if image.mode.startswith(("I", "F")):  # conversion would cut off what is above 255
                raise ValueError(f"expected 8 bits per channel, got mode {image.mode}")
            return use(image)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        most = Image.MAX_IMAGE_PIXELS
        raise ValueError(f"{path}: expected {most:,} pixels at most, got more") from None
    except (OSError, SyntaxError, ValueError) as error:
        unknown = "no image that can be read" if isinstance(error, OSError) else str(error)
        said = getattr(error, "strerror", None) or unknown
        raise ValueError(f"{path}: {said}") from None


def stretched(path: pathlib.Path, side: int) -> np.ndarray:
    """Returns the image resized to side x side in RGB, whatever its proportions are."""
    from PIL import Image

    size, bilinear = (side, side), Image.Resampling.BILINEAR
    return opened(path, lambda image: np.asarray(image.convert("RGB").resize(size, bilinear)))


def square(name: str, content: pathlib.Path | bytes, side: int) -> Square:
    """Returns the middle of an image, resized to side x side; with side 0, to LARGEST at most."""
    from PIL import Image, ImageOps

    def middle(image):
        width, height = image.size
        own = side or min(width, height, LARGEST)
        mode = "L" if image.mode in GREY else "RGB"
        image.draft(mode, (own, own))  # a JPEG can be decoded at half its size
        fitted = ImageOps.fit(image.convert(mode), (own, own), Image.Resampling.BILINEAR)
        return Square(np.asarray(fitted).reshape(own, own, -1), width, height)

    if isinstance(content, bytes):
        return opened(name, middle, content)
    try:
        return opened(content, middle)
    except ValueError as error:  # by the name that the user knows
        raise ValueError(str(error).replace(str(content), name, 1)) from None


def resized(pixels: np.ndarray, side: int) -> np.ndarray:
    """Returns square pixels, as `square` makes them, at another size."""
    from PIL import Image

    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    return np.asarray(image.resize((side, side), Image.Resampling.BILINEAR)).reshape(side, side, -1)


def fitted(pixels: np.ndarray, side: int, channels: int) -> np.ndarray:
    """Returns square pixels at a size; grey ones may become colours."""
    same = pixels if len(pixels) == side else resized(pixels, side)
    return np.broadcast_to(same, (side, side, channels))


def fitting(sizes: np.ndarray) -> int:
    """The median of the shorter sides, within what a small network learns."""
    middle = int(np.median(sizes.min(axis=1))) if len(sizes) else 0
    return max(SMALLEST, min(middle, LARGEST))


def squares(
    names: Sequence[str], contents: Iterable[pathlib.Path | bytes], side: int, text: str
) -> Iterator[Square | ValueError]:
    """Yields `square` of each image, or the ValueError that it raised; threads share the work."""
    from PIL import Image

    def attempt(name, content):
        try:
            return square(name, content, side)
        except ValueError as error:
            return error

    def found(pool):
        left = iter(contents)
        for i in range(0, len(names), AT_ONCE):
            part = names[i : i + AT_ONCE]
            yield from pool.map(attempt, part, [*itertools.islice(left, len(part))])

    with warnings.catch_warnings(), concurrent.futures.ThreadPoolExecutor() as pool:
        # The filters are the same for all threads.
        warnings.filterwarnings("ignore", category=UserWarning, module="PIL")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        one_by_one = found(pool)
        for _ in track(range(len(names)), text):
            yield next(one_by_one)
