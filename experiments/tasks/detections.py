"""From a detector's outputs to detections, on the device, and to average precision, on the host."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.checks import within
from experiments.data.base import Examples
from experiments.models.detector import Outputs
from experiments.tasks import average_precision, boxes
from experiments.tasks.average_precision import Found
from experiments.tasks.base import Batch, Evaluation

CANDIDATES = 400  # of an image, by score, before suppression


def detected(scores, box, threshold: float) -> Found:
    """Returns the detections of an image, the best first.

    Args:
      scores: shape (L, classes), in [0, 1].
      box: shape (L, 4).
      threshold: IoU above which a box is dropped for a better one of its class.
    """
    classes = scores.shape[-1]
    best, place = jax.lax.top_k(scores.reshape(-1), min(CANDIDATES, scores.size))
    box, label = box[place // classes], (place % classes).astype(jnp.int32)
    stays = boxes.kept(box, label, threshold)
    number = min(average_precision.MOST, len(best))
    best, order = jax.lax.top_k(jnp.where(stays, best, -1), number)
    return Found(box[order], jnp.where(best >= 0, label[order], -1), best)


def class_scores(logits, softmax: bool):
    """Returns the probabilities of the classes, without that of the background."""
    return jax.nn.softmax(logits)[..., :-1] if softmax else jax.nn.sigmoid(logits)


def evaluation(own, names: tuple[str, ...], decoded: Callable[[Any], Any]) -> Evaluation:
    """Returns how a split is measured: `own` is `config.detection`, `names` are of the classes."""
    within("config.detection.suppression", own.suppression, 0, 1)
    softmax = own.classes == "cross_entropy"

    def collect(outputs: Outputs, batch: Batch) -> Found:
        scores = class_scores(outputs.logits, softmax)
        one = functools.partial(detected, threshold=own.suppression)
        return jax.vmap(one)(scores, decoded(outputs.sides))

    def measure(found: Found, examples: Examples):
        truth, scale = examples.targets, examples.inputs.scale[:, None, None]
        # In pixels of the original images, so that sizes are those of the published boxes.
        own = found._replace(box=found.box / scale)
        true = Found(truth.box / scale, truth.label, truth.crowd)
        return average_precision.average_precision(own, true, names), kept(found)

    columns = (*average_precision.MEANS, *(f"ap_50_{name}" for name in names))
    return Evaluation(columns, collect, measure)


def kept(found: Found) -> dict[str, np.ndarray]:
    """Returns what a run keeps of its detections, for pictures."""
    return dict(zip(Found._fields, map(np.asarray, found), strict=True))
