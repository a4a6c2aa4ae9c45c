"""Per-example records of a run, and how well they detect wrong targets.

samples.npz has a row per training example: index; target and clean_target if they are numbers;
wrong (1 or 0, -1 if unknown, -2 without a target); loss; weight; what else the task records;
mean_loss, over all epochs so far; and mean_probability, of the target, where the method averages
predictions. It is of the last epoch, best.npz of the best validation epoch.
"""

import hashlib
import io
import pathlib
from typing import Any

import jax
import numpy as np

from experiments import checks
from experiments.checks import within
from experiments.data import Examples
from experiments.runs import files, ranking
from superloss_jax import memory

Samples = dict[str, np.ndarray]
NO_TARGET = -2


def collect(train: Examples, wrong: np.ndarray, seen, past, loss_state=()) -> Samples:
    """Collects the records of all training examples, from their last visit.

    `seen` and `past` are indexed by example. `mean_loss` is the mean over the epochs so far, or
    the method's own if it records one.
    """
    index = train.index
    found = {"index": index, "wrong": wrong}
    for name in ("target", "clean_target"):  # kept if they are one number per example
        values = getattr(train, f"{name}s")
        if isinstance(values, np.ndarray) and values.ndim == 1:
            found[name] = values
    found |= {name: np.asarray(values)[index] for name, values in seen.items()}
    with np.errstate(invalid="ignore"):  # NaN without an epoch, as where mixtures are trained on
        found["mean_loss"] = (np.asarray(past.total) / np.asarray(past.epochs))[index]
    for part in states_of(loss_state, memory.LossMemoryState):
        # With several kinds of units, there is a first axis of kinds.
        total, visits = (np.sum(np.atleast_2d(one), axis=0) for one in (part.total, part.visits))
        found["mean_loss"] = (total / np.maximum(visits, 1))[index]
    return found | mean_probability(train, loss_state)


def mean_probability(train: Examples, loss_state) -> Samples:
    """Returns the probability of each target in the method's moving average of predictions.

    It is empty for a method without one, and NaN for what has no target or has not been visited.
    """
    averages = [one.targets for one in states_of(loss_state, memory.EarlyLearningState)]
    averages += [one.predictions for one in states_of(loss_state, memory.SelfFilterState)]
    if not averages:
        return {}
    averaged = np.asarray(averages[-1], np.float64)
    rows = averaged.reshape(-1, *averaged.shape[-2:]).sum(axis=0)[train.index]  # over kinds
    own = rows[np.arange(len(rows)), np.maximum(train.targets, 0)]
    with np.errstate(invalid="ignore"):
        shares = own / rows.sum(axis=1)  # the average was started at 0
    return {"mean_probability": np.where(train.targets >= 0, shares, np.nan)}


def of_objects(rows: Samples) -> Samples:
    """Returns a row for each object with a loss, from arrays of shape (examples, objects).

    `object` is its number in its example. An object that smaller ones cover has no loss.
    """
    there = (rows["target"] >= 0) & np.isfinite(rows["loss"])
    example, number = np.nonzero(there)
    found = {name: values[there] for name, values in rows.items() if values.ndim == 2}
    return {"index": rows["index"][example], "object": number.astype(np.int32)} | found


def states_of(loss_state, kind: type) -> list[Any]:
    """Returns the states of one kind in a method's state: a chain has several."""
    leaves = jax.tree.leaves(loss_state, is_leaf=lambda one: isinstance(one, kind))
    return [one for one in leaves if isinstance(one, kind)]


def suspicion(rows: Samples) -> Samples:
    """Returns scores by name, higher where a target looks wrong; the best of them is last.

    A score is left out if it is not finite for every example: some methods have no weights, and
    nothing is recorded for mixtures.
    """
    scores = {"loss": rows["loss"], "weight": -rows["weight"]}
    if "mean_probability" in rows:
        scores["mean_probability"] = -rows["mean_probability"]
    if "mean_loss" in rows:  # older runs lack it
        scores["mean_loss"] = rows["mean_loss"]
    return {name: score for name, score in scores.items() if np.isfinite(score).all()}


def with_target(rows: Samples) -> Samples:
    """Returns the examples that have a target."""
    kept = rows["wrong"] != NO_TARGET
    return rows if kept.all() else {name: values[kept] for name, values in rows.items()}


def order(rows: Samples, score: str | None = None) -> np.ndarray:
    """Returns positions of targets, the most suspect first; ties go to the larger loss.

    Without a `score` it is the last in `suspicion`: the mean loss, which found most on digits.

    Raises:
      ValueError: if the run has not recorded all of them, or no such score.
    """
    places = np.flatnonzero(rows["wrong"] != NO_TARGET)
    rows = with_target(rows)
    if not (scores := suspicion(rows)):
        lacking = int(np.sum(~np.isfinite(rows["loss"])))
        said = f"no loss of {lacking} of {len(rows['loss'])} examples was recorded"
        raise ValueError(f"{said}: mixtures have none, nor what was in no batch yet")
    name = [*scores][-1] if score is None else score
    return places[ranked(rows, checks.choose("--score, of what the run has kept,", name, scores))]


def ranked(rows: Samples, score: np.ndarray) -> np.ndarray:
    """Returns positions, the highest score first; ties go to the larger loss."""
    return np.lexsort((rows["index"], -rows["loss"], -score))


def known_wrong(rows: Samples) -> np.ndarray | None:
    """Returns a mask of wrong targets; None if it is not known of some, or all are, or none is."""
    wrong, right = rows["wrong"] == 1, rows["wrong"] == 0
    return wrong if wrong.any() and right.any() and (rows["wrong"] != -1).all() else None


def areas(rows: Samples) -> dict[str, float]:
    """Returns the AUROC of each score as a detector of wrong targets; ties count half."""
    rows = with_target(rows)
    wrong = known_wrong(rows)
    if wrong is None:
        return {}
    scores = suspicion(rows)
    return {f"auroc_{name}": ranking.auroc(wrong, s) for name, s in scores.items()}


FIRST = 100


def detectors(rows: Samples) -> dict[str, dict[str, float]]:
    """Returns how well each score detects wrong targets.

    It is AUROC, average precision, and the precision of as many as are wrong and of the FIRST.
    """
    rows = with_target(rows)
    wrong = known_wrong(rows)
    if wrong is None:
        return {}
    found = {}
    for name, score in suspicion(rows).items():
        first = ranked(rows, score)
        found[name] = {
            "auroc": ranking.auroc(wrong, score),
            "average_precision": ranking.average_precision(wrong, score),
            "precision_at_rate": float(wrong[first[: wrong.sum()]].mean()),
            f"precision_at_{FIRST}": float(wrong[first[:FIRST]].mean()),
        }
    return found


def trusted(train: Examples, run: str, rate: float) -> np.ndarray:
    """Returns the positions left after removing the share `rate` that another run suspects most.

    Raises:
      ValueError: if that run does not exist, or was trained on other examples or targets.
    """
    within("config.data.exclude_rate", rate, 1e-9, 0.99)
    path = checks.path("config.data.exclude", run)
    try:
        rows = read_samples(path)
        first = order(rows)
    except (OSError, ValueError, KeyError) as error:
        said = f"config.data.exclude: expected a finished run, got {run}: {error}"
        raise ValueError(said) from None
    for name, own in (("index", train.index), ("target", train.targets)):
        if name not in rows or not np.array_equal(rows[name], own):
            raise ValueError(f"config.data.exclude: {run} was trained on another {name} set")
    return np.setdiff1d(np.arange(len(train.index)), first[: round(rate * len(first))])


def check_examples(path: pathlib.Path, train: Examples, resumed: bool) -> None:
    """Records a hash of the run's examples; raises ValueError if a resumed run has other examples.

    The examples depend on another run, and the config contains only the name of that run.
    """
    sha256 = hashlib.sha256(train.index.astype("<i4").tobytes()).hexdigest()
    file = path / "examples.sha256"
    if resumed and file.exists() and file.read_bytes() != sha256.encode():
        raise ValueError(f"--workdir: {path} holds a run on other examples; config.data.exclude")
    files.replace(file, sha256.encode())


def write(path: pathlib.Path, rows: Samples, name: str = files.SAMPLES) -> None:
    content = io.BytesIO()
    np.savez_compressed(content, **rows)  # type: ignore[arg-type]  # a name might be allow_pickle, says NumPy's stub
    files.replace(path / name, content.getvalue())


LOSSES = "losses"


def write_losses(path: pathlib.Path, epoch: int, rows: Samples) -> None:
    """Writes a file per epoch, in the order of samples.npz; a resumed run overwrites its files."""
    (path / LOSSES).mkdir(exist_ok=True)
    content = io.BytesIO()
    np.save(content, rows["loss"].astype(np.float32))
    files.replace(path / LOSSES / f"{epoch:04d}.npy", content.getvalue())


def read_losses(path: pathlib.Path, epochs: int) -> np.ndarray:
    """Reads the losses of all epochs, float32 of shape (epochs, examples).

    Raises:
      ValueError: if the run did not keep them, or a file is damaged.
    """
    try:
        return np.stack([np.load(path / LOSSES / f"{i:04d}.npy") for i in range(1, epochs + 1)])
    except OSError as error:
        raise ValueError(f"{path}: config.report.losses was not set: {error}") from None
    except (ValueError, EOFError) as error:
        raise ValueError(f"{path / LOSSES}: a file is torn: {error}") from None


def read_samples(path: pathlib.Path, name: str = files.SAMPLES) -> Samples:
    """Reads samples.npz, or the file of another epoch, in a run's directory.

    Raises:
      ValueError: if the file is damaged.
    """
    found = read_arrays(path / name)
    if "wrong" not in found:
        raise ValueError(f"{path / name} is of an older version, which cannot be read")
    return found


def read_arrays(path: pathlib.Path) -> Samples:
    """Reads an npz file of a run.

    Raises:
      ValueError: if it is damaged.
    """
    with open(path, "rb") as file:  # NumPy would leave a damaged file open
        try:
            with np.load(file, allow_pickle=False) as rows:
                return {name: rows[name] for name in rows.files}
        except Exception as error:  # zipfile, zlib and NumPy raise many types
            raise ValueError(f"{path} is torn: {error}") from None
