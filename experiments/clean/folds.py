"""Trains a model for each fold, and collects what each says of the examples it has not seen."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments import data
from experiments.data import Dataset
from experiments.progress import console
from experiments.runs import files, identity, samples
from experiments.sweep.points import Point, points_of


class OutOfFold(NamedTuple):
    """N examples with a label, in the order of the data set; C classes."""

    index: Any  # (N,), positions in the training set; typed Any because of `tuple.index`
    labels: np.ndarray  # (N,), as given
    clean_labels: np.ndarray  # (N,), -1 where unknown
    probabilities: np.ndarray  # (N, C), by the model that was trained without the example
    in_sample: dict[str, np.ndarray]  # (N,), by name: means over the models trained with it


def points(number: int, file: str, config, given: dict[str, Any], root, data_dir) -> list[Point]:
    """A run for each fold.

    Raises:
      ValueError: if the config is of another task, or of several seeds at once.
    """
    if config.get("task", "classification") != "classification":
        raise ValueError(f"config.task: expected classification, got {config.task!r}")
    if config.get("vmap_seeds", 1) != 1:
        raise ValueError("config.vmap_seeds: expected 1, one model a fold")
    given = given | {"data.validation": 0, "data.validation_share": 0.0, "data.folds": number}
    swept = [{"data.fold": i} for i in range(number)]
    return points_of(swept, file, config, given, root, data_dir)


def whole(config, data_dir: str | None) -> Dataset:
    """Reads the data set with nothing held out, and says what it is."""
    import jax

    jax.config.update("jax_platforms", "cpu")  # an accelerator is for the folds' own processes
    part = identity.read_part(config)
    with part.unlocked():
        part.data.update(validation=0, validation_share=0.0)
    dataset = data.build(part.data, part.noise, data_dir)
    for line in data.described(dataset, part.noise):
        console.print(line)
    return dataset


def collected(folds: Sequence[Point], dataset: Dataset) -> OutOfFold:
    """Reads the runs of all folds.

    Raises:
      ValueError: if they do not have each example once: of another data set, say.
    """
    train = dataset.train
    rows = np.flatnonzero(train.targets >= 0)
    known = np.full(int(train.index.max()) + 1, -1)
    known[train.index[rows]] = np.arange(len(rows))
    probabilities = np.full((len(rows), len(dataset.class_names)), np.nan)
    totals: dict[str, np.ndarray] = {}
    for fold in folds:
        held_out = samples.read_arrays(fold.path / files.HELD_OUT)
        # Of the same epoch. Of what has no label, nothing is recorded.
        seen = samples.with_target(samples.read_samples(fold.path, files.BEST))
        at, others = (placed(known, one["index"]) for one in (held_out, seen))
        if (np.concatenate([at, others]) < 0).any() or not np.isnan(probabilities[at]).all():
            raise ValueError(f"{fold.path}: not a fold of this data set: choose another --workdir")
        probabilities[at] = held_out["probabilities"]
        for name, score in samples.suspicion(seen).items():
            total = totals.setdefault(name, np.zeros(len(rows)))
            total[others] += score / (len(folds) - 1)
    if np.isnan(probabilities).any():
        raise ValueError(f"{folds[0].path.parent}: folds of another data set: choose --workdir")
    labels, clean = train.targets[rows], train.clean_targets[rows]
    return OutOfFold(train.index[rows], labels, clean, probabilities, totals)


def placed(known: np.ndarray, index: np.ndarray) -> np.ndarray:
    """The places of examples by their index; -1 where there is none."""
    inside = index < len(known)
    return np.where(inside, known[np.where(inside, index, 0)], -1)
