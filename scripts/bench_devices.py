"""Measures the overhead of sharing a batch over devices and processes of one machine.

    python -m scripts.bench_devices

The fake devices of a CPU share its cores, so nothing gets faster here. The extra CPU time of a step
compared with one device is the overhead of partitioning, all-reduces and small arrays.
"""

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import time

from experiments import checks, streams

LAYOUTS = [(1, 1), (2, 1), (4, 1), (8, 1), (2, 2), (8, 2)]  # devices in total, processes
CASES = {"digits, MLP, batch 64": 200, "CIFAR-10's size, LeNet, batch 128": 30}  # and steps to take


def work(index: int, processes: int, port: int) -> None:
    """Runs one of the processes; prints the seconds per step for each case as a line of JSON."""
    from experiments.training import devices

    if processes > 1:
        devices.start_processes(f"localhost:{port}", processes, index)
    from configs import digits
    from scripts import random_images, steps

    found = {}
    for name, number in CASES.items():
        config = (random_images if "LeNet" in name else digits).get_config()
        config.devices = 0  # all devices of all processes
        runs = steps.Steps(steps.load(config))
        runs.take(3)
        cpu, wall = time.process_time(), time.perf_counter()
        runs.take(number)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        found[name] = {"cpu": cpu / number, "wall": wall / number}
    print(json.dumps(found), flush=True)


def measure(devices: int, processes: int) -> dict:
    """Measures a step's wall seconds, and the CPU seconds summed over processes."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "scripts.bench_devices"]
    flags = f"--xla_force_host_platform_device_count={devices // processes}"
    workers = [
        subprocess.Popen(
            [*command, "--worker", str(i), str(processes), str(port)],
            env=os.environ | {"XLA_FLAGS": flags}, stdout=subprocess.PIPE, text=True,
        )
        for i in range(processes)
    ]  # fmt: skip
    answers = [json.loads(worker.communicate()[0].splitlines()[-1]) for worker in workers]
    return {
        name: {
            "cpu": sum(answer[name]["cpu"] for answer in answers),
            "wall": max(answer[name]["wall"] for answer in answers),
        }
        for name in CASES
    }


def main() -> None:
    streams.keep()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=checks.natural, default=3)
    parser.add_argument("--worker", nargs=3, type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        return work(*args.worker)
    rounds = []
    for number in range(args.rounds):
        rounds.append({layout: measure(*layout) for layout in LAYOUTS})
        print(f"round {number + 1}/{args.rounds}", file=sys.stderr, flush=True)
    for name in CASES:
        print(f"\n| {name}: devices | processes | CPU time of a step | beyond one device | wall |")
        print("|---|---|---|---|---|")
        for layout in LAYOUTS:
            cpu, wall = ([1e3 * one[layout][name][k] for one in rounds] for k in ("cpu", "wall"))
            # Differences per round, because a busy moment slows both.
            beyond = [c - 1e3 * one[1, 1][name]["cpu"] for c, one in zip(cpu, rounds, strict=True)]
            cpu, wall, beyond = map(statistics.median, (cpu, wall, beyond))
            cells = *layout, f"{cpu:.2f} ms", f"{beyond:+.2f} ms", f"{wall:.2f} ms"
            print(f"| {' | '.join(map(str, cells))} |")


if __name__ == "__main__":
    main()
