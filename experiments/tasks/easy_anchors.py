"""Triplets with easy anchors: a loss of features beside a classification's, for rare classes.

It pulls hard examples of a rare class to easy ones of it, and pushes away those of other classes
that look like it. Its weight falls with the epochs: the loss scheduler of Dynamic Curriculum
Learning (Wang et al., ICCV 2019; in full in training/class_shares.py).
"""

import math
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from experiments.checks import integer, within
from experiments.keys import section
from experiments.models.embedding import normalised
from experiments.tasks.base import At, Batch, Problem, Units
from experiments.tasks.pair_losses import masks


class Outputs(NamedTuple):
    logits: jax.Array
    features: jax.Array


class WithFeatures(nn.Module):
    """Also returns what the last dense layer of `network` sees. It has the network's parameters."""

    network: nn.Module

    def setup(self):
        nn.share_scope(self, self.network)

    def __call__(self, x, train: bool, mask=None):
        seen: list[Any] = []

        def note(call, args, kwargs, context):
            if isinstance(context.module, nn.Dense):
                seen.append(args[0])
            return call(*args, **kwargs)

        with nn.intercept_methods(note):
            logits = self.network(x, train, mask)
        if not seen:
            said = f"{type(self.network).__name__} has no dense layer, whose input are features"
            raise ValueError(f"config.easy_anchors.weight: {said}: expected 0")
        return Outputs(logits, seen[-1].astype(logits.dtype))


def is_rare(counts: np.ndarray) -> np.ndarray:
    """Returns a mask of the classes that have half of the examples together, the rarest first."""
    rarest = np.argsort(counts, kind="stable")
    rare = np.zeros(len(counts), bool)
    rare[rarest] = np.cumsum(counts[rarest]) <= counts.sum() / 2
    return rare


def triplets(outputs: Outputs, labels, where, rare, *, number: int, margin: float):
    """Returns the mean of max(0, margin + d(easy, hard) - d(easy, other)), 0 without a triplet.

    Of each rare class there are at most `number` easy examples, which are those predicted right
    with the highest probability, as many hard ones, of the lowest, and as many others, which have
    the highest probability of this class among other classes. d is the Euclidean distance of
    features of length 1.
    """
    number = min(number, len(labels))
    p = jax.nn.softmax(jax.lax.stop_gradient(outputs.logits))[:, labels].T  # [a, b]: b's of a's
    same, other = masks(labels, where)
    own = jnp.diagonal(p)
    before = jnp.sum(same & (own[None, :] > own[:, None]), axis=1)
    right = outputs.logits.argmax(-1) == labels
    easy = where & right & jnp.asarray(rare)[labels] & (before < number)

    features = normalised(outputs.features)
    square = 2 - 2 * features @ features.T
    distance = jnp.sqrt(jnp.maximum(square, 1e-6))  # the root has no gradient at 0

    def chosen(values, mask):
        found, places = jax.lax.top_k(jnp.where(mask, values, -jnp.inf), number)
        return jnp.take_along_axis(distance, places, axis=1), found > -jnp.inf

    hard, is_hard = chosen(-p, same)
    near, is_near = chosen(p, other)
    losses = jnp.maximum(0, margin + hard[:, :, None] - near[:, None, :])
    counted = easy[:, None, None] & is_hard[:, :, None] & is_near[:, None, :]
    return jnp.sum(jnp.where(counted, losses, 0)) / jnp.maximum(jnp.sum(counted), 1)


def weights(own, epochs: int) -> np.ndarray:
    """Returns the weight in each epoch: (1 + cos(pi l / L)) / 2 + rest, and rest after `end`."""
    within("config.easy_anchors.weight", own.weight, 0, 1e6)
    within("config.easy_anchors.end", own.end, 0, 1)
    within("config.easy_anchors.rest", own.rest, 0, 1)
    part = np.arange(epochs) / epochs
    falling = np.where(part < own.end, (1 + np.cos(math.pi * part)) / 2, 0)
    return own.weight * (falling + own.rest)


def added(config, counts: np.ndarray, problem: Problem) -> Problem:
    """Returns the problem with the loss of triplets, if the config asks for it.

    Raises:
      ValueError: if a setting is out of range, or mixtures of images have no class.
    """
    own = section(config, "easy_anchors")
    if not own.get("weight"):
        return problem
    if not problem.rows_are_examples:
        raise ValueError("config.easy_anchors.weight: a mixup has no class: expected 0")
    integer("config.easy_anchors.number", own.number, 1, 1000)
    within("config.easy_anchors.margin", own.margin, 0, 2)
    rare, steps = is_rare(counts), -(-int(counts.sum()) // config.batch_size)
    by_epoch = weights(own, config.epochs).astype(np.float32)

    def draw(examples, rows, at: At | None) -> Batch:
        batch = problem.draw(examples, rows, at)
        return batch._replace(drawn=jnp.asarray(by_epoch)[at.step // steps]) if at else batch

    def units(outputs: Outputs, batch: Batch) -> Units:
        found = problem.units(outputs.logits, batch._replace(drawn=()))
        if isinstance(batch.drawn, tuple):  # in evaluation
            return found
        choice = {"number": own.number, "margin": own.margin}
        loss = triplets(outputs, batch.targets, batch.where, rare, **choice)
        return found._replace(rest=batch.drawn * loss)

    def of_logits(function):
        return lambda outputs, batch: function(outputs.logits, batch)

    whole = problem.evaluate
    return problem._replace(
        model=WithFeatures(problem.model),
        units=units,
        draw=draw,
        metrics={name: of_logits(one) for name, one in problem.metrics.items()},
        records={name: one._replace(of=of_logits(one.of)) for name, one in problem.records.items()},
        evaluate=whole and whole._replace(collect=of_logits(whole.collect)),
    )
