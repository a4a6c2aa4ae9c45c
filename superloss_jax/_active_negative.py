"""Active negative loss (Ye et al., 2023)."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from superloss_jax._active_passive import normalized
from superloss_jax._base import LossTransform, from_logits
from superloss_jax._checks import NOT_NEGATIVE, ZERO_TO_ONE_OPEN, Scalar, check_number
from superloss_jax._probabilities import log_probabilities


def _active_negative(
    logits: jax.Array, labels: jax.Array, *, alpha: Scalar, beta: Scalar, p_min: Scalar
) -> jax.Array:
    """Returns alpha NCE + beta NNCE."""
    log_p, log_p_y = log_probabilities(logits, labels)
    log_min = jnp.log(jnp.asarray(p_min, log_p.dtype))
    above, above_y = (jnp.maximum(x - log_min, 0) for x in (log_p, log_p_y))
    negative = 1 - above_y / jnp.sum(above, axis=-1)
    return alpha * normalized(log_p, log_p_y) + beta * negative


def active_negative(
    *, alpha: ArrayLike = 5.0, beta: ArrayLike = 5.0, p_min: ArrayLike = 1e-7
) -> LossTransform[tuple[()]]:
    """Active negative loss, ANL-CE, adds a normalised loss of the other classes to NCE.

        alpha NCE + beta NNCE        NCE  = log p_y / sum_k log p_k
                                     NNCE = 1 - (A + log q_y) / sum_k (A + log q_k)
        q = max(p, p_min),  A = -log p_min

    Both terms are bounded. A class whose p is below `p_min` has no gradient in NNCE.

    The paper's third term, delta times the sum of the parameters' magnitudes in place of weight
    decay, is the optimizer's part. The authors' delta is 5e-5 for CIFAR-10, 5e-7 for CIFAR-100
    and 5e-6 for WebVision.

    Args:
      alpha: weight of NCE, >= 0; the authors' for CIFAR-10 is 5, for CIFAR-100 10, WebVision 20.
      beta: weight of NNCE, >= 0; the authors' for CIFAR-10 is 5, for CIFAR-100 and WebVision 1.
      p_min: where probabilities are clipped, in (0, 1); the authors' is 1e-7.

    Returns:
      A `LossTransform` without state, which needs `logits` and `labels`.

    Raises:
      ValueError: if a number is out of range; by `update`, if there are fewer than two classes.

    >>> logits, labels = jnp.zeros((1, 2)), jnp.array([1])
    >>> transform = active_negative(alpha=1.0, beta=1.0)
    >>> print(transform.update(jnp.ones(1), (), logits=logits, labels=labels)[0])  # 1 / 2 + 1 / 2
    [1.]

    Reference: Xichen Ye, Xiaoqiang Li, Songmin Dai, Tong Liu, Yan Sun, Weiqin Tong, "Active
    Negative Loss Functions for Learning with Noisy Labels", NeurIPS 2023.
    """
    alpha = check_number("alpha", alpha, NOT_NEGATIVE)
    beta = check_number("beta", beta, NOT_NEGATIVE)
    p_min = check_number("p_min", p_min, ZERO_TO_ONE_OPEN)
    value = functools.partial(_active_negative, alpha=alpha, beta=beta, p_min=p_min)
    return from_logits("active_negative", value)
