"""The interface that every loss transform shares, and the checks that every one of them makes."""

import math
import numbers
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike


class LossTransform(NamedTuple):
    """A pair of pure functions that turns per-example losses into per-example losses.

    Attributes:
      init: `init() -> state`, a pytree of arrays.
      update: `update(losses, state, *, where=None, **extra) -> (losses, state)`. Shapes and dtypes
        of losses and state stay as they are; extra inputs that a transform does not need are
        ignored, so that every transform can be called in the same way.
    """

    init: Callable[[], Any]
    update: Callable[..., tuple[jax.Array, Any]]


def checked(name: str, value: ArrayLike, wanted: str, test: Callable[[float], bool]) -> ArrayLike:
    """Returns a scalar, Python's as a float, or raises ValueError unless `test(value)`.

    A traced value has no number yet and passes.
    """
    if isinstance(value, jax.core.Tracer):
        return value
    python = isinstance(value, numbers.Real) and not isinstance(value, bool)
    array = isinstance(value, jax.Array | np.ndarray | np.generic) and np.ndim(value) == 0
    number = float(np.asarray(value, np.float64)) if python or array else math.nan
    if math.isnan(number) or not test(number):
        raise ValueError(f"{name}: expected {wanted}, got {value!r}")
    return number if python else value


def as_floating(name: str, value: ArrayLike) -> jax.Array:
    """Returns a real floating array; integers become floats, complex numbers raise TypeError."""
    array = jnp.asarray(value)
    if jnp.issubdtype(array.dtype, jnp.complexfloating):
        raise TypeError(f"{name}: expected real numbers, got {array.dtype}")
    if not jnp.issubdtype(array.dtype, jnp.floating):
        array = array.astype(jnp.result_type(float))
    return array


def check_losses(losses: ArrayLike, where: ArrayLike | None) -> tuple[jax.Array, jax.Array | None]:
    """Returns per-example losses and their mask as arrays of one shape, or says what is wrong."""
    losses = jnp.asarray(losses)
    if not jnp.issubdtype(losses.dtype, jnp.floating):
        raise ValueError(
            f"losses: expected per-example losses of a real floating dtype, got {losses.dtype}"
            f" of shape {losses.shape}"
        )
    if losses.size == 0:
        raise ValueError(f"losses: expected at least one loss, got shape {losses.shape}")
    if where is None:
        return losses, None
    where = jnp.asarray(where)
    if where.dtype != bool:
        raise ValueError(f"where: expected a boolean mask, got {where.dtype}; pass e.g. mask > 0")
    try:
        return losses, jnp.broadcast_to(where, losses.shape)
    except ValueError:
        raise ValueError(
            f"where: expected a shape that broadcasts to the losses' {losses.shape},"
            f" got {where.shape}"
        ) from None
