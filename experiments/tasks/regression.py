"""Regression: a number for each example, some of which may be wrong.

The network predicts standardised targets, and its loss is one of standardised residuals. A lam or
tau of 1 then means the same for targets in years and in dollars. Metrics are in the target's unit.
"""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from experiments.checks import choose, positive
from experiments.data import Examples, regression
from experiments.data.regression import Targets
from experiments.models import networks
from experiments.tasks.base import At, Batch, Problem, Recorded, Task, Units
from experiments.tasks.scores import SCORES


def losses(loss: str, delta: float = 1.0, **unused) -> Callable:
    """Returns the loss of a standardised residual."""
    positive("config.residual.delta", delta)

    def huber(residual):
        small = jnp.minimum(jnp.abs(residual), delta)
        return small * (jnp.abs(residual) - 0.5 * small)

    table = {"huber": huber, "l1": jnp.abs, "l2": lambda residual: 0.5 * residual**2}
    return choose("config.residual.loss", loss, table)


def load(config, data_dir: str | None) -> Targets:
    networks.check_name(config.model.name)
    if config.loss.method == "cross_entropy":
        raise ValueError("config.loss.method: the loss of a regression without a method is plain")
    return regression.load(config.data, config.noise, data_dir)


def build(config, dataset: Targets) -> Problem:
    loss_of = losses(**config.residual)
    limit = config.residual.truncation
    if limit:
        positive("config.residual.truncation", limit)
    model = model_of(config, dataset)

    def draw(examples: Examples, rows, at: At | None) -> Batch:
        (inputs, scale), targets, clean, index = examples.rows(rows)
        if dataset.is_images:
            mean, std = (x[:, None, None] for x in (scale.pixel_mean, scale.pixel_std))
            inputs = (inputs.astype(jnp.float32) - mean) / std
        return Batch(inputs, targets, clean, index, rows >= 0, scale)

    def residual(outputs, batch):
        return outputs[..., 0] - (batch.targets - batch.drawn.mean) / batch.drawn.std

    def units(outputs, batch: Batch) -> Units:
        return Units(loss_of(residual(outputs, batch)), batch.where, {"index": batch.index})

    def error(outputs, batch):
        return jnp.abs(residual(outputs, batch)) * batch.drawn.std

    def predicted(outputs, batch):
        return outputs[..., 0] * batch.drawn.std + batch.drawn.mean

    def truncated(outputs, batch):
        return jnp.minimum(error(outputs, batch), limit or batch.drawn.range / 10)

    def explained(outputs, batch):
        return 1 - error(outputs, batch) ** 2 / batch.drawn.variance

    return Problem(
        model=model,
        units=units,
        draw=draw,
        metrics={"mae": error, "truncated": truncated, "r2": explained},
        groups={"clean": is_clean, "wrong": is_wrong},
        records={"predicted": Recorded(np.float32(-np.inf), predicted)},
        examine=by_size,
        facts={"noise": noise_facts(config, dataset)},
        told=regression.described(dataset, config.noise),
    )


def model_of(config, dataset: Targets) -> Any:
    shape = dataset.train.inputs.of.shape[1:]
    if dataset.is_images:
        return networks.make_model(**config.model, num_classes=1, image_shape=shape)
    if config.model.name != "mlp":
        said = f"{dataset.name} has rows of numbers, not images: choose mlp"
        raise ValueError(f"config.model.name: {said}, got {config.model.name}")
    return networks.make_model(**config.model, num_classes=1, image_shape=(1, *shape, 1))


def noise_facts(config, dataset: Targets) -> dict[str, Any]:
    return {
        "convention": config.noise.kind,
        "realised_rate": regression.realised_rate(dataset.train),
        "targets_sha256": dataset.targets_sha256,
    }


PARTS = 10


def by_size(samples) -> dict[str, float]:
    """Returns error and mean weight by tenths of the training targets that are right, by size.

    Rare targets are hard for a network. What a method does to them shows in the first and the last
    tenths. NaN before the examples are seen; {} if fewer than ten targets are known to be right.
    """
    right = np.flatnonzero(is_clean(samples["target"], samples["clean_target"]))
    if len(right) < PARTS:
        return {}
    order = right[np.argsort(samples["target"][right], kind="stable")]
    error = np.abs(samples["predicted"] - samples["target"])
    found = {}
    for i, rows in enumerate(np.array_split(order, PARTS), start=1):
        found[f"tenth_{i}_error"] = float(error[rows].mean())
        found[f"tenth_{i}_weight"] = float(samples["weight"][rows].mean())
    return found


def is_clean(targets, clean_targets):
    return targets == clean_targets


def is_wrong(targets, clean_targets):
    """Returns a mask of the targets that are known to be wrong; an unknown clean one is NaN."""
    return (targets != clean_targets) & (clean_targets == clean_targets)


task = Task(SCORES["regression"], load, build)
