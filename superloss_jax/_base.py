"""The interface that every loss transform shares, and the checks that every one of them makes."""

import math
import numbers
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike


class LossTransform(NamedTuple):
    """A pair of pure functions that turns per-example losses into per-example losses.

    Attributes:
      init: `init() -> state`, a pytree of arrays.
      update: `update(losses, state, *, where=None, logits=None, labels=None, index=None, **extra)
        -> (losses, state)`. Shapes and dtypes of losses and state stay as they are. A transform
        takes what it needs of `logits` (losses' shape and classes), `labels` (integers) and `index`
        (each example's position in the data set), raises ValueError for what it needs and did
        not get, and ignores the rest: every transform can be called in the same way.
    """

    init: Callable[[], Any]
    update: Callable[..., tuple[jax.Array, Any]]


def checked(name: str, value: ArrayLike, wanted: str, test: Callable[[float], bool]) -> ArrayLike:
    """Returns a scalar, Python's as a float, or raises ValueError unless `test(value)`.

    A traced value has no number yet and passes.
    """
    if isinstance(value, jax.core.Tracer):
        return value
    python = isinstance(value, numbers.Real) and not isinstance(value, bool)
    array = isinstance(value, jax.Array | np.ndarray | np.generic) and np.ndim(value) == 0
    number = float(np.asarray(value, np.float64)) if python or array else math.nan
    if math.isnan(number) or not test(number):
        raise ValueError(f"{name}: expected {wanted}, got {value!r}")
    return number if python else value


Schedule = Callable[[jax.Array], ArrayLike]


def scheduled(
    name: str, value: ArrayLike | Schedule, wanted: str, test: Callable[[float], bool]
) -> Schedule:
    """A number, checked, or a function of the step as Optax's schedules are, as such a function."""
    if callable(value):
        return value
    number = checked(name, value, f"{wanted} or a schedule", test)
    return lambda step: number


def whole_number(name: str, value: int | None, least: int = 1) -> int:
    """Returns a Python integer that is at least `least`, or raises ValueError."""
    integral = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not integral or int(value) < least:  # type: ignore[arg-type]
        raise ValueError(f"{name}: expected an integer >= {least}, got {value!r}")
    return int(value)  # type: ignore[arg-type]


def as_floating(name: str, value: ArrayLike) -> jax.Array:
    """Returns a real floating array; integers become floats, complex numbers raise TypeError."""
    array = jnp.asarray(value)
    if jnp.issubdtype(array.dtype, jnp.complexfloating):
        raise TypeError(f"{name}: expected real numbers, got {array.dtype}")
    if not jnp.issubdtype(array.dtype, jnp.floating):
        array = array.astype(jnp.result_type(float))
    return array


def check_losses(losses: ArrayLike, where: ArrayLike | None) -> tuple[jax.Array, jax.Array | None]:
    """Returns per-example losses and their mask as arrays of one shape, or says what is wrong."""
    losses = jnp.asarray(losses)
    if not jnp.issubdtype(losses.dtype, jnp.floating):
        raise ValueError(
            f"losses: expected per-example losses of a real floating dtype, got {losses.dtype}"
            f" of shape {losses.shape}"
        )
    if losses.size == 0:
        raise ValueError(f"losses: expected at least one loss, got shape {losses.shape}")
    if where is None:
        return losses, None
    where = jnp.asarray(where)
    if where.dtype != bool:
        raise ValueError(f"where: expected a boolean mask, got {where.dtype}; pass e.g. mask > 0")
    try:
        return losses, jnp.broadcast_to(where, losses.shape)
    except ValueError:
        raise ValueError(
            f"where: expected a shape that broadcasts to the losses' {losses.shape},"
            f" got {where.shape}"
        ) from None


class Batch(NamedTuple):
    """A method's inputs, checked; all that is masked is 0, and so never NaN.

    Attributes:
      losses: in the dtype of the arithmetic, float32 at least.
      where: boolean, of the losses' shape.
      logits: in the dtype of the arithmetic, the losses' shape and an axis of classes; or None.
      labels, index: integers of the losses' shape; or None.
      dtype: that the losses came in, and go out in.
    """

    losses: jax.Array
    where: jax.Array
    logits: Any
    labels: Any
    index: Any
    dtype: Any

    def finished(self, values: jax.Array) -> jax.Array:
        """Per-example values in the caller's dtype, 0 where masked."""
        return jnp.where(self.where, values, 0).astype(self.dtype)


def open_batch(by: str, needs: tuple[str, ...], losses, where, extra) -> Batch:
    """Checks what `update` was given; `needs` names what the method `by` cannot do without."""
    losses, where = check_losses(losses, where)
    if missing := [name for name in needs if extra.get(name) is None]:
        given = ", ".join(f"{name}={name}" for name in missing)
        raise ValueError(f"{by} needs {' and '.join(missing)}: update(losses, state, {given})")
    where = jnp.ones(losses.shape, bool) if where is None else where
    dtype = jnp.promote_types(losses.dtype, jnp.float32)
    found: dict[str, Any] = {"logits": None, "labels": None, "index": None}
    for name in needs:
        array = jnp.asarray(extra[name])
        if name == "logits":
            if array.shape[:-1] != losses.shape or not jnp.issubdtype(array.dtype, jnp.floating):
                raise ValueError(
                    f"logits: expected real numbers of shape {(*losses.shape, 'classes')},"
                    f" got {array.dtype} of shape {array.shape}"
                )
            found[name] = jnp.where(where[..., None], array.astype(dtype), 0)
        else:
            # Of the trailing axes alone: two networks have the same labels.
            if array.shape != losses.shape[losses.ndim - array.ndim :] or not jnp.issubdtype(
                array.dtype, jnp.integer
            ):
                raise ValueError(
                    f"{name}: expected integers of shape {losses.shape},"
                    f" got {array.dtype} of shape {array.shape}"
                )
            found[name] = jnp.where(where, jnp.broadcast_to(array, losses.shape), 0)
    kept = jnp.where(where, losses, 0).astype(dtype)
    return Batch(losses=kept, where=where, dtype=losses.dtype, **found)


def stateless(
    by: str, value: Callable[[Batch], jax.Array], needs: tuple[str, ...] = ()
) -> LossTransform:
    """The transform of a function of a batch, with `()` for a state."""

    def update(losses, state, *, where=None, **extra):
        batch = open_batch(by, needs, losses, where, extra)
        return batch.finished(value(batch)), state

    return LossTransform(lambda: (), update)


def chain(*transforms: LossTransform) -> LossTransform:
    """One transform after another, each on the losses that the one before it gave.

    Args:
      *transforms: `LossTransform`s; for SuperLoss on top of a robust loss, the robust loss first.

    Returns:
      A `LossTransform` whose state is the tuple of theirs.

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
