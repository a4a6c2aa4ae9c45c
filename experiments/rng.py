"""Random bits as pure functions of (seed, purpose, number), the same on every platform."""

import jax
import jax.numpy as jnp
import numpy as np

(
    INIT, ORDER, DROPOUT, AUGMENT, VALIDATION, IMBALANCE, MIXUP, TEST, LABELLED, SECOND, NOISE,
) = range(11)  # fmt: skip


def key_for(seed, purpose: int, number=0):
    key = jax.random.key(seed, impl="threefry2x32")
    return jax.random.fold_in(jax.random.fold_in(key, purpose), number)


def shuffled(seed: int, purpose: int, number: int) -> np.ndarray:
    """Returns a random order of `number` positions, on the host."""
    return np.argsort(np.asarray(bits(key_for(seed, purpose), (number,))), kind="stable")


def bits(key, shape):
    """Returns raw uint32 bits. Unlike floats and integers, they do not change with x64."""
    with jax.threefry_partitionable(True):
        return jax.random.bits(key, shape, jnp.uint32)
