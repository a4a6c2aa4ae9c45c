"""Optimized gradient clipping (Ye et al., 2025)."""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike

from superloss_jax._base import LossTransform, make_transform
from superloss_jax._checks import NOT_NEGATIVE, Schedule, as_schedule, check_integer, check_number
from superloss_jax._inputs import Batch
from superloss_jax._states import saturating_add
from superloss_jax._two_gaussians import fit_two_gaussians

# The official code's: probabilities, where the expectations are computed, and of the bisection.
_P_MIN, _P_MAX = 1e-7, 1 - 1e-7
_LEAST, _MOST = -math.log(_P_MAX), -math.log(_P_MIN)
_POINTS, _HALVINGS, _TOLERANCE = 1000, 10, 1e-7


class OptimizedClippingState(NamedTuple):
    """The state of `optimized_clipping`.

    Attributes:
      losses: (size,), the last losses, in a ring that starts anew at its first place.
      number: int32 scalar, the number of losses so far. It stays at 2**31 - 1.
      place: int32 scalar, where the next loss goes.
      log_t: scalar, log T, above which a loss is clipped.
      step: int32 scalar, the number of updates so far. It stays at 2**31 - 1.
    """

    losses: jax.Array
    number: jax.Array
    place: jax.Array
    log_t: jax.Array
    step: jax.Array


def _gradient_ratio(log_t, log_density, points) -> jax.Array:
    """Returns the mean clipped gradient of wrong labels, over that of right ones."""
    gradients = jnp.exp(jnp.minimum(points, log_t))  # by p: 1 / p, at most T
    # Of normalised shares, so that where the densities are truncated does not matter.
    right, wrong = jax.nn.softmax(log_density, axis=-1) @ gradients
    return wrong / right


def _threshold(losses: jax.Array, wanted: ArrayLike) -> jax.Array:
    """Returns log T for which the ratio of clipped gradients is as wanted, by bisection."""
    _, means, variances = fit_two_gaussians(losses, rounds=10)
    points = jnp.linspace(_LEAST, _MOST, _POINTS, dtype=losses.dtype)
    log_density = -0.5 * (points[None] - means[:, None]) ** 2 / variances[:, None]

    def excess(p):
        return wanted - _gradient_ratio(-jnp.log(p), log_density, points)

    def halve(_, carry):
        low, high, found = carry
        middle = (low + high) / 2
        over = excess(middle)
        found = jnp.where((found == 0) & (jnp.abs(over) < _TOLERANCE), middle, found)
        return jnp.where(over > 0, low, middle), jnp.where(over > 0, middle, high), found

    low, high = (jnp.asarray(p, losses.dtype) for p in (_P_MIN, _P_MAX))
    start = (low, high, jnp.zeros_like(low))
    _, last, found = lax.fori_loop(0, _HALVINGS, halve, start)
    p = jnp.where(found > 0, found, last)
    p = jnp.where(excess(low) > 0, low, p)
    return -jnp.log(jnp.where(excess(high) < 0, high, p))


def _remember(state: OptimizedClippingState, batch: Batch, size: int) -> OptimizedClippingState:
    """Returns the state with the batch's losses in place of the oldest."""
    flat, where = batch.losses.reshape(-1), batch.where.reshape(-1)
    counts = where & ~jnp.isnan(flat)
    number = jnp.sum(counts, dtype=jnp.int32)
    # Sorted, so that the state does not depend on the order of the batch; those left out are last.
    entering = jnp.sort(jnp.where(counts, jnp.clip(flat, _LEAST, _MOST), jnp.inf))
    rank = jnp.arange(flat.size, dtype=jnp.int32)
    place = jnp.where(rank < number, (state.place + rank) % size, size)
    written = state.losses.at[place].set(entering.astype(state.losses.dtype), mode="drop")
    return state._replace(
        losses=written,
        number=saturating_add(state.number, number),
        place=(state.place + number) % size,
        step=saturating_add(state.step),
    )


def optimized_clipping(
    *,
    learning_rate: ArrayLike | Schedule,
    epsilon: ArrayLike = 20.0,
    interval: int = 32,
    size: int = 4096,
) -> LossTransform[OptimizedClippingState]:
    """Optimized gradient clipping, OGC-CE, bounds the gradient by p at a T that it adapts.

        l                       where p > 1 / T        p = exp(-l)
        1 - T p + log T         elsewhere              dL/dl = T p

    Every `interval` steps, two Gaussians are fitted to the last `size` losses. The one of the
    smaller mean stands for right labels. T is where

        mean of min(1 / p, T) over wrong labels = (1 + r epsilon) times that over right ones

    r is the learning rate, so that T falls with it. Before `size` losses have been seen T is 1e7.

    This follows the official code (Virusdoll/OGC): at most ten rounds of expectation maximisation,
    1000 losses for the means, and ten halvings of p in [1e-7, 1 - 1e-7], so that T stays 1e7 or is
    at most 1024. The code starts the fit at a random two-means clustering. Here it is the best
    one, found by sorting. The code gives no gradient to a p below 1e-7.

    Args:
      learning_rate: r, a number >= 0 or a schedule `step -> r`.
      epsilon: number >= 0; the authors' for CIFAR-10 is 20.
      interval: number of steps from one fit to the next, an integer >= 1.
      size: number of losses that are remembered, at least as many as in a batch.

    Returns:
      A `LossTransform` of cross-entropy losses. Its state is an `OptimizedClippingState`.

    Raises:
      ValueError: if a number is out of range; by `update`, if a batch has more than `size` losses.

    >>> transform = optimized_clipping(learning_rate=0.1, epsilon=1.0, interval=1, size=4)
    >>> losses = jnp.array([0.1, 0.2, 3.0, 4.0])
    >>> values, state = transform.update(losses, transform.init())
    >>> print([f"{value:.2f}" for value in values], f"{jnp.exp(state.log_t):.2f}")
    ['0.10', '0.20', '1.18', '1.22'] 1.28

    Reference: Xichen Ye, Yifan Wu, Weizhong Zhang, Xiaoqiang Li, Yifan Chen, Cheng Jin,
    "Optimized Gradient Clipping for Noisy Label Learning", AAAI 2025.
    """
    rate = as_schedule("learning_rate", learning_rate, NOT_NEGATIVE)
    epsilon = check_number("epsilon", epsilon, NOT_NEGATIVE)
    interval, size = check_integer("interval", interval), check_integer("size", size)

    def init():
        return OptimizedClippingState(
            losses=jnp.zeros(size, jnp.result_type(float)),
            number=jnp.int32(0),
            place=jnp.int32(0),
            log_t=jnp.asarray(_MOST, jnp.result_type(float)),
            step=jnp.int32(0),
        )

    def step(batch: Batch, state: OptimizedClippingState):
        if batch.losses.size > size:
            said = f"expected at least the {batch.losses.size} losses of a batch, got {size}"
            raise ValueError(f"size: optimized_clipping {said}")
        wanted = jnp.asarray(1 + rate(state.step) * epsilon, state.losses.dtype)
        known = lax.stop_gradient(batch.losses)
        state = _remember(state, batch._replace(losses=known), size)
        due = (state.step % interval == 0) & (state.number >= size)
        log_t = lax.cond(due, lambda: _threshold(state.losses, wanted), lambda: state.log_t).astype(
            state.log_t.dtype
        )
        limit = log_t.astype(batch.losses.dtype)
        large = batch.losses >= limit
        clipped = 1 - jnp.exp(limit - jnp.where(large, batch.losses, limit)) + limit
        values = jnp.where(large, clipped, batch.losses)
        return values, state._replace(log_t=log_t)

    return make_transform("optimized_clipping", init, step)
