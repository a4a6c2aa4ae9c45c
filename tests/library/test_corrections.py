"""Forward and backward correction against their formulas in float64."""

import math

import jax
import numpy as np
import pytest

from superloss_jax import noise, robust
from tests.library.batch import (
    CLASSES,
    LABELS,
    LOGITS,
    ONE_HOT,
    P_Y,
    P,
    of_logits,
    of_several,
    with_all_labels,
)

MATRICES = {
    "symmetric": noise.transition_matrix("symmetric_exclusive", 0.4, CLASSES),
    "asymmetric": noise.transition_matrix("asymmetric", 0.4, CLASSES, flips={0: 1, 3: 2}),
    "identity": np.eye(CLASSES),
    "dense": np.linspace(1, 2, 25).reshape(5, 5) ** 3 + 9 * np.eye(5),
}
MATRICES["dense"] /= MATRICES["dense"].sum(axis=1, keepdims=True)


@pytest.mark.parametrize("name", MATRICES)
def test_forward_correction(name):
    matrix = MATRICES[name]
    values, grads = of_logits(robust.forward_correction(matrix))
    noisy = P @ matrix  # as in giorgiop's loss-correction, which clips at 1e-7
    np.testing.assert_allclose(values, -np.log(noisy[np.arange(4), LABELS]), rtol=1e-5)
    posterior = P * matrix[:, LABELS].T
    posterior /= posterior.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(grads, P - posterior, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", MATRICES)
def test_backward_correction_is_unbiased(name):
    """Averaged over the noise of a clean label, it is the cross entropy with the clean label."""
    matrix = MATRICES[name]
    transform = robust.backward_correction(matrix)
    by_label, _ = of_logits(transform, *with_all_labels(LOGITS))
    np.testing.assert_allclose(by_label @ matrix.T, -np.log(P), rtol=1e-4, atol=1e-4)
    official = -(ONE_HOT @ np.linalg.inv(matrix) * np.log(P)).sum(axis=1)
    values = by_label[np.arange(4), LABELS]
    np.testing.assert_allclose(values, official, rtol=1e-5, atol=1e-5)


def test_a_matrix_changed_later_changes_nothing():
    matrix = np.eye(CLASSES)
    corrections = [robust.forward_correction(matrix), robust.backward_correction(matrix)]
    matrix[:] = 1 / CLASSES
    for values in of_several(corrections)[0]:
        np.testing.assert_allclose(values, -np.log(P_Y), rtol=1e-5)


@pytest.mark.parametrize("build", [robust.forward_correction, robust.backward_correction])
@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (np.ones((2, 3)) / 3, r"shape \(C, C\), got \(2, 3\)"),
        (np.ones(4), r"shape \(C, C\), got \(4,\)"),
        (np.ones((0, 0)), r"shape \(C, C\), got \(0, 0\)"),
        (np.eye(3) * 0.9, "rows >= 0 that sum to 1, got sums"),
        ([[1.5, -0.5], [0, 1]], "rows >= 0 that sum to 1, got sums .* entries from -0.5"),
        ([[math.nan, 1], [0, 1]], "rows >= 0 that sum to 1, got sums .*nan"),
        ([[math.inf, 0], [0, 1]], "rows >= 0 that sum to 1, got sums .*inf"),
    ],
)
def test_matrices_are_checked(build, matrix, message):
    with pytest.raises(ValueError, match="transition_matrix: expected " + message):
        build(matrix)


def test_corrections_check_what_they_divide_by():
    never = [[0.5, 0.5, 0], [0, 1, 0], [1, 0, 0]]
    with pytest.raises(ValueError, match=r"expected no column of zeros, got \[2\]"):
        robust.forward_correction(never)
    with pytest.raises(ValueError, match="invertible matrix with a condition number of at most"):
        robust.backward_correction(np.full((3, 3), 1 / 3))
    near = noise.transition_matrix("symmetric_inclusive", 1 - 1e-7, 3)
    with pytest.raises(ValueError, match=r"of at most 1e6, got 1e\+07"):
        robust.backward_correction(near)
    robust.forward_correction(near)


@pytest.mark.parametrize("build", [robust.forward_correction, robust.backward_correction])
def test_classes_are_those_of_the_matrix(build):
    transform = build(np.eye(3))
    with pytest.raises(
        ValueError, match=r"correction expected real numbers of shape \(4, 3\), got"
    ):
        jax.eval_shape(lambda: of_logits(transform))
