"""Every point of a config's sweep(), each a run in its own directory; what is done stays done.

python -m experiments.sweep --config=configs/rivals.py --workdir=DIR [--config.x=VALUE] [--list]
"""

import concurrent.futures
import os
import pathlib
import runpy
import shlex
import signal
import sys
import time
from typing import Any

from absl import app, flags
from ml_collections import config_flags

from experiments import choices, slurm, watch, workdir
from experiments.command import CONFIG, DATA_DIR, parse, refuse
from experiments.pool import Point, Pool, state, visible_gpus
from experiments.progress import console

WORKDIR = flags.DEFINE_string("workdir", None, "Directory of the runs' directories.", required=True)
LIST = flags.DEFINE_bool("list", False, "Show the points and their state, and stop.")
BACKEND = flags.DEFINE_string("backend", "local", "local; slurm; print: the commands alone.")
SLURM = flags.DEFINE_string("slurm", "", "What sbatch is given: partition=gpu,gres=gpu:1,time=120.")
WORKERS = flags.DEFINE_integer("workers", 0, "Runs at a time; 0: one a GPU, or else one a core.")


def expand(
    file: str, config, given: dict[str, Any], root: pathlib.Path, data_dir: str | None = None
) -> list[Point]:
    """The points of the file's sweep(), on top of `config`.

    `given`, from the command line, is part of each; of a key that is swept over, it chooses.

    Raises:
      ValueError: if the file has no sweep, a point cannot be meant, or none has the values given.
    """
    module = runpy.run_path(file)
    if "sweep" not in module:
        raise ValueError(f"--config: {file} has no sweep()")
    points: dict[str, Point] = {}
    for own in module["sweep"]():
        if any(own.get(key, value) != value for key, value in given.items()):
            continue
        full = config.copy_and_resolve_references()
        try:
            full.update_from_flattened_dict(given | own)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"--config: sweep() of {file}: {own}: {error}") from None
        if full.vmap_seeds > 1:
            raise ValueError("--config: a sweep has one seed a point: vmap_seeds must be 1")
        sha256 = workdir.config_sha256(full.to_dict())
        path = root / f"{readable(own)[:200]}-{sha256[:8]}"
        command = [sys.executable, "-m", "experiments.main", f"--config={file}"]
        command += [f"--config.{k}={v}" for k, v in (given | own).items() if v is not None]
        command += [f"--workdir={path}", *([f"--data_dir={data_dir}"] if data_dir else [])]
        points.setdefault(sha256, Point(path, sha256, command))  # once, however it is reached
    if not points:
        raise ValueError(f"--config: no point of {file} has {given}")
    return [*points.values()]


def readable(overrides: dict[str, Any]) -> str:
    """A directory's name; of each key, as much as tells it from the others."""
    short = workdir.short_names(overrides)
    words = [f"{short[key]}={value}" for key, value in overrides.items()]
    name = ",".join(words) or "run"
    return "".join(c if c.isalnum() or c in "=,.-_" else "_" for c in name)


def local(points: list[Point], number: int, gpus: list[str]) -> dict[int, str]:
    """Trains all points that are missing; the state of each at the end."""
    states = {i: state(point) for i, point in enumerate(points)}
    todo = [i for i, found in states.items() if found != "done"]
    done = len(points) - len(todo)
    console.print(f"sweep    {len(points)} runs, {done} done, {number} at a time")
    pool = Pool(number, gpus)

    def run(i: int) -> None:
        if not pool.stopped.is_set():
            states[i] = "running"
            states[i] = pool.run(points[i])

    with (
        concurrent.futures.ThreadPoolExecutor(number) as threads,
        watch.watching(points, states, number) as ended,
    ):
        states |= dict.fromkeys(todo, "missing")
        try:
            while todo:
                futures = {threads.submit(run, i): i for i in todo}
                for future in concurrent.futures.as_completed(futures):
                    future.result()
                    if states[futures[future]] != "running":
                        ended(futures[future])
                # Running elsewhere: waited for, and done here if that fails.
                todo = [i for i in todo if states[i] == "running"]
                time.sleep(1.0 if todo else 0.0)
        except KeyboardInterrupt:
            pool.stop()
            threads.shutdown(cancel_futures=True)
            raise
    return states


def show(points: list[Point], states: dict[int, str]) -> None:
    for i, point in enumerate(points):
        why = f"  {watch.reason(point)}" if states[i] == "failed" else ""
        print(f"{states[i]:8s} {point.path.name}{why}")


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        refuse(ValueError(f"unexpected argument {argv[1]!r}: values are given as --name=value"))
    file = config_flags.get_config_filename(flags.FLAGS["config"])
    root = pathlib.Path(WORKDIR.value).expanduser()
    try:
        choices.choose("--backend", BACKEND.value, dict.fromkeys(("local", "slurm", "print")))
        choices.within("--workers", WORKERS.value, 0, 1000)
        options = slurm.parse(SLURM.value)
        if SLURM.value and BACKEND.value != "slurm":
            raise ValueError("--slurm: expected with --backend=slurm only")
        given = dict(config_flags.get_override_values(flags.FLAGS["config"]))
        points = expand(file, CONFIG.value, given, root, DATA_DIR.value)
    except ValueError as error:
        refuse(error)
    gpus = visible_gpus() if BACKEND.value != "slurm" else []  # others than where it is submitted
    number = WORKERS.value or len(gpus) or len(os.sched_getaffinity(0))
    if gpus and number > len(gpus):
        refuse(ValueError(f"--workers: expected at most one a GPU, {len(gpus)}, got {number}"))
    try:
        states = slurm.states(points)
    except OSError as error:
        refuse(error, 1)
    if LIST.value:
        show(points, states)
        print(watch.headline(points, states, number))
        return
    if BACKEND.value == "print":
        for i, point in enumerate(points):
            if states[i] != "done":
                print(shlex.join(point.command))
        return
    workdir.prepare(root)
    for ending in (signal.SIGTERM, signal.SIGHUP):  # as Ctrl-C does, which a shell's & ignores
        if signal.getsignal(ending) is not signal.SIG_IGN:  # nohup
            signal.signal(ending, signal.default_int_handler)
    try:
        if BACKEND.value == "slurm":
            states = slurm.run(points, options, WORKERS.value, root)
        else:
            states = local(points, number, gpus)
    except (OSError, ValueError) as error:
        refuse(error)
    except KeyboardInterrupt:
        kept = "the jobs go on" if BACKEND.value == "slurm" else "what ran is saved"
        refuse(InterruptedError(f"interrupted: {kept}; the same command goes on"), 130)
    left = [i for i, found in states.items() if found != "done"]
    print(f"{len(points) - len(left)} of {len(points)} runs are done, in {root}")
    show([points[i] for i in left], {k: states[i] for k, i in enumerate(left)})
    sys.exit(1 if left else 0)


if __name__ == "__main__":
    app.run(main, flags_parser=parse)
