"""The training program: one state, one step, one loop. Read it from top to bottom."""

import collections
import functools
import json
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments import batches, checkpoint, data, devices, keys, models, safety, workdir
from experiments.batches import TrainData, epoch_order
from experiments.progress import console, progress_line
from experiments.results import GROUPS, QUANTITIES, epoch_row, summary
from experiments.setup import Run, steps_per_epoch
from experiments.stream import fits, stream


class TrainState(NamedTuple):
    """All that training changes, and the seed of all that it draws."""

    step: jax.Array
    params: Any
    batch_stats: Any
    opt_state: Any
    loss_state: Any
    sums: jax.Array  # of this epoch's metrics: (groups, quantities)
    seed: jax.Array
    failed: jax.Array  # whether a loss or a gradient was not finite; then nothing changes any more


# --- One step. ------------------------------------------------------------------------------------


def init_state(run: Run, seed: int) -> TrainState:
    @functools.partial(jax.jit, out_shardings=run.layout.whole)  # one program, not one an operation
    def init(seed):
        images = jnp.zeros((1, *run.dataset.train.images.shape[1:]))
        variables = run.model.init(keys.key_for(seed, keys.INIT), images, train=False)
        params = variables["params"]
        if run.torch_init:
            params = models.torch_init(params, keys.key_for(seed, keys.INIT, 1))
        return TrainState(
            step=jnp.int32(0),
            params=params,
            batch_stats=variables.get("batch_stats", {}),
            opt_state=run.optimizer.init(params),
            loss_state=run.method.init(),
            sums=jnp.zeros((len(GROUPS), len(QUANTITIES))),
            seed=seed,
            failed=jnp.bool(False),
        )

    return init(np.int32(seed))


def differentiate(run: Run, state: TrainState, train: TrainData, order):
    """Gradients on batch `step % steps` of the epoch, and what else came out of it."""
    rows = order[state.step % order.shape[0]]
    rows = jax.lax.with_sharding_constraint(rows, run.layout.rows)  # each device draws its part
    where = rows >= 0
    images = batches.draw(train.images, rows, run.dataset, run.augment, state.seed, state.step)
    labels = train.labels[rows]

    def objective(params):
        logits, updated = run.model.apply(
            {"params": params, "batch_stats": state.batch_stats},
            images,
            train=True,
            mask=where,
            mutable=["batch_stats"],
            rngs={"dropout": keys.key_for(state.seed, keys.DROPOUT, state.step)},
        )
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
        robust, loss_state = run.method.update(losses, state.loss_state, where=where)
        aux = losses, logits, loss_state, updated.get("batch_stats", {})
        return jnp.mean(robust, where=where), aux

    grads, (losses, logits, loss_state, batch_stats) = jax.grad(objective, has_aux=True)(
        state.params
    )

    # sigma is the weight that the method gives a sample: the derivative of its loss. The
    # compiler merges it with the one that is in the gradient.
    def total(losses):
        return jnp.sum(run.method.update(losses, state.loss_state, where=where)[0])

    right = logits.argmax(-1) == labels
    values = jnp.stack([jnp.ones_like(losses), losses, right, jax.grad(total)(losses)])
    clean_labels = train.clean_labels[rows]
    clean, known = labels == clean_labels, clean_labels >= 0
    groups = jnp.stack([where, where & clean, where & known & ~clean])
    sums = jnp.sum(jnp.where(groups[:, None], values, 0), axis=-1)
    return grads, losses, where, loss_state, batch_stats, sums


def make_train_step(run: Run):
    @functools.partial(jax.jit, donate_argnums=0, out_shardings=run.layout.whole)
    def train_step(state: TrainState, train: TrainData, order):
        """One optimizer step, and whether this or an earlier one failed."""
        grads, losses, where, loss_state, batch_stats, sums = differentiate(
            run, state, train, order
        )
        updates, opt_state = run.optimizer.update(grads, state.opt_state, state.params)
        finite = [jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(grads)]
        failed = state.failed | ~(jnp.isfinite(losses) | ~where).all() | ~jnp.stack(finite).all()
        new = TrainState(
            step=state.step + 1,
            params=optax.apply_updates(state.params, updates),
            batch_stats=batch_stats,
            opt_state=opt_state,
            loss_state=loss_state,
            sums=state.sums + sums,
            seed=state.seed,
            failed=failed,
        )
        # Steps that are dispatched before the host sees a failure keep the last good state.
        kept = jax.tree.map(functools.partial(jnp.where, failed), state, new)
        return kept._replace(failed=failed), failed

    return train_step


EVALUATION_BATCH = 1000


def make_evaluate(run: Run):
    """Returns `evaluate(state, images, labels)`: number of images, sums of loss and of right."""

    @functools.partial(jax.jit, out_shardings=run.layout.whole)
    def batch_sums(params, batch_stats, images, labels, index):
        index = jax.lax.with_sharding_constraint(index, run.layout.rows)
        variables = {"params": params, "batch_stats": batch_stats}
        images = batches.normalise(images[index], run.dataset)
        logits: Any = run.model.apply(variables, images, train=False)
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels[index])
        right = logits.argmax(-1) == labels[index]
        values = jnp.stack([jnp.ones_like(losses), losses, right])
        return jnp.sum(jnp.where(index >= 0, values, 0), axis=-1)

    def evaluate(state: TrainState, images, labels):
        index = np.arange(len(labels), dtype=np.int32)
        number = devices.size(run.layout)
        batch = -(-min(EVALUATION_BATCH, len(labels)) // number) * number
        index = np.pad(index, (0, -len(labels) % batch), constant_values=-1)
        return sum(
            batch_sums(state.params, state.batch_stats, images, labels, part)
            for part in index.reshape(-1, batch)
        )

    return evaluate


# --- The run. -------------------------------------------------------------------------------------


def train(config, run: Run, path, signal: Callable[[], int | None] = lambda: None) -> dict:
    """Trains to the end, from where an earlier run stopped, and returns results.json's content.

    Raises:
      FloatingPointError: for a loss or a gradient that is not finite; FAILED.json says which.
      safety.Stopped: after saving, if `signal` returned one.
    """
    dataset, saver = run.dataset, checkpoint.saver(path, config.checkpoint.keep)
    signal = devices.agreed(signal)
    describe(config, run)
    host = batches.train_data(dataset.train, run.augment)
    resident = None
    if fits(host, config.data.device_budget_mb):
        resident = devices.replicate(host, run.layout)
    held_out = {
        part: devices.replicate((examples.images, examples.labels), run.layout)
        for part, examples in (("validation", dataset.validation), ("test", dataset.test))
        if len(examples.labels)
    }
    train_step, evaluate = make_train_step(run), make_evaluate(run)
    state, rows = begin(config, run, path)
    steps, size = steps_per_epoch(config, dataset), len(host.labels)
    first = int(state.step)
    saved = time.monotonic()
    latest = ""
    with progress_line(config.epochs * steps, "compiling") as progress:
        for epoch in range(first // steps + 1, config.epochs + 1):
            start, done = time.perf_counter(), first % steps if epoch == first // steps + 1 else 0
            order = epoch_order(config.seed, epoch, size, config.batch_size, run.layout)
            running: collections.deque = collections.deque()
            for step, batch in enumerate(epoch_steps(host, resident, order, done, run), done + 1):
                state, failed = train_step(state, *batch)
                running.append(failed)
                if len(running) > LATE and running.popleft():
                    report_failure(run, state, batch, path)
                progress((epoch - 1) * steps + step, f"epoch {epoch}/{config.epochs}{latest}")
                if (number := signal()) and step < steps:
                    stop(saver, state, rows, number)
            if any(running):
                report_failure(run, state, batch, path)
            evaluated = {part: evaluate(state, *held_out[part]) for part in held_out}
            rows.append(epoch_row(epoch, state.sums, evaluated, state.loss_state))
            state = state._replace(sums=devices.replicate(np.zeros_like(state.sums), run.layout))
            seconds = time.perf_counter() - start
            rate = {"epoch": epoch, "seconds": seconds, "images_per_second": size / seconds}
            workdir.append_row(path / workdir.METRICS, rows[-1])
            workdir.append_row(path / workdir.TIMING, rate)
            latest = (
                f"  loss {rows[-1]['train_loss']:.3f}  test"
                f" {rows[-1].get('test_accuracy', np.nan):.1%}  {size / seconds:,.0f} images/s"
            )
            progress(epoch * steps, f"epoch {epoch}/{config.epochs}{latest}")
            if due(config, epoch, saved):
                checkpoint.save(saver, int(state.step), state, lines(rows))
                saved = time.monotonic()
            if (number := signal()) and epoch < config.epochs:
                stop(saver, state, rows, number)
    checkpoint.wait(saver)
    results = summary(config, run, rows, state.params)
    workdir.write_json(path / workdir.RESULTS, results)
    return results


LATE = 4  # steps that may be dispatched before the outcome of the first is looked at


def describe(config, run: Run) -> None:
    device = jax.devices()[0]
    number, processes = devices.size(run.layout), jax.process_count()
    shared = f", {number} of them" if number > 1 else ""
    shared += f", {processes} processes" if processes > 1 else ""
    kind = f"{device.device_kind} ({device.platform}){shared}, jax {jax.__version__}"
    console.print(f"device   {kind}")
    data.describe(run.dataset, config.noise)


def epoch_steps(host: TrainData, resident: TrainData | None, order, done: int, run) -> Iterator:
    """The (TrainData, order) of each step left of an epoch; `resident` lies on the devices."""
    if resident is None:
        for batch in stream(host, np.asarray(order)[done:]):
            yield devices.replicate(batch, run.layout)
    else:
        yield from ((resident, order) for _ in range(done, len(order)))


def begin(config, run: Run, path) -> tuple[TrainState, list[dict]]:
    """The newest whole checkpoint, or the initial state; and the rows that belong to it."""
    state, rows = init_state(run, config.seed), []
    restored = checkpoint.restore(path, state)
    if restored is not None:
        state, text = devices.replicate(restored[0], run.layout), restored[1]
        rows = [json.loads(line) for line in text.splitlines()]
        console.print(f"resume   at step {int(state.step)}, after {len(rows)} whole epochs")
    if jax.process_index() == 0:
        workdir.write_json(path / workdir.CONFIG, config.to_dict())
        workdir.keep_rows(path, len(rows), lines(rows))
    return state, rows


def lines(rows: list[dict]) -> str:
    return "".join(workdir.line(row) for row in rows)


def due(config, epoch: int, saved: float) -> bool:
    every, minutes = config.checkpoint.every_epochs, config.checkpoint.every_minutes
    if every and (epoch % every == 0 or epoch == config.epochs):
        return True
    if not minutes:
        return False
    return bool(devices.of_the_first(time.monotonic() - saved >= 60 * minutes))


def stop(saver, state: TrainState, rows: list[dict], number: int) -> None:
    checkpoint.save(saver, int(state.step), state, lines(rows))
    checkpoint.wait(saver)
    raise safety.Stopped(number)


def report_failure(run: Run, state: TrainState, batch, path) -> None:
    """Does the failing step again, from the state that was kept before it, and says what failed."""
    train, order = batch
    grads, losses, where, *_ = jax.jit(functools.partial(differentiate, run))(state, train, order)
    rows = np.asarray(order)[int(state.step) % order.shape[0]]
    named = {f"gradient of {n}": v for n, v in checkpoint.named(grads).items()}
    named["losses"] = jnp.where(where, losses, 0)
    tensors = [name for name, value in named.items() if not np.isfinite(value).all()]
    step = int(state.step)
    failure = {
        "step": step,
        "tensors": tensors,
        "indices": np.asarray(train.indices)[rows[rows >= 0]].tolist(),
    }
    workdir.write_json(path / workdir.FAILED, failure)
    raise FloatingPointError(
        f"step {step}: {', '.join(tensors[:3])} not finite; see {path / workdir.FAILED}"
    )
