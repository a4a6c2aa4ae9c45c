"""CIFAR-10 to 94 %: the network and the schedule of airbench94, in JAX.

    python -m scripts.airbench --data_dir=DIR [--runs=50] [--dtype=float32]

After Keller Jordan, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU", 2024, and his code, which
takes 3.83 s on one A100 in this form, and 2.59 s in its last. A run's seconds are those of
whitening, training and the test with six views of each image. Run 0 compiles, and does not count.
`--epochs=1 --examples=1024` is a trial on a CPU.
"""

import argparse
import functools
import math
import time
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from experiments import checks, data, streams
from experiments.models.layers import dtype_of
from experiments.progress import console

BATCH, PAD = 1024, 2
WIDTHS = (64, 256, 256)
# Rate and decay are of 1,024 examples, whatever the momentum.
RATE, MOMENTUM, DECAY, OF_BIASES = 11.5, 0.85, 0.0153, 64.0
SCALE = 1024 * (1 + 1 / (1 - MOMENTUM))
SMOOTHING, KEPT = 0.2, 0.6  # of labels; of BatchNorm's old averages
WHITENED = 3  # epochs in which the first layer's bias is trained
EVERY, SHARE = (
    5,
    0.95**5,
)  # steps between two averages of the weights (lookahead), the old one's share
VIEWS = 2000  # test images at once


class State(NamedTuple):
    params: dict
    averages: list  # BatchNorm's (mean, variance)
    slow: tuple  # lookahead's average of both
    momentum: dict


# --- The network: whitening, three groups of two convolutions, one matrix. ------------------------


def convolution(x, kernel, padding="SAME"):
    layout = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(x, kernel.astype(x.dtype), (1, 1), padding, None, None, layout)


def max_pool(x, side):
    height, width = (size // side for size in x.shape[1:3])
    x = x[:, : height * side, : width * side]
    return x.reshape(x.shape[0], height, side, width, side, -1).max((2, 4))


def normalise(x, bias, average, train):
    if train:
        wide = x.astype(jnp.float32)
        now = wide.mean((0, 1, 2)), wide.var((0, 1, 2))
        unbiased = x.size / x.shape[-1] / (x.size / x.shape[-1] - 1)
        kept = (now[0], now[1] * unbiased)
        average = [KEPT * old + (1 - KEPT) * new for old, new in zip(average, kept, strict=True)]
    mean, variance = now if train else average
    return ((x - mean) * lax.rsqrt(variance + 1e-12) + bias).astype(x.dtype), average


def logits_of(params, averages, x, train):
    """Returns the logits of normalised images, and BatchNorm's new averages."""
    x = convolution(x, params["whiten"], "VALID") + params["whiten_bias"].astype(x.dtype)
    x, new = jax.nn.gelu(x, approximate=False), []
    for i in range(6):
        x = convolution(x, params["kernels"][i])
        x = x if i % 2 else max_pool(x, 2)
        x, average = normalise(x, params["biases"][i], averages[i], train)
        new.append(average)
        x = jax.nn.gelu(x, approximate=False)
    x = max_pool(x, 3).reshape(x.shape[0], -1)
    return (x @ params["matrix"].astype(x.dtype)).astype(jnp.float32) / 9, new


def drawn(key, shape):
    """PyTorch's default: uniform in +-1 / sqrt(fan_in)."""
    bound = math.prod(shape[:-1]) ** -0.5
    return jax.random.uniform(key, shape, jnp.float32, -bound, bound)


@jax.jit
def initial(key, images) -> State:
    kernels, biases, averages, before = [], [], [], 24
    for i in range(6):
        key, own = jax.random.split(key)
        width = WIDTHS[i // 2]
        kernel = drawn(own, (3, 3, before, width))
        # The first filters pass their channels on unchanged.
        same = jnp.zeros((3, 3, before, before)).at[1, 1].set(jnp.eye(before))
        kernels.append(kernel.at[..., :before].set(same))
        biases.append(jnp.zeros(width))
        averages.append([jnp.zeros(width), jnp.ones(width)])
        before = width
    params = {
        "whiten": whitening(images), "whiten_bias": jnp.zeros(24),
        "kernels": kernels, "biases": biases,
        "matrix": drawn(jax.random.fold_in(key, 1), (WIDTHS[-1], 10)),
    }  # fmt: skip
    return State(params, averages, (params, averages), jax.tree.map(jnp.zeros_like, params))


def whitening(images):
    """The eigenvectors of 2x2 patches, over the roots of their eigenvalues, and their negatives."""
    height, width = (size - 1 for size in images.shape[1:3])
    corners = [images[:, i : i + height, j : j + width] for i in (0, 1) for j in (0, 1)]
    patches = jnp.stack(corners, 3).reshape(-1, 12).astype(jnp.float32)
    values, vectors = jnp.linalg.eigh(patches.T @ patches / len(patches))
    half = (vectors / jnp.sqrt(values + 5e-4))[:, ::-1].reshape(2, 2, 3, 12)
    return jnp.concatenate([half, -half], -1)


# --- Training. ------------------------------------------------------------------------------------


def loss_of(params, averages, images, labels):
    logits, averages = logits_of(params, averages, images, train=True)
    targets = optax.smooth_labels(jax.nn.one_hot(labels, 10), SMOOTHING)
    return optax.softmax_cross_entropy(logits, targets).sum(), averages


def rate_at(step, total):
    """Rises from 0.2 to 1 in the first 23 % of the steps, then falls to 0.07."""
    rising = int(total * 0.23)
    return jnp.interp(step, jnp.array([0, rising, total]), jnp.array([0.2, 1.0, 0.07]))


@functools.partial(jax.jit, static_argnames=("total", "per_epoch"), donate_argnums=0)
def step(state: State, images, labels, order, number, total: int, per_epoch: int) -> State:
    rows = lax.dynamic_slice_in_dim(order, number % per_epoch * BATCH, BATCH)
    grads, averages = jax.grad(loss_of, has_aux=True)(
        state.params, state.averages, images[rows], labels[rows]
    )
    params, momentum = descended(state, grads, rate_at(number, total), number // per_epoch)
    done = number + 1
    kept = jnp.where(done == total, 1.0, SHARE * (done / total) ** 3)

    def averaged(slow, fast):
        slow = jax.tree.map(lambda s, f: s + (1 - kept) * (f - s), slow, fast)
        return slow, slow

    fast, slow = (params, averages), state.slow
    due = (done % EVERY == 0) | (done == total)
    fast, slow = lax.cond(due, averaged, lambda slow, fast: (fast, slow), slow, fast)
    return State(*fast, slow, momentum)


def descended(state: State, grads, rate, epoch):
    """A step of SGD with Nesterov's momentum, by PyTorch's formula, and decoupled weight decay."""
    rates = jax.tree.map(lambda _: RATE / SCALE, state.params)
    rates["biases"] = [OF_BIASES * one for one in rates["biases"]]
    rates["whiten"] = 0.0
    decay, trained = DECAY * BATCH / SCALE, epoch < WHITENED

    def velocity(v, g, p, own):
        return MOMENTUM * v + g + (decay / own * p if own else 0.0)

    new = jax.tree.map(velocity, state.momentum, grads, state.params, rates)
    nesterov = jax.tree.map(
        lambda v, g, p, own: own * (g + (decay / own * p if own else 0.0) + MOMENTUM * v),
        new, grads, state.params, rates,
    )  # fmt: skip
    params = jax.tree.map(lambda p, change: p - rate * change, state.params, nesterov)
    bias = state.params["whiten_bias"]
    params["whiten_bias"] = jnp.where(trained, params["whiten_bias"], bias)
    return params, new


@jax.jit
def views(images, key, flipped):
    """Every image, shifted by up to two pixels; in odd epochs all are mirrored."""
    padded = jnp.pad(images, ((0, 0), (PAD, PAD), (PAD, PAD), (0, 0)), mode="reflect")
    shifts = jax.random.randint(key, (len(images), 2), 0, 2 * PAD + 1)
    size = images.shape[1:]
    cut = jax.vmap(lambda image, at: lax.dynamic_slice(image, (*at, 0), size))(padded, shifts)
    return jnp.where(flipped, cut[:, :, ::-1], cut)


@jax.jit
def right(state: State, images, labels):
    """How many are right by the mean over an image, its mirror image, and both shifted twice."""
    padded = jnp.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect")
    shifted = [(images, 0.5), (padded[:, :-2, :-2], 0.25), (padded[:, 2:, 2:], 0.25)]
    logits = sum(
        weight / 2 * logits_of(state.params, state.averages, view, train=False)[0]
        for image, weight in shifted
        for view in (image, image[:, :, ::-1])
    )
    return jnp.sum(logits.argmax(-1) == labels)


def one_run(seed: int, dataset: data.Dataset, epochs: float, dtype) -> tuple[float, float]:
    """Returns the test accuracy and the seconds of a run."""

    def placed(examples):
        images = (examples.inputs - np.float32(dataset.mean)) / np.float32(dataset.std)
        return jax.device_put((images.astype(dtype), examples.targets.astype(np.int32)))

    (images, labels), (test, test_labels) = placed(dataset.train), placed(dataset.test)
    jax.block_until_ready((images, test))
    per_epoch = len(images) // BATCH
    total = math.ceil(per_epoch * epochs)
    key, start = jax.random.key(seed), time.perf_counter()
    state = initial(jax.random.fold_in(key, 0), images[:5000])
    mirrored = jax.random.bernoulli(jax.random.fold_in(key, 1), shape=(len(images), 1, 1, 1))
    images = jnp.where(mirrored, images[:, :, ::-1], images)
    for number in range(total):
        if number % per_epoch == 0:
            own = jax.random.fold_in(key, 2 + number // per_epoch)
            order = jax.random.permutation(own, len(images))
            shown = views(images, own, number // per_epoch % 2 == 1)
        state = step(state, shown, labels, order, number, total, per_epoch)
    parts = range(0, len(test), VIEWS)
    found = sum(right(state, test[i : i + VIEWS], test_labels[i : i + VIEWS]) for i in parts)
    return 100 * int(found) / len(test), time.perf_counter() - start


def main() -> None:
    streams.keep()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data_dir", required=True)
    parser.add_argument("--runs", type=checks.natural, default=50)
    parser.add_argument("--epochs", type=float, default=9.9)
    parser.add_argument(
        "--examples", type=checks.natural, default=50_000, help="the first ones, of the test, too"
    )
    parser.add_argument("--dtype", default="bfloat16", choices=("float32", "bfloat16"))
    args = parser.parse_args()
    dataset = data.load("cifar10", data_dir=args.data_dir)
    first = slice(args.examples)
    dataset = dataset._replace(train=dataset.train.rows(first), test=dataset.test.rows(first))
    print(f"{jax.devices()[0].device_kind}, jax {jax.__version__}", flush=True)
    accuracies, seconds = [], []
    for number in range(args.runs + 1):
        accuracy, taken = one_run(number, dataset, args.epochs, dtype_of(args.dtype))
        console.print(f"run {number}/{args.runs}: {accuracy:.2f} % in {taken:.2f} s")
        accuracies.append(accuracy)
        seconds.append(taken)
    mean, spread = np.mean(accuracies[1:]), np.std(accuracies[1:])
    said = f"{mean:.2f} % over {args.runs} runs (standard deviation {spread:.2f})"
    print(f"{said}, {np.median(seconds[1:]):.2f} s a run")


if __name__ == "__main__":
    main()
