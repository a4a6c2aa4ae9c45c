"""Co-teaching (Han et al., 2018)."""

from __future__ import annotations

import jax.numpy as jnp
from jax.typing import ArrayLike

from superloss_jax._base import LossTransform, make_transform
from superloss_jax._checks import ABOVE_ZERO_TO_ONE, Schedule, as_schedule
from superloss_jax._inputs import Batch
from superloss_jax._small_losses import for_both, weighted, weights_of_small
from superloss_jax._states import StepState, next_step, start_step


def co_teaching(*, keep: ArrayLike | Schedule) -> LossTransform[StepState]:
    """Co-teaching lets each network learn from the samples of smallest loss to the other.

        m        =  floor(keep(step) * n), at least 1
        L_1[i]   =  loss_1[i] * n / m  if loss_2[i] is among the m smallest of loss_2,  else 0
        L_2[i]   =  loss_2[i] * n / m  if loss_1[i] is among the m smallest of loss_1,  else 0

    n is the number of unmasked samples of the batch. Dropped samples get 0. Kept ones are scaled
    by n / m, so that the mean over n equals the mean over the m kept. A sample that is masked for
    one network is left out for both. Of equal losses the first in the batch is kept; NaN is the
    largest. The selection is detached. With `keep=1` the losses come back unchanged.

    The paper's rate R(t) = 1 - min(t / T_k * tau, tau), where tau is the rate of wrong labels, is
    `optax.linear_schedule(1, 1 - tau, T_k)` with T_k in steps. In the paper and in the official
    code (bhanML/Co-teaching), t counts epochs, and the rate changes between them. The code counts
    from 0 and reaches tau in epoch T_k - 1, one before the paper's:

        keep = lambda step: 1 - tau * jnp.minimum(step // steps_per_epoch / (T_k - 1), 1)

    That code divides the mean over the kept samples by m once more. The paper does not, and
    neither does this. Under Adam the factor hardly matters, under SGD it does.

    Args:
      keep: share of samples to keep, in (0, 1], or a schedule `step -> share`, whose values
        outside the range are clipped. In the paper tau is the noise rate and T_k is 10 epochs.

    Returns:
      A `LossTransform` over losses of shape (2, batch), of any kind. It needs no further input.
      Add the means of the two rows: each network has its own parameters, so the gradient of the
      sum is the gradient of each. The state is a `StepState`.

    Raises:
      ValueError: if `keep` is a number outside (0, 1]; by `update`, if the losses' shape is not
        (2, batch).

    >>> import jax.numpy as jnp
    >>> transform = co_teaching(keep=0.5)
    >>> losses = jnp.array([[0.1, 0.2, 3.0, 4.0], [0.5, 6.0, 0.7, 0.8]])
    >>> values, state = transform.update(losses, transform.init())
    >>> print(values)
    [[ 0.2  0.   6.   0. ]
     [ 1.  12.   0.   0. ]]

    Reference: Bo Han, Quanming Yao, Xingrui Yu, Gang Niu, Miao Xu, Weihua Hu, Ivor Tsang, Masashi
    Sugiyama, "Co-teaching: Robust Training of Deep Neural Networks with Extremely Noisy Labels",
    NeurIPS 2018.
    """
    share = as_schedule("keep", keep, ABOVE_ZERO_TO_ONE)

    def step(batch: Batch, state: StepState):
        both = for_both("co_teaching", batch)
        own = [weights_of_small(row, both, share(state.step)) for row in batch.losses]
        weights = jnp.stack(own[::-1])  # exchanged
        return weighted(weights, batch.losses), next_step(state)

    return make_transform("co_teaching", start_step, step)
