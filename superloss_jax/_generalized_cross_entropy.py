"""Generalised cross entropy and its truncated form (Zhang, Sabuncu, 2018)."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from superloss_jax._base import LossTransform, from_losses, make_transform
from superloss_jax._checks import (
    ZERO_TO_BELOW_ONE,
    ZERO_TO_ONE,
    Scalar,
    check_integer,
    check_number,
)
from superloss_jax._inputs import Batch
from superloss_jax._probabilities import one_minus_exp
from superloss_jax._states import StepState, next_step, start_step


def generalized(losses: jax.Array, *, q: Scalar) -> jax.Array:
    """Returns (1 - exp(-q losses)) / q, or the losses themselves, the limit, at q = 0."""
    # Below eps squared, the limit is exact to rounding, and q * losses could underflow.
    positive = q > float(jnp.finfo(losses.dtype).eps) ** 2
    safe_q = jnp.where(positive, q, 1)
    return jnp.where(positive, one_minus_exp(safe_q * losses) / safe_q, losses)


def generalized_cross_entropy(*, q: ArrayLike = 0.7) -> LossTransform[tuple[()]]:
    """Generalised cross entropy lies between cross entropy, q = 0, and mean absolute error, q = 1.

        L_q(p) = (1 - p^q) / q        dL_q/dl = p^q        p = exp(-l)

    Args:
      q: scalar in [0, 1]; the paper's is 0.7.

    Returns:
      A `LossTransform` of cross-entropy losses, without state.

    Raises:
      ValueError: if `q` is out of range.

    >>> transform = generalized_cross_entropy(q=0.5)
    >>> print(transform.update(jnp.log(jnp.array([1.0, 4.0])), ())[0])  # 2 (1 - 1 / 2)
    [0. 1.]

    Reference: Zhilu Zhang, Mert Sabuncu, "Generalized Cross Entropy Loss for Training Deep Neural
    Networks with Noisy Labels", NeurIPS 2018.
    """
    q = check_number("q", q, ZERO_TO_ONE)
    return from_losses("generalized_cross_entropy", functools.partial(generalized, q=q))


def truncated_gce(
    *, q: ArrayLike = 0.7, k: ArrayLike = 0.5, start: int = 0
) -> LossTransform[StepState]:
    """Truncated generalised cross entropy ignores labels that the network finds improbable.

        L = L_q(p)    where p > k, or before step `start`
        L = L_q(k)    elsewhere, with gradient 0

    An untrained network gives every label a probability below k, and would learn nothing. Hence
    `start`: the paper prunes from epoch 40 of 120 on CIFAR. Its alternating search keeps the set
    of pruned examples for some epochs (10). Here each batch decides anew, which is exactly the
    gradient of L.

    Args:
      q: scalar in [0, 1], as in `generalized_cross_entropy`.
      k: probability in [0, 1) up to which a label is pruned; the paper's is 0.5. With 0, none is.
      start: first step that prunes, an integer >= 0, counted in updates.

    Returns:
      A `LossTransform` of cross-entropy losses. Its state is a `StepState`.

    Raises:
      ValueError: if `q`, `k` or `start` is out of range.

    >>> transform = truncated_gce(q=1.0, k=0.5)
    >>> print(transform.update(jnp.log(jnp.array([1.0, 4.0])), transform.init())[0])  # 1 - k
    [0.  0.5]

    Reference: Zhilu Zhang, Mert Sabuncu, "Generalized Cross Entropy Loss for Training Deep Neural
    Networks with Noisy Labels", NeurIPS 2018 (section 3.3).
    """
    of_q = functools.partial(generalized, q=check_number("q", q, ZERO_TO_ONE))
    k = check_number("k", k, ZERO_TO_BELOW_ONE)
    start = check_integer("start", start, least=0)

    def step(batch: Batch, state: StepState):
        limit = -jnp.log(jnp.asarray(k, batch.losses.dtype))
        kept = (state.step < start) | ~(batch.losses >= limit)  # NaN stays NaN
        return of_q(jnp.where(kept, batch.losses, limit)), next_step(state)

    return make_transform("truncated_gce", start_step, step)
