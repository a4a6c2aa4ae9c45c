"""The state of remembered SuperLoss, and what moves its memory."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from superloss_jax._checks import ZERO_TO_ONE, check_number
from superloss_jax._inputs import Batch, as_array, read_batch
from superloss_jax._thresholds_base import SuperLossState

Tree = TypeVar("Tree")


class RememberedState(NamedTuple):
    """The state of `remembered_superloss`.

    Attributes:
      superloss: the state of SuperLoss's threshold; its tau is the mean that counts without memory.
      tau: scalar, the threshold that counts with the full memory, in units of the loss.
      start: scalar, the mean loss of the first batch.
      evidence: (num_examples,), the sum of how far each example's losses lay above `tau`.
      visits: (num_examples,) int32, the number of losses in that sum. It stays at 2**31 - 1.
      memory: scalar in [0, 1], how much of the evidence counts. Only `advance` changes it.
      seen: int32 scalar, the number of training losses since the last `advance`.
      below: int32 scalar, how many of them were below `tau`. Both stay where `seen` would overflow.
      held_out: scalar, the share of held-out losses below `tau` at the last `advance`; -1 before
        the first.
    """

    superloss: SuperLossState
    tau: jax.Array
    start: jax.Array
    evidence: jax.Array
    visits: jax.Array
    memory: jax.Array
    seen: jax.Array
    below: jax.Array
    held_out: jax.Array


def advance(state: Tree, held_out_losses: ArrayLike, where: ArrayLike | None = None) -> Tree:
    """Moves the memory of `remembered_superloss` by how much more is fitted than is known.

        T  = share of the training losses since the last call that were below tau of their step
        H  = share of the held-out losses below tau, mean of this call and the last one
        g <- clip(g + (T - H) / (1 - H), 0, 1)

    `(T - H) / (1 - H)` is the share that is fitted in training of what held-out examples fail at.
    g rests where the two shares agree, at 0 or at 1. The first call has no last one, and takes its
    own share for H.

    Call it after each epoch, with losses of examples that are never trained on, from the network
    in evaluation mode. **Their labels must be as noisy as those of the training set.** Held-out
    labels that are cleaner hide all memorising: g then stays at 0, which is plain SuperLoss.

    Args:
      state: of `remembered_superloss`, or of any other method, `chain` for one. Parts of other
        methods come back as they are, so that a loop can call this whatever its method is.
      held_out_losses: real floating, of any shape but (). NaN does not count.
      where: boolean mask that broadcasts to the losses. If nothing is left to count, or there was
        no update since the last call, the state comes back as it is.

    Returns:
      The state, of the same structure, shapes and dtypes.

    Raises:
      ValueError: if losses or mask do not fit, or if a memory in the state is outside [0, 1].
      TypeError: if the losses are no array.

    Source: this project.
    """
    batch = read_batch(as_array("held_out_losses", held_out_losses), where)

    def advanced(part):
        return _advance(part, batch) if isinstance(part, RememberedState) else part

    return jax.tree.map(advanced, state, is_leaf=lambda one: isinstance(one, RememberedState))


def _advance(state: RememberedState, batch: Batch) -> RememberedState:
    """Returns one state after an epoch."""
    check_memory(state)
    dtype = state.memory.dtype
    counted = batch.where & ~jnp.isnan(batch.losses)
    below = counted & (batch.losses.astype(dtype) < state.tau)
    number = jnp.sum(counted, dtype=dtype)
    held_out = jnp.sum(below, dtype=dtype) / jnp.maximum(number, 1)
    last = jnp.where(state.held_out < 0, held_out, state.held_out)
    known = (held_out + last) / 2
    fitted = state.below.astype(dtype) / jnp.maximum(state.seen, 1).astype(dtype)
    # Where held-out examples fail at nothing, nothing can be memorised, and g falls to 0.
    excess = (fitted - known) / jnp.maximum(1 - known, jnp.finfo(dtype).tiny)
    memory = jnp.clip(within(state.memory) + excess, 0, 1)
    new = state._replace(
        memory=memory, held_out=held_out, seen=state.seen * 0, below=state.below * 0
    )
    moves = (number > 0) & (state.seen > 0)
    return jax.tree.map(lambda old, new: jnp.where(moves, new, old), state, new)


def within(g: jax.Array) -> jax.Array:
    """Returns the memory, or NaN if it is outside [0, 1]."""
    # By 0/0: a NaN written here would stop users of jax_debug_nans.
    good = ((g >= 0) & (g <= 1)).astype(g.dtype)
    return g * good / good


def check_memory(state: Any) -> None:
    """Checks a state of `remembered_superloss` that was read from a file.

    `update` and `advance` check it as well, but not under jit, where it cannot be read: NaN then
    says so.

    Args:
      state: of any method, or a tree that contains one, such as a whole checkpoint.

    Raises:
      ValueError: if a memory in it is outside [0, 1].
    """
    for part in jax.tree.leaves(state, is_leaf=lambda one: isinstance(one, RememberedState)):
        if isinstance(part, RememberedState) and not isinstance(part.memory, jax.core.Tracer):
            for memory in np.ravel(part.memory):
                check_number("state: memory of remembered_superloss", float(memory), ZERO_TO_ONE)
