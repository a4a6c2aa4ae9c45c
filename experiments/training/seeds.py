"""Runs that differ in their seeds alone, trained at once on one device, under vmap.

A GPU that a small model leaves idle is filled; on CPU, where vmap makes grouped convolutions, it
loses. So both ways are measured, and the runs go one after another where that is faster. Each has
its directory and its checkpoints as if it were trained alone, and can go on alone.
"""

import json
import time
from collections.abc import Callable

import jax
import numpy as np

from experiments.progress import console
from experiments.runs import files
from experiments.tasks import images
from experiments.tasks.images import epoch_order
from experiments.training import checkpoint, devices, loop, methods
from experiments.training.build import Run
from experiments.training.step import init_state, make_train_step
from experiments.training.stream import within_budget
from experiments.training.together import (
    Member,
    axis_of,
    held_out,
    host_data,
    init_states,
    make_steps,
    orders,
    together,
)

STEPS = 20  # that are measured


def train_seeds(config, run: Run, path, signal: Callable[[], int | None] = lambda: None) -> dict:
    """Trains seeds config.seed and up on the same data; returns the first's result.

    Raises:
      ValueError: for more than one device, a data set that is streamed, or a changed config.
    """
    seeds = range(config.seed, config.seed + config.vmap_seeds)
    members = []
    for seed in seeds:
        own = config.copy_and_resolve_references()
        own.seed = seed
        members.append(Member(own, run, path / f"seed_{seed}"))
        members[-1].path.mkdir(exist_ok=True)
        if not is_done(members[-1]):
            checkpoint.check_config(members[-1].path, own)
    if not fit_together(members):
        raise ValueError("config.vmap_seeds: expected one device that holds the data set")
    (path / files.RESULTS).unlink(missing_ok=True)  # of fewer epochs
    files.write_json(path / files.CONFIG, config.to_dict())
    train_all(members, signal)
    files.write_json(path / files.RESULTS, {"seeds": [*seeds], "number": len(seeds)})
    return json.loads((members[0].path / files.RESULTS).read_text())


def train_all(members: list[Member], signal: Callable[[], int | None] = lambda: None) -> None:
    """Trains what is not finished, at once or one after another; a failure stops no other.

    Raises:
      FloatingPointError: at the end, for the first run whose loss was not finite; or what else
        stopped a run.
      safety.Stopped: after saving, if `signal` returned one.
    """
    left = [one for one in members if not is_done(one)]
    failures = together(left, signal) if len(left) > 1 and at_once(left) else None
    if failures is None:
        failures = []
        for config, run, path in left:
            try:
                loop.train(config, run, path, signal)
            except (FloatingPointError, OSError, ValueError) as error:
                console.print(f"failed   {path}: {error}")
                failures.append(error)
    if failures:
        raise failures[0]


def is_done(member: Member) -> bool:
    return files.is_done(member.path, files.config_sha256(member.config.to_dict()))


def at_once(members: list[Member]) -> bool:
    """Whether to train them at once: as it was decided when they began, or as is now measured."""
    paths = [one.path for one in members]
    whole = {"number": len(members), "of": [path.name for path in paths]}
    decided = [files.at_once(path) for path in paths]
    steps = [checkpoint.steps(path / checkpoint.FOLDER) for path in paths]
    if any(decided) or any(steps):
        # As long as the same are left, and none has gone on alone; a kill may come between the
        # last saves of two.
        newest = [{step.name for step in own[:2]} for own in steps]
        failed = any((path / files.FAILED).exists() for path in paths)
        near = not any(steps) or bool(set.intersection(*newest))
        return near and not failed and decided == [whole] * len(paths)
    decision = whole if fit_together(members) and pays(members) else whole | {"number": 1}
    for path in paths:
        files.write_json(path / files.AT_ONCE, decision)
    return decision == whole


def fit_together(members: list[Member]) -> bool:
    """Whether one device can hold their data and state, of which all must have one shape."""
    config, run, _ = members[0]
    shapes = {
        (methods.num_examples(own.dataset), *(part.images.shape for part in parts_of(own)))
        for _, own, _ in members
    }
    if devices.size(run.layout) > 1 or len(shapes) > 1 or config.data.exclude is not None:
        return False
    shared = axis_of(members) is None
    host = images.train_data(run.dataset.train, run.augment)
    if not shared:  # as large as theirs, without being made
        host = jax.tree.map(lambda x: np.broadcast_to(x, (len(members), *x.shape)), host)
    return within_budget(host, config.data.device_budget_mb)


def parts_of(run: Run):
    return run.dataset.train, run.dataset.validation, run.dataset.test


def pays(members: list[Member]) -> bool:
    """Whether all at once take less time than one after another, over a few steps."""
    config, run, _ = members[0]
    own = images.train_data(run.dataset.train, run.augment)
    order = epoch_order(config.seed, 1, len(own.labels), config.batch_size, run.layout)
    resident = devices.replicate(own, run.layout)
    alone = len(members) * seconds_of(
        make_train_step(run), init_state(run, config.seed), resident, order
    )
    try:
        together = seconds_at_once(members)
    except (MemoryError, jax.errors.JaxRuntimeError) as error:
        if "RESOURCE_EXHAUSTED" not in str(error) and not isinstance(error, MemoryError):
            raise
        console.print(f"seeds    no memory for {len(members)} at once; going one by one")
        return False
    chosen = "at once" if together < alone else "one by one"
    text = f"one by one {1e3 * alone:.1f} ms, at once {1e3 * together:.1f} ms; going {chosen}"
    console.print(f"seeds    a step of all {len(members)}: {text}")
    return together < alone


def seconds_at_once(members: list[Member]) -> float:
    """Of a step; all that needs memory is tried."""
    (config, run, _), seeds = members[0], [one.config.seed for one in members]
    resident = devices.replicate(host_data(members), run.layout)
    step, evaluate = make_steps(run, axis_of(members))
    order, state = orders(config, run, seeds, 1, resident.labels.shape[-1]), init_states(run, seeds)
    for arrays in held_out(members).values():
        jax.block_until_ready(evaluate(state, *arrays))
    return seconds_of(step, state, resident, order)


def seconds_of(step, state, resident, order) -> float:
    state, _ = step(state, resident, order)
    jax.block_until_ready(state)
    start = time.perf_counter()
    for _ in range(STEPS):
        state, _ = step(state, resident, order)
    jax.block_until_ready(state)
    return (time.perf_counter() - start) / STEPS
