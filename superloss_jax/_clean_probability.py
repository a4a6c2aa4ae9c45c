"""Which labels are right, by a mixture of two Gaussians over losses (Arazo 2019, Li 2020)."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from superloss_jax._inputs import as_array, read_batch
from superloss_jax._two_gaussians import fit_two_gaussians, log_joint

# The official code's of DivideMix, with scikit-learn's names.
_MAX_ITER, _REG_COVAR, _TOL = 10, 5e-4, 1e-2


def clean_probability(losses: ArrayLike, *, where: ArrayLike | None = None) -> jax.Array:
    """Returns DivideMix's probability that each label is right, from the losses of all examples.

        x  = (l - min l) / (max l - min l)
        w  = pi_1 N(x; m_1, v_1) / (pi_1 N(x; m_1, v_1) + pi_2 N(x; m_2, v_2)),      m_1 <= m_2

    The mixture of two Gaussians is fitted to x. The one of the smaller mean stands for right
    labels. Call it on losses of the whole data set, once an epoch: a batch is too small.

    This follows the official code (LiJunnan1992/DivideMix): at most ten rounds of expectation
    maximisation, until the mean log-likelihood changes by less than 0.01, with 0.0005 added to the
    variances. The code starts at a random two-means clustering. Here it is the best one, found by
    sorting. A Gaussian is wider than the other somewhere on both sides, so that w may rise again
    towards the largest or the smallest losses.

    Args:
      losses: real floating, any shape but ().
      where: boolean mask that broadcasts to the losses. Those that it leaves out, whatever they
        are, have no part in the fit.

    Returns:
      Probabilities of the losses' shape and dtype, 1 where `where` is False. If all losses are
      equal, nothing tells the labels apart, and they are 1. A NaN makes all of them NaN.

    Raises:
      TypeError: if the losses are no array.
      ValueError: if losses or mask do not fit.

    >>> import jax.numpy as jnp
    >>> print(clean_probability(jnp.array([0.1, 0.2, 0.3, 2.9, 3.0, 3.1])).round(2))
    [1. 1. 1. 0. 0. 0.]

    Reference: Junnan Li, Richard Socher, Steven C.H. Hoi, "DivideMix: Learning with Noisy Labels
    as Semi-supervised Learning", ICLR 2020.
    """
    given = as_array("losses", losses)
    batch = read_batch(given, where)
    flat, counted = batch.losses.reshape(-1), batch.where.reshape(-1)
    flat = jax.lax.stop_gradient(jnp.where(counted, flat, 0))
    least = jnp.min(flat, where=counted, initial=jnp.inf)
    most = jnp.max(flat, where=counted, initial=-jnp.inf)
    differ = ~(most <= least)  # also where one is NaN
    scaled = (flat - least) / jnp.where(differ, most - least, 1)
    scaled = jnp.where(counted & differ, scaled, 0)
    mixture = fit_two_gaussians(scaled, _MAX_ITER, counted, _REG_COVAR, _TOL)
    right = jax.nn.softmax(log_joint(scaled, mixture), axis=0)[0]
    found = jnp.where(counted & differ, right, 1)
    return found.reshape(batch.losses.shape).astype(given.dtype)
