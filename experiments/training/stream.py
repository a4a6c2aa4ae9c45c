"""Streams data sets that are larger than the device's memory, from the host, with Grain.

With a resident data set, the step gets all Examples and the order of the epoch. With a streamed
one, it gets the Examples and the order of its own batch. Both give the same batches and crops,
since these depend only on seed, epoch and step. Images may stay encoded in their files: Grain's
threads then decode those of the next batches. Other arrays are in host memory, or in a
memory-mapped file, and the threads gather batches of them. Each of several processes reads the rows
of its own devices.
"""

import contextlib
import importlib.util
import itertools
import os
from collections.abc import Generator, Iterator

import jax
import numpy as np

from experiments.data import Examples
from experiments.data.encoded import Unreadable
from experiments.training import devices

AHEAD = 4  # batches that are sent to the device in advance
DECODED = 2  # batches that are decoded in advance
PIECE = 16  # images that a thread decodes at once


def within_budget(data: Examples, budget_mb: float) -> bool:
    """Whether the data set fits in the budget for the device; 0 means no limit."""
    if data.is_encoded():
        return False
    return budget_mb == 0 or sum(array.nbytes for array in jax.tree.leaves(data)) <= budget_mb * 1e6


def fits(data: Examples, budget_mb: float) -> bool:
    """Like `within_budget`, but raises ValueError if streaming is needed and Grain is missing."""
    if within_budget(data, budget_mb):
        return True
    if importlib.util.find_spec("grain") is None:
        size = sum(array.nbytes for array in jax.tree.leaves(data)) / 1e6
        limit = (
            "" if data.is_encoded() else f", over config.data.device_budget_mb of {budget_mb:,.0f}"
        )
        raise ValueError(
            f"data set of {size:,.0f} MB{limit}: streaming it needs: pip install grain"
        )
    return False


def placed(examples: Examples, layout: devices.Layout) -> Examples:
    """Returns the examples on the devices, if they are decoded."""
    return examples if examples.is_encoded() else devices.replicate(examples, layout)


class _Rows:
    """A Grain data source. Its items are several examples each."""

    def __init__(self, data: Examples, parts: list[np.ndarray]):
        self.data, self.parts = data, parts

    def __len__(self):
        return len(self.parts)

    def __getitem__(self, number):
        return self.data.rows(self.parts[number]).decoded()


def stream(
    data: Examples, order: np.ndarray, layout: devices.Layout, workers: int = 0
) -> Iterator[tuple[Examples, jax.Array]]:
    """Yields each step's batch on the devices, and the positions of its examples; -1 is padding.

    Raises Unreadable after the last whole batch, in all processes, if a file is gone or damaged.

    Args:
      data: what the batches are of.
      order: positions in it, of shape (steps, batch size).
      layout: the devices.
      workers: threads that decode images; 0: one for each core.
    """
    number, waiting, said = order.shape[1], [], ""
    rows = devices.own_rows(number, layout)  # other processes read the others
    with contextlib.closing(_batches(data, order[:, rows], workers)) as batches:
        for row in order:
            batch = None
            try:
                batch = None if said else next(batches)
            except Unreadable as error:
                said = str(error).splitlines()[0]  # Grain adds lines on its frames
            if batch is None:  # the other processes learn of it with this batch
                batch = jax.tree.map(lambda x: np.zeros((len(rows), *x.shape[1:]), x.dtype), data)
            here = devices.gathered((batch, np.full(len(rows), not said)), number, layout)
            positions = np.where(row >= 0, np.arange(number, dtype=np.int32), -1)
            waiting.append((here, devices.replicate(positions[None], layout)))
            if len(waiting) > AHEAD:
                yield _checked(*waiting.pop(0), said)
    for one in waiting:
        yield _checked(*one, said)


def _checked(here: tuple[Examples, jax.Array], positions: jax.Array, said: str):
    """Returns a batch and its positions; it was gathered some steps ago, so nobody waits for it."""
    batch, readable = here
    if (said or jax.process_count() > 1) and not np.all(readable):
        what = said or "another process cannot read a file"
        raise Unreadable(f"{what}; to go on, restore it and run the same command again")
    return batch, positions


def _batches(data: Examples, order: np.ndarray, workers: int) -> Generator[Examples]:
    import grain

    if data.is_encoded():
        threads, pieces = workers or len(os.sched_getaffinity(0)), -(-order.shape[1] // PIECE)
        ahead = max(DECODED * pieces, threads)
    else:
        threads, pieces, ahead = 4, 1, 2 * AHEAD
    parts = [part for row in order for part in np.array_split(row, pieces)]
    source = grain.MapDataset.source(_Rows(data, parts))
    with contextlib.closing(
        iter(source.to_iter_dataset(grain.ReadOptions(threads, ahead)))
    ) as read:
        for _ in order:
            yield jax.tree.map(lambda *one: np.concatenate(one), *itertools.islice(read, pieces))
