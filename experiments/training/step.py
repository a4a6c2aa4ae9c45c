"""The training step, as a pure function of a state and a batch."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments import rng
from experiments.data import Examples
from experiments.tasks.base import UNKNOWN, At, Batch
from experiments.training import devices, weighing
from experiments.training.build import Run


class Past(NamedTuple):
    """Each example's losses over whole epochs, as the last visit of each epoch left them."""

    total: jax.Array  # by index, as `seen`
    epochs: jax.Array  # int32, in how many epochs there was one


class TrainState(NamedTuple):
    """Everything that training changes, and the seed for its random draws."""

    step: jax.Array
    params: Any
    batch_stats: Any
    average: Any  # the moving average of both, or () without one
    opt_state: Any
    loss_state: Any
    sums: jax.Array  # and counts over this epoch, shape (2, groups, quantities)
    seen: dict[str, jax.Array]  # per-example records of the last visit, by index
    past: Past
    seed: jax.Array
    failed: jax.Array  # whether a loss or gradient was not finite; then the state no longer changes


def recorded_part(state: TrainState) -> TrainState:
    """Returns the state without what no epoch's record needs: the weights and their optimizer's."""
    return state._replace(params=(), batch_stats=(), average=(), opt_state=())


def group_names(run: Run) -> tuple[str, ...]:
    return ("all", *run.problem.groups)


def quantity_names(run: Run) -> tuple[str, ...]:
    changed = ("changed",) if records_classes(run) else ()
    return ("loss", *run.problem.metrics, "sigma", *changed)


def records_classes(run: Run) -> bool:
    """Whether the last predicted class of each example is recorded."""
    found = run.problem.records.get("predicted")
    of_examples = run.problem.rows_are_examples and not run.problem.objects
    return of_examples and found is not None and found.before.dtype.kind == "i"


def initial(run: Run, seed) -> TrainState:
    """Returns the state before the first step."""
    size, records = record_shape(run), run.problem.records
    variables = initial_variables(run, seed)
    params, stats = variables["params"], variables.get("batch_stats", {})
    seen = {name: jnp.full(size, UNKNOWN) for name in ("loss", "weight")}
    seen |= {name: jnp.full(size, one.before) for name, one in records.items()}
    return TrainState(
        step=jnp.int32(0),
        params=params,
        batch_stats=stats,
        average={"params": params, "batch_stats": stats} if run.average else (),
        opt_state=run.optimizer.init(params),
        loss_state=run.method.init(),
        sums=jnp.zeros((2, len(group_names(run)), len(quantity_names(run)))),
        seen=seen,
        past=Past(jnp.zeros_like(seen["loss"]), jnp.zeros(size, jnp.int32)),
        seed=seed,
        failed=jnp.bool(False),
    )


def init_state(run: Run, seed: int) -> TrainState:
    """Returns `initial` on the devices."""
    # Without jit, each operation would be compiled by itself. At level 1 of 3, a program that runs
    # once compiles in a third of the time, and its numbers are the same to the last bit.
    options = {"xla_backend_optimization_level": 1} if jax.default_backend() == "cpu" else {}
    first = functools.partial(initial, run)
    return jax.jit(first, out_shardings=run.layout.whole, compiler_options=options)(np.int32(seed))


def record_shape(run: Run) -> tuple[int, ...]:
    """Returns the shape of what is recorded: a number for each example, or for its objects."""
    objects = run.problem.objects
    return (run.num_examples, objects.number) if objects else (run.num_examples,)


def check_memory(run: Run, number: int = 1) -> None:
    """Raises MemoryError if there is no memory for the states of `number` runs."""
    devices.check_memory(jax.eval_shape(lambda: initial(run, np.int32(0))), run.layout, number)


def initial_variables(run: Run, seed) -> dict[str, Any]:
    first = run.dataset.train.rows(slice(1)).decoded()
    shapes = jax.eval_shape(lambda: run.problem.draw(first, np.zeros(1, np.int32), None).inputs)
    inputs = jax.tree.map(lambda one: jnp.zeros(one.shape, one.dtype), shapes)
    variables = run.model.init(rng.key_for(seed, rng.INIT), inputs, train=False)
    params = run.problem.initial(variables["params"], rng.key_for(seed, rng.INIT, 1))
    return {**variables, "params": params}


class Outcome(NamedTuple):
    """Results of a batch: gradients, new loss state and BatchNorm statistics, and records."""

    grads: Any
    loss_state: Any
    batch_stats: Any
    losses: jax.Array  # per unit; the mean over networks
    sums: jax.Array
    index: Any  # per example; out of range for padding
    seen: dict[str, jax.Array]  # per-example records


def drawn(run: Run, state: TrainState, train: Examples, order) -> Batch:
    rows = order[state.step % order.shape[0]]
    rows = jax.lax.with_sharding_constraint(rows, run.layout.rows)  # each device draws its own rows
    batch = run.problem.draw(train, rows, At(state.seed, state.step))
    if run.problem.review is None:
        return batch
    return batch._replace(seen={name: one[batch.index] for name, one in state.seen.items()})


def differentiate(run: Run, state: TrainState, train: Examples, order) -> Outcome:
    """Computes the Outcome of batch `step % steps` of the epoch."""
    batch = drawn(run, state, train, order)

    def outputs_of(variables, inputs):
        dropout = rng.key_for(state.seed, rng.DROPOUT, state.step)
        call: dict[str, Any] = {"train": True, "mask": batch.where, "rngs": {"dropout": dropout}}
        return run.model.apply(variables, inputs, mutable=["batch_stats"], **call)

    if run.problem.teach:
        teacher = state.average if run.problem.taught_by_average else variables_of(state)
        taught = run.problem.teach(lambda inputs: outputs_of(teacher, inputs)[0], batch)
        batch = batch._replace(taught=taught)

    def objective(params):
        outputs, updated = outputs_of(variables_of(state._replace(params=params)), batch.inputs)
        losses, where, extra, kind, rest = of_each(run, run.problem.units)(outputs, batch)
        extra |= {} if kind is None else {"kind": kind}
        weighted, loss_state = run.method.update(losses, state.loss_state, where=where, **extra)
        weights = jnp.full_like(losses, UNKNOWN)
        if run.weighs:
            weights = weighing.weights(run.method, losses, state.loss_state, where, extra)
        means = of_each(run, lambda one: run.problem.mean(one[0], one[1], batch))((weighted, where))
        aux = outputs, losses, where, weights, loss_state, updated.get("batch_stats", {})
        # With two networks, add their means: each network learns from its own.
        return jnp.sum(means + rest), aux

    grads, (outputs, losses, where, weights, loss_state, batch_stats) = jax.grad(
        objective, has_aux=True
    )(state.params)
    losses, weights, where = (over_networks(run, one) for one in (losses, weights, where))
    values = quantities(run, outputs, batch, losses)
    values["sigma"] = weights
    seen = {"loss": losses, "weight": weights}
    mean_outputs = jax.tree.map(functools.partial(over_networks, run), outputs)
    records = {name: one.of(mean_outputs, batch) for name, one in run.problem.records.items()}
    index = jnp.where(batch.where, batch.index, run.num_examples)
    if records_classes(run):
        values["changed"] = changed(state.seen["predicted"], index, records["predicted"], losses)
    return Outcome(
        grads=grads,
        loss_state=loss_state,
        batch_stats=batch_stats,
        losses=jnp.where(where, losses, 0),
        sums=sums_over_groups(run, values, where, batch),
        index=index,
        seen={name: recorded(run, value, where, batch) for name, value in seen.items()} | records,
    )


def changed(memory, index, predicted, losses) -> jax.Array:
    """Returns 1 where another class is predicted than at the last visit, UNKNOWN at the first."""
    before = memory.at[index].get(mode="fill", fill_value=-1)
    is_other = jnp.where(before < 0, UNKNOWN, (before != predicted).astype(losses.dtype))
    return jnp.broadcast_to(is_other.reshape(-1, *[1] * (losses.ndim - 1)), losses.shape)


def variables_of(state: TrainState) -> dict[str, Any]:
    return {"params": state.params, "batch_stats": state.batch_stats}


def of_each(run: Run, function: Callable) -> Callable:
    """Maps the function over the leading axis of outputs if there are two networks."""
    if run.networks == 1:
        return function
    return lambda outputs, *others: jax.vmap(lambda one: function(one, *others))(outputs)


def over_networks(run: Run, values):
    """Averages values over the networks; a mask is True where it is True for all."""
    if run.networks == 1:
        return values
    return values.all(axis=0) if values.dtype == bool else values.mean(axis=0)


def recorded(run: Run, values, where, batch) -> jax.Array:
    """Returns the values of units by example, or by object if the problem has some."""
    objects = run.problem.objects
    return objects.of_units(values, where, batch) if objects else of_example(values, where)


def of_example(values, where):
    """Averages over the units of each example; UNKNOWN if none of them counts."""
    axes = tuple(range(1, values.ndim))
    if axes:
        values, where = values.mean(axis=axes, where=where), where.any(axis=axes)
    return jnp.where(where, values, UNKNOWN)


def quantities(run: Run, outputs, batch, losses) -> dict[str, jax.Array]:
    """Returns the quantities that are summed over units, by name."""
    values = {"loss": losses}
    for name, metric in run.problem.metrics.items():
        values[name] = over_networks(run, of_each(run, metric)(outputs, batch))
    return values


def sums_over_groups(run: Run, values: dict[str, jax.Array], where, batch) -> jax.Array:
    """Sums and counts the quantities over the units of each group; (2, groups, quantities)."""
    masks = [where]
    for mask in run.problem.groups.values():
        own = mask(batch.targets, batch.clean_targets)
        if run.problem.objects:
            own = run.problem.objects.to_units(own, batch)
        of_units = own.ndim == where.ndim  # otherwise of examples
        masks.append(where & (own if of_units else own.reshape(-1, *[1] * (where.ndim - 1))))
    return sums_and_counts(values, jnp.stack([mask.reshape(-1) for mask in masks]))


def sums_and_counts(values: dict[str, jax.Array], groups) -> jax.Array:
    """Sums what is not UNKNOWN over the units of each group; shape (2, groups, quantities)."""
    flat = jnp.stack([value.reshape(-1) for value in values.values()])
    counted = groups[:, None] & (flat != UNKNOWN)[None]
    sums = jnp.sum(jnp.where(counted, flat, 0), axis=-1)
    return jnp.stack([sums, jnp.sum(counted, axis=-1, dtype=sums.dtype)])


def make_train_step(run: Run):
    @functools.partial(jax.jit, donate_argnums=0, out_shardings=run.layout.whole)
    def train_step(state: TrainState, train: Examples, order):
        """Takes one step; returns the state, and whether this or an earlier step failed."""
        out = differentiate(run, state, train, order)

        def grad_fn(params, _):  # for an optimizer that looks at the batch again
            return differentiate(run, state._replace(params=params), train, order).grads

        updates, opt_state = run.optimizer.update(
            out.grads, state.opt_state, state.params, grad_fn=grad_fn
        )
        finite = [jnp.isfinite(leaf).all() for leaf in jax.tree.leaves((out.losses, out.grads))]
        failed = state.failed | ~jnp.stack(finite).all()
        params = optax.apply_updates(state.params, updates)
        new = TrainState(
            step=state.step + 1,
            params=params,
            batch_stats=out.batch_stats,
            average=averaged(run, state, {"params": params, "batch_stats": out.batch_stats}),
            opt_state=opt_state,
            loss_state=out.loss_state,
            sums=state.sums + out.sums,
            seen=state.seen,
            past=state.past,
            seed=state.seed,
            failed=failed,
        )
        # The host sees a failure late. Steps dispatched until then keep the last good state.
        kept = jax.tree.map(functools.partial(jnp.where, failed), state, new)
        # On failure, write out of range: a select would copy the whole array.
        nowhere = failed | (not run.problem.rows_are_examples)
        index = jnp.where(nowhere, run.num_examples, out.index)
        seen = {
            name: memory.at[index].set(out.seen[name].astype(memory.dtype), mode="drop")
            for name, memory in state.seen.items()
        }
        return kept._replace(failed=failed, seen=seen), failed

    return train_step


def averaged(run: Run, state: TrainState, new):
    """Returns the moving average of the weights, of which the first steps have equal shares."""
    if not run.average:
        return ()
    part = jnp.maximum(1 - run.average, 1 / (state.step + 1))
    return optax.incremental_update(new, state.average, part)
