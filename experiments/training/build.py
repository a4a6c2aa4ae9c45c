"""Builds a run from a config, and checks every setting before anything is trained."""

import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.checks import choose, integer, seed, within
from experiments.data import encoded
from experiments.keys import section
from experiments.models.networks import Networks
from experiments.runs import identity, samples
from experiments.runs.selection import SELECTIONS
from experiments.tasks import task_of
from experiments.tasks.base import Problem
from experiments.tasks.scores import Score
from experiments.training import (
    class_shares,
    curriculum,
    devices,
    kinds,
    loggers,
    methods,
    optimizers,
    superlosses,
)
from superloss_jax import LossTransform


class Run(NamedTuple):
    """Everything that a config describes. Nothing here changes during training."""

    score: Score
    problem: Problem
    model: nn.Module  # the problem's model, or several copies of it
    networks: int  # trained together; with two, outputs have a leading axis
    optimizer: optax.GradientTransformationExtraArgs
    method: LossTransform
    prior: tuple  # numbers of labels by class, if the method depends on them
    advance: Callable | None  # what changes the method's state after an epoch, if anything does
    weighs: bool  # whether the method gives each loss a weight
    average: float  # decay of the moving average of the weights; 0: none
    dataset: Any  # has Examples as train, validation and test
    num_examples: int  # rows of arrays that are indexed by example
    layout: devices.Layout


class Member(NamedTuple):
    """One of several runs that are trained at once."""

    config: Any
    run: Run
    path: pathlib.Path


def build_run(config, data_dir: str | None = None) -> Run:
    """Builds the run; raises ValueError for an invalid config."""
    config = identity.read_part(config)
    check_values(config)
    task = task_of(config)
    layout = devices.layout(config.devices)
    check_built(config)
    dataset = without_suspects(config, task.load(config, data_dir))
    check_encoded(config, dataset)
    size = len(dataset.train.index)
    check_batches(config, size, layout)
    problem = with_order(config, dataset, task.build(config, dataset))
    check_score(task.score, problem)
    steps = steps_per_epoch(config, size)
    methods.check_fits(config.loss, problem.num_classes)
    facts = facts_of(config, dataset, problem, steps)
    method = methods.make_method(config.loss, facts)
    networks = methods.networks(config.loss)
    check_inputs(method, networks, problem)
    check_held_out(config, dataset, problem)
    advance = superlosses.advance_of(config.loss)
    check_teacher(problem, networks, average_of(config))
    if networks > 1 and config.optimizer.get("sam", 0.0):
        raise ValueError("config.optimizer.sam: expected 0 with two networks")
    return Run(
        score=task.score,
        problem=problem,
        model=problem.model if networks == 1 else Networks(problem.model, networks),
        networks=networks,
        optimizer=optimizers.make(config.optimizer, config.epochs, steps),
        method=kinds.by_kind(method, problem.kinds),
        prior=tuple(facts.label_counts()) if methods.counts_labels(config.loss) else (),
        advance=advance and kinds.advance_by_kind(advance, problem.kinds),
        weighs=methods.weighs(config.loss),
        average=average_of(config),
        dataset=dataset,
        num_examples=facts.num_examples,
        layout=layout,
    )


def check_built(config) -> None:
    """Raises ValueError for a method or an optimizer that cannot be, before any data is read."""
    dummy = methods.Facts(
        1, 2, 1000, lambda: np.eye(2), lambda step: 0.1, lambda: np.ones(2), noise_rate_of(config)
    )
    methods.make_method(config.loss, dummy)
    optimizers.make(config.optimizer, config.epochs, steps_per_epoch=1)


def with_order(config, dataset, problem: Problem) -> Problem:
    """Returns the problem with the order that `config.curriculum` asks for, if it asks for one."""
    return class_shares.sampled(config, dataset, curriculum.paced(config, dataset, problem))


def facts_of(config, dataset, problem: Problem, steps: int) -> methods.Facts:
    return methods.Facts(
        num_examples=num_examples(dataset),
        num_classes=problem.num_classes,
        steps=config.epochs * steps,
        matrix=problem.noise_matrix,
        rate=optimizers.schedule(config.optimizer, config.epochs, steps),
        counts=problem.label_counts,
        noise_rate=noise_rate_of(config),
    )


def check_encoded(config, dataset) -> None:
    """Raises ValueError if images are to stay in files, and the data set cannot do that."""
    data = section(config, "data")
    if data.get("decode") == "files" and not dataset.train.is_encoded():
        said = f"{data.get('name')} is read into memory: expected auto or memory"
        raise ValueError(f"config.data.decode: {said}, got files")


def check_score(score: Score, problem: Problem) -> None:
    """Raises ValueError if the score is none of the task's numbers."""
    whole = problem.evaluate.names if problem.evaluate else ()
    names = dict.fromkeys(("loss", *problem.metrics, *whole))
    choose("the key of the task's score", score.key, names)


def check_values(config) -> None:
    """Raises ValueError for a number out of range."""
    seed("config.seed", config.seed)
    integer("config.vmap_seeds", config.vmap_seeds, 1, 10_000)
    seed("config.seed, the last of vmap_seeds,", config.seed + config.vmap_seeds - 1)
    integer("config.epochs", config.epochs, 1, 100_000)
    integer("config.checkpoint.keep", config.checkpoint.keep, 2, 1000)
    for name in ("every_epochs", "every_minutes"):
        within(f"config.checkpoint.{name}", config.checkpoint[name], 0, float("inf"))
    if not isinstance(config.report.selection, list | tuple):
        said = f"expected a tuple of names, got {config.report.selection!r}"
        raise ValueError(f"config.report.selection: {said}")
    for name in config.report.selection:
        choose("config.report.selection", name, SELECTIONS)
        if name == "mean_of_last_10":
            within("config.epochs, for the mean of the last 10,", config.epochs, 10, 100_000)
    loggers.check(config)
    within("config.data.device_budget_mb", budget_mb(config), 0, float("inf"))
    integer("config.data.workers", workers(config), 0, 1024)
    choose("config.data.decode", section(config, "data").get("decode", "auto"), encoded.CHOICES)
    within("config.average.decay", average_of(config), 0, 0.999999)


def budget_mb(config) -> float:
    """Returns the largest size in MB of a training set kept on the device; 0 means no limit."""
    return section(config, "data").get("device_budget_mb", 0.0)


def workers(config) -> int:
    """Returns the number of threads that decode images; 0 means one for each core."""
    return section(config, "data").get("workers", 0)


def noise_rate_of(config) -> float | None:
    """Returns the rate that wrong targets are drawn with; None if the data bring them along."""
    noise = section(config, "noise")
    return None if noise.get("kind") == "given" else noise.get("rate")


def average_of(config) -> float:
    """Returns the decay of the moving average of the weights; 0 means none."""
    return section(config, "average").get("decay", 0.0)


def check_teacher(problem: Problem, networks: int, average: float) -> None:
    """Raises ValueError if a teacher lacks its averaged weights, or would teach two networks."""
    if problem.teach and networks > 1:
        said = "two networks that teach each other have no further teacher"
        raise ValueError(f"config.loss.method: {said}; choose a method with one network")
    if problem.taught_by_average and not average:
        said = "the teacher is the moving average of the weights; expected above 0, got 0"
        raise ValueError(f"config.average.decay: {said}")


def check_batches(config, size: int, layout: devices.Layout) -> None:
    """Raises ValueError if the batch size does not fit the data set or BatchNorm's groups."""
    integer("config.batch_size", config.batch_size, 1, size)
    if (steps := config.epochs * steps_per_epoch(config, size)) >= 2**31:
        raise ValueError(f"config.epochs: expected fewer than 2**31 steps, got {steps}")
    padded = -(-config.batch_size // devices.size(layout)) * devices.size(layout)
    groups = section(config, "model").get("bn_groups", 1)
    integer("config.model.bn_groups", groups, 1, padded)
    if padded % groups:
        raise ValueError(f"config.model.bn_groups: expected a divisor of the batch of {padded}")


def excludes(config) -> bool:
    """Whether the config leaves out examples that another run found suspect."""
    return section(config, "data").get("exclude") is not None


def without_suspects(config, dataset):
    """Returns the data set without another run's most suspect examples, if the config names one."""
    if excludes(config):
        data = config.data
        kept = samples.trusted(dataset.train, data.exclude, data.exclude_rate)
        return dataset._replace(train=dataset.train.rows(kept))
    if section(config, "data").get("exclude_rate"):
        raise ValueError("config.data.exclude: exclude_rate needs the directory of a run")
    return dataset


def steps_per_epoch(config, size: int) -> int:
    return -(-size // config.batch_size)


def num_examples(dataset) -> int:
    """Returns the largest index plus one; validation counts, so that splits do not change it."""
    parts = (dataset.train.index, dataset.validation.index)
    return max(int(part.max(initial=0)) for part in parts) + 1


def check_held_out(config, dataset, problem: Problem) -> None:
    """Raises ValueError if a method learns from validation losses that there are not, or mislead.

    If held-out labels are right where those of training are not, no memorising can be seen.
    """
    method, data = config.loss.method, section(config, "data")
    if not superlosses.advance_of(config.loss):
        return
    if not len(dataset.validation.index):
        said = f"{method} needs losses of held-out examples: expected an integer >= 1, got 0"
        raise ValueError(f"config.data.validation: {said}")
    wrong = problem.groups.get("wrong", lambda targets, clean: np.zeros(0, bool))
    cleaned = data.get("validation_labels") == "clean"
    if cleaned and np.any(wrong(dataset.train.targets, dataset.train.clean_targets)):
        said = f"{method} needs held-out labels as noisy as the training ones: expected noisy"
        raise ValueError(f"config.data.validation_labels: {said}, got clean")


def check_inputs(method: LossTransform, networks: int, problem: Problem) -> None:
    """Raises ValueError if the method needs an input that the task's units do not provide."""
    shape = (2,) if networks == 1 else (networks, 2)
    shapes = {"logits": ((*shape, problem.num_classes or 1), jnp.float32)}
    shapes |= dict.fromkeys(("labels", "index"), (shape, jnp.int32))
    extra = {name: jax.ShapeDtypeStruct(*shapes[name]) for name in problem.extra}
    losses = jax.ShapeDtypeStruct(shape, jnp.float32)
    try:
        jax.eval_shape(method.update, losses, jax.eval_shape(method.init), **extra)
    except ValueError as error:
        mixed = not problem.rows_are_examples
        said = "config.augment.mixup: a mixture has a loss alone" if mixed else "config.loss.method"
        raise ValueError(f"{said}; {error}" if mixed else f"{said}: {error}") from None
