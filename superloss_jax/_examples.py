"""Arrays with a row for each example of the data set, written by `index`."""

from __future__ import annotations

import jax
import jax.numpy as jnp


def places(memory: jax.Array, index: jax.Array, where: jax.Array) -> jax.Array:
    """Returns the rows to write with mode="drop": a masked example's lies beyond the last one."""
    return jnp.where(where, index, len(memory))


def write(memory: jax.Array, index: jax.Array, where: jax.Array, rows: jax.Array) -> jax.Array:
    """Returns `memory` with the unmasked examples' rows; a repeated example needs equal rows."""
    return memory.at[places(memory, index, where)].set(rows.astype(memory.dtype), mode="drop")


def mean_over_repeats(values: jax.Array, index: jax.Array, where: jax.Array) -> jax.Array:
    """Returns, at each position, the mean over all unmasked positions with the same index.

    An example that comes twice in a batch is then seen once, with the mean of both, whatever their
    order. `values` has the shape of `index`, or further axes.
    """
    rows = jnp.where(where, index, -1).reshape(-1)
    order = jnp.argsort(rows)
    new = jnp.diff(rows[order]) != 0
    place = jnp.pad(jnp.cumsum(new, dtype=rows.dtype), (1, 0))
    segment = jnp.zeros_like(rows).at[order].set(place)
    flat = values.reshape(rows.size, *values.shape[where.ndim :])
    total = jax.ops.segment_sum(flat, segment, rows.size)
    count = jax.ops.segment_sum(jnp.ones(rows.size, flat.dtype), segment, rows.size)
    mean = total / jnp.expand_dims(jnp.maximum(count, 1), tuple(range(1, flat.ndim)))
    return mean[segment].reshape(values.shape)
