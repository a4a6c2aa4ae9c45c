"""Boxes, as (left, top, right, bottom) in pixels: overlaps, suppression, and where each is learnt.

All functions have static shapes, so that they run inside a compiled step.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

SMALLEST = 1e-6  # of an area in square pixels, so that nothing is divided by 0


def area(boxes):
    """Returns the areas of boxes of shape (..., 4); 0 where a box has none."""
    return jnp.prod(jnp.maximum(boxes[..., 2:] - boxes[..., :2], 0), axis=-1)


def mirrored(box, width: int):
    """Returns boxes in the image that is flipped from left to right."""
    left, top, right, bottom = (box[..., i] for i in range(4))
    return jnp.stack([width - right, top, width - left, bottom], axis=-1)


def overlaps(a, b):
    """Returns intersection and union of boxes, whose leading axes are broadcast."""
    low, high = jnp.maximum(a[..., :2], b[..., :2]), jnp.minimum(a[..., 2:], b[..., 2:])
    both = jnp.prod(jnp.maximum(high - low, 0), axis=-1)
    return both, area(a) + area(b) - both


def iou(a, b):
    """Intersection over union, in [0, 1]."""
    both, either = overlaps(a, b)
    return both / jnp.maximum(either, SMALLEST)


def giou(a, b):
    """Generalized IoU, in [-1, 1]: minus the share of the hull that neither box covers.

    Hamid Rezatofighi et al., "Generalized Intersection over Union", CVPR 2019.
    """
    both, either = overlaps(a, b)
    low, high = jnp.minimum(a[..., :2], b[..., :2]), jnp.maximum(a[..., 2:], b[..., 2:])
    hull = jnp.maximum(jnp.prod(high - low, axis=-1), SMALLEST)
    return both / jnp.maximum(either, SMALLEST) - (hull - either) / hull


def kept(boxes, classes, threshold: float):
    """Non-maximum suppression, greedy and by class: which of K boxes stay.

    Args:
      boxes: shape (K, 4), the best first.
      classes: int, shape (K,). Boxes of different classes do not suppress each other.
      threshold: a box goes if its IoU with a better one that stays is above it.

    Returns:
      bool, shape (K,). Each round of the loop settles at least one more box, from the first on, so
      it ends, and usually after a few rounds.
    """
    better = jnp.triu(jnp.ones((len(boxes),) * 2, bool), k=1)
    same = classes[:, None] == classes[None]
    over = better & same & (iou(boxes[:, None], boxes[None]) > threshold)

    def settled(state):
        old, new = state
        return (old == new).all()

    def again(state):
        _, stays = state
        return stays, ~(over & stays[:, None]).any(axis=0)

    every = jnp.ones(len(boxes), bool)
    first = (every, ~over.any(axis=0))
    return jax.lax.while_loop(lambda state: ~settled(state), again, first)[1]


class Grid(NamedTuple):
    """The places of an image at which a detector predicts, of all its levels."""

    centre: np.ndarray  # (L, 2): x and y in pixels
    stride: np.ndarray  # (L,): pixels between the neighbours of a level
    low: np.ndarray  # (L,): half sides of the objects that a level is for, in pixels
    high: np.ndarray
    area: int  # of the image, in pixels


def grid(height: int, width: int, strides: tuple[int, ...]) -> Grid:
    """Lays out levels with these strides. A level is for objects up to 8 strides from its places.

    The last level also has all larger ones, the first all smaller ones, as in FCOS.
    """
    parts = []
    for i, stride in enumerate(strides):
        y, x = np.meshgrid(*(np.arange(-(-side // stride)) for side in (height, width)),
                           indexing="ij")  # fmt: skip
        centre = (np.stack([x, y], axis=-1).reshape(-1, 2) + 0.5) * stride
        low = 8 * strides[i - 1] if i else 0
        high = np.inf if i + 1 == len(strides) else 8 * stride
        ends = (np.full(len(centre), value, np.float32) for value in (stride, low, high))
        parts.append((centre.astype(np.float32), *ends))
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    return Grid(columns[0], columns[1], columns[2], columns[3], height * width)


def assigned(boxes, present, places: Grid, radius: float):
    """Returns for each place the number of the box that it shall find, -1 for background.

    A place is for a box if it lies in it, at most `radius` strides from the middle in x and in y,
    and the box has the size that its level is for. Among several boxes, the smallest is taken. From
    Zhi Tian et al., "FCOS: Fully Convolutional One-Stage Object Detection", ICCV 2019; in the later
    form with places near the middle alone.

    Args:
      boxes: shape (M, 4).
      present: bool, shape (M,): False for padding.
    """
    middle, half = (boxes[:, 2:] + boxes[:, :2]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2
    away = jnp.abs(places.centre[:, None] - middle[None])  # (L, M, 2)
    stride = places.stride[:, None, None]
    # The place whose cell has the middle counts, however small the box is.
    reach = jnp.maximum(jnp.minimum(radius * stride, half[None]), stride / 2)
    furthest = (away + half[None]).max(axis=-1)
    fits = (furthest > places.low[:, None]) & (furthest <= places.high[:, None])
    near = (away <= reach).all(axis=-1) & fits & present[None]
    size = jnp.where(near, area(boxes)[None], jnp.inf)
    return jnp.where(near.any(axis=1), size.argmin(axis=1), -1).astype(jnp.int32)
