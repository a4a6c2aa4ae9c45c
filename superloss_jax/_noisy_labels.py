"""Labels drawn through label noise.

All randomness is raw threefry bits, most of it sorted or compared with integer thresholds. One key
gives the same labels on every platform, whatever `jax_enable_x64` and `jax_threefry_partitionable`
say.
"""

import functools
from statistics import NormalDist
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from superloss_jax._checks import ZERO_TO_ONE, check_integer, check_number, check_stochastic
from superloss_jax._inputs import as_rows, is_row


def corrupt_labels(
    key: jax.Array, labels: ArrayLike, matrix: np.ndarray, *, exact: bool = False
) -> jax.Array:
    """Draws noisy labels: `P(noisy = j | clean = i) = matrix[i, j]`, independently of each other.

    With `exact`, the counts are fixed and only the examples are drawn: n_i T_ij of the n_i labels
    of class i become j. Counts are rounded by largest remainders, so that the total of flipped
    labels is round(sum of n_i (1 - T_ii)).

    Args:
      key: a JAX random key (threefry, the default).
      labels: integers in [0, C) of any dtype, any shape.
      matrix: shape (C, C), rows summing to 1, as from `transition_matrix`.
      exact: whether to fix the counts; not for traced labels.

    Returns:
      Noisy labels of the same shape and dtype; int32 if that dtype cannot hold C - 1.

    Raises:
      ValueError: if the matrix is not square and row-stochastic, or the labels are not integers in
        [0, C). Of traced labels, only the dtype is checked; one that is no class stays as it is.

    >>> from superloss_jax.noise import transition_matrix
    >>> matrix = transition_matrix("symmetric_exclusive", 1.0, 2)
    >>> print(corrupt_labels(jax.random.key(0), jnp.array([0, 1, 1]), matrix))
    [1 0 0]
    """
    matrix = check_stochastic("matrix", matrix, least_classes=2)
    traced = isinstance(labels, jax.core.Tracer)
    if exact and traced:
        raise ValueError("exact: expected labels with values, got traced ones")
    if not traced:
        _check_classes(np.asarray(labels), len(matrix))
    labels = jnp.asarray(labels)
    dtype = _holding(labels.dtype, len(matrix))
    clean = as_rows("labels", labels)  # a narrow dtype may not hold the number of classes
    bits = random_bits(key, clean.shape)
    if exact:
        return jnp.asarray(_exact(np.asarray(bits), np.asarray(clean), matrix)).astype(dtype)
    # With 31 bits, a probability of 1 is 2**31, which fits into uint32.
    upper = np.rint(np.cumsum(matrix, axis=1)[:, :-1] * 2**31).astype(np.uint32)
    noisy = _number_up_to(bits >> 1, jnp.asarray(upper), clean)
    if traced:
        known = is_row(clean, len(matrix))
        return jnp.where(known, noisy.astype(dtype), labels.astype(dtype))
    return noisy.astype(dtype)


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
    rate = float(check_number("rate", rate, ZERO_TO_ONE))
    labels = jnp.asarray(labels)
    if not labels.ndim:
        raise ValueError(f"labels: expected shape (N,), got a single {labels.dtype}")
    count = round(rate * labels.shape[0])
    order = jnp.argsort(random_bits(key, (count,)))
    return jnp.concatenate([labels[:count][order], labels[count:]])


def instance_dependent_labels(
    key: jax.Array, images: ArrayLike, labels: ArrayLike, rate: float, num_classes: int
) -> np.ndarray:
    """Draws labels whose noise depends on the image: similar images become the same wrong class.

        q_n ~ N(rate, 0.1^2), truncated to rate +- d      how often example n is mislabelled
        V_y ~ N(0, 1)^(S x C)                             one projection per clean class y
        P(noisy = j | n) = 1 - q_n for j = y_n, else q_n softmax over j != y_n of (x_n V_(y_n))_j

    The paper truncates to [0, 1], which moves the mean away from rates near 0 or 1: 8 % of the
    labels would be wrong at a rate of 0. Here d = min(rate, 1 - rate). That is symmetric about the
    rate, so that the mean is the rate, and cuts off less than 1 in 10,000 at rates from 0.4 to 0.6.

    This is computed in float64 on the host, from raw threefry bits. Processors that round
    differently could give an example another label only if a probability lies within rounding of
    its drawn number.

    Args:
      key: a JAX random key (threefry, the default).
      images: shape (N, ...), flattened to S numbers each and standardised by their common mean and
        standard deviation. If all numbers are equal, the flips are uniform.
      labels: integers in [0, C) of any dtype, shape (N,).
      rate: mean noise rate in [0, 1].
      num_classes: C, at least 2.

    Returns:
      Noisy labels as a NumPy array of the same shape and dtype; int32 if that dtype cannot hold
      C - 1.

    Raises:
      ValueError: if the rate is outside [0, 1], there are fewer than two classes, a label is
        outside [0, C), there are more images than labels or fewer, or images are not real and
        finite.

    >>> images, labels = np.arange(24.0).reshape(4, 6), np.array([0, 1, 1, 2])
    >>> instance_dependent_labels(jax.random.key(0), images, labels, 0.4, 3).shape
    (4,)

    Reference: Xiaobo Xia et al., "Part-dependent Label Noise: Towards Instance-dependent Label
    Noise", NeurIPS 2020 (algorithm 2, apart from the truncation).
    """
    rate = float(check_number("rate", rate, ZERO_TO_ONE))
    num_classes = check_integer("num_classes", num_classes, least=2)
    images, labels = np.asarray(images), np.asarray(labels)
    if labels.ndim != 1 or images.shape[:1] != labels.shape:
        raise ValueError(f"labels: expected shape {images.shape[:1]}, got {labels.shape}")
    _check_classes(labels, num_classes)
    mean, std = _moments(images)
    flip_key, projection_key, draw_key = (jax.random.fold_in(key, i) for i in range(3))
    flip_rates = _flip_rates(flip_key, rate, len(labels))
    drawn = uniform(draw_key, labels.shape)
    clean = labels.astype(np.int64)
    noisy = clean.copy()
    for y in np.unique(clean):
        members = np.flatnonzero(clean == y)
        x = (images[members].reshape(len(members), -1).astype(np.float64) - mean) / std
        scores = x @ _normal(jax.random.fold_in(projection_key, int(y)), (x.shape[1], num_classes))
        scores[:, y] = -np.inf
        weights = np.exp(scores - scores.max(axis=1, keepdims=True))
        weights *= (flip_rates[members] / weights.sum(axis=1))[:, None]
        # Drawn numbers below 1 - q keep the label; the flips share those above.
        upper = 1 - flip_rates[members][:, None] + np.cumsum(weights, axis=1)
        chosen = (drawn[members][:, None] >= upper[:, :-1]).sum(axis=1)
        noisy[members] = np.where(drawn[members] < 1 - flip_rates[members], y, chosen)
    return noisy.astype(_holding(labels.dtype, num_classes))


def _check_classes(labels: np.ndarray, num_classes: int) -> None:
    """Raises ValueError unless the labels are integers in [0, num_classes)."""
    _holding(labels.dtype, num_classes)
    if labels.size and not 0 <= labels.min() <= labels.max() < num_classes:
        got = f"{labels.min()} to {labels.max()}"
        raise ValueError(f"labels: expected 0 to {num_classes - 1}, got {got}")


def _holding(dtype: Any, num_classes: int) -> np.dtype:
    """Returns the labels' integer dtype if it holds every class, else int32."""
    if not jnp.issubdtype(dtype, jnp.integer):
        raise ValueError(f"labels: expected integers, got {dtype}")
    return np.dtype(dtype if jnp.iinfo(dtype).max >= num_classes - 1 else np.int32)


def _moments(images: np.ndarray) -> tuple[float, float]:
    """Returns mean and standard deviation of all numbers; 1 for the latter if they are equal."""
    real = jnp.issubdtype(images.dtype, jnp.floating) or images.dtype.kind in "iub"
    if not real:
        raise ValueError(f"images: expected real numbers, got {images.dtype}")
    if not images.size:
        if len(images):
            raise ValueError(f"images: expected at least one number each, got {images.shape}")
        return 0.0, 1.0
    with np.errstate(over="ignore", invalid="ignore"):
        mean, std = float(images.mean(dtype=np.float64)), float(images.std(dtype=np.float64))
    if not np.isfinite([mean, std]).all():
        wrong = ~np.isfinite(images.reshape(len(images), -1)).all(axis=1)
        where = f"NaN or infinity in image {wrong.argmax()}" if wrong.any() else "larger ones"
        raise ValueError(f"images: expected finite numbers below 1e150, got {where}")
    # The mean of equal numbers may be off by rounding, which must not be magnified.
    return mean, 1.0 if images.min() == images.max() else std or 1.0


def _flip_rates(key: jax.Array, rate: float, size: int) -> np.ndarray:
    """Returns numbers of N(rate, 0.1^2), truncated to the same distance on both sides."""
    normal = NormalDist(0, 0.1)
    least = normal.cdf(-min(rate, 1 - rate))
    quantiles = least + (1 - 2 * least) * uniform(key, (size,))
    return np.clip(rate + np.array([*map(normal.inv_cdf, quantiles.tolist())]), 0, 1)


def _normal(key: jax.Array, shape: tuple[int, ...]) -> np.ndarray:
    """Returns standard normal float64 numbers, by Box and Muller's formula from threefry bits."""
    u = uniform(key, (2, *shape))
    return np.sqrt(-2 * np.log(u[0])) * np.cos(2 * np.pi * u[1])


def uniform(key: jax.Array, shape: tuple[int, ...]) -> np.ndarray:
    """Returns float64 numbers between 0 and 1, from threefry bits."""
    return (np.asarray(random_bits(key, shape), np.float64) + 0.5) / 2**32


def random_bits(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Returns 32 random bits for each element, whatever `jax_threefry_partitionable` says."""
    with jax.threefry_partitionable(True):
        return _bits(key, shape)


@functools.partial(jax.jit, static_argnums=1)  # or each operation is compiled by itself
def _bits(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    return jax.random.bits(key, shape, jnp.uint32)


def _round_to_total(quotas: np.ndarray, total: int) -> np.ndarray:
    """Rounds to integers that sum to `total`, by largest remainders; of equal ones the first."""
    whole = np.floor(quotas + 1e-9).astype(np.int64)
    order = np.argsort(-np.round(quotas - whole, 9), kind="stable")
    whole[order[: total - whole.sum()]] += 1
    return whole


@jax.jit
def _number_up_to(values: jax.Array, table: jax.Array, rows: jax.Array) -> jax.Array:
    """Returns how many entries of each value's row are at most the value; rows rise."""
    # By bisection: comparing with whole rows needs memory for every example and class at once.
    width = table.shape[1]
    found = jnp.zeros_like(rows)
    for step in (2**i for i in reversed(range(width.bit_length()))):
        probe = found + step
        reached = table[rows, jnp.minimum(probe, width) - 1] <= values
        found = jnp.where((probe <= width) & reached, probe, found)
    return found


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
