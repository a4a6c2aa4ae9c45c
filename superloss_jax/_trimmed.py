"""The trimmed mean of losses (Rousseeuw, 1984)."""

from __future__ import annotations

from jax.typing import ArrayLike

from superloss_jax._base import LossTransform, make_transform
from superloss_jax._checks import ABOVE_ZERO_TO_ONE, Schedule, as_schedule
from superloss_jax._inputs import Batch
from superloss_jax._small_losses import weighted, weights_of_small
from superloss_jax._states import StepState, next_step, start_step


def trimmed(*, keep: ArrayLike | Schedule) -> LossTransform[StepState]:
    """The trimmed mean learns from the smallest losses of a batch, and drops the others.

        m     =  floor(keep(step) * n), at least 1
        L[i]  =  loss[i] * n / m  if loss[i] is among the m smallest,  else 0

    n is the number of unmasked losses of the batch. Kept ones are scaled by n / m, so that the mean
    over n equals the mean over the m kept. Of equal losses the first in the batch is kept. The
    selection is detached. Of squared residuals this is least trimmed squares, batch by batch. With
    one network, `co_teaching` would be this.

    Args:
      keep: share of losses to keep, in (0, 1], or a schedule `step -> share`, whose values outside
        the range are clipped. A usual choice is 1 minus the share of wrong targets.

    Returns:
      A `LossTransform` of losses of any kind and shape. Its state is a `StepState`.

    Raises:
      ValueError: if `keep` is a number outside (0, 1].

    >>> import jax.numpy as jnp
    >>> transform = trimmed(keep=0.5)
    >>> values, state = transform.update(jnp.array([4.0, 1.0, 0.5, 9.0]), transform.init())
    >>> print(values)
    [0. 2. 1. 0.]

    Reference: Peter Rousseeuw, "Least Median of Squares Regression", Journal of the American
    Statistical Association, 1984. Yanyao Shen, Sujay Sanghavi, "Learning with Bad Training Data
    via Iterative Trimmed Loss Minimization", ICML 2019.
    """
    share = as_schedule("keep", keep, ABOVE_ZERO_TO_ONE)

    def step(batch: Batch, state: StepState):
        flat, where = batch.losses.reshape(-1), batch.where.reshape(-1)
        weights = weights_of_small(flat, where, share(state.step)).reshape(batch.losses.shape)
        return weighted(weights, batch.losses), next_step(state)

    return make_transform("trimmed", start_step, step)
