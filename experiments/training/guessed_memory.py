"""Remembered SuperLoss without held-out examples: the memory is guessed from training losses.

A research form; the library has the one that is advised.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from superloss_jax import LossTransform, memory

GAIN = 8.0  # chosen on digits, for one seed


class GuessedState(NamedTuple):
    """The state of `guess_memory`. Visits are of examples that were seen before.

    Attributes:
      remembered: of `remembered_superloss`, with the memory that counts for the next batch.
      returned: int32 scalar, the number of visits, at most `num_examples`.
      suspects: scalar, how many of the last `num_examples` visits were of suspects.
      below: scalar, how many of these had a loss below tau.
      least: scalar, the least share of them so far.
    """

    remembered: memory.RememberedState
    returned: jax.Array
    suspects: jax.Array
    below: jax.Array
    least: jax.Array


def guess_memory(
    method: LossTransform[memory.RememberedState], num_examples: int
) -> LossTransform[GuessedState]:
    """Raises the memory of `remembered_superloss` as suspects come to be fitted.

        suspects = examples that were seen before, with D_i > 0 before this visit
        low      = share of the suspects with l_i < tau, over the last num_examples visits
        g       <- max(g, clip(8 (low - min low) / (1 - min low), 0, 1))

    The last visits have weights that fade. g stays 0 until there were `num_examples` visits of
    examples that were seen before, and each batch is weighed by the g of the batches before it.
    """

    def init():
        return GuessedState(
            remembered=method.init(),
            returned=jnp.int32(0),
            suspects=jnp.zeros(()),
            below=jnp.zeros(()),
            least=jnp.ones(()),
        )

    def update(losses, state, *, where=None, index=None, **extra):
        old = state.remembered
        values, new = method.update(losses, old, where=where, index=index, **extra)
        returns = jnp.isfinite(losses) & (old.visits[index] > 0)
        returns &= True if where is None else where
        suspect = returns & (old.evidence[index] > 0)
        found = [jnp.sum(one) for one in (returns, suspect, suspect & (losses < new.tau))]
        returned = jnp.minimum(state.returned + found[0], num_examples)
        kept = 1 - jnp.minimum(found[0] / num_examples, 1)
        suspects, below = (
            kept * total + one
            for total, one in zip((state.suspects, state.below), found[1:], strict=True)
        )
        low = below / jnp.maximum(suspects, 1)
        known = (returned == num_examples) & (suspects >= 1)
        least = jnp.where(known, jnp.minimum(low, state.least), state.least)
        risen = GAIN * (low - least) / jnp.maximum(1 - least, jnp.finfo(low.dtype).tiny)
        g = jnp.where(known, jnp.maximum(old.memory, jnp.clip(risen, 0, 1)), old.memory)
        new = new._replace(memory=g.astype(old.memory.dtype))
        return values, GuessedState(new, returned, suspects, below, least)

    return LossTransform(init, update)
