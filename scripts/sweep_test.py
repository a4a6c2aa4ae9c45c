"""Kills a sweep three times, runs two sweeps in one directory, and checks that the table is right.

    python -m scripts.sweep_test [--seed=0] [--epochs=20]

It trains the same twelve digits runs three times: undisturbed; by a sweep that is killed at random
moments and restarted (once with all its runs, once alone, once by Ctrl-C); and by two sweeps at
once.
"""

import argparse
import contextlib
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time

from experiments import checks, streams

ROOT = pathlib.Path(__file__).resolve().parent.parent
CONFIG = """
from configs import digits

def get_config():
    config = digits.get_config()
    config.epochs = {epochs}
    config.checkpoint.every_epochs = 1
    return config

def sweep():
    for method in ("cross_entropy", "superloss"):
        for seed in range(6):
            yield {{"loss.method": method, "seed": seed, "noise.seed": seed}}
"""


def start(config: pathlib.Path, runs: pathlib.Path) -> subprocess.Popen:
    command = [sys.executable, "-m", "experiments.sweep", f"--config={config}", f"--workdir={runs}"]
    with open(runs.with_suffix(".log"), "a") as log:
        return subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log, start_new_session=True)


def descendants(pid: int) -> list[int]:
    """Finds all descendants of a process; killing a process group would miss the sweep's runs."""
    done = subprocess.run(["ps", "-e", "-o", "pid=,ppid="], capture_output=True, text=True)
    parents = {
        int(child): int(parent) for child, parent in map(str.split, done.stdout.splitlines())
    }
    found = [pid]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found[1:]


def kill(process: subprocess.Popen, how: str) -> None:
    if how == "Ctrl-C":
        process.send_signal(signal.SIGINT)
    else:
        below = descendants(process.pid) if how == "SIGKILL to all" else []
        for pid in (process.pid, *below):
            with contextlib.suppress(ProcessLookupError):  # it may have ended meanwhile
                os.kill(pid, signal.SIGKILL)
    process.wait()


def table(runs: pathlib.Path) -> str:
    command = [sys.executable, "-m", "experiments.report", "table", f"--workdir={runs}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout


def results(runs: pathlib.Path) -> dict[str, bytes]:
    return {path.parent.name: path.read_bytes() for path in sorted(runs.glob("*/results.json"))}


def first_steps(runs: pathlib.Path) -> list[int]:
    """Returns how often each run was started from scratch."""
    return [path.read_text().count("first step after") for path in runs.glob("*/log.txt")]


def main() -> None:
    streams.keep()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=checks.natural, default=20)
    args = parser.parse_args()
    rng = random.Random(args.seed)
    failures = 0

    def report(what: str, holds: bool, more: str) -> None:
        nonlocal failures
        failures += not holds
        print(f"| {what} | {'yes' if holds else 'NO'} | {more} |", flush=True)

    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        config = root / "twelve.py"
        config.write_text(CONFIG.format(epochs=args.epochs))
        begun = time.monotonic()
        assert start(config, root / "straight").wait() == 0, (root / "straight.log").read_text()
        seconds = time.monotonic() - begun
        expected, straight = table(root / "straight"), results(root / "straight")
        print("| twelve digits runs | same table and results | |\n|---|---|---|")
        report("undisturbed", len(straight) == 12, f"{seconds:.0f} s")

        killed, said = root / "killed", []
        for how in rng.sample(["SIGKILL to all", "SIGKILL to the sweep", "Ctrl-C"], 3):
            process = start(config, killed)
            time.sleep(rng.uniform(0.1, 0.4) * seconds)
            was_going = process.poll() is None
            kill(process, how)
            said.append(f"{how} at {len(results(killed))} done{'' if was_going else ' (too late)'}")
        code = start(config, killed).wait()
        same = table(killed) == expected and results(killed) == straight
        report("killed three times", code == 0 and same, "; ".join(said))

        shared = root / "shared"
        both = [start(config, shared) for _ in range(2)]
        codes = [one.wait() for one in both]
        begun = first_steps(shared)
        same = table(shared) == expected and results(shared) == straight
        holds = codes == [0, 0] and begun == [1] * 12 and same
        report("two sweeps, one directory", holds, f"{len(begun)} runs, {sum(begun)} begun")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
