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

from experiments import batches, checkpoint, devices, methods, train, workdir
from experiments.one_step import init_state, make_train_step
from experiments.progress import console
from experiments.setup import Run
from experiments.together import (
    Member,
    axis_of,
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
      ValueError: for more than one device, or a data set that is streamed.
    """
    seeds = range(config.seed, config.seed + config.vmap_seeds)
    members = []
    for seed in seeds:
        own = config.copy_and_resolve_references()
        own.seed = seed
        members.append(Member(own, run, path / f"seed_{seed}"))
        members[-1].path.mkdir(exist_ok=True)
    if not fit_together(members):
        raise ValueError("config.vmap_seeds: expected one device that holds the data set")
    (path / workdir.RESULTS).unlink(missing_ok=True)  # of fewer epochs
    workdir.write_json(path / workdir.CONFIG, config.to_dict())
    train_all(members, signal)
    workdir.write_json(path / workdir.RESULTS, {"seeds": [*seeds], "number": len(seeds)})
    return json.loads((members[0].path / workdir.RESULTS).read_text())


def train_all(members: list[Member], signal: Callable[[], int | None] = lambda: None) -> None:
    """Trains what is not finished, at once or one after another; a failure stops no other.

    Raises:
      FloatingPointError: at the end, for the first run whose loss was not finite.
      safety.Stopped: after saving, if `signal` returned one.
    """
    left = [one for one in members if not is_done(one)]
    if len(left) > 1 and at_once(left):
        failures = together(left, signal)
    else:
        failures = []
        for config, run, path in left:
            try:
                train.train(config, run, path, signal)
            except FloatingPointError as error:
                console.print(f"failed   {path}: {error}")
                failures.append(error)
    if failures:
        raise failures[0]


def is_done(member: Member) -> bool:
    return workdir.is_done(member.path, workdir.config_sha256(member.config.to_dict()))


def at_once(members: list[Member]) -> bool:
    """Whether to train them at once: as it was decided when they began, or as is now measured."""
    paths = [one.path for one in members]
    decided = {workdir.number_at_once(path) for path in paths}
    if decided != {None} or any(checkpoint.steps(path / checkpoint.FOLDER) for path in paths):
        # As long as all of them are there, and are where they were together.
        failed = any((path / workdir.FAILED).exists() for path in paths)
        return not failed and decided == {len(members)} and fit_together(members)
    number = len(members) if fit_together(members) and pays(members) else 1
    for path in paths:
        workdir.write_json(path / workdir.AT_ONCE, {"number": number})
    return number > 1


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
    host = batches.train_data(run.dataset.train, run.augment)
    if not shared:  # as large as theirs, without being made
        host = jax.tree.map(lambda x: np.broadcast_to(x, (len(members), *x.shape)), host)
    return train.fits(host, config.data.device_budget_mb)


def parts_of(run: Run):
    return run.dataset.train, run.dataset.validation, run.dataset.test


def pays(members: list[Member]) -> bool:
    """Whether all at once take less time than one after another, over a few steps."""
    (config, run, _), seeds = members[0], [one.config.seed for one in members]
    axis, host = axis_of(members), host_data(members)
    order = orders(config, run, seeds, 1, host.labels.shape[-1])
    own = batches.train_data(run.dataset.train, run.augment)
    cases = {
        "one by one": (make_train_step(run), init_state(run, config.seed), own, order[0]),
        "at once": (make_steps(run, axis)[0], init_states(run, seeds), host, order),
    }
    seconds = {}
    for name, (step, state, arrays, rows) in cases.items():
        resident = devices.replicate(arrays, run.layout)
        try:
            state, _ = step(state, resident, rows)
            jax.block_until_ready(state)
        except jax.errors.JaxRuntimeError as error:
            if name == "one by one" or "RESOURCE_EXHAUSTED" not in str(error):
                raise
            console.print(f"seeds    no memory for {len(members)} at once; going one by one")
            return False
        start = time.perf_counter()
        for _ in range(STEPS):
            state, _ = step(state, resident, rows)
        jax.block_until_ready(state)
        seconds[name] = (time.perf_counter() - start) / STEPS
    seconds["one by one"] *= len(members)
    chosen = min(seconds, key=lambda name: seconds[name])
    text = ", ".join(f"{name} {1e3 * value:.1f} ms" for name, value in seconds.items())
    console.print(f"seeds    a step of all {len(members)}: {text}; going {chosen}")
    return chosen == "at once"
