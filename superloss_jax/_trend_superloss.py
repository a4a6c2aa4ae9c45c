"""Trend-SL, SuperLoss aware of trends (Vakil, Amiri, 2022)."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike

from superloss_jax._base import LossTransform, make_transform
from superloss_jax._checks import FINITE, Schedule, check_integer, check_number
from superloss_jax._examples import mean_over_repeats, write
from superloss_jax._inputs import Batch
from superloss_jax._superloss import check_lam, check_threshold, closed_form, follow, start, step_of
from superloss_jax._thresholds_base import SuperLossState, Threshold


class TrendState(NamedTuple):
    """The state of `trend_superloss`.

    Attributes:
      superloss: the state of the threshold.
      history: (num_examples, window), each example's last losses, the newest last. As long as
        there are fewer than `window`, the first one fills the rest. A row is infinite before the
        example's first visit.
    """

    superloss: SuperLossState
    history: jax.Array


def trend_superloss(
    *,
    num_examples: int,
    lam: ArrayLike | Schedule = 1.0,
    threshold: Threshold | None = None,
    window: int = 10,
    alpha: ArrayLike = 0.7,
) -> LossTransform[TrendState]:
    """Trend-SL is SuperLoss that treats an example whose loss has been rising as harder.

        SL(l) = min over 0 < sigma <= e of (l - tau + alpha trend) * sigma + lam * log(sigma)**2
        trend = (l_t - l_s) / sum of |l_j - l_(j-1)| for j = s+1 to t        detached

    l_s to l_t are an example's last `window` losses, of which l_t is the current one. The trend is
    1 if the loss only rose, -1 if it only fell, and 0 if it never moved. As in the official code,
    the loss of an example seen for the first time has risen from 0. An example that comes twice in
    a batch is seen once, with the mean of both. The derivative by the loss is sigma.

    The official code returns `l sigma` with sigma detached, which has the same gradient. Its
    running mean divides the sum of losses by the sum of sigma, and leaves the current batch out.
    `threshold` here is that of `superloss`.

    Args:
      num_examples: size of the training set. `index` runs from 0 to num_examples - 1; beyond it,
        the loss is NaN.
      lam: as in `superloss`; the official default is 10.
      threshold: as in `superloss`.
      window: number of losses in the trend, at least 2; the official default is 10.
      alpha: finite number, in units of the loss; the official default is 0.7. With 0, this is
        `superloss`.

    Returns:
      A `LossTransform` that needs `index`. Its state is a `TrendState`.

    Raises:
      ValueError: if a number is out of range or `threshold` is no Threshold.

    >>> import jax.numpy as jnp
    >>> from superloss_jax import constant
    >>> transform = trend_superloss(num_examples=2, threshold=constant(1.0), alpha=0.5)
    >>> state, index = transform.init(), jnp.array([0, 1])
    >>> _, state = transform.update(jnp.array([0.5, 1.5]), state, index=index)
    >>> values, _ = transform.update(jnp.array([1.0, 1.0]), state, index=index)
    >>> print([f"{value:.2f}" for value in values])  # rising, and falling
    ['0.45', '-0.59']

    Reference: Nidhi Vakil, Hadi Amiri, "Generic and Trend-aware Curriculum Learning for Relation
    Extraction", NAACL 2022.
    """
    num_examples = check_integer("num_examples", num_examples)
    window = check_integer("window", window, least=2)
    lam_at = check_lam(lam)
    threshold = check_threshold(threshold)
    alpha = check_number("alpha", alpha, FINITE)

    def init():
        history = jnp.full((num_examples, window), jnp.inf, jnp.result_type(float))
        return TrendState(start(threshold, lam), history)

    def step(batch: Batch, state: TrendState, **inputs: jax.Array):
        index = inputs["index"]
        below, tau = follow(threshold, batch, state.superloss, None, inputs)
        current = mean_over_repeats(lax.stop_gradient(batch.losses), index, batch.where)
        trend, rows = _trend(state.history[index], current)
        values, _ = closed_form(
            batch.losses, tau - alpha * trend.astype(tau.dtype), lam_at(step_of(state.superloss))
        )
        history = write(state.history, index, batch.where, rows)
        return values, TrendState(below, history)

    needs = {**threshold.needs, "index": num_examples}
    return make_transform("trend_superloss", init, step, needs)


def _trend(past: jax.Array, current: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns the trend that ends with the current losses, and the examples' new rows."""
    known = jnp.isfinite(current)
    first = jnp.isinf(past[..., -1:])
    before = jnp.where(first, 0, past)
    newest = jnp.where(known, current.astype(before.dtype), before[..., -1])[..., None]
    rows = jnp.concatenate([before[..., 1:], newest], axis=-1)
    path = jnp.sum(jnp.abs(jnp.diff(rows, axis=-1)), axis=-1)
    trend = (rows[..., -1] - rows[..., 0]) / jnp.where(path > 0, path, 1)
    # Filled up with the first loss, a row has the trend of the losses that were seen.
    rows = jnp.where(first, jnp.broadcast_to(newest, rows.shape), rows)
    return trend, jnp.where(known[..., None], rows, past)
