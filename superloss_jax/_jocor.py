"""JoCoR (Wei et al., 2020)."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from superloss_jax._base import LossTransform, make_transform
from superloss_jax._checks import (
    ABOVE_ZERO_TO_ONE,
    ZERO_TO_ONE,
    Schedule,
    as_schedule,
    check_number,
)
from superloss_jax._inputs import Batch
from superloss_jax._probabilities import times
from superloss_jax._small_losses import for_both, weighted, weights_of_small
from superloss_jax._states import StepState, next_step, start_step


def jocor(*, keep: ArrayLike | Schedule, lam: ArrayLike = 0.9) -> LossTransform[StepState]:
    """JoCoR trains two networks on the smallest samples of a shared loss that pulls them together.

        J        =  KL(p_1 || p_2) + KL(p_2 || p_1)
        joint    =  (1 - lam) * (loss_1 + loss_2) + lam * J
        m        =  floor(keep(step) * n), at least 1
        L_k[i]   =  ((1 - lam) * loss_k[i] + lam * J[i] / 2) * n / m
                    if joint[i] is among the m smallest,  else 0

    Losses are cross entropies, and p_k is the softmax of network k's logits. n is the number of
    unmasked samples of the batch. Dropped samples get 0. Kept ones are scaled by n / m, so that
    the mean over n equals the mean over the m kept. A sample that is masked for one network is
    left out for both. Of equal losses the first in the batch is kept; NaN is the largest. The
    selection is detached, and the gradient of J reaches both networks. With `keep=1` and `lam=0`
    the losses come back unchanged.

    Args:
      keep: share of samples to keep, in (0, 1], or a schedule `step -> share`, whose values
        outside the range are clipped; `co_teaching` has the paper's schedule. In the official code
        tau is the noise rate, or half of it for asymmetric noise, and T_k is 10 epochs.
      lam: weight of the agreement, in [0, 1]. The authors' best for CIFAR-10 is 0.9, and 0.65 with
        80 % noise; 0.85 for CIFAR-100. (Their program's default is 0.1.)

    Returns:
      A `LossTransform` over losses of shape (2, batch) that needs `logits` of shape (2, batch,
      classes). The two rows sum to the joint loss: add their means, as the official code
      (hongxin001/JoCoR) does. The state is a `StepState`.

    Raises:
      ValueError: if a number is out of range; by `update`, if the losses' shape is not (2, batch),
        or the logits are missing or do not fit.

    >>> import jax.numpy as jnp
    >>> transform = jocor(keep=0.5, lam=0.5)
    >>> losses = jnp.array([[0.127, 0.127], [0.127, 2.127]])  # of the labels 0 and 0
    >>> logits = jnp.array([[[2.0, 0.0], [2.0, 0.0]], [[2.0, 0.0], [0.0, 2.0]]])
    >>> values, state = transform.update(losses, transform.init(), logits=logits)
    >>> print(values)
    [[0.127 0.   ]
     [0.127 0.   ]]

    Reference: Hongxin Wei, Lei Feng, Xiangyu Chen, Bo An, "Combating Noisy Labels by Agreement: A
    Joint Training Method with Co-Regularization", CVPR 2020.
    """
    share = as_schedule("keep", keep, ABOVE_ZERO_TO_ONE)
    lam = check_number("lam", lam, ZERO_TO_ONE)

    def step(batch: Batch, state: StepState, *, logits):
        both = for_both("jocor", batch)
        agreement = jnp.asarray(lam, logits.dtype)
        own = times(1 - agreement, batch.losses)
        shares = own + times(agreement / 2, _divergence(logits))[None]
        weights = weights_of_small(jnp.sum(shares, axis=0), both, share(state.step))
        return weighted(weights[None], shares), next_step(state)

    return make_transform("jocor", start_step, step, {"logits": None})


def _divergence(logits: jax.Array) -> jax.Array:
    """Returns KL(p_1 || p_2) + KL(p_2 || p_1) of each sample."""
    log_p = jax.nn.log_softmax(logits)
    # A class of logit -infinity adds nothing if it has that for both networks, else infinity.
    masked = log_p == -jnp.inf
    first, second = jnp.where(masked.any(axis=0), 0, log_p)
    # The sum of both divergences has no negative terms, and so no cancellation.
    divergence = jnp.sum((jnp.exp(first) - jnp.exp(second)) * (first - second), axis=-1)
    return jnp.where((masked[0] != masked[1]).any(axis=-1), jnp.inf, divergence)
