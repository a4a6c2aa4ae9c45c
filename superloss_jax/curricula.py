"""Curricula: how much each example weighs, by its loss and the state of training.

Where a method picks weights by minimising an objective over them, the value returned is that
minimum, so that its derivative by the loss is the weight itself.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike

from superloss_jax import _examples
from superloss_jax._base import (
    LossTransform,
    Schedule,
    checked,
    open_batch,
    scheduled,
    whole_number,
)
from superloss_jax._data_parameters import (
    DataParameters,
    DataParametersState,
    data_parameters,
    instance_weights,
)
from superloss_jax._superloss import check_threshold, checked_lam, closed_form, tau_of_each
from superloss_jax._thresholds import SuperLossState, Threshold, ema

__all__ = [
    "DataParameters",
    "DataParametersState",
    "MentorNetState",
    "SelfPacedState",
    "TrendState",
    "data_parameters",
    "instance_weights",
    "mentornet",
    "self_paced",
    "trend_superloss",
]


def _next(step):
    return jnp.minimum(step, jnp.iinfo(step.dtype).max - 1) + 1


def _objective(distance, weight, ramp):
    """weight * (distance - ramp) + ramp * weight**2 / 2 at the weight that minimises it.

    There the derivative by the weight is 0: it is held constant. An infinite loss of weight 0
    gives 0, a NaN stays.
    """
    weight = lax.stop_gradient(weight)
    kept = jnp.where(weight == 0, 0, distance)
    return weight * (kept - ramp + 0.5 * ramp * weight)


class SelfPacedState(NamedTuple):
    """What self-paced learning carries: `step`, int32 scalar, the number of updates so far."""

    step: jax.Array


def self_paced(*, threshold: ArrayLike | Schedule, weights: str = "hard") -> LossTransform:
    """Self-paced learning: easy samples first, and harder ones as the threshold K grows.

        hard    min over v in {0, 1} of    v l - K v                = min(l - K, 0)
        linear  min over 0 <= v <= 1 of    v l + K (v**2 / 2 - v)   = -K/2 max(0, 1 - l/K)**2

    The derivative by the loss is v: hard, 1 for `l < K` and else 0; linear, `1 - l / K` between 0
    and 1. For K -> infinity the gradient is that of cross entropy. Values are at most 0, as what
    each sample adds to the objective: the hard one is `l - K` where v is 1, so that a K far above
    the losses swallows their digits in the value, though not in the gradient.

    Args:
      threshold: K > 0, in units of the loss: a number, or a schedule of the step, such as
        `optax.exponential_decay(K, epoch, 1.3, staircase=True)`, 1.3 times as much each epoch.
        Kumar et al. write 1/K for it, let half of the samples in at first, and use that factor.
      weights: "hard" (Kumar et al.) or "linear" (Jiang et al.).

    Returns:
      A `LossTransform` whose state is a `SelfPacedState`.

    Raises:
      ValueError: if `threshold` is neither a finite number > 0 nor a schedule, or `weights` is
        unknown.

    >>> import jax.numpy as jnp
    >>> transform = self_paced(threshold=lambda step: 1.0 + 3.0 * step)
    >>> losses, state = jnp.array([0.5, 2.0]), transform.init()
    >>> for _ in range(2):
    ...     values, state = transform.update(losses, state)
    ...     print(values)
    [-0.5  0. ]
    [-3.5 -2. ]

    Reference: M. Pawan Kumar, Benjamin Packer, Daphne Koller, "Self-Paced Learning for Latent
    Variable Models", NeurIPS 2010; Lu Jiang, Deyu Meng, Teruko Mitamura, Alexander Hauptmann,
    "Easy Samples First: Self-paced Reranking for Zero-Example Multimedia Search", ACM MM 2014.
    """
    limit = scheduled("threshold", threshold, "a number > 0", lambda x: 0 < x < float("inf"))
    if weights not in ("hard", "linear"):
        raise ValueError(f"weights: expected hard or linear, got {weights!r}")

    def update(losses, state: SelfPacedState, *, where=None, **extra):
        batch = open_batch("self_paced", (), losses, where, extra)
        K = limit(state.step)
        if weights == "hard":
            weight = jnp.where(batch.losses >= K, 0, 1)
            values = _objective(batch.losses - K, weight, 0)
        else:
            weight = jnp.clip(1 - batch.losses / K, 0, 1)
            values = _objective(batch.losses, weight, K)
        return batch.finished(values), SelfPacedState(_next(state.step))

    return LossTransform(lambda: SelfPacedState(jnp.array(0, jnp.int32)), update)


class MentorNetState(NamedTuple):
    """What MentorNet's predefined curriculum carries.

    Attributes:
      first: scalar, lambda_1, the moving average that the last batch was compared with.
      batches: int32 scalar, the number of batches that entered it.
      step: int32 scalar, the number of updates so far.
    """

    first: jax.Array
    batches: jax.Array
    step: jax.Array


def _percentile(batch, percentile):
    """The linearly interpolated percentile of finite, unmasked losses, and their number."""
    losses = lax.stop_gradient(batch.losses).reshape(-1)
    counted = batch.where.reshape(-1) & jnp.isfinite(losses)
    n = jnp.sum(counted, dtype=jnp.int32)
    ordered = jnp.sort(jnp.where(counted, losses, jnp.inf))  # what does not count comes last
    ordered = jnp.where(jnp.arange(losses.size) < n, ordered, 0)
    rank = jnp.maximum(n - 1, 0).astype(losses.dtype) * (percentile / 100)
    below, above = jnp.floor(rank).astype(jnp.int32), jnp.ceil(rank).astype(jnp.int32)
    # In this form, the percentile of equal losses is that loss to the last bit: all are kept.
    return ordered[below] + (rank - below) * (ordered[above] - ordered[below]), n


def mentornet(
    *,
    percentile: ArrayLike | Schedule = 75.0,
    decay: ArrayLike = 0.5,
    second: ArrayLike | Schedule = 0.0,
    burn_in: int = 0,
) -> LossTransform:
    """MentorNet's predefined curriculum: self-paced, with a threshold that follows the losses.

        lambda_1 <- decay lambda_1 + (1 - decay) percentile(losses)        detached
        value = min over 0 <= v <= 1 of v (l - lambda_1 - lambda_2) + lambda_2 v**2 / 2

    The derivative by the loss is v: 1 for `l <= lambda_1` and else 0 if lambda_2 = 0, and
    otherwise `1 - (l - lambda_1) / lambda_2` between 0 and 1. During the burn-in every weight is 1
    and the loss is returned as it is: it is cross entropy, while lambda_1 follows already.

    The official MentorNet PD is a network trained to imitate these weights, with a burn-in of 19 of
    100 parts, lambda_2 = 0, and 1 in the last ten parts. It also drops examples at random (half in
    the first 17 parts, then 5 %) and scales weight decay by the mean weight, which is not done
    here; starts lambda_1 at 0 and takes the nearest rank, where this starts at the first percentile
    and interpolates; and returns `v l`, which has the same gradient.

    Args:
      percentile: in [0, 100], or a schedule of the step. The official runs have 75 for 20 % and
        40 % of wrong labels, 50 for 80 %.
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
    wanted = scheduled("percentile", percentile, "a number in [0, 100]", lambda x: 0 <= x <= 100)
    decay = checked("decay", decay, "a number in [0, 1)", lambda x: 0 <= x < 1)
    ramp = scheduled("second", second, "a finite number >= 0", lambda x: 0 <= x < float("inf"))
    burn_in = whole_number("burn_in", burn_in, least=0)

    def init():
        first = jnp.zeros((), jnp.result_type(float))
        return MentorNetState(first, jnp.array(0, jnp.int32), jnp.array(0, jnp.int32))

    def update(losses, state: MentorNetState, *, where=None, **extra):
        batch = open_batch("mentornet", (), losses, where, extra)
        current, n = _percentile(batch, wanted(state.step))
        first = state.first + (1 - decay) * (current - state.first)
        first = jnp.where(state.batches == 0, current, first)
        first = jnp.where(n == 0, state.first, first).astype(state.first.dtype)
        batches = jnp.where(n == 0, state.batches, _next(state.batches))

        second = jnp.asarray(ramp(state.step))
        distance = batch.losses - first
        linear = jnp.clip(1 - distance / jnp.where(second > 0, second, 1), 0, 1)
        weight = jnp.where(second > 0, linear, jnp.where(distance > 0, 0, 1))
        values = _objective(distance, weight, second)
        values = jnp.where(state.step < burn_in, batch.losses, values)
        return batch.finished(values), MentorNetState(first, batches, _next(state.step))

    return LossTransform(init, update)


class TrendState(NamedTuple):
    """What Trend-SL carries.

    Attributes:
      superloss: the state of the threshold.
      history: each example's last losses, shape (num_examples, window), the newest last; where
        there are fewer, the first fills the rest. Infinite before the first.
    """

    superloss: SuperLossState
    history: jax.Array


def trend_superloss(
    *,
    num_examples: int,
    lam: ArrayLike = 1.0,
    threshold: Threshold = ema(decay=0.9),
    window: int = 10,
    alpha: ArrayLike = 0.7,
) -> LossTransform:
    """Trend-SL: SuperLoss that takes examples whose loss has been rising for harder.

        SL(l) = min over 0 < sigma <= e of (l - tau + alpha trend) * sigma + lam * log(sigma)**2
        trend = (l_t - l_s) / sum of |l_j - l_(j-1)| for j = s+1 to t        detached

    over an example's last `window` losses, l_s to l_t, of which l_t is the current one. The trend
    is 1 if the loss only rose and -1 if it only fell. As in the official code, an example seen for
    the first time rises from 0; a loss that never moved has trend 0. An example that comes twice
    in a batch is seen once, with the mean of both. The derivative by the loss is sigma.

    The official code returns `l sigma` with sigma detached, the same gradient. Its running mean
    divides the sum of losses by the sum of sigma, and leaves the current batch out; `threshold`
    here is that of `superloss`.

    Args:
      num_examples: size of the training set; `index` runs from 0 to num_examples - 1. Beyond it,
        the loss is NaN.
      lam: as in `superloss`; the official default is 10.
      threshold: as in `superloss`.
      window: number of losses that the trend is of, at least 2; the official default is 10.
      alpha: finite, in units of the loss; the official default is 0.7. With 0, `superloss`.

    Returns:
      A `LossTransform` that needs `index`, and whose state is a `TrendState`.

    Raises:
      ValueError: if a number is out of range or `threshold` no Threshold.

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
    num_examples = whole_number("num_examples", num_examples)
    window = whole_number("window", window, least=2)
    lam = checked_lam(lam)
    check_threshold(threshold)
    alpha = checked("alpha", alpha, "a finite number", lambda x: abs(x) < float("inf"))

    def init():
        history = jnp.full((num_examples, window), jnp.inf, jnp.result_type(float))
        return TrendState(threshold.init(), history)

    def update(losses, state: TrendState, *, where=None, **extra):
        batch = open_batch("trend_superloss", ("index",), losses, where, extra)
        below = threshold.update(batch.losses, state.superloss, where=batch.where, **extra)
        current = _examples.mean_over_repeats(lax.stop_gradient(batch.losses), batch)
        past = _examples.read(state.history, batch)
        trend, rows = _trend(past, current)
        tau = tau_of_each(batch.losses, below, batch.where, extra) - alpha * trend
        values, _ = closed_form(batch.losses, tau, lam)
        history = _examples.write(state.history, batch, rows)
        return batch.finished(values), TrendState(below, history)

    return LossTransform(init, update)


def _trend(past, current):
    """The trend that ends with the current losses, and the examples' new rows of memory."""
    known = jnp.isfinite(current)
    first = jnp.isinf(past[..., -1:])
    before = jnp.where(first, 0, past)
    newest = jnp.where(known, current, before[..., -1])[..., None].astype(before.dtype)
    rows = jnp.concatenate([before[..., 1:], newest], axis=-1)
    path = jnp.sum(jnp.abs(jnp.diff(rows, axis=-1)), axis=-1)
    trend = (rows[..., -1] - rows[..., 0]) / jnp.where(path > 0, path, 1)
    # With its rest filled by the first loss, a row has the trend of what was seen of it.
    rows = jnp.where(first, jnp.broadcast_to(newest, rows.shape), rows)
    return trend, jnp.where(known[..., None], rows, past)
