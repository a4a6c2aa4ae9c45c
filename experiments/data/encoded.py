"""Images that stay encoded in their files, for data sets that are larger than memory."""

import dataclasses
import os
from collections.abc import Callable
from typing import Any

import numpy as np

CHOICES = dict.fromkeys(("auto", "memory", "files"))
PART = 4  # `auto` decodes into memory what takes less than this part of the machine's


class Unreadable(OSError):  # noqa: N818 (what cannot be read is the file)
    """Raised when a file that was there at the start is gone or damaged now."""


@dataclasses.dataclass(frozen=True, eq=False)
class Encoded:
    """A uint8 array of images of one shape, each decoded whenever it is asked for.

    A position gives the image: `images[3]`. A slice, a mask or an array of positions selects
    images without decoding them. `np.asarray(images)` decodes all that are selected.
    """

    read: Callable[[int], np.ndarray]  # place -> image; raises ValueError
    places: np.ndarray  # of the selected images among all
    image_shape: tuple[int, int, int]
    margin: int = 0  # of zeros around each image

    dtype = np.dtype(np.uint8)
    ndim = 4

    @property
    def shape(self) -> tuple[int, int, int, int]:
        height, width, channels = self.image_shape
        return len(self), height + 2 * self.margin, width + 2 * self.margin, channels

    @property
    def nbytes(self) -> int:
        """What they take when decoded."""
        return int(np.prod(self.shape, dtype=np.int64))

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, rows) -> Any:
        places = self.places[rows]
        if places.ndim:
            return dataclasses.replace(self, places=places)
        try:
            image = self.read(int(places))
        except ValueError as error:
            raise Unreadable(str(error)) from None
        return np.pad(image, ((self.margin,) * 2, (self.margin,) * 2, (0, 0)))

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        decoded = np.empty(self.shape, np.uint8)
        for i in range(len(self)):
            decoded[i] = self[i]
        return decoded if dtype is None else decoded.astype(dtype)

    def padded(self, margin: int) -> "Encoded":
        return dataclasses.replace(self, margin=self.margin + margin)

    def max(self) -> int:
        """The largest value, after as few images as show 255."""
        largest = 0
        for i in range(len(self)):
            largest = max(largest, int(self[i].max()))
            if largest == 255:
                break
        return largest


def stays_encoded(decode: str, nbytes: int) -> bool:
    """Whether images that take this many bytes when decoded are left in their files."""
    if decode != "auto":
        return decode == "files"
    return PART * nbytes > os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
