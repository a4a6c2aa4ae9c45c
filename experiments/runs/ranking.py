"""How well a score ranks what is wrong before what is right: AUROC and average precision.

scikit-learn has both, but importing it takes as long as training on a small data set, and every
run asks for them after each epoch. The tests compare.
"""

import numpy as np


def cut_offs(wrong: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns how many wrong and how many right ones are above each value of the score, and 0."""
    order = np.argsort(-score, kind="stable")
    last = np.append(np.diff(score[order]) != 0, True)  # of equal scores
    hits = np.cumsum(wrong[order])[last]
    misses = np.flatnonzero(last) + 1 - hits
    return np.append(0, hits), np.append(0, misses)


def auroc(wrong: np.ndarray, score: np.ndarray) -> float:
    """Returns the probability that a wrong one has the higher score; ties count half."""
    hits, misses = cut_offs(wrong, score)
    return float(np.trapezoid(hits, misses) / (hits[-1] * misses[-1]))


def average_precision(wrong: np.ndarray, score: np.ndarray) -> float:
    """Returns the mean precision at the cut-offs that just take in each wrong one."""
    hits, misses = cut_offs(wrong, score)
    precision = hits[1:] / (hits[1:] + misses[1:])
    return float(np.sum(np.diff(hits) * precision) / hits[-1])
