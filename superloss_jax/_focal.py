"""Focal loss (Lin et al., 2017)."""

from __future__ import annotations

import functools
import math

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from superloss_jax._base import LossTransform, from_losses
from superloss_jax._checks import NOT_NEGATIVE, Scalar, check_number
from superloss_jax._probabilities import one_minus_exp


def _focal(losses: jax.Array, *, gamma: Scalar) -> jax.Array:
    """Returns (1 - exp(-losses))^gamma losses."""
    tiny = jnp.finfo(losses.dtype).tiny
    # At 0 the derivative of the power is infinite for gamma < 1, that of the product is not. Where
    # exp(-loss) is 0 the factor is 1, and its derivative is 0, even for an infinite loss.
    power = (losses > tiny) & (losses < -2 * math.log(tiny))
    safe = jnp.where(power, losses, 1)
    ends = jnp.where((losses <= tiny) & (gamma != 0), 0, losses)
    return jnp.where(power, one_minus_exp(safe) ** gamma * safe, ends)


def focal(*, gamma: ArrayLike = 2.0) -> LossTransform[tuple[()]]:
    """Focal loss gives less weight to well classified examples, and so more to wrong labels.

        (1 - p)^gamma l        p = exp(-l)

    Both factors are differentiated, as in the paper. Some codes detach the first.

    Args:
      gamma: number >= 0, where 0 is cross entropy; the paper's is 2.

    Returns:
      A `LossTransform` of cross-entropy losses, without state. A loss that rounding left below 0
      counts as 0.

    Raises:
      ValueError: if `gamma` is out of range.

    >>> losses, _ = focal(gamma=2.0).update(jnp.log(jnp.array([1.0, 2.0])), ())
    >>> print([f"{loss:.3f}" for loss in losses])  # log(2) / 4
    ['0.000', '0.173']

    Reference: Tsung-Yi Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017.
    """
    gamma = check_number("gamma", gamma, NOT_NEGATIVE)
    return from_losses("focal", functools.partial(_focal, gamma=gamma))
