"""Points of a sweep as processes, a bounded number at a time."""

import contextlib
import functools
import importlib.util
import itertools
import json
import os
import pathlib
import re
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Container, Iterator, Mapping, Sequence

from experiments import cache, checks
from experiments.runs import files, stored
from experiments.runs.lock import LOCK, taken
from experiments.sweep.forkserver import Process, Start, forks, start
from experiments.sweep.points import Point

LOG = "log.txt"
TO_DO = ("missing", "failed")

# Runs of one thread each, side by side, take less time than one after another on all cores.
ONE_THREAD = {
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}


def in_groups(points: Sequence[Point], size: int, todo: Container[int]) -> list[list[int]]:
    """Groups `todo` into points to train together: up to `size` of one family, always the same."""
    groups: list[list[int]] = []
    last: dict[str, list[int]] = {}
    for i, point in enumerate(points):
        group = last.get(point.family, [])
        if len(group) % size == 0:
            group = last[point.family] = []
            groups.append(group)
        group.append(i)
    return [own for group in groups if (own := [i for i in group if i in todo])]


def command(points: Sequence[Point]) -> list[str]:
    """What trains points in one process: the first one's command, which names the others."""
    others = [json.dumps({"workdir": str(one.path), **dict(one.seeds)}) for one in points[1:]]
    return points[0].command + [f"--beside={text}" for text in others]


def state(point: Point) -> str:
    """The state of a point: done, running, failed or missing."""
    if has_result(point):
        return "done"
    if not point.path.is_dir():
        return "missing"
    with open(point.path / LOCK, "a") as file:
        if not taken(file):
            return "running"
        if has_result(point):  # since it was looked at
            return "done"
    return "failed" if (point.path / files.REASON).exists() else "missing"


def has_result(point: Point) -> bool:
    """Whether a whole result of this very config is there: in its directory, or packed beside."""
    if files.is_done(point.path, point.sha256):
        return True
    return stored.of_config(point.path.parent, point.sha256) is not None


def attempt(
    points: Sequence[Point],
    environment: dict[str, str],
    started: Callable[[Process], None],
    stopped: Callable[[], bool],
    start: Start = start,
) -> str:
    """Runs the command of points that are trained together to its end.

    Returns 'done', or the state of the runs that are unfinished and not held by another process;
    'missing' if it was `stopped`.
    """
    left = [point for point in points if not has_result(point)]
    if not left:  # by another sweep
        return "done"
    make_directories(left)
    with open(left[0].path / LOG, "a+", errors="replace") as log:
        before = log.tell()
        process = start(command(left), environment, log)
        started(process)
        code = process.wait()
        log.seek(before)
        said = log.read()
    return state_after(left, code, said, stopped)


def make_directories(points: Sequence[Point]) -> None:
    """Makes the directories of points that are trained together; the first has their log."""
    for point in points:
        point.path.mkdir(parents=True, exist_ok=True)
        (point.path / files.REASON).unlink(missing_ok=True)
        if point is not points[0]:
            with open(point.path / LOG, "a") as log:
                log.write(f"trained together: see {points[0].path / LOG}\n")


def state_after(points: Sequence[Point], code: int, said: str, stopped: Callable[[], bool]) -> str:
    """The state of points whose process has ended with this code, after these words in its log."""
    left = [point for point in points if not has_result(point)]
    if not left:
        return "done"
    last = (said.strip().splitlines() or ["no message"])[-1]
    # By another sweep, which came first, and may write to the same log.
    left = [point for point in left if state(point) != "running"]
    if not left or "is in use by" in last:
        return "running"
    if stopped():
        return "missing"
    if code == 0:
        last = "its result is of another config: was the config's file changed?"
    for point in left:
        head = f"failed   {point.path.absolute()}: "  # the format of runs that are trained together
        own = [line.removeprefix(head) for line in said.splitlines() if line.startswith(head)]
        (point.path / files.REASON).write_text(f"exit code {code}: {[last, *own][-1]}\n")
    return "failed"


def one_thread() -> dict[str, str]:
    """This process's environment, with one thread for a run."""
    flags = " ".join(filter(None, (os.environ.get("XLA_FLAGS"), ONE_THREAD["XLA_FLAGS"])))
    return os.environ | ONE_THREAD | {"XLA_FLAGS": flags}


# Set where a sweep was started in a Slurm task of several: its runs are none of those tasks.
OF_A_TASK = ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_STEP_NUM_TASKS")


def no_task(environment: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in environment.items() if key not in OF_A_TASK}


POLL = 0.5  # s, between two looks for a GPU


@contextlib.contextmanager
def one_of(gpus: list[str], stopped: Callable[[], bool]) -> Iterator[tuple[str | None, int]]:
    """Waits for a GPU that no run of this user's sweeps has; yields it and its lock's file."""
    # What a Slurm step calls its first GPU is another than the next step's.
    step = [os.environ.get(name, "") for name in ("SLURM_JOB_ID", "SLURM_STEP_ID")]
    locks = cache.writable_folder()
    while not stopped():
        for gpu in gpus:
            name = re.sub(r"\W", "_", "_".join(["gpu", socket.gethostname(), *step, gpu]))
            with open(locks / f"{name}.lock", "a") as file:
                if not taken(file):
                    continue
                yield gpu, file.fileno()
            time.sleep(2 * POLL)  # or this sweep would have it again before another has looked
            return
        time.sleep(POLL)
    yield None, -1


class Pool:
    """Runs points in processes: each has a GPU, or all chips of a TPU, or else one thread."""

    def __init__(self, gpus: list[str], start: Start = start):
        self.gpus = gpus
        self.start = start
        self.running: set[Process] = set()
        self.stopped = threading.Event()
        self.asked = itertools.count()

    def run(self, points: Sequence[Point], begun: Callable[[], None] = lambda: None) -> list[str]:
        """Trains points together to their end; returns their states then.

        Calls `begun` when there is a GPU for them.
        """
        before = [state(point) for point in points]
        left = [p for p, found in zip(points, before, strict=True) if found in TO_DO]
        if self.stopped.is_set() or not left:
            return before
        found = self._run(left, begun)
        after = [state(point) for point in points]
        return [
            one if one not in TO_DO else found if p in left else "running"
            for p, one in zip(points, after, strict=True)
        ]

    def _run(self, points: Sequence[Point], begun: Callable[[], None]) -> str:
        mine: list[Process] = []

        def started(process):
            mine.append(process)
            self.running.add(process)
            begun()
            if self.stopped.is_set():  # since it was asked for
                process.terminate()

        def go(environment: dict[str, str], start: Start = self.start) -> str:
            return attempt(points, no_task(environment), started, self.stopped.is_set, start)

        try:
            if not self.gpus:
                return go(dict(os.environ) if has_tpu() else one_thread())
            with one_of(self.gpus, self.stopped.is_set) as (gpu, file):
                if gpu is None:
                    return "missing"
                # A run that outlives this sweep keeps its GPU's lock.
                own = functools.partial(start, held=(file,))
                return go(os.environ | {"CUDA_VISIBLE_DEVICES": gpu}, own)
        finally:
            self.running.difference_update(mine)

    def stop(self) -> None:
        """Asks every run to save and end; a second time, ends them."""
        again = next(self.asked) > 0  # one step: another signal may interrupt this one's handler
        self.stopped.set()
        for process in [*self.running]:
            with contextlib.suppress(ProcessLookupError):
                process.kill() if again else process.terminate()


@contextlib.contextmanager
def pool_of(gpus: list[str]) -> Iterator[Pool]:
    """Yields a pool for these GPUs, or the TPU, or else for the cores, whose runs it forks."""
    if gpus or has_tpu():
        yield Pool(gpus)
        return
    with forks(no_task(one_thread())) as start:
        yield Pool(gpus, start)


def places(workers: int) -> tuple[list[str], int]:
    """The GPUs that runs on this machine may have, and how many runs go at a time.

    Raises:
      ValueError: if `workers` are more than there are GPUs or TPUs.
    """
    checks.within("--workers", workers, 0, 1000)
    gpus = visible_gpus()
    there = len(gpus) or int(has_tpu())
    number = workers or there or len(os.sched_getaffinity(0))
    if there and number > there:
        said = f"one a GPU, {there}" if gpus else "1: it has the whole TPU"
        text = f"expected at most {said}, got {number}; JAX_PLATFORMS=cpu: on cores"
        raise ValueError(f"--workers: {text}")
    return gpus, number


DEVICES = pathlib.Path("/dev")


def has_tpu() -> bool:
    """Whether a run would have a TPU, found without JAX, which would take it."""
    if os.environ.get("JAX_PLATFORMS") == "cpu" or not importlib.util.find_spec("libtpu"):
        return False
    return any(any(DEVICES.glob(name)) for name in ("accel[0-9]*", "vfio/[0-9]*"))


def visible_gpus() -> list[str]:
    """The NVIDIA GPUs that runs may use, found without JAX, which would take their memory."""
    if os.environ.get("JAX_PLATFORMS") == "cpu":
        return []
    if (given := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        names = [name.strip() for name in given.split(",")]
        return [name for name in names if name not in ("", "-1")]
    try:
        done = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return []
    found = [line for line in done.stdout.splitlines() if line.startswith("GPU ")]
    return [str(i) for i in range(len(found))]
