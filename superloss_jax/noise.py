"""Label noise: transition matrices, and labels drawn through them."""

import difflib

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from superloss_jax._base import checked

KINDS = ("symmetric_exclusive", "symmetric_inclusive")


def transition_matrix(kind: str, rate: float, num_classes: int) -> np.ndarray:
    """The matrix T with `T[i, j]` the probability that an example of class i is labelled j.

        symmetric_exclusive   T = (1 - rate) I + rate (1 - I) / (C - 1)
        symmetric_inclusive   T = (1 - rate) I + rate / C

    Papers call both of them "symmetric": the first draws wrong labels among the other classes, so
    that a fraction `rate` is wrong; the second draws among all, so that `rate (1 - 1/C)` is.

    Args:
      kind: `symmetric_exclusive` or `symmetric_inclusive`.
      rate: noise rate in [0, 1].
      num_classes: C, at least 2.

    Returns:
      A float64 NumPy array of shape (C, C) whose rows sum to 1.

    Raises:
      ValueError: for an unknown kind, a rate outside [0, 1] or fewer than two classes.

    >>> transition_matrix("symmetric_exclusive", 0.4, 3)
    array([[0.6, 0.2, 0.2],
           [0.2, 0.6, 0.2],
           [0.2, 0.2, 0.6]])

    Reference: Brendan van Rooyen, Aditya Menon, Robert Williamson, "Learning with Symmetric Label
    Noise: The Importance of Being Unhinged", NeurIPS 2015.
    """
    if kind == "symmetric":
        raise ValueError(
            "noise kind: 'symmetric' is ambiguous; choose symmetric_exclusive (wrong labels drawn"
            " among the other classes) or symmetric_inclusive (among all classes)"
        )
    if kind not in KINDS:
        close = difflib.get_close_matches(kind, KINDS, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise ValueError(f"noise kind: expected one of {', '.join(KINDS)}, got {kind!r}{hint}")
    checked("rate", rate, "a number in [0, 1]", lambda x: 0 <= x <= 1)
    if num_classes < 2:
        raise ValueError(f"num_classes: expected at least 2, got {num_classes}")
    same = np.eye(num_classes)
    if kind == "symmetric_exclusive":
        return (1 - rate) * same + rate * (1 - same) / (num_classes - 1)
    return (1 - rate) * same + rate / num_classes


def corrupt_labels(key: jax.Array, labels: ArrayLike, matrix: np.ndarray) -> jax.Array:
    """Draws each label's noisy version independently: `P(noisy = j | clean = i) = matrix[i, j]`.

    The draw compares 31 random bits per label with integer thresholds, so that one threefry key
    gives the same labels on every platform, whatever `jax_enable_x64` and
    `jax_threefry_partitionable` say.

    Args:
      key: a JAX random key (threefry, the default).
      labels: integers in [0, C), any shape.
      matrix: shape (C, C), rows summing to 1, as from `transition_matrix`.

    Returns:
      Noisy labels, with the shape and dtype of `labels`.

    Raises:
      ValueError: if the matrix is not square and row-stochastic, or the labels are not integers in
        [0, C) (of traced labels, only the dtype is checked).

    >>> matrix = transition_matrix("symmetric_exclusive", 1.0, 2)
    >>> print(corrupt_labels(jax.random.key(0), jnp.array([0, 1, 1]), matrix))
    [1 0 0]
    """
    matrix = np.asarray(matrix, np.float64)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or matrix.shape[0] < 2:
        raise ValueError(f"matrix: expected shape (C, C) with C >= 2, got {matrix.shape}")
    if not (matrix >= 0).all() or not np.allclose(matrix.sum(axis=1), 1, rtol=0, atol=1e-6):
        raise ValueError(f"matrix: expected rows >= 0 that sum to 1, got sums {matrix.sum(axis=1)}")
    if not isinstance(labels, jax.core.Tracer) and np.size(labels):
        low, high = np.min(np.asarray(labels)), np.max(np.asarray(labels))
        if not 0 <= low <= high < len(matrix):
            raise ValueError(f"labels: expected 0 to {len(matrix) - 1}, got {low} to {high}")
    labels = jnp.asarray(labels)
    if not jnp.issubdtype(labels.dtype, jnp.integer):
        raise ValueError(f"labels: expected integers, got {labels.dtype}")
    # 31 bits, since a probability of 1 is 2**31 then, which fits into uint32.
    upper = np.rint(np.cumsum(matrix, axis=1)[:, :-1] * 2**31).astype(np.uint32)
    with jax.threefry_partitionable(True):
        bits = jax.random.bits(key, labels.shape, jnp.uint32) >> 1
    noisy = jnp.sum(bits[..., None] >= jnp.asarray(upper)[labels], axis=-1, dtype=jnp.int32)
    return noisy.astype(labels.dtype)
