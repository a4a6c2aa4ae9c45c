"""What a run knows of each training example, and how well that tells the wrong labels."""

import io
import pathlib

import numpy as np

from experiments import workdir
from experiments.choices import within
from experiments.data import Dataset, Examples
from superloss_jax import memory

FILE = "samples.npz"


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
    if isinstance(loss_state, memory.LossMemoryState):
        total, visits = np.asarray(loss_state.total), np.asarray(loss_state.visits)
        found["mean_loss"] = (total / np.maximum(visits, 1))[index]
    return found


def suspicion(rows: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Scores that are higher where a label looks wrong, by name; the last is the method's own."""
    scores = {"loss": rows["loss"]}
    if np.isfinite(rows["weight"]).all():
        scores["weight"] = -rows["weight"]
    if "mean_loss" in rows:
        scores["mean_loss"] = rows["mean_loss"]
    return scores


def order(rows: dict[str, np.ndarray]) -> np.ndarray:
    """Positions, the most suspect first; of equal weights, the larger loss."""
    score = list(suspicion(rows).values())[-1]
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
    # A method without weights, or an example not seen yet, has nothing to rank.
    scores = suspicion(rows).items()
    finite = {name: score for name, score in scores if np.isfinite(score).all()}
    return {f"auroc_{name}": metrics.roc_auc_score(wrong, s) for name, s in finite.items()}


def detectors(rows: dict[str, np.ndarray]) -> dict[str, dict[str, float]]:
    """Of each score: AUROC, average precision, and precision at the true number of wrong labels."""
    from sklearn import metrics

    wrong = is_wrong(rows)
    if wrong is None:
        return {}
    found = {}
    for name, score in suspicion(rows).items():
        first = np.lexsort((rows["index"], -rows["loss"], -score))[: wrong.sum()]
        found[name] = {
            "auroc": metrics.roc_auc_score(wrong, score),
            "average_precision": metrics.average_precision_score(wrong, score),
            "precision_at_rate": wrong[first].mean(),
        }
    return found


def without_suspects(dataset: Dataset, run: str, rate: float) -> Dataset:
    """Leaves out the most suspect part of what another run was trained on.

    Raises:
      ValueError: if that run is not there, or was trained on other examples or labels.
    """
    within("config.data.exclude_rate", rate, 0, 0.99)
    try:
        rows = read(pathlib.Path(run).expanduser())
    except (OSError, ValueError, KeyError) as error:
        said = f"config.data.exclude: expected a finished run, got {run}: {error}"
        raise ValueError(said) from None
    train = dataset.train
    for name, own in (("index", train.indices), ("label", train.labels)):
        if not np.array_equal(rows[name], own):
            raise ValueError(f"config.data.exclude: {run} was trained on another {name} set")
    kept = np.sort(order(rows)[round(rate * len(rows["index"])) :])
    return dataset._replace(train=train.rows(kept))


def write(path: pathlib.Path, rows: dict[str, np.ndarray]) -> None:
    content = io.BytesIO()
    np.savez_compressed(content, **rows)  # type: ignore[arg-type]
    workdir.replace(path / FILE, content.getvalue())


def read(path: pathlib.Path) -> dict[str, np.ndarray]:
    with np.load(path / FILE, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}
