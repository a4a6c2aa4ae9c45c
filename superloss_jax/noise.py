"""Label noise: transition matrices, and labels drawn through them.

All randomness is raw threefry bits, most of it sorted or compared with integer thresholds: one key
gives the same labels on every platform, whatever `jax_enable_x64` and `jax_threefry_partitionable`
say.
"""

import difflib
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from superloss_jax._base import checked

KINDS = ("symmetric_exclusive", "symmetric_inclusive", "pair_flip", "asymmetric")

# Truck to automobile, bird to airplane, deer to horse, cat and dog to each other.
CIFAR10_FLIPS: Mapping[int, int] = {9: 1, 2: 0, 4: 7, 3: 5, 5: 3}

# The superclass of each of CIFAR-100's classes, as in its coarse labels.
_CIFAR100_COARSE = (
    4, 1, 14, 8, 0, 6, 7, 7, 18, 3, 3, 14, 9, 18, 7, 11, 3, 9, 7, 11, 6, 11, 5, 10, 7, 6, 13, 15, 3,
    15, 0, 11, 1, 10, 12, 14, 16, 9, 11, 5, 5, 19, 8, 8, 15, 13, 14, 17, 18, 10, 16, 4, 17, 4, 2, 0,
    17, 4, 18, 17, 10, 3, 2, 12, 12, 16, 12, 1, 9, 19, 2, 10, 0, 1, 16, 12, 9, 13, 15, 13, 16, 19,
    2, 4, 6, 19, 5, 5, 8, 19, 18, 1, 2, 15, 6, 0, 17, 8, 14, 13,
)  # fmt: skip


def _cyclic(groups) -> dict[int, int]:
    """Each class to the next of its group, the last to the first."""
    flips: dict[int, int] = {}
    for group in set(groups):
        members = [i for i, g in enumerate(groups) if g == group]
        flips |= dict(zip(members, members[1:] + members[:1], strict=True))
    return flips


CIFAR100_FLIPS: Mapping[int, int] = _cyclic(_CIFAR100_COARSE)


def transition_matrix(
    kind: str, rate: float, num_classes: int, *, flips: Mapping[int, int] | None = None
) -> np.ndarray:
    """The matrix T with `T[i, j]` the probability that an example of class i is labelled j.

        symmetric_exclusive   T = (1 - rate) I + rate (1 - I) / (C - 1)
        symmetric_inclusive   T = (1 - rate) I + rate / C
        pair_flip             T[i, i] = 1 - rate,  T[i, (i + 1) mod C] = rate
        asymmetric            T[i, i] = 1 - rate,  T[i, flips[i]] = rate  for i in flips, else I

    Papers call both of the first two "symmetric": one draws wrong labels among the other classes,
    so that a fraction `rate` is wrong; the other draws among all, so that `rate (1 - 1/C)` is.

    Args:
      kind: one of the above.
      rate: noise rate in [0, 1].
      num_classes: C, at least 2.
      flips: for `asymmetric`, the class that each class is mistaken for: `CIFAR10_FLIPS`,
        `CIFAR100_FLIPS` (the next class of the superclass), or the user's own.

    Returns:
      A float64 NumPy array of shape (C, C) whose rows sum to 1.

    Raises:
      ValueError: for an unknown kind, a rate outside [0, 1], fewer than two classes, or flips that
        are missing, not needed or not between classes.

    >>> transition_matrix("symmetric_exclusive", 0.4, 3)
    array([[0.6, 0.2, 0.2],
           [0.2, 0.6, 0.2],
           [0.2, 0.2, 0.6]])

    References: Brendan van Rooyen, Aditya Menon, Robert Williamson, "Learning with Symmetric Label
    Noise: The Importance of Being Unhinged", NeurIPS 2015. Giorgio Patrini, Alessandro Rozza,
    Aditya Menon, Richard Nock, Lizhen Qu, "Making Deep Neural Networks Robust to Label Noise: A
    Loss Correction Approach", CVPR 2017 (the maps of `asymmetric`). Bo Han et al., "Co-teaching:
    Robust Training of Deep Neural Networks with Extremely Noisy Labels", NeurIPS 2018
    (`pair_flip`).
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
    if (flips is not None) != (kind == "asymmetric"):
        raise ValueError(f"flips: expected for asymmetric noise and only there, got {flips!r}")
    same = np.eye(num_classes)
    if kind == "symmetric_exclusive":
        return (1 - rate) * same + rate * (1 - same) / (num_classes - 1)
    if kind == "symmetric_inclusive":
        return (1 - rate) * same + rate / num_classes
    if flips is None:
        flips = {i: (i + 1) % num_classes for i in range(num_classes)}
    classes = set(range(num_classes))
    if not classes >= {*flips, *flips.values()} or any(i == j for i, j in flips.items()):
        raise ValueError(f"flips: expected pairs of different classes below {num_classes}")
    matrix = same.copy()
    for i, j in flips.items():
        matrix[i, i], matrix[i, j] = 1 - rate, rate
    return matrix


def corrupt_labels(
    key: jax.Array, labels: ArrayLike, matrix: np.ndarray, *, exact: bool = False
) -> jax.Array:
    """Draws noisy labels: `P(noisy = j | clean = i) = matrix[i, j]`, independently of each other.

    With `exact`, the numbers are fixed and only the examples are drawn: of the n_i labels of class
    i, n_i T_ij become j, rounded by largest remainders so that round(sum of n_i (1 - T_ii)) labels
    are flipped in all.

    Args:
      key: a JAX random key (threefry, the default).
      labels: integers in [0, C), any shape.
      matrix: shape (C, C), rows summing to 1, as from `transition_matrix`.
      exact: whether to fix the numbers; not for traced labels.

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
        return jnp.asarray(_exact(np.asarray(bits), labels, matrix))
    # 31 bits, since a probability of 1 is 2**31 then, which fits into uint32.
    upper = np.rint(np.cumsum(matrix, axis=1)[:, :-1] * 2**31).astype(np.uint32)
    noisy = jnp.sum(bits[..., None] >> 1 >= jnp.asarray(upper)[labels], axis=-1, dtype=jnp.int32)
    return noisy.astype(labels.dtype)


def permute_labels(key: jax.Array, labels: ArrayLike, rate: float) -> jax.Array:
    """Shuffles the labels of the first round(rate * N) examples among these examples.

    Some keep their label by chance, so that less than `rate` is wrong.

    Args:
      key: a JAX random key (threefry, the default).
      labels: shape (N,), any dtype.
      rate: fraction in [0, 1].

    Returns:
      Labels of the same shape and dtype.

    Raises:
      ValueError: for a rate outside [0, 1].

    >>> print(permute_labels(jax.random.key(0), jnp.array([0, 1, 2, 3]), 0.0))
    [0 1 2 3]

    Reference: Shreyas Saxena, Oncel Tuzel, Dennis DeCoste, "Data Parameters: A New Family of
    Parameters for Learning a Differentiable Curriculum", NeurIPS 2019.
    """
    checked("rate", rate, "a number in [0, 1]", lambda x: 0 <= x <= 1)
    labels = jnp.asarray(labels)
    count = round(rate * labels.shape[0])
    order = jnp.argsort(_bits(key, (count,)))
    return jnp.concatenate([labels[:count][order], labels[count:]])


def instance_dependent_labels(
    key: jax.Array, images: ArrayLike, labels: ArrayLike, rate: float, num_classes: int
) -> np.ndarray:
    """Labels whose noise depends on the image: similar images are mistaken for the same class.

        q_n ~ N(rate, 0.1^2), truncated to [0, 1]         how often example n is mislabelled
        V_y ~ N(0, 1)^(S x C)                             one projection per clean class y
        P(noisy = j | n) = 1 - q_n for j = y_n, else q_n softmax over j != y_n of (x_n V_(y_n))_j

    Computed in float64 on the host, from raw threefry bits: rounding that differs between
    processors could move a label only where a probability lies within it of a drawn number.

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
      ValueError: for a rate outside [0, 1], fewer than two classes, labels outside [0, C), or
        numbers of images and labels that differ.

    >>> images, labels = np.arange(24.0).reshape(4, 6), np.array([0, 1, 1, 2])
    >>> instance_dependent_labels(jax.random.key(0), images, labels, 0.4, 3).shape
    (4,)

    Reference: Xiaobo Xia et al., "Part-dependent Label Noise: Towards Instance-dependent Label
    Noise", NeurIPS 2020 (algorithm 2).
    """
    checked("rate", rate, "a number in [0, 1]", lambda x: 0 <= x <= 1)
    images, labels = np.asarray(images), np.asarray(labels)
    if num_classes < 2:
        raise ValueError(f"num_classes: expected at least 2, got {num_classes}")
    if labels.ndim != 1 or len(images) != len(labels):
        raise ValueError(f"labels: expected shape ({len(images)},), got {labels.shape}")
    if labels.size and not 0 <= labels.min() <= labels.max() < num_classes:
        raise ValueError(f"labels: expected 0 to {num_classes - 1}, got {set(labels.tolist())}")
    flip_key, projection_key, draw_key = (jax.random.fold_in(key, i) for i in range(3))
    # Of 16 normal numbers, the first that lies in [0, 1]; at a rate of 0 or 1, half of them do.
    candidates = rate + 0.1 * _normal(flip_key, (len(labels), 16))
    inside = (candidates >= 0) & (candidates <= 1)
    first = np.take_along_axis(candidates, inside.argmax(axis=1)[:, None], axis=1)
    flip_rates = np.clip(first[:, 0], 0, 1)
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
        # The upper end of [0, 1) is that of the flips.
        upper = 1 - flip_rates[members][:, None] + np.cumsum(weights, axis=1)
        chosen = (drawn[members][:, None] >= upper[:, :-1]).sum(axis=1)
        noisy[members] = np.where(drawn[members] < 1 - flip_rates[members], y, chosen)
    return noisy


def _normal(key, shape) -> np.ndarray:
    """Standard normal float64 numbers, by Box and Muller's formula from threefry bits."""
    u = (np.asarray(_bits(key, (2, *shape)), np.float64) + 0.5) / 2**32
    return np.sqrt(-2 * np.log(u[0])) * np.cos(2 * np.pi * u[1])


def _bits(key, shape):
    with jax.threefry_partitionable(True):
        return jax.random.bits(key, shape, jnp.uint32)


def _round_to_total(quotas, total: int) -> np.ndarray:
    """Integers that sum to `total`, by largest remainders; the first of equal ones gains."""
    whole = np.floor(quotas + 1e-9).astype(np.int64)
    order = np.argsort(-np.round(quotas - whole, 9), kind="stable")
    whole[order[: total - whole.sum()]] += 1
    return whole


def _exact(bits, labels, matrix):
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
