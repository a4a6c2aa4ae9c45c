"""Labels drawn through label noise.

All randomness is raw threefry bits, most of it sorted or compared with integer thresholds. One key
gives the same labels on every platform, whatever `jax_enable_x64` and `jax_threefry_partitionable`
say.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from superloss_jax._checks import ZERO_TO_ONE, check_number, check_stochastic


def corrupt_labels(
    key: jax.Array, labels: ArrayLike, matrix: np.ndarray, *, exact: bool = False
) -> jax.Array:
    """Draws noisy labels: `P(noisy = j | clean = i) = matrix[i, j]`, independently of each other.

    With `exact`, the counts are fixed and only the examples are drawn: n_i T_ij of the n_i labels
    of class i become j. Counts are rounded by largest remainders, so that the total of flipped
    labels is round(sum of n_i (1 - T_ii)).

    Args:
      key: a JAX random key (threefry, the default).
      labels: integers in [0, C), any shape.
      matrix: shape (C, C), rows summing to 1, as from `transition_matrix`.
      exact: whether to fix the counts; not for traced labels.

    Returns:
      Noisy labels, with the shape and dtype of `labels`.

    Raises:
      ValueError: if the matrix is not square and row-stochastic, or the labels are not integers in
        [0, C). Of traced labels, only the dtype is checked.

    >>> from superloss_jax.noise import transition_matrix
    >>> matrix = transition_matrix("symmetric_exclusive", 1.0, 2)
    >>> print(corrupt_labels(jax.random.key(0), jnp.array([0, 1, 1]), matrix))
    [1 0 0]
    """
    matrix = check_stochastic("matrix", matrix, least_classes=2)
    traced = isinstance(labels, jax.core.Tracer)
    if not traced and np.size(labels):
        low, high = np.min(np.asarray(labels)), np.max(np.asarray(labels))
        if not 0 <= low <= high < len(matrix):
            raise ValueError(f"labels: expected 0 to {len(matrix) - 1}, got {low} to {high}")
    if exact and traced:
        raise ValueError("exact: expected labels with values, got traced ones")
    labels = np.asarray(labels) if exact else jnp.asarray(labels)
    if not jnp.issubdtype(labels.dtype, jnp.integer):
        raise ValueError(f"labels: expected integers, got {labels.dtype}")
    bits = _bits(key, labels.shape)
    if exact:
        return jnp.asarray(_exact(np.asarray(bits), np.asarray(labels), matrix))
    # With 31 bits, a probability of 1 is 2**31, which fits into uint32.
    upper = np.rint(np.cumsum(matrix, axis=1)[:, :-1] * 2**31).astype(np.uint32)
    noisy = jnp.sum(bits[..., None] >> 1 >= jnp.asarray(upper)[labels], axis=-1, dtype=jnp.int32)
    return noisy.astype(labels.dtype)


def permute_labels(key: jax.Array, labels: ArrayLike, rate: float) -> jax.Array:
    """Shuffles the labels of the first round(rate * N) examples among these examples.

    Some examples keep their label by chance, so that fewer than `rate` are wrong.

    Args:
      key: a JAX random key (threefry, the default).
      labels: shape (N,), any dtype.
      rate: fraction in [0, 1].

    Returns:
      Labels of the same shape and dtype.

    Raises:
      ValueError: if the rate is outside [0, 1].

    >>> print(permute_labels(jax.random.key(0), jnp.array([0, 1, 2, 3]), 0.0))
    [0 1 2 3]

    Reference: Shreyas Saxena, Oncel Tuzel, Dennis DeCoste, "Data Parameters: A New Family of
    Parameters for Learning a Differentiable Curriculum", NeurIPS 2019.
    """
    check_number("rate", rate, ZERO_TO_ONE)
    labels = jnp.asarray(labels)
    count = round(rate * labels.shape[0])
    order = jnp.argsort(_bits(key, (count,)))
    return jnp.concatenate([labels[:count][order], labels[count:]])


def instance_dependent_labels(
    key: jax.Array, images: ArrayLike, labels: ArrayLike, rate: float, num_classes: int
) -> np.ndarray:
    """Draws labels whose noise depends on the image: similar images become the same wrong class.

        q_n ~ N(rate, 0.1^2), truncated to [0, 1]         how often example n is mislabelled
        V_y ~ N(0, 1)^(S x C)                             one projection per clean class y
        P(noisy = j | n) = 1 - q_n for j = y_n, else q_n softmax over j != y_n of (x_n V_(y_n))_j

    This is computed in float64 on the host, from raw threefry bits. Processors that round
    differently could give an example another label only if a probability lies within rounding of
    its drawn number.

    Args:
      key: a JAX random key (threefry, the default).
      images: shape (N, ...), flattened to S numbers each and standardised by their common mean and
        standard deviation.
      labels: integers in [0, C), shape (N,).
      rate: mean noise rate in [0, 1].
      num_classes: C, at least 2.

    Returns:
      Noisy labels as a NumPy array, with the shape and dtype of `labels`.

    Raises:
      ValueError: if the rate is outside [0, 1], there are fewer than two classes, a label is
        outside [0, C), or there are more images than labels or fewer.

    >>> images, labels = np.arange(24.0).reshape(4, 6), np.array([0, 1, 1, 2])
    >>> instance_dependent_labels(jax.random.key(0), images, labels, 0.4, 3).shape
    (4,)

    Reference: Xiaobo Xia et al., "Part-dependent Label Noise: Towards Instance-dependent Label
    Noise", NeurIPS 2020 (algorithm 2).
    """
    check_number("rate", rate, ZERO_TO_ONE)
    images, labels = np.asarray(images), np.asarray(labels)
    if num_classes < 2:
        raise ValueError(f"num_classes: expected at least 2, got {num_classes}")
    if labels.ndim != 1 or len(images) != len(labels):
        raise ValueError(f"labels: expected shape ({len(images)},), got {labels.shape}")
    if labels.size and not 0 <= labels.min() <= labels.max() < num_classes:
        raise ValueError(f"labels: expected 0 to {num_classes - 1}, got {set(labels.tolist())}")
    flip_key, projection_key, draw_key = (jax.random.fold_in(key, i) for i in range(3))
    flip_rates = _flip_rates(flip_key, rate, len(labels))
    drawn = (np.asarray(_bits(draw_key, labels.shape), np.float64) + 0.5) / 2**32
    mean, std = images.mean(dtype=np.float64), images.std(dtype=np.float64) or 1.0
    noisy = labels.copy()
    for y in np.unique(labels):
        members = np.flatnonzero(labels == y)
        x = (images[members].reshape(len(members), -1).astype(np.float64) - mean) / std
        scores = x @ _normal(jax.random.fold_in(projection_key, int(y)), (x.shape[1], num_classes))
        scores[:, y] = -np.inf
        weights = np.exp(scores - scores.max(axis=1, keepdims=True))
        weights *= (flip_rates[members] / weights.sum(axis=1))[:, None]
        # Drawn numbers below 1 - q keep the label; the flips share those above.
        upper = 1 - flip_rates[members][:, None] + np.cumsum(weights, axis=1)
        chosen = (drawn[members][:, None] >= upper[:, :-1]).sum(axis=1)
        noisy[members] = np.where(drawn[members] < 1 - flip_rates[members], y, chosen)
    return noisy


def _flip_rates(key: jax.Array, rate: float, size: int) -> np.ndarray:
    """Returns numbers of N(rate, 0.1^2), truncated to [0, 1]."""
    # The first of 16 candidates that lies in [0, 1]. At a rate of 0 or 1, half of them do.
    candidates = rate + 0.1 * _normal(key, (size, 16))
    inside = (candidates >= 0) & (candidates <= 1)
    first = np.take_along_axis(candidates, inside.argmax(axis=1)[:, None], axis=1)
    return np.clip(first[:, 0], 0, 1)


def _normal(key: jax.Array, shape: tuple[int, ...]) -> np.ndarray:
    """Returns standard normal float64 numbers, by Box and Muller's formula from threefry bits."""
    u = (np.asarray(_bits(key, (2, *shape)), np.float64) + 0.5) / 2**32
    return np.sqrt(-2 * np.log(u[0])) * np.cos(2 * np.pi * u[1])


def _bits(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Returns 32 random bits for each element, whatever `jax_threefry_partitionable` says."""
    with jax.threefry_partitionable(True):
        return jax.random.bits(key, shape, jnp.uint32)


def _round_to_total(quotas: np.ndarray, total: int) -> np.ndarray:
    """Rounds to integers that sum to `total`, by largest remainders; of equal ones the first."""
    whole = np.floor(quotas + 1e-9).astype(np.int64)
    order = np.argsort(-np.round(quotas - whole, 9), kind="stable")
    whole[order[: total - whole.sum()]] += 1
    return whole


def _exact(bits: np.ndarray, labels: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Returns noisy labels whose counts are those of the matrix, rounded."""
    noisy, flat = labels.ravel().copy(), labels.ravel()
    sizes = np.bincount(flat, minlength=len(matrix))
    wrong = matrix * (1 - np.eye(len(matrix)))
    quotas = sizes * wrong.sum(axis=1)
    flipped = _round_to_total(quotas, round(quotas.sum() + 1e-9))
    for i in np.flatnonzero(flipped):
        counts = _round_to_total(flipped[i] * wrong[i] / wrong[i].sum(), flipped[i])
        members = np.flatnonzero(flat == i)
        chosen = members[np.argsort(bits.ravel()[members], kind="stable")[: flipped[i]]]
        noisy[chosen] = np.repeat(np.arange(len(matrix)), counts)
    return noisy.reshape(labels.shape)
