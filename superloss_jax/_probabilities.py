"""Probabilities, computed without cancellation and overflow, and with 0 times infinity as 0."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike


def log_probabilities(logits: jax.Array, labels: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns the log-probability of each class, and that of the label."""
    log_p = jax.nn.log_softmax(logits)
    return log_p, jnp.take_along_axis(log_p, labels[..., None], axis=-1)[..., 0]


def p_log_p(log_p: jax.Array) -> jax.Array:
    """Returns p * log p, and 0 for a class of logit -infinity, whose p is 0."""
    log_p = jnp.maximum(log_p, jnp.finfo(log_p.dtype).min)
    return jnp.exp(log_p) * log_p


def entropy(logits: jax.Array) -> jax.Array:
    """Returns the entropy of each example's probabilities, in nats."""
    return -jnp.sum(p_log_p(jax.nn.log_softmax(logits)), axis=-1)


def times(factor: ArrayLike, values: jax.Array) -> jax.Array:
    """Returns factor * values, and 0 where the factor is 0, even if the value is infinite."""
    factor = jnp.asarray(factor, values.dtype)
    return factor * jnp.where((factor == 0) & jnp.isinf(values), 0, values)


def one_minus_exp(x: jax.Array) -> jax.Array:
    """Returns 1 - exp(-x); value and derivative are exact to rounding."""
    # JAX differentiates expm1 as its value plus 1, which cancels for large x.
    return jnp.where(x < 0.7, -jnp.expm1(-x), 1 - jnp.exp(-x))
