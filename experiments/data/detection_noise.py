"""Wrong boxes: other classes, moved sides, missing boxes, and boxes without an object.

Junnan Li et al., "Towards Noise-resistant Object Detection with Noisy Annotations", 2020, have the
first two. Boxes that are missing or bogus are as in the benchmarks of detectors that followed.
"""

from typing import Any, NamedTuple

import jax
import numpy as np

from experiments import checks, rng
from experiments.data.boxed import NONE, UNKNOWN
from superloss_jax import noise as library

KINDS = ("symmetric_exclusive", "symmetric_inclusive", "given")
RATES = ("rate", "box", "missing", "bogus")


class Flat(NamedTuple):
    """The boxes of all images, one after another, sorted by image."""

    image: np.ndarray  # int64, (n,): position of the image
    box: np.ndarray  # float32, (n, 4), in pixels of the resized image
    label: np.ndarray  # int32, (n,)
    clean: np.ndarray  # int32, (n,)
    crowd: np.ndarray  # bool, (n,)


def flat(pictures, scale: np.ndarray) -> Flat:
    counts = [len(one.labels) for one in pictures]
    image = np.repeat(np.arange(len(pictures)), counts)

    def joined(name: str, empty: np.ndarray) -> np.ndarray:
        return np.concatenate([getattr(one, name) for one in pictures] or [empty])

    boxes = joined("boxes", np.zeros((0, 4))) * scale[image][:, None]
    labels = joined("labels", np.zeros(0, np.int32))
    crowd = joined("crowd", np.zeros(0, bool))
    return Flat(image, boxes.astype(np.float32), labels, labels, crowd)


def check(noise) -> None:
    """Raises ValueError for settings that are out of range."""
    checks.choose("config.noise.kind", noise.kind, dict.fromkeys(KINDS))
    if noise.kind == "given":
        return
    for name in RATES:
        checks.within(f"config.noise.{name}", noise[name], 0, 1)
    if any(noise[name] for name in RATES):
        checks.seed("config.noise.seed", noise.seed)


def corrupt(boxes: Flat, sides: np.ndarray, noise, classes: int, part: int):
    """Returns the boxes with noise, and the shares of boxes of which something is wrong, by name.

    Args:
      boxes: of all images of a part.
      sides: float, (images, 2): width and height of each image.
      noise: `config.noise`. `rate` is the share of boxes whose class is drawn anew, `box` how far
        each side may move, as a share of width or height, `missing` the share of boxes that are
        left out, `bogus` the number of boxes without an object for each box.
      classes: how many there are.
      part: a number, so that parts have other draws.
    """
    if noise.kind == "given":
        return boxes._replace(clean=np.full_like(boxes.clean, UNKNOWN)), {}
    if not any(noise[name] for name in RATES):
        return boxes, {"with a wrong class": 0.0}
    number = max(len(boxes.label), 1)
    key = rng.key_for(noise.seed, rng.NOISE, part)
    labels = np.asarray(_classes(key, boxes.label, noise, classes))
    found = boxes._replace(label=labels)
    done: dict[str, float] = {"with a wrong class": np.sum(labels != boxes.clean) / number}
    if noise.box:
        found = found._replace(box=_moved(_uniform(key, 1, (len(labels), 4)), found, sides, noise))
        done["moved"] = 1.0
    stays = np.ones(len(labels), bool)
    if noise.missing:
        stays = _uniform(key, 2, (len(labels),)) >= noise.missing
        done["missing"] = float(np.sum(~stays) / number)
    added = _bogus(key, found, sides, noise.bogus, classes) if noise.bogus else None
    found = Flat(*(values[stays] for values in found))
    if added is not None:
        done["bogus for each"] = len(added.label) / number
        both = (np.concatenate(pair) for pair in zip(found, added, strict=True))
        found = Flat(*both)
        found = Flat(*(values[np.argsort(found.image, kind="stable")] for values in found))
    return found, done


def _uniform(key, purpose: int, shape) -> np.ndarray:
    return np.asarray(rng.bits(jax.random.fold_in(key, purpose), shape)) / 2**32


def _classes(key, labels: np.ndarray, noise, classes: int) -> Any:
    if not noise.rate or not len(labels):
        return labels
    matrix = library.transition_matrix(noise.kind, noise.rate, classes)
    return library.corrupt_labels(jax.random.fold_in(key, 0), labels, matrix)


def _moved(drawn: np.ndarray, boxes: Flat, sides: np.ndarray, noise) -> np.ndarray:
    """Moves each side by a uniform share of width or height, and keeps it in the image."""
    size = np.tile(boxes.box[:, 2:] - boxes.box[:, :2], (1, 2))
    moved = boxes.box + (2 * drawn - 1) * noise.box * size
    moved = np.clip(moved, 0, np.tile(sides, (1, 2))[boxes.image])
    fits = ((moved[:, 2:] - moved[:, :2]) >= 1).all(axis=1)  # a pixel at least
    return np.where(fits[:, None], moved, boxes.box).astype(np.float32)


def _bogus(key, boxes: Flat, sides: np.ndarray, rate: float, classes: int) -> Flat:
    """Adds boxes of random classes, with the sizes of random boxes, anywhere in the same images."""
    drawn = _uniform(key, 3, (len(boxes.label), 5))
    chosen = np.flatnonzero(drawn[:, 0] < rate)
    drawn, image = drawn[chosen], boxes.image[chosen]
    like = (drawn[:, 1] * len(boxes.label)).astype(int)
    size = np.minimum((boxes.box[:, 2:] - boxes.box[:, :2])[like], sides[image])
    low = drawn[:, 2:4] * (sides[image] - size)
    label = (drawn[:, 4] * classes).astype(np.int32)
    box = np.concatenate([low, low + size], axis=1).astype(np.float32)
    return Flat(image, box, label, np.full_like(label, NONE), np.zeros(len(label), bool))
