"""Methods for two networks that learn together, over losses of shape (2, batch).

Both see the same batch: `losses` are (2, batch) and `logits` (2, batch, classes), a row for each
network; `labels` and `where` are (batch,). A sample that `where` masks for one of the two is left
out for both. A sample that is not kept has loss 0, and one that is kept its loss times n / m, for m
kept of n unmasked samples: the caller's mean over the n samples is then the mean over the m that
are kept. Add the two networks' means; each network has its own parameters, so the gradient of the
sum is the gradient of each.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike

from superloss_jax._base import (
    Batch,
    LossTransform,
    Schedule,
    checked,
    open_batch,
    scheduled,
)


class PairState(NamedTuple):
    """What both methods carry from step to step.

    Attributes:
      step: int32 scalar, the number of updates.
    """

    step: jax.Array


def _init() -> PairState:
    return PairState(step=jnp.int32(0))


def _scheduled_keep(keep: ArrayLike | Schedule) -> Schedule:
    return scheduled("keep", keep, "a number in (0, 1]", lambda x: 0 < x <= 1)


def _open_pair(by: str, needs: tuple[str, ...], losses, where, extra) -> tuple[Batch, jax.Array]:
    """The batch of two networks, and the (batch,) mask of the samples that both can count."""
    batch = open_batch(by, needs, losses, where, extra)
    if batch.losses.ndim != 2 or batch.losses.shape[0] != 2:
        raise ValueError(
            f"losses: {by} expected those of two networks, of shape (2, batch),"
            f" got shape {batch.losses.shape}"
        )
    return batch, batch.where.all(axis=0)


# Few units in the last place of a float32, in which schedules are computed.
_ROUNDING = 8 * float(np.finfo(np.float32).eps)


def _weights_of_small(losses: jax.Array, where: jax.Array, keep: ArrayLike) -> jax.Array:
    """n / m for the m = floor(keep * n) smallest of n unmasked losses, 0 for the rest.

    `losses` has shape (batch,). Of equal losses the first is kept, and one at least of any.
    """
    losses = lax.stop_gradient(losses)
    order = jnp.lexsort((losses, ~where))  # stable; masked ones last
    rank = jnp.zeros_like(order).at[order].set(jnp.arange(order.size, dtype=order.dtype))
    n = jnp.sum(where, dtype=losses.dtype)
    # 0.8 * 10 is 8, even if the schedule's 0.8 was rounded down.
    m = jnp.floor(jnp.asarray(keep, losses.dtype) * n * (1 + _ROUNDING))
    m = jnp.clip(m, 1, n)
    return jnp.where(where & (rank < m), n / jnp.maximum(m, 1), 0)


def _weighted(weights: jax.Array, values: jax.Array) -> jax.Array:
    """weights * values, and 0 where the weight is 0, even if the value is infinite."""
    return jnp.where(weights > 0, weights * values, 0)


def co_teaching(*, keep: ArrayLike | Schedule) -> LossTransform:
    """Co-teaching: each network learns from the samples of smallest loss to the other.

        m        =  floor(keep(step) * n), at least 1
        L_1[i]   =  loss_1[i] * n / m  if loss_2[i] is among the m smallest of loss_2,  else 0
        L_2[i]   =  loss_2[i] * n / m  if loss_1[i] is among the m smallest of loss_1,  else 0

    n counts the unmasked samples of the batch. The selection is detached. Of equal losses the
    first in the batch is kept. With `keep=1` both rows are what came in.

    The paper's rate R(t) = 1 - min(t / T_k * tau, tau) is `optax.linear_schedule(1, 1 - tau, T_k)`
    exactly, T_k in steps and tau the rate of wrong labels. There, and in the official code, t
    counts epochs, and the rate changes between them; the code (bhanML/Co-teaching) counts from 0
    and reaches tau in epoch T_k - 1, one before the paper's:

        keep = lambda step: 1 - tau * jnp.minimum(step // steps_per_epoch / (T_k - 1), 1)

    That code divides the mean over the kept samples by m once more. This does not, as the paper
    does not; under Adam the factor hardly matters, under SGD it does.

    Args:
      keep: the share of samples to keep, in (0, 1], or a schedule `step -> share`, of which what
        lies outside is clipped. In the paper tau is the noise rate and T_k is 10 epochs.

    Returns:
      A `LossTransform` over losses of shape (2, batch), of any kind. It needs no further input.
      Its state is a `PairState`.

    Raises:
      ValueError: if `keep` is a number outside (0, 1]; by `update`, if the losses' shape is not
        (2, batch).

    >>> import jax.numpy as jnp
    >>> transform = co_teaching(keep=0.5)
    >>> losses = jnp.array([[0.1, 0.2, 3.0, 4.0], [0.5, 6.0, 0.7, 0.8]])
    >>> values, state = transform.update(losses, transform.init())
    >>> print(values)
    [[ 0.2  0.   6.   0. ]
     [ 1.  12.   0.   0. ]]

    Reference: Bo Han, Quanming Yao, Xingrui Yu, Gang Niu, Miao Xu, Weihua Hu, Ivor Tsang, Masashi
    Sugiyama, "Co-teaching: Robust Training of Deep Neural Networks with Extremely Noisy Labels",
    NeurIPS 2018.
    """
    keep = _scheduled_keep(keep)

    def update(losses, state: PairState, *, where=None, **extra):
        batch, both = _open_pair("co_teaching", (), losses, where, extra)
        share = keep(state.step)
        own = [_weights_of_small(row, both, share) for row in batch.losses]
        weights = jnp.stack(own[::-1])  # exchanged
        return batch.finished(_weighted(weights, batch.losses)), PairState(state.step + 1)

    return LossTransform(_init, update)


def jocor(*, keep: ArrayLike | Schedule, lam: ArrayLike = 0.9) -> LossTransform:
    """JoCoR: two networks share a loss that pulls them together, and its smallest samples.

        J        =  KL(p_1 || p_2) + KL(p_2 || p_1)
        joint    =  (1 - lam) * (loss_1 + loss_2) + lam * J
        m        =  floor(keep(step) * n), at least 1
        L_k[i]   =  ((1 - lam) * loss_k[i] + lam * J[i] / 2) * n / m
                    if joint[i] is among the m smallest,  else 0

    n counts the unmasked samples of the batch. The two rows sum to the joint loss of the kept
    samples: add the two networks' means, as the official code (hongxin001/JoCoR) does. Losses are
    cross entropies, p_k the softmax of network k's logits. The gradient of J reaches both networks;
    the selection is detached. Of equal losses the first in the batch is kept. With `keep=1` and
    `lam=0` both rows are what came in.

    Args:
      keep: the share of samples to keep, in (0, 1], or a schedule `step -> share`, of which what
        lies outside is clipped; as for `co_teaching`. In the official code tau is the noise rate,
        and half of it where noise is asymmetric; T_k is 10 epochs.
      lam: weight of the agreement, in [0, 1]. The authors' best for CIFAR-10 is 0.9, and 0.65 with
        80 % noise; 0.85 for CIFAR-100. (Their program's default is 0.1.)

    Returns:
      A `LossTransform` over losses of shape (2, batch) that needs `logits` of shape (2, batch,
      classes). Its state is a `PairState`.

    Raises:
      ValueError: if a number is out of range; by `update`, if the losses' shape is not (2, batch),
        or the logits are missing or do not fit.

    >>> import jax.numpy as jnp
    >>> transform = jocor(keep=0.5, lam=0.5)
    >>> losses = jnp.array([[0.127, 0.127], [0.127, 2.127]])  # of the labels 0 and 0
    >>> logits = jnp.array([[[2.0, 0.0], [2.0, 0.0]], [[2.0, 0.0], [0.0, 2.0]]])
    >>> values, state = transform.update(losses, transform.init(), logits=logits)
    >>> print(values)
    [[0.127 0.   ]
     [0.127 0.   ]]

    Reference: Hongxin Wei, Lei Feng, Xiangyu Chen, Bo An, "Combating Noisy Labels by Agreement: A
    Joint Training Method with Co-Regularization", CVPR 2020.
    """
    keep = _scheduled_keep(keep)
    lam = checked("lam", lam, "a number in [0, 1]", lambda x: 0 <= x <= 1)

    def update(losses, state: PairState, *, where=None, **extra):
        batch, both = _open_pair("jocor", ("logits",), losses, where, extra)
        log_p = jax.nn.log_softmax(batch.logits)
        # The sum of both divergences has no negative terms, and so no cancellation.
        divergence = jnp.sum(
            (jnp.exp(log_p[0]) - jnp.exp(log_p[1])) * (log_p[0] - log_p[1]), axis=-1
        )
        agreement = jnp.asarray(lam, log_p.dtype)
        shares = (1 - agreement) * batch.losses + (agreement / 2 * divergence)[None]
        weights = _weights_of_small(jnp.sum(shares, axis=0), both, keep(state.step))
        return batch.finished(_weighted(weights[None], shares)), PairState(state.step + 1)

    return LossTransform(_init, update)
