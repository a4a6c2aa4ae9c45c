"""Where arrays lie: the data set and the state on every device, each batch's rows shared out."""

import os
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from experiments.choices import within


class Layout(NamedTuple):
    whole: NamedSharding  # a copy on every device
    rows: NamedSharding  # along the first axis, a part on each


def layout(number: int = 0) -> Layout:
    """Over all devices of all processes, or over the first `number` of this one's."""
    devices = jax.devices()
    within("config.devices", number, 0, len(devices))
    mesh = Mesh(np.array(devices[: number or None]), ("data",), axis_types=(AxisType.Auto,))
    return Layout(NamedSharding(mesh, PartitionSpec()), NamedSharding(mesh, PartitionSpec("data")))


def size(layout: Layout) -> int:
    return layout.whole.mesh.size


def replicate(tree: Any, layout: Layout) -> Any:
    """Every process holds the whole of `tree`, and gives each of its devices a copy."""

    def put(array):
        array = np.asarray(array)
        return jax.make_array_from_callback(array.shape, layout.whole, lambda index: array[index])

    return jax.tree.map(put, tree)


def start_processes(coordinator: str | None, number: int | None, index: int | None) -> None:
    """Joins the processes of one run, if flags or the environment (Slurm, TPU pod) say there are.

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
    """Whether Slurm, or a TPU pod, has started several processes."""
    tasks, hosts = os.environ.get("SLURM_NTASKS", "1"), os.environ.get("TPU_WORKER_HOSTNAMES", "")
    return int(tasks) > 1 and "SLURM_PROCID" in os.environ, "," in hosts
