"""The training program: the loop around the step, and all that it must not lose."""

import functools
import json
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments import data
from experiments.progress import console, progress_line
from experiments.runs import files, lock
from experiments.runs import samples as examples
from experiments.tasks import images as batches
from experiments.tasks.images import TrainData, epoch_order
from experiments.training import checkpoint, devices
from experiments.training.build import Run, steps_per_epoch
from experiments.training.record import epoch_row, summary
from experiments.training.step import (
    TrainState,
    differentiate,
    init_state,
    make_evaluate,
    make_train_step,
)
from experiments.training.stream import fits, stream


class Loop(NamedTuple):
    """What does not change while a run goes on."""

    config: Any
    run: Run
    path: Any
    signal: Callable[[], int | None]
    saver: checkpoint.Saver
    host: TrainData
    resident: TrainData | None  # on the devices, where it fits
    train_step: Callable
    steps: int  # in an epoch


def train(config, run: Run, path, signal: Callable[[], int | None] = lambda: None) -> dict:
    """Trains to the end, from where an earlier run stopped, and returns results.json's content.

    Raises:
      FloatingPointError: for a loss or a gradient that is not finite; FAILED.json says which.
      lock.Stopped: after saving, if `signal` returned one.
    """
    describe(config, run)
    host = batches.train_data(run.dataset.train, run.augment)
    fitting = fits(host, config.data.device_budget_mb)
    loop = Loop(
        config, run, path,
        signal=devices.agreed(signal),
        saver=checkpoint.saver(path, config.checkpoint.keep),
        host=host,
        resident=devices.replicate(host, run.layout) if fitting else None,
        train_step=make_train_step(run),
        steps=steps_per_epoch(config, run.dataset),
    )  # fmt: skip
    evaluate, parts = make_evaluate(run), held_out(run)
    state, rows = begin(config, run, path)
    saved = time.monotonic()
    with progress_line(config.epochs * loop.steps, "compiling") as progress:
        for epoch in range(int(state.step) // loop.steps + 1, config.epochs + 1):
            start, left = time.perf_counter(), loop.steps - int(state.step) % loop.steps
            state = run_epoch(loop, state, rows, epoch, progress)
            evaluated = {name: evaluate(state, *arrays) for name, arrays in parts.items()}
            told = state.sums, state.seen, state.loss_state, evaluated
            rows.append(write_row(config, run, path, epoch, *told))
            state = state._replace(sums=devices.replicate(np.zeros_like(state.sums), run.layout))
            seconds = time.perf_counter() - start
            images = min(left * config.batch_size, len(host.labels))
            speed = {"seconds": seconds, "images_per_second": images / seconds}
            files.append_row(path / files.TIMING, {"epoch": epoch} | speed)
            progress(epoch * loop.steps, heading(config, epoch, rows, speed))
            if due(config, epoch, saved):
                checkpoint.save(loop.saver, int(state.step), state, lines(rows))
                saved = time.monotonic()
            if (number := loop.signal()) and epoch < config.epochs:
                stop(loop, state, rows, number)
    checkpoint.wait(loop.saver)
    return finish(config, run, rows, state, path)


def write_row(config, run: Run, path, epoch: int, sums, seen, loss_state, evaluated) -> dict:
    """Writes what there is to say of an epoch, and returns it."""
    samples = examples.samples(run.dataset.train, seen, loss_state)
    row = epoch_row(epoch, sums, evaluated, loss_state, samples)
    if config.report.losses:
        examples.write_losses(path, epoch, samples)
    files.append_row(path / files.METRICS, row)
    return row


def finish(config, run: Run, rows: list[dict], state: TrainState, path) -> dict:
    """Writes what a finished run has to say; its result last, since that says that it is."""
    samples = examples.samples(run.dataset.train, state.seen, state.loss_state)
    examples.write(path, samples)
    files.replace(path / files.METRICS, lines(rows).encode())  # as whole as the result
    results = summary(config, run, rows, state.params, samples)
    if (number := files.at_once(path).get("number", 1)) > 1:
        results["vmapped"] = number  # in the last bits, another's
    files.write_json(path / files.RESULTS, results)
    return results


# Steps that may be dispatched before the outcome of the first is looked at. Without a limit, sums
# over the fake devices of a CPU were seen to wait for each other without end.
LATE = 4


def run_epoch(loop: Loop, state: TrainState, rows: list[dict], epoch: int, progress) -> TrainState:
    """The steps that are left of an epoch; stops within it for a signal or a failure."""
    config, size = loop.config, len(loop.host.labels)
    done, start = int(state.step) % loop.steps, time.perf_counter()
    order = epoch_order(config.seed, epoch, size, config.batch_size, loop.run.layout)
    dispatched: list = []
    text = heading(config, epoch, rows)
    for step, batch in enumerate(epoch_steps(loop, order, done), done + 1):
        state, failed = loop.train_step(state, *batch)
        dispatched.append((failed, batch))
        if not rows and step == 1:
            failed.block_until_ready()
            console.print(f"start    first step after {time.perf_counter() - start:.1f} s")
        if len(dispatched) > LATE:
            check(loop, state, *dispatched.pop(0))
        progress((epoch - 1) * loop.steps + step, text)
        if (number := loop.signal()) and step < loop.steps:
            stop(loop, state, rows, number)
    for outcome in dispatched:
        check(loop, state, *outcome)
    return state


def heading(config, epoch: int, rows: list[dict], speed: dict | None = None) -> str:
    text = f"epoch {epoch}/{config.epochs}"
    if rows:
        last = rows[-1]
        text += f"  loss {last['train_loss']:.3f}"
        text += f"  test {last['test_accuracy']:.1%}" if "test_accuracy" in last else ""
    return text + (f"  {speed['images_per_second']:,.0f} images/s" if speed else "")


def held_out(run: Run) -> dict:
    """Images and labels of the validation and test sets, as far as there are any."""
    return {
        name: devices.replicate((examples.images, examples.labels), run.layout)
        for name, examples in (("validation", run.dataset.validation), ("test", run.dataset.test))
        if len(examples.labels)
    }


def describe(config, run: Run) -> None:
    device = jax.devices()[0]
    number, processes = devices.size(run.layout), jax.process_count()
    shared = f", {number} of them" if number > 1 else ""
    shared += f", {processes} processes" if processes > 1 else ""
    kind = f"{device.device_kind} ({device.platform}){shared}, jax {jax.__version__}"
    console.print(f"device   {kind}")
    data.describe(run.dataset, config.noise)


def epoch_steps(loop: Loop, order, done: int) -> Iterator:
    """The (TrainData, order) of each step left of an epoch."""
    if loop.resident is None:
        for batch in stream(loop.host, np.asarray(order)[done:]):
            yield devices.replicate(batch, loop.run.layout)
    else:
        yield from ((loop.resident, order) for _ in range(done, len(order)))


def begin(config, run: Run, path) -> tuple[TrainState, list[dict]]:
    """The newest whole checkpoint, or the initial state; and the rows that belong to it."""
    state, rows = init_state(run, config.seed), []
    restored = restore(run, path, state)
    if restored is not None:
        state, text = restored
        rows = [json.loads(line) for line in text.splitlines()]
        console.print(f"resume   at step {int(state.step)}, after {len(rows)} whole epochs")
    if config.data.exclude is not None:
        kept, resumed = run.dataset.train, restored is not None
        devices.by_the_first(lambda: examples.check_examples(path, kept, resumed))
    told = path, config.to_dict(), len(rows), lines(rows), restored is None
    devices.by_the_first(lambda: files.begin(*told))
    return state, rows


def restore(run: Run, path, state) -> tuple[Any, str] | None:
    """The newest whole checkpoint as process 0 reads it, for all; `state` is of its shape."""
    found = devices.by_the_first(lambda: checkpoint.restore(path, state))
    if not int(devices.of_the_first(np.int32(found is not None))):
        return None
    own, text = found or (jax.tree.map(np.asarray, state), "")
    whole = devices.replicate(devices.of_the_first(own), run.layout)
    return whole, devices.text_of_the_first(text)


def lines(rows: list[dict]) -> str:
    return "".join(files.line(row) for row in rows)


def due(config, epoch: int, saved: float) -> bool:
    every, minutes = config.checkpoint.every_epochs, config.checkpoint.every_minutes
    if every and epoch % every == 0:
        return True
    if epoch == config.epochs:
        return bool(every or minutes)
    late = minutes > 0 and time.monotonic() - saved >= 60 * minutes
    return bool(devices.of_the_first(np.int32(late)))


def stop(loop: Loop, state: TrainState, rows: list[dict], number: int) -> None:
    checkpoint.save(loop.saver, int(state.step), state, lines(rows))
    checkpoint.wait(loop.saver)
    raise lock.Stopped(number)


def check(loop: Loop, state: TrainState, failed, batch) -> None:
    if failed:
        train, order = batch
        explain(loop.run, state, train, order, loop.path)


def explain(run: Run, state: TrainState, train: TrainData, order, path) -> None:
    """Does a failed step again, from the state that was kept before it, and says what failed."""
    again = jax.jit(functools.partial(differentiate, run), out_shardings=run.layout.whole)
    outcome = again(state, train, order)
    named = checkpoint.named(outcome.grads)
    tensors = {f"gradient of {name}": value for name, value in named.items()}
    tensors["losses"] = outcome.losses
    step = int(state.step)
    rows = np.asarray(order)[step % order.shape[0]]
    failure = {
        "step": step,
        "tensors": [name for name, value in tensors.items() if not np.isfinite(value).all()],
        "indices": np.asarray(train.indices)[rows[rows >= 0]].tolist(),
    }
    files.write_json(path / files.FAILED, failure)
    raise FloatingPointError(
        f"step {step}: {', '.join(failure['tensors'][:3])} not finite; see {path / files.FAILED}"
    )
