"""Label smoothing (Szegedy et al., 2016)."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from superloss_jax._base import LossTransform, from_logits
from superloss_jax._checks import ZERO_TO_ONE, Scalar, check_number
from superloss_jax._probabilities import log_probabilities, times


def _label_smoothing(logits: jax.Array, labels: jax.Array, *, smoothing: Scalar) -> jax.Array:
    """Returns cross entropy with the label, mixed with the mean over all classes."""
    log_p, log_p_y = log_probabilities(logits, labels)
    return -(times(1 - smoothing, log_p_y) + times(smoothing, jnp.mean(log_p, axis=-1)))


def label_smoothing(*, smoothing: ArrayLike = 0.1) -> LossTransform[tuple[()]]:
    """Label smoothing is cross entropy with labels mixed with the uniform distribution.

        -(1 - s) log p_y - (s / K) sum_k log p_k        K: number of classes

    The loss is infinite if any class has probability 0.

    Args:
      smoothing: s, in [0, 1], where 0 is cross entropy; the paper's is 0.1.

    Returns:
      A `LossTransform` without state, which needs `logits` and `labels`.

    Raises:
      ValueError: if `smoothing` is out of range.

    >>> logits, labels = jnp.log(jnp.array([[1.0, 3.0]])), jnp.array([1])
    >>> transform = label_smoothing(smoothing=0.5)
    >>> losses, _ = transform.update(jnp.ones(1), (), logits=logits, labels=labels)
    >>> print(f"{losses[0]:.3f}")  # 3 / 4 log(4 / 3) + 1 / 4 log 4
    0.562

    Reference: Christian Szegedy, Vincent Vanhoucke, Sergey Ioffe, Jon Shlens, Zbigniew Wojna,
    "Rethinking the Inception Architecture for Computer Vision", CVPR 2016. With noisy labels:
    Michal Lukasik, Srinadh Bhojanapalli, Aditya Menon, Sanjiv Kumar, "Does Label Smoothing
    Mitigate Label Noise?", ICML 2020.
    """
    smoothing = check_number("smoothing", smoothing, ZERO_TO_ONE)
    return from_logits("label_smoothing", functools.partial(_label_smoothing, smoothing=smoothing))
