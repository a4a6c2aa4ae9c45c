"""Asymmetric losses (Zhou et al., 2021)."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from superloss_jax._base import LossTransform, from_losses
from superloss_jax._checks import ABOVE_ONE, POSITIVE, Scalar, check_number
from superloss_jax._probabilities import one_minus_exp


def agce(losses: jax.Array, *, a: Scalar, q: Scalar) -> jax.Array:
    """Returns ((a + 1)^q - (a + p)^q) / q, for p = exp(-losses)."""
    # log((a + p) / (a + 1)), without cancellation at either end.
    likely = losses < 0.7
    near = jnp.log1p(-one_minus_exp(jnp.where(likely, losses, 0)) / (a + 1))
    far = jnp.log((a + jnp.exp(-losses)) / (a + 1))
    return -((a + 1) ** q) * jnp.expm1(q * jnp.where(likely, near, far)) / q


def aul(losses: jax.Array, *, a: Scalar, q: Scalar) -> jax.Array:
    """Returns ((a - p)^q - (a - 1)^q) / q, for p = exp(-losses)."""
    ratio = jnp.log1p(one_minus_exp(losses) / (a - 1))
    return (a - 1) ** q * jnp.expm1(q * ratio) / q


def ael(losses: jax.Array, *, a: Scalar) -> jax.Array:
    """Returns exp(-p / a), for p = exp(-losses)."""
    return jnp.exp(-jnp.exp(-losses) / a)


def asymmetric_gce(*, a: ArrayLike = 0.6, q: ArrayLike = 0.6) -> LossTransform[tuple[()]]:
    """Asymmetric generalised cross entropy, AGCE, is bounded, and cross entropy for a, q -> 0.

        ((a + 1)^q - (a + p)^q) / q        dL/dl = p (a + p)^(q - 1)        p = exp(-l)

    With a -> 0 it is generalised cross entropy. If enough labels are right, its minimum is that of
    the right labels alone; a and q decide how many are enough.

    Args:
      a: number > 0; the authors' for CIFAR-10 and CIFAR-100 is 0.6, for WebVision 1e-5.
      q: number > 0; the authors' for CIFAR-10 and CIFAR-100 is 0.6, for WebVision 0.5.

    Returns:
      A `LossTransform` of cross-entropy losses, without state.

    Raises:
      ValueError: if a number is out of range.

    >>> transform = asymmetric_gce(a=1.0, q=2.0)
    >>> losses, _ = transform.update(jnp.log(jnp.array([2.0])), ())
    >>> print(f"{losses[0]:.3f}")  # (2^2 - 1.5^2) / 2
    0.875

    Reference: Xiong Zhou, Xianming Liu, Junjun Jiang, Xin Gao, Xiangyang Ji, "Asymmetric Loss
    Functions for Learning with Noisy Labels", ICML 2021.
    """
    a, q = check_number("a", a, POSITIVE), check_number("q", q, POSITIVE)
    return from_losses("asymmetric_gce", functools.partial(agce, a=a, q=q))


def asymmetric_unhinged(*, a: ArrayLike = 5.5, q: ArrayLike = 3.0) -> LossTransform[tuple[()]]:
    """Asymmetric unhinged loss, AUL, is a power of the distance of p from a number above 1.

        ((a - p)^q - (a - 1)^q) / q        dL/dl = p (a - p)^(q - 1)        p = exp(-l)

    With q = 1 it is mean absolute error, 1 - p.

    Args:
      a: number > 1; the authors' for CIFAR-10 and CIFAR-100 is 5.5.
      q: number > 0; the authors' for CIFAR-10 and CIFAR-100 is 3.

    Returns:
      A `LossTransform` of cross-entropy losses, without state.

    Raises:
      ValueError: if a number is out of range.

    >>> transform = asymmetric_unhinged(a=2.0, q=2.0)
    >>> losses, _ = transform.update(jnp.log(jnp.array([1.0, 2.0])), ())
    >>> print([f"{loss:.3f}" for loss in losses])  # 0, (1.5^2 - 1) / 2
    ['0.000', '0.625']

    Reference: Xiong Zhou, Xianming Liu, Junjun Jiang, Xin Gao, Xiangyang Ji, "Asymmetric Loss
    Functions for Learning with Noisy Labels", ICML 2021.
    """
    a, q = check_number("a", a, ABOVE_ONE), check_number("q", q, POSITIVE)
    return from_losses("asymmetric_unhinged", functools.partial(aul, a=a, q=q))


def asymmetric_exponential(*, a: ArrayLike = 2.5) -> LossTransform[tuple[()]]:
    """Asymmetric exponential loss, AEL, falls exponentially with the label's probability.

        exp(-p / a)        dL/dl = p exp(-p / a) / a        p = exp(-l)

    As in the paper and the official code, its least value is exp(-1 / a) and not 0.

    Args:
      a: number > 0; the authors' for CIFAR-10 and CIFAR-100 is 2.5.

    Returns:
      A `LossTransform` of cross-entropy losses, without state.

    Raises:
      ValueError: if `a` is out of range.

    >>> transform = asymmetric_exponential(a=1.0)
    >>> losses, _ = transform.update(jnp.log(jnp.array([1.0, 2.0])), ())
    >>> print([f"{loss:.3f}" for loss in losses])  # exp(-1), exp(-1 / 2)
    ['0.368', '0.607']

    Reference: Xiong Zhou, Xianming Liu, Junjun Jiang, Xin Gao, Xiangyang Ji, "Asymmetric Loss
    Functions for Learning with Noisy Labels", ICML 2021.
    """
    a = check_number("a", a, POSITIVE)
    return from_losses("asymmetric_exponential", functools.partial(ael, a=a))
