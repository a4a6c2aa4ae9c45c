"""Every point of a config's sweep(), each a run in its own directory; what is done stays done.

python -m experiments.sweep --config=configs/rivals.py --workdir=DIR [--config.x=VALUE] [--list]
"""

import os
import pathlib
import shlex
import signal
import sys
from typing import NoReturn

from absl import app, flags
from ml_collections import config_flags

from experiments import checks, streams
from experiments.flags import CONFIG, DATA_DIR, parser, refuse, stop
from experiments.runs import files
from experiments.sweep import slurm, slurm_options, watch
from experiments.sweep.local import local, stopped_by_signals
from experiments.sweep.points import Point, expand
from experiments.sweep.pool import (
    TO_DO,
    command,
    in_groups,
    places,
    pool_of,
)

WORKDIR = flags.DEFINE_string("workdir", None, "Directory of the runs' directories.", required=True)
LIST = flags.DEFINE_bool("list", False, "Show the points and their state, and stop.")
BACKEND = flags.DEFINE_string("backend", "local", "local; slurm; print: the commands alone.")
SLURM = flags.DEFINE_string("slurm", "", "What sbatch is given: partition=gpu,gres=gpu:1,time=120.")
AT_ONCE = flags.DEFINE_integer(
    "seeds_at_once", 1, "Train so many seeds of a point at once, in one process."
)
WORKERS = flags.DEFINE_integer("workers", 0, "Runs at a time; 0: one a GPU, or else one a core.")
SECONDS = flags.DEFINE_float(
    "seconds", 0.0, "End by then: begin no run that would take longer, save what runs; 0: no limit."
)
parse = parser(__doc__, WORKDIR, LIST, WORKERS, AT_ONCE, SECONDS, BACKEND, SLURM)
TO_GO_ON = 75  # the exit code of a sweep whose --seconds are over: EX_TEMPFAIL


def show(points: list[Point], states: dict[int, str]) -> None:
    for i, point in enumerate(points):
        why = f"  {watch.reason(point)}" if states[i] == "failed" else ""
        print(f"{states[i]:8s} {point.path.name}{why}")


def asked_for(root: pathlib.Path) -> tuple[list[Point], slurm_options.Options]:
    """What the command line means.

    Raises:
      ValueError: if it means nothing.
    """
    checks.choose("--backend", BACKEND.value, dict.fromkeys(("local", "slurm", "print")))
    checks.within("--workers", WORKERS.value, 0, 1000)  # of Slurm, too
    checks.within("--seeds_at_once", AT_ONCE.value, 1, 1000)
    checks.within("--seconds", SECONDS.value, 0, 1e9)
    if SECONDS.value and BACKEND.value != "local":
        raise ValueError("--seconds: expected with --backend=local only")
    options = slurm_options.parse(SLURM.value)
    if SLURM.value and BACKEND.value != "slurm":
        raise ValueError("--slurm: expected with --backend=slurm only")
    file = config_flags.get_config_filename(flags.FLAGS["config"])
    given = dict(config_flags.get_override_values(flags.FLAGS["config"]))
    return expand(file, CONFIG.value, given, root, DATA_DIR.value), options


def places_here() -> tuple[list[str], int]:
    """The GPUs that runs may have, and how many runs go at a time: see `pool.places`."""
    if BACKEND.value == "slurm":  # other GPUs than where it is submitted
        return [], WORKERS.value or len(os.sched_getaffinity(0))
    return places(WORKERS.value)


def print_commands(points: list[Point], states: dict[int, str]) -> None:
    todo = [i for i, found in states.items() if found in TO_DO]
    for group in in_groups(points, AT_ONCE.value, todo):
        print(shlex.join(command([points[i] for i in group])))


def train_here(points: list[Point], states: dict[int, str], gpus: list[str], number: int) -> None:
    with pool_of(gpus) as pool, stopped_by_signals(pool):
        late = local(points, states, pool, number, AT_ONCE.value, SECONDS.value)
    if late:
        done = f"{[*states.values()].count('done')} of {len(points)} runs are done"
        stop(f"after --seconds: {done}; run the same command again to go on", TO_GO_ON)
    if pool.stopped.is_set():
        stop("interrupted: saved; run the same command again to continue", 130)


def train_by_slurm(
    points: list[Point], options: slurm_options.Options, root: pathlib.Path
) -> dict[int, str]:
    for ending in (signal.SIGTERM, signal.SIGHUP):  # as Ctrl-C does
        if signal.getsignal(ending) is not signal.SIG_IGN:  # nohup
            signal.signal(ending, signal.default_int_handler)
    return slurm.run(points, options, WORKERS.value, root, AT_ONCE.value)


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        refuse(ValueError(f"unexpected argument {argv[1]!r}: values are given as --name=value"))
    try:
        root = checks.path("--workdir", WORKDIR.value)
        points, options = asked_for(root)
        gpus, number = places_here()
        states = slurm.states(points)
    except ValueError as error:
        refuse(error)
    except OSError as error:
        refuse(error, 1)
    if LIST.value:
        show(points, states)
        running = [*states.values()].count("running")  # in Slurm, say: more than there are here
        print(watch.headline(points, states, max(number, running)))
    elif BACKEND.value == "print":
        print_commands(points, states)
    else:
        train(points, states, options, root, (gpus, number))
        return
    streams.check_output()


def train(points, states, options, root: pathlib.Path, places: tuple[list[str], int]) -> NoReturn:
    try:
        files.make_workdir(root)
        if BACKEND.value == "slurm":
            states = train_by_slurm(points, options, root)
        else:
            train_here(points, states, *places)
    except ValueError as error:
        refuse(error)
    except OSError as error:
        refuse(error, 1)
    except KeyboardInterrupt:
        stop("interrupted: the jobs stay with Slurm; the same command waits for them again", 130)
    left = [i for i, found in states.items() if found != "done"]
    print(f"{len(points) - len(left)} of {len(points)} runs are done, in {root}")
    show([points[i] for i in left], {k: states[i] for k, i in enumerate(left)})
    from experiments.sweep.outcome import print_outcome  # it takes a second to import

    print_outcome(points, root)
    sys.exit(1 if left else 0)


if __name__ == "__main__":
    app.run(main, flags_parser=parse)
