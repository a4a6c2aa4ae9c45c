"""A mean teacher for classification: each image has a loss of consistency, whatever its label.

    L = mean(losses of labels) + weight * mean(|softmax(f(x)) - softmax(g(x'))|^2 / classes)

f is the network, and g the same network with the moving average of the weights (`average.decay`),
through which no gradient flows. x and x' are two crops of an image. A method weighs the losses of
labels alone. `self_filter` averages the predictions of g instead of those of f, so that both
together are SELF: a label that the average contradicts does not count, and its image still does.

From Antti Tarvainen and Harri Valpola, "Mean Teachers Are Better Role Models", NeurIPS 2017, and
Duc Tam Nguyen et al., "SELF: Learning to Filter Noisy Labels with Self-Ensembling", ICLR 2020.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from experiments import rng
from experiments.checks import within
from experiments.data import Dataset, Examples
from experiments.keys import section
from experiments.tasks import images
from experiments.tasks.base import At, Batch, Problem, Units


class Drawn(NamedTuple):
    crops: jax.Array  # what the teacher sees
    weight: jax.Array  # of the mean loss of consistency


def taught(problem: Problem, config, dataset: Dataset, augment: images.Augment) -> Problem:
    """Returns a problem of classification with a mean teacher, if the config asks for one."""
    if not section(config, "mean_teacher").get("weight"):
        return problem
    if augment.mixup:
        said = f"a mean teacher sees single images: expected 0, got {augment.mixup}"
        raise ValueError(f"config.augment.mixup: {said}")
    if section(config, "easy_anchors").get("weight"):
        raise ValueError("config.easy_anchors.weight: expected 0 beside a mean teacher")
    filters = config.loss.method == "self_filter"
    if filters and config.loss.base not in ("cross_entropy", "plain"):
        said = "self_filter has the teacher's logits, a base loss none: expected cross_entropy"
        raise ValueError(f"config.loss.base: {said}, got {config.loss.base}")
    weight = warmup(config, "mean_teacher", len(dataset.train.index))

    def draw(examples: Examples, rows, at: At | None) -> Batch:
        batch = problem.draw(examples, rows, at)
        if at is None:
            return batch
        crops = images.draw(examples.inputs, rows, dataset, augment, *at, rng.SECOND)
        return batch._replace(drawn=Drawn(crops, weight(at.step)))

    def units(logits, batch: Batch) -> Units:
        found = problem.units(logits, batch._replace(drawn=()))
        if not len(batch.taught):  # in evaluation
            return found
        losses = of_probabilities(logits, jax.nn.softmax(batch.taught))
        rest = batch.drawn.weight * jnp.mean(losses, where=batch.where)
        extra = found.extra | ({"logits": batch.taught} if filters else {})
        return found._replace(extra=extra, rest=rest)

    return problem._replace(draw=draw, units=units, teach=teach, taught_by_average=True)


def teach(outputs_of: Callable, batch: Batch):
    return outputs_of(batch.drawn.crops)


def of_probabilities(logits, probabilities):
    """Returns the squared difference of probabilities, as a mean over classes."""
    return jnp.mean((jax.nn.softmax(logits) - probabilities) ** 2, axis=-1)


def warmup(config, section: str, size: int) -> Callable:
    """Returns a function of the step: the section's weight, after its linear rise."""
    weight, epochs = (config[section].get(name, 0.0) for name in ("weight", "warmup_epochs"))
    within(f"config.{section}.weight", weight, 0, 1e6)
    within(f"config.{section}.warmup_epochs", epochs, 0, config.epochs)
    steps = epochs * -(-size // config.batch_size)
    return lambda step: weight * jnp.minimum(1, (step + 1) / max(steps, 1)).astype(jnp.float32)
