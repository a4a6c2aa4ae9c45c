"""Arrays with a row for each example of the data set, read and written by `index`."""

import jax
import jax.numpy as jnp


def read(memory: jax.Array, index: jax.Array) -> jax.Array:
    """Returns the rows of the examples, NaN for an index that the memory does not have."""
    index = jnp.where(index < 0, len(memory), index)  # no counting from the end
    return memory.at[index].get(mode="fill", fill_value=jnp.nan)


def places(memory: jax.Array, index: jax.Array, where: jax.Array) -> jax.Array:
    """Returns the rows to write with mode="drop": a masked example's lies beyond the last one."""
    return jnp.where(where & (index >= 0), index, len(memory))


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


def class_probabilities(logits: jax.Array, num_classes: int) -> jax.Array:
    """Returns the softmax of logits that must have as many classes as the memory."""
    if logits.shape[-1] != num_classes:
        raise ValueError(
            f"logits: expected num_classes={num_classes} on the last axis, got shape {logits.shape}"
        )
    return jax.nn.softmax(logits)
