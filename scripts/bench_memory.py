"""Measures the peak memory of training each model on images of CIFAR-10's number and size.

    python -m scripts.bench_memory [--models=lenet,resnet18] [--batch=128] [--dtype=float32]

Each model has a process of its own, which takes two steps and evaluates a batch, as a run does. The
first figure is the process's largest resident size: with Python, the compiler, 154 MB of images and
their padded copy. On an accelerator, the second is the most that was in use there.
"""

import argparse
import resource
import subprocess
import sys

import jax

from experiments import checks, streams
from experiments.models.networks import MODELS
from experiments.progress import console
from experiments.training import evaluation
from experiments.training.step import variables_of
from scripts import random_images, steps

IMAGES = 50_000
SMALL = [name for name in MODELS if name not in ("mlp", "resnet50")]  # for 32x32 images


def row(model: str, batch: int, dtype: str) -> str:
    config = random_images.get_config()
    config.examples, config.batch_size = IMAGES, batch
    config.model.name, config.model.dtype = model, dtype
    config.augment.pad, config.augment.flip = 4, True
    loaded = steps.load(config)
    runs = steps.Steps(loaded)
    runs.take(2)
    parameters = sum(leaf.size for leaf in jax.tree.leaves(variables_of(runs.state)["params"]))
    some = loaded.run.dataset.train.rows(slice(evaluation.EVALUATION_BATCH))
    jax.block_until_ready(evaluation.make_evaluate(loaded.run)(runs.state, some))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3  # kB on Linux
    used = (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use")  # None on a CPU
    on_device = f"{used / 1e6:,.0f}" if used else "-"
    return f"| {model} | {parameters:,} | {peak:,.0f} | {on_device} |"


def main() -> None:
    streams.keep()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=checks.several(SMALL), default=SMALL)
    parser.add_argument("--batch", type=checks.natural, default=128)
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--one", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(row(args.one, args.batch, args.dtype))
        return
    print("| model | parameters | host, MB | device, MB |\n| --- | --- | --- | --- |", flush=True)
    for model in args.models:
        console.print(f"{model} ...")
        own = [f"--one={model}", f"--batch={args.batch}", f"--dtype={args.dtype}"]
        subprocess.run([sys.executable, "-m", "scripts.bench_memory", *own], check=True)


if __name__ == "__main__":
    main()
