"""Self-paced learning (Kumar et al., 2010; Jiang et al., 2014)."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike

from superloss_jax._base import LossTransform, make_transform
from superloss_jax._checks import POSITIVE, Schedule, as_schedule
from superloss_jax._inputs import Batch
from superloss_jax._states import StepState, next_step, start_step


def least_value(distance: jax.Array, weight: jax.Array, ramp: ArrayLike) -> jax.Array:
    """Returns weight * (distance - ramp) + ramp * weight**2 / 2 at the weight that minimises it.

    There the derivative by the weight is 0, so the weight is held constant, and the derivative by
    the distance is the weight. An infinite distance of weight 0 gives 0, and NaN stays NaN.
    """
    weight = lax.stop_gradient(weight)
    kept = jnp.where(weight == 0, 0, distance)
    return weight * (kept - ramp + 0.5 * ramp * weight)


def _hard(losses: jax.Array, *, threshold: ArrayLike) -> jax.Array:
    """Returns the least value over weights of 0 and 1."""
    return least_value(losses - threshold, jnp.where(losses >= threshold, 0, 1), 0)


def _linear(losses: jax.Array, *, threshold: ArrayLike) -> jax.Array:
    """Returns the least value over weights between 0 and 1."""
    return least_value(losses, jnp.clip(1 - losses / threshold, 0, 1), threshold)


def self_paced(
    *, threshold: ArrayLike | Schedule, weights: str = "hard"
) -> LossTransform[StepState]:
    """Self-paced learning takes easy samples first, and harder ones as the threshold K grows.

        hard    min over v in {0, 1} of    v l - K v                = min(l - K, 0)
        linear  min over 0 <= v <= 1 of    v l + K (v**2 / 2 - v)   = -K/2 max(0, 1 - l/K)**2

    The derivative by the loss is v. In the hard form it is 1 for `l < K` and 0 otherwise. In the
    linear form it is `1 - l / K`, clipped to [0, 1]. For K -> infinity the gradient is that of
    cross entropy.

    The value is what a sample adds to the objective, at most 0. Where v is 1, the hard value is
    `l - K`: a K far above the losses swallows their digits in the value, but not in the gradient.

    Args:
      threshold: K > 0, in units of the loss: a number or a schedule of the step. For example,
        `optax.exponential_decay(K, epoch, 1.3, staircase=True)` multiplies K by 1.3 every epoch.
        Kumar et al. write 1/K for it, let half of the samples in at first, and use that factor.
      weights: "hard" (Kumar et al.) or "linear" (Jiang et al.).

    Returns:
      A `LossTransform` whose state is a `StepState`.

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
    limit = as_schedule("threshold", threshold, POSITIVE)
    forms = {"hard": _hard, "linear": _linear}
    if weights not in forms:
        raise ValueError(f"weights: expected hard or linear, got {weights!r}")
    form = forms[weights]

    def step(batch: Batch, state: StepState):
        threshold = jnp.asarray(limit(state.step), batch.losses.dtype)
        return form(batch.losses, threshold=threshold), next_step(state)

    return make_transform("self_paced", start_step, step)
