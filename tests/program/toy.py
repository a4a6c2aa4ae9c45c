"""An example of a user's own task: a masked autoencoder on digits, whose units are pixels."""

from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from sklearn.datasets import load_digits

from experiments import rng
from experiments.data import Examples
from experiments.tasks.base import Batch, Evaluation, Problem, Task, Units
from experiments.tasks.scores import Score


class Parts(NamedTuple):
    train: Examples
    validation: Examples
    test: Examples


class Autoencoder(nn.Module):
    width: int

    @nn.compact
    def __call__(self, x, train: bool, mask=None):
        hidden = nn.relu(nn.Dense(self.width)(x))
        return nn.Dense(x.shape[-1])(hidden)


def load(config, data_dir):
    images, _ = load_digits(return_X_y=True)
    images = (images / 16).astype("float32")
    rows = np.split(np.arange(len(images), dtype="int32"), (1000, 1200))
    return Parts(*(Examples(images[i], images[i], images[i], i) for i in rows))


def build(config, dataset):
    def draw(examples, rows, at):
        """Hides random pixels (half of them on average); in evaluation, every second pixel."""
        _, targets, clean, index = (array[rows] for array in examples)
        hidden = jnp.broadcast_to(jnp.arange(64) % 2 == 0, targets.shape)
        if at is not None:
            key = rng.key_for(at.seed, rng.AUGMENT, at.step)
            hidden = rng.bits(key, targets.shape) >> 31 == 1
        return Batch(jnp.where(hidden, 0, targets), targets, clean, index, rows >= 0, hidden)

    def units(outputs, batch):
        where = batch.where[:, None] & batch.drawn  # only hidden pixels count
        return Units((outputs - batch.targets) ** 2, where, {})

    def close(outputs, batch):
        return jnp.abs(outputs - batch.targets)

    def largest(outputs, batch):
        return {"error": jnp.max(close(outputs, batch), axis=-1), "index": batch.index}

    def measure(collected, examples):
        np.testing.assert_array_equal(collected["index"], examples.index)
        return {"median_error": float(np.median(collected["error"]))}, collected

    return Problem(
        Autoencoder(config.width), units, draw, metrics={"absolute_error": close}, extra=(),
        evaluate=Evaluation(("median_error",), largest, measure),
    )  # fmt: skip


task = Task(
    Score("absolute_error", "absolute error", digits=3, larger_is_better=False), load, build
)
