"""The interface of all loss transforms, and the adapters that make one of a plain function."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import jax
from jax.typing import ArrayLike

from superloss_jax._inputs import (
    Needs,
    as_output,
    check_names,
    described,
    read_batch,
    read_inputs,
)
from superloss_jax._states import State, checked_init, read_state

StateOut = TypeVar("StateOut", covariant=True)


class Init(Protocol[StateOut]):
    """The type of a transform's `init`."""

    def __call__(self) -> StateOut:
        """Returns the state before the first batch."""
        ...


class Update(Protocol[State]):
    """The type of a transform's `update`."""

    def __call__(
        self,
        losses: ArrayLike,
        state: State,
        *,
        where: ArrayLike | None = None,
        logits: ArrayLike | None = None,
        labels: ArrayLike | None = None,
        index: ArrayLike | None = None,
    ) -> tuple[jax.Array, State]:
        """Returns the transformed losses of a batch, and the next state."""
        ...


class LossTransform(NamedTuple, Generic[State]):
    """A pair of pure functions that turns per-example losses into per-example losses.

    Attributes:
      init: `init() -> state`, a pytree of arrays.
      update: `update(losses, state, *, where=None, logits=None, labels=None, index=None) ->
        (losses, state)`. Losses and state keep their shapes and dtypes. `help(transform.update)`
        says what each input is. A transform raises ValueError if an input that it needs is
        missing, and ignores the others, so that all transforms are called in the same way.
    """

    init: Init[State]
    update: Update[State]


def make_transform(
    method: str,
    init: Callable[[], State],
    step: Callable[..., tuple[jax.Array, State]],
    needs: Needs | None = None,
) -> LossTransform[State]:
    """Returns a transform whose `update` checks what it was given, the same way for all methods.

    Args:
      method: what error messages call it.
      init: returns the first state.
      step: `step(batch, state, **inputs) -> (values, state)`, with the inputs that it needs.
      needs: the inputs that the method needs, each with its size.
    """
    needs = needs or {}
    # Once, and not before the first update: importing and building touch no device.
    like = functools.cache(lambda: jax.eval_shape(init))

    def update(
        losses: ArrayLike,
        state: State,
        *,
        where: ArrayLike | None = None,
        logits: ArrayLike | None = None,
        labels: ArrayLike | None = None,
        index: ArrayLike | None = None,
        **unknown: Any,
    ) -> tuple[jax.Array, State]:
        """Returns the transformed losses of a batch, and the next state.

        Args:
          losses: per-example losses, not their mean: real floating, of any shape but ().
          state: from `init()` or from the last update.
          where: boolean mask that broadcasts to the losses. Where it is False, loss and gradient
            are 0, even of a NaN, and the state does not change.
          logits: real, of the losses' shape and an axis of classes.
          labels: integers of the losses' shape. If the method needs labels, the loss of a label
            that is no class, such as -1, is NaN unless masked, its gradient is 0, and the state
            does not change.
          index: integers of the losses' shape, each example's position in the data set. If the
            method needs an index, the same holds for an index that is no example.

        Returns:
          `(losses, state)`, of the same shapes and dtypes. Half precision is computed in float32.

        Raises:
          ValueError: if an input is missing or does not fit.
          TypeError: if there is an input of another name, or the state is not from `init()`.
        """
        check_names(unknown)
        batch = read_batch(losses, where)
        given = {"logits": logits, "labels": labels, "index": index}
        known, inputs = read_inputs(method, needs, batch, given)
        values, state = step(known, read_state(state, like), **inputs)
        return as_output(values, batch, known.where), state

    update.__qualname__ = "update"  # for Python's own messages on arguments
    return LossTransform(checked_init(init), update)


def from_losses(
    method: str, function: Callable[[jax.Array], jax.Array]
) -> LossTransform[tuple[()]]:
    """Returns the stateless transform of a function from losses to losses of the same shape."""

    def step(batch, state):
        return function(batch.losses), state

    return make_transform(method, lambda: (), step)


def from_logits(
    method: str,
    function: Callable[[jax.Array, jax.Array], jax.Array],
    num_classes: int | None = None,
) -> LossTransform[tuple[()]]:
    """Returns the stateless transform of a function from logits and labels to losses.

    It takes nothing but shape and dtype from the losses that it is given.
    """

    def step(batch, state, *, logits, labels):
        return function(logits, labels), state

    return make_transform(method, lambda: (), step, {"logits": num_classes, "labels": None})


def chain(*transforms: LossTransform[Any]) -> LossTransform[tuple[Any, ...]]:
    """Applies several transforms in order, each to the losses that the previous one returned.

    Args:
      *transforms: `LossTransform`s. For SuperLoss on top of a robust loss, the robust loss first.

    Returns:
      A `LossTransform` whose state is the tuple of their states.

    Raises:
      ValueError: if one of them is no LossTransform.

    >>> from superloss_jax import chain, robust, superloss
    >>> transform = chain(robust.generalized_cross_entropy(q=0.7), superloss(lam=0.25))

    Reference: after `optax.chain`.
    """
    for transform in transforms:
        if not isinstance(transform, LossTransform):
            raise ValueError(f"chain: expected LossTransforms, got {transform!r}")

    def init() -> tuple[Any, ...]:
        return tuple(transform.init() for transform in transforms)

    def update(
        losses: Any,
        state: tuple[Any, ...],
        *,
        where: ArrayLike | None = None,
        logits: ArrayLike | None = None,
        labels: ArrayLike | None = None,
        index: ArrayLike | None = None,
        **unknown: Any,
    ) -> tuple[jax.Array, tuple[Any, ...]]:
        """Returns the losses of a batch after all transforms, and the tuple of next states."""
        check_names(unknown)
        if not transforms:  # each of them checks its own
            read_batch(losses, where)
        if type(state) not in (tuple, list) or len(state) != len(transforms):
            wanted = f"a tuple of {len(transforms)} states from init()"
            raise TypeError(f"state: chain expected {wanted}, got {described(state)}")
        given = {"where": where, "logits": logits, "labels": labels, "index": index}
        new = []
        for transform, own in zip(transforms, state, strict=True):
            losses, own = transform.update(losses, own, **given)
            new.append(own)
        return losses, tuple(new)

    return LossTransform(checked_init(init), update)
