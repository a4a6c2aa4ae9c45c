"""What a task is: the seam between a kind of problem and everything that trains and reports.

The loop knows examples, batches and units. What an input is, which losses there are, and what may
be wrong about a target is the task's own business. A user's task is a `Task` in a module of theirs,
named by `config.task = "module:name"`; tests/program/toy.py has one.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from experiments.data import Examples
from experiments.tasks.scores import Score


class At(NamedTuple):
    """The seed and the step, on which alone all random draws of a training step depend."""

    seed: jax.Array
    step: jax.Array


class Batch(NamedTuple):
    """Some rows of a data set, as the model and its losses see them."""

    inputs: Any  # the model's; the first axis of every array is the batch
    targets: Any
    clean_targets: Any
    index: Any  # positions in the published file; `tuple.index` allows no narrower type
    where: jax.Array  # False for padding
    drawn: Any = ()  # from `draw` to `units`: the partners of mixtures, which pixels are hidden


class Units(NamedTuple):
    """What gets one loss and one weight each: an example, a box, a pixel.

    The first axis is the batch.
    """

    losses: jax.Array
    where: jax.Array  # of the losses' shape; False for padding and for what is ignored
    extra: dict[str, jax.Array]  # of logits, labels, index: what the task has, for the method


class Recorded(NamedTuple):
    """A value that samples.npz keeps of each example beside its loss and weight."""

    before: np.number  # its value and dtype until the example is seen
    of: Callable[[Any, Batch], jax.Array]  # from outputs and a batch; one an example


def gathered(examples: Examples, rows, at: At | None) -> Batch:
    """The rows as they are, in training and in evaluation."""
    inputs, targets, clean_targets, index = examples.rows(rows)
    return Batch(inputs, targets, clean_targets, index, where=rows >= 0)


def mean_over_units(values, where) -> jax.Array:
    return jnp.mean(values, where=where)


class Problem(NamedTuple):
    """A task on one data set: a model, and pure functions with the configuration bound in them.

    Model and units are required. `draw` gets the training set as `stored` returns it, and in
    evaluation the data sets as they were loaded. `groups` may have "clean" and "wrong", masks of
    targets and clean targets. From these come columns of metrics.jsonl, the share of wrong targets,
    and how well weights and losses find them.
    """

    model: nn.Module  # called with inputs, train=bool and mask=Batch.where
    units: Callable[[Any, Batch], Units]  # from outputs
    draw: Callable[[Examples, Any, At | None], Batch] = gathered  # rows; without At, to evaluate
    initial: Callable[[Any, jax.Array], Any] = lambda params, key: params  # may replace Flax's
    mean: Callable[[jax.Array, jax.Array], jax.Array] = mean_over_units  # of the weighted losses
    metrics: Mapping[str, Callable[[Any, Batch], jax.Array]] = {}  # of the losses' shape
    groups: Mapping[str, Callable[[Any, Any], Any]] = {}
    records: Mapping[str, Recorded] = {}
    rows_are_examples: bool = True  # False for mixtures, of which nothing is recorded
    stored: Callable[[Examples], Examples] = lambda examples: examples  # padded, say: for training
    # More columns of metrics.jsonl, from the samples of an epoch.
    examine: Callable[[Mapping[str, np.ndarray]], dict[str, float]] = lambda samples: {}
    extra: tuple[str, ...] = ("index",)  # what `units` has for the method
    num_classes: int | None = None
    noise_matrix: Callable[[], np.ndarray] | None = None  # of wrong targets, where they have one
    facts: Mapping[str, Any] = {}  # for results.json
    told: tuple[str, ...] = ()  # lines to show when training starts


class Task(NamedTuple):
    """A kind of problem."""

    score: Score
    load: Callable[
        [Any, str | None], Any
    ]  # config, data_dir -> a tuple with train, validation, test
    build: Callable[[Any, Any], Problem]  # config, what was loaded -> Problem
