"""Where the threshold tau comes from: a constant, or a mean of the losses so far.

The mean is over all losses, over a window, a moving average, or a moving average of each class.
All follow one convention. tau is computed from detached losses, *before* the losses of the batch
are weighted with it. Positions masked by `where` and losses that are not finite never enter. A
batch with nothing to count, or whose sum overflows, leaves the state as it was.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike

from superloss_jax._checks import (
    FINITE,
    ZERO_TO_BELOW_ONE,
    check_integer,
    check_number,
    compute_dtype,
)
from superloss_jax._inputs import Batch
from superloss_jax._states import saturating_add
from superloss_jax._thresholds_base import SuperLossState, Threshold, make_threshold


def _start(tau: ArrayLike = 0.0) -> SuperLossState:
    """Returns the state before the first batch."""
    # An explicit dtype (float64 under x64) makes the leaf strongly typed, as a scan carry must be.
    # A copy, since a caller may donate the state.
    return SuperLossState(tau=jnp.array(tau, jnp.result_type(float)), count=jnp.int32(0))


def _batch_mean(batch: Batch, axis_name, dtype) -> tuple[jax.Array, jax.Array]:
    """Returns the mean of finite, unmasked losses over all devices, and their number."""
    losses = lax.stop_gradient(batch.losses).astype(compute_dtype(dtype))
    counted = batch.where & jnp.isfinite(losses)
    total = jnp.sum(jnp.where(counted, losses, 0))
    n = jnp.sum(counted, dtype=jnp.int32)
    if axis_name is not None:
        # Shards may hold different numbers of samples, so sum and number are added up apart.
        total, n = lax.psum((total, n), axis_name)
    mean = total / jnp.maximum(n, 1).astype(total.dtype)
    # A sum beyond the range of the dtype says nothing about the mean.
    return mean, jnp.where(jnp.isfinite(mean), n, 0)


def _averaging(
    init: Callable[[], SuperLossState], combine: Callable[..., tuple[jax.Array, Any]]
) -> Threshold:
    """Returns the threshold whose new (tau, memory) is `combine(state, mean, n, new_count)`."""

    def step(batch, state, axis_name):
        mean, n = _batch_mean(batch, axis_name, state.tau.dtype)
        count = saturating_add(state.count, n)
        tau, memory = combine(state, mean, n, count)
        # Each leaf keeps its dtype, and a batch with nothing to count changes nothing.
        return jax.tree.map(
            lambda old, new: jnp.where(n == 0, old, new.astype(old.dtype)),
            state,
            SuperLossState(tau, count, memory),
        )

    return make_threshold(init, step)


def _started(state: SuperLossState, mean: jax.Array, tau: jax.Array) -> jax.Array:
    """Returns the mean for the first batch, and tau for all others."""
    return jnp.where(state.count == 0, mean, tau)


def constant(tau: ArrayLike) -> Threshold:
    """A threshold that never moves, for example log(C) for cross entropy over C classes.

    Args:
      tau: finite scalar, in units of the loss.

    Returns:
      A `Threshold`; its state counts samples and holds `tau`.

    Raises:
      ValueError: if `tau` is not finite.

    >>> import math
    >>> from superloss_jax import constant, superloss
    >>> transform = superloss(lam=1.0, threshold=constant(math.log(10)))
    """
    tau = check_number("tau", tau, FINITE)
    return _averaging(lambda: _start(tau), lambda state, mean, n, count: (state.tau, ()))


def running_mean() -> Threshold:
    """A threshold at the mean of every finite, unmasked loss since the first step.

        tau <- tau + (mean(batch) - tau) * n / (count + n)

    Each batch weighs by its number of samples n, so that a short last batch counts less. The mean
    is never reset.

    Returns:
      A `Threshold`.

    >>> import jax.numpy as jnp
    >>> threshold = running_mean()
    >>> state = threshold.update(jnp.array([1.0, 2.0]), threshold.init())
    >>> state = threshold.update(jnp.array([6.0]), state)
    >>> print(state.tau, state.count)
    3.0 3
    """

    def combine(state, mean, n, count):
        # In the dtype of the mean: a quotient of two int32 is float32, under x64 too.
        share = n.astype(mean.dtype) / jnp.maximum(count, 1).astype(mean.dtype)
        return _started(state, mean, state.tau + (mean - state.tau) * share), ()

    return _averaging(_start, combine)


def ema(decay: ArrayLike = 0.9, *, debias: bool = False) -> Threshold:
    """A threshold at the exponential moving average of batch means.

        tau <- decay * tau + (1 - decay) * mean(batch)       tau = mean(batch) at first

    The average starts at the first batch's mean, as in most published codes. (CurML starts at a
    given tau, and its factor weighs the new batch.) The first batch then keeps the weight decay**t,
    1 / (1 - decay) times what its age alone would give it. With `debias`, as in Adam, each batch
    weighs by its age alone:

        m <- decay * m + (1 - decay) * mean(batch)           m = c = 0 at first
        c <- decay * c + (1 - decay)                         tau = m / c

    Prefer `debias` if the first losses are untypical, as those of an untrained network are or
    those after a restart from other weights. Prefer the default to compare with published numbers.

    Args:
      decay: weight of the old value, in [0, 1). With 0, tau is the mean of the current batch.
      debias: whether batches weigh by age alone. The state's memory is then `(m, c)`.

    Returns:
      A `Threshold`.

    Raises:
      ValueError: if `decay` is outside [0, 1).

    >>> import jax.numpy as jnp
    >>> threshold = ema(decay=0.9)
    >>> state = threshold.update(jnp.array([1.0, 3.0]), threshold.init())
    >>> state = threshold.update(jnp.array([4.0, 8.0]), state)
    >>> print(f"{state.tau:.3f}")  # 0.9 * 2 + 0.1 * 6
    2.400
    >>> threshold = ema(decay=0.9, debias=True)
    >>> state = threshold.update(jnp.array([1.0, 3.0]), threshold.init())
    >>> state = threshold.update(jnp.array([4.0, 8.0]), state)
    >>> print(f"{state.tau:.3f}")  # (0.9 * 2 + 6) / 1.9
    4.105
    """
    decay = check_number("decay", decay, ZERO_TO_BELOW_ONE)

    def combine(state, mean, n, count):
        return _started(state, mean, decay * state.tau + (1 - decay) * mean), ()

    def init_debiased():
        m, c = jnp.zeros((2,), jnp.result_type(float))
        return _start()._replace(memory=(m, c))

    def combine_debiased(state, mean, n, count):
        m, c = state.memory
        m = decay * m + (1 - decay) * mean
        c = decay * c + (1 - decay)
        return m / c, (m, c)

    return _averaging(init_debiased, combine_debiased) if debias else _averaging(_start, combine)


def windowed(size: int) -> Threshold:
    """A threshold at the mean of the finite, unmasked losses of the last `size` batches.

        tau = sum of n_t * mean(batch_t) / sum of n_t        over the last `size` batches t

    It forgets older batches entirely, which a moving average only fades. Each batch weighs by its
    number of samples n_t: if half of it is masked, it counts half. A batch with nothing to count
    takes no place in the window.

    Args:
      size: number of batches, at least 1. With 1, tau is the mean of the current batch.

    Returns:
      A `Threshold`. The state's memory is `(means, counts)`, both of shape (size,), oldest first.

    Raises:
      ValueError: if `size` is no integer >= 1.

    >>> import jax.numpy as jnp
    >>> threshold = windowed(2)
    >>> state = threshold.init()
    >>> for batch in ([9.0], [1.0, 2.0], [6.0]):
    ...     state = threshold.update(jnp.array(batch), state)
    >>> print(state.tau)  # (1 + 2 + 6) / 3
    3.0
    """
    size = check_integer("size", size)

    def init():
        means = jnp.zeros(size, jnp.result_type(float))
        return _start()._replace(memory=(means, jnp.zeros(size, jnp.int32)))

    def combine(state, mean, n, count):
        means, counts = state.memory
        means, counts = jnp.append(means[1:], mean), jnp.append(counts[1:], n)
        # Shares first: their sum is 1, so that large means do not overflow.
        share = counts.astype(means.dtype) / jnp.maximum(jnp.sum(counts), 1).astype(means.dtype)
        return jnp.sum(share * means), (means, counts)

    return _averaging(init, combine)


def per_class(num_classes: int, decay: ArrayLike = 0.9) -> Threshold:
    """A threshold for each class, at the exponential moving average of the losses of that class.

        tau[c] <- decay * tau[c] + (1 - decay) * mean(losses of class c in the batch)

    Examples are then compared with others of their class, and a class that is hard as a whole does
    not fade. Each class starts at the mean of its first batch. A class that is absent from a batch
    keeps its tau, and a class never seen has 0. `update` needs `labels`.

    Args:
      num_classes: C, at least 1.
      decay: weight of the old value, in [0, 1).

    Returns:
      A `Threshold` whose tau has shape (C,). The state's memory counts the samples of each class.
      A label outside 0 to C - 1 enters no class, and the SuperLoss of that example is NaN.

    Raises:
      ValueError: if `num_classes` is no integer >= 1 or `decay` is outside [0, 1); by `update`,
        if there are no labels.

    >>> import jax.numpy as jnp
    >>> threshold, labels = per_class(3), jnp.array([0, 0, 2])
    >>> state = threshold.update(jnp.array([1.0, 3.0, 4.0]), threshold.init(), labels=labels)
    >>> print(state.tau, state.memory)
    [2. 0. 4.] [2 0 1]
    """
    num_classes = check_integer("num_classes", num_classes)
    decay = check_number("decay", decay, ZERO_TO_BELOW_ONE)

    def init():
        tau = jnp.zeros(num_classes, jnp.result_type(float))
        return SuperLossState(tau, jnp.int32(0), memory=jnp.zeros(num_classes, jnp.int32))

    def step(batch, state, axis_name, *, labels):
        dtype = compute_dtype(state.tau.dtype)
        losses = lax.stop_gradient(batch.losses).astype(dtype)
        counted = batch.where & jnp.isfinite(losses)
        label = jnp.where(counted, labels, num_classes)
        total = jnp.zeros(num_classes, dtype).at[label].add(losses, mode="drop")
        n = jnp.zeros(num_classes, jnp.int32).at[label].add(1, mode="drop")
        if axis_name is not None:
            total, n = lax.psum((total, n), axis_name)
        mean = total / jnp.maximum(n, 1).astype(dtype)
        n = jnp.where(jnp.isfinite(mean), n, 0)
        tau = jnp.where(state.memory == 0, mean, decay * state.tau + (1 - decay) * mean)
        return SuperLossState(
            tau=jnp.where(n == 0, state.tau, tau).astype(state.tau.dtype),
            count=saturating_add(state.count, jnp.sum(n, dtype=n.dtype)),
            memory=saturating_add(state.memory, n),
        )

    return make_threshold(init, step, {"labels": num_classes})
