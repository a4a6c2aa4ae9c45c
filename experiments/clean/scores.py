"""How suspect each label is, and which ones are suspects."""

from typing import NamedTuple

import numpy as np
from sklearn import metrics

from experiments.clean import confident
from experiments.clean.folds import OutOfFold
from experiments.data.base import is_known, is_wrong


class Found(NamedTuple):
    """What was found in N labels."""

    order: np.ndarray  # (N,), positions, the most suspect first
    suspected: np.ndarray  # (N,), bool
    suggested: np.ndarray  # (N,), the most probable class
    scores: dict[str, np.ndarray]  # (N,), by name: higher is more suspect
    number_wrong: int  # an estimate


def found(out: OutOfFold) -> Found:
    """Ranks labels; the first ones, as many as seem to be wrong, are suspects.

    The suspicion is the margin by the model that has not seen the example, plus the mean loss of
    those that have, if they recorded it: both are logarithms of probabilities. A label that the
    first model predicts is no suspect, however many seem to be wrong.
    """
    labels, probabilities = out.labels, out.probabilities
    own = probabilities[np.arange(len(labels)), labels]
    margin = confident.margins(labels, probabilities)
    scores = {"suspicion": margin + out.in_sample.get("loss", 0.0), "margin": margin}
    scores |= {"loss": -np.log(np.maximum(own, confident.TINY))}
    scores |= {f"in_sample_{name}": score for name, score in out.in_sample.items()}
    order = np.lexsort((out.index, -scores["suspicion"]))
    number = confident.number_wrong(labels, probabilities)
    suspected = np.zeros(len(labels), bool)
    suspected[order[:number]] = True
    suspected &= margin > 0
    return Found(order, suspected, probabilities.argmax(axis=1), scores, number)


def known_wrong(out: OutOfFold) -> np.ndarray | None:
    """A mask of the wrong labels; None if it is not known of all, or there is none."""
    wrong = is_wrong(out.labels, out.clean_labels)
    known = is_known(out.labels, out.clean_labels).all()
    return wrong if known and wrong.any() and not wrong.all() else None


def measured(one: Found, wrong: np.ndarray) -> dict[str, dict[str, float]]:
    """How well each score finds wrong labels, where these are known."""
    numbers = {}
    for name, score in one.scores.items():
        first = np.argsort(-score, kind="stable")
        numbers[name] = {
            "auroc": metrics.roc_auc_score(wrong, score),
            "average_precision": metrics.average_precision_score(wrong, score),
            "precision_at_100": wrong[first[:100]].mean(),
            "precision_at_1000": wrong[first[:1000]].mean(),
            "precision_at_number": wrong[first[: wrong.sum()]].mean(),
        }
    return numbers
