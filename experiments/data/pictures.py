"""Images of any sizes and their labels, as a data set of one size."""

import functools
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments import cache, checks
from experiments.data import image_files
from experiments.data.base import Dataset, counted, dataset, some
from experiments.data.encoded import CHOICES, stays_encoded
from experiments.data.survey import Seen, in_files

DAMAGED = ("stop", "leave_out")
MANY = 1000  # images that are worth keeping decoded
MOST_CACHED = 2**30  # bytes; more are decoded at each start


class Pictures(NamedTuple):
    """Labelled images as they are found."""

    names: Sequence[str]  # one for each image, by which the user knows it
    content: Callable[[int], pathlib.Path | bytes]  # of an image its file, or the file's
    labels: np.ndarray  # integers; -1 means unknown
    is_test: np.ndarray
    class_names: list[str]
    files: Sequence[pathlib.Path] = ()  # that hold the images
    column: str = ""  # of these, if there may be several
    told: tuple[str, ...] = ()

    def contents(self) -> Iterator[pathlib.Path | bytes]:
        return map(self.content, range(len(self.names)))


def joined(parts: Sequence, get: Callable) -> Callable[[int], Any]:
    """Returns a function of a position in all parts; `get(part, i)` gives the i-th of a part."""
    ends = np.cumsum([len(part) for part in parts])

    def content(place: int):
        i = int(np.searchsorted(ends, place, side="right"))
        return get(parts[i], place - int(ends[i]) + len(parts[i]))

    return content


def check_options(side: int, damaged: str, decode: str = "memory") -> None:
    """Raises ValueError for a wrong option, before anything is read."""
    if side:
        checks.within("config.data.side", side, image_files.SMALLEST, 1024)
    checks.choose("config.data.damaged", damaged, dict.fromkeys(DAMAGED))
    checks.choose("config.data.decode", decode, CHOICES)


def read(name: str, found: Pictures, side: int, damaged: str, decode: str = "memory") -> Dataset:
    """Reads the images. The middle of each is resized to side x side pixels.

    Args:
      name: of the data set.
      found: which images there are.
      side: in pixels; 0 chooses the median of the images' shorter sides, at most 64.
      damaged: what to do about images that cannot be read: "stop", or "leave_out".
      decode: whether images are decoded into "memory", or stay in their "files"; or "auto".
    """
    check_options(side, damaged, decode)
    most = len(found.names) * (side or image_files.LARGEST) ** 2 * 3
    images, errors, sizes, moments = (
        in_files(name, found, side)
        if stays_encoded(decode, most)
        else _in_memory(name, found, side)
    )
    told = [*found.told]
    if (bad := errors != "").any():
        _check_damaged(errors[bad].tolist(), damaged, bad.all())
        told.append(f"files    {bad.sum()} damaged ones left out")
    told.append(_sizes(sizes[~bad], images.shape[1]))
    arrays: dict[str, Any] = {}
    for part, mask in (("train", ~found.is_test & ~bad), ("test", found.is_test & ~bad)):
        arrays |= {f"{part}_images": images[mask], f"{part}_labels": found.labels[mask]}
    arrays["clean_labels"] = np.full_like(arrays["train_labels"], -1)
    labels = arrays["train_labels"]
    counts = np.bincount(labels[labels >= 0], minlength=len(found.class_names))
    _check_counts(name, found.class_names, counts)
    told.insert(0, f"classes  {counted(found.class_names, counts)}")
    kept = [found.names[i] for i in np.flatnonzero(~found.is_test & ~bad).tolist()]
    whole = dataset(name, found.class_names, arrays, *moments)
    return whole._replace(files=tuple(kept), told=tuple(told))


def _in_memory(name: str, found: Pictures, side: int) -> Seen:
    decoded = _kept(name, found, side)
    return Seen(decoded["images"], decoded["errors"], decoded["sizes"])


def _kept(name: str, found: Pictures, side: int) -> dict[str, np.ndarray]:
    """The decoded images, from the cache if there are many, but not too many."""
    number, largest = len(found.names), side or image_files.LARGEST
    if not found.files or number < MANY or number * largest**2 * 3 > MOST_CACHED:
        return _decoded(found, side)

    stamps = functools.partial(cache.stamps, which=found.column)
    kind = name.partition(":")[0]
    return cache.cached(f"{kind}_{side}", found.files, lambda: _decoded(found, side), stamps)


def _decoded(found: Pictures, side: int) -> dict[str, np.ndarray]:
    """Returns the images, black where damaged, what is wrong with each, and (width, height)."""
    good: dict[int, image_files.Square] = {}
    errors = [""] * len(found.names)
    each = image_files.squares(found.names, found.contents(), side, "decoding images")
    for i, one in enumerate(each):
        if isinstance(one, ValueError):
            errors[i] = str(one)
        else:
            good[i] = one
    sizes = np.zeros((len(errors), 2), np.int32)
    for i, one in good.items():
        sizes[i] = one.width, one.height
    side = side or image_files.fitting(sizes[list(good)])
    channels = max((one.pixels.shape[2] for one in good.values()), default=1)
    images = np.zeros((len(errors), side, side, channels), np.uint8)
    for i, one in good.items():
        images[i] = image_files.fitted(one.pixels, side, channels)
    return {"images": images, "errors": np.array(errors, str), "sizes": sizes}


def _check_damaged(errors: list[str], damaged: str, is_all: bool) -> None:
    said = f"{len(errors)} files cannot be read: {some(errors)}"
    if is_all:
        raise ValueError(f"config.data.path: all {said}")
    if damaged == "stop":
        raise ValueError(
            f"config.data.path: {said}; to leave them out: --config.data.damaged=leave_out"
        )


def _check_counts(name: str, class_names: list[str], counts: np.ndarray) -> None:
    if (counts > 0).sum() < 2:
        seen = [class_names[i] for i in np.flatnonzero(counts)]
        got = f"only {seen[0]!r}" if seen else "none"
        said = f"expected training labels of at least 2 classes, got {got}"
        raise ValueError(f"config.data.name: {name}: {said}")


def _sizes(sizes: np.ndarray, side: int) -> str:
    """The line that says what was done to the images."""
    different = {(int(width), int(height)) for width, height in sizes}
    resized = (sizes.min(axis=1) != side).sum()
    cut = (sizes[:, 0] != sizes[:, 1]).sum()
    low, high = min(different), max(different)
    seen = f"{low[0]}x{low[1]}" + (f" to {high[0]}x{high[1]}" if len(different) > 1 else "")
    done = [f"{resized} resized"] * bool(resized) + [f"{cut} cut to their middle"] * bool(cut)
    return f"sizes    {seen}; now {side}x{side}: {', '.join(done) or 'as they are'}"
