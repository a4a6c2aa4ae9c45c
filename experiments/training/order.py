"""The order of each epoch: one row of positions per step, which depends only on seed and epoch."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

from experiments.tasks.base import shuffled
from experiments.training import devices


def epoch_order(
    seed,
    epoch,
    size: int,
    batch_size: int,
    layout: devices.Layout | None = None,
    order: Callable = shuffled,
):
    """Returns the task's order as an array of shape (steps, batch_size); -1 is padding.

    Every batch is padded to a multiple of the device count.
    """
    return _epoch_order(seed, epoch, size, batch_size, layout or devices.layout(1), order)


@functools.partial(jax.jit, static_argnums=(2, 3, 4, 5))
def _epoch_order(seed, epoch, size, batch_size, layout, order):
    rows = order(seed, epoch, size, batch_size)
    more = -batch_size % devices.size(layout)
    rows = jnp.pad(rows, ((0, 0), (0, more)), constant_values=-1)
    return jax.lax.with_sharding_constraint(rows, layout.whole)
