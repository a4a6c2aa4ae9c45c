"""Looks once at images that stay in their files: which are damaged, and their pixels' moments."""

import concurrent.futures
import functools
import hashlib
import pathlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from experiments import cache
from experiments.data import image_files
from experiments.data.base import counts_of, moments_of
from experiments.data.encoded import Encoded
from experiments.progress import progress_line

AT_ONCE = 1024  # images that wait for the threads
Moments = tuple[tuple[float, ...], tuple[float, ...]]


class Seen(NamedTuple):
    images: np.ndarray | Encoded
    errors: dict[int, str]  # by place, what is wrong with a file
    moments: Moments | None  # mean and standard deviation of the pixels, if they are known


def in_files(
    files: Sequence[pathlib.Path], side: int, grey: bool, counted: np.ndarray, relative: Sequence
) -> Seen:
    """Decodes each image once and keeps none. What it sees is cached.

    Args:
      files: the images' files.
      side: of the images, in pixels.
      grey: whether they have one channel.
      counted: a mask of those whose pixels count for the moments.
      relative: names of the files, which with their sizes and times tell whether they are as
        before.
    """
    read = functools.partial(image_files.cropped, side=side, grey=grey)
    shape = (side, side, 1 if grey else 3)
    told = [(str(name), *changed(file)) for name, file in zip(relative, files, strict=True)]
    key = hashlib.sha256(repr((shape, counted.tolist(), told)).encode()).hexdigest()[:16]
    look = functools.partial(_look, files, read, shape, counted)
    found = cache.kept("survey", key, look)
    if any(not isinstance(_attempt(read, files[i]), ValueError) for i in found["bad"]):
        found = look()  # for another reason than its content, a file could not be read then
    images = Encoded(lambda place: read(files[place]), np.arange(len(files)), shape)
    errors = dict(zip(found["bad"].tolist(), found["said"].tolist(), strict=True))
    return Seen(images, errors, moments_of(found["counts"]) if found["counts"].any() else None)


def changed(file: pathlib.Path) -> tuple[int, int]:
    try:
        status = file.stat()
    except OSError:
        return 0, 0
    return status.st_size, status.st_mtime_ns


def _look(files, read, shape, counted) -> cache.Arrays:
    counts = np.zeros((shape[-1], 256), np.int64)
    errors: dict[int, str] = {}
    attempt = functools.partial(_attempt, read)
    with (
        concurrent.futures.ThreadPoolExecutor() as pool,
        progress_line(len(files), "decoding images") as update,
    ):
        for first in range(0, len(files), AT_ONCE):
            some = files[first : first + AT_ONCE]
            for i, one in enumerate(pool.map(attempt, some), start=first):
                if isinstance(one, ValueError):
                    errors[i] = str(one)
                elif counted[i]:
                    counts += one
            update(first + len(some), "decoding images")
    bad, said = np.array([*errors], np.int64), np.array([*errors.values()], np.str_)
    return {"counts": counts, "bad": bad, "said": said}


def _attempt(read: Callable, file: pathlib.Path) -> np.ndarray | ValueError:
    try:
        return counts_of(read(file))
    except ValueError as error:
        return error
