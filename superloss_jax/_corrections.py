"""Robust losses that mix labels or correct them: bootstrapping, and a known transition matrix."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from superloss_jax._base import Batch, LossTransform, checked, stateless

NEEDS = ("logits", "labels")


def log_probabilities(batch: Batch) -> tuple[jax.Array, jax.Array]:
    """The log-probability of each class, and that of the label (NaN for a class too high)."""
    log_p = jax.nn.log_softmax(batch.logits)
    return log_p, jnp.take_along_axis(log_p, batch.labels[..., None], axis=-1)[..., 0]


def bootstrap(*, beta: ArrayLike | None = None, hard: bool = False) -> LossTransform:
    """Bootstrapping: cross entropy with labels mixed with the network's own predictions.

        soft    -sum_k (beta t_k + (1 - beta) p_k) log p_k        t: the label, one-hot
        hard    -sum_k (beta t_k + (1 - beta) z_k) log p_k        z: the largest p, one-hot

    The soft form adds the entropy of p, differentiated through both of its factors (minimum
    entropy regularisation); z is constant, and the first class of equal ones.

    Args:
      beta: weight of the label, in [0, 1], where 1 is cross entropy. None is the paper's: 0.95 for
        the soft form, 0.8 for the hard one.
      hard: whether predictions are one-hot.

    Returns:
      A `LossTransform` without state, which needs `logits` and `labels`.

    Raises:
      ValueError: if `beta` is out of range.

    >>> logits, labels = jnp.log(jnp.array([[1.0, 4.0]])), jnp.array([0])
    >>> transform = bootstrap(beta=0.0, hard=True)
    >>> losses, _ = transform.update(jnp.ones(1), (), logits=logits, labels=labels)
    >>> print(f"{losses[0]:.3f}")  # -log(4 / 5)
    0.223

    Reference: Scott Reed et al., "Training Deep Neural Networks on Noisy Labels with
    Bootstrapping", ICLR workshop 2015.
    """
    beta = (0.8 if hard else 0.95) if beta is None else beta
    beta = checked("beta", beta, "a number in [0, 1]", lambda x: 0 <= x <= 1)

    def value(batch):
        log_p, log_p_y = log_probabilities(batch)
        if hard:
            _, own = log_probabilities(batch._replace(labels=jnp.argmax(log_p, axis=-1)))
        else:
            own = jnp.sum(jnp.exp(log_p) * log_p, axis=-1)
        return -(beta * log_p_y + (1 - beta) * own)

    return stateless("bootstrap", value, NEEDS)


def _checked_matrix(matrix: ArrayLike) -> np.ndarray:
    """A row-stochastic matrix in float64, or an error."""
    matrix = np.asarray(matrix, np.float64)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not matrix.size:
        raise ValueError(f"transition_matrix: expected shape (C, C), got {matrix.shape}")
    sums = matrix.sum(axis=1)
    if not (matrix >= 0).all() or not np.allclose(sums, 1, rtol=0, atol=1e-6):
        raise ValueError(
            f"transition_matrix: expected rows >= 0 that sum to 1, got sums {sums} and entries"
            f" from {matrix.min()}"
        )
    return matrix


def _rows(matrix: np.ndarray, batch: Batch) -> jax.Array:
    """The row of each label, or an error if the network has other classes than the matrix."""
    classes = batch.logits.shape[-1]
    if classes != len(matrix):
        raise ValueError(f"logits: transition_matrix has {len(matrix)} classes, got {classes}")
    return jnp.take(jnp.asarray(matrix, batch.losses.dtype), batch.labels, axis=0)


def forward_correction(transition_matrix: ArrayLike) -> LossTransform:
    """Cross entropy between the noisy label and the prediction, sent through the same noise.

        -log (T^T p)_y = -log sum_k p_k T[k, y]        T[i, j] = P(noisy j | clean i)

    Args:
      transition_matrix: T, shape (C, C), rows summing to 1 and no column of zeros, as from
        `superloss_jax.noise.transition_matrix`. With the identity, cross entropy.

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
    matrix = _checked_matrix(transition_matrix)
    if len(never := np.flatnonzero(matrix.max(axis=0) == 0)):
        raise ValueError(f"transition_matrix: expected no column of zeros, got {never.tolist()}")
    with np.errstate(divide="ignore"):
        log_columns = np.log(matrix).T

    def value(batch):
        log_p, _ = log_probabilities(batch)
        return -jax.nn.logsumexp(log_p + _rows(log_columns, batch), axis=-1)

    return stateless("forward_correction", value, NEEDS)


def backward_correction(transition_matrix: ArrayLike) -> LossTransform:
    """The loss whose mean over the noise is cross entropy with the clean label.

        (T^-1 (-log p))_y = -sum_k T^-1[y, k] log p_k        T[i, j] = P(noisy j | clean i)

    T^-1 has negative entries: the loss may be negative, without a bound.

    Args:
      transition_matrix: T, shape (C, C), rows summing to 1, as from
        `superloss_jax.noise.transition_matrix`; its condition number at most 1e6, beyond which
        float32 keeps hardly a digit. With the identity, cross entropy.

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
    matrix = _checked_matrix(transition_matrix)
    condition = np.linalg.cond(matrix)
    if not condition <= 1e6:
        raise ValueError(
            "transition_matrix: expected an invertible matrix with a condition number of at most"
            f" 1e6, got {condition:.2g}"
        )
    inverse = np.linalg.inv(matrix)

    def value(batch):
        log_p, _ = log_probabilities(batch)
        # Summed, not multiplied as matrices, which accelerators do in fewer bits.
        return -jnp.sum(_rows(inverse, batch) * log_p, axis=-1)

    return stateless("backward_correction", value, NEEDS)
