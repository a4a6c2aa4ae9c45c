"""How often each class is drawn: as in the data, equally often, or from one to the other.

In epoch l of L, class j has n_j^g(l) in proportion, where g falls from 1 to 0: the sampling
scheduler of Dynamic Curriculum Learning. Its authors drop and weigh what a random batch has of each
class; here each batch is drawn with these shares. An epoch has as many steps as without.

Yiru Wang, Weihao Gan, Jie Yang, Wei Wu, Junjie Yan, "Dynamic Curriculum Learning for Imbalanced
Data Classification", ICCV 2019. With g = 0 throughout it is class-balanced sampling: Bingyi Kang et
al., "Decoupling Representation and Classifier for Long-Tailed Recognition", ICLR 2020.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from experiments import checks, rng
from experiments.keys import section
from experiments.tasks.base import Problem, shuffled

KEY = "config.curriculum.classes"
GIVEN = "given"
EXPONENTS: dict[str, Callable[[float], float]] = {  # g, of the part of the epochs that is over
    GIVEN: lambda part: 1.0,
    "balanced": lambda part: 0.0,
    "linear": lambda part: 1 - part,
    "cosine": lambda part: math.cos(math.pi / 2 * part),
    "exponential": lambda part: 0.05**part,
    "composite": lambda part: (1 + math.cos(math.pi * part)) / 2,
}


def numbers(sizes: np.ndarray, schedule: str, epochs: int) -> np.ndarray:
    """Returns how many examples of each class each epoch draws, shape (epochs, classes).

    An epoch's numbers sum to the number of examples, and each is rounded, up or down.
    """
    exponent = checks.choose(KEY, schedule, EXPONENTS)
    powers = [[exponent(epoch / epochs)] for epoch in range(epochs)]
    shares = (sizes / sizes.max()) ** np.array(powers)
    wanted = np.cumsum(shares / shares.sum(axis=1, keepdims=True), axis=1) * sizes.sum()
    return np.diff(np.rint(wanted).astype(np.int32), axis=1, prepend=0)


def order_of(labels: np.ndarray, drawn: np.ndarray) -> Callable:
    """Returns a task's `order` that draws these numbers of each class, spread over an epoch.

    `labels` are from 0 and leave none out. Examples of a class come as often as each other, or once
    more: in turn, each time in the same random order.
    """
    sizes = np.bincount(labels).astype(np.int32)
    starts = np.cumsum(sizes, dtype=np.int32) - sizes

    def order(seed, epoch, size: int, batch_size: int):
        key = rng.key_for(seed, rng.ORDER, epoch)
        members = jnp.lexsort((rng.bits(key, (size,)), jnp.asarray(labels)))
        number = jnp.asarray(drawn)[epoch - 1]
        ends = jnp.cumsum(number)
        slots = jnp.arange(size, dtype=jnp.int32)
        own = jnp.searchsorted(ends, slots, side="right")
        turn = slots - (ends - number)[own]
        rows = members[jnp.asarray(starts)[own] + turn % jnp.asarray(sizes)[own]]
        # The i-th of m comes somewhere in the i-th of m equal parts of the epoch.
        random = rng.bits(jax.random.fold_in(key, 1), (size,)).astype(jnp.float32) / 2.0**32
        rows = rows[jnp.argsort((turn + random) / number[own])].astype(jnp.int32)
        rows = jnp.pad(rows, (0, -size % batch_size), constant_values=-1)
        return rows.reshape(-1, batch_size)

    return order


def at_most(drawn: np.ndarray, batch_size: int) -> np.ndarray:
    """Returns a bound of how many of each class a batch has, in any epoch.

    A part w of an epoch has between m w - 2 and m w + 2 of a class's m. As all classes together
    fill the batch, its w is at most (batch size + 2 classes) / examples.
    """
    part = (batch_size + 2 * drawn.shape[1]) / drawn[0].sum()
    return np.floor(drawn.max(axis=0) * part).astype(int) + 2


def sampled(config, dataset, problem: Problem) -> Problem:
    """Returns the problem with an order by class, if the config asks for one.

    Raises:
      ValueError: if it does not fit the data or the task.
    """
    own = section(config, "curriculum")
    schedule = own.get("classes", GIVEN)
    checks.choose(KEY, schedule, EXPONENTS)
    if schedule == GIVEN:
        return problem
    if problem.order is not shuffled:
        taken = "a curriculum by difficulty" if own.get("difficulty") else config.task
        raise ValueError(f"{KEY}: {taken} has an order of its own: expected {GIVEN}")
    labels = np.asarray(dataset.train.targets)
    if labels.ndim != 1 or labels.dtype.kind != "i" or labels.min() < 0:
        raise ValueError(f"{KEY}: {config.task} has no class for each example: expected {GIVEN}")
    classes, labels = np.unique(labels, return_inverse=True)
    sizes = np.bincount(labels)
    drawn = numbers(sizes, schedule, config.epochs)
    most = at_most(drawn, config.batch_size)
    # The same example must not be twice in a batch.
    few = np.flatnonzero((drawn.max(axis=0) > sizes) & (sizes < most))
    if len(few):
        said = f"class {classes[few[0]]} has {sizes[few[0]]} examples"
        need = f"a batch of {config.batch_size} may have {most[few[0]]} of it"
        raise ValueError(f"{KEY}: {said}, and {need}: choose a smaller config.batch_size")
    return problem._replace(order=order_of(labels, drawn))
