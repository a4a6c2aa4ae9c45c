"""What follows each epoch: held-out examples are evaluated, and some methods learn from them."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.data import Examples
from experiments.tasks.base import UNKNOWN
from experiments.training import devices
from experiments.training.build import Run
from experiments.training.step import (
    Past,
    TrainState,
    of_each,
    over_networks,
    quantities,
    sums_and_counts,
    variables_of,
)
from experiments.training.stream import stream

EVALUATION_BATCH = 1000


class Evaluated(NamedTuple):
    sums: Any  # and counts of each quantity, except sigma
    units: list  # losses, mask and kind of each batch, if the method advances; else nothing
    collected: list  # by batch, what the task collects of each example, if it does


def make_evaluate(run: Run, over_runs: bool = False, axis: int | None = None, workers: int = 0):
    """Returns `evaluate(state, examples)`, which gives what is Evaluated of them.

    It evaluates the averaged weights, if there are any. With `over_runs`, the state has a leading
    axis of runs. `axis` is the examples' axis of runs, or None if all runs share them. As many
    `workers` decode images that are in files.
    """
    whole = run.problem.evaluate

    @functools.partial(jax.jit, out_shardings=run.layout.whole)
    def of_batch(variables, examples: Examples, rows):
        rows = jax.lax.with_sharding_constraint(rows, run.layout.rows)
        batch = run.problem.draw(examples, rows, None)
        outputs: Any = run.model.apply(variables, batch.inputs, train=False)
        losses, where, _, kind, _ = of_each(run, run.problem.units)(outputs, batch)
        losses, where = over_networks(run, losses), over_networks(run, where)
        values = quantities(run, outputs, batch, losses)
        units = (losses, where, kind) if run.advance else ()
        collected = of_each(run, whole.collect)(outputs, batch) if whole else ()
        return sums_and_counts(values, where.reshape(1, -1))[:, 0], units, collected

    if over_runs:
        of_batch = jax.jit(jax.vmap(of_batch, in_axes=(0, axis, None)))

    def evaluate(state: TrainState, examples: Examples) -> Evaluated:
        size, number = examples.index.shape[-1], devices.size(run.layout)
        runs = len(state.step) if over_runs else 1
        most = min(run.problem.evaluated_at_once or EVALUATION_BATCH, EVALUATION_BATCH)
        batch = -(-min(max(most // runs, 1), size) // number) * number
        rows = np.pad(np.arange(size, dtype=np.int32), (0, -size % batch), constant_values=-1)
        variables = state.average if run.average else variables_of(state)
        parts = rows.reshape(-1, batch)
        if examples.is_encoded():
            batches = stream(examples, parts, run.layout, workers)
            found = [of_batch(variables, one, places[0]) for one, places in batches]
        else:
            found = [of_batch(variables, examples, part) for part in parts]
        sums, units, collected = zip(*found, strict=True)
        return Evaluated(sum(sums), [*units], [*collected] if whole else [])

    return evaluate


def with_current(state: TrainState) -> TrainState:
    """Returns the state with the current weights in place of the averaged ones."""
    return state._replace(average=variables_of(state))


def with_losses(past: Past, losses) -> Past:
    """Adds the losses of an epoch to those of the epochs before it."""
    known = losses != UNKNOWN
    return Past(past.total + jnp.where(known, losses, 0), past.epochs + known)


def make_after_epoch(run: Run, over_runs: bool = False, axis: int | None = None, workers: int = 0):
    """Returns `after_epoch(state, held_out)`: the state, and by part what is Evaluated of it.

    The method's state is advanced by the losses of the validation split, if the method does so,
    and by those of the current weights: the training losses, which it compares with them, are too.
    """
    evaluate, advance = make_evaluate(run, over_runs, axis, workers), run.advance

    def advanced(loss_state, units):
        losses, where, kind = jax.tree.map(lambda *parts: jnp.concatenate(parts), *units)
        return advance(loss_state, losses, where, kind) if advance else loss_state

    over = jax.vmap(advanced) if over_runs else advanced
    jitted = jax.jit(over, out_shardings=run.layout.whole)
    remember = jax.jit(with_losses, out_shardings=run.layout.whole)
    review = run.problem.review
    if review:
        review = jax.jit(jax.vmap(review) if over_runs else review, out_shardings=run.layout.whole)

    def after_epoch(state: TrainState, held_out: dict[str, Examples]):
        state = state._replace(past=remember(state.past, state.seen["loss"]))
        if review:
            state = state._replace(seen=review(state.seen))
        found = {part: evaluate(state, examples) for part, examples in held_out.items()}
        if advance:
            units = found["validation"].units
            if run.average:
                units = evaluate(with_current(state), held_out["validation"]).units
            loss_state = jitted(state.loss_state, units)
            state = state._replace(loss_state=loss_state)
        return state, {part: one._replace(units=[]) for part, one in found.items()}

    return after_epoch
