"""What a config means: everything it names, checked and built before anything is trained."""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments import data
from experiments.checks import choose, seed, within
from experiments.models import images as networks
from experiments.runs import samples
from experiments.runs.selection import SELECTIONS
from experiments.tasks import images as batches
from experiments.tasks.images import Augment
from experiments.training import devices, methods, optimizers
from superloss_jax import LossTransform


class Run(NamedTuple):
    model: nn.Module
    torch_init: bool
    optimizer: optax.GradientTransformation
    method: LossTransform
    weighs: bool  # whether the method gives an example's loss a weight
    dataset: data.Dataset
    augment: Augment
    layout: devices.Layout
    labels_sha256: str


def build(config, data_dir: str | None = None) -> Run:
    """Raises ValueError for what cannot be meant."""
    seed("config.seed", config.seed)
    within("config.vmap_seeds", config.vmap_seeds, 1, 10_000)
    within("config.epochs", config.epochs, 1, 100_000)
    within("config.checkpoint.keep", config.checkpoint.keep, 2, 1000)
    for name in ("every_epochs", "every_minutes"):
        within(f"config.checkpoint.{name}", config.checkpoint[name], 0, float("inf"))
    for name in config.report.selection:
        choose("config.report.selection", name, SELECTIONS)
        if name == "mean_of_last_10":
            within("config.epochs, for the mean of the last 10,", config.epochs, 10, 100_000)
    layout = devices.layout(config.devices)
    methods.create(config.loss, methods.Task(1, 2, 1000, matrix=lambda: np.eye(2)))
    make_optimizer(config, steps_per_epoch=1)  # refuses what is wrong before data is read, as above
    choose("config.model.name", config.model.name, networks.MODELS)
    data.check_noise(config.data.name, **config.noise)
    dataset, labels_sha256 = data.build(config.data, config.noise, data_dir)
    if config.data.exclude is None and config.data.exclude_rate:
        raise ValueError("config.data.exclude: exclude_rate needs the directory of a run")
    if config.data.exclude is not None:
        dataset = samples.without_suspects(dataset, config.data.exclude, config.data.exclude_rate)
    image_shape = dataset.train.images.shape[1:]
    augment = batches.augment(image_shape, **config.augment)
    within("config.data.device_budget_mb", config.data.device_budget_mb, 0, float("inf"))
    within("config.batch_size", config.batch_size, 1, len(dataset.train.labels))
    padded = -(-config.batch_size // devices.size(layout)) * devices.size(layout)
    within("config.model.bn_groups", config.model.bn_groups, 1, padded)
    if padded % config.model.bn_groups:
        raise ValueError(f"config.model.bn_groups: expected a divisor of the batch of {padded}")
    method = make_method(config, dataset)
    if augment.mixup:
        refuse_mixtures(method, methods.networks(config.loss))
    return Run(
        model=networks.create(
            **config.model,
            num_classes=len(dataset.class_names),
            image_shape=image_shape,
            networks=methods.networks(config.loss),
        ),
        torch_init=config.model.init == "torch",
        optimizer=make_optimizer(config, steps_per_epoch(config, dataset)),
        method=method,
        weighs=methods.weighs(config.loss),
        dataset=dataset,
        augment=augment,
        layout=layout,
        labels_sha256=labels_sha256,
    )


def steps_per_epoch(config, dataset: data.Dataset) -> int:
    return -(-len(dataset.train.labels) // config.batch_size)


def make_method(config, dataset: data.Dataset) -> LossTransform:
    classes = len(dataset.class_names)
    task = methods.Task(
        num_examples=methods.num_examples(dataset),
        num_classes=classes,
        steps=config.epochs * steps_per_epoch(config, dataset),
        matrix=lambda: data.noise_matrix(
            config.data.name, config.noise.kind, config.noise.rate, classes
        ),
    )
    return methods.create(config.loss, task)


def refuse_mixtures(method: LossTransform, networks: int) -> None:
    """Raises ValueError if the method needs more of an example than its loss."""
    shape = (2,) if networks == 1 else (networks, 2)
    try:
        jax.eval_shape(method.update, jax.ShapeDtypeStruct(shape, jnp.float32), method.init())
    except ValueError as error:
        raise ValueError(f"config.augment.mixup: a mixture has a loss alone; {error}") from None


def make_optimizer(config, steps_per_epoch: int) -> optax.GradientTransformation:
    values = dict(config.optimizer)
    names = ("learning_rate", "warmup_epochs", "boundaries", "factor")
    schedule = optimizers.schedule(
        values.pop("schedule"),
        **{name: values.pop(name) for name in names},
        epochs=config.epochs,
        steps_per_epoch=steps_per_epoch,
    )
    return optimizers.create(**values, schedule=schedule)
