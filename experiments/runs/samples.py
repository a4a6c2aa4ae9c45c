"""What a run knows of each training example, and how well that tells the wrong labels."""

import hashlib
import io
import pathlib

import jax
import numpy as np

from experiments.checks import within
from experiments.data import Dataset, Examples
from experiments.runs import files
from superloss_jax import memory


def samples(train: Examples, seen, loss_state=()) -> dict[str, np.ndarray]:
    """Of each training example, as the last epoch saw it; `seen` is the state's, by index.

    `mean_loss` is over the run, where the method records it.
    """
    index = train.indices
    found = {
        "index": index,
        "label": train.labels,
        "clean_label": train.clean_labels,
        "predicted": np.asarray(seen.predicted)[index],
        "loss": np.asarray(seen.losses)[index],
        "weight": np.asarray(seen.weights)[index],
    }
    parts = jax.tree.leaves(loss_state, is_leaf=lambda x: isinstance(x, memory.LossMemoryState))
    for part in (part for part in parts if isinstance(part, memory.LossMemoryState)):
        total, visits = np.asarray(part.total), np.asarray(part.visits)
        found["mean_loss"] = (total / np.maximum(visits, 1))[index]
    return found


def suspicion(rows: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Scores that are higher where a label looks wrong, by name; the last is the method's own.

    Only those that every example has: a method may give no weights, and mixtures are no examples.
    """
    scores = {"loss": rows["loss"], "weight": -rows["weight"]}
    if "mean_loss" in rows:
        scores["mean_loss"] = rows["mean_loss"]
    return {name: score for name, score in scores.items() if np.isfinite(score).all()}


def order(rows: dict[str, np.ndarray]) -> np.ndarray:
    """Positions, the most suspect first; of equal weights, the larger loss.

    Raises:
      ValueError: if the run has recorded no example.
    """
    if not (scores := suspicion(rows)):
        raise ValueError("no example was recorded: mixtures are not")
    return ranked(rows, [*scores.values()][-1])


def ranked(rows: dict[str, np.ndarray], score: np.ndarray) -> np.ndarray:
    """Positions, the highest score first; of equal ones, the larger loss."""
    return np.lexsort((rows["index"], -rows["loss"], -score))


def is_wrong(rows: dict[str, np.ndarray]) -> np.ndarray | None:
    """Where labels are wrong; None where clean ones are not known, or all are of one kind."""
    known = rows["clean_label"] >= 0
    wrong = known & (rows["clean_label"] != rows["label"])
    return wrong if known.all() and 0 < wrong.sum() < len(wrong) else None


def areas(rows: dict[str, np.ndarray]) -> dict[str, float]:
    """AUROC of each score as a detector of wrong labels; equal scores count half."""
    from sklearn import metrics

    wrong = is_wrong(rows)
    if wrong is None:
        return {}
    scores = suspicion(rows)
    return {f"auroc_{name}": metrics.roc_auc_score(wrong, s) for name, s in scores.items()}


def memorised(rows: dict[str, np.ndarray]) -> dict[str, float]:
    """What is predicted of wrongly labelled examples: the given label, the true one, another.

    Shares of those that were seen, NaN where none was; nothing where no label is known as wrong.
    """
    known = rows["clean_label"] >= 0
    wrong = known & (rows["clean_label"] != rows["label"])
    if not wrong.any():
        return {}
    seen = wrong & (rows["predicted"] >= 0)
    predicted, given, true = (rows[name][seen] for name in ("predicted", "label", "clean_label"))
    count = seen.sum() or np.nan
    given_share, true_share = (predicted == given).sum() / count, (predicted == true).sum() / count
    return {
        "wrong_memorised": float(given_share),
        "wrong_correct": float(true_share),
        "wrong_other": float(((predicted != given) & (predicted != true)).sum() / count),
    }


def detectors(rows: dict[str, np.ndarray]) -> dict[str, dict[str, float]]:
    """Of each score: AUROC, average precision, and precision at the true number of wrong labels."""
    from sklearn import metrics

    wrong = is_wrong(rows)
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


def without_suspects(dataset: Dataset, run: str, rate: float) -> Dataset:
    """Leaves out the most suspect part of what another run was trained on.

    Raises:
      ValueError: if that run is not there, or was trained on other examples or labels.
    """
    within("config.data.exclude_rate", rate, 1e-9, 0.99)
    try:
        rows = read(pathlib.Path(run).expanduser())
        first = order(rows)
    except (OSError, ValueError, KeyError) as error:
        said = f"config.data.exclude: expected a finished run, got {run}: {error}"
        raise ValueError(said) from None
    train = dataset.train
    for name, own in (("index", train.indices), ("label", train.labels)):
        if not np.array_equal(rows[name], own):
            raise ValueError(f"config.data.exclude: {run} was trained on another {name} set")
    kept = np.sort(first[round(rate * len(first)) :])
    return dataset._replace(train=train.rows(kept))


def check_examples(path: pathlib.Path, train: Examples, resumed: bool) -> None:
    """Notes which examples a run is of, or raises ValueError if it went on with others.

    What is left out depends on another run, of which the config has only the name.
    """
    sha256 = hashlib.sha256(train.indices.astype("<i4").tobytes()).hexdigest()
    file = path / "examples.sha256"
    if resumed and file.exists() and file.read_text() != sha256:
        raise ValueError(f"--workdir: {path} holds a run on other examples; config.data.exclude")
    files.replace(file, sha256.encode())


def write(path: pathlib.Path, rows: dict[str, np.ndarray]) -> None:
    content = io.BytesIO()
    np.savez_compressed(content, **rows)  # type: ignore[arg-type]
    files.replace(path / files.SAMPLES, content.getvalue())


LOSSES = "losses"


def write_losses(path: pathlib.Path, epoch: int, rows: dict[str, np.ndarray]) -> None:
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


def read(path: pathlib.Path) -> dict[str, np.ndarray]:
    """Of a run's directory.

    Raises:
      ValueError: if the file is torn.
    """
    try:
        # Opened here: NumPy leaves a torn archive open.
        with open(path / files.SAMPLES, "rb") as file, np.load(file, allow_pickle=False) as rows:
            return {name: rows[name] for name in rows.files}
    except OSError:
        raise
    except Exception as error:  # zipfile's, zlib's, NumPy's: damage has many names
        raise ValueError(f"{path / files.SAMPLES} is torn: {error}") from None
