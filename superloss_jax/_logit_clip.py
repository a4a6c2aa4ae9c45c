"""LogitClip (Wei et al., 2023)."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from superloss_jax._base import LossTransform, from_logits
from superloss_jax._checks import POSITIVE, Scalar, check_number
from superloss_jax._probabilities import log_probabilities


def _logit_clip(logits: jax.Array, labels: jax.Array, *, delta: Scalar) -> jax.Array:
    """Returns the cross entropy of logits whose Euclidean norm is at most delta."""
    # A logit of -infinity is a class that is not there: it stays, and has no part in the norm.
    there = logits != -jnp.inf
    # Scaled by the largest, whose square could overflow.
    largest = jnp.max(jnp.abs(jnp.where(there, logits, 0)), axis=-1, keepdims=True)
    safe = jnp.where(largest > 0, largest, 1)
    unit = jnp.where(there, logits, 0) / safe
    size = jnp.sqrt(jnp.sum(jnp.where(largest > 0, unit, 1) ** 2, axis=-1, keepdims=True))
    clipped = jnp.where(largest > delta / size, unit * (delta / size), logits)
    _, log_p_y = log_probabilities(jnp.where(there, clipped, logits), labels)
    return -log_p_y


def logit_clip(*, delta: ArrayLike = 1.0) -> LossTransform[tuple[()]]:
    """LogitClip is the cross entropy of logits whose norm is bounded.

        CE(z min(1, delta / |z|))        |z|: the Euclidean norm of an example's logits

    The loss lies between log(1 + (K - 1) e^(-r)) and log(1 + (K - 1) e^r), where r is
    delta sqrt(K / (K - 1)). The gradient passes through the norm. Evaluation needs no clipping: it
    changes no prediction. In a `chain`, the losses that follow are of the clipped logits:

        chain(logit_clip(delta=1.0), generalized_cross_entropy())

    This is the paper's formula. The official code (hongxin001/LogitClip, `temp`) scales logits to
    the norm 1 / temp where their norm exceeds temp and not 1 / temp. Unless temp is 1, it leaves
    or scales up norms between the two, and jumps. Both agree above the larger one.

    Args:
      delta: largest norm, > 0. The epsilon-softmax authors' for CIFAR-10 is 1 for symmetric noise
        below 0.5 and 1.5 above, 2.5 for asymmetric and human noise; for CIFAR-100 2.5 for
        asymmetric noise, else 0.5.

    Returns:
      A `LossTransform` without state, which needs `logits` and `labels`.

    Raises:
      ValueError: if `delta` is out of range.

    >>> logits, labels = jnp.array([[3.0, 4.0]]), jnp.array([1])
    >>> losses, _ = logit_clip(delta=1.0).update(jnp.ones(1), (), logits=logits, labels=labels)
    >>> print(f"{losses[0]:.3f}")  # of the logits 0.6 and 0.8: log(1 + exp(-0.2))
    0.598

    Reference: Hongxin Wei, Huiping Zhuang, Renchunzi Xie, Lei Feng, Gang Niu, Bo An, Yixuan Li,
    "Mitigating Memorization of Noisy Labels by Clipping the Model Prediction", ICML 2023.
    """
    delta = check_number("delta", delta, POSITIVE)
    return from_logits("logit_clip", functools.partial(_logit_clip, delta=delta))
