"""Epsilon-softmax (Wang et al., 2024)."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from superloss_jax._base import LossTransform, from_logits
from superloss_jax._checks import NOT_NEGATIVE, ZERO_TO_ONE_OPEN, Scalar, check_number
from superloss_jax._probabilities import log_probabilities, one_minus_exp


def _epsilon_softmax(
    logits: jax.Array, labels: jax.Array, *, m: Scalar, alpha: Scalar, beta: Scalar, p_min: Scalar
) -> jax.Array:
    """Returns alpha CE of (p + m [largest]) / (m + 1), plus 2 beta (1 - p_y)."""
    log_p, log_p_y = log_probabilities(logits, labels)
    error = one_minus_exp(-log_p_y)
    is_largest = jnp.argmax(log_p, axis=-1).astype(labels.dtype) == labels
    # For the largest class p' = 1 - (1 - p) / (m + 1); rounded to 1 + m, p would be lost.
    sharp = -jnp.log1p(-jnp.where(is_largest, error, 0) / (m + 1))
    most = -jnp.log(jnp.asarray(p_min, log_p.dtype))
    flat = jnp.log1p(jnp.asarray(m, log_p.dtype)) - log_p_y
    ce = jnp.where(is_largest, sharp, flat)
    return alpha * jnp.minimum(ce, most) + 2 * beta * error


def epsilon_softmax(
    *,
    m: ArrayLike = 1e5,
    alpha: ArrayLike = 0.01,
    beta: ArrayLike = 5.0,
    p_min: ArrayLike = 1e-8,
) -> LossTransform[tuple[()]]:
    """Epsilon-softmax draws predictions towards one-hot ones before their cross entropy.

        alpha (-log max(p'_y, p_min)) + beta 2 (1 - p_y)
        p' = (p + m e) / (m + 1)        e: the largest p, one-hot

    This is the paper's CE with MAE. The magnitudes of p' - e sum to at most 2 / (m + 1). e is
    constant; of equal classes the first is the largest.

    The clipping at `p_min`, which only the official code has, is part of the method: a label that
    is not the prediction has p' = p / (m + 1), so that with the defaults its cross entropy is
    constant and without a gradient for p < 1e-3.

    Args:
      m: number >= 0, where 0 is the ordinary softmax. The authors' for CIFAR-10 is 1e5 for
        symmetric and 1e3 for asymmetric noise, for CIFAR-10N and CIFAR-100 1e4.
      alpha: weight of CE, >= 0; the authors' for CIFAR-10 is 0.01 for symmetric noise, 0.02 for
        asymmetric noise and 0.5 for CIFAR-10N. For CIFAR-100 they have one for each noise rate.
      beta: weight of MAE, >= 0; the authors' for CIFAR-10 is 5, for CIFAR-10N and CIFAR-100 1.
      p_min: where p' is clipped, in (0, 1); the authors' is 1e-8.

    Returns:
      A `LossTransform` without state, which needs `logits` and `labels`.

    Raises:
      ValueError: if a number is out of range.

    >>> logits, labels = jnp.log(jnp.array([[1.0, 3.0]])), jnp.array([0])
    >>> transform = epsilon_softmax(m=1.0, alpha=1.0, beta=1.0)
    >>> losses, _ = transform.update(jnp.ones(1), (), logits=logits, labels=labels)
    >>> print(f"{losses[0]:.3f}")  # log 8 + 2 * 3 / 4
    3.579

    Reference: Jialiang Wang, Xiong Zhou, Deming Zhai, Junjun Jiang, Xiangyang Ji, Xianming Liu,
    "Epsilon-Softmax: Approximating One-Hot Vectors for Mitigating Label Noise", NeurIPS 2024.
    """
    m = check_number("m", m, NOT_NEGATIVE)
    alpha = check_number("alpha", alpha, NOT_NEGATIVE)
    beta = check_number("beta", beta, NOT_NEGATIVE)
    p_min = check_number("p_min", p_min, ZERO_TO_ONE_OPEN)
    value = functools.partial(_epsilon_softmax, m=m, alpha=alpha, beta=beta, p_min=p_min)
    return from_logits("epsilon_softmax", value)
