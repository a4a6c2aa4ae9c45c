"""Small-loss selection for two networks: what co-teaching and JoCoR share."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike

from superloss_jax._inputs import Batch


def for_both(method: str, batch: Batch) -> jax.Array:
    """Returns the (batch,) mask of samples that are unmasked for both networks."""
    if batch.losses.ndim != 2 or batch.losses.shape[0] != 2:
        raise ValueError(
            f"losses: {method} expected those of two networks, of shape (2, batch),"
            f" got shape {batch.losses.shape}"
        )
    return batch.where.all(axis=0)


# A few units in the last place of float32, in which schedules are computed.
_ROUNDING = 8 * float(np.finfo(np.float32).eps)


def weights_of_small(losses: jax.Array, where: jax.Array, keep: ArrayLike) -> jax.Array:
    """Returns n / m for the m = floor(keep * n) smallest of n unmasked losses, 0 for the others.

    `losses` has shape (batch,). Of equal losses the first is kept. At least one is kept. NaN is
    the largest.
    """
    losses = lax.stop_gradient(losses)
    order = jnp.lexsort((losses, ~where))  # stable; masked ones last
    rank = jnp.zeros_like(order).at[order].set(jnp.arange(order.size, dtype=order.dtype))
    n = jnp.sum(where, dtype=losses.dtype)
    # 0.8 * 10 is 8, even if the schedule's 0.8 was rounded down.
    m = jnp.floor(jnp.asarray(keep, losses.dtype) * n * (1 + _ROUNDING))
    m = jnp.clip(m, 1, n)
    kept = where & ~(rank.astype(m.dtype) >= m)  # a NaN of the schedule is not hidden
    return jnp.where(kept, n / jnp.maximum(m, 1), 0)


def weighted(weights: jax.Array, values: jax.Array) -> jax.Array:
    """Returns weights * values, and 0 where the weight is 0, even if the value is infinite."""
    dropped = weights == 0
    return jnp.where(dropped, 0, weights * jnp.where(dropped, 0, values))
