"""Symmetric cross entropy (Wang et al., 2019)."""

from __future__ import annotations

import functools

import jax
from jax.typing import ArrayLike

from superloss_jax._base import LossTransform, from_losses
from superloss_jax._checks import NEGATIVE, NOT_NEGATIVE, Scalar, check_number
from superloss_jax._probabilities import one_minus_exp, times


def _symmetric(losses: jax.Array, *, alpha: Scalar, beta: Scalar, log_zero: Scalar) -> jax.Array:
    """Returns alpha CE + beta RCE, from CE."""
    return times(alpha, losses) - beta * (log_zero * one_minus_exp(losses))


def symmetric_cross_entropy(
    *, alpha: ArrayLike = 0.1, beta: ArrayLike = 1.0, log_zero: ArrayLike = -4.0
) -> LossTransform[tuple[()]]:
    """Symmetric cross entropy adds the cross entropy with label and prediction exchanged.

        alpha CE + beta RCE        CE = l,   RCE = -log_zero (1 - p),   p = exp(-l)

    `log_zero` replaces the logarithm of the label's zeros. The default is the paper's A = -4. The
    official code clips labels to 1e-4, which means log_zero = log(1e-4) = -9.21 and an RCE 2.3
    times as large.

    Args:
      alpha: weight of CE, >= 0; the authors' for CIFAR-10 is 0.1, for CIFAR-100 6.
      beta: weight of RCE, >= 0; the authors' for CIFAR-10 is 1, for CIFAR-100 0.1.
      log_zero: number below 0.

    Returns:
      A `LossTransform` of cross-entropy losses, without state.

    Raises:
      ValueError: if a number is out of range.

    >>> import jax.numpy as jnp
    >>> transform = symmetric_cross_entropy(alpha=0.0, beta=1.0)
    >>> print(transform.update(jnp.log(jnp.array([1.0, 4.0])), ())[0])  # 4 (1 - 1 / 4)
    [0. 3.]

    Reference: Yisen Wang et al., "Symmetric Cross Entropy for Robust Learning with Noisy Labels",
    ICCV 2019.
    """
    alpha = check_number("alpha", alpha, NOT_NEGATIVE)
    beta = check_number("beta", beta, NOT_NEGATIVE)
    log_zero = check_number("log_zero", log_zero, NEGATIVE)
    value = functools.partial(_symmetric, alpha=alpha, beta=beta, log_zero=log_zero)
    return from_losses("symmetric_cross_entropy", value)
