"""Points of a sweep as processes, a bounded number at a time."""

import contextlib
import fcntl
import json
import os
import pathlib
import subprocess
import threading
from collections.abc import Callable
from typing import NamedTuple

from experiments import workdir
from experiments.safety import LOCK

# Runs of one thread each, side by side, take less time than one after another on all cores.
ONE_THREAD = {
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}


class Point(NamedTuple):
    """One run: where it lies, the hash of its whole config, and what makes it."""

    path: pathlib.Path
    sha256: str
    command: list[str]


def state(point: Point) -> str:
    """done, running, failed or missing."""
    if is_done(point):
        return "done"
    if not point.path.is_dir():
        return "missing"
    with open(point.path / LOCK, "a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return "running"
        if is_done(point):  # since it was looked at
            return "done"
    return "failed" if (point.path / REASON).exists() else "missing"


REASON = "failed.txt"


def is_done(point: Point) -> bool:
    """Whether a whole result of this very config is there."""
    try:
        results = json.loads((point.path / workdir.RESULTS).read_text())
        return results["config_sha256"] == point.sha256
    except (OSError, ValueError, KeyError, TypeError):
        return False


def attempt(
    point: Point,
    environment: dict[str, str],
    started: Callable[[subprocess.Popen], None],
    stopped: Callable[[], bool],
    own_session: bool = False,
) -> str:
    """Runs a point's command to its end; returns its state then, missing if it was `stopped`."""
    if is_done(point):  # by another sweep
        return "done"
    point.path.mkdir(parents=True, exist_ok=True)
    (point.path / REASON).unlink(missing_ok=True)
    with open(point.path / "log.txt", "a+", errors="replace") as log:
        before = log.tell()
        process = subprocess.Popen(
            point.command, env=environment, stdout=log, stderr=log, start_new_session=own_session
        )
        started(process)
        code = process.wait()
        log.seek(before)
        said = log.read()
    if is_done(point):
        return "done"
    if "is in use by" in said:  # by another sweep, which came first
        return "running"
    if stopped():
        return "missing"
    last = (said.strip().splitlines() or ["no message"])[-1]
    if code == 0:
        last = "its result is of another config: was the config's file changed?"
    (point.path / REASON).write_text(f"exit code {code}: {last}\n")
    return "failed"


def one_thread() -> dict[str, str]:
    """This environment, with one thread for a run."""
    flags = " ".join(filter(None, (os.environ.get("XLA_FLAGS"), ONE_THREAD["XLA_FLAGS"])))
    return os.environ | ONE_THREAD | {"XLA_FLAGS": flags}


# Of several tasks in whose midst a sweep may have been started: a run is not one of them.
OF_A_TASK = ("SLURM_PROCID", "SLURM_NTASKS")


class Pool:
    """Runs points in processes, so many at a time."""

    def __init__(self, number: int, gpus: list[str]):
        self.gpus = gpus
        self.running: set[subprocess.Popen] = set()
        self.stopped = threading.Event()
        self.free = list(range(number))

    def run(self, point: Point) -> str:
        """Trains one point to its end; returns its state then."""
        if self.stopped.is_set() or (before := state(point)) in ("done", "running"):
            return "missing" if self.stopped.is_set() else before
        mine: list[subprocess.Popen] = []

        def started(process):
            mine.append(process)
            self.running.add(process)
            if self.stopped.is_set():  # since it was asked for
                process.terminate()

        place = self.free.pop()
        try:
            # Ctrl-C is for the sweep, which passes it on once: hence the session.
            environment = self.environment(place)
            return attempt(point, environment, started, self.stopped.is_set, own_session=True)
        finally:
            self.running.difference_update(mine)
            self.free.append(place)

    def environment(self, place: int) -> dict[str, str]:
        """A GPU for each, or else one thread for each."""
        if self.gpus:
            gpu = {"CUDA_VISIBLE_DEVICES": self.gpus[place % len(self.gpus)]}
            environment = os.environ | gpu
        else:
            environment = one_thread()
        return {key: value for key, value in environment.items() if key not in OF_A_TASK}

    def stop(self) -> None:
        """Asks every run to save and end; a second time, ends them."""
        again = self.stopped.is_set()
        self.stopped.set()
        for process in [*self.running]:
            with contextlib.suppress(ProcessLookupError):
                process.kill() if again else process.terminate()


def visible_gpus() -> list[str]:
    """NVIDIA's that the user lets be seen; not by starting JAX, which would take their memory."""
    if os.environ.get("JAX_PLATFORMS") == "cpu":
        return []
    if (given := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return [name for name in given.split(",") if name.strip() not in ("", "-1")]
    try:
        done = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return []
    found = [line for line in done.stdout.splitlines() if line.startswith("GPU ")]
    return [str(i) for i in range(len(found))]
