"""Every point of a config's sweep(), each a run in its own directory; what is done stays done.

python -m experiments.sweep --config=configs/rivals.py --workdir=DIR [--config.x=VALUE] [--list]
"""

import concurrent.futures
import contextlib
import json
import os
import pathlib
import runpy
import shlex
import signal
import sys
import time
from collections.abc import Iterator
from typing import Any

from absl import app, flags
from ml_collections import config_flags

from experiments import choices, slurm, slurm_options, watch, workdir
from experiments.command import CONFIG, DATA_DIR, parse, refuse
from experiments.pool import (
    TO_DO,
    Point,
    Pool,
    command,
    has_tpu,
    in_groups,
    is_done,
    visible_gpus,
)
from experiments.progress import console

WORKDIR = flags.DEFINE_string("workdir", None, "Directory of the runs' directories.", required=True)
LIST = flags.DEFINE_bool("list", False, "Show the points and their state, and stop.")
BACKEND = flags.DEFINE_string("backend", "local", "local; slurm; print: the commands alone.")
SLURM = flags.DEFINE_string("slurm", "", "What sbatch is given: partition=gpu,gres=gpu:1,time=120.")
AT_ONCE = flags.DEFINE_integer(
    "seeds_at_once", 1, "Train so many seeds of a point in one process, at once where that pays."
)
WORKERS = flags.DEFINE_integer("workers", 0, "Runs at a time; 0: one a GPU, or else one a core.")


def expand(
    file: str, config, given: dict[str, Any], root: pathlib.Path, data_dir: str | None = None
) -> list[Point]:
    """The points of the file's sweep(), on top of `config`.

    `given`, from the command line, is part of each; of a key that is swept over, it chooses.

    Raises:
      ValueError: if the file has no sweep, a point cannot be meant, or none has the values given.
    """
    try:
        module = runpy.run_path(file)
        swept = [*module["sweep"]()] if "sweep" in module else None
    except Exception as error:  # of the user's own code
        raise ValueError(f"--config: sweep() of {file}: {error!r}") from error
    if swept is None:
        raise ValueError(f"--config: {file} has no sweep()")
    points: dict[str, Point] = {}
    default = workdir.flattened(config.to_dict())
    there = [*root.glob("*-*")]
    meant = [own for own in swept if all(own.get(k, v) == v for k, v in given.items())]
    for own in meant:
        full = config.copy_and_resolve_references()
        try:
            full.update_from_flattened_dict(given | own)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"--config: sweep() of {file}: {own}: {error}") from None
        if any(own[key] is None and default.get(key) is not None for key in own):  # no flag says so
            raise ValueError(f"--config: sweep() of {file}: None in {own}: set it in get_config()")
        if full.vmap_seeds > 1:
            raise ValueError("--config: a sweep has one seed a point: vmap_seeds must be 1")
        workdir.note_content(full)
        sha256 = workdir.config_sha256(full.to_dict())
        # One place for a point, by whatever sweep it was reached first.
        same = [path for path in there if path.name.endswith(f"-{sha256[:8]}")]
        path = same[0] if len(same) == 1 else root / f"{readable(own)[:200]}-{sha256[:8]}"
        words = [sys.executable, "-m", "experiments.main", f"--config={file}"]
        words += [f"--config.{k}={v}" for k, v in (given | own).items() if v is not None]
        words += [f"--workdir={path}", *([f"--data_dir={data_dir}"] if data_dir else [])]
        points.setdefault(sha256, Point(path, sha256, words, *without_seeds(full)))  # once
    if not points:
        why = f"no point of {file} has {given}" if given else f"sweep() of {file} yields nothing"
        raise ValueError(f"--config: {why}")
    if left_out := len(swept) - len(meant):
        console.print(f"sweep    without {left_out} points of other values than the command line's")
    return [*points.values()]


def without_seeds(config) -> tuple[tuple[tuple[str, int], ...], str]:
    """The seeds of a config, by name, and all the rest of it."""
    config = config.copy_and_resolve_references()
    flat = workdir.flattened(config.to_dict())
    seeds = {key: flat[key] for key in workdir.SEEDS if key in flat}
    config.update_from_flattened_dict(dict.fromkeys(seeds, 0))
    return tuple(seeds.items()), json.dumps(workdir.plain(config.to_dict()), sort_keys=True)


def readable(overrides: dict[str, Any]) -> str:
    """A directory's name; of each key, as much as tells it from the others."""
    short = workdir.short_names(overrides)
    words = [f"{short[key]}={value}" for key, value in overrides.items()]
    name = ",".join(words) or "run"
    return "".join(c if (c.isascii() and c.isalnum()) or c in "=,.-_" else "_" for c in name)


def local(
    points: list[Point], states: dict[int, str], pool: Pool, number: int, at_once: int = 1
) -> None:
    """Trains all points that are missing, and keeps `states` up to date."""
    todo = [i for i, found in states.items() if found not in ("done", "queued")]
    done, queued = ([*states.values()].count(name) for name in ("done", "queued"))
    left_out = f", {queued} queued in Slurm and left to it" if queued else ""
    console.print(f"sweep    {len(points)} runs, {done} done{left_out}, {number} at a time")
    states |= dict.fromkeys(todo, "missing")

    def run(group: list[int]) -> None:
        def begun():
            states.update(dict.fromkeys(group, "running"))

        try:
            states.update(zip(group, pool.run([points[i] for i in group], begun), strict=True))
        except (OSError, ValueError) as error:  # a full disk, say: the others go on
            states.update((i, "done" if is_done(points[i]) else "failed") for i in group)
            console.print(f"{points[group[0]].path.name}: {error}")

    with (
        concurrent.futures.ThreadPoolExecutor(number) as threads,
        watch.watching(points, states, number) as ended,
    ):
        while todo and not pool.stopped.is_set():
            futures = {threads.submit(run, own): own for own in in_groups(points, at_once, todo)}
            pending = {*futures}
            while pending:  # with a timeout: a signal to another thread does not wake this one
                finished, pending = concurrent.futures.wait(pending, 0.5, "FIRST_COMPLETED")
                for future in finished:
                    future.result()
                    for i in futures[future] if not pool.stopped.is_set() else ():
                        if states[i] != "running":
                            ended(i)
            # Running elsewhere: waited for, and done here if that fails.
            todo = [i for i in todo if states[i] == "running"]
            time.sleep(1.0 if todo else 0.0)  # no lock that a signal's handler would wait for


@contextlib.contextmanager
def stopped_by_signals(pool: Pool) -> Iterator[None]:
    """The first signal lets runs save and end, a second ends them; nohup and & are heeded."""

    def stop(number, frame):
        text = "ending at once" if pool.stopped.is_set() else "saving; again: at once"
        pool.stop()
        console.print(f"{signal.Signals(number).name}: {text}")

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    previous = {n: signal.getsignal(n) for n in numbers if signal.getsignal(n) != signal.SIG_IGN}
    for number in previous:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


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
        choices.within("--seeds_at_once", AT_ONCE.value, 1, 1000)
        options = slurm_options.parse(SLURM.value)
        if SLURM.value and BACKEND.value != "slurm":
            raise ValueError("--slurm: expected with --backend=slurm only")
        given = dict(config_flags.get_override_values(flags.FLAGS["config"]))
        points = expand(file, CONFIG.value, given, root, DATA_DIR.value)
    except ValueError as error:
        refuse(error)
    gpus = visible_gpus() if BACKEND.value != "slurm" else []  # others than where it is submitted
    places = len(gpus) or int(BACKEND.value != "slurm" and has_tpu())
    number = WORKERS.value or places or len(os.sched_getaffinity(0))
    if places and number > places:
        said = f"one a GPU, {places}" if gpus else "1: it has the whole TPU"
        text = f"expected at most {said}, got {number}; JAX_PLATFORMS=cpu: on cores"
        refuse(ValueError(f"--workers: {text}"))
    try:
        states = slurm.states(points)
    except OSError as error:
        refuse(error, 1)
    if LIST.value:
        show(points, states)
        running = [*states.values()].count("running")  # in Slurm, say: more than there are here
        print(watch.headline(points, states, max(number, running)))
        return
    if BACKEND.value == "print":
        todo = [i for i, found in states.items() if found in TO_DO]
        for group in in_groups(points, AT_ONCE.value, todo):
            print(shlex.join(command([points[i] for i in group])))
        return
    try:
        workdir.prepare(root)
        if BACKEND.value == "slurm":
            for ending in (signal.SIGTERM, signal.SIGHUP):  # as Ctrl-C does
                if signal.getsignal(ending) is not signal.SIG_IGN:  # nohup
                    signal.signal(ending, signal.default_int_handler)
            states = slurm.run(points, options, WORKERS.value, root, AT_ONCE.value)
        else:
            pool = Pool(gpus)
            with stopped_by_signals(pool):
                local(points, states, pool, number, AT_ONCE.value)
            if pool.stopped.is_set():
                refuse(InterruptedError("interrupted: saved; the same command goes on"), 130)
    except (OSError, ValueError) as error:
        refuse(error)
    except KeyboardInterrupt:
        refuse(InterruptedError("interrupted: the jobs go on; the same command goes on"), 130)
    left = [i for i, found in states.items() if found != "done"]
    print(f"{len(points) - len(left)} of {len(points)} runs are done, in {root}")
    show([points[i] for i in left], {k: states[i] for k, i in enumerate(left)})
    sys.exit(1 if left else 0)


if __name__ == "__main__":
    app.run(main, flags_parser=parse)
