"""Transition matrices and the labels drawn through them."""

import hashlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from superloss_jax import _transition_matrix, noise

LABELS = np.arange(60_000, dtype=np.int32) % 10


def test_symmetric_conventions():
    exclusive = noise.transition_matrix("symmetric_exclusive", 0.4, 5)
    np.testing.assert_allclose(np.diag(exclusive), 0.6)
    np.testing.assert_allclose(exclusive[~np.eye(5, dtype=bool)], 0.1)
    inclusive = noise.transition_matrix("symmetric_inclusive", 0.4, 5)
    np.testing.assert_allclose(np.diag(inclusive), 0.68)
    np.testing.assert_allclose(inclusive[~np.eye(5, dtype=bool)], 0.08)


def matrix_of(kind, rate):
    flips = noise.CIFAR10_FLIPS if kind == "asymmetric" else None
    return noise.transition_matrix(kind, rate, 10, flips=flips)


def test_published_maps():
    names = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship"]
    names.append("truck")
    flips = {names[i]: names[j] for i, j in noise.CIFAR10_FLIPS.items()}
    assert flips == {
        "truck": "automobile", "bird": "airplane", "deer": "horse", "cat": "dog", "dog": "cat",
    }  # fmt: skip
    # Twenty superclasses have five classes each: exactly five steps lead back to a class.
    assert set(noise.CIFAR100_FLIPS) == set(range(100))
    for start in range(100):
        path = [start]
        while noise.CIFAR100_FLIPS[path[-1]] != start:
            path.append(noise.CIFAR100_FLIPS[path[-1]])
        assert len(path) == 5
    # The superclass of vehicles 1: bicycle, bus, motorcycle, pickup truck, train.
    assert [noise.CIFAR100_FLIPS[i] for i in (8, 13, 48, 58, 90)] == [13, 48, 58, 90, 8]
    blocks = noise.CIFAR100_BLOCK_FLIPS  # the formula of the published codes
    assert blocks == {i: 5 * (i // 5) + (i % 5 + 1) % 5 for i in range(100)}
    coarse = _transition_matrix._CIFAR100_COARSE
    assert sum(coarse[i] == coarse[j] for i, j in blocks.items()) == 6
    assert all(coarse[i] == coarse[j] for i, j in noise.CIFAR100_FLIPS.items())
    pair = noise.transition_matrix("pair_flip", 0.45, 4)
    np.testing.assert_allclose(pair, 0.55 * np.eye(4) + 0.45 * np.roll(np.eye(4), 1, axis=1))


@pytest.mark.parametrize("kind", noise.KINDS)
@pytest.mark.parametrize("rate", [0.0, 0.2, 0.37, 1.0])
def test_exact_numbers(kind, rate):
    matrix = matrix_of(kind, rate)
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.repeat(np.arange(10), np.arange(3, 33, 3))).astype(np.int32)
    noisy = np.asarray(noise.corrupt_labels(jax.random.key(1), labels, matrix, exact=True))
    assert noisy.dtype == labels.dtype
    sizes = np.bincount(labels)
    counts = np.zeros((10, 10))
    np.add.at(counts, (labels, noisy), 1)
    expected = sizes[:, None] * matrix
    # Each count is within one of what was asked for, plus the rounding of the row's total flips.
    assert (np.abs(counts - expected) < 2).all()
    assert (counts[expected == 0] == 0).all()
    total = (sizes * (1 - np.diag(matrix))).sum()
    assert abs((noisy != labels).sum() - total) <= 0.5
    # Another key flips other examples, but equally many.
    other = np.asarray(noise.corrupt_labels(jax.random.key(2), labels, matrix, exact=True))
    assert (np.sort(other) == np.sort(noisy)).all()
    if 0 < rate < 1:
        assert (other != noisy).any()


def test_permuted_labels():
    labels = np.arange(1000)
    noisy = np.asarray(noise.permute_labels(jax.random.key(0), labels, 0.3))
    np.testing.assert_array_equal(noisy[300:], labels[300:])
    np.testing.assert_array_equal(np.sort(noisy), labels)
    assert (noisy[:300] != labels[:300]).mean() > 0.95
    with pytest.raises(ValueError, match=r"rate: .* got 2"):
        noise.permute_labels(jax.random.key(0), labels, 2)
    with pytest.raises(ValueError, match=r"labels: expected shape \(N,\), got a single int32"):
        noise.permute_labels(jax.random.key(0), np.int32(3), 0.3)


@pytest.mark.parametrize("kind", noise.KINDS)
@pytest.mark.parametrize("rate", [0.0, 0.2, 1.0])
def test_realised_matrix(kind, rate):
    matrix = matrix_of(kind, rate)
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
    """Labels do not depend on version, platform or JAX's flags; a new hash is a breaking change."""
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


def all_noise(labels, num_classes):
    """Labels drawn in every way, by name."""
    key = jax.random.key(5)
    matrix = noise.transition_matrix("symmetric_exclusive", 0.6, num_classes)
    images = np.arange(len(labels) * 4.0).reshape(-1, 4) % 7
    return {
        "corrupt": noise.corrupt_labels(key, labels, matrix),
        "exact": noise.corrupt_labels(key, labels, matrix, exact=True),
        "permute": noise.permute_labels(key, labels, 0.5),
        "instance": noise.instance_dependent_labels(key, images, labels, 0.6, num_classes),
    }


@pytest.mark.parametrize(
    ("dtype", "num_classes"),
    [("int8", 200), ("int8", 128), ("uint8", 256), ("uint8", 300), ("int16", 300),
     ("uint16", 300), ("uint32", 300), ("int64", 300), ("uint64", 300), ("uint4", 100)],
)  # fmt: skip
def test_every_integer_dtype_gives_the_same_labels(dtype, num_classes):
    """Also if a dtype cannot hold the number of classes, or the new label."""
    most = int(jnp.iinfo(dtype).max)
    labels = np.arange(512) % min(num_classes, most + 1)
    expected = all_noise(labels.astype(np.int32), num_classes)
    for given in (labels.astype(jnp.dtype(dtype)), jnp.asarray(labels.astype(jnp.dtype(dtype)))):
        for kind, noisy in all_noise(given, num_classes).items():
            found = np.asarray(noisy).astype(np.int32)
            np.testing.assert_array_equal(found, np.asarray(expected[kind]), kind)
            holds = kind == "permute" or num_classes - 1 <= most
            wanted = given.dtype if holds else np.dtype(np.int32)
            if kind != "instance":  # the others are JAX arrays
                wanted = jax.dtypes.canonicalize_dtype(wanted)
            assert noisy.dtype == wanted
    matrix = noise.transition_matrix("symmetric_exclusive", 0.6, num_classes)
    jitted = jax.jit(lambda labels: noise.corrupt_labels(jax.random.key(5), labels, matrix))(given)
    np.testing.assert_array_equal(np.asarray(jitted).astype(np.int32), expected["corrupt"])


def test_lists_of_labels():
    labels = (np.arange(60) % 3).astype(np.int32)
    expected = all_noise(labels, 3)
    for kind, noisy in all_noise(labels.tolist(), 3).items():
        np.testing.assert_array_equal(noisy, expected[kind])


@pytest.mark.parametrize("num_classes", [2, 3, 8, 9, 17])
def test_labels_are_the_quantiles_of_their_row(num_classes):
    """Also where probabilities are 0, so that quantiles are equal."""
    rng = np.random.default_rng(num_classes)
    matrix = rng.dirichlet(np.ones(num_classes), num_classes) * rng.integers(0, 2, num_classes)
    matrix = np.where(matrix.sum(1, keepdims=True), matrix, np.eye(num_classes))
    matrix /= matrix.sum(1, keepdims=True)
    labels = np.arange(600).reshape(2, 300) % num_classes
    key = jax.random.key(1, impl="threefry2x32")
    with jax.threefry_partitionable(True):
        bits = np.asarray(jax.random.bits(key, labels.shape, np.uint32)) >> 1
    upper = np.rint(np.cumsum(matrix, axis=1)[:, :-1] * 2**31)
    expected = (bits[..., None] >= upper[labels]).sum(-1)
    np.testing.assert_array_equal(noise.corrupt_labels(key, labels, matrix), expected)


def test_traced_labels_that_are_no_class_stay():
    matrix = noise.transition_matrix("symmetric_exclusive", 1.0, 3)
    labels = jnp.array([-1, 0, 3, -100, 2, 255])
    noisy = jax.jit(lambda labels: noise.corrupt_labels(jax.random.key(0), labels, matrix))(labels)
    np.testing.assert_array_equal(np.asarray(noisy)[[0, 2, 3, 5]], [-1, 3, -100, 255])
    assert noisy[1] in (1, 2)
    assert noisy[4] in (0, 1)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("symmetric", 0.1, 10), "ambiguous; choose symmetric_exclusive"),
        (("symetric_inclusive", 0.1, 10), "got 'symetric_inclusive'; did you mean symmetric_inc"),
        (("symmetric_exclusive", 1.01, 10), r"rate: expected a number in \[0, 1\], got 1.01"),
        (("symmetric_exclusive", float("nan"), 10), "rate: .* got nan"),
        (("symmetric_exclusive", 0.1, 1), "num_classes: expected an integer >= 2, got 1"),
    ],
)
def test_bad_kinds(args, message):
    with pytest.raises(ValueError, match=message):
        noise.transition_matrix(*args)


def test_bad_flips():
    with pytest.raises(ValueError, match="flips: expected for asymmetric noise and only there"):
        noise.transition_matrix("asymmetric", 0.1, 10)
    with pytest.raises(ValueError, match="flips: expected for asymmetric noise and only there"):
        noise.transition_matrix("pair_flip", 0.1, 10, flips={0: 1})
    for flips in ({0: 0}, {0: 10}, {-1: 2}):
        with pytest.raises(ValueError, match="pairs of different classes below 10"):
            noise.transition_matrix("asymmetric", 0.1, 10, flips=flips)


def test_bad_inputs():
    key = jax.random.key(0)
    with pytest.raises(ValueError, match="exact: expected labels with values, got traced ones"):
        jax.jit(lambda labels: noise.corrupt_labels(key, labels, np.eye(10), exact=True))(LABELS)
    with pytest.raises(ValueError, match=r"shape \(C, C\) with C >= 2, got \(2, 3\)"):
        noise.corrupt_labels(key, LABELS, np.ones((2, 3)) / 3)
    with pytest.raises(ValueError, match="rows >= 0 that sum to 1"):
        noise.corrupt_labels(key, LABELS, np.ones((10, 10)))
    with pytest.raises(ValueError, match="labels: expected 0 to 2, got 0 to 9"):
        noise.corrupt_labels(key, LABELS, np.eye(3))
    with pytest.raises(ValueError, match="labels: expected integers, got float"):
        noise.corrupt_labels(key, LABELS * 1.0, np.eye(10))
