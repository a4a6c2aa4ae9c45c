"""Active passive losses (Ma et al., 2020)."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from superloss_jax._base import LossTransform, from_logits
from superloss_jax._checks import NEGATIVE, NOT_NEGATIVE, Scalar, check_number
from superloss_jax._probabilities import log_probabilities, one_minus_exp


def _active_passive(
    logits: jax.Array, labels: jax.Array, *, alpha: Scalar, beta: Scalar, log_zero: Scalar
) -> jax.Array:
    """Returns alpha NCE + beta RCE, which is MAE for log_zero = -1."""
    if logits.shape[-1] < 2:
        raise ValueError(f"logits: expected at least 2 classes, got {logits.shape}")
    log_p, log_p_y = log_probabilities(logits, labels)
    # A label of probability 0 has the limit 1, where the quotient is infinity by infinity.
    possible = log_p_y != -jnp.inf
    total = jnp.sum(jnp.where(possible[..., None], log_p, -1), axis=-1)
    normalized = jnp.where(possible, jnp.where(possible, log_p_y, 0) / total, 1)
    return alpha * normalized - beta * (log_zero * one_minus_exp(-log_p_y))


def active_passive(
    *,
    passive: str = "rce",
    alpha: ArrayLike = 1.0,
    beta: ArrayLike = 1.0,
    log_zero: ArrayLike = -9.210340371976182,  # log(1e-4)
) -> LossTransform[tuple[()]]:
    """Active passive loss adds a loss of the other classes to normalised cross entropy.

        alpha NCE + beta (RCE or MAE)        p_y: the label's probability
        NCE = log p_y / sum_k log p_k,   RCE = -log_zero (1 - p_y),   MAE = 1 - p_y

    Both terms are bounded. The defaults and scales are the official code's. It clips labels to
    1e-4, hence the default of `log_zero`, and uses half of the paper's MAE, 2 (1 - p_y).

    Args:
      passive: "rce" (reverse cross entropy) or "mae" (mean absolute error).
      alpha: weight of NCE, >= 0; the authors' for CIFAR-10 is 1, for CIFAR-100 10.
      beta: weight of the other, >= 0; the authors' for CIFAR-10 is 1, for CIFAR-100 0.1.
      log_zero: number below 0, as in `symmetric_cross_entropy`; only "rce" uses it.

    Returns:
      A `LossTransform` without state, which needs `logits` and `labels`.

    Raises:
      ValueError: if a number is out of range or `passive` is unknown; by `update`, if there are
        fewer than two classes.

    >>> logits, labels = jnp.zeros((1, 2)), jnp.array([1])
    >>> transform = active_passive(passive="mae")
    >>> print(transform.update(jnp.ones(1), (), logits=logits, labels=labels)[0])  # 1 / 2 + 1 / 2
    [1.]

    Reference: Xingjun Ma et al., "Normalized Loss Functions for Deep Learning with Noisy Labels",
    ICML 2020.
    """
    if passive not in ("rce", "mae"):
        raise ValueError(f"passive: expected rce or mae, got {passive!r}")
    alpha = check_number("alpha", alpha, NOT_NEGATIVE)
    beta = check_number("beta", beta, NOT_NEGATIVE)
    log_zero = check_number("log_zero", log_zero, NEGATIVE)
    scale = log_zero if passive == "rce" else -1.0
    value = functools.partial(_active_passive, alpha=alpha, beta=beta, log_zero=scale)
    return from_logits("active_passive", value)
