"""Every point of a config's sweep(), each a run in its own directory; what is done stays done.

python -m experiments.sweep --config=configs/rivals.py --workdir=DIR [--config.x=VALUE] [--list]
"""

import concurrent.futures
import contextlib
import fcntl
import json
import os
import pathlib
import runpy
import shlex
import signal
import subprocess
import sys
import threading
import time
from typing import Any, NamedTuple

from absl import app, flags
from ml_collections import config_flags

from experiments import choices, workdir
from experiments.command import CONFIG, DATA_DIR, parse, refuse
from experiments.progress import console, progress_line
from experiments.safety import LOCK

WORKDIR = flags.DEFINE_string("workdir", None, "Directory of the runs' directories.", required=True)
LIST = flags.DEFINE_bool("list", False, "Show the points and their state, and stop.")
BACKEND = flags.DEFINE_string("backend", "local", "local: here; print: the commands alone.")
WORKERS = flags.DEFINE_integer("workers", 0, "Runs at a time; 0: one a GPU, or else one a core.")
# Runs of one thread each, side by side, take less time than one after another on all cores.
ONE_THREAD = {
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}


class Point(NamedTuple):
    """One run: what it overrides, where it lies, and the hash of its whole config."""

    overrides: dict[str, Any]
    path: pathlib.Path
    sha256: str


def expand(file: str, config, given: dict[str, Any], root: pathlib.Path) -> list[Point]:
    """The points of the file's sweep(), on top of `config`.

    `given`, from the command line, is part of each; of a key that is swept over, it chooses.

    Raises:
      ValueError: if the file has no sweep, or no point has the values given.
    """
    module = runpy.run_path(file)
    if "sweep" not in module:
        raise ValueError(f"--config: {file} has no sweep()")
    points = []
    for own in module["sweep"]():
        if any(own.get(key, value) != value for key, value in given.items()):
            continue
        full = config.copy_and_resolve_references()
        full.update_from_flattened_dict(given | own)
        sha256 = workdir.config_sha256(full.to_dict())
        points.append(Point(given | own, root / f"{readable(own)}-{sha256[:8]}", sha256))
    if not points:
        raise ValueError(f"--config: no point of {file} has {given}")
    return points


def readable(overrides: dict[str, Any]) -> str:
    """A directory's name; of each key, as much as tells it from the others."""
    words = []
    for key, value in overrides.items():
        parts = key.split(".")
        tails = [".".join(parts[-n:]) for n in range(1, len(parts) + 1)]
        number = [sum(f".{k}".endswith(f".{tail}") for k in overrides) for tail in tails]
        words.append(f"{tails[number.index(1)] if 1 in number else key}={value}")
    name = ",".join(words) or "run"
    return "".join(c if c.isalnum() or c in "=,.-_" else "_" for c in name)


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
    return "failed" if (point.path / REASON).exists() else "missing"


REASON = "failed.txt"


def is_done(point: Point) -> bool:
    """Whether a whole result of this very config is there."""
    try:
        results = json.loads((point.path / workdir.RESULTS).read_text())
        return results["config_sha256"] == point.sha256
    except (OSError, ValueError, KeyError, TypeError):
        return False


def command(file: str, point: Point) -> list[str]:
    words = [sys.executable, "-m", "experiments.main", f"--config={file}"]
    words += [f"--config.{key}={value}" for key, value in point.overrides.items()]
    words += [f"--workdir={point.path}"]
    return words + ([f"--data_dir={DATA_DIR.value}"] if DATA_DIR.value else [])


class Pool:
    """Runs points in processes, so many at a time."""

    def __init__(self, file: str, number: int, gpus: int):
        self.file, self.number, self.gpus = file, number, gpus
        self.running: set[subprocess.Popen] = set()
        self.stopped = threading.Event()
        self.free = list(range(number))

    def run(self, point: Point) -> str:
        """Trains one point to its end; returns its state then."""
        if self.stopped.is_set() or (before := state(point)) in ("done", "running"):
            return "missing" if self.stopped.is_set() else before
        point.path.mkdir(parents=True, exist_ok=True)
        (point.path / REASON).unlink(missing_ok=True)
        if (results := point.path / workdir.RESULTS).exists():  # torn, or not of this config
            results.rename(results.with_suffix(".bad"))
        place = self.free.pop()
        env = os.environ | (ONE_THREAD if not self.gpus else {"CUDA_VISIBLE_DEVICES": str(place)})
        with open(point.path / "log.txt", "a") as log:
            process = subprocess.Popen(
                command(self.file, point), env=env, stdout=log, stderr=log, text=True,
                start_new_session=True,  # Ctrl-C is for the sweep, which passes it on once
            )  # fmt: skip
            self.running.add(process)
            code = process.wait()
        self.running.discard(process)
        self.free.append(place)
        if code == 0 and is_done(point):
            return "done"
        said = (point.path / "log.txt").read_text().strip().splitlines() or ["no message"]
        if "is in use by" in said[-1]:  # by another sweep, which came first
            return "running"
        if not self.stopped.is_set():
            (point.path / REASON).write_text(f"exit code {code}: {said[-1]}\n")
        return "missing" if self.stopped.is_set() else "failed"

    def stop(self) -> None:
        """Asks every run to save and end."""
        self.stopped.set()
        for process in [*self.running]:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGINT)


def local(file: str, points: list[Point], number: int, gpus: int) -> dict[int, str]:
    """Trains all points that are missing; the state of each at the end."""
    states = {i: state(point) for i, point in enumerate(points)}
    todo = [i for i, found in states.items() if found != "done"]
    done = len(points) - len(todo)
    console.print(f"sweep    {len(points)} runs, {done} done, {number} at a time")
    pool = Pool(file, number, gpus)
    begun = time.monotonic()
    with (
        concurrent.futures.ThreadPoolExecutor(number) as threads,
        progress_line(len(todo), "sweep") as progress,
    ):
        futures = {threads.submit(pool.run, points[i]): i for i in todo}
        try:
            for done, future in enumerate(concurrent.futures.as_completed(futures), 1):
                i = futures[future]
                states[i] = future.result()
                each = (time.monotonic() - begun) / done
                left = f"about {each * (len(todo) - done) / 60:.0f} min left"
                progress(done, f"{points[i].path.name}: {states[i]}; {left}")
        except KeyboardInterrupt:
            pool.stop()
            for future in futures:
                future.cancel()
            raise
    return states


def show(points: list[Point], states: dict[int, str]) -> None:
    for i, point in enumerate(points):
        reason = point.path / REASON
        why = f"  {reason.read_text().strip()}" if states[i] == "failed" and reason.exists() else ""
        print(f"{states[i]:8s} {point.path.name}{why}")


def estimate(points: list[Point], states: dict[int, str], number: int) -> str:
    """From what the finished ones took."""
    seconds = []
    for i, point in enumerate(points):
        if states[i] == "done":
            rows = workdir.read_rows(point.path / workdir.TIMING)
            seconds.append(sum(row["seconds"] for row in rows))
    left = sum(found != "done" for found in states.values())
    if not seconds or not left:
        return ""
    return f", about {sum(seconds) / len(seconds) * left / number / 60:.0f} min left"


def main(argv: list[str]) -> None:
    file = next(arg.partition("=")[2] for arg in sys.argv if arg.startswith("--config="))
    root = pathlib.Path(WORKDIR.value).expanduser()
    try:
        choices.choose("--backend", BACKEND.value, dict.fromkeys(("local", "print")))
        choices.within("--workers", WORKERS.value, 0, 1000)
        given = dict(config_flags.get_override_values(flags.FLAGS["config"]))
        points = expand(file, CONFIG.value, given, root)
    except ValueError as error:
        refuse(error)
    gpus = number_of_gpus()
    number = WORKERS.value or gpus or len(os.sched_getaffinity(0))
    states = {i: state(point) for i, point in enumerate(points)}
    if LIST.value:
        show(points, states)
        counts = {name: [*states.values()].count(name) for name in dict.fromkeys(states.values())}
        said = ", ".join(f"{count} {name}" for name, count in counts.items())
        print(f"{len(points)} runs: {said}{estimate(points, states, number)}")
        return
    if BACKEND.value == "print":
        for i, point in enumerate(points):
            if states[i] != "done":
                print(shlex.join(command(file, point)))
        return
    workdir.prepare(root)
    try:
        states = local(file, points, number, gpus)
    except KeyboardInterrupt:
        refuse(InterruptedError("interrupted: what ran is saved; the same command goes on"), 130)
    left = [i for i, found in states.items() if found != "done"]
    print(f"{len(points) - len(left)} of {len(points)} runs are done, in {root}")
    show([points[i] for i in left], {k: states[i] for k, i in enumerate(left)})
    sys.exit(1 if "failed" in states.values() else 0)


def number_of_gpus() -> int:
    """Of NVIDIA's, without starting JAX, which would take their memory."""
    try:
        done = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return 0
    return len(done.stdout.splitlines())


if __name__ == "__main__":
    app.run(main, flags_parser=parse)
