"""What a run knows of each training example, and how well that tells the wrong targets.

samples.npz has, of each example: index, target and clean_target where they are numbers, wrong (1,
or 0, or -1 where unknown), loss, weight, what else the task records, and mean_loss where the method
has it.
"""

import hashlib
import io
import pathlib

import jax
import numpy as np

from experiments.checks import within
from experiments.data import Examples
from experiments.runs import files
from superloss_jax import memory

Samples = dict[str, np.ndarray]


def collect(train: Examples, wrong: np.ndarray, seen, loss_state=()) -> Samples:
    """Of each training example, as the last epoch saw it; `seen` is the state's, by index.

    `mean_loss` is over the run, where the method records it.
    """
    index = train.index
    found = {"index": index, "wrong": wrong}
    for name in ("target", "clean_target"):  # those that are one number an example
        values = getattr(train, f"{name}s")
        if isinstance(values, np.ndarray) and values.ndim == 1:
            found[name] = values
    found |= {name: np.asarray(values)[index] for name, values in seen.items()}
    parts = jax.tree.leaves(loss_state, is_leaf=lambda x: isinstance(x, memory.LossMemoryState))
    for part in (part for part in parts if isinstance(part, memory.LossMemoryState)):
        total, visits = np.asarray(part.total), np.asarray(part.visits)
        found["mean_loss"] = (total / np.maximum(visits, 1))[index]
    return found


def suspicion(rows: Samples) -> Samples:
    """Scores that are higher where a target looks wrong, by name; the last is the method's own.

    Only those that every example has: a method may give no weights, and mixtures are no examples.
    """
    scores = {"loss": rows["loss"], "weight": -rows["weight"]}
    if "mean_loss" in rows:
        scores["mean_loss"] = rows["mean_loss"]
    return {name: score for name, score in scores.items() if np.isfinite(score).all()}


def order(rows: Samples) -> np.ndarray:
    """Positions, the most suspect first; of equal weights, the larger loss.

    Raises:
      ValueError: if the run has recorded no example.
    """
    if not (scores := suspicion(rows)):
        raise ValueError("no example was recorded: mixtures are not")
    return ranked(rows, [*scores.values()][-1])


def ranked(rows: Samples, score: np.ndarray) -> np.ndarray:
    """Positions, the highest score first; of equal ones, the larger loss."""
    return np.lexsort((rows["index"], -rows["loss"], -score))


def known_wrong(rows: Samples) -> np.ndarray | None:
    """Where targets are wrong; None where that is not known of all, or all are of one kind."""
    wrong = rows["wrong"] == 1
    return wrong if (rows["wrong"] >= 0).all() and 0 < wrong.sum() < len(wrong) else None


def areas(rows: Samples) -> dict[str, float]:
    """AUROC of each score as a detector of wrong targets; equal scores count half."""
    from sklearn import metrics

    wrong = known_wrong(rows)
    if wrong is None:
        return {}
    scores = suspicion(rows)
    return {f"auroc_{name}": metrics.roc_auc_score(wrong, s) for name, s in scores.items()}


def detectors(rows: Samples) -> dict[str, dict[str, float]]:
    """Of each score: AUROC, average precision, precision at the true number of wrong targets."""
    from sklearn import metrics

    wrong = known_wrong(rows)
    if wrong is None:
        return {}
    found = {}
    for name, score in suspicion(rows).items():
        first = ranked(rows, score)[: wrong.sum()]
        found[name] = {
            "auroc": metrics.roc_auc_score(wrong, score),
            "average_precision": metrics.average_precision_score(wrong, score),
            "precision_at_rate": float(wrong[first].mean()),
        }
    return found


def trusted(train: Examples, run: str, rate: float) -> np.ndarray:
    """Positions of the examples without the most suspect part by another run.

    Raises:
      ValueError: if that run is not there, or was trained on other examples or targets.
    """
    within("config.data.exclude_rate", rate, 1e-9, 0.99)
    try:
        rows = read_samples(pathlib.Path(run).expanduser())
        first = order(rows)
    except (OSError, ValueError, KeyError) as error:
        said = f"config.data.exclude: expected a finished run, got {run}: {error}"
        raise ValueError(said) from None
    for name, own in (("index", train.index), ("target", train.targets)):
        if name not in rows or not np.array_equal(rows[name], own):
            raise ValueError(f"config.data.exclude: {run} was trained on another {name} set")
    return np.sort(first[round(rate * len(first)) :])


def check_examples(path: pathlib.Path, train: Examples, resumed: bool) -> None:
    """Notes which examples a run is of, or raises ValueError if it went on with others.

    What is left out depends on another run, of which the config has only the name.
    """
    sha256 = hashlib.sha256(train.index.astype("<i4").tobytes()).hexdigest()
    file = path / "examples.sha256"
    if resumed and file.exists() and file.read_text() != sha256:
        raise ValueError(f"--workdir: {path} holds a run on other examples; config.data.exclude")
    files.replace(file, sha256.encode())


def write(path: pathlib.Path, rows: Samples) -> None:
    content = io.BytesIO()
    np.savez_compressed(content, **rows)  # type: ignore[arg-type]
    files.replace(path / files.SAMPLES, content.getvalue())


LOSSES = "losses"


def write_losses(path: pathlib.Path, epoch: int, rows: Samples) -> None:
    """A file an epoch, in the order of samples.npz: a run that goes on writes the same anew."""
    (path / LOSSES).mkdir(exist_ok=True)
    content = io.BytesIO()
    np.save(content, rows["loss"].astype(np.float32))
    files.replace(path / LOSSES / f"{epoch:04d}.npy", content.getvalue())


def read_losses(path: pathlib.Path, epochs: int) -> np.ndarray:
    """Of shape (epochs, examples); float32.

    Raises:
      ValueError: if the run has not kept them, or a file is torn.
    """
    try:
        return np.stack([np.load(path / LOSSES / f"{i:04d}.npy") for i in range(1, epochs + 1)])
    except OSError as error:
        raise ValueError(f"{path}: config.report.losses was not set: {error}") from None
    except (ValueError, EOFError) as error:
        raise ValueError(f"{path / LOSSES}: a file is torn: {error}") from None


def read_samples(path: pathlib.Path) -> Samples:
    """Of a run's directory.

    Raises:
      ValueError: if the file is torn.
    """
    with open(path / files.SAMPLES, "rb") as file:  # which NumPy would leave open if it is torn
        try:
            with np.load(file, allow_pickle=False) as rows:
                return {name: rows[name] for name in rows.files}
        except Exception as error:  # zipfile's, zlib's, NumPy's: damage has many names
            raise ValueError(f"{path / files.SAMPLES} is torn: {error}") from None
