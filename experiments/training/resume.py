"""Restores the newest intact checkpoint, or creates the initial state."""

import functools
import json

import jax
import numpy as np

from experiments.progress import console
from experiments.runs import files, samples
from experiments.training import checkpoint, devices, record
from experiments.training.build import Member, excludes
from experiments.training.step import TrainState, check_memory, init_state


class NothingInCommon(Exception):  # noqa: N818 (no error: the runs then continue one by one)
    """Raised if several runs have checkpoints, but no step that is intact in all of them."""


def resume(members: list[Member]) -> tuple[TrainState, list[list[dict]]]:
    """Returns the state at the newest step that is intact in all runs, and the rows so far.

    Without checkpoints, it is the initial state.
    """
    run = members[0].run
    check_memory(run, len(members))
    states = [init_state(one.run, one.config.seed) for one in members]
    restored = restore(members, states)
    rows: list[list[dict]] = [[] for _ in members]
    if restored is not None:
        states, texts = restored
        rows = [[json.loads(line) for line in text.splitlines()] for text in texts]
        step = int(np.asarray(states[0].step))
        console.print(f"resume   at step {step}, after {len(rows[0])} whole epochs")
    for (config, own, path), known in zip(members, rows, strict=True):
        if excludes(config):
            kept, resumed = own.dataset.train, restored is not None
            devices.by_the_first(functools.partial(samples.check_examples, path, kept, resumed))
        alone = restored is None and len(members) == 1
        told = path, config.to_dict(), len(known), record.lines(known), alone
        devices.by_the_first(functools.partial(files.begin, *told))
    if restored is None and len(members) == 1:
        return states[0], rows
    whole = states[0]
    if len(members) > 1:
        whole = jax.tree.map(lambda *leaves: np.stack(leaves), *states)
    return devices.replicate(whole, run.layout), rows


def restore(members: list[Member], states: list) -> tuple[list, list[str]] | None:
    """Reads checkpoints in process 0, for all processes; None if there is none.

    `states` are templates that give the structure, shapes and dtypes.

    Raises:
      NothingInCommon: see `train`.
      ValueError: if all checkpoints of a single run are damaged.
    """
    folders = [one.path / checkpoint.FOLDER for one in members]
    found = devices.by_the_first(lambda: checkpoint.newest_common(folders, states))
    if not int(devices.of_the_first(np.int32(found is not None))):
        if len(members) > 1 and any(checkpoint.steps(folder) for folder in folders):
            raise NothingInCommon
        return None
    own = found or [(jax.tree.map(np.asarray, state), "") for state in states]
    return (
        [devices.of_the_first(state) for state, _ in own],
        [devices.text_of_the_first(text) for _, text in own],
    )
