"""Transition matrices and the labels drawn through them."""

import hashlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from superloss_jax import noise

LABELS = np.arange(60_000, dtype=np.int32) % 10


def test_symmetric_conventions():
    exclusive = noise.transition_matrix("symmetric_exclusive", 0.4, 5)
    np.testing.assert_allclose(np.diag(exclusive), 0.6)
    np.testing.assert_allclose(exclusive[~np.eye(5, dtype=bool)], 0.1)
    inclusive = noise.transition_matrix("symmetric_inclusive", 0.4, 5)
    np.testing.assert_allclose(np.diag(inclusive), 0.68)
    np.testing.assert_allclose(inclusive[~np.eye(5, dtype=bool)], 0.08)


@pytest.mark.parametrize("kind", noise.KINDS)
@pytest.mark.parametrize("rate", [0.0, 0.2, 1.0])
def test_realised_matrix(kind, rate):
    matrix = noise.transition_matrix(kind, rate, 10)
    np.testing.assert_allclose(matrix.sum(axis=1), 1)
    noisy = np.asarray(noise.corrupt_labels(jax.random.key(3), LABELS, matrix))
    assert noisy.dtype == LABELS.dtype
    counts = np.zeros((10, 10))
    np.add.at(counts, (LABELS, noisy), 1)
    for row, expected in zip(counts, matrix * 6000, strict=True):
        possible = expected > 0
        assert (row[~possible] == 0).all()
        if possible.sum() > 1:
            assert stats.chisquare(row[possible], expected[possible]).pvalue > 1e-4


def test_labels_are_the_same_everywhere():
    """Whatever the version, the platform and JAX's flags: a change of hash is a breaking change."""
    matrix = noise.transition_matrix("symmetric_exclusive", 0.4, 10)
    noisy = noise.corrupt_labels(jax.random.key(7, impl="threefry2x32"), LABELS, matrix)
    digest = hashlib.sha256(np.asarray(noisy, "<i4").tobytes()).hexdigest()
    with jax.threefry_partitionable(False):
        key = jax.random.key(7, impl="threefry2x32")
        np.testing.assert_array_equal(noise.corrupt_labels(key, LABELS, matrix), noisy)
    assert digest[:16] == "dd30455a3cd72f3d"


def test_any_matrix_under_jit():
    matrix = np.array([[0.5, 0.5, 0], [0, 1, 0], [0.25, 0, 0.75]])
    labels = jnp.repeat(jnp.arange(3), 4000).reshape(3, 4000)
    noisy = jax.jit(lambda key: noise.corrupt_labels(key, labels, matrix))(jax.random.key(0))
    realised = [[float((row == j).mean()) for j in range(3)] for row in noisy]
    np.testing.assert_allclose(realised, matrix, atol=0.03)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("symmetric", 0.1, 10), "ambiguous; choose symmetric_exclusive"),
        (("symetric_inclusive", 0.1, 10), "got 'symetric_inclusive'; did you mean symmetric_inc"),
        (("symmetric_exclusive", 1.01, 10), r"rate: expected a number in \[0, 1\], got 1.01"),
        (("symmetric_exclusive", float("nan"), 10), "rate: .* got nan"),
        (("symmetric_exclusive", 0.1, 1), "num_classes: expected at least 2, got 1"),
    ],
)
def test_bad_kinds(args, message):
    with pytest.raises(ValueError, match=message):
        noise.transition_matrix(*args)


def test_bad_inputs():
    key = jax.random.key(0)
    with pytest.raises(ValueError, match=r"shape \(C, C\) with C >= 2, got \(2, 3\)"):
        noise.corrupt_labels(key, LABELS, np.ones((2, 3)) / 3)
    with pytest.raises(ValueError, match="rows >= 0 that sum to 1"):
        noise.corrupt_labels(key, LABELS, np.ones((10, 10)))
    with pytest.raises(ValueError, match="labels: expected 0 to 2, got 0 to 9"):
        noise.corrupt_labels(key, LABELS, np.eye(3))
    with pytest.raises(ValueError, match="labels: expected integers, got float"):
        noise.corrupt_labels(key, LABELS * 1.0, np.eye(10))
