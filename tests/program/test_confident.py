"""Confident learning, against plain loops after the paper, and by hand."""

import numpy as np
import pytest

from experiments.clean import confident, folds, scores


def drawn(seed=0, number=400, classes=4, rate=0.3):
    """Labels, some wrong, probabilities that favour the true class, and the truth."""
    rng = np.random.default_rng(seed)
    true = rng.integers(0, classes, number)
    wrong = rng.random(number) < rate
    labels = np.where(wrong, (true + rng.integers(1, classes, number)) % classes, true)
    logits = rng.normal(size=(number, classes))
    logits[np.arange(number), true] += 3
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return labels, probabilities, true


def by_loops(labels, probabilities):
    """The thresholds and counts of the paper's equations 1 and 2."""
    classes = probabilities.shape[1]
    limits = [
        np.mean([p[j] for y, p in zip(labels, probabilities, strict=True) if y == j])
        for j in range(classes)
    ]
    counts = np.zeros((classes, classes), int)
    for y, p in zip(labels, probabilities, strict=True):
        reached = [j for j in range(classes) if p[j] >= limits[j]]
        if reached:
            counts[y, max(reached, key=lambda j: p[j])] += 1
    return limits, counts


@pytest.mark.parametrize("seed", range(3))
def test_as_the_paper_says(seed):
    labels, probabilities, true = drawn(seed)
    limits, counts = by_loops(labels, probabilities)
    np.testing.assert_allclose(confident.thresholds(labels, probabilities), limits)
    np.testing.assert_array_equal(confident.confident_joint(labels, probabilities), counts)
    shares = np.zeros_like(counts, float)
    for i, row in enumerate(counts):
        for j, count in enumerate(row):
            shares[i, j] = count / row.sum() * np.sum(labels == i)
    shares /= shares.sum()
    np.testing.assert_allclose(confident.joint(labels, probabilities), shares)
    number = confident.number_wrong(labels, probabilities)
    assert number == round(len(labels) * (1 - shares.trace()))
    assert abs(number - np.sum(labels != true)) < 0.1 * len(labels)
    matrix = confident.noise_matrix(labels, probabilities)
    np.testing.assert_allclose(matrix, (shares / shares.sum(axis=0)).T)


def test_by_hand():
    labels = np.array([0, 0, 0, 1, 1])
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.3, 0.7], [0.2, 0.8], [0.2, 0.8]])
    np.testing.assert_allclose(confident.thresholds(labels, probabilities), [0.7, 0.8])
    # The third reaches neither threshold, and does not count.
    counts = confident.confident_joint(labels, probabilities)
    np.testing.assert_array_equal(counts, [[2, 0], [0, 2]])
    np.testing.assert_allclose(confident.joint(labels, probabilities), [[0.6, 0], [0, 0.4]])
    assert confident.number_wrong(labels, probabilities) == 0
    found = confident.margins(labels, probabilities)
    np.testing.assert_allclose(found, np.log([1 / 9, 1 / 9, 7 / 3, 1 / 4, 1 / 4]))
    assert confident.margins(np.array([0]), np.array([[0.0, 1.0]])) > 60


def test_of_classes_above_their_threshold_the_most_probable_counts():
    """Not the most probable of all, which is not above its own: class 0, of the last example."""
    labels = np.array([0, 1, 2, 1])
    probabilities = np.array([[0.8, 0.1, 0.1], [0.1, 0.3, 0.6], [0.3, 0.4, 0.3], [0.4, 0.3, 0.3]])
    counts = confident.confident_joint(labels, probabilities)
    np.testing.assert_array_equal(counts, [[1, 0, 0], [0, 1, 1], [0, 1, 0]])


def test_a_class_without_an_example():
    labels, probabilities, _ = drawn()
    wide = np.c_[probabilities, np.zeros(len(labels))]
    assert confident.thresholds(labels, wide)[4] == np.inf
    np.testing.assert_allclose(
        confident.noise_matrix(labels, wide)[:4, :4], confident.noise_matrix(labels, probabilities)
    )
    np.testing.assert_array_equal(confident.noise_matrix(labels, wide)[4], np.eye(5)[4])


def test_equal_probabilities_reach_their_threshold_in_float32_too():
    labels = np.repeat(np.arange(3), 7)
    probabilities = np.full((21, 3), 1 / 3, np.float32)
    assert confident.confident_joint(labels, probabilities).sum() == 21


def test_thresholds_of_trusted_labels():
    labels, probabilities, true = drawn()
    trusted = (labels == true) & (labels != 2)
    limits = confident.thresholds(labels, probabilities, trusted)
    for j in (0, 1, 3):
        kept = probabilities[[bool(t) and y == j for y, t in zip(labels, trusted, strict=True)]]
        np.testing.assert_allclose(limits[j], np.mean(kept[:, j]))
    # Nobody is trusted with class 2: then everybody is.
    np.testing.assert_allclose(limits[2], confident.thresholds(labels, probabilities)[2])
    wide = np.c_[probabilities, np.zeros(len(labels))]
    assert confident.thresholds(labels, wide, trusted)[4] == np.inf


def test_images_that_are_misread_count_less_the_second_time():
    """40 % wrong labels, and a model that misreads one in four images, without much certainty."""
    labels, _, true = drawn(number=20_000, rate=0.4)
    rng = np.random.default_rng(1)
    read = np.where(rng.random(20_000) < 0.25, rng.integers(0, 4, 20_000), true)
    logits = 0.4 * rng.normal(size=(20_000, 4))
    logits[np.arange(20_000), read] += np.where(read == true, 2, 1)
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    out = folds.OutOfFold(np.arange(20_000), labels, true, probabilities, {})
    once, wrong = confident.number_wrong(labels, probabilities), np.sum(labels != true)
    assert wrong < scores.found(out).number_wrong < once
    assert scores.found(out).number_wrong - wrong < (once - wrong) / 2
