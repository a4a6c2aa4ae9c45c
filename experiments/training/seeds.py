"""Trains several runs in one process: several seeds, or several points of a sweep.

They are trained at once if possible, otherwise one after another. It pays on a GPU that a small
model leaves partly idle. It does not pay for convolutions on a CPU, since vmap makes grouped
convolutions of them. scripts/bench_seeds.py measures it.
"""

import json
from collections.abc import Callable

import jax
import numpy as np

from experiments.progress import console
from experiments.runs import files, identity
from experiments.training import checkpoint, devices
from experiments.training.build import Member, Run, budget_mb, excludes
from experiments.training.loop import train
from experiments.training.resume import NothingInCommon
from experiments.training.step import check_memory
from experiments.training.stream import within_budget


def train_seeds(config, run: Run, path, signal: Callable[[], int | None] = lambda: None) -> dict:
    """Trains `vmap_seeds` seeds, from config.seed up, on the same data; returns the first result.

    Raises:
      ValueError: for several devices, a streamed data set, or a directory of another config.
    """
    numbers = range(config.seed, config.seed + config.vmap_seeds)
    members = []
    for number in numbers:
        own = config.copy_and_resolve_references()
        own.seed = number
        members.append(Member(own, run, path / f"seed_{number}"))
        if not is_finished(members[-1]):
            checkpoint.check_config(members[-1].path, own)
    if not fit_together(members):
        raise ValueError("config.vmap_seeds: expected one device that holds the data set")
    check_memory(run, len(members))
    for one in members:
        one.path.mkdir(exist_ok=True)
    (path / files.RESULTS).unlink(missing_ok=True)  # of an earlier run with fewer epochs
    files.write_json(path / files.CONFIG, config.to_dict())
    train_all(members, signal)
    files.write_json(path / files.RESULTS, {"seeds": [*numbers], "number": len(numbers)})
    return json.loads((members[0].path / files.RESULTS).read_text())


def train_all(members: list[Member], signal: Callable[[], int | None] = lambda: None) -> None:
    """Trains all unfinished runs; a run that fails does not stop the others.

    Raises:
      FloatingPointError, OSError, ValueError: at the end, the error of the first failed run.
      MemoryError: if the device has too little memory for so many runs at once.
      lock.Stopped: after saving, if `signal` returned a signal.
    """
    left = [one for one in members if not is_finished(one)]
    if len(left) > 1 and go_together(left):
        try:
            with devices.memory_errors():
                train(left, signal)
            return
        except NothingInCommon:
            pass
        except MemoryError as error:
            raise MemoryError(
                f"no memory for {len(left)} runs at once: train fewer; {error}"
            ) from None
    failures = []
    for one in left:
        try:
            train([one], signal)
        except (FloatingPointError, OSError, ValueError) as error:
            if len(members) > 1:
                console.print(f"failed   {one.path}: {error}")
            failures.append(error)
    if failures:
        raise failures[0]


def is_finished(member: Member) -> bool:
    return files.is_done(member.path, identity.config_sha256(member.config.to_dict()))


def go_together(members: list[Member]) -> bool:
    """Whether to train the runs at once: it must be possible, and none has continued alone."""
    if not fit_together(members):
        return False
    paths = [one.path for one in members]
    together = {"number": len(members), "of": [path.name for path in paths]}
    begun = [files.at_once(path) for path in paths]
    steps = [checkpoint.steps(path / checkpoint.FOLDER) for path in paths]
    if not any(begun) and not any(steps):
        for path in paths:
            files.write_json(path / files.AT_ONCE, together)
        return True
    # One of the two newest steps must be common: a kill may come between the saves of two runs.
    newest = [{step.name for step in own[:2]} for own in steps]
    failed = any((path / files.FAILED).exists() for path in paths)
    near = not any(steps) or bool(set.intersection(*newest))
    return near and not failed and begun == [together] * len(paths)


def fit_together(members: list[Member]) -> bool:
    """Whether runs have equal shapes, and one device can hold the data of all."""
    config, run, _ = members[0]
    if devices.size(run.layout) > 1 or excludes(config) or run.dataset.train.is_encoded():
        return False
    if len({shapes(own) for _, own, _ in members}) > 1:
        return False
    if len({own.prior for _, own, _ in members}) > 1:  # all are trained with the method of one
        return False
    host = run.problem.stored(run.dataset.train)
    if any(own is not run for _, own, _ in members):  # same size as all, without copies
        host = jax.tree.map(lambda x: np.broadcast_to(x, (len(members), *x.shape)), host)
    return within_budget(host, budget_mb(config))


def shapes(run: Run) -> tuple:
    """Returns the shapes that must be equal for runs to be trained at once."""
    parts = (run.dataset.train, run.dataset.validation, run.dataset.test)
    return run.num_examples, *(leaf.shape for part in parts for leaf in jax.tree.leaves(part))
