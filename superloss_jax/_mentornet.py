"""MentorNet's predefined curriculum (Jiang et al., 2018)."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike

from superloss_jax._base import LossTransform, make_transform
from superloss_jax._checks import (
    NOT_NEGATIVE,
    PERCENT,
    ZERO_TO_BELOW_ONE,
    Schedule,
    as_schedule,
    check_integer,
    check_number,
    compute_dtype,
)
from superloss_jax._inputs import Batch
from superloss_jax._self_paced import least_value
from superloss_jax._states import saturating_add


class MentorNetState(NamedTuple):
    """The state of `mentornet` and `learned_mentornet`.

    Attributes:
      first: scalar, lambda_1, the moving average that the last batch was compared with.
      batches: int32 scalar, the number of batches that entered it.
      step: int32 scalar, the number of updates so far.
    """

    first: jax.Array
    batches: jax.Array
    step: jax.Array


def percentile_of(
    losses: jax.Array, where: jax.Array, percentile: ArrayLike
) -> tuple[jax.Array, jax.Array]:
    """Returns the linearly interpolated percentile of finite, unmasked losses, and their number."""
    losses = lax.stop_gradient(losses).reshape(-1)
    counted = where.reshape(-1) & jnp.isfinite(losses)
    n = jnp.sum(counted, dtype=jnp.int32)
    ordered = jnp.sort(jnp.where(counted, losses, jnp.inf))  # what does not count comes last
    ordered = jnp.where(jnp.arange(losses.size, dtype=n.dtype) < n, ordered, 0)
    rank = jnp.maximum(n - 1, 0).astype(losses.dtype) * (
        jnp.asarray(percentile, losses.dtype) / 100
    )
    below, above = (ordered[place(rank).astype(jnp.int32)] for place in (jnp.floor, jnp.ceil))
    # In this form, the percentile of equal losses is that loss to the last bit: all are kept.
    return below + (rank - jnp.floor(rank)) * (above - below), n


def follow(state: MentorNetState, current: jax.Array, n: jax.Array, decay) -> MentorNetState:
    """Returns the state after a batch with this percentile of n losses."""
    first = state.first.astype(current.dtype)
    first = first + (1 - decay) * (current - first)
    first = jnp.where(state.batches == 0, current, first)
    return MentorNetState(
        first=jnp.where(n == 0, state.first, first.astype(state.first.dtype)),
        batches=jnp.where(n == 0, state.batches, saturating_add(state.batches)),
        step=saturating_add(state.step),
    )


def _value(losses: jax.Array, first: jax.Array, second: jax.Array) -> jax.Array:
    """Returns the least value over the weights, for lambda_1 and lambda_2."""
    distance = losses - first
    linear = jnp.clip(1 - distance / jnp.where(second > 0, second, 1), 0, 1)
    weight = jnp.where(second > 0, linear, jnp.where(distance > 0, 0, 1))
    return least_value(distance, weight, second)


def mentornet(
    *,
    percentile: ArrayLike | Schedule = 75.0,
    decay: ArrayLike = 0.5,
    second: ArrayLike | Schedule = 0.0,
    burn_in: int = 0,
) -> LossTransform[MentorNetState]:
    """MentorNet's predefined curriculum is self-paced, with a threshold that follows the losses.

        lambda_1 <- decay lambda_1 + (1 - decay) percentile(losses)        detached
        value = min over 0 <= v <= 1 of v (l - lambda_1 - lambda_2) + lambda_2 v**2 / 2

    The derivative by the loss is v. If lambda_2 = 0, it is 1 for `l <= lambda_1` and 0 otherwise.
    If lambda_2 > 0, it is `1 - (l - lambda_1) / lambda_2`, clipped to [0, 1]. During the burn-in
    every weight is 1 and the value is the loss itself, while lambda_1 already follows the losses.

    The official MentorNet PD is a network trained to imitate these weights. Its burn-in is 19 of
    100 parts, and its lambda_2 is 0, but 1 in the last ten parts. It differs in four ways. It
    drops examples at random (half of them in the first 17 parts, then 5 %) and scales weight decay
    by the mean weight, both of which are left out here. It starts lambda_1 at 0 and takes the
    nearest rank, where this starts at the first percentile and interpolates. And it returns `v l`,
    which has the same gradient.

    Args:
      percentile: number in [0, 100], or a schedule of the step. The official runs have 75 for 20 %
        and 40 % of wrong labels, 50 for 80 %.
      decay: weight of the old lambda_1, in [0, 1); the official runs have 0.5.
      second: lambda_2 >= 0, in units of the loss, or a schedule of the step.
      burn_in: number of first updates in which every weight is 1, an integer >= 0.

    Returns:
      A `LossTransform` whose state is a `MentorNetState`.

    Raises:
      ValueError: if a number is out of range.

    >>> import jax.numpy as jnp
    >>> transform = mentornet(percentile=50.0)
    >>> values, state = transform.update(jnp.array([1.0, 2.0, 9.0]), transform.init())
    >>> print(values, state.first)
    [-1.  0.  0.] 2.0

    Reference: Lu Jiang, Zhengyuan Zhou, Thomas Leung, Li-Jia Li, Li Fei-Fei, "MentorNet: Learning
    Data-Driven Curriculum for Very Deep Neural Networks on Corrupted Labels", ICML 2018.
    """
    rank = as_schedule("percentile", percentile, PERCENT)
    decay = check_number("decay", decay, ZERO_TO_BELOW_ONE)
    ramp = as_schedule("second", second, NOT_NEGATIVE)
    burn_in = check_integer("burn_in", burn_in, least=0)

    def init():
        first = jnp.zeros((), jnp.result_type(float))
        return MentorNetState(first, batches=jnp.int32(0), step=jnp.int32(0))

    def step(batch: Batch, state: MentorNetState):
        losses = batch.losses.astype(compute_dtype(batch.losses.dtype, state.first.dtype))
        current, n = percentile_of(losses, batch.where, rank(state.step))
        new = follow(state, current, n, decay)
        second = jnp.asarray(ramp(state.step), losses.dtype)
        values = _value(losses, new.first.astype(losses.dtype), second)
        return jnp.where(state.step < burn_in, losses, values), new

    return make_transform("mentornet", init, step)
