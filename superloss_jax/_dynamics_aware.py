"""Dynamics-aware loss (Li et al., 2023)."""

from __future__ import annotations

import jax.numpy as jnp
from jax.typing import ArrayLike

from superloss_jax._base import LossTransform, make_transform
from superloss_jax._checks import ABOVE_ONE, ABOVE_ZERO_TO_ONE, check_integer, check_number
from superloss_jax._generalized_cross_entropy import generalized
from superloss_jax._inputs import Batch
from superloss_jax._probabilities import entropy
from superloss_jax._states import StepState, next_step, start_step


def dynamics_aware(
    *, steps: int, q_start: ArrayLike = 0.6, q_end: ArrayLike = 1.5
) -> LossTransform[StepState]:
    """Dynamics-aware loss, DAL, goes from fitting to robustness, and then to easy examples.

        (1 - p^q) / q + lambda H / (q ln K)        p = exp(-l)
        q      = q_start + (q_end - q_start) t     t = step / steps, at most 1
        lambda = max(0, (t - t0) / (1 - t0))       t0: the t at which q is 1
        H      = -sum_k p_k log p_k                K: number of classes

    q rises in time. While it is below 1 the first term is generalised cross entropy. Above 1 it
    favours examples with a large p, and the second term sharpens all predictions.

    The official code changes q once an epoch and not each step, adds 1e-6 to the p in the
    logarithm, and gives no gradient to a p below 1e-6.

    Args:
      steps: number of updates in the whole run, an integer >= 1.
      q_start: q at the first step, in (0, 1]; the authors' is 0.6.
      q_end: q at the end, > 1; the authors' is 1.5.

    Returns:
      A `LossTransform` of cross-entropy losses that needs `logits`. Its state is a `StepState`.

    Raises:
      ValueError: if a number is out of range; by `update`, if there are fewer than two classes.

    >>> transform = dynamics_aware(steps=100, q_start=1.0, q_end=2.0)
    >>> logits, losses = jnp.zeros((1, 2)), jnp.log(jnp.array([2.0]))
    >>> for step in (0, 50):
    ...     state = transform.init()._replace(step=step)
    ...     print(f"{transform.update(losses, state, logits=logits)[0][0]:.3f}")
    0.500
    0.764

    Reference: Xiu-Chuan Li et al., "Dynamics-Aware Loss for Learning with Label Noise", Pattern
    Recognition, 2023.
    """
    steps = check_integer("steps", steps)
    q_start = check_number("q_start", q_start, ABOVE_ZERO_TO_ONE)
    q_end = check_number("q_end", q_end, ABOVE_ONE)
    turn = (1 - q_start) / (q_end - q_start)

    def step(batch: Batch, state: StepState, *, logits):
        if logits.shape[-1] < 2:
            raise ValueError(f"logits: expected at least 2 classes, got {logits.shape}")
        t = jnp.minimum(state.step.astype(logits.dtype) / steps, 1)
        q = q_start + (q_end - q_start) * t
        lam = jnp.maximum((t - turn) / (1 - turn), 0)
        most = jnp.log(jnp.asarray(logits.shape[-1], logits.dtype))
        values = generalized(batch.losses, q=q) + lam * entropy(logits) / (q * most)
        return values, next_step(state)

    return make_transform("dynamics_aware", start_step, step, {"logits": None})
