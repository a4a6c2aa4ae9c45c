"""The training loop: calls the step, writes metrics and checkpoints, stops on signals.

It trains a list of runs, usually just one. Several runs may differ only in their seeds. They take
each step together, under vmap over a leading axis of their states. Each run has its own directory,
metrics and checkpoints, and can later resume alone.
"""

import functools
import operator
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.data import Examples
from experiments.data.encoded import Unreadable
from experiments.models import cpu
from experiments.progress import console, progress_line
from experiments.runs import files, lock
from experiments.training import checkpoint, devices, loggers, record
from experiments.training.build import Member, Run, budget_mb, steps_per_epoch, workers
from experiments.training.evaluation import make_after_epoch
from experiments.training.order import epoch_order
from experiments.training.resume import resume
from experiments.training.step import TrainState, differentiate, make_train_step, recorded_part
from experiments.training.stream import fits, placed, stream


class Loop(NamedTuple):
    """What does not change during training."""

    members: list[Member]
    signal: Callable[[], int | None]
    savers: list[checkpoint.Saver]
    axis: int | None  # 0 if each run has its own data, stacked; None if all share one data set
    host: Examples  # the training set
    resident: Examples | None  # the training set on the devices; None if it is streamed
    held_out: dict[str, Examples]
    train_step: Callable
    after_epoch: Callable
    steps: int  # per epoch
    size: int  # examples of the training set
    batch: int  # examples per step


def train(members: list[Member], signal: Callable[[], int | None] = lambda: None) -> list[dict]:
    """Trains the runs to the end, resuming where they stopped; returns the content of results.json.

    A run whose loss or gradient is not finite keeps its last good state; the others continue.

    Raises:
      FloatingPointError: at the end, for the first such run; its FAILED.json names the tensors.
      lock.Stopped: after saving, if `signal` returned a signal.
      NothingInCommon: if several runs have checkpoints, but no common step that is intact.
    """
    config, run, _ = members[0]
    describe(run)
    state, rows = resume(members)
    loop = make_loop(members, signal)
    cpu.keep_freed_memory()  # not before: what it keeps is not in huge pages, as the data now are
    failures: dict[int, Exception] = {}
    done, saved = int(np.asarray(state.step).max()), time.monotonic()
    with (
        loggers.started(members, rows) as log,
        progress_line(config.epochs * loop.steps, "compiling") as progress,
    ):
        while done < config.epochs * loop.steps:
            epoch, start, before = done // loop.steps + 1, time.perf_counter(), done
            state = run_epoch(loop, state, rows, done, failures, progress)
            if len(failures) == len(members):
                break
            done = epoch * loop.steps
            state, evaluated = loop.after_epoch(state, loop.held_out)
            told = jax.device_get((recorded_part(state), evaluated))
            state = state._replace(sums=zeros_like(loop, state.sums))
            examples = min((done - before) * loop.batch, loop.size)
            speed = speed_of(time.perf_counter() - start, examples, len(members))
            for i in alive(loop, failures):
                row = record.write_row(members[i], epoch, rows[i], *nth(loop, told, i))
                rows[i].append(row)
                log(i, row)
                files.append_row(members[i].path / files.TIMING, {"epoch": epoch} | speed)
            progress(done, heading(loop, epoch, rows, speed))
            if due(config, epoch, saved):
                save(loop, state, rows, failures)
                saved = time.monotonic()
            if (number := loop.signal()) and epoch < config.epochs:
                stop(loop, state, rows, failures, number)
    for saver in loop.savers:
        checkpoint.wait(saver)
    results = [
        record.finish(members[i], rows[i], nth(loop, state, i)) for i in alive(loop, failures)
    ]
    if failures:
        raise failures[min(failures)]
    return results


def make_loop(members: list[Member], signal) -> Loop:
    config, run, _ = members[0]
    several, size = len(members) > 1, len(run.dataset.train.index)
    axis = 0 if several and any(one.run is not run for one in members) else None
    host = of_members(members, axis, lambda own: own.problem.stored(own.dataset.train))
    train_step = make_train_step(run)
    if several:
        train_step = jax.jit(jax.vmap(train_step, in_axes=(0, axis, 0)), donate_argnums=0)
    held_out = {
        part: of_members(members, axis, operator.attrgetter(f"dataset.{part}"))
        for part in ("validation", "test")
        if len(getattr(run.dataset, part).index)
    }
    return Loop(
        members=members,
        signal=devices.agreed(signal),
        savers=[checkpoint.saver(one.path, config.checkpoint.keep) for one in members],
        axis=axis,
        host=host,
        resident=devices.replicate(host, run.layout) if keeps(members, host) else None,
        held_out={part: placed(one, run.layout) for part, one in held_out.items()},
        train_step=train_step,
        after_epoch=make_after_epoch(run, several, axis, workers(config)),
        steps=steps_per_epoch(config, size),
        size=size,
        batch=jax.eval_shape(lambda: run.problem.order(0, 1, size, config.batch_size)).shape[1],
    )


def of_members(members: list[Member], axis: int | None, part: Callable[[Run], Examples]):
    if axis is None:
        return part(members[0].run)
    return jax.tree.map(lambda *leaves: np.stack(leaves), *(part(one.run) for one in members))


def keeps(members: list[Member], host: Examples) -> bool:
    """Whether to keep the training set on the devices; several runs at once cannot stream it."""
    return len(members) > 1 or fits(host, budget_mb(members[0].config))


def nth(loop: Loop, tree, i: int):
    """Returns the i-th run's part of a tree; with several runs, leaves have a leading axis."""
    return tree if len(loop.members) == 1 else jax.tree.map(lambda leaf: leaf[i], tree)


def alive(loop: Loop, failures: dict[int, Exception]) -> list[int]:
    return [i for i in range(len(loop.members)) if i not in failures]


def zeros_like(loop: Loop, sums):
    return devices.replicate(np.zeros(sums.shape, sums.dtype), loop.members[0].run.layout)


def speed_of(seconds: float, examples: int, number: int) -> dict[str, float]:
    """Returns the seconds per run, and the throughput of all runs together."""
    return {"seconds": seconds / number, "examples_per_second": number * examples / seconds}


# --- An epoch. ------------------------------------------------------------------------------------

# How many steps may be dispatched before the outcome of the first is checked. Without a limit, the
# all-reduces of a CPU's fake devices have deadlocked.
LATE = 4


def run_epoch(loop: Loop, state: TrainState, rows, done: int, failures, progress) -> TrainState:
    """Takes the remaining steps of an epoch; stops early on a signal or if all runs have failed."""
    start, end = time.perf_counter(), (done // loop.steps + 1) * loop.steps
    text = heading(loop, done // loop.steps + 1, rows)
    dispatched: list = []
    try:
        for step, batch in enumerate(epoch_steps(loop, done), done + 1):
            state, failed = loop.train_step(state, *batch)
            dispatched.append((failed, batch))
            if step == 1:
                failed.block_until_ready()
                console.print(f"start    first step after {time.perf_counter() - start:.1f} s")
            if len(dispatched) > LATE:
                check(loop, state, failures, *dispatched.pop(0))
            if len(failures) == len(loop.members):
                return state
            if step < end:  # the last step's line has the numbers of the whole epoch: see `train`
                progress(step, text)
            if (number := loop.signal()) and step < end:
                stop(loop, state, rows, failures, number)
    except Unreadable:
        save_and_wait(loop, state, rows, failures)
        raise
    for outcome in dispatched:
        check(loop, state, failures, *outcome)
    return state


def epoch_steps(loop: Loop, done: int) -> Iterator:
    """Yields (examples, order) for each remaining step of an epoch."""
    (config, run, _), epoch = loop.members[0], done // loop.steps + 1
    shared = loop.size, config.batch_size, run.layout
    orders = [
        epoch_order(one.config.seed, epoch, *shared, one.run.problem.order) for one in loop.members
    ]
    order = orders[0] if len(orders) == 1 else jnp.stack(orders)
    left = loop.steps - done % loop.steps
    if loop.resident is None:
        yield from stream(loop.host, np.asarray(order)[-left:], run.layout, workers(config))
    else:
        yield from ((loop.resident, order) for _ in range(left))


def check(loop: Loop, state: TrainState, failures: dict[int, Exception], failed, batch) -> None:
    """Records in `failures` which runs have failed at a step, and why."""
    for i in np.flatnonzero(failed).tolist():
        if i not in failures:
            train, order = batch
            own = train if loop.axis is None else nth(loop, train, i)
            member = loop.members[i]
            failures[i] = explain(member, nth(loop, state, i), own, nth(loop, order, i))
            if len(loop.members) > 1:
                console.print(f"failed   {member.path}: {failures[i]}")


def explain(member: Member, state: TrainState, train: Examples, order) -> FloatingPointError:
    """Repeats a failed step from the last good state, and writes which tensors are not finite."""
    run, path = member.run, member.path
    again = jax.jit(functools.partial(differentiate, run), out_shardings=run.layout.whole)
    outcome = again(state, train, order)
    named = checkpoint.named(outcome.grads).items()
    tensors = {f"gradient of {name}": value for name, value in named} | {"losses": outcome.losses}
    step = int(state.step)
    rows = np.asarray(order)[step % order.shape[0]]
    failure = {
        "step": step,
        "tensors": [name for name, value in tensors.items() if not np.isfinite(value).all()],
        "indices": np.asarray(train.index)[rows[rows >= 0]].tolist(),
    }
    files.write_json(path / files.FAILED, failure)
    return FloatingPointError(
        f"step {step}: {', '.join(failure['tensors'][:3])} not finite; see {path / files.FAILED}"
    )


# --- Messages. ------------------------------------------------------------------------------------


def describe(run: Run) -> None:
    device = jax.devices()[0]
    number, processes = devices.size(run.layout), jax.process_count()
    shared = f", {number} of them" if number > 1 else ""
    shared += f", {processes} processes" if processes > 1 else ""
    kind = f"{device.device_kind} ({device.platform}){shared}, jax {jax.__version__}"
    console.print(f"device   {kind}")
    for line in run.problem.told:
        console.print(line)


def heading(loop: Loop, epoch: int, rows: list[list[dict]], speed: dict | None = None) -> str:
    """Returns the text of the progress line."""
    config, run, _ = loop.members[0]
    text = f"epoch {epoch}/{config.epochs}"
    if len(loop.members) > 1:
        text += f", {len(loop.members)} runs at once"
    elif rows[0]:
        last, score = rows[0][-1], run.score
        text += f"  after {last['epoch']}:" if last["epoch"] < epoch else ""
        text += f"  loss {last['train_loss']:.3f}"
        if (test := last.get(f"test_{score.key}")) is not None:
            text += f"  test {score.scale * test:.4g}{score.unit}"
    return text + (f"  {speed['examples_per_second']:,.0f} examples/s" if speed else "")


# --- Checkpoints. ---------------------------------------------------------------------------------


def save(loop: Loop, state: TrainState, rows: list[list[dict]], failures: dict) -> None:
    whole = state if len(loop.members) == 1 else jax.device_get(state)
    for i in alive(loop, failures):
        own = nth(loop, whole, i)
        if not own.failed:
            checkpoint.save(loop.savers[i], int(own.step), own, record.lines(rows[i]))


def due(config, epoch: int, saved: float) -> bool:
    every, minutes = config.checkpoint.every_epochs, config.checkpoint.every_minutes
    if every and epoch % every == 0:
        return True
    if epoch == config.epochs:
        return bool(every or minutes)
    late = minutes > 0 and time.monotonic() - saved >= 60 * minutes
    return bool(devices.of_the_first(np.int32(late)))


def save_and_wait(loop: Loop, state: TrainState, rows, failures) -> None:
    save(loop, state, rows, failures)
    for saver in loop.savers:
        checkpoint.wait(saver)


def stop(loop: Loop, state: TrainState, rows, failures, number: int) -> None:
    save_and_wait(loop, state, rows, failures)
    raise lock.Stopped(number)
