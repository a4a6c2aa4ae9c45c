"""Looks once at images that stay in their files: which are damaged, and their pixels' moments."""

import functools
from typing import Any, NamedTuple

import numpy as np

from experiments import cache
from experiments.data import image_files
from experiments.data.base import counts_of, moments_of
from experiments.data.encoded import Encoded


class Seen(NamedTuple):
    images: np.ndarray | Encoded
    errors: np.ndarray  # what is wrong with each image; "" where nothing is
    sizes: np.ndarray  # width and height of each in its file
    moments: tuple = ()  # mean and standard deviation of the training pixels, if they are known


def in_files(name: str, found: Any, side: int) -> Seen:
    """Decodes each image and keeps none. What it sees is cached.

    Args:
      name: of the data set.
      found: its `pictures.Pictures`.
      side: as in `pictures.read`.
    """

    stamps = functools.partial(cache.stamps, which=found.column)
    kind = f"{name.partition(':')[0]}_{side}_seen"
    seen = cache.cached(kind, found.files, lambda: _look(found, side), stamps)
    counts, final = seen["counts"], int(seen["side"])

    def image(place: int) -> np.ndarray:
        one = image_files.square(found.names[place], found.content(place), side)
        return image_files.fitted(one.pixels, final, len(counts))

    images = Encoded(image, np.arange(len(found.names)), (final, final, len(counts)))
    return Seen(images, seen["errors"], seen["sizes"], moments_of(counts) if counts.any() else ())


def _look(found: Any, side: int) -> cache.Arrays:
    errors, channels = [""] * len(found.names), 1
    sizes = np.zeros((len(errors), 2), np.int32)
    tally = {1: np.zeros((1, 256), np.int64), 3: np.zeros((3, 256), np.int64)}  # grey, colours

    def squares(text):
        return enumerate(image_files.squares(found.names, found.contents(), side, text))

    for i, one in squares("decoding images"):
        if isinstance(one, ValueError):
            errors[i] = str(one)
            continue
        sizes[i], own = (one.width, one.height), one.pixels.shape[2]
        channels = max(channels, own)
        if side and not found.is_test[i]:
            tally[own] += counts_of(one.pixels)
    final = side or image_files.fitting(sizes[sizes.any(axis=1)])
    if not side:
        for i, one in squares("decoding images again, at their size"):
            if not isinstance(one, ValueError) and not found.is_test[i]:
                own = one.pixels.shape[2]
                tally[own] += counts_of(image_files.fitted(one.pixels, final, own))
    counts = tally[3] + tally[1] if channels == 3 else tally[1]
    said = np.array(errors, str)
    return {"errors": said, "sizes": sizes, "counts": counts, "side": np.array(final)}
