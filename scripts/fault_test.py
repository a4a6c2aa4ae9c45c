"""Interrupts and damages a run in many ways, and prints a table of whether anything was lost.

    python -m scripts.fault_test [--data_dir=DIR] [--kills=20] [--config=configs/cifar10.py]
        [--only=SIGTERM]

Trains one configuration undisturbed, then again with each fault, restarting it until it finishes.
The final config.json, metrics.jsonl, results.json and samples.npz must equal the undisturbed ones
bit by bit.
"""

import argparse
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from experiments import checks, streams

ROOT = pathlib.Path(__file__).resolve().parent.parent
FILES = ("config.json", "metrics.jsonl", "results.json", "samples.npz")


class Bench:
    """Starts runs of one configuration and compares the files that they write."""

    def __init__(self, args, root):
        self.root = root
        self.command = [sys.executable, "-m", "experiments.main", f"--config={args.config}"]
        self.command += ["--config.checkpoint.every_epochs=1", *args.overrides]
        self.command += [f"--data_dir={args.data_dir}"] if args.data_dir else []
        self.random = random.Random(args.seed)
        self.straight = root / "straight"
        self.seconds = 0.0

    def start(self, path, **kwargs):
        command = [*self.command, f"--workdir={path}"]
        # One thread, since results are bit-identical only for equal numbers of threads.
        env = os.environ | {"XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false"}
        return subprocess.Popen(
            command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            **kwargs,
        )  # fmt: skip

    def finish(self, path):
        """Runs to the end; returns the exit code and the output."""
        process = self.start(path)
        out, err = process.communicate()
        return process.returncode, out + err

    def equal(self, path):
        return all((path / f).read_bytes() == (self.straight / f).read_bytes() for f in FILES)

    def outcome(self, path):
        code, said = self.finish(path)
        if code:
            return f"FAILED: exit {code}: {said.strip().splitlines()[-1]}"
        return "equal, bit by bit" if self.equal(path) else "FAILED: files differ"


def killed(bench, number, count):
    """Sends a signal to the run `count` times, at random moments."""
    path = bench.root / signal.Signals(number).name
    codes = []
    while len(codes) < count:
        process = bench.start(path)
        try:
            # Random moments from before the first step up to the middle of the run.
            process.communicate(timeout=bench.random.uniform(0.05, 0.6) * bench.seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(number)
            said = process.communicate()[1]
            if "Traceback" in said:
                return f"FAILED: a traceback: {said.strip().splitlines()[-1]}"
            if process.returncode:
                codes.append(process.returncode)
                continue
        # The run had finished, or the signal came after the last step: start again.
        if process.returncode:
            return f"FAILED: exit {process.returncode} without a signal"
        if not bench.equal(path):
            return "FAILED: files differ"
        shutil.rmtree(path)
    # A signal before the handler is installed ends the process in the default way.
    expected = {-number, {signal.SIGTERM: 143, signal.SIGINT: 130}.get(number, -number)}
    if set(codes) - expected:
        return f"FAILED: exit codes {codes}"
    if (path / "results.json").exists() and bench.equal(path):
        return f"{len(codes)} times; equal, bit by bit"
    return f"{len(codes)} times; {bench.outcome(path)}"


def damaged(bench, kind):
    path = bench.root / kind
    process = bench.start(path)
    while len(list((path / "checkpoints").glob("[0-9]*"))) < 2 and process.poll() is None:
        time.sleep(0.05)
    process.kill()
    process.communicate()
    newest = sorted((path / "checkpoints").glob("[0-9]*"))[-1]
    arrays = max((p for p in newest.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
    content = bytearray(arrays.read_bytes())
    if kind == "missing":
        shutil.rmtree(newest)
    elif kind == "truncated":
        arrays.write_bytes(content[: len(content) // 2])
    elif kind == "zeroed":
        arrays.write_bytes(bytes(len(content)))
    else:
        content[bench.random.randrange(len(content))] ^= 1 << bench.random.randrange(8)
        arrays.write_bytes(content)
    return bench.outcome(path)


def mount(path, options):
    path.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path)],
                          capture_output=True, text=True, check=False)  # fmt: skip
    return "" if done.returncode == 0 else done.stderr.strip()


def full_disk(bench):
    place = bench.root / "small"
    if refused := mount(place, "size=6m"):
        return f"skipped: {refused}"
    try:
        filler = place / "filler"
        filler.write_bytes(bytes(4_600_000))  # leaves room for one checkpoint
        code, said = bench.finish(place / "run")
        last = said.strip().splitlines()[-1]
        if code != 1 or "No space left" not in last or "Traceback" in said:
            return f"FAILED: exit {code}: {last}"
        filler.unlink()
        return f"exit 1, one line; with room again: {bench.outcome(place / 'run')}"
    finally:
        subprocess.run(["umount", str(place)], check=False)


def read_only(bench):
    place = bench.root / "readonly"
    if refused := mount(place, "ro,size=1m"):
        return f"skipped: {refused}"
    try:
        code, said = bench.finish(place / "run")
        line = said.strip().splitlines()
        good = code == 2 and len(line) == 1 and "Read-only file system" in line[0]
        return "refused, exit 2, one line" if good else f"FAILED: exit {code}: {line[-1]}"
    finally:
        subprocess.run(["umount", str(place)], check=False)


def two_at_once(bench):
    path = bench.root / "two"
    processes = [bench.start(path) for _ in range(2)]
    said = [process.communicate()[1] for process in processes]
    codes = sorted(process.returncode for process in processes)
    refusals = [text for text in said if "is in use by" in text]
    if codes != [0, 2] or len(refusals) != 1:
        return f"FAILED: exit codes {codes}: {said}"
    return "one refused, exit 2; the other " + (
        "equal, bit by bit" if bench.equal(path) else "FAILED: files differ"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", default="configs/cifar10.py")
    parser.add_argument("--data_dir")
    parser.add_argument("--kills", type=checks.natural, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=checks.natural, default=4, help="at least 3 (default 4)")
    parser.add_argument("--only", default="", help="scenarios whose name has this in it")
    parser.add_argument("overrides", nargs="*", help="--config.x=VALUE, after --")
    args = parser.parse_args()
    args.overrides.append(f"--config.epochs={args.epochs}")
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(args, pathlib.Path(folder))
        code, said = bench.finish(bench.root / "warm")  # fills the caches
        start = time.perf_counter()
        code, said = bench.finish(bench.straight)
        bench.seconds = time.perf_counter() - start
        if code:
            sys.exit(said)
        accuracy = json.loads((bench.straight / "results.json").read_text())["test_accuracy"]
        print(f"undisturbed: {bench.seconds:.0f} s, {accuracy}", flush=True)
        print("| scenario | promise | outcome |\n|---|---|---|")
        goes_on = "continues from the newest whole checkpoint, same result"
        scenarios = {
            f"SIGKILL at {args.kills} random moments": (
                goes_on, lambda: killed(bench, signal.SIGKILL, args.kills)),
            f"SIGTERM at {args.kills} random moments": (
                "saves at the step's boundary, exit 143; continues there, same result",
                lambda: killed(bench, signal.SIGTERM, args.kills)),
            "Ctrl-C, 3 times": (
                "saves, exit 130; continues there, same result",
                lambda: killed(bench, signal.SIGINT, 3)),
            **{f"newest checkpoint {kind}": (goes_on, lambda kind=kind: damaged(bench, kind))
               for kind in ("truncated", "zeroed", "bit flipped", "missing")},
            "full disk": ("stops, one line; continues with room", lambda: full_disk(bench)),
            "read-only work directory": ("refused before training", lambda: read_only(bench)),
            "two processes in one directory": ("one trains", lambda: two_at_once(bench)),
        }  # fmt: skip
        chosen = {name: pair for name, pair in scenarios.items() if args.only in name}
        for name, (promise, scenario) in chosen.items():
            outcome = scenario()
            failed |= "FAILED" in outcome
            print(f"| {name} | {promise} | {outcome} |", flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    streams.keep()
    main()
