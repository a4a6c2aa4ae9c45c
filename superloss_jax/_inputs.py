"""What `update` is given, checked: losses, their mask, and the inputs that a method needs.

Wherever an example is masked, its losses and inputs are replaced by 0. NaN that stands there, as
padding often has it, then reaches neither values nor gradients. An unmasked example whose label is
no class, or whose index is no example, is treated as masked, and its value becomes NaN.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from superloss_jax._checks import compute_dtype

# Inputs by name, each with its size: the number of classes or of examples, or None where any will
# do, or where the logits tell the number of classes.
Needs = Mapping[str, int | None]

_INPUTS = ("where", "logits", "labels", "index")
_LARGEST = np.iinfo(np.int32).max
# What other libraries call them.
_ALSO_CALLED = {
    "mask": "where",
    "padding_mask": "where",
    "weight": "where",
    "sample_weight": "where",
    "weights": "where",
    "target": "labels",
    "targets": "labels",
    "y": "labels",
    "y_true": "labels",
    "outputs": "logits",
    "predictions": "logits",
    "ids": "index",
}


def check_names(unknown: Mapping[str, Any]) -> None:
    """Raises TypeError if `update` was given an input that no transform has."""
    for name in unknown:
        close = difflib.get_close_matches(name, _INPUTS, n=1)
        meant = _ALSO_CALLED.get(name) or (close[0] if close else "")
        hint = f"; did you mean {meant}?" if meant else ""
        raise TypeError(f"update: expected inputs named {', '.join(_INPUTS)}, got {name}{hint}")


def described(value: Any) -> str:
    """Returns what a message calls a value that came where another was expected."""
    if isinstance(value, jax.Array | np.ndarray | np.generic):
        return f"an array of shape {value.shape}"
    return "a function: call it" if callable(value) else type(value).__name__


def as_array(name: str, value: Any) -> jax.Array:
    """Returns an array, or raises TypeError for what is none, such as a state."""
    if value is not None and not hasattr(value, "_fields") and not _is_empty(value):
        try:
            return jnp.asarray(value)
        except (TypeError, ValueError):
            pass
    call = "; the order is update(losses, state)" if name == "losses" else ""
    raise TypeError(f"{name}: expected an array, got {described(value)}{call}")


def _is_empty(value: Any) -> bool:
    """Whether it is (), the state of a method without one."""
    return isinstance(value, tuple) and not value


class Batch(NamedTuple):
    """The losses of a batch, ready for arithmetic.

    Attributes:
      losses: 0 where masked, of at least float32.
      where: boolean mask of the losses' shape.
      dtype: the dtype of the caller's losses, in which the results go back.
    """

    losses: jax.Array
    where: jax.Array
    dtype: np.dtype


def read_batch(losses: ArrayLike, where: ArrayLike | None) -> Batch:
    """Checks the losses and the mask that `update` was given; without a mask, all count."""
    losses = as_array("losses", losses)
    if losses.ndim == 0:
        raise ValueError(
            "losses: expected per-example losses, not their mean, got a scalar; take the mean of"
            " what update returns. One example alone, as under vmap, has shape (1,): losses[None]"
        )
    if not jnp.issubdtype(losses.dtype, jnp.floating):
        raise ValueError(
            f"losses: expected per-example losses of a real floating dtype, got {losses.dtype}"
            f" of shape {losses.shape}"
        )
    if losses.size == 0:
        raise ValueError(f"losses: expected at least one loss, got shape {losses.shape}")
    mask = _read_mask(where, losses.shape)
    dtype = compute_dtype(losses.dtype)
    return Batch(jnp.where(mask, losses, 0).astype(dtype), mask, losses.dtype)


def _read_mask(where: ArrayLike | None, shape: tuple[int, ...]) -> jax.Array:
    """Returns a boolean mask of the shape."""
    if where is None:
        return jnp.ones(shape, bool)
    where = as_array("where", where)
    if where.dtype != bool:
        raise ValueError(f"where: expected a boolean mask, got {where.dtype}; pass e.g. mask > 0")
    try:
        return jnp.broadcast_to(where, shape)
    except ValueError:
        raise ValueError(
            f"where: expected a shape that broadcasts to the losses' {shape}, got {where.shape}"
        ) from None


def read_inputs(
    method: str, needs: Needs, batch: Batch, given: Mapping[str, Any]
) -> tuple[Batch, dict[str, jax.Array]]:
    """Returns the batch and the inputs that the method needs; `given` may hold others as well.

    In the batch, examples are masked whose label is no class or whose index is no example. Logits
    have the dtype of the batch's losses and a further axis of classes. All other inputs are int32
    of the losses' shape.
    """
    if missing := [name for name in needs if given.get(name) is None]:
        call = ", ".join(f"{name}={name}" for name in missing)
        raise ValueError(f"{method} needs {' and '.join(missing)}: update(losses, state, {call})")
    inputs, known, limits = {}, batch.where, {"labels": _LARGEST, "index": _LARGEST}
    if "logits" in needs:
        inputs["logits"] = _read_logits(method, given["logits"], batch, needs["logits"])
        limits["labels"] = inputs["logits"].shape[-1]
    for name in needs.keys() & limits.keys():
        size = needs[name]
        rows = inputs[name] = _read_rows(name, given[name], batch.losses.shape)
        known &= is_row(rows, min(limits[name], size or _LARGEST))
    for name, values in inputs.items():
        mask = known[..., None] if name == "logits" else known
        inputs[name] = jnp.where(mask, values, 0)
    if known is batch.where:  # nothing more is masked
        return batch, inputs
    return Batch(jnp.where(known, batch.losses, 0), known, batch.dtype), inputs


def _read_logits(method: str, logits: ArrayLike, batch: Batch, classes: int | None) -> jax.Array:
    """Returns logits of shape (*losses.shape, classes)."""
    logits = as_array("logits", logits)
    shape = batch.losses.shape
    fits = logits.shape[:-1] == shape and classes in (None, *logits.shape[-1:])
    if logits.ndim == 0 or not fits or not jnp.issubdtype(logits.dtype, jnp.floating):
        raise ValueError(
            f"logits: {method} expected real numbers of shape {(*shape, classes or 'classes')},"
            f" got {logits.dtype} of shape {logits.shape}"
        )
    return logits.astype(batch.losses.dtype)


def _read_rows(name: str, rows: ArrayLike, shape: tuple[int, ...]) -> jax.Array:
    """Returns int32 labels or indices of the losses' shape."""
    rows = as_rows(name, rows)
    # Two networks share their labels, so that the leading axis may be missing.
    if rows.shape not in (shape, shape[1:]) or not rows.ndim:
        raise ValueError(f"{name}: expected integers of shape {shape}, got shape {rows.shape}")
    return jnp.broadcast_to(rows, shape)


def as_rows(name: str, rows: ArrayLike) -> jax.Array:
    """Returns labels or indices as int32, and -1 for those beyond its range."""
    if isinstance(rows, list | tuple) and not any(map(_is_traced, jax.tree.leaves(rows))):
        rows = np.asarray(rows)
    # NumPy's stay NumPy's: JAX would cut 64 bits down to 32, and 2**32 + 1 to 1.
    rows = np.asarray(rows) if isinstance(rows, np.generic | int) else rows
    rows = rows if isinstance(rows, np.ndarray) else as_array(name, rows)
    if not jnp.issubdtype(rows.dtype, jnp.integer):
        raise ValueError(f"{name}: expected integers, got {rows.dtype} of shape {rows.shape}")
    if jnp.iinfo(rows.dtype).max > _LARGEST:
        xp = jnp if isinstance(rows, jax.Array) else np
        beyond = (rows < 0) | (rows > _LARGEST)
        rows = xp.where(beyond, 0, rows).astype(np.int32) - beyond.astype(np.int32)
    return jnp.asarray(rows, jnp.int32)


def _is_traced(value: Any) -> bool:
    """Whether NumPy cannot make an array of a value, which JAX can."""
    return isinstance(value, jax.core.Tracer) or hasattr(value, "__jax_array__")


def is_row(rows: jax.Array, size: int) -> jax.Array:
    """Returns which labels or indices are among the first `size` integers."""
    return (rows >= 0) & (rows < size)


def as_output(values: jax.Array, batch: Batch, known: jax.Array) -> jax.Array:
    """Returns per-example values as `update` does: 0 where masked, in the caller's dtype.

    They are NaN where the mask of `read_inputs`, known, is False although the caller's is True.
    """
    values = jnp.where(known, values, 0)
    if known is not batch.where:
        values = jnp.where(batch.where & ~known, jnp.nan, values)
    return values.astype(batch.dtype)
