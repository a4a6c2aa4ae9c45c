"""Remembered SuperLoss: as much memory of each example as is being memorised (this project)."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike

from superloss_jax._base import LossTransform, make_transform
from superloss_jax._checks import (
    ZERO_TO_BELOW_ONE,
    ZERO_TO_ONE,
    Scalar,
    Schedule,
    check_integer,
    check_number,
)
from superloss_jax._examples import mean_over_repeats, write
from superloss_jax._inputs import Batch
from superloss_jax._remembered_state import RememberedState, check_memory, within
from superloss_jax._states import saturating_add
from superloss_jax._superloss import check_lam, closed_form, follow, start, step_of
from superloss_jax._thresholds import ema
from superloss_jax._thresholds_base import SuperLossState


def remembered_superloss(
    *,
    num_examples: int,
    lam: ArrayLike | Schedule = 1.0,
    share: ArrayLike = 0.2,
    decay: ArrayLike = 0.9,
) -> LossTransform[RememberedState]:
    """SuperLoss that remembers each example's losses, as far as labels are being memorised.

        mean <- decay mean + (1 - decay) mean(l)           mean(l) at first         detached
        soft <- decay soft + (1 - decay) softmin(l)        softmin(l) at first      detached
        tau   = (1 - share) soft + share start             start = the first mean(l)
        d_i   = l_i - (1 - g) mean - g (tau - D_i)         D_i detached
        L_i   = min over 0 < sigma <= e^(1 - g) of d_i sigma + lam / (1 + g k_i) log(sigma)^2
        D_i  <- D_i + l_i - tau,   k_i <- k_i + 1          both 0 at first, whatever g is

    softmin(l) is `-s log(mean(exp(-l / s)))` with `s = lam / 4`. D_i is the evidence against
    example i and k_i its number of visits. g is the memory, from 0 to 1:

    - 0: `superloss(lam=lam, threshold=ema(decay))`, bit for bit. A wrong label whose loss stays
      above the mean has some weight on each visit, and the network fits it in the end.
    - 1: sigma, at most 1, is the best one for all of the example's losses so far, and the
      regulariser fades with their number. A label whose loss stays above tau has a bounded total
      weight, however often it comes.

    `init` starts at 0, and `advance` moves g. Call it after each epoch with the losses of held-out
    examples. It raises g while training losses fall below tau more often than held-out ones do,
    and lowers it where they do so less often. A loop that never calls it has plain SuperLoss.

    The derivative by the loss is sigma. Adding a number to all losses leaves sigma as it is, and
    so does multiplying losses and lam by a positive number. An example that comes twice in a batch
    is visited once, with the mean of both. A loss that is not finite enters neither tau nor
    evidence.

    Args:
      num_examples: size of the training set. `index` runs from 0 to num_examples - 1; beyond it,
        the loss is NaN.
      lam: as in `superloss`.
      share: how far tau lies above the soft minimum, as a share of the way to the first mean loss,
        in [0, 1].
      decay: weight of the old mean and of the old soft minimum, in [0, 1).

    Returns:
      A `LossTransform` that needs `index`. Its state is a `RememberedState`. A memory outside
      [0, 1] in a state raises ValueError, or under jit, where it cannot be read, gives NaN.

    Raises:
      ValueError: if a number is out of range; by `update`, if `index` is missing or does not fit.

    >>> import jax.numpy as jnp
    >>> from superloss_jax.memory import advance
    >>> transform = remembered_superloss(num_examples=4)
    >>> index, state = jnp.arange(4), transform.init()
    >>> _, state = transform.update(jnp.array([2.3, 2.3, 2.3, 2.3]), state, index=index)
    >>> for _ in range(20):
    ...     _, state = transform.update(jnp.array([0.1, 0.1, 0.1, 5.0]), state, index=index)
    >>> state = advance(state, jnp.array([0.1, 5.0]))  # three of four fitted, one of two held out
    >>> values, state = transform.update(jnp.array([0.1, 0.1, 0.1, 5.0]), state, index=index)
    >>> print(f"{state.memory:.2f}")
    0.43

    Source: this project; docs/theory.md has what is proved, and docs/methods.md what was measured.
    """
    num_examples = check_integer("num_examples", num_examples)
    lam_at = check_lam(lam)
    share = check_number("share", share, ZERO_TO_ONE)
    decay = check_number("decay", decay, ZERO_TO_BELOW_ONE)
    threshold = ema(decay)

    def init():
        # Each leaf is an array of its own, since a caller may donate the state.
        dtype = jnp.result_type(float)
        return RememberedState(
            superloss=start(threshold, lam),
            tau=jnp.zeros((), dtype),
            start=jnp.zeros((), dtype),
            evidence=jnp.zeros(num_examples, dtype),
            visits=jnp.zeros(num_examples, jnp.int32),
            memory=jnp.zeros((), dtype),
            seen=jnp.zeros((), jnp.int32),
            below=jnp.zeros((), jnp.int32),
            held_out=-jnp.ones((), dtype),
        )

    def step(batch: Batch, state: RememberedState, *, index: jax.Array):
        check_memory(state)
        lam_now = jnp.asarray(lam_at(step_of(state.superloss)), state.tau.dtype)
        superloss, mean = follow(threshold, batch, state.superloss, None, {})
        tau, first = _follow_low(batch, state, superloss, lam_now, share, decay)
        values = _weighed(batch.losses, mean, tau, lam_now, state, index)
        # As long as no batch had a finite mean, there is no tau to compare with.
        batch = batch._replace(where=batch.where & (superloss.count > 0))
        evidence, visits = _record(batch, tau, state, index)
        seen, below = _count(batch, tau, state)
        return values, RememberedState(
            superloss, tau, first, evidence, visits, state.memory, seen, below, state.held_out
        )

    return make_transform("remembered_superloss", init, step, {"index": num_examples})


def _follow_low(
    batch: Batch,
    state: RememberedState,
    superloss: SuperLossState,
    lam: jax.Array,
    share: Scalar,
    decay: Scalar,
) -> tuple[jax.Array, jax.Array]:
    """Returns tau after the batch, and the mean loss of the first batch."""
    dtype = state.tau.dtype
    share, decay = jnp.asarray(share, dtype), jnp.asarray(decay, dtype)
    losses = lax.stop_gradient(batch.losses).astype(dtype)
    counted = batch.where & jnp.isfinite(losses)
    lowest = jnp.min(jnp.where(counted, losses, jnp.inf))
    any_counted = jnp.isfinite(lowest)
    lowest = jnp.where(any_counted, lowest, 0)
    # By expm1 and log1p, so that it is the mean where lam is large, and no exponential overflows.
    fall = jnp.expm1(-4 * ((jnp.where(counted, losses, lowest) - lowest) / lam))
    number = jnp.maximum(jnp.sum(counted, dtype=dtype), 1)
    softmin = lowest - 0.25 * lam * jnp.log1p(jnp.sum(fall) / number)
    first_batch = state.superloss.count == 0
    first = jnp.where(first_batch, superloss.tau, state.start)
    # tau is linear in softmin, so that it can be averaged in its place.
    low = (1 - share) * softmin + share * first
    tau = jnp.where(first_batch, low, decay * state.tau + (1 - decay) * low)
    return jnp.where(any_counted, tau, state.tau), jnp.where(any_counted, first, state.start)


def _weighed(
    losses: jax.Array,
    mean: jax.Array,
    tau: jax.Array,
    lam: jax.Array,
    state: RememberedState,
    index: jax.Array,
) -> jax.Array:
    """Returns the minimum over sigma for each loss."""
    g = within(state.memory)
    visits = state.visits[index].astype(g.dtype)
    lam = (lam / (1 + g * visits)).astype(losses.dtype)
    zero = ((1 - g) * mean + g * (tau - state.evidence[index])).astype(losses.dtype)
    values, sigma = closed_form(losses, zero, lam)
    g = g.astype(losses.dtype)
    bound = jnp.exp(1 - g)
    bounded = (losses - zero) * bound + lam * (1 - g) ** 2
    # Without memory the bound is e, which is closed_form's own: kept to the bit.
    return jnp.where((g > 0) & (sigma > bound), bounded, values)


def _record(
    batch: Batch, tau: jax.Array, state: RememberedState, index: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Returns the examples' evidence and visits after the batch."""
    losses = lax.stop_gradient(batch.losses)
    finite = batch.where & jnp.isfinite(losses)
    losses = mean_over_repeats(jnp.where(finite, losses, 0), index, finite)
    rows = state.evidence[index] + losses.astype(tau.dtype) - tau
    known = finite & jnp.isfinite(rows)
    evidence = write(state.evidence, index, known, rows)
    return evidence, write(state.visits, index, known, saturating_add(state.visits[index]))


def _count(batch: Batch, tau: jax.Array, state: RememberedState) -> tuple[jax.Array, jax.Array]:
    """Returns how many losses were seen since the last `advance`, and how many below tau."""
    counted = batch.where & ~jnp.isnan(batch.losses)
    below = counted & (batch.losses.astype(tau.dtype) < tau)
    n, n_below = (jnp.sum(one, dtype=jnp.int32) for one in (counted, below))
    full = state.seen > jnp.iinfo(jnp.int32).max - n  # then the share so far stays
    return (
        jnp.where(full, state.seen, state.seen + n),
        jnp.where(full, state.below, state.below + n_below),
    )
