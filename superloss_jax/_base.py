"""The interface of all loss transforms, and the two adapters that make one of a plain function."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from superloss_jax._inputs import as_output, read_batch, read_inputs


class LossTransform(NamedTuple):
    """A pair of pure functions that turns per-example losses into per-example losses.

    Attributes:
      init: `init() -> state`, a pytree of arrays.
      update: `update(losses, state, *, where=None, logits=None, labels=None, index=None, **extra)
        -> (losses, state)`. Losses and state keep their shapes and dtypes. `logits` have the
        losses' shape and an axis of classes, `labels` are integers, and `index` is each example's
        position in the data set. A transform raises ValueError if an input that it needs is
        missing. It ignores all other inputs, so that every transform is called in the same way.
    """

    init: Callable[[], Any]
    update: Callable[..., tuple[jax.Array, Any]]


class StepState(NamedTuple):
    """The state of a transform that knows nothing but its step.

    Attributes:
      step: int32 scalar, the number of updates so far. It stays at 2**31 - 1.
    """

    step: jax.Array


def start_step() -> StepState:
    """Returns the state before the first update."""
    return StepState(step=jnp.array(0, jnp.int32))


def next_step(state: StepState) -> StepState:
    """Returns the state after one more update."""
    return StepState(step=saturating_add(state.step))


def saturating_add(count: jax.Array, n: ArrayLike = 1) -> jax.Array:
    """Returns count + n, or the largest integer of its dtype where the sum would overflow."""
    largest = jnp.iinfo(count.dtype).max
    return jnp.where(count > largest - n, largest, count + n).astype(count.dtype)


def from_losses(function: Callable[[jax.Array], jax.Array]) -> LossTransform:
    """Returns the stateless transform of a function from losses to losses of the same shape."""

    def update(losses: ArrayLike, state, *, where=None, **extra):
        batch = read_batch(losses, where)
        return as_output(function(batch.losses), batch), state

    return LossTransform(lambda: (), update)


def from_logits(
    method: str, function: Callable[[jax.Array, jax.Array], jax.Array]
) -> LossTransform:
    """Returns the stateless transform of a function from logits and labels to losses.

    It takes nothing but shape and dtype from the losses that it is given.
    """

    def update(losses: ArrayLike, state, *, where=None, **extra):
        batch = read_batch(losses, where)
        logits, labels = read_inputs(method, ("logits", "labels"), batch, extra)
        return as_output(function(logits, labels), batch), state

    return LossTransform(lambda: (), update)


def chain(*transforms: LossTransform) -> LossTransform:
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

    def update(losses, state, **extra):
        new = []
        for transform, own in zip(transforms, state, strict=True):
            losses, own = transform.update(losses, own, **extra)
            new.append(own)
        return losses, tuple(new)

    return LossTransform(lambda: tuple(transform.init() for transform in transforms), update)
