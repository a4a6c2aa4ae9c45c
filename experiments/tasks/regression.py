"""Regression: a number for each example, some of which may be wrong.

The network predicts standardised targets, and its loss is one of standardised residuals. A lam or
tau of 1 then means the same for targets in years and in dollars. Metrics are in the target's unit.
"""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np

from experiments.checks import choose, positive, within
from experiments.data import Examples, regression
from experiments.data.regression import Targets
from experiments.models import networks
from experiments.tasks import images
from experiments.tasks.base import At, Batch, Problem, Recorded, Task, Units
from experiments.tasks.scores import SCORES


def losses(kind: str, delta: float) -> Callable:
    """Returns the loss of a standardised residual."""

    def huber(residual):
        small = jnp.minimum(jnp.abs(residual), delta)
        return small * (jnp.abs(residual) - 0.5 * small)

    table = {"huber": huber, "l1": jnp.abs, "l2": lambda residual: 0.5 * residual**2}
    return choose("config.residual.loss", kind, table)


def load(config, data_dir: str | None) -> Targets:
    choose("config.model.name", config.model.name, networks.MODELS)  # before data is read
    if config.loss.method == "cross_entropy":
        raise ValueError("config.loss.method: the loss of a regression without a method is plain")
    return regression.load(config.data, config.noise, data_dir)


def build(config, dataset: Targets) -> Problem:
    loss_of = losses(config.residual.loss, config.residual.delta)
    positive("config.residual.delta", config.residual.delta)
    limit = config.residual.truncation or (dataset.high - dataset.low) / 10
    within("config.residual.truncation", limit, 1e-30, 1e30)
    spread = float(np.var(dataset.test.targets, dtype=np.float64))
    shape = dataset.train.inputs.shape[1:]
    rows_of_numbers = len(shape) == 1
    if rows_of_numbers and config.model.name != "mlp":
        said = f"{dataset.name} has rows of numbers, not images: choose mlp"
        raise ValueError(f"config.model.name: {said}, got {config.model.name}")
    model = networks.make_model(
        **config.model, num_classes=1, image_shape=(1, 1, *shape) if rows_of_numbers else shape
    )

    def draw(examples: Examples, rows, at: At | None) -> Batch:
        inputs, targets, clean, index = examples.rows(rows)
        if not rows_of_numbers:
            inputs = images.normalise(inputs, dataset)
        return Batch(inputs, targets, clean, index, rows >= 0)

    def residual(outputs, batch):
        return outputs[..., 0] - (batch.targets - dataset.target_mean) / dataset.target_std

    def units(outputs, batch: Batch) -> Units:
        return Units(loss_of(residual(outputs, batch)), batch.where, {"index": batch.index})

    def error(outputs, batch):
        return jnp.abs(residual(outputs, batch)) * dataset.target_std

    def predicted(outputs, batch):
        return outputs[..., 0] * dataset.target_std + dataset.target_mean

    return Problem(
        model=model,
        units=units,
        draw=draw,
        metrics={
            "mae": error,
            "truncated": lambda outputs, batch: jnp.minimum(error(outputs, batch), limit),
            "r2": lambda outputs, batch: 1 - error(outputs, batch) ** 2 / spread,
        },
        groups={"clean": is_clean, "wrong": is_wrong},
        records={"predicted": Recorded(np.float32(-np.inf), predicted)},
        facts={
            "noise": {
                "convention": config.noise.kind,
                "realised_rate": regression.realised_rate(dataset.train),
                "targets_sha256": dataset.targets_sha256,
            }
        },
        told=regression.described(dataset, config.noise),
    )


def is_clean(targets, clean_targets):
    return targets == clean_targets


def is_wrong(targets, clean_targets):
    """Returns a mask of the targets that are known to be wrong; an unknown clean one is NaN."""
    return (targets != clean_targets) & (clean_targets == clean_targets)


task = Task(SCORES["regression"], load, build)
