"""Measures whether training several seeds at once, under vmap, pays on this device.

    python -m scripts.bench_seeds [--config=configs/digits.py] [--numbers=2,4,8] [--rounds=5]
    python -m scripts.bench_seeds --config=scripts/random_images.py --config.model.name=convnet

A config's `vmap_seeds` and a sweep's `--seeds_at_once` train several seeds at once if they fit on
one device. This script tells you beforehand whether that saves time. It compares N times the step
of one run, the time of N runs in turn, with a step of N runs at once. Wall time, medians of
interleaved rounds.
"""

import math
import os
import statistics
import sys
import time

from absl import app, flags, logging

from experiments.flags import CONFIG, DATA_DIR, parser, refuse

NUMBERS = flags.DEFINE_list("numbers", ["2", "4", "8"], "How many runs at once.")
ROUNDS = flags.DEFINE_integer("rounds", 5, "Of which the median is shown.", lower_bound=1)
DEFAULT = "--config=configs/digits.py"
SECONDS = 0.3  # least duration of one timing
SAME = 0.05  # smaller differences of the ratio from 1 are noise on a shared machine


def seconds_of(steps, count: int) -> float:
    begun = time.perf_counter()
    steps.take(count)
    return (time.perf_counter() - begun) / count


def count_of(steps) -> int:
    """Returns the number of steps that take SECONDS, after two steps that compile."""
    steps.take(2)
    return math.ceil(SECONDS / seconds_of(steps, 3))


def compare(one, loaded, number: int, rounds: int) -> tuple[float, float, float]:
    """Returns the seconds per step of `number` runs in turn and at once, and their ratio."""
    from scripts.steps import Steps

    several = Steps(loaded, number)
    counts = count_of(one), count_of(several)
    in_turn, at_once = [], []
    for _ in range(rounds):
        in_turn.append(number * seconds_of(one, counts[0]))
        at_once.append(seconds_of(several, counts[1]))
    # The median of the ratios per round, because a busy moment slows both.
    ratios = [b / a for a, b in zip(in_turn, at_once, strict=True)]
    return statistics.median(in_turn), statistics.median(at_once), statistics.median(ratios)


def row(one, loaded, number: int, rounds: int) -> str:
    import jax

    try:
        in_turn, at_once, ratio = compare(one, loaded, number, rounds)
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        return f"| {number} | - | out of memory | - | no |"
    pays = "no difference" if abs(ratio - 1) < SAME else "yes" if ratio < 1 else "no"
    return f"| {number} | {1e3 * in_turn:.2f} ms | {1e3 * at_once:.2f} ms | {ratio:.2f} | {pays} |"


def numbers() -> list[int]:
    found = [int(text) if text.isdecimal() else 0 for text in NUMBERS.value]
    if not found or min(found) < 2:
        raise ValueError(f"--numbers: expected whole numbers from 2, got {','.join(NUMBERS.value)}")
    return found


def main(argv: list[str]) -> None:
    logging.set_verbosity(logging.WARNING)  # JAX reports each backend it does not find
    import jax

    from experiments.models import cpu
    from scripts import steps

    config = CONFIG.value
    config.devices = 1  # seeds at once share one device
    cpu.keep_freed_memory()  # as the program does
    try:
        chosen = numbers()
        loaded = steps.load(config, DATA_DIR.value)
    except ValueError as error:
        refuse(error)
    except OSError as error:  # no device, say
        refuse(error, 1)
    one = steps.Steps(loaded)
    name, batch = config.model.name, config.batch_size
    device = f"{jax.devices()[0].device_kind}, jax {jax.__version__}"
    print(f"{name}, batch {batch}; {device}, {os.cpu_count()} cores\n")
    print(
        "| runs | in turn | at once | at once / in turn | pays |\n|---|---|---|---|---|", flush=True
    )
    for number in chosen:
        print(row(one, loaded, number, ROUNDS.value), flush=True)


if __name__ == "__main__":
    program, *given = sys.argv
    named = any(arg.partition("=")[0] == "--config" for arg in given)
    # The default config comes first, so that later arguments can override its values.
    parse = parser(__doc__, NUMBERS, ROUNDS)
    app.run(main, [program, *([] if named else [DEFAULT]), *given], flags_parser=parse)
