"""Transition matrices of label noise."""

import difflib
from collections.abc import Mapping

import numpy as np

from superloss_jax._checks import ZERO_TO_ONE, check_integer, check_number

KINDS = ("symmetric_exclusive", "symmetric_inclusive", "pair_flip", "asymmetric")

# Truck to automobile, bird to airplane, deer to horse, cat and dog to each other.
CIFAR10_FLIPS: Mapping[int, int] = {9: 1, 2: 0, 4: 7, 3: 5, 5: 3}

# The superclass of each of CIFAR-100's classes, as in its coarse labels. Fine labels are in
# alphabetical order, so that the five of a superclass are not consecutive.
_CIFAR100_COARSE = (
    4, 1, 14, 8, 0, 6, 7, 7, 18, 3, 3, 14, 9, 18, 7, 11, 3, 9, 7, 11, 6, 11, 5, 10, 7, 6, 13, 15, 3,
    15, 0, 11, 1, 10, 12, 14, 16, 9, 11, 5, 5, 19, 8, 8, 15, 13, 14, 17, 18, 10, 16, 4, 17, 4, 2, 0,
    17, 4, 18, 17, 10, 3, 2, 12, 12, 16, 12, 1, 9, 19, 2, 10, 0, 1, 16, 12, 9, 13, 15, 13, 16, 19,
    2, 4, 6, 19, 5, 5, 8, 19, 18, 1, 2, 15, 6, 0, 17, 8, 14, 13,
)  # fmt: skip


def _cyclic(groups) -> dict[int, int]:
    """Maps each class to the next of its group, and the last to the first."""
    flips: dict[int, int] = {}
    for group in set(groups):
        members = [i for i, g in enumerate(groups) if g == group]
        flips |= dict(zip(members, members[1:] + members[:1], strict=True))
    return flips


CIFAR100_FLIPS: Mapping[int, int] = _cyclic(_CIFAR100_COARSE)
# What published code does where papers say "within superclasses": blocks of five consecutive fine
# labels. Only six of these flips stay within a superclass.
CIFAR100_BLOCK_FLIPS: Mapping[int, int] = _cyclic([i // 5 for i in range(100)])


def transition_matrix(
    kind: str, rate: float, num_classes: int, *, flips: Mapping[int, int] | None = None
) -> np.ndarray:
    """Returns the matrix T whose `T[i, j]` is the probability that class i is labelled j.

        symmetric_exclusive   T = (1 - rate) I + rate (1 - I) / (C - 1)
        symmetric_inclusive   T = (1 - rate) I + rate / C
        pair_flip             T[i, i] = 1 - rate,  T[i, (i + 1) mod C] = rate
        asymmetric            T[i, i] = 1 - rate,  T[i, flips[i]] = rate  for i in flips, else I

    Papers call both of the first two "symmetric". The exclusive one draws wrong labels among the
    other classes, so that a fraction `rate` is wrong. The inclusive one draws among all classes,
    so that `rate (1 - 1/C)` is wrong.

    Args:
      kind: one of the above.
      rate: noise rate in [0, 1].
      num_classes: C, at least 2.
      flips: for `asymmetric`, the class that each class is mistaken for: `CIFAR10_FLIPS`,
        `CIFAR100_FLIPS` (the next class of the superclass, as papers say),
        `CIFAR100_BLOCK_FLIPS` (the next of five consecutive labels, as the code behind published
        numbers does), or your own.

    Returns:
      A float64 NumPy array of shape (C, C) whose rows sum to 1.

    Raises:
      ValueError: if the kind is unknown, the rate is outside [0, 1], there are fewer than two
        classes, or flips are missing, not needed or not between classes.

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
    rate = float(check_number("rate", rate, ZERO_TO_ONE))
    num_classes = check_integer("num_classes", num_classes, least=2)
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
