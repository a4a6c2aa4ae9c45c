"""The interface of all thresholds, and the state of SuperLoss."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

import jax
from jax.typing import ArrayLike

from superloss_jax._base import Init
from superloss_jax._inputs import check_names, read_batch, read_inputs
from superloss_jax._states import checked_init, read_state


class SuperLossState(NamedTuple):
    """The state of `superloss` and of its threshold, a pytree of arrays.

    Attributes:
      tau: the threshold that the last batch was weighted with, in units of the loss. It is a
        scalar, or with `per_class` an array of one per class. Before the first sample it is 0 and
        unused, unless the threshold is a constant.
      count: int32 scalar, the number of samples that entered tau. It stays at 2**31 - 1.
      memory: what else the threshold needs, `()` for most of them.
      step: int32 scalar, the number of updates so far, if `superloss` has a schedule as its lam;
        else `()`.
    """

    tau: jax.Array
    count: jax.Array
    memory: Any = ()
    step: Any = ()


class ThresholdUpdate(Protocol):
    """The type of a threshold's `update`."""

    def __call__(
        self,
        losses: ArrayLike,
        state: SuperLossState,
        *,
        where: ArrayLike | None = None,
        axis_name: str | None = None,
        logits: ArrayLike | None = None,
        labels: ArrayLike | None = None,
        index: ArrayLike | None = None,
    ) -> SuperLossState:
        """Returns the state after a batch of losses."""
        ...


class Threshold(NamedTuple):
    """A pair of pure functions that follow the size of an average loss.

    Attributes:
      init: `init() -> SuperLossState`.
      update: `update(losses, state, *, where=None, axis_name=None, logits=None, labels=None,
        index=None) -> SuperLossState`. `axis_name` is as in `superloss`, all else as in the
        `update` of a `LossTransform`.
      needs: the inputs that it needs of logits, labels and index, each with its number of classes
        or examples, or None for any.
    """

    init: Init[SuperLossState]
    update: ThresholdUpdate
    needs: Mapping[str, int | None] = MappingProxyType({})


def make_threshold(
    init: Callable[[], SuperLossState],
    step: Callable[..., SuperLossState],
    needs: Mapping[str, int | None] = MappingProxyType({}),
) -> Threshold:
    """Returns the threshold with `step(batch, state, axis_name, **inputs)`, its inputs checked."""
    like = functools.cache(lambda: jax.eval_shape(init))

    def update(
        losses: ArrayLike,
        state: SuperLossState,
        *,
        where: ArrayLike | None = None,
        axis_name: str | None = None,
        logits: ArrayLike | None = None,
        labels: ArrayLike | None = None,
        index: ArrayLike | None = None,
        **unknown: Any,
    ) -> SuperLossState:
        """Returns the state after a batch of losses."""
        check_names(unknown)
        batch = read_batch(losses, where)
        state = read_state(state, like)
        given = {"logits": logits, "labels": labels, "index": index}
        batch, inputs = read_inputs("this threshold", needs, batch, given)
        return step(batch, state, axis_name, **inputs)

    return Threshold(checked_init(init), update, needs)
