"""Curricula that are known beforehand: in each epoch, the easier part of the training set.

How hard each example is comes from a file or from a finished run, a pacing function says what share
takes part in which epoch, and an epoch has as many steps as without. What an example's loss becomes
is the method's affair.

Jeffrey L. Elman, "Learning and development in neural networks: the importance of starting small",
Cognition 1993; Yoshua Bengio, Jerome Louradour, Ronan Collobert, Jason Weston, "Curriculum
Learning", ICML 2009; Guy Hacohen, Daphna Weinshall, "On The Power of Curriculum Learning in
Training Deep Networks", ICML 2019, has pacing functions and the transfer from a teacher.
"""

import csv
import pathlib
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np

from experiments import checks, rng
from experiments.keys import section
from experiments.runs import contents, files, samples
from experiments.runs.reading import json_object
from experiments.tasks.base import Problem, shuffled

KEY = "config.curriculum.difficulty"


def linear(progress: float, start: float, steps: int) -> float:
    return start + (1 - start) * progress


def root(progress: float, start: float, steps: int) -> float:
    """Grows more slowly the more take part, as each is then drawn less often (Platanios, 2019)."""
    return (start**2 + (1 - start**2) * progress) ** 0.5


def exponential(progress: float, start: float, steps: int) -> float:
    """Grows by the same factor `steps` times (Hacohen and Weinshall's fixed exponential pacing)."""
    return start ** (1 - np.floor(progress * steps) / steps)


def baby_steps(progress: float, start: float, steps: int) -> float:
    """Grows by as many examples `steps` times (Bengio; Spitkovsky)."""
    return linear(np.floor(progress * steps) / steps, start, steps)


def single_step(progress: float, start: float, steps: int) -> float:
    return 1.0 if progress >= 1 else start


PACINGS: dict[str, Callable[[float, float, int], float]] = {
    "linear": linear, "root": root, "exponential": exponential, "baby_steps": baby_steps,
    "single_step": single_step,
}  # fmt: skip


def is_asked(config) -> bool:
    return section(config, "curriculum").get("difficulty") is not None


def shares(own, epochs: int) -> np.ndarray:
    """Returns the share of the examples that takes part in each epoch; the last one is 1.

    Raises:
      ValueError: if a setting is out of range: some examples might never take part.
    """
    pacing = checks.choose("config.curriculum.pacing", own.pacing, PACINGS)
    checks.within("config.curriculum.start", own.start, 1e-9, 1)
    checks.within("config.curriculum.end", own.end, 1e-9, 1)
    steps = own.get("steps", 1)  # not every pacing reads it
    checks.integer("config.curriculum.steps", steps, 1, 100_000)
    checks.integer("config.epochs, for a curriculum,", epochs, 2, 100_000)
    last = min(int(np.ceil(own.end * epochs)), epochs - 1)  # epochs until all take part
    progress = [min(epoch / last, 1.0) for epoch in range(epochs)]
    return np.array([min(1.0, pacing(one, own.start, steps)) for one in progress])


def entries(difficulty: np.ndarray, share: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Returns the epoch, from 1, in which each example first takes part.

    In epoch e these are the ceil(share[e - 1] n) easiest of the n in each group; ties go by index.
    """
    found = np.empty(len(difficulty), np.int32)
    for group in np.unique(groups):
        members = np.flatnonzero(groups == group)
        easiest = members[np.argsort(difficulty[members], kind="stable")]
        counts = np.ceil(share * len(members) - 1e-9)
        found[easiest] = 1 + np.searchsorted(counts, np.arange(len(members)), side="right")
    return found


def order_of(entry: np.ndarray) -> Callable:
    """Returns a task's `order`: those that take part, as often as each other, or once more.

    Where all do, it is `shuffled`.
    """

    def order(seed, epoch, size: int, batch_size: int):
        bits = rng.bits(rng.key_for(seed, rng.ORDER, epoch), (size,))
        outside = entry > epoch
        inside_first = jnp.lexsort((bits, outside)).astype(jnp.int32)
        number = size - jnp.sum(outside)
        rows = inside_first[jnp.arange(size) % number]
        rows = jnp.pad(rows, (0, -size % batch_size), constant_values=-1)
        return rows.reshape(-1, batch_size)

    return order


def paced(config, dataset, problem: Problem) -> Problem:
    """Returns the problem with the curriculum's order, if the config asks for one.

    Raises:
      ValueError: if it does not fit the data or the task.
    """
    if not is_asked(config):
        return problem
    own = config.curriculum
    if problem.order is not shuffled:
        raise ValueError(f"{KEY}: {config.task} draws batches of its own: expected none")
    share = shares(own, config.epochs)
    hard = difficulties(contents.difficulty(config), dataset, config.data.name)
    hard = -hard if own.hardest_first else hard
    groups = np.zeros(len(hard), np.int32)
    if own.balanced:
        groups = np.asarray(dataset.train.targets)
        if groups.ndim != 1 or groups.dtype.kind != "i":
            raise ValueError(f"config.curriculum.balanced: {config.task} has no classes: use False")
    return problem._replace(order=order_of(entries(hard, share, groups)))


def difficulties(path: pathlib.Path, dataset, name: str) -> np.ndarray:
    """Returns how hard each training example is: mean losses of a run, or numbers of a CSV file."""
    train, held_out = dataset.train.index, dataset.validation.index
    try:
        index, values = _of_run(path, name) if path.is_dir() else _of_file(path)
    except OSError as error:
        raise ValueError(f"{KEY}: {path}: {error.strerror}") from None
    known = dict(zip(index.tolist(), values.tolist(), strict=True))
    lacking = [at for at in train.tolist() if at not in known]
    if lacking:
        said = f"expected all {len(train)} training examples, got none for {len(lacking)} of them"
        raise ValueError(f"{KEY}: {path}: {said}; the first is {lacking[0]}")
    last = max([*train.tolist(), *held_out.tolist()])
    if max(known) > last and len(train) + len(held_out) == last + 1:  # nobody was left out
        raise ValueError(f"{KEY}: {path}: expected indices up to {last}, got {max(known)}")
    return np.array([known[at] for at in train.tolist()])


def _of_run(path: pathlib.Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    rows = samples.read_samples(path)
    theirs = json_object(path / files.CONFIG).get("data", {}).get("name")
    if theirs != name:
        raise ValueError(f"{KEY}: {path} was trained on {theirs}: expected {name}")
    if not np.isfinite(rows["mean_loss"]).all():
        raise ValueError(f"{KEY}: {path} has not recorded the losses of all its examples")
    return rows["index"], rows["mean_loss"]


def _of_file(path: pathlib.Path) -> tuple[np.ndarray, np.ndarray]:
    """Reads the columns `index` and `difficulty`."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as text:
            rows = [(int(row["index"]), float(row["difficulty"])) for row in csv.DictReader(text)]
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        said = "expected CSV with the columns index and difficulty, numbers in each line"
        raise ValueError(f"{KEY}: {path}: {said}: {error}") from None
    index, values = np.array(rows, np.float64).reshape(-1, 2).T
    if not np.isfinite(values).all() or len(np.unique(index)) < len(index):
        raise ValueError(f"{KEY}: {path}: expected a finite number for each index, once")
    return index.astype(np.int64), values
