"""Bootstrapping (Reed et al., 2015)."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from superloss_jax._base import LossTransform, from_logits
from superloss_jax._checks import ZERO_TO_ONE, Scalar, check_number
from superloss_jax._probabilities import log_probabilities, p_log_p, times


def _soft(logits: jax.Array, labels: jax.Array, *, beta: Scalar) -> jax.Array:
    """Returns cross entropy with the label, mixed with the entropy of the prediction."""
    log_p, log_p_y = log_probabilities(logits, labels)
    own = jnp.sum(p_log_p(log_p), axis=-1)
    return -(times(beta, log_p_y) + times(1 - beta, own))


def _hard(logits: jax.Array, labels: jax.Array, *, beta: Scalar) -> jax.Array:
    """Returns cross entropy with the label, mixed with that with the predicted class."""
    log_p, log_p_y = log_probabilities(logits, labels)
    _, own = log_probabilities(logits, jnp.argmax(log_p, axis=-1))
    return -(times(beta, log_p_y) + times(1 - beta, own))


def bootstrap(*, beta: ArrayLike | None = None, hard: bool = False) -> LossTransform[tuple[()]]:
    """Bootstrapping is cross entropy with labels mixed with the network's own predictions.

        soft    -sum_k (beta t_k + (1 - beta) p_k) log p_k        t: the label, one-hot
        hard    -sum_k (beta t_k + (1 - beta) z_k) log p_k        z: the largest p, one-hot

    The soft form adds the entropy of p and differentiates both of its factors (minimum entropy
    regularisation). In the hard form z is constant; of equal classes, the first is the largest.

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
    beta = check_number("beta", (0.8 if hard else 0.95) if beta is None else beta, ZERO_TO_ONE)
    return from_logits("bootstrap", functools.partial(_hard if hard else _soft, beta=beta))
