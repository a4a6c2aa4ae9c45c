"""How suspect each label is, and which ones are suspects."""

from typing import NamedTuple

import numpy as np

from experiments.clean import confident
from experiments.clean.folds import OutOfFold
from experiments.data.base import is_known, is_wrong
from experiments.runs import ranking, samples


class Found(NamedTuple):
    """What was found in N labels."""

    order: np.ndarray  # (N,), positions, the most suspect first
    suspected: np.ndarray  # (N,), bool
    suggested: np.ndarray  # (N,), the most probable class
    scores: dict[str, np.ndarray]  # (N,), by name: higher is more suspect
    number_wrong: int  # an estimate


def found(out: OutOfFold) -> Found:
    """Ranks labels; the first ones, as many as seem to be wrong, are suspects.

    The suspicion is a sum of two logarithms of probabilities. One is the margin by the model that
    has not seen the example. The other is the mean loss of the models that have seen it, if they
    recorded losses. A label that the first model predicts is no suspect, however many seem wrong.
    How many do is estimated twice; the second time the first suspects set no threshold.
    """
    labels, probabilities = out.labels, out.probabilities
    own = probabilities[np.arange(len(labels)), labels]
    margin = confident.margins(labels, probabilities)
    scores = {"suspicion": margin + out.in_sample.get("loss", 0.0), "margin": margin}
    scores |= {"loss": -np.log(np.maximum(own, confident.TINY))}
    scores |= {f"in_sample_{name}": score for name, score in out.in_sample.items()}
    order = np.lexsort((out.index, -scores["suspicion"]))
    trusted = np.ones(len(labels), bool)
    trusted[order[: confident.number_wrong(labels, probabilities)]] = False
    number = confident.number_wrong(labels, probabilities, trusted)
    suspected = np.zeros(len(labels), bool)
    suspected[order[:number]] = True
    suspected &= margin > 0
    return Found(order, suspected, probabilities.argmax(axis=1), scores, number)


def known_wrong(out: OutOfFold) -> np.ndarray | None:
    """A mask of the wrong labels; None if it is not known of all, or there is none."""
    labels, clean = out.labels, out.clean_labels
    codes = np.where(is_known(labels, clean), is_wrong(labels, clean), -1)
    return samples.known_wrong({"wrong": codes})


def masks(mask: np.ndarray, wrong: np.ndarray) -> dict[str, float]:
    """How many are suspected, and how many of these are wrong, of all wrong ones."""
    hits, number = int((mask & wrong).sum()), int(mask.sum())
    return {
        "suspected": number,
        "precision": hits / max(number, 1),
        "recall": hits / int(wrong.sum()),
    }


def measured(score: np.ndarray, wrong: np.ndarray) -> dict[str, float]:
    """How well a score, higher where more suspect, ranks wrong labels first."""
    first = np.argsort(-score, kind="stable")
    parts = {"100": 100, "1000": 1000, "number": int(wrong.sum())}
    return {
        "auroc": ranking.auroc(wrong, score),
        "average_precision": ranking.average_precision(wrong, score),
    } | {f"precision_at_{name}": float(wrong[first[:n]].mean()) for name, n in parts.items()}
