"""Confidence-aware losses. Half precision is computed in float32."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from superloss_jax._checks import ZERO_TO_ONE, as_real, check_number, compute_dtype
from superloss_jax._inputs import as_rows, is_row


def _floats(**named: ArrayLike) -> tuple[list[jax.Array], Any]:
    """Returns the arguments, broadcast, in at least float32, and the dtype of the first."""
    arrays = [as_real(name, value) for name, value in named.items()]
    dtype = compute_dtype(arrays[0].dtype)
    return jnp.broadcast_arrays(*(array.astype(dtype) for array in arrays)), arrays[0].dtype


def confidence_cross_entropy(
    logits: ArrayLike, labels: ArrayLike, sigma: ArrayLike = 1.0
) -> jax.Array:
    """Returns cross entropy of logits z that are scaled by the confidence.

        L = -log softmax(sigma * z)[label]

    With `sigma=1` it is cross entropy. With 0 it is log(classes), whatever the logits. A class of
    logit -infinity keeps the probability 0 at any sigma, and is not counted. The paper divides
    logits by a learned temperature of the sample or of its class, which is 1 / sigma.

    Args:
      logits: real, of shape (..., classes).
      labels: integers of shape (...), or a shape that broadcasts with it.
      sigma: confidence >= 0; broadcasts with the labels.

    Returns:
      Losses in nats, in the dtype of the logits. Their shape is what labels, sigma and the logits
      without their last axis broadcast to. The loss of a label that is no class is NaN.

    Raises:
      TypeError: for complex numbers.
      ValueError: if the labels are no integers, or the logits have no axis of classes.

    >>> import jax.numpy as jnp
    >>> losses = confidence_cross_entropy(jnp.array([2.0, 0.0]), 0, jnp.array([0.0, 1.0, 4.0]))
    >>> print([f"{v:.4f}" for v in losses])
    ['0.6931', '0.1269', '0.0003']

    Reference: Shreyas Saxena, Oncel Tuzel, Dennis DeCoste, "Data Parameters: A New Family of
    Parameters for Learning a Differentiable Curriculum", NeurIPS 2019.
    """
    logits, labels = as_real("logits", logits), as_rows("labels", labels)
    if logits.ndim == 0:
        raise ValueError("logits: expected shape (..., classes), got a scalar")
    dtype = compute_dtype(logits.dtype)
    sigma = as_real("sigma", sigma).astype(dtype)
    shape = jnp.broadcast_shapes(logits.shape[:-1], labels.shape, sigma.shape)
    z = jnp.broadcast_to(logits.astype(dtype), (*shape, logits.shape[-1]))
    possible = z != -jnp.inf
    scaled = jnp.broadcast_to(sigma, shape)[..., None] * jnp.where(possible, z, 0)
    log_p = jax.nn.log_softmax(jnp.where(possible, scaled, -jnp.inf))
    labels = jnp.broadcast_to(labels, shape)
    known = is_row(labels, logits.shape[-1])
    picked = jnp.take_along_axis(log_p, jnp.where(known, labels, 0)[..., None], axis=-1)
    return jnp.where(known, -picked[..., 0], jnp.nan).astype(logits.dtype)


def reliability(
    average_precision: ArrayLike, sigma: ArrayLike, kappa: ArrayLike = 0.5
) -> jax.Array:
    """Returns R2D2's loss of a descriptor that may say it is not reliable.

        L = sigma * (1 - AP) + (1 - sigma) * (1 - kappa)

    A descriptor is worth its confidence if its average precision exceeds kappa.

    Args:
      average_precision: AP in [0, 1], any shape.
      sigma: reliability in [0, 1]; broadcasts.
      kappa: scalar in [0, 1], the average precision below which sigma is driven to 0.

    Returns:
      Losses in [0, 1], of the broadcast shape and the dtype of `average_precision`.

    Raises:
      TypeError: for complex numbers.
      ValueError: if `kappa` is outside [0, 1].

    >>> import jax.numpy as jnp
    >>> print(reliability(jnp.array([0.0, 0.5, 1.0]), 0.75))
    [0.875 0.5   0.125]

    Reference: Jerome Revaud, Philippe Weinzaepfel, Cesar De Souza, Martin Humenberger, "R2D2:
    Repeatable and Reliable Detector and Descriptor", NeurIPS 2019.
    """
    kappa = check_number("kappa", kappa, ZERO_TO_ONE)
    (precision, sigma), dtype = _floats(average_precision=average_precision, sigma=sigma)
    values = sigma * (1 - precision) + (1 - sigma) * (1 - jnp.asarray(kappa, precision.dtype))
    return values.astype(dtype)


# log((exp(s) - 1) / s) = s / 2 + the sum over k of B_2k s**2k / (2k (2k)!), B Bernoulli's numbers.
# These seven are exact to a float64 for |s| <= 1/2.
_BERNOULLI = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6)
_SERIES = [b / (2 * k * math.factorial(2 * k)) for k, b in enumerate(_BERNOULLI, start=1)]


def introspection(similarity_loss: ArrayLike, sigma: ArrayLike) -> jax.Array:
    """Returns introspection's loss of a match: minus the log of a density over similarities.

        L = sigma * (l - 1) + log((exp(sigma) - 1) / sigma)

    For a similarity s in [0, 1], `l` is 1 - s for a match and s for a non-match. The density
    exp(-L) integrates to 1 over l. At sigma 0 it is uniform and the loss is 0. As sigma grows, it
    concentrates near l = 0. Value and derivatives are computed without cancellation at any finite
    sigma.

    Args:
      similarity_loss: l in [0, 1], any shape.
      sigma: confidence >= 0; broadcasts. For negative ones the formula holds, too.

    Returns:
      Losses in nats, of the broadcast shape and the dtype of `similarity_loss`. They are negative
      where the density exceeds 1.

    Raises:
      TypeError: for complex numbers.

    >>> import jax.numpy as jnp
    >>> losses = introspection(jnp.array([0.0, 0.5, 1.0]), 10.0)
    >>> print([f"{v:.3f}" for v in losses])
    ['-2.303', '2.697', '7.697']

    Reference: David Novotny, Samuel Albanie, Diane Larlus, Andrea Vedaldi, "Self-Supervised
    Learning of Geometrically Stable Features through Probabilistic Introspection", CVPR 2018.
    """
    (loss, sigma), dtype = _floats(similarity_loss=similarity_loss, sigma=sigma)
    near = jnp.abs(sigma) < 0.5
    small = jnp.where(near, sigma, 0)
    even = jnp.zeros_like(small)
    for coefficient in reversed(_SERIES):
        even = (even + coefficient) * (small * small)
    # Mirrored for sigma < 0: the two terms of size sigma cancel for l = 0, and are not formed.
    large = jnp.where(near, 1, jnp.abs(sigma))
    mirrored = jnp.where(sigma < 0, 1 - loss, loss)
    values = large * mirrored + jnp.log(-jnp.expm1(-large)) - jnp.log(large)
    return jnp.where(near, small * (loss - 0.5) + even, values).astype(dtype)


def superloss_objective(
    losses: ArrayLike, sigma: ArrayLike, tau: ArrayLike, lam: ArrayLike = 1.0
) -> jax.Array:
    """Returns what SuperLoss minimises over its confidence.

        L = (l - tau) * sigma + lam * log(sigma)**2

    `closed_form(losses, tau, lam)` returns its least value over 0 < sigma <= e, and that sigma.

    Args:
      losses: real, any shape.
      sigma: confidence > 0; broadcasts.
      tau: threshold, in units of the loss; broadcasts.
      lam: regularisation > 0, in units of the loss; broadcasts.

    Returns:
      Losses of the broadcast shape and the dtype of `losses`.

    Raises:
      TypeError: for complex numbers.

    >>> import jax.numpy as jnp
    >>> print(superloss_objective(3.0, jnp.array([0.5, 1.0, 2.0]), tau=1.0, lam=0.0))
    [1. 2. 4.]

    Reference: Thibault Castells, Philippe Weinzaepfel, Jerome Revaud, "SuperLoss: A Generic Loss
    for Robust Curriculum Learning", NeurIPS 2020.
    """
    (loss, sigma, tau, lam), dtype = _floats(losses=losses, sigma=sigma, tau=tau, lam=lam)
    return ((loss - tau) * sigma + lam * jnp.log(sigma) ** 2).astype(dtype)
