"""Images of any sizes and their labels, as a data set of one size."""

import pathlib
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from experiments import cache, checks
from experiments.data import image_files
from experiments.data.base import Dataset, counted, dataset, some

SMALLEST = 8  # the smallest side in pixels
DAMAGED = ("stop", "leave_out")
MANY = 1000  # images that are worth keeping decoded
MOST_CACHED = 2**30  # bytes; more are decoded at each start


class Pictures(NamedTuple):
    """Labelled images as they are found."""

    names: Sequence[str]  # one for each image, by which the user knows it
    contents: Callable[[], Iterable[pathlib.Path | bytes]]  # of each image its file, or the file's
    labels: np.ndarray  # integers; -1 means unknown
    is_test: np.ndarray
    class_names: list[str]
    files: Sequence[pathlib.Path] = ()  # that hold the images
    column: str = ""  # of these, if there may be several
    told: tuple[str, ...] = ()


def check_options(side: int, damaged: str) -> None:
    """Raises ValueError for a wrong option, before anything is read."""
    if side:
        checks.within("config.data.side", side, SMALLEST, 1024)
    checks.choose("config.data.damaged", damaged, dict.fromkeys(DAMAGED))


def read(name: str, found: Pictures, side: int, damaged: str) -> Dataset:
    """Reads the images. The middle of each is resized to side x side pixels.

    Args:
      name: of the data set.
      found: which images there are.
      side: in pixels; 0 chooses the median of the images' shorter sides, at most 64.
      damaged: what to do about images that cannot be read: "stop", or "leave_out".
    """
    check_options(side, damaged)
    decoded = _kept(name, found, side)
    errors, images = decoded["errors"], decoded["images"]
    told = [*found.told]
    if (bad := errors != "").any():
        _check_damaged(errors[bad].tolist(), damaged, bad.all())
        told.append(f"files    {bad.sum()} damaged ones left out")
    told.append(_sizes(decoded["sizes"][~bad], images.shape[1]))
    arrays: dict[str, np.ndarray] = {}
    for part, mask in (("train", ~found.is_test & ~bad), ("test", found.is_test & ~bad)):
        arrays |= {f"{part}_images": images[mask], f"{part}_labels": found.labels[mask]}
    arrays["clean_labels"] = np.full_like(arrays["train_labels"], -1)
    labels = arrays["train_labels"]
    counts = np.bincount(labels[labels >= 0], minlength=len(found.class_names))
    _check_counts(name, found.class_names, counts)
    told.insert(0, f"classes  {counted(found.class_names, counts)}")
    kept = [found.names[i] for i in np.flatnonzero(~found.is_test & ~bad).tolist()]
    whole = dataset(name, found.class_names, arrays)
    return whole._replace(files=tuple(kept), told=tuple(told))


def _kept(name: str, found: Pictures, side: int) -> dict[str, np.ndarray]:
    """The decoded images, from the cache if there are many, but not too many."""
    number, largest = len(found.names), side or image_files.LARGEST
    if not found.files or number < MANY or number * largest**2 * 3 > MOST_CACHED:
        return _decoded(found, side)

    def stamps(files):
        return cache.stamps(files, found.column)

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
    side = side or _fitting(sizes[list(good)])
    channels = max((one.pixels.shape[2] for one in good.values()), default=1)
    images = np.zeros((len(errors), side, side, channels), np.uint8)
    for i, one in good.items():
        fits = len(one.pixels) == side
        images[i] = one.pixels if fits else image_files.resized(one.pixels, side)
    return {"images": images, "errors": np.array(errors, str), "sizes": sizes}


def _fitting(sizes: np.ndarray) -> int:
    """The median of the shorter sides, within what a small network learns."""
    middle = int(np.median(sizes.min(axis=1))) if len(sizes) else 0
    return max(SMALLEST, min(middle, image_files.LARGEST))


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
