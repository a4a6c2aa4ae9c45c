"""The training loop over a leading axis of runs that differ in their seeds alone, on one device."""

import json
import pathlib
import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.progress import console, progress_line
from experiments.runs import files, lock
from experiments.tasks import images
from experiments.tasks.images import epoch_order
from experiments.training import checkpoint, devices, loop
from experiments.training.build import Run, steps_per_epoch
from experiments.training.step import init_state, make_evaluate, make_train_step


class Member(NamedTuple):
    config: Any
    run: Run
    path: pathlib.Path


def axis_of(members: list[Member]) -> int | None:
    """The axis of the members in their data; None where they share it."""
    return None if all(one.run is members[0].run for one in members) else 0


def stacked(trees: list):
    return jax.tree.map(lambda *leaves: np.stack(leaves), *trees)


def host_data(members: list[Member]) -> images.TrainData:
    if axis_of(members) is None:
        return images.train_data(members[0].run.dataset.train, members[0].run.augment)
    return stacked([images.train_data(run.dataset.train, run.augment) for _, run, _ in members])


def held_out(members: list[Member]) -> dict:
    if axis_of(members) is None:
        return loop.held_out(members[0].run)
    parts = stacked([loop.held_out(run) for _, run, _ in members])
    return devices.replicate(parts, members[0].run.layout)


def make_steps(run: Run, axis: int | None = None):
    """Training step and evaluation over a leading axis of runs; `axis`: theirs in the data."""
    step = jax.jit(jax.vmap(make_train_step(run), in_axes=(0, axis, 0)), donate_argnums=0)
    return step, make_evaluate(run, over_runs=True, axis=axis)


def init_states(run: Run, seeds):
    states = [init_state(run, seed) for seed in seeds]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)


def orders(config, run: Run, seeds, epoch: int, size: int):
    return jnp.stack([epoch_order(s, epoch, size, config.batch_size, run.layout) for s in seeds])


def nth(tree, i: int):
    return jax.tree.map(lambda leaf: leaf[i], tree)


def together(members: list[Member], signal) -> list[Exception] | None:
    """The loop of train.py, over a leading axis of runs; returns what failed among them.

    A run that fails stays as it was, and the others go on. None if they have no place in common
    to go on from.
    """
    if (begun_at := begin(members)) is None:
        return None
    state, rows = begun_at
    (config, run, _), axis = members[0], axis_of(members)
    loop.describe(config, run)
    resident = devices.replicate(host_data(members), run.layout)
    size, steps = resident.labels.shape[-1], steps_per_epoch(config, run.dataset)
    (step, evaluate), parts = make_steps(run, axis), held_out(members)
    savers = [checkpoint.saver(one.path, config.checkpoint.keep) for one in members]
    failures: dict[int, Exception] = {}
    begun, saved = int(state.step[0]), time.monotonic()

    def save():
        whole = jax.device_get(state)
        for i, saver in enumerate(savers):
            own = nth(whole, i)
            if not own.failed:
                checkpoint.save(saver, int(own.step), own, loop.lines(rows[i]))

    def stop(number):
        save()
        for saver in savers:
            checkpoint.wait(saver)
        raise lock.Stopped(number)

    with progress_line(config.epochs * steps, "compiling") as progress:
        for epoch in range(begun // steps + 1, config.epochs + 1):
            start = time.perf_counter()
            order = orders(config, run, [one.config.seed for one in members], epoch, size)
            first = max(begun - (epoch - 1) * steps, 0) + 1
            for done in range(first, steps + 1):
                state, _ = step(state, resident, order)
                text = f"epoch {epoch}/{config.epochs}, {len(members)} at once"
                progress((epoch - 1) * steps + done, text)
                if (number := signal()) and done < steps:
                    stop(number)
            for i in set(np.flatnonzero(state.failed).tolist()) - {*failures}:
                own = resident if axis is None else nth(resident, i)
                try:
                    loop.explain(members[i].run, nth(state, i), own, order[i], members[i].path)
                except FloatingPointError as error:
                    console.print(f"failed   {members[i].path}: {error}")
                    failures[i] = error
            if len(failures) == len(members):
                break
            evaluated = {name: evaluate(state, *arrays) for name, arrays in parts.items()}
            told = jax.device_get((state.sums, state.seen, state.loss_state, evaluated))
            state = state._replace(sums=jnp.zeros_like(state.sums))
            seconds = time.perf_counter() - start
            images = len(members) * min((steps + 1 - first) * config.batch_size, size)
            speed = {"seconds": seconds / len(members), "images_per_second": images / seconds}
            for i, (_, own, path) in enumerate(members):
                if i not in failures:
                    rows[i].append(loop.write_row(config, own, path, epoch, *nth(told, i)))
                    files.append_row(path / files.TIMING, {"epoch": epoch} | speed)
            if loop.due(config, epoch, saved):
                save()
                saved = time.monotonic()
            if (number := signal()) and epoch < config.epochs:
                stop(number)
    whole = jax.device_get(state)
    for i, one in enumerate(members):
        checkpoint.wait(savers[i])
        if i not in failures:
            loop.finish(one.config, one.run, rows[i], nth(whole, i), one.path)
    return [failures[i] for i in sorted(failures)]


def begin(members: list[Member]):
    """The newest step of which all have a whole checkpoint, or the start; and their rows.

    None if they have checkpoints, but none in common that is whole.
    """
    run = members[0].run
    states: list = [init_state(run, one.config.seed) for one in members]
    rows: list[list[dict]] = [[] for _ in members]
    folders = [one.path / checkpoint.FOLDER for one in members]
    names = [{path.name for path in checkpoint.steps(folder)} for folder in folders]
    for name in sorted(set.intersection(*names), reverse=True):
        read = [checkpoint.read(f / name, own) for f, own in zip(folders, states, strict=True)]
        found = [one for one in read if one is not None]
        if len(found) == len(members):
            states = [own for own, _ in found]
            rows = [[json.loads(line) for line in text.splitlines()] for _, text in found]
            console.print(f"resume   at step {int(name)}, after {len(rows[0])} whole epochs")
            break
    else:
        if any(names):
            return None
    for one, done in zip(members, rows, strict=True):
        files.begin(one.path, one.config.to_dict(), len(done), loop.lines(done))
    return devices.replicate(stacked(states), run.layout), rows
