"""A mixture of two Gaussians, fitted to numbers in a fixed number of operations."""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

# scikit-learn's names and values, except for the first, which is the official code's of OGC.
_REG_COVAR, _TOL = 1e-3, 1e-3


class TwoGaussians(NamedTuple):
    """A mixture of two Gaussians, the one of the smaller mean first.

    Attributes:
      weights: (2,), which sum to 1.
      means: (2,).
      variances: (2,).
    """

    weights: jax.Array
    means: jax.Array
    variances: jax.Array


def _two_means(values: jax.Array, where: jax.Array) -> jax.Array:
    """Returns (2, n) whether each of the sorted values is in the lower or the upper cluster."""
    size, number = values.size, jnp.sum(where, dtype=values.dtype)
    lower = jnp.arange(1, size, dtype=values.dtype)
    upper = jnp.maximum(number - lower, 1)
    centred = jnp.where(where, values - jnp.sum(values) / jnp.maximum(number, 1), 0)
    # With a mean of 0, the squares between two clusters are sum^2 (1 / lower + 1 / upper).
    between = jnp.cumsum(centred)[:-1] ** 2 * (1 / lower + 1 / upper)
    is_lower = jnp.arange(size) <= jnp.argmax(jnp.where(where[1:], between, -1))
    return jnp.stack([where & is_lower, where & ~is_lower]).astype(values.dtype)


def _maximised(values: jax.Array, shares: jax.Array, reg_covar: float) -> TwoGaussians:
    """Returns the mixture of values of which each component has a share, (2, n)."""
    numbers = jnp.sum(shares, axis=1) + 10 * jnp.finfo(values.dtype).eps
    means = shares @ values / numbers
    squares = (values[None] - means[:, None]) ** 2
    variances = jnp.sum(shares * squares, axis=1) / numbers + reg_covar
    return TwoGaussians(numbers / jnp.sum(numbers), means, variances)


def log_joint(values: jax.Array, mixture: TwoGaussians) -> jax.Array:
    """Returns (2, n), the log of each component's weight times its density."""
    weights, means, variances = mixture
    distances = (values[None] - means[:, None]) ** 2 / variances[:, None]
    normal = -0.5 * (distances + jnp.log(2 * math.pi * variances)[:, None])
    return normal + jnp.log(weights)[:, None]


def fit_two_gaussians(
    values: jax.Array,
    rounds: int,
    where: jax.Array | None = None,
    reg_covar: float = _REG_COVAR,
    tol: float = _TOL,
) -> TwoGaussians:
    """Returns the mixture that fits those of the values, (n,), that the mask does not leave out.

    It is expectation maximisation from the best two clusters, until the mean log-likelihood changes
    by less than `tol`, or for a number of rounds. `reg_covar` is added to the variances.
    """
    where = jnp.ones(values.shape, bool) if where is None else where
    number = jnp.sum(where)
    values = jnp.sort(jnp.where(where, values, jnp.inf))  # those left out are last, and then 0
    where = jnp.arange(values.size) < number
    values, count = jnp.where(where, values, 0), jnp.maximum(number, 1).astype(values.dtype)
    if values.size < 2:
        one = jnp.ones(2, values.dtype)
        return TwoGaussians(one / 2, one * values, one * reg_covar)

    def improve(_, carry):
        mixture, before, done = carry
        joint = log_joint(values, mixture)
        total = jax.nn.logsumexp(joint, axis=0)
        likelihood = jnp.sum(jnp.where(where, total, 0)) / count
        new = _maximised(values, jnp.where(where[None], jnp.exp(joint - total[None]), 0), reg_covar)
        kept = jax.tree.map(lambda old, one: jnp.where(done, old, one), mixture, new)
        return kept, likelihood, done | (jnp.abs(likelihood - before) < tol)

    start = _maximised(values, _two_means(values, where), reg_covar)
    infinite = jnp.asarray(-jnp.inf, values.dtype)
    mixture, _, _ = lax.fori_loop(0, rounds, improve, (start, infinite, jnp.asarray(False)))
    first = jnp.argsort(mixture.means)
    return jax.tree.map(lambda one: one[first], mixture)
