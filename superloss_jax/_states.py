"""States: the step count, and the check of the state that `update` was given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from superloss_jax._inputs import described

State = TypeVar("State")


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


def checked_init(init: Callable[[], State]) -> Callable[..., State]:
    """Returns an `init` that says what to do instead if it is given anything."""

    def checked(*given: Any, **named: Any) -> State:
        """Returns the state before the first batch. It takes no arguments."""
        if given or named:
            raise TypeError(
                "init() takes no arguments, since a loss transform is no optimizer: call"
                " update(losses, state) between the per-example losses and their mean. In place of"
                " optax.chain use superloss_jax.chain. In place of optax.inject_hyperparams pass a"
                " schedule as lam, threshold or keep, or build the transform in the jitted step"
            )
        return init()

    return checked


def read_state(state: State, like: Callable[[], State]) -> State:
    """Returns the state with arrays as leaves, or says what is wrong with it.

    Args:
      state: what `update` was given. Leaves may be NumPy's, as in a state restored from a file.
      like: returns shapes and dtypes of the state that `init` returns.
    """
    expected = like()
    structure: Any
    wanted, structure = jax.tree_util.tree_flatten_with_path(expected)
    leaves, given = jax.tree.flatten(state)
    if structure != given:
        name = type(expected).__name__ if isinstance(expected, tuple) and expected else "()"
        got = described(state)
        if type(state) is type(expected):
            got = f"the {name} of another transform"
        raise TypeError(f"state: expected {name} from init(), got {got}")
    arrays = [jnp.asarray(leaf) for leaf in leaves]
    for (path, want), leaf in zip(wanted, arrays, strict=True):
        if leaf.shape != want.shape or _kind(leaf) != _kind(want):
            raise ValueError(
                f"state: expected {jax.tree_util.keystr(path)} of shape {want.shape} and"
                f" {want.dtype}, as from this transform's init(), got shape {leaf.shape} and"
                f" {leaf.dtype}"
            )
    return jax.tree.unflatten(structure, arrays)


def _kind(leaf: Any) -> Any:
    """Returns what must agree of two dtypes: whether they are floats, or integers, or which."""
    for kind in (jnp.floating, jnp.integer):
        if jnp.issubdtype(leaf.dtype, kind):
            return kind
    return leaf.dtype
