"""Memory with a row for each example of the data set, read and written by `index`."""

import jax
import jax.numpy as jnp

from superloss_jax._base import Batch


def read(memory: jax.Array, batch: Batch) -> jax.Array:
    """The rows of the batch's examples; NaN for an index that the memory does not have."""
    index = jnp.where(batch.index < 0, len(memory), batch.index)  # no counting from the end
    return memory.at[index].get(mode="fill", fill_value=jnp.nan)


def places(memory: jax.Array, batch: Batch) -> jax.Array:
    """Where the unmasked examples are written with mode="drop"; the others, beyond the last row."""
    return jnp.where(batch.where & (batch.index >= 0), batch.index, len(memory))


def write(memory: jax.Array, batch: Batch, rows: jax.Array) -> jax.Array:
    """`memory` with the unmasked examples' rows; an example that comes twice has equal rows."""
    return memory.at[places(memory, batch)].set(rows.astype(memory.dtype), mode="drop")


def mean_over_repeats(values: jax.Array, batch: Batch) -> jax.Array:
    """Each example's mean over all unmasked positions with its index, at each of them.

    So that an example which comes twice in a batch is one example, seen with the mean of both,
    whatever the order. `values` has the losses' shape, or further axes.
    """
    index = jnp.where(batch.where, batch.index, -1).reshape(-1)
    order = jnp.argsort(index)
    new = jnp.diff(index[order]) != 0
    place = jnp.pad(jnp.cumsum(new, dtype=index.dtype), (1, 0))
    segment = jnp.zeros_like(index).at[order].set(place)
    flat = values.reshape(index.size, *values.shape[batch.where.ndim :])
    total = jax.ops.segment_sum(flat, segment, index.size)
    count = jax.ops.segment_sum(jnp.ones(index.size, flat.dtype), segment, index.size)
    mean = total / jnp.expand_dims(jnp.maximum(count, 1), tuple(range(1, flat.ndim)))
    return mean[segment].reshape(values.shape)
