"""Places arrays: data set and state are on every device, the rows of a batch are shared out.

Also keeps the processes of one run in step.
"""

import contextlib
import functools
import itertools
import math
import os
import re
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from experiments.checks import integer
from experiments.progress import console

PATIENCE = 300  # s, for the other processes of a run


class Layout(NamedTuple):
    whole: NamedSharding  # a copy on every device
    rows: NamedSharding  # split along the first axis


def found() -> list:
    """Returns the devices of all processes.

    Raises:
      OSError: if there is none of the kind that JAX_PLATFORMS asks for.
    """
    try:
        return jax.devices()
    except (AssertionError, RuntimeError) as error:  # without a plugin for it, JAX just asserts
        asked = os.environ.get("JAX_PLATFORMS", "")
        said = str(error).splitlines() or [f"JAX_PLATFORMS={asked}, and JAX has no plugin for it"]
        raise OSError(f"JAX finds no device: {said[0]}") from None


@contextlib.contextmanager
def memory_errors() -> Iterator[None]:
    """Turns JAX's error for too little memory into a MemoryError of one line."""
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        said = str(error).splitlines()[0].removeprefix("RESOURCE_EXHAUSTED: ")
        raise MemoryError(f"too little memory on {jax.devices()[0].platform}: {said}") from None


def check_memory(state: Any, layout: Layout, number: int = 1) -> None:
    """Checks that `number` states like this one (shapes suffice) can be held at all.

    Some systems grant any memory that is asked for, and are stuck when it is used.

    Raises:
      MemoryError: if they cannot.
    """
    sizes = {
        jax.tree_util.keystr(path): math.prod(leaf.shape) * leaf.dtype.itemsize
        for path, leaf in jax.tree.leaves_with_path(state)
    }
    device = layout.whole.mesh.local_devices[0]
    limit, copies = (device.memory_stats() or {}).get("bytes_limit", 0), 1
    if not limit and device.platform == "cpu":
        limit = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        copies = len(layout.whole.mesh.local_devices)
    needed = number * copies * sum(sizes.values())
    if limit and needed > limit:
        largest = max(sizes, key=sizes.__getitem__)
        raise MemoryError(
            f"the state of training takes {needed / 1e9:,.0f} GB, most of it {largest};"
            f" {device.platform} has {limit / 1e9:,.0f} GB"
        )


def layout(number: int = 0) -> Layout:
    """Uses all devices of all processes, or the first `number` devices of a single process."""
    devices = found()
    integer("config.devices", number, 0, len(devices))
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


def own_rows(number: int, layout: Layout) -> np.ndarray:
    """Returns which of a batch's rows are on this process's devices, when they are shared out."""
    parts = layout.rows.addressable_devices_indices_map((number,)).values()
    return np.unique(np.concatenate([np.arange(number)[part] for part in parts if part]))


def gathered(tree: Any, number: int, layout: Layout) -> Any:
    """Copies a batch of `number` rows to every device; each process must hold its own rows."""
    if jax.process_count() == 1:
        return replicate(tree, layout)
    own = own_rows(number, layout)

    def put(array):
        def rows(index):
            return array[np.searchsorted(own, np.arange(number)[index[0]])]

        return jax.make_array_from_callback((number, *array.shape[1:]), layout.rows, rows)

    return _spread(layout)(jax.tree.map(put, tree))


@functools.cache
def _spread(layout: Layout) -> Callable[[Any], Any]:
    return jax.jit(lambda shared: shared, out_shardings=layout.whole)


def start_processes(coordinator: str | None, number: int | None, index: int | None) -> None:
    """Connects the processes of one run, if flags or the environment (Slurm, TPU pod) name several.

    Raises:
      ValueError: if only some of the three flags are given.
      OSError: if other processes do not come, or there is no device.
    """
    if any(value is not None for value in (coordinator, number, index)):
        if coordinator is None or number is None or index is None:
            raise ValueError("--coordinator, --num_processes, --process_id: expected all or none")
        if not re.fullmatch(r"\S+:\d+", coordinator):
            raise ValueError(f"--coordinator: expected HOST:PORT, got {coordinator!r}")
        integer("--num_processes", number, 1, 100_000)
        integer("--process_id", index, 0, number - 1)
        where = {"num_processes": number, "process_id": index}
        _connect(f"{number} processes at {coordinator}", coordinator_address=coordinator, **where)
    elif tasks := _tasks():
        _connect(f"the {tasks} tasks of this step of Slurm")
    elif _is_pod():
        _connect("the workers of a TPU pod")
    elif (job := os.environ.get("SLURM_NTASKS", "")).isdecimal() and int(job) > 1:
        said = f"alone, in a job of {job} tasks: srun would start as many processes"
        console.print(f"start    {said}")
    found()


def _is_pod() -> bool:
    return "," in os.environ.get("TPU_WORKER_HOSTNAMES", "")


def _tasks() -> int:
    """How many processes of this run Slurm's srun has started; 0 if it is one by itself.

    In a batch script or a shell, SLURM_NTASKS is set as well, of a process that is alone.
    """
    tasks = os.environ.get("SLURM_STEP_NUM_TASKS", "")
    by_srun = tasks.isdecimal() and "SLURM_PROCID" in os.environ
    return int(tasks) if by_srun and int(tasks) > 1 else 0


def _connect(others: str, **where) -> None:
    """Waits for the other processes of a run; ends this one with a line if some do not come.

    JAX would end it in the midst of C++, with a page of its stack, and holds back Ctrl-C.

    Raises:
      OSError: if they cannot be found.
    """
    console.print(f"start    waiting for {others}")
    alarm = threading.Timer(PATIENCE, _give_up, [others])
    alarm.daemon = True
    alarm.start()
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        jax.distributed.initialize(**where, initialization_timeout=2 * PATIENCE)
    except (jax.errors.JaxRuntimeError, ValueError) as error:
        said = (str(error).splitlines() or [repr(error)])[0]
        raise OSError(f"cannot connect to {others}: {said}") from None
    finally:
        alarm.cancel()
        signal.signal(signal.SIGINT, before)


def _give_up(others: str) -> None:
    console.print(f"error: cannot connect to {others}: not all came in {PATIENCE} s")
    os._exit(1)  # the main thread waits in C++; nothing has begun


def several(number: int | None) -> bool:
    """Whether several processes train together, found without starting a device."""
    return number is not None or bool(_tasks()) or _is_pod()


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
