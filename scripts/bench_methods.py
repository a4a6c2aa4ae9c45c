"""Measures the cost of each method, in multiples of mean cross entropy.

    python -m scripts.bench_methods

It measures a training step of LeNet at batch 128; and, without a network, the losses, their
gradient and the state update for a batch of 4096, ten classes and 50,000 examples. One thread,
process CPU time, medians of interleaved rounds.
"""

import argparse
import statistics
import sys

from experiments import checks, streams
from experiments.training.methods import FROM_FILE, METHODS
from scripts.bench_train import OURS, Worker

KINDS = ("lenet 128", "bare 4096")


def main() -> None:
    streams.keep()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=checks.natural, default=5)
    parser.add_argument("--core", type=int, default=0, help="the core that all runs on")
    parser.add_argument("methods", nargs="*", help="default: all")
    args = parser.parse_args()
    names = [
        "cross_entropy",
        *(args.methods or [one for one in [*METHODS][1:] if one not in FROM_FILE]),
    ]
    worker = Worker(OURS, 1, args.core)
    rounds: dict[str, list[float]] = {f"{kind}, {name}": [] for kind in KINDS for name in names}
    for number in range(args.rounds):
        for case, seconds in rounds.items():
            seconds.append(worker.ask(case)["cpu"])
        print(f"round {number + 1}/{args.rounds}", file=sys.stderr, flush=True)
    worker.close()
    print("| method | LeNet step, batch 128 | losses alone, batch 4096 |\n|---|---|---|")
    for name in names:
        cells = []
        for kind in KINDS:
            own, base = rounds[f"{kind}, {name}"], rounds[f"{kind}, cross_entropy"]
            ratio = statistics.median(a / b for a, b in zip(own, base, strict=True))
            ms = 1e3 * statistics.median(own)
            cells.append(f"{ms:.2f} ms" if name == "cross_entropy" else f"{ratio:.2f}")
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
