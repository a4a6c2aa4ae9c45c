"""The interface between a task and everything that trains and reports.

The training loop knows only examples, batches and units. The task decides what an input is, which
losses there are, and which targets may be wrong. Users can write a `Task` in their own module and
name it with `config.task = "module:name"`. tests/program/toy.py is an example.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from experiments import rng
from experiments.data import Examples
from experiments.tasks.scores import Score


class At(NamedTuple):
    """The seed and the step. The random draws of a training step depend on nothing else."""

    seed: jax.Array
    step: jax.Array


class Batch(NamedTuple):
    """A batch of examples, as the model and its losses see them."""

    inputs: Any  # for the model; the first axis of every array is the batch
    targets: Any
    clean_targets: Any
    index: Any  # positions in the published file; typed Any because of `tuple.index`
    where: jax.Array  # False for padding
    drawn: Any = ()  # passed from `draw` to `units`: mixup partners, say, or hidden pixels
    taught: Any = ()  # what `teach` returned
    seen: Any = ()  # the records of these examples by name, if the problem has a `review`


class Units(NamedTuple):
    """The losses of a batch's units. A unit has one loss and one weight: an example, box or pixel.

    The first axis is the batch.
    """

    losses: jax.Array
    where: jax.Array  # same shape as losses; False for padding and ignored units
    extra: dict[str, jax.Array]  # inputs for the method: those of logits, labels, index that exist
    kind: jax.Array | None = None  # same shape: 0, 1, ... below the problem's `kinds`
    rest: jax.Array | float = 0.0  # a scalar that is added to the mean: losses that nothing weighs


class Objects(NamedTuple):
    """How to keep records of the objects of each example, if targets are wrong by object."""

    number: int  # of each example at most
    target: Callable[[Any], Any]  # targets -> of each object its class, below 0 where there is none
    of_units: Callable[[Any, Any, Batch], Any]  # (values of units, mask, batch) -> of objects
    to_units: Callable[[Any, Batch], Any]  # (mask of objects, batch) -> mask of units


class Recorded(NamedTuple):
    """A further value that samples.npz keeps for each example, next to its loss and weight."""

    before: np.number  # the value, and its dtype, before the example is first seen
    of: Callable[[Any, Batch], jax.Array]  # (outputs, batch) -> one value per example


class Evaluation(NamedTuple):
    """Numbers of a whole split that are no means over examples: recall at k, average precision.

    They are columns of metrics.jsonl, `test_NAME` and `validation_NAME`. With two networks, they
    are averaged over them.
    """

    names: tuple[str, ...]
    # On the device, (outputs, batch) -> a tree of arrays whose first axis is the batch.
    collect: Callable[[Any, Batch], Any]
    # On the host, (what was collected of all examples in order, the split) -> the numbers, and
    # arrays that a run keeps of the split `kept`: of "test", in test.npz, those of its newest
    # epoch; of "validation", in held_out.npz, those of the epoch that is best on it.
    measure: Callable[[Any, Examples], tuple[dict[str, float], dict[str, np.ndarray]]]
    kept: str = "test"


def gathered(examples: Examples, rows, at: At | None) -> Batch:
    """The default `draw`: returns the rows unchanged, in training and in evaluation."""
    inputs, targets, clean_targets, index = examples.rows(rows)
    return Batch(inputs, targets, clean_targets, index, where=rows >= 0)


def shuffled(seed, epoch, size: int, batch_size: int) -> jax.Array:
    """The default `order`: every position once; the last batch is padded with -1."""
    order = jnp.argsort(rng.bits(rng.key_for(seed, rng.ORDER, epoch), (size,)))
    order = jnp.pad(order.astype(jnp.int32), (0, -size % batch_size), constant_values=-1)
    return order.reshape(-1, batch_size)


def mean_over_units(values, where, batch: Batch) -> jax.Array:
    return jnp.mean(values, where=where)


TWO_NETWORKS = ("co_teaching", "jocor")  # methods whose networks choose examples for each other


# A record that there is not, or not yet, and a metric of a unit that does not count in it. On the
# host it is NaN. Here NaN would stop users of jax_debug_nans at the first step.
UNKNOWN = -np.inf


class Problem(NamedTuple):
    """A task on one data set: a model, and pure functions that already contain the configuration.

    Model and units are required. In training, `draw` gets the training set as `stored` returns it;
    in evaluation, it gets data sets as loaded. `groups` maps names to masks of examples or units,
    computed from targets and clean targets; each gives further columns of metrics.jsonl. "clean"
    and "wrong", which are of examples, also give the share of wrong targets, and scores of how well
    weights and losses detect them. Those of "unlabelled" have no target that could be wrong.
    """

    model: nn.Module  # called with inputs, train=bool and mask=Batch.where
    units: Callable[[Any, Batch], Units]  # (outputs, batch)
    draw: Callable[[Examples, Any, At | None], Batch] = gathered  # At is None in evaluation
    # (seed, epoch, number of examples, batch size) -> the positions of each step, in as many rows
    # as `shuffled` has. A position may not stand twice in a row.
    order: Callable[[Any, Any, int, int], jax.Array] = shuffled
    # (the model's outputs for given inputs, batch) -> Batch.taught, through which no gradient flows
    teach: Callable[[Callable[[Any], Any], Batch], Any] | None = None
    taught_by_average: bool = False  # whether `teach` gets the outputs of the averaged weights
    initial: Callable[[Any, jax.Array], Any] = lambda params, key: params  # can replace Flax's
    kinds: int = 1  # kinds of units; the method keeps a state for each
    # (weighted losses, where, batch) -> the scalar that is differentiated
    mean: Callable[[jax.Array, jax.Array, Batch], jax.Array] = mean_over_units
    # Values of the same shape as losses; UNKNOWN where a unit does not count.
    metrics: Mapping[str, Callable[[Any, Batch], jax.Array]] = {}
    groups: Mapping[str, Callable[[Any, Any], Any]] = {}
    records: Mapping[str, Recorded] = {}
    # After each epoch, (the records of all examples by name, UNKNOWN where there is none yet) ->
    # the same names, with new values. A step then sees those of its examples: Batch.seen.
    review: Callable[[dict[str, jax.Array]], dict[str, jax.Array]] | None = None
    # Records and groups are then of objects: of shape (B, number).
    objects: Objects | None = None
    rows_are_examples: bool = True  # False for mixtures: nothing is recorded per example
    stored: Callable[[Examples], Examples] = lambda examples: examples  # e.g. pads training images
    evaluate: Evaluation | None = None
    evaluated_at_once: int | None = None  # examples, if these are large
    # Computes further columns of metrics.jsonl from an epoch's samples.
    examine: Callable[[Mapping[str, np.ndarray]], dict[str, float]] = lambda samples: {}
    extra: tuple[str, ...] = ("index",)  # the keys of Units.extra
    num_classes: int | None = None
    noise_matrix: Callable[[], np.ndarray] | None = None  # if the noise has a transition matrix
    label_counts: Callable[[], np.ndarray] | None = None  # of the training targets, by class
    facts: Mapping[str, Any] = {}  # added to results.json
    told: tuple[str, ...] = ()  # lines printed when training starts


class Task(NamedTuple):
    """A kind of problem, independent of a data set."""

    score: Score
    load: Callable[
        [Any, str | None], Any
    ]  # config, data_dir -> a tuple with train, validation, test
    build: Callable[[Any, Any], Problem]  # config, loaded data -> Problem
