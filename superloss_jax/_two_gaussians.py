"""A mixture of two Gaussians, fitted to numbers in a fixed number of operations."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jax import lax

# scikit-learn's names and values, except for the first, which is the official code's of OGC.
_REG_COVAR, _TOL = 1e-3, 1e-3


def _two_means(values: jax.Array) -> jax.Array:
    """Returns (2, n) whether each of the sorted values is in the lower or the upper cluster."""
    number = values.size
    lower = jnp.arange(1, number, dtype=values.dtype)
    upper = number - lower
    centred = values - jnp.mean(values)
    # With a mean of 0, the squares between two clusters are sum^2 (1 / lower + 1 / upper).
    between = jnp.cumsum(centred)[:-1] ** 2 * (1 / lower + 1 / upper)
    is_lower = jnp.arange(number) <= jnp.argmax(between)
    return jnp.stack([is_lower, ~is_lower]).astype(values.dtype)


def _maximised(values: jax.Array, shares: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Returns weights, means and variances, each (2,), of shares (2, n)."""
    numbers = jnp.sum(shares, axis=1) + 10 * jnp.finfo(values.dtype).eps
    means = shares @ values / numbers
    squares = (values[None] - means[:, None]) ** 2
    variances = jnp.sum(shares * squares, axis=1) / numbers + _REG_COVAR
    return numbers / jnp.sum(numbers), means, variances


def fit_two_gaussians(values: jax.Array, rounds: int) -> tuple[jax.Array, jax.Array]:
    """Returns means (2,), the smaller first, and their variances (2,).

    It is expectation maximisation from the best two clusters, until the mean log-likelihood changes
    by less than 1e-3, or for a number of rounds. 1e-3 is added to the variances.
    """
    values = jnp.sort(values)
    if values.size < 2:
        return jnp.repeat(values, 2), jnp.full(2, _REG_COVAR, values.dtype)

    def improve(_, carry):
        (weights, means, variances), before, done = carry
        distances = (values[None] - means[:, None]) ** 2 / variances[:, None]
        normal = -0.5 * (distances + jnp.log(2 * math.pi * variances)[:, None])
        joint = normal + jnp.log(weights)[:, None]
        total = jax.nn.logsumexp(joint, axis=0)
        likelihood = jnp.mean(total)
        new = _maximised(values, jnp.exp(joint - total[None]))
        kept = jax.tree.map(
            lambda old, one: jnp.where(done, old, one), (weights, means, variances), new
        )
        return kept, likelihood, done | (jnp.abs(likelihood - before) < _TOL)

    start = _maximised(values, _two_means(values))
    infinite = jnp.asarray(-jnp.inf, values.dtype)
    carry = (start, infinite, jnp.asarray(False))
    (_, means, variances), _, _ = lax.fori_loop(0, rounds, improve, carry)
    first = jnp.argsort(means)
    return means[first], variances[first]
