"""What `update` is given, checked: losses, their mask, and the inputs that a method needs.

Wherever the mask is False, losses and inputs are replaced by 0. NaN that stands there, as padding
often has it, then reaches neither values nor gradients.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike


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


class Batch(NamedTuple):
    """The losses of a batch, ready for arithmetic.

    Attributes:
      losses: 0 where masked, of at least float32.
      where: boolean mask of the losses' shape.
      dtype: the dtype of the caller's losses, in which the results go back.
    """

    losses: jax.Array
    where: jax.Array
    dtype: np.dtype


def read_batch(losses: ArrayLike, where: ArrayLike | None) -> Batch:
    """Checks the losses and the mask that `update` was given; without a mask, all count."""
    losses, mask = check_losses(losses, where)
    mask = jnp.ones(losses.shape, bool) if mask is None else mask
    dtype = jnp.promote_types(losses.dtype, jnp.float32)
    return Batch(jnp.where(mask, losses, 0).astype(dtype), mask, losses.dtype)


def read_inputs(
    method: str, needs: tuple[str, ...], batch: Batch, extra: Mapping[str, Any]
) -> tuple[jax.Array, ...]:
    """Returns the inputs that the method needs, in this order; `extra` may hold others as well.

    "logits" have the dtype of the batch's losses and a further axis of classes. All others are
    integers of the losses' shape.
    """
    if missing := [name for name in needs if extra.get(name) is None]:
        given = ", ".join(f"{name}={name}" for name in missing)
        raise ValueError(f"{method} needs {' and '.join(missing)}: update(losses, state, {given})")
    return tuple(
        _read_logits(extra[name], batch)
        if name == "logits"
        else _read_rows(name, extra[name], batch)
        for name in needs
    )


def _read_logits(logits: ArrayLike, batch: Batch) -> jax.Array:
    """Returns logits of shape (*losses.shape, classes), 0 where masked."""
    logits = jnp.asarray(logits)
    shape = batch.losses.shape
    if logits.shape[:-1] != shape or not jnp.issubdtype(logits.dtype, jnp.floating):
        raise ValueError(
            f"logits: expected real numbers of shape {(*shape, 'classes')},"
            f" got {logits.dtype} of shape {logits.shape}"
        )
    return jnp.where(batch.where[..., None], logits.astype(batch.losses.dtype), 0)


def _read_rows(name: str, rows: ArrayLike, batch: Batch) -> jax.Array:
    """Returns integers of the losses' shape, 0 where masked."""
    rows = jnp.asarray(rows)
    shape = batch.losses.shape
    # The shape of the trailing axes is enough: two networks share their labels.
    fits = rows.shape == shape[len(shape) - rows.ndim :]
    if not fits or not jnp.issubdtype(rows.dtype, jnp.integer):
        raise ValueError(
            f"{name}: expected integers of shape {shape}, got {rows.dtype} of shape {rows.shape}"
        )
    return jnp.where(batch.where, jnp.broadcast_to(rows, shape), 0)


def as_output(values: jax.Array, batch: Batch) -> jax.Array:
    """Returns per-example values as `update` does: 0 where masked, in the caller's dtype."""
    return jnp.where(batch.where, values, 0).astype(batch.dtype)
