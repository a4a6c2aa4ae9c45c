"""Active passive losses (Ma et al., 2020)."""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from superloss_jax._asymmetric import ael, agce, aul
from superloss_jax._base import LossTransform, from_logits
from superloss_jax._checks import (
    ABOVE_ONE,
    NEGATIVE,
    NOT_NEGATIVE,
    POSITIVE,
    Scalar,
    check_number,
)
from superloss_jax._probabilities import log_probabilities, one_minus_exp


def normalized(log_p: jax.Array, log_p_y: jax.Array) -> jax.Array:
    """Returns normalised cross entropy, NCE, from the output of `log_probabilities`."""
    if log_p.shape[-1] < 2:
        raise ValueError(f"logits: expected at least 2 classes, got {log_p.shape}")
    # A label of probability 0 has the limit 1, where the quotient is infinity by infinity.
    possible = log_p_y != -jnp.inf
    total = jnp.sum(jnp.where(possible[..., None], log_p, -1), axis=-1)
    return jnp.where(possible, jnp.where(possible, log_p_y, 0) / total, 1)


def _active_passive(
    logits: jax.Array,
    labels: jax.Array,
    *,
    alpha: Scalar,
    beta: Scalar,
    passive: Callable[[jax.Array], jax.Array],
) -> jax.Array:
    """Returns alpha NCE + beta passive(CE)."""
    log_p, log_p_y = log_probabilities(logits, labels)
    return alpha * normalized(log_p, log_p_y) + beta * passive(-log_p_y)


def active_passive(
    *,
    passive: str = "rce",
    alpha: ArrayLike = 1.0,
    beta: ArrayLike = 1.0,
    log_zero: ArrayLike = -9.210340371976182,  # log(1e-4)
    a: ArrayLike = 6.0,
    q: ArrayLike = 1.5,
) -> LossTransform[tuple[()]]:
    """Active passive loss adds a loss of the other classes to normalised cross entropy.

        alpha NCE + beta passive        p_y: the label's probability
        NCE = log p_y / sum_k log p_k,   RCE = -log_zero (1 - p_y),   MAE = 1 - p_y

    AGCE, AUL and AEL are the losses of `asymmetric_gce`, `asymmetric_unhinged` and
    `asymmetric_exponential`. All terms are bounded. The defaults and scales are the official
    codes'. That of RCE clips labels to 1e-4, hence the default of `log_zero`, and it uses half of
    the paper's MAE, 2 (1 - p_y).

    Args:
      passive: "rce" (reverse cross entropy), "mae" (mean absolute error), "agce", "aul" or "ael".
      alpha: weight of NCE, >= 0; the authors' for CIFAR-10 is 1, for CIFAR-100 10.
      beta: weight of the other, >= 0. The authors' for CIFAR-10 is 1, for CIFAR-100 0.1; with an
        asymmetric loss, for CIFAR-10 4, for CIFAR-100 0.1, or 0.015 for "aul".
      log_zero: number below 0, as in `symmetric_cross_entropy`; only "rce" uses it.
      a: of an asymmetric loss. The authors' for CIFAR-10 and CIFAR-100 are 6 and 1.8 for "agce",
        6.3 and 6 for "aul", 5 and 1.5 for "ael".
      q: of "agce" and "aul". The authors' for CIFAR-10 is 1.5, for CIFAR-100 3.

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
    ICML 2020. With the asymmetric losses: Xiong Zhou et al., "Asymmetric Loss Functions for
    Learning with Noisy Labels", ICML 2021.
    """
    alpha = check_number("alpha", alpha, NOT_NEGATIVE)
    beta = check_number("beta", beta, NOT_NEGATIVE)
    log_zero = check_number("log_zero", log_zero, NEGATIVE)
    q = check_number("q", q, POSITIVE)
    a = check_number("a", a, ABOVE_ONE if passive == "aul" else POSITIVE)
    passives: dict[str, Callable[[jax.Array], jax.Array]] = {
        "rce": lambda losses: -log_zero * one_minus_exp(losses),
        "mae": one_minus_exp,
        "agce": functools.partial(agce, a=a, q=q),
        "aul": functools.partial(aul, a=a, q=q),
        "ael": functools.partial(ael, a=a),
    }
    if passive not in passives:
        raise ValueError(f"passive: expected {', '.join(passives)}, got {passive!r}")
    value = functools.partial(_active_passive, alpha=alpha, beta=beta, passive=passives[passive])
    return from_logits("active_passive", value)
