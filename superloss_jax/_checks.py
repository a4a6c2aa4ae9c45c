"""Checks of hyperparameters: what a message says was expected, and how values are tested."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

# A checked hyperparameter; one that was traced, or an array, stays one.
Scalar = float | jax.Array
# As in Optax: a function of the step, an int32 scalar, that returns a number.
Schedule = Callable[[jax.Array], ArrayLike]


class Range(NamedTuple):
    """The numbers that a hyperparameter may be.

    Attributes:
      wanted: how an error message describes them.
      contains: whether a number, never NaN, is one of them.
    """

    wanted: str
    contains: Callable[[float], bool]


ZERO_TO_ONE = Range("a number in [0, 1]", lambda x: 0 <= x <= 1)
ZERO_TO_BELOW_ONE = Range("a number in [0, 1)", lambda x: 0 <= x < 1)
ABOVE_ZERO_TO_ONE = Range("a number in (0, 1]", lambda x: 0 < x <= 1)
ZERO_TO_ONE_OPEN = Range("a number in (0, 1)", lambda x: 0 < x < 1)
PERCENT = Range("a number in [0, 100]", lambda x: 0 <= x <= 100)
FINITE = Range("a finite number", math.isfinite)
POSITIVE = Range("a number > 0", lambda x: 0 < x < math.inf)
NOT_NEGATIVE = Range("a finite number >= 0", lambda x: 0 <= x < math.inf)
NEGATIVE = Range("a finite number < 0", lambda x: -math.inf < x < 0)
ABOVE_ONE = Range("a finite number > 1", lambda x: 1 < x < math.inf)


def check_number(name: str, value: ArrayLike, allowed: Range) -> Scalar:
    """Returns a scalar in the range, Python's as a float; a traced one passes unchecked."""
    scalar: Any = value
    if isinstance(value, jax.core.Tracer):
        return scalar
    python = isinstance(value, numbers.Real) and not isinstance(value, bool)
    array = isinstance(value, jax.Array | np.ndarray | np.generic) and np.ndim(value) == 0
    number = float(np.asarray(value, np.float64)) if python or array else math.nan
    if math.isnan(number) or not allowed.contains(number):
        raise ValueError(f"{name}: expected {allowed.wanted}, got {value!r}")
    return number if python else scalar


def check_integer(name: str, value: int | None, least: int = 1) -> int:
    """Returns an integer >= least as Python's int."""
    if isinstance(value, numbers.Integral) and not isinstance(value, bool) and value >= least:
        return int(value)
    raise ValueError(f"{name}: expected an integer >= {least}, got {value!r}")


def as_schedule(name: str, value: ArrayLike | Schedule, allowed: Range) -> Schedule:
    """Returns a schedule as it is, and a number in the range as a constant schedule."""
    if not callable(value):
        wanted = f"{allowed.wanted} or a schedule"
        number = check_number(name, value, allowed._replace(wanted=wanted))
        return lambda step: number
    schedule = value

    def checked(step: jax.Array) -> jax.Array:
        found = schedule(step)
        if found is None or jnp.ndim(found) != 0:
            got = "None" if found is None else f"an array of shape {jnp.shape(found)}"
            raise ValueError(f"{name}: expected a schedule that returns a scalar, got {got}")
        return as_real(name, found)

    return checked


def check_stochastic(name: str, matrix: ArrayLike, least_classes: int = 1) -> np.ndarray:
    """Returns a float64 copy of a square matrix whose rows are probabilities."""
    matrix = np.array(matrix, np.float64)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or len(matrix) < least_classes:
        at_least = f" with C >= {least_classes}" if least_classes > 1 else ""
        raise ValueError(f"{name}: expected shape (C, C){at_least}, got {matrix.shape}")
    sums = matrix.sum(axis=1)
    if not (matrix >= 0).all() or not np.allclose(sums, 1, rtol=0, atol=1e-6):
        raise ValueError(
            f"{name}: expected rows >= 0 that sum to 1, got sums {sums} and entries from"
            f" {matrix.min()}"
        )
    return matrix


def as_real(name: str, value: ArrayLike) -> jax.Array:
    """Returns a real floating array; integers become floats, complex numbers raise TypeError."""
    array = jnp.asarray(value)
    if jnp.issubdtype(array.dtype, jnp.complexfloating):
        raise TypeError(f"{name}: expected real numbers, got {array.dtype}")
    if not jnp.issubdtype(array.dtype, jnp.floating):
        array = array.astype(jnp.result_type(float))
    return array


def compute_dtype(*dtypes: np.dtype) -> np.dtype:
    """Returns float64 if it is among the dtypes, and float32 for everything narrower."""
    return np.dtype("float64" if np.float64 in dtypes else "float32")
