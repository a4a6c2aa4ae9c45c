"""Transforms under jit, each compiled once: tests spend most of their time on compilation."""

import functools

import jax
import jax.numpy as jnp
import numpy as np


@functools.cache
def _update(update):
    return jax.jit(update)


@functools.cache
def _differentiated(update):
    def total(losses, state, inputs):
        values, new = update(losses, state, **inputs)
        return values.astype(jnp.float32).sum(), (values, new)

    return jax.jit(jax.grad(total, has_aux=True))


def update(transform, losses, state=None, **inputs):
    """Runs the update of a transform or threshold under jit, by default from its initial state."""
    state = transform.init() if state is None else state
    return _update(transform.update)(jnp.asarray(losses), state, **inputs)


def weights_of(transform, losses, state=None, **inputs):
    """Returns the derivative of each value by its loss, the values and the new state, as NumPy."""
    state = transform.init() if state is None else state
    grads, (values, new) = _differentiated(transform.update)(jnp.asarray(losses), state, inputs)
    return np.asarray(grads), np.asarray(values), new
