"""The learned MentorNet (Jiang et al., 2018): a small network gives each example its weight."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike

from superloss_jax._base import LossTransform, make_transform
from superloss_jax._checks import (
    PERCENT,
    ZERO_TO_BELOW_ONE,
    Schedule,
    as_schedule,
    check_integer,
    check_number,
    compute_dtype,
)
from superloss_jax._inputs import Batch
from superloss_jax._mentornet import MentorNetState, follow, percentile_of

PARTS = 100  # of a run: rows of the embedding of epochs
LARGEST = 1e6  # of a loss and a difference, so that an infinite one has a weight


class MentorNetParams(NamedTuple):
    """The weights of MentorNet's network, real arrays.

    Attributes:
      labels: (L, D), the embedding of each class; one row for all if L is 1.
      epochs: (100, E), the embedding of each per cent of the run.
      kernel: (2, 4), the LSTM's weights of a loss and its difference: the input gates of the
        forward and of the backward cell, then what these cells would take in.
      bias: (4,), in the same order.
      hidden: (D + E + 2, H), from the label's and the epoch's embedding and the two cells.
      hidden_bias: (H,).
      output: (H,).
    """

    labels: jax.Array
    epochs: jax.Array
    kernel: jax.Array
    bias: jax.Array
    hidden: jax.Array
    hidden_bias: jax.Array
    output: jax.Array


def check_params(params: MentorNetParams) -> None:
    """Raises ValueError if an array has no shape that goes with the others'."""
    if not isinstance(params, MentorNetParams):
        raise ValueError(f"params: expected MentorNetParams, got {type(params).__name__}")
    shapes = {name: jnp.shape(value) for name, value in params._asdict().items()}
    rows, of_label = (*shapes["labels"], 1, 1)[:2]  # of too few axes, which are refused below
    of_epoch, hidden = (*shapes["epochs"], 1, 1)[1], (*shapes["hidden_bias"], 1)[0]
    wanted = {
        "labels": (max(rows, 1), of_label), "epochs": (PARTS, of_epoch),
        "kernel": (2, 4), "bias": (4,), "hidden": (of_label + of_epoch + 2, hidden),
        "hidden_bias": (hidden,), "output": (hidden,),
    }  # fmt: skip
    for name, shape in wanted.items():
        if shapes[name] != shape:
            raise ValueError(f"params: expected {name} of shape {shape}, got {shapes[name]}")


def mentornet_logits(
    params: MentorNetParams,
    losses: jax.Array,
    differences: jax.Array,
    labels: jax.Array,
    percents: jax.Array,
) -> jax.Array:
    """MentorNet's network, before the sigmoid that makes a weight of its output.

        i, j   = sigmoid(x W + b), tanh(x W + b)      x = (loss, difference); forward and backward
        cells  = i j                                  of an LSTM with one unit each, after one step
        logits = output . tanh(hidden (label embedding, epoch embedding, cells) + hidden bias)

    The LSTM has one step, as in the official code: there its other gates and its recurrent weights
    have no part in the cells, so that `params` has none.

    Args:
      params: the weights.
      losses: real, of any shape. An infinite one counts as 1e6.
      differences: of that shape, what each loss is above the moving percentile.
      labels: integers of that shape; 0 if `params` has one row for all.
      percents: integers of that shape, how far the run is, from 0 to 99.

    Returns:
      Real numbers of that shape.

    Reference: as of `learned_mentornet`.
    """
    shape = losses.shape
    inputs = jnp.stack([losses, differences], axis=-1).reshape(-1, 2)
    inputs = jnp.clip(inputs, -LARGEST, LARGEST)
    gates, candidates = jnp.split(inputs @ params.kernel + params.bias[None], 2, axis=-1)
    cells = jax.nn.sigmoid(gates) * jnp.tanh(candidates)
    embedded = [params.labels[labels.reshape(-1)], params.epochs[percents.reshape(-1)]]
    features = jnp.concatenate([*embedded, cells], axis=-1)
    hidden = jnp.tanh(features @ params.hidden + params.hidden_bias[None])
    return (hidden @ params.output).reshape(shape)


def learned_mentornet(
    params: MentorNetParams,
    *,
    percentile: ArrayLike | Schedule = 75.0,
    decay: ArrayLike = 0.5,
    burn_in: int = 0,
    percent: ArrayLike | Schedule = 18.0,
) -> LossTransform[MentorNetState]:
    """The learned MentorNet weighs each loss by a small network that has seen right and wrong ones.

        lambda_1 <- decay lambda_1 + (1 - decay) percentile(losses)
        value = v l,    v = sigmoid(network(l, l - lambda_1, label, percent))        v detached

    During the burn-in every weight is 1, while lambda_1 already follows the losses.

    The network is trained beforehand: as a classifier of labels that are known to be right or
    wrong, by the losses that a run without weights had for them ("MentorNet DD"). With one row of
    label embeddings it can be used where classes are others; else it needs `labels`.

    The official MentorNet DD differs from this in six ways. It drops examples at random (half of
    them in the first 17 of 100 parts, then 5 %) and scales weight decay by the mean weight, both
    of which are left out here. It starts lambda_1 at 0 and takes the nearest rank, where this
    starts at the first percentile and interpolates. With a burn-in of 18 parts, its weights begin
    in part 17, whose embedding it has not learnt, and here in part 18. Its label embedding has two
    rows, of which it uses the first.

    Args:
      params: the network's weights, of which the label embedding says how many classes there are.
      percentile: number in [0, 100], or a schedule of the step. The official commands have 80, 60
        and 50 for 20, 40 and 80 % of wrong labels, under a misspelt flag; without it, it is 70.
      decay: weight of the old lambda_1, in [0, 1); the official runs have 0.5.
      burn_in: number of first updates in which every weight is 1, an integer >= 0.
      percent: how far the run is, in [0, 100], or a schedule of the step; rounded down, at most
        99. The official runs of MentorNet DD stay at the end of the burn-in, 18, from there on.

    Returns:
      A `LossTransform` whose state is a `MentorNetState`.

    Raises:
      ValueError: if a number is out of range, or shapes of `params` do not fit each other.

    >>> import jax.numpy as jnp
    >>> from superloss_jax.curricula import MentorNetParams
    >>> above = jnp.array([[0.0, 0, 0, 0], [0, 0, 1, 1]])  # cells: how far above lambda_1
    >>> cells = jnp.zeros((9, 1)).at[7:].set(1.0)
    >>> params = MentorNetParams(jnp.zeros((1, 2)), jnp.zeros((100, 5)), above, jnp.zeros(4),
    ...                          cells, jnp.zeros(1), jnp.array([-5.0]))
    >>> transform = learned_mentornet(params, percentile=50.0)
    >>> values, state = transform.update(jnp.array([1.0, 2.0, 9.0]), transform.init())
    >>> print(values.round(1), state.first)
    [1.  1.  0.2] 2.0

    Reference: Lu Jiang, Zhengyuan Zhou, Thomas Leung, Li-Jia Li, Li Fei-Fei, "MentorNet: Learning
    Data-Driven Curriculum for Very Deep Neural Networks on Corrupted Labels", ICML 2018.
    """
    check_params(params)
    rank = as_schedule("percentile", percentile, PERCENT)
    decay = check_number("decay", decay, ZERO_TO_BELOW_ONE)
    burn_in = check_integer("burn_in", burn_in, least=0)
    reached = as_schedule("percent", percent, PERCENT)
    classes = len(params.labels)

    def init():
        first = jnp.zeros((), jnp.result_type(float))
        return MentorNetState(first, batches=jnp.int32(0), step=jnp.int32(0))

    def step(batch: Batch, state: MentorNetState, labels: jax.Array | None = None):
        losses = batch.losses.astype(compute_dtype(batch.losses.dtype, state.first.dtype))
        current, n = percentile_of(losses, batch.where, rank(state.step))
        new = follow(state, current, n, decay)
        plain = lax.stop_gradient(losses)
        part = jnp.clip(jnp.asarray(reached(state.step)), 0, PARTS - 1).astype(jnp.int32)
        logits = mentornet_logits(
            MentorNetParams(*(jnp.asarray(value, losses.dtype) for value in params)),
            plain,
            plain - new.first.astype(losses.dtype),
            jnp.zeros(losses.shape, jnp.int32) if labels is None else labels,
            jnp.broadcast_to(part, losses.shape),
        )
        v = lax.stop_gradient(jax.nn.sigmoid(logits))
        return jnp.where(state.step < burn_in, losses, v * losses), new

    needs = {"labels": classes} if classes > 1 else None
    return make_transform("learned_mentornet", init, step, needs)
