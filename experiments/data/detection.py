"""Data sets of images with boxes: loading, wrong boxes, and padding to a fixed number of boxes.

Images are resized to the same height and width without distortion; what is left over at the right
or below is black. Boxes are (left, top, right, bottom) in pixels of the resized image.
"""

import hashlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from experiments import checks, rng
from experiments.data import bccd, detection_folder, detection_noise, detection_tfds
from experiments.data.base import Examples, moments
from experiments.data.boxed import NONE, Picture, check_boxes, in_pixels, read

PARTS = ("train", "validation", "test")


class Pictures(NamedTuple):
    pixels: Any  # uint8, (N, height, width, 3)
    scale: Any  # float32, (N,): pixels here for one of the original image


class Boxes(NamedTuple):
    """The boxes of an image, padded to a fixed number."""

    box: Any  # float32, (N, boxes, 4)
    label: Any  # int32, (N, boxes); NONE for padding
    crowd: Any  # bool, (N, boxes): not learnt, and no mistake if found: a crowd, a difficult object


class Detections(NamedTuple):
    """A data set for detection. Clean targets are the classes of the given boxes."""

    name: str
    class_names: tuple[str, ...]
    train: Examples  # Pictures, Boxes, classes of shape (N, boxes)
    validation: Examples
    test: Examples
    mean: tuple[float, ...]  # per channel, of the training images
    std: tuple[float, ...]
    noise: dict[str, float]  # what the noise did to the training boxes
    targets_sha256: str


class Source(NamedTuple):
    """What a loader returns. Without a test part, a fifth of the training part becomes it."""

    class_names: tuple[str, ...]
    parts: dict[str, list[Picture]]


def _prepared(name: str) -> Callable[..., Source]:
    return lambda data_dir, **unused: Source(*detection_tfds.load(name, data_dir))


SOURCES: dict[str, Callable[..., Source]] = {
    **{name: _prepared(name) for name in detection_tfds.SETS},
    "bccd": lambda data_dir, **unused: Source(*bccd.load(data_dir)),
    "voc_folder": lambda path, **unused: Source(*detection_folder.voc(path)),
    "coco_json": lambda path, test_path, **unused: Source(*detection_folder.coco(path, test_path)),
}


PATHS = {"voc_folder": ("path",), "coco_json": ("path", "test_path")}  # keys of a user's own set


def load(data, noise, data_dir: str | None = None) -> Detections:
    """Returns the data set of `config.data`, with the wrong boxes of `config.noise`.

    Raises:
      ValueError: if a value is out of range, or a file is missing or faulty.
    """
    checks.choose("config.data.name", data.name, SOURCES)
    for side in ("height", "width"):
        checks.integer(f"config.data.{side}", data[side], 32, 4096)
    checks.integer("config.data.boxes", data.boxes, 1, 1000)
    detection_noise.check(noise)
    own = {name: data[name] for name in PATHS.get(data.name, ())}
    source = _split(data, SOURCES[data.name](data_dir=data_dir, **own))
    size = data.height, data.width
    arrays = {part: read(data.name, source.parts[part], *size) for part in PARTS}
    for part in PARTS:
        source.parts[part] = in_pixels(source.parts[part], arrays[part]["sizes"])
        check_boxes(source.parts[part], arrays[part]["sizes"])
    return _built(data, noise, source, arrays)


def _split(data, source: Source) -> Source:
    """Makes a test part of a fifth if there is none, and a validation part of `validation`."""
    parts: dict[str, list[Picture]] = {"validation": [], "test": []} | source.parts
    train = parts["train"]
    if not train:
        raise ValueError(f"config.data.name: {data.name} has no training images")
    if not parts["test"]:
        parts["train"], parts["test"] = _drawn(train, len(train) // 5, data.split_seed, rng.TEST)
    train, number = parts["train"], data.validation
    if number and parts["validation"]:
        said = f"{data.name} has its own {len(parts['validation'])} images: expected 0"
        raise ValueError(f"config.data.validation: {said}, got {number}")
    if number:
        checks.integer("config.data.validation", number, 1, len(train) - 1)
        seed = data.split_seed
        parts["train"], parts["validation"] = _drawn(train, number, seed, rng.VALIDATION)
    return source._replace(parts=parts)


def _drawn(pictures: list[Picture], number: int, seed: int, purpose: int):
    """Draws `number` random ones; returns the others, and these, in their order."""
    checks.seed("config.data.split_seed", seed)
    chosen = {*rng.shuffled(seed, purpose, len(pictures))[:number].tolist()}
    both = ([one for i, one in enumerate(pictures) if (i in chosen) is of] for of in (False, True))
    return tuple(both)


def _built(data, noise, source: Source, arrays) -> Detections:
    parts: dict[str, Examples] = {}
    first = 0
    done: dict[str, float] = {}
    for i, part in enumerate(PARTS):
        pictures, found = source.parts[part], arrays[part]
        boxes = detection_noise.flat(pictures, found["scale"])
        noisy = part == "train" or (part == "validation" and is_noisy(data))
        if noisy and len(pictures):
            sides = found["sizes"] * found["scale"][:, None]
            number = len(source.class_names)
            boxes, counts = detection_noise.corrupt(boxes, sides, noise, number, i)
            done = done or counts
        targets, clean = _padded(boxes, pictures, data.boxes)
        index = np.arange(first, first + len(pictures), dtype=np.int32)
        first = first + len(pictures) if part == "train" else 0
        inputs = Pictures(found["pixels"], found["scale"])
        parts[part] = Examples(inputs, targets, clean, index)
    digest = hashlib.sha256()
    for leaf in parts["train"].targets:
        digest.update(np.ascontiguousarray(leaf).tobytes())
    mean, std = moments(parts["train"].inputs.pixels)
    names = tuple(source.class_names)
    return Detections(data.name, names, **parts, mean=mean, std=std, noise=done,
                      targets_sha256=digest.hexdigest())  # fmt: skip


def is_noisy(data) -> bool:
    """Whether the boxes of the validation images are as noisy as those of training."""
    kind = data.get("validation_labels", "noisy")
    checks.choose("config.data.validation_labels", kind, dict.fromkeys(("noisy", "clean")))
    return kind == "noisy"


def _padded(boxes: detection_noise.Flat, pictures, number: int) -> tuple[Boxes, np.ndarray]:
    """Returns arrays with `number` boxes an image, and the clean classes."""
    counts = np.bincount(boxes.image, minlength=len(pictures))
    if len(pictures) and counts.max() > number:
        name, most = pictures[counts.argmax()].file.name, counts.max()
        raise ValueError(f"config.data.boxes: {name} has {most} boxes: expected {most} or more")
    place = np.arange(len(boxes.image)) - (np.cumsum(counts) - counts)[boxes.image]
    shape = (len(pictures), number)
    found = Boxes(np.zeros((*shape, 4), np.float32), np.full(shape, NONE, np.int32),
                  np.zeros(shape, bool))  # fmt: skip
    clean = np.full(shape, NONE, np.int32)
    for array, values in zip(found, (boxes.box, boxes.label, boxes.crowd), strict=True):
        array[boxes.image, place] = values
    clean[boxes.image, place] = boxes.clean
    return found, clean


def described(dataset: Detections, noise) -> tuple[str, ...]:
    """Returns lines for the log: the sizes of the data set, and its noise."""
    counts = ", ".join(f"{len(getattr(dataset, part).index)} {part}" for part in PARTS)
    present = dataset.train.targets.label >= 0
    empty = int((~present.any(axis=1)).sum())
    without = f", of which {empty} have none and are all background" if empty else ""
    done = ", ".join(f"{value:.2%} {name}" for name, value in dataset.noise.items())
    classes = len(dataset.class_names)
    return (
        f"data     {dataset.name}: {counts} images, {classes} classes, {present.sum()} boxes in the"
        f" training images{without}",
        f"noise    {noise.kind}: of the training boxes, {done or 'it is not known what is wrong'}",
    )
