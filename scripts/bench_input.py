"""Compares the input pipeline with what a user would write instead, on one thread.

    taskset -c 0 python -m scripts.bench_input [--torch_python .venv-torch/bin/python]

For crop, flip and normalisation, in images/s: our code, three other forms under jit, a NumPy loop
on the host, and torchvision's transforms, run by the interpreter that `scripts/torch_environment`
installs. For noise, in labels/s: our code and a NumPy loop. CPU time, medians of interleaved
rounds.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import time

os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import jax
import jax.numpy as jnp
import numpy as np

from experiments import rng, streams
from experiments.tasks import images
from experiments.training.order import epoch_order
from scripts import random_images
from superloss_jax import noise

SIZE, BATCH, STEPS = 50_000, 128, 100
AUGMENT = images.Augment(pad=4, flip=True, cutout=0)


def forms(dataset):
    """Returns four implementations of the same draw; each takes (padded, positions, step)."""

    def offsets(step):
        bits = rng.bits(rng.key_for(0, rng.AUGMENT, step), (BATCH, 5)).T
        y, x = ((bits[i] >> 16) * 9 >> 16 for i in (0, 1))
        return y.astype(jnp.int32), x.astype(jnp.int32), bits[2] >> 31 == 1

    def window(padded, positions, step):
        return images.draw(padded, positions, dataset, AUGMENT, 0, step)

    def gather(padded, positions, step):
        y, x, flip = offsets(step)
        r = jnp.arange(32)[None]
        rows, columns = y[:, None] + r, x[:, None] + jnp.where(flip[:, None], 31 - r, r)
        drawn = padded[positions[:, None, None], rows[:, :, None], columns[:, None, :]]
        return images.normalise(drawn, dataset)

    def one_hot(padded, positions, step):
        y, x, flip = offsets(step)
        r = jnp.arange(32)[None]
        rows = jax.nn.one_hot(y[:, None] + r, 40)
        columns = jax.nn.one_hot(x[:, None] + jnp.where(flip[:, None], 31 - r, r), 40)
        pixels = padded[positions].astype(jnp.float32)
        drawn = jnp.einsum("byi,bijc,bxj->byxc", rows, pixels, columns)
        return images.normalise(drawn, dataset)

    def selects(padded, positions, step):
        y, x, flip = offsets(step)
        pixels = padded[positions]

        def pick(chosen, parts):
            return jnp.select([(chosen == i)[:, None, None, None] for i in range(9)], parts)

        pixels = pick(y, [pixels[:, i : i + 32] for i in range(9)])
        pixels = pick(x, [pixels[:, :, i : i + 32] for i in range(9)])
        pixels = jnp.where(flip[:, None, None, None], pixels[:, :, ::-1], pixels)
        return images.normalise(pixels, dataset)

    return {f.__name__: jax.jit(f) for f in (window, gather, one_hot, selects)}


def numpy_loop(images, rng):
    """Does a data loader's work on the host, without its overhead."""
    mean, std = np.float32(120), np.float32(60)
    drawn = np.empty((len(images), 32, 32, 3), np.float32)
    for i, image in enumerate(images):
        padded = np.pad(image, ((4, 4), (4, 4), (0, 0)))
        y, x = rng.integers(0, 9, 2)
        window = padded[y : y + 32, x : x + 32]
        drawn[i] = window[:, ::-1] if rng.random() < 0.5 else window
    return (drawn - mean) / std


def numpy_noise(labels, matrix, rng):
    return np.array([rng.choice(10, p=matrix[label]) for label in labels])


def rounds(runs, number=5):
    """Returns median CPU seconds; runs are interleaved so that a busy machine slows all alike."""
    seconds = {name: [] for name in runs}
    for run in runs.values():
        run()
    for _ in range(number):
        for name, run in runs.items():
            start = time.process_time()
            run()
            seconds[name].append(time.process_time() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def images_per_second(dataset) -> dict[str, float]:
    """Measures every form and the NumPy loop, and checks that all forms draw the same images."""
    padded = jnp.asarray(images.padded(dataset.train, AUGMENT).inputs)
    order = list(jnp.asarray(epoch_order(0, 1, SIZE, BATCH))[:-1])

    def run(form):
        def many():
            for step in range(STEPS):
                drawn = form(padded, order[step], step)
            jax.block_until_ready(drawn)

        return many

    jitted = forms(dataset)
    reference = jitted["window"](padded, order[0], 0)
    for form in jitted.values():
        np.testing.assert_allclose(form(padded, order[0], 0), reference, atol=1e-5)
    runs = {name: run(form) for name, form in jitted.items()}
    generator, few = np.random.default_rng(0), dataset.train.inputs[:BATCH]
    runs["numpy loop"] = lambda: [numpy_loop(few, generator) for _ in range(STEPS // 10)]
    seconds = rounds(runs)
    seconds["numpy loop"] *= 10  # the slow loop takes a tenth of the steps
    return {name: STEPS * BATCH / value for name, value in seconds.items()}


def labels_per_second(dataset) -> dict[str, float]:
    pixels, labels = dataset.train.inputs, dataset.train.targets
    matrix = noise.transition_matrix("symmetric_exclusive", 0.4, 10)
    key = jax.random.key(0, impl="threefry2x32")
    generator, few = np.random.default_rng(0), labels[:5000]
    seconds = rounds({
        "corrupt_labels": lambda: np.asarray(noise.corrupt_labels(key, labels, matrix)),
        "exact": lambda: np.asarray(noise.corrupt_labels(key, labels, matrix, exact=True)),
        "instance dependent": lambda: noise.instance_dependent_labels(
            key, pixels, labels, 0.4, 10
        ),
        "numpy loop": lambda: numpy_noise(few, matrix, generator),
    })  # fmt: skip
    seconds["numpy loop"] *= SIZE / len(few)
    return {name: SIZE / value for name, value in seconds.items()}


def torchvision(python: str) -> tuple[float, str]:
    """Returns torchvision's images/s and its version."""
    command = [python, "scripts/torchvision_input.py", "10240"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found = json.loads(done.stdout)
    return 10_240 / found["seconds"], found["version"]


def show(speeds: dict[str, float]) -> None:
    for name, value in speeds.items():
        print(f"  {name:20s} {value:12,.0f} {value / speeds['numpy loop']:8.1f}")


def main():
    streams.keep()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--torch_python", help="interpreter with torchvision")
    parser.add_argument("--output", help="JSON file to write")
    args = parser.parse_args()
    dataset = random_images.dataset(SIZE)
    drawn = images_per_second(dataset)
    versions = {"jax": jax.__version__, "device": jax.devices()[0].device_kind}
    if args.torch_python:
        drawn["torchvision"], versions["torchvision"] = torchvision(args.torch_python)
    noised = labels_per_second(dataset)
    print(f"{versions}\ncrop, flip, normalise, batch {BATCH}: images/s, and times the NumPy loop")
    show(drawn)
    print("noise: labels/s, and times the NumPy loop")
    show(noised)
    if args.output:
        found = {"versions": versions, "images_per_second": drawn, "labels_per_second": noised}
        pathlib.Path(args.output).write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
