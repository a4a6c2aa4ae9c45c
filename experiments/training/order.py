"""Shuffles each epoch: one row of positions per step, which depends only on seed and epoch."""

import functools

import jax
import jax.numpy as jnp

from experiments import rng
from experiments.training import devices


def epoch_order(seed, epoch, size: int, batch_size: int, layout: devices.Layout | None = None):
    """Returns every position once, in an array of shape (steps, batch_size); -1 is padding.

    The last batch is padded to `batch_size`, and every batch to a multiple of the device count.
    """
    return _epoch_order(seed, epoch, size, batch_size, layout or devices.layout(1))


@functools.partial(jax.jit, static_argnums=(2, 3, 4))
def _epoch_order(seed, epoch, size, batch_size, layout):
    order = jnp.argsort(rng.bits(rng.key_for(seed, rng.ORDER, epoch), (size,)))
    order = order.astype(jnp.int32)
    order = jnp.pad(order, (0, -size % batch_size), constant_values=-1).reshape(-1, batch_size)
    more = -batch_size % devices.size(layout)
    order = jnp.pad(order, ((0, 0), (0, more)), constant_values=-1)
    return jax.lax.with_sharding_constraint(order, layout.whole)
