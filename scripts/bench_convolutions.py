"""Measures ResNet-18's 3x3 convolutions and lists their forms, to explain the time of its step.

    python -m scripts.bench_convolutions [--torch_python .venv-torch/bin/python]

One thread, the best CPU time of 15 calls, batch 8. Multiplications and additions count separately.
"""

import argparse
import collections
import os
import re
import time

os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"

import jax
import jax.numpy as jnp

from experiments import streams
from experiments.models import cpu, networks
from experiments.tasks.classification import cross_entropy
from scripts.bench_train import Worker, theirs

LAYERS = ((64, 32), (128, 16), (256, 8), (512, 4))  # channels, image size
BATCH = 8


def best(function, *arguments) -> float:
    jax.block_until_ready(function(*arguments))
    seconds = []
    for _ in range(15):
        start = time.process_time()
        jax.block_until_ready(function(*arguments))
        seconds.append(time.process_time() - start)
    return min(seconds)


def conv(x, kernel):
    return cpu.conv(x, kernel, (1, 1), "SAME")


@jax.jit
def to_input(x, kernel, gradient):
    return jax.vjp(lambda x: conv(x, kernel), x)[1](gradient)


@jax.jit
def to_kernel(x, kernel, gradient):
    return jax.vjp(lambda kernel: conv(x, kernel), kernel)[1](gradient)


def forms() -> collections.Counter:
    """Counts the layouts of the convolutions in the compiled gradient of ResNet-18."""
    model = networks.make_model("resnet18", 10, (32, 32, 3))
    images, labels = jnp.ones((BATCH, 32, 32, 3)), jnp.zeros(BATCH, int)
    variables = model.init(jax.random.key(0), images, train=False)

    def objective(params):
        given = {"params": params, "batch_stats": variables["batch_stats"]}
        logits, _ = model.apply(given, images, train=True, mutable=["batch_stats"])
        return cross_entropy(logits, labels).mean()

    text = jax.jit(jax.grad(objective)).lower(variables["params"]).compile().as_text()
    lines = (line for line in text.splitlines() if " convolution(" in line)
    return collections.Counter(re.search(r"dim_labels=([^,\s]+)", line)[1] for line in lines)


def main() -> None:
    streams.keep()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--torch_python", help="interpreter with torch, to compare")
    args = parser.parse_args()
    cpu.keep_freed_memory()
    square = jnp.ones((1024, 1024))
    rate = 2 * 1024**3 / best(jax.jit(lambda x: x @ x), square) / 1e9
    print(f"matrix product: {rate:.0f} GFLOP/s")
    print("| channels, image | forward | gradient of input | of kernel | PyTorch, forward |")
    print("|---|---|---|---|---|")
    worker = Worker(theirs(args.torch_python), 1) if args.torch_python else None
    for channels, side in LAYERS:
        x = jnp.ones((BATCH, side, side, channels))
        kernel = jnp.full((3, 3, channels, channels), 0.01)
        work = 2 * 9 * BATCH * side**2 * channels**2 / 1e9
        seconds = [best(jax.jit(conv), x, kernel)]
        seconds += [best(function, x, kernel, x) for function in (to_input, to_kernel)]
        if worker:
            seconds.append(min(worker.ask(f"conv {channels}")["cpu"] for _ in range(5)))
        cells = [f"{work / s:.0f}" for s in seconds] + ["-"] * (4 - len(seconds))
        print(f"| {channels}, {side}x{side} | {' | '.join(cells)} |", flush=True)
    for form, number in forms().items():
        print(f"ResNet-18's gradients: {number} convolutions {form}")


if __name__ == "__main__":
    main()
