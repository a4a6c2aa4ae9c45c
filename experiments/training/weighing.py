"""The weights that methods give to losses, and weights with a mean of 1."""

import jax
import jax.numpy as jnp

from superloss_jax import LossTransform, memory


def normalised(method: LossTransform) -> LossTransform:
    """Divides each loss's weight by the mean weight of the batch, which the article does not."""

    def update(losses, state, *, where=None, **inputs):
        where = jnp.ones(losses.shape, bool) if where is None else where
        transformed, new = method.update(losses, state, where=where, **inputs)
        sigma = weights(method, jax.lax.stop_gradient(losses), state, where, inputs)
        mean = jnp.sum(jnp.where(where, sigma, 0)) / jnp.maximum(jnp.sum(where), 1)
        factor = jnp.where(mean > 0, 1 / jnp.where(mean > 0, mean, 1), 1)
        return transformed * jax.lax.stop_gradient(factor), new

    return LossTransform(method.init, update)


def weights(method: LossTransform, losses, state, where, inputs) -> jax.Array:
    """Returns each example's weight: the derivative of the transformed losses by its loss.

    Data parameters work on logits; their weight is 1 / sigma.
    """
    if isinstance(state, memory.DataParametersState):
        parts = ((state.examples, "index"), (state.classes, "labels"))
        sigmas = [jnp.exp(part.log_sigma[inputs[name]]) for part, name in parts if part]
        return 1 / sum(sigmas[1:], sigmas[0])

    def total(losses):
        return jnp.sum(method.update(losses, state, where=where, **inputs)[0])

    return jax.grad(total)(losses)
