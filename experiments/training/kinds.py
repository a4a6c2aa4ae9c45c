"""Methods on several kinds of units, such as images with and without a label, a state for each."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from superloss_jax import LossTransform


def by_kind(method: LossTransform, kinds: int) -> LossTransform:
    """Applies a method to each kind of units by itself: the input `kind` says which is whose."""
    if kinds == 1:
        return method

    def init():
        return jax.vmap(lambda _: method.init())(jnp.arange(kinds))

    def update(losses, state, *, where, kind, **inputs):
        def one(state, number):
            return method.update(losses, state, where=where & (kind == number), **inputs)

        transformed, state = jax.vmap(one)(state, jnp.arange(kinds))
        return transformed.sum(axis=0), state  # what a method does not see, it makes 0

    return LossTransform(init, update)


def advance_by_kind(advance: Callable, kinds: int) -> Callable:
    """Advances the state of each kind by the losses of its own units."""
    if kinds == 1:
        return lambda state, losses, where, kind: advance(state, losses, where)

    def by_itself(state, losses, where, kind):
        def one(state, number):
            return advance(state, losses, where & (kind == number))

        return jax.vmap(one)(state, jnp.arange(kinds))

    return by_itself
