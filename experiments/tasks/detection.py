"""Object detection: a class and a box for each object of an image, some of which may be wrong.

The detector predicts a class and a box at each place of a grid. Places near the middle of an object
shall find it, all others are background. The loss is that of the classes, which a method may weigh,
plus one of the boxes. `config.detection.weighs` says what a unit is: a place of an object
(`foreground`), any place (`locations`), or an object, by its mean loss over its places (`objects`).
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.checks import choose, positive, within
from experiments.data import boxed
from experiments.data import detection as data
from experiments.data.base import Examples
from experiments.data.detection import Boxes, Detections
from experiments.models import detector
from experiments.models.detector import Outputs
from experiments.tasks import average_precision, boxes, classification, detections, images
from experiments.tasks.base import (
    TWO_NETWORKS,
    UNKNOWN,
    At,
    Batch,
    Objects,
    Problem,
    Recorded,
    Task,
    Units,
)
from experiments.tasks.scores import SCORES

WEIGHS = ("foreground", "locations", "objects")
OVERLAPS: dict[str, Callable] = {"iou": boxes.iou, "giou": boxes.giou}
PIXELS = 2**22  # of the images that are evaluated at once
PRIOR = 0.01  # of each class at the start, for the focal loss, as in its paper


class Drawn(NamedTuple):
    found: Any  # int32, (B, L): the number of the object that a place shall find, -1 for background


def load(config, data_dir: str | None) -> Detections:
    choose("config.model.name", config.model.name, detector.DETECTORS)  # before data is read
    for name, table in (("weighs", WEIGHS), ("classes", CLASS_LOSSES), ("boxes", OVERLAPS)):
        choose(f"config.detection.{name}", config.detection[name], dict.fromkeys(table))
    average_precision.check_installed()
    if config.loss.method in TWO_NETWORKS:
        said = "two networks that teach each other need one loss an image"
        raise ValueError(f"config.loss.method: {said}; choose a method with one network")
    if config.loss.method == "cross_entropy":
        raise ValueError("config.loss.method: the loss of a detector without a method is plain")
    return data.load(config.data, config.noise, data_dir)


def build(config, dataset: Detections) -> Problem:
    own, classes = config.detection, len(dataset.class_names)
    softmax = own.classes == "cross_entropy"
    model = detector.make_detector(
        **config.model, outputs=classes + softmax, prior=0.0 if softmax else PRIOR
    )
    places = places_of(config, dataset, model)
    units = units_of(own, places)
    per_place = softmax and own.weighs != "objects"  # then a unit has logits and a label
    number = dataset.train.targets.label.shape[1]
    return Problem(
        model=model,
        units=units,
        draw=draw_of(dataset, images.Augment(0, config.augment.flip, 0), places, own.radius),
        mean=functools.partial(mean, own.weighs),
        metrics={
            name: functools.partial(of_units, own.weighs, number, metric)
            for name, metric in (("accuracy", is_right), ("iou", iou_of(places)))
        },
        groups={"clean": is_clean, "wrong": is_wrong},
        records={"predicted": Recorded(np.int32(-1), predicted(number, softmax))},
        objects=objects_of(own.weighs, number),
        evaluate=detections.evaluation(
            own, dataset.class_names, lambda sides: decoded(sides, places)
        ),
        evaluated_at_once=max(1, PIXELS // places.area),
        examine=classification.memorised,
        extra=("logits", "labels") if per_place else (),
        num_classes=classes + 1 if per_place else None,
        facts={"noise": noise_facts(config, dataset)},
        told=data.described(dataset, config.noise),
    )


def places_of(config, dataset: Detections, model) -> boxes.Grid:
    """Returns the places of the model's grid on the data set's images."""
    height, width = dataset.train.inputs.pixels.shape[1:3]
    coarsest = max(model.strides)
    if height % coarsest or width % coarsest:  # a mirrored image has the same places
        said = f"expected multiples of {coarsest} for {config.model.name}, got {height} and {width}"
        raise ValueError(f"config.data.height, config.data.width: {said}")
    return boxes.grid(height, width, model.strides)


def draw_of(dataset: Detections, augment: images.Augment, places: boxes.Grid, radius: float):
    positive("config.detection.radius", radius)
    whole: Any = dataset  # has the mean and std that images.draw needs

    def draw(examples: Examples, rows, at: At | None) -> Batch:
        pixels = examples.inputs.pixels
        targets = jax.tree.map(lambda one: one[rows], examples.targets)
        if at is None:
            inputs = images.normalise(pixels[rows], whole)
        else:
            inputs = images.draw(pixels, rows, whole, augment, *at)
            if augment.flip:
                flips = images.bits_of(rows, *at, images.rng.AUGMENT)[2] >> 31 == 1
                turned = boxes.mirrored(targets.box, pixels.shape[2])
                box = jnp.where(flips[:, None, None], turned, targets.box)
                targets = targets._replace(box=box)
        present = (targets.label >= 0) & ~targets.crowd
        found = jax.vmap(lambda box, there: boxes.assigned(box, there, places, radius))(
            targets.box, present
        )
        rest = examples.clean_targets[rows], examples.index[rows], rows >= 0
        return Batch(inputs, targets, *rest, Drawn(found))

    return draw


# --- Losses. --------------------------------------------------------------------------------------


def softmax_loss(logits, labels):
    """Cross entropy over the classes and the background, whose logit is the last."""
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels)


def focal_loss(logits, labels):
    """Sum over the classes of a focal binary cross entropy with alpha 0.25 and gamma 2.

    Tsung-Yi Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017.
    """
    one_hot = jax.nn.one_hot(labels, logits.shape[-1], dtype=logits.dtype)  # background: all 0
    return optax.sigmoid_focal_loss(logits, one_hot, alpha=0.25, gamma=2.0).sum(axis=-1)


CLASS_LOSSES: dict[str, Callable] = {"cross_entropy": softmax_loss, "focal": focal_loss}


def decoded(sides, places: boxes.Grid):
    """Returns boxes (B, L, 4), from logarithms of the distances to their sides, in strides."""
    far = jnp.exp(jnp.clip(sides, -10, 10)) * places.stride[None, :, None].astype(sides.dtype)
    centre = places.centre[None].astype(sides.dtype)
    return jnp.concatenate([centre - far[..., :2], centre + far[..., 2:]], axis=-1)


def given(batch: Batch, values):
    """Returns of each place the value of its object; shape (B, L, ...); any for background."""
    found = jnp.maximum(batch.drawn.found, 0)
    return jnp.take_along_axis(values, found.reshape(*found.shape, *[1] * (values.ndim - 2)), 1)


def whose(batch: Batch, number: int):
    """Returns whether a place is for an object, bool of shape (B, L, objects)."""
    return batch.drawn.found[:, :, None] == jnp.arange(number)[None, None]


def over_places(values, batch: Batch, number: int):
    """Returns the mean over the places of each object, (B, objects); 0 where it has none."""
    own = whose(batch, number)
    total = jnp.einsum("bl,blm->bm", values, own.astype(values.dtype))
    return total / jnp.maximum(own.sum(axis=1), 1)


def have_places(batch: Batch, number: int):
    return whose(batch, number).any(axis=1)


def units_of(own, places: boxes.Grid) -> Callable:
    """Returns `units`: losses of classes, and the rest: what the method does not weigh."""
    class_loss, overlap = CLASS_LOSSES[own.classes], OVERLAPS[own.boxes]
    within("config.detection.box_weight", own.box_weight, 0, 1e6)
    weighs = own.weighs

    def units(outputs: Outputs, batch: Batch) -> Units:
        background = outputs.logits.shape[-1] - (own.classes == "cross_entropy")
        foreground = (batch.drawn.found >= 0) & batch.where[:, None]
        labels = jnp.where(foreground, given(batch, batch.targets.label), background)
        losses = class_loss(outputs.logits, labels)
        off = 1 - overlap(decoded(outputs.sides, places), given(batch, batch.targets.box))
        number = jnp.maximum(foreground.sum(), 1)
        rest = own.box_weight * jnp.sum(off, where=foreground) / number
        every = jnp.broadcast_to(batch.where[:, None], foreground.shape)
        if weighs == "locations":
            return Units(losses, every, extra_of(outputs, labels), rest=rest)
        rest += jnp.sum(losses, where=every & ~foreground) / number
        if weighs == "foreground":
            return Units(losses, foreground, extra_of(outputs, labels), rest=rest)
        objects = batch.targets.label.shape[1]
        where = have_places(batch, objects) & batch.where[:, None]
        return Units(over_places(losses, batch, objects), where, {}, rest=rest)

    def extra_of(outputs, labels):
        softmax = own.classes == "cross_entropy"
        return {"logits": outputs.logits, "labels": labels} if softmax else {}

    return units


def mean(weighs: str, losses, where, batch: Batch):
    """Returns the sum over units, divided by the number of foreground places, or of objects."""
    counted = where
    if weighs == "locations":
        counted = (batch.drawn.found >= 0) & batch.where[:, None]
    return jnp.sum(losses, where=where) / jnp.maximum(counted.sum(), 1)


# --- Metrics and records. -------------------------------------------------------------------------


def is_right(outputs: Outputs, batch: Batch):
    guess = outputs.logits.argmax(axis=-1)
    return (guess == given(batch, batch.targets.label)).astype(outputs.logits.dtype)


def iou_of(places: boxes.Grid) -> Callable:
    def iou(outputs: Outputs, batch: Batch):
        return boxes.iou(decoded(outputs.sides, places), given(batch, batch.targets.box))

    return iou


def of_units(weighs: str, number: int, metric: Callable, outputs, batch: Batch):
    """Returns a metric of places as one of units; UNKNOWN where a unit is background."""
    values = metric(outputs, batch)
    if weighs == "objects":
        return over_places(values, batch, number)
    return jnp.where(batch.drawn.found >= 0, values, UNKNOWN)


def objects_of(weighs: str, number: int) -> Objects:
    """Returns how values of units and of objects are converted to each other."""

    def of_objects(values, where, batch: Batch):
        if weighs != "objects":
            values = over_places(jnp.where(where, values, 0), batch, number)
        there = have_places(batch, number) & batch.where[:, None]
        return jnp.where(there, values, UNKNOWN)

    def to_units(mask, batch: Batch):
        if weighs == "objects":
            return mask
        return given(batch, mask) & (batch.drawn.found >= 0)

    return Objects(number, learnt, of_objects, to_units)


def learnt(targets: Boxes):
    """Returns the classes of objects, below 0 for padding and what is not learnt."""
    return np.where(targets.crowd, boxed.NONE, targets.label)


def predicted(number: int, softmax: bool) -> Callable:
    """Returns a record: the class that is most likely over an object's places; -1 without any."""

    def of(outputs: Outputs, batch: Batch):
        scores = detections.class_scores(outputs.logits, softmax)
        means = jax.vmap(lambda one: over_places(one, batch, number), in_axes=2, out_axes=2)
        guess = means(scores).argmax(axis=-1).astype(jnp.int32)
        return jnp.where(have_places(batch, number), guess, -1)

    return of


def is_clean(targets: Boxes, clean):
    return (targets.label >= 0) & ~targets.crowd & (targets.label == clean)


def is_wrong(targets: Boxes, clean):
    """Returns a mask of the objects whose class is known to be wrong, or that do not exist."""
    known = (targets.label >= 0) & ~targets.crowd & (clean != boxed.UNKNOWN)
    return known & (targets.label != clean)


def noise_facts(config, dataset: Detections) -> dict[str, Any]:
    return {
        "convention": config.noise.kind,
        "realised_rate": dataset.noise.get("with a wrong class"),
        "realised": dict(dataset.noise),
        "targets_sha256": dataset.targets_sha256,
    }


task = Task(SCORES["detection"], load, build)
