"""Images per second of the program's own step on one accelerator, and the card's matmul rate.

    python -m scripts.bench_accelerator [--torch_python .venv-torch/bin/python]

It measures ResNet-18 and WRN-28-10 in bfloat16, with batches that fill the card; ResNet-18 with
CurBench's batch of 50, which does not fill it; and LeNet with one run, and with 5, 16 and 64 seeds
under vmap. PyTorch runs ResNet-18 under torch.compile, always on the same batch on the card.
`--batch=8 --steps=1` is a quick trial on a CPU.
"""

import argparse
import subprocess
import time

import jax
import jax.numpy as jnp

from experiments import checks, streams
from scripts import random_images, steps

# FLOPs per image, forward and backward: three times those of the forward pass.
WORK = {"resnet18": 3 * 1.11e9, "wrn28_10": 3 * 10.49e9}


def seconds_of(take, count):
    """Measures the seconds per step, after two warm-up steps."""
    take(2)
    start = time.perf_counter()
    take(count)
    return (time.perf_counter() - start) / count


def images_per_second(model, dtype, batch, count, number=1):
    """Returns the throughput of all `number` seeds together."""
    config = random_images.get_config()
    config.examples, config.batch_size = 50_000, batch
    config.model.name, config.model.dtype = model, dtype
    config.augment.pad, config.augment.flip = 4, True
    runs = steps.Steps(steps.load(config), number)
    return number * batch / seconds_of(runs.take, count)


def matrix_rate(size=8192, count=20):
    """Measures the FLOP/s of a bfloat16 matrix product."""
    x = jax.random.normal(jax.random.key(0), (size, size), jnp.bfloat16)
    multiply = jax.jit(lambda x: x @ x)

    def take(count):
        for _ in range(count):
            y = multiply(x)
        y.block_until_ready()

    return 2 * size**3 / seconds_of(take, count)


def main() -> None:
    streams.keep()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--torch_python", help="interpreter with torch, to compare")
    parser.add_argument(
        "--batch", type=checks.natural, default=1024, help="of ResNet-18; WRN-28-10: half"
    )
    parser.add_argument("--steps", type=checks.natural, default=50)
    args = parser.parse_args()
    print(f"{jax.devices()[0].device_kind}, jax {jax.__version__}", flush=True)
    small = args.batch < 64  # a quick trial
    rate = matrix_rate(*((256, 2) if small else ()))
    print(f"matrix product, bfloat16: {rate / 1e12:.3g} TFLOP/s", flush=True)
    large, half, few = args.batch, max(1, args.batch // 2), min(50, args.batch)
    for model, dtype, batch in (
        ("resnet18", "bfloat16", large),
        ("resnet18", "bfloat16", few),
        ("resnet18", "float32", few),
        ("wrn28_10", "bfloat16", half),
    ):
        speed = images_per_second(model, dtype, batch, args.steps)
        text = f"{speed:,.0f} images/s, {1e3 * batch / speed:.2f} ms a step"
        part = speed * WORK[model] / rate
        print(f"{model}, {dtype}, batch {batch}: {text}, {part:.0%} of it", flush=True)
    for number in (1, 2) if small else (1, 5, 16, 64):
        speed = images_per_second("lenet", "float32", few, 4 * args.steps, number)
        text = f"{speed:,.0f} images/s, {1e3 * number * few / speed:.2f} ms a step"
        print(f"lenet, float32, batch {few}, {number} seeds at once: {text}", flush=True)
    if args.torch_python:
        command = [args.torch_python, "scripts/torch_accelerator.py"]
        for batch in (large, few):
            subprocess.run([*command, str(batch), str(args.steps)], check=True)


if __name__ == "__main__":
    main()
