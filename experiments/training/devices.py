"""Places arrays: data set and state are on every device, the rows of a batch are shared out.

Also keeps the processes of one run in step.
"""

import itertools
import os
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from experiments.checks import within


class Layout(NamedTuple):
    whole: NamedSharding  # a copy on every device
    rows: NamedSharding  # split along the first axis


def layout(number: int = 0) -> Layout:
    """Uses all devices of all processes, or the first `number` devices of a single process."""
    devices = jax.devices()
    within("config.devices", number, 0, len(devices))
    if number and jax.process_count() > 1:
        raise ValueError("config.devices: several processes use all of theirs: expected 0")
    mesh = Mesh(np.array(devices[: number or None]), ("data",), axis_types=(AxisType.Auto,))
    return Layout(NamedSharding(mesh, PartitionSpec()), NamedSharding(mesh, PartitionSpec("data")))


def size(layout: Layout) -> int:
    return layout.whole.mesh.size


def replicate(tree: Any, layout: Layout) -> Any:
    """Copies `tree` to every device; each process must hold all of it."""

    def put(array):
        array = np.asarray(array)
        return jax.make_array_from_callback(array.shape, layout.whole, lambda index: array[index])

    return jax.tree.map(put, tree)


def start_processes(coordinator: str | None, number: int | None, index: int | None) -> None:
    """Connects the processes of one run, if flags or the environment (Slurm, TPU pod) name several.

    Raises:
      ValueError: if only some of the three flags are given.
    """
    explicit = [value is not None for value in (coordinator, number, index)]
    if any(explicit):
        if not all(explicit):
            raise ValueError("--coordinator, --num_processes, --process_id: expected all or none")
        jax.distributed.initialize(coordinator, number, index)
    elif any(_announced()):
        jax.distributed.initialize()


def _announced() -> tuple[bool, bool]:
    """Whether Slurm or a TPU pod has started several processes, as a pair."""
    tasks, hosts = os.environ.get("SLURM_NTASKS", "1"), os.environ.get("TPU_WORKER_HOSTNAMES", "")
    return int(tasks) > 1 and "SLURM_PROCID" in os.environ, "," in hosts


def several(number: int | None) -> bool:
    """Whether several processes train together, found without starting a device."""
    return number is not None or any(_announced())


def of_the_first(tree: Any) -> Any:
    """Returns process 0's value in every process, so that all do the same."""
    if jax.process_count() == 1:
        return tree
    from jax.experimental import multihost_utils

    return multihost_utils.broadcast_one_to_all(tree)


def text_of_the_first(text: str) -> str:
    content = np.frombuffer(text.encode(), np.uint8)
    size = int(of_the_first(np.int32(len(content))))
    padded = np.zeros(size, np.uint8)
    padded[: len(content)] = content[:size]
    return bytes(np.asarray(of_the_first(padded))).decode(errors="replace")


def by_the_first(action: Callable[[], Any]) -> Any:
    """Runs `action` in process 0 and returns its value there, None elsewhere.

    If it raises an OSError or ValueError, all processes raise it.
    """
    if jax.process_count() == 1:
        return action()
    value, said = None, ""
    if jax.process_index() == 0:
        try:
            value = action()
        except (OSError, ValueError) as error:
            said = f"{'V' if isinstance(error, ValueError) else 'O'}{error}"
    said = text_of_the_first(said)
    if said:
        raise (ValueError if said[0] == "V" else OSError)(said[1:])
    return value


def agreed(signal: Callable[[], int | None], every: int = 20) -> Callable[[], int | None]:
    """Makes all processes see a signal at the same step, whichever of them received it.

    They compare signals every `every` calls. With a single process, returns `signal` unchanged.
    """
    if jax.process_count() == 1:
        return signal
    from jax.experimental import multihost_utils

    asked = itertools.count(1)

    def heard():
        if next(asked) % every:
            return None
        received = multihost_utils.process_allgather(np.int32(signal() or 0))
        return int(np.max(received)) or None

    return heard
