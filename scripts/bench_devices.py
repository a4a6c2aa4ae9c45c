"""What sharing a batch over devices and processes costs: one machine, one global batch.

    python scripts/bench_devices.py

The fake devices of a CPU share its cores, so nothing gets faster here: what a step's CPU time
exceeds that of one device by is the overhead of partitions, of sums over them, of small arrays.
"""

import argparse
import json
import os
import pathlib
import socket
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
LAYOUTS = [(1, 1), (2, 1), (4, 1), (8, 1), (2, 2), (8, 2)]  # devices in all, processes
CASES = {"digits, MLP, batch 64": 200, "CIFAR-10's size, LeNet, batch 128": 30}  # and steps


def work(index: int, processes: int, port: int) -> None:
    """One process of a run: seconds of a step for each case, as a line of JSON."""
    from experiments.training import devices

    if processes > 1:
        devices.start_processes(f"localhost:{port}", processes, index)
    import jax
    import numpy as np

    from configs import digits
    from experiments import data
    from experiments.tasks import images
    from experiments.training import build, loop, step

    rng = np.random.default_rng(0)
    arrays = {"train_images": rng.integers(0, 256, (5000, 32, 32, 3), np.uint8)}
    arrays["train_labels"] = (np.arange(5000) % 10).astype(np.int32)
    arrays |= {"test_images": arrays["train_images"][:0], "test_labels": np.zeros(0, np.int32)}
    cifar10 = data.base.dataset("cifar10", [str(i) for i in range(10)], arrays)
    data.DATASETS["cifar10"] = lambda **unused: cifar10
    found = {}
    for name, number in CASES.items():
        config = digits.get_config()
        if "LeNet" in name:
            config.data.name, config.model.name, config.batch_size = "cifar10", "lenet", 128
        run = build.build(config)
        host = images.train_data(run.dataset.train, run.augment)
        size = len(host.labels)
        resident = devices.replicate(host, run.layout)
        order = images.epoch_order(0, 1, size, config.batch_size, run.layout)
        step, state = step.make_train_step(run), step.init_state(run, 0)
        for count in (3, number):
            cpu, wall = time.process_time(), time.perf_counter()
            dispatched: list = []
            for _ in range(count):
                state, failed = step(state, resident, order)
                dispatched.append(failed)
                if len(dispatched) > loop.LATE:  # as in the program
                    assert not dispatched.pop(0)
            jax.block_until_ready(state)
            cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        found[name] = {"cpu": cpu / number, "wall": wall / number}
    print(json.dumps(found), flush=True)


def measure(devices: int, processes: int) -> dict:
    """CPU seconds of all processes together and wall seconds, of a step."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    flags = f"--xla_force_host_platform_device_count={devices // processes}"
    workers = [
        subprocess.Popen(
            [sys.executable, __file__, "--worker", str(i), str(processes), str(port)],
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
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
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
            # Of each round: what slows one slows the other.
            beyond = [c - 1e3 * one[1, 1][name]["cpu"] for c, one in zip(cpu, rounds, strict=True)]
            cpu, wall, beyond = map(statistics.median, (cpu, wall, beyond))
            cells = *layout, f"{cpu:.2f} ms", f"{beyond:+.2f} ms", f"{wall:.2f} ms"
            print(f"| {' | '.join(map(str, cells))} |")


if __name__ == "__main__":
    main()
