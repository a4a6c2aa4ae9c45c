"""Which labels are wrong, and how many: confident learning, from out-of-fold probabilities.

After Curtis Northcutt, Lu Jiang and Isaac Chuang, "Confident Learning: Estimating Uncertainty in
Dataset Labels", Journal of Artificial Intelligence Research 70, 2021. There are N examples and C
classes; `labels` are integers of shape (N,), `probabilities` floats of shape (N, C).
"""

import numpy as np


def thresholds(
    labels: np.ndarray, probabilities: np.ndarray, trusted: np.ndarray | None = None
) -> np.ndarray:
    """The mean probability of each class among the examples that have its label; (C,).

    With a mask of trusted labels, the mean is over these; for a class without a trusted label, over
    all its examples. It is infinite for a class that no example has.
    """
    own = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    classes = probabilities.shape[1]
    if trusted is not None:
        has_trusted = np.bincount(labels[trusted], minlength=classes) > 0
        among = trusted | ~has_trusted[labels]
        labels, own = labels[among], own[among]
    counts = np.bincount(labels, minlength=classes)
    totals = np.bincount(labels, own, minlength=classes)
    return np.where(counts > 0, totals / np.maximum(counts, 1), np.inf)


def confident_joint(
    labels: np.ndarray, probabilities: np.ndarray, trusted: np.ndarray | None = None
) -> np.ndarray:
    """Counts the examples of each given label (row) that seem to be of each class (column).

    An example seems to be of the most probable one of the classes whose probability reaches their
    threshold; without such a class it does not count. int64 of shape (C, C).
    """
    # Equal up to rounding counts as reached: all may be equal, as those of a lookup table are.
    reached = probabilities >= thresholds(labels, probabilities, trusted) - 1e-6
    seeming = np.where(reached, probabilities, -1).argmax(axis=1)
    counts = np.zeros((probabilities.shape[1],) * 2, np.int64)
    counted = reached.any(axis=1)
    np.add.at(counts, (labels[counted], seeming[counted]), 1)
    return counts


def joint(
    labels: np.ndarray, probabilities: np.ndarray, trusted: np.ndarray | None = None
) -> np.ndarray:
    """Estimates the share of each pair of given label (row) and true class (column); sums to 1.

    The confident joint, its rows scaled to the number of examples of each given label.
    """
    counts = confident_joint(labels, probabilities, trusted)
    # The most certain example of a label reaches its threshold: a row without one has no example.
    given = np.bincount(labels, minlength=len(counts))
    scaled = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1) * given[:, None]
    return scaled / scaled.sum()


def number_wrong(
    labels: np.ndarray, probabilities: np.ndarray, trusted: np.ndarray | None = None
) -> int:
    """Estimates how many labels are wrong.

    Wrong labels lower the paper's thresholds, and then images that the model misreads pass them
    and count as wrong. Without the labels that seem wrong among the trusted ones, fewer do.
    """
    return round(len(labels) * (1 - np.trace(joint(labels, probabilities, trusted))))


def noise_matrix(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Estimates p(given label | true class), with rows of true classes that sum to 1; (C, C)."""
    of_true = joint(labels, probabilities).T
    total = of_true.sum(axis=1, keepdims=True)
    return np.where(total > 0, of_true / np.where(total > 0, total, 1), np.eye(len(of_true)))


TINY = 1e-30  # below any probability of float32's softmax but 0


def margins(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """The logarithm of how much more probable the best other class is than the given label; (N,).

    Above 0 another class is predicted: the larger, the more suspect.
    """
    rows = np.arange(len(labels))
    logs = np.log(np.maximum(probabilities.astype(np.float64), TINY))
    own = logs[rows, labels]
    logs[rows, labels] = -np.inf
    return logs.max(axis=1) - own
