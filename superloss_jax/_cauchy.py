"""Cauchy's robust loss (Barron, 2019)."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from superloss_jax._base import LossTransform, from_losses
from superloss_jax._checks import POSITIVE, Scalar, check_number


def _cauchy(losses: jax.Array, *, scale: Scalar) -> jax.Array:
    """Returns scale log(1 + losses / scale)."""
    return scale * jnp.log1p(losses / scale)


def cauchy(*, scale: ArrayLike = 1.0) -> LossTransform[tuple[()]]:
    """Cauchy's loss grows only with the logarithm of a loss that is far above its scale.

        s log(1 + l / s)        its derivative by l: 1 / (1 + l / s)

    Of half a squared residual, l = r**2 / 2, this is the robust loss of regression that is called
    Cauchy's or Lorentz's, with s = c**2 / 2 for its constant c.

    Args:
      scale: s > 0, in units of the loss: a loss of this size has the weight 1/2.

    Returns:
      A `LossTransform` of losses >= 0 of any kind, without state.

    Raises:
      ValueError: if `scale` is not a finite number > 0.

    >>> losses, _ = cauchy(scale=2.0).update(jnp.array([0.0, 2.0, 6.0]), ())
    >>> print([f"{loss:.3f}" for loss in losses])  # 2 log(2) and 2 log(4)
    ['0.000', '1.386', '2.773']

    Reference: Jonathan Barron, "A General and Adaptive Robust Loss Function", CVPR 2019.
    """
    scale = check_number("scale", scale, POSITIVE)
    return from_losses("cauchy", functools.partial(_cauchy, scale=scale))
