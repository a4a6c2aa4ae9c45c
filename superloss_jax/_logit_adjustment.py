"""Logit adjustment (Menon et al., 2021)."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from superloss_jax._base import LossTransform, from_logits
from superloss_jax._checks import NOT_NEGATIVE, Scalar, check_number
from superloss_jax._probabilities import log_probabilities


def _logit_adjustment(
    logits: jax.Array, labels: jax.Array, *, log_prior: np.ndarray, tau: Scalar
) -> jax.Array:
    """Returns the cross entropy of logits + tau log prior."""
    shift = jnp.asarray(tau, logits.dtype) * jnp.asarray(log_prior, logits.dtype)
    _, log_p_y = log_probabilities(logits + jnp.broadcast_to(shift, logits.shape), labels)
    return -log_p_y


def logit_adjustment(prior: ArrayLike, *, tau: ArrayLike = 1.0) -> LossTransform[tuple[()]]:
    """Logit adjustment is cross entropy with a margin for rare classes, for a balanced error.

        -log(pi_y^tau e^(z_y) / sum_k pi_k^tau e^(z_k))        pi: how frequent the classes are

    The logits learn what the frequencies do not say. Evaluation takes them as they are: with
    tau 1, the largest is then the class that is most probable if all classes are equally frequent.

    The official code (google-research/logit_adjustment) adds 1e-12 to pi^tau. A class without
    examples then has a logit 27.6 lower; here it is refused.

    Args:
      prior: pi, shape (C,), each > 0. Their ratios count alone, so that numbers of examples will
        do, such as `jnp.bincount(labels)`.
      tau: >= 0, where 0 is cross entropy; the paper's is 1.

    Returns:
      A `LossTransform` without state, which needs `logits` and `labels`.

    Raises:
      ValueError: if `prior` or `tau` is out of range; by `update`, if there is another number of
        classes.

    >>> logits, labels = jnp.zeros((1, 2)), jnp.array([1])
    >>> transform = logit_adjustment([3, 1])
    >>> print(jnp.exp(-transform.update(jnp.ones(1), (), logits=logits, labels=labels)[0]))
    [0.25]

    Reference: Aditya Krishna Menon, Sadeep Jayasumana, Ankit Singh Rawat, Himanshu Jain, Andreas
    Veit, Sanjiv Kumar, "Long-tail learning via logit adjustment", ICLR 2021.
    """
    frequencies = np.array(prior, np.float64)
    if frequencies.ndim != 1 or not frequencies.size:
        raise ValueError(f"prior: expected shape (C,), got {frequencies.shape}")
    good = (frequencies > 0) & (frequencies < np.inf)
    if not good.all():
        first = int(np.argmin(good))
        raise ValueError(f"prior: expected numbers > 0, got {frequencies[first]:g} at {first}")
    tau = check_number("tau", tau, NOT_NEGATIVE)
    log_prior = np.log(frequencies) - np.log(frequencies.max())
    value = functools.partial(_logit_adjustment, log_prior=log_prior, tau=tau)
    return from_logits("logit_adjustment", value, len(frequencies))
