"""Probabilities, computed without cancellation and overflow."""

import jax
import jax.numpy as jnp


def log_probabilities(logits: jax.Array, labels: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns the log-probability of each class and that of the label, NaN for a label too high."""
    log_p = jax.nn.log_softmax(logits)
    return log_p, jnp.take_along_axis(log_p, labels[..., None], axis=-1)[..., 0]


def one_minus_exp(x: jax.Array) -> jax.Array:
    """Returns 1 - exp(-x); value and derivative are exact to rounding."""
    # JAX differentiates expm1 as its value plus 1, which cancels for large x.
    return jnp.where(x < 0.7, -jnp.expm1(-x), 1 - jnp.exp(-x))
