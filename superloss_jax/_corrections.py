"""Forward and backward loss correction with a known transition matrix (Patrini et al., 2017)."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from superloss_jax._base import LossTransform, from_logits
from superloss_jax._checks import check_stochastic
from superloss_jax._probabilities import times


def _rows(matrix: np.ndarray, logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Returns each label's row of the matrix."""
    return jnp.take(jnp.asarray(matrix, logits.dtype), labels, axis=0)


def _forward(logits: jax.Array, labels: jax.Array, *, log_columns: np.ndarray) -> jax.Array:
    """Returns -log (T^T p)_y from the logarithm of T's columns."""
    log_p = jax.nn.log_softmax(logits)
    columns = _rows(log_columns, logits, labels)
    joint = log_p + columns
    # Where the label is impossible, value and slope are cross entropy's with the classes behind it.
    impossible = (joint == -jnp.inf).all(axis=-1)
    limit = -jnp.sum(times(jax.nn.softmax(columns), log_p), axis=-1)
    value = -jax.nn.logsumexp(jnp.where(impossible[..., None], 0, joint), axis=-1)
    return jnp.where(impossible, limit, value)


def _backward(logits: jax.Array, labels: jax.Array, *, inverse: np.ndarray) -> jax.Array:
    """Returns (T^-1 (-log p))_y from the inverse of T."""
    log_p = jax.nn.log_softmax(logits)
    # A sum, since accelerators multiply matrices in fewer bits.
    return -jnp.sum(times(_rows(inverse, logits, labels), log_p), axis=-1)


def forward_correction(transition_matrix: ArrayLike) -> LossTransform[tuple[()]]:
    """Forward correction sends the prediction through the noise before it meets the noisy label.

        -log (T^T p)_y = -log sum_k p_k T[k, y]        T[i, j] = P(noisy j | clean i)

    Args:
      transition_matrix: T, shape (C, C), rows summing to 1 and no column of zeros, as from
        `superloss_jax.noise.transition_matrix`. With the identity, it is cross entropy.

    Returns:
      A `LossTransform` without state, which needs `logits` and `labels`.

    Raises:
      ValueError: if T is not such a matrix; by `update`, if T has another number of classes.

    >>> logits, labels = jnp.array([[1e4, 0.0]]), jnp.array([1])
    >>> transform = forward_correction([[0.5, 0.5], [0.0, 1.0]])
    >>> print(jnp.exp(-transform.update(jnp.ones(1), (), logits=logits, labels=labels)[0]))
    [0.5]

    Reference: Giorgio Patrini et al., "Making Deep Neural Networks Robust to Label Noise: A Loss
    Correction Approach", CVPR 2017.
    """
    matrix = check_stochastic("transition_matrix", transition_matrix)
    if len(never := np.flatnonzero(matrix.max(axis=0) == 0)):
        raise ValueError(f"transition_matrix: expected no column of zeros, got {never.tolist()}")
    with np.errstate(divide="ignore"):
        log_columns = np.log(matrix).T
    value = functools.partial(_forward, log_columns=log_columns)
    return from_logits("forward_correction", value, len(matrix))


def backward_correction(transition_matrix: ArrayLike) -> LossTransform[tuple[()]]:
    """Backward correction is a loss whose mean over the noise is the clean label's cross entropy.

        (T^-1 (-log p))_y = -sum_k T^-1[y, k] log p_k        T[i, j] = P(noisy j | clean i)

    T^-1 has negative entries. The loss may be negative, and has no lower bound.

    Args:
      transition_matrix: T, shape (C, C), rows summing to 1, as from
        `superloss_jax.noise.transition_matrix`. Its condition number is at most 1e6, beyond which
        float32 keeps hardly a digit. With the identity, it is cross entropy.

    Returns:
      A `LossTransform` without state, which needs `logits` and `labels`.

    Raises:
      ValueError: if T is not such a matrix; by `update`, if T has another number of classes.

    >>> logits, labels = jnp.log(jnp.array([[1.0, 3.0]])), jnp.array([1])
    >>> transform = backward_correction([[0.75, 0.25], [0.25, 0.75]])  # T^-1: 1.5 and -0.5
    >>> losses, _ = transform.update(jnp.ones(1), (), logits=logits, labels=labels)
    >>> print(f"{losses[0]:.3f}")  # 1.5 log(4 / 3) - 0.5 log(4)
    -0.262

    Reference: Giorgio Patrini et al., "Making Deep Neural Networks Robust to Label Noise: A Loss
    Correction Approach", CVPR 2017.
    """
    matrix = check_stochastic("transition_matrix", transition_matrix)
    condition = np.linalg.cond(matrix)
    if not condition <= 1e6:
        raise ValueError(
            "transition_matrix: expected an invertible matrix with a condition number of at most"
            f" 1e6, got {condition:.2g}"
        )
    value = functools.partial(_backward, inverse=np.linalg.inv(matrix))
    return from_logits("backward_correction", value, len(matrix))
