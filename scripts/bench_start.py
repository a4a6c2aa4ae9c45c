"""Measures what starting costs, beside another version of this project, in turn.

    git worktree add ../before COMMIT
    python -m scripts.bench_start --before=../before --data_dir=DIR [--rounds=3] [--cases=a,b]

    digits     a whole run on digits, 60 epochs
    cold       CIFAR-10 up to its first step, nothing compiled before
    warm       the same, with what the run before has compiled
    report     report table of 198 packed runs
    sweep      the 30 runs of configs/digits_table.py, one for each core at a time

Seconds of wall time, and of all processes' CPU time, which a busy machine changes less. Medians of
rounds; the ratios are medians over rounds of after by before.
"""

import argparse
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from typing import NamedTuple

from experiments import checks, streams
from experiments.progress import console

FIRST_STEP = "first step after"
CIFAR10 = ["main", "--config=configs/cifar10.py", "--config.noise.rate=0.4"]


class Cost(NamedTuple):
    wall: float
    cpu: float


def cost(arguments: list[str], root: pathlib.Path, compiled: str, until: str = "") -> Cost:
    """Runs a program of a version to its end, or until it says something."""
    environment = os.environ | {"PYTHONPATH": str(root), "JAX_COMPILATION_CACHE_DIR": compiled}
    command = [sys.executable, "-m", f"experiments.{arguments[0]}", *arguments[1:]]
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    process = subprocess.Popen(
        command, cwd=root, env=environment, text=True, stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )  # fmt: skip
    said = []
    with process:
        for line in process.stderr or ():
            said.append(line)
            if until and until in line:
                process.kill()
                break
    wall = time.perf_counter() - begun
    if process.returncode and not until:
        raise ValueError(f"{' '.join(command)}: {''.join(said[-1:]).strip()}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Cost(wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def measured(case: str, root: pathlib.Path, data_dir: str, compiled: pathlib.Path) -> Cost:
    with tempfile.TemporaryDirectory() as folder:
        where, data, kept = f"--workdir={folder}/run", f"--data_dir={data_dir}", str(compiled)
        if case == "digits":
            return cost(["main", "--config=configs/digits_table.py", where], root, kept)
        if case == "report":
            return cost(["report", "table", "--workdir=results/remembered_digits"], root, kept)
        if case == "sweep":
            return cost(["sweep", "--config=configs/digits_table.py", where], root, kept)
        kept = f"{folder}/compiled" if case == "cold" else kept
        return cost([*CIFAR10, where, data], root, kept, FIRST_STEP)


CASES = ("digits", "cold", "warm", "report", "sweep")


def row(case: str, costs: list[tuple[Cost, Cost]]) -> str:
    """The row of a case, from pairs of before and after."""
    found = []
    for part in ("wall", "cpu"):
        before, after = ([getattr(one, part) for one in ones] for ones in zip(*costs, strict=True))
        ratios = [b / a for a, b in zip(before, after, strict=True)]
        found += [f"{statistics.median(one):.2f}" for one in (before, after, ratios)]
    return " | ".join([f"| {case}", *found]) + " |"


def main() -> None:
    streams.keep()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--before", required=True, type=pathlib.Path, help="the other version")
    parser.add_argument("--data_dir", required=True)
    parser.add_argument("--rounds", type=checks.natural, default=3)
    parser.add_argument("--cases", type=checks.several(CASES), default=[*CASES])
    args = parser.parse_args()
    roots = args.before.absolute(), pathlib.Path(__file__).parent.parent
    data_dir = str(pathlib.Path(args.data_dir).absolute())
    print("| | wall before | after | ratio | CPU before | after | ratio |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        kept = [pathlib.Path(folder) / name for name in ("before", "after")]
        for case in args.cases:
            costs = []
            for number in range(args.rounds + 1):
                of_each = zip(roots, 2 * [data_dir], kept, strict=True)
                pair = [measured(case, *one) for one in of_each]
                console.print(f"{case} {number}/{args.rounds}: {pair[0].cpu:.2f} {pair[1].cpu:.2f}")
                costs.append(tuple(pair))
            print(row(case, costs[1:]), flush=True)  # the first has filled caches


if __name__ == "__main__":
    main()
