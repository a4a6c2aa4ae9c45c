"""Data sets larger than the device's memory: the same batches, read from the host by Grain.

A resident data set is one (Examples, order) an epoch; a streamed one is a (Examples, order) for
each step, which holds that step's batch alone. The training step cannot tell: same examples, same
order, same crops, since those depend on seed, epoch and step. Only host memory (or a memory-mapped
file) must hold the whole; Grain's threads gather batches ahead of the device.
"""

import importlib.util
from collections.abc import Iterator

import jax
import numpy as np

from experiments.data import Examples

AHEAD = 4  # batches in flight to the device


def within_budget(data: Examples, budget_mb: float) -> bool:
    """Whether the data set may lie on the device; a budget of 0 sets no limit."""
    return budget_mb == 0 or sum(array.nbytes for array in jax.tree.leaves(data)) <= budget_mb * 1e6


def fits(data: Examples, budget_mb: float) -> bool:
    """As `within_budget`; raises ValueError where it may not, and cannot be streamed."""
    if within_budget(data, budget_mb):
        return True
    if importlib.util.find_spec("grain") is None:
        size = sum(array.nbytes for array in jax.tree.leaves(data)) / 1e6
        raise ValueError(
            f"data set of {size:,.0f} MB, over config.data.device_budget_mb of"
            f" {budget_mb:,.0f}: streaming it needs: pip install grain"
        )
    return False


class _Batches:
    """A Grain source of whole batches, in the epoch's order."""

    def __init__(self, data: Examples, order: np.ndarray):
        self.data, self.order = data, order

    def __len__(self):
        return len(self.order)

    def __getitem__(self, step):
        return self.data.rows(self.order[step])


def stream(data: Examples, order: np.ndarray) -> Iterator[tuple[Examples, np.ndarray]]:
    """Yields each step's batch, on the device, and its row of positions in it."""
    import grain

    options = grain.ReadOptions(num_threads=4, prefetch_buffer_size=2 * AHEAD)
    batches = grain.MapDataset.source(_Batches(data, order)).to_iter_dataset(options)
    waiting: list = []
    for row, batch in zip(order, batches, strict=True):
        positions = np.where(row >= 0, np.arange(len(row), dtype=np.int32), -1)
        waiting.append(jax.device_put((batch, positions[None])))
        if len(waiting) > AHEAD:
            yield waiting.pop(0)
    yield from waiting
