"""O2U-Net's record of losses (Huang et al., 2019)."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from superloss_jax._base import LossTransform, make_transform
from superloss_jax._checks import check_integer
from superloss_jax._examples import places
from superloss_jax._inputs import Batch


class LossMemoryState(NamedTuple):
    """The state of `loss_memory`.

    Attributes:
      total: (num_examples,), the sum of each example's losses, or with `centred` of how far they
        lie above their batch's mean.
      visits: (num_examples,) int32, the number of losses in that sum.
    """

    total: jax.Array
    visits: jax.Array


def loss_memory(*, num_examples: int, centred: bool = False) -> LossTransform[LossMemoryState]:
    """O2U-Net's record sums and counts the losses of each example, and leaves them unchanged.

        total_i  <-  total_i + loss       (centred: loss - mean(batch))       detached
        visits_i <-  visits_i + 1

    A learning rate that goes up and down in cycles takes the network from overfitting to
    underfitting and back. Wrong labels then tend to have a large mean loss `total / visits`. The
    mean is NaN for an example never seen. Every unmasked, finite loss enters; an example that
    comes twice in a batch enters twice. The schedule of the learning rate, and the training anew
    without the examples of the largest means, are left to the caller.

    The official code (hjimce/O2U-Net) subtracts each epoch's mean loss from the losses of that
    epoch and sums over the epochs. If every example is seen once an epoch, this lowers all sums
    alike, and `total` without it ranks the examples in the same order. If some examples are seen
    more often than others, or at other times, `centred=True` subtracts the mean of the batch,
    which estimates the epoch's.

    Args:
      num_examples: number of examples in the data set.
      centred: whether to subtract the batch's mean of finite, unmasked losses from what is
        recorded.

    Returns:
      A `LossTransform` that needs `index`. Its state is a `LossMemoryState`.

    Raises:
      ValueError: if `num_examples` is no integer >= 1; by `update`, if `index` is missing or does
        not fit.

    >>> import jax.numpy as jnp
    >>> transform = loss_memory(num_examples=3)
    >>> state = transform.init()
    >>> _, state = transform.update(jnp.array([0.5, 4.0]), state, index=jnp.array([1, 2]))
    >>> _, state = transform.update(jnp.array([1.0, 0.2]), state, index=jnp.array([2, 0]))
    >>> means = state.total / state.visits
    >>> print(means, jnp.argsort(-means))  # most suspicious first
    [0.2 0.5 2.5] [2 1 0]

    Reference: Jinchi Huang, Lie Qu, Rongfei Jia, Binqiang Zhao, "O2U-Net: A Simple Noisy Label
    Detection Approach for Deep Neural Networks", ICCV 2019.
    """
    num_examples = check_integer("num_examples", num_examples)

    def init():
        return LossMemoryState(
            total=jnp.zeros(num_examples, jnp.result_type(float)),
            visits=jnp.zeros(num_examples, jnp.int32),
        )

    def step(batch: Batch, state: LossMemoryState, *, index):
        record = lax.stop_gradient(batch.losses)
        finite = batch.where & jnp.isfinite(record)
        if centred:
            number = jnp.maximum(jnp.sum(finite, dtype=record.dtype), 1)
            record -= jnp.sum(jnp.where(finite, record, 0)) / number
        place = places(state.total, index, finite)
        state = LossMemoryState(
            total=state.total.at[place].add(record.astype(state.total.dtype), mode="drop"),
            visits=state.visits.at[place].add(1, mode="drop"),
        )
        return batch.losses, state

    return make_transform("loss_memory", init, step, {"index": num_examples})
