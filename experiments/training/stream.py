"""Streams data sets that are larger than the device's memory, from the host, with Grain.

With a resident data set, the step gets all Examples and the order of the epoch. With a streamed
one, it gets the Examples and the order of its own batch. Both give the same batches and crops,
since these depend only on seed, epoch and step. The whole data set must fit in host memory or in a
memory-mapped file. Grain's threads gather batches in advance.
"""

import importlib.util
from collections.abc import Iterator

import jax
import numpy as np

from experiments.data import Examples

AHEAD = 4  # batches that are sent to the device in advance


def within_budget(data: Examples, budget_mb: float) -> bool:
    """Whether the data set fits in the budget for the device; 0 means no limit."""
    return budget_mb == 0 or sum(array.nbytes for array in jax.tree.leaves(data)) <= budget_mb * 1e6


def fits(data: Examples, budget_mb: float) -> bool:
    """Like `within_budget`, but raises ValueError if streaming is needed and Grain is missing."""
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
    """A Grain data source whose items are whole batches, in the epoch's order."""

    def __init__(self, data: Examples, order: np.ndarray):
        self.data, self.order = data, order

    def __len__(self):
        return len(self.order)

    def __getitem__(self, step):
        return self.data.rows(self.order[step])


def stream(data: Examples, order: np.ndarray) -> Iterator[tuple[Examples, np.ndarray]]:
    """Yields each step's batch on the device, and the positions of its examples; -1 is padding."""
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
