"""Orders of an epoch that are no shuffle of all examples: pure functions of seed and epoch."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from experiments import rng


def passes(seed, epoch, purpose: int, positions, width: int, steps: int):
    """Returns shape (steps, width): shuffles of all positions, one after another.

    A shuffle ends with its last full row, so that no position stands twice in a row.
    """
    full = len(positions) // width
    key = rng.key_for(seed, rng.ORDER, epoch)
    bits = rng.bits(jax.random.fold_in(key, purpose), (-(-steps // full), len(positions)))
    order = jnp.argsort(bits, axis=1)[:, : full * width]
    return jnp.asarray(positions)[order].reshape(-1, width)[:steps]


def classes_times_images(labels: np.ndarray, images: int) -> Callable:
    """Returns an `order` whose batches have as many images of each of their classes.

    Classes are shuffled and taken in turn, a class's images are drawn. Where a class has fewer
    images, the rest of its places is padding. A class with a single image is left out.
    """
    classes, sizes = np.unique(labels, return_counts=True)
    classes, sizes = classes[sizes > 1], sizes[sizes > 1]
    by_class = np.argsort(labels, kind="stable").astype(np.int32)
    starts = np.searchsorted(labels[by_class], classes).astype(np.int32)
    numbers = np.arange(len(classes), dtype=np.int32)

    def order(seed, epoch, size: int, batch_size: int):
        steps, width = -(-size // batch_size), batch_size // images
        chosen = passes(seed, epoch, 0, numbers, width, steps)
        key = jax.random.fold_in(rng.key_for(seed, rng.ORDER, epoch), 1)
        drawn = distinct(rng.bits(key, (images, steps, width)), jnp.asarray(sizes)[chosen])
        rows = jnp.asarray(by_class)[jnp.asarray(starts)[chosen][None] + jnp.maximum(drawn, 0)]
        rows = jnp.where(drawn < 0, -1, rows)
        return rows.transpose(1, 2, 0).reshape(steps, batch_size)

    return order


def distinct(bits, sizes):
    """Returns as many distinct integers from 0 to size - 1 as there are rows of bits, then -1."""
    sizes = sizes.astype(jnp.int32)
    found: list[jax.Array] = []  # in the order of drawing
    for i, own in enumerate(bits):
        left = jnp.maximum(sizes - i, 1)
        number = (own.astype(jnp.uint32) % left.astype(jnp.uint32)).astype(jnp.int32)
        # The number-th of those not drawn yet.
        for other in jnp.sort(jnp.stack(found), axis=0) if found else ():
            number = number + (number >= other)
        found.append(number)
    rows = jnp.arange(len(bits), dtype=jnp.int32).reshape(-1, *[1] * sizes.ndim)
    return jnp.where(rows < sizes[None], jnp.stack(found), -1)
