"""Targets of a regression, some of which are made wrong. All randomness is raw threefry bits."""

from __future__ import annotations

import jax
import numpy as np
from jax.typing import ArrayLike

from superloss_jax._checks import FINITE, ZERO_TO_ONE, check_number
from superloss_jax._noisy_labels import random_bits, uniform


def permute_targets(key: jax.Array, targets: ArrayLike, rate: float) -> np.ndarray:
    """Gives each of round(rate * N) random examples the target of another one of them.

    Args:
      key: a JAX random key (threefry, the default).
      targets: shape (N,), any dtype.
      rate: fraction in [0, 1].

    Returns:
      A NumPy array of the same shape and dtype. Equal targets may be exchanged, so that fewer than
      `rate` are wrong. If round(rate * N) is 1, that example keeps its target.

    Raises:
      ValueError: if the rate is outside [0, 1], or the targets are not of shape (N,).

    >>> print(permute_targets(jax.random.key(0), np.array([0.5, 1.5]), 1.0))
    [1.5 0.5]
    """
    targets, chosen = _chosen(key, targets, rate)
    noisy = targets.copy()
    noisy[chosen] = targets[np.roll(chosen, 1)]  # in random order, so this is a random cycle
    return noisy


def uniform_targets(
    key: jax.Array, targets: ArrayLike, rate: float, *, low: float, high: float
) -> np.ndarray:
    """Replaces the targets of round(rate * N) random examples by numbers between low and high.

    Args:
      key: a JAX random key (threefry, the default).
      targets: real floating, shape (N,).
      rate: fraction in [0, 1].
      low: lower end of the uniform distribution, in the targets' unit.
      high: upper end, at least `low`.

    Returns:
      A NumPy array of the same shape and dtype.

    Raises:
      ValueError: if the rate is outside [0, 1], the targets are not floating of shape (N,), or low
        and high are not finite or not in order.

    >>> print(uniform_targets(jax.random.key(0), np.array([0.5, 1.5]), 0.0, low=0, high=9))
    [0.5 1.5]
    """
    targets, chosen = _chosen(key, targets, rate)
    if targets.dtype.kind != "f":
        raise ValueError(f"targets: expected real floating numbers, got {targets.dtype}")
    for name, value in (("low", low), ("high", high)):
        check_number(name, value, FINITE)
    if low > high:
        raise ValueError(f"low: expected at most high, {high}, got {low}")
    drawn = uniform(jax.random.fold_in(key, 1), chosen.shape)
    noisy = targets.copy()
    noisy[chosen] = low + (high - low) * drawn
    return noisy


def _chosen(key: jax.Array, targets: ArrayLike, rate: float) -> tuple[np.ndarray, np.ndarray]:
    """Returns the targets as an array, and the positions of those that change, in random order."""
    rate = float(check_number("rate", rate, ZERO_TO_ONE))
    targets = np.asarray(targets)
    if targets.ndim != 1:
        raise ValueError(f"targets: expected shape (N,), got {targets.shape}")
    order = np.argsort(np.asarray(random_bits(key, targets.shape)), kind="stable")
    return targets, order[: round(rate * len(targets))]
