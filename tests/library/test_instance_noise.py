"""Labels that are wrong where an image looks like another class."""

import jax
import numpy as np
import pytest
from scipy import stats

from superloss_jax import _noisy_labels, noise

LABELS = np.arange(60_000, dtype=np.int32) % 10


def test_instance_dependent_noise_of_equal_images_is_symmetric():
    """If all images are equal, the scores are 0 and the softmax is uniform."""
    labels = LABELS[:20_000]
    # A shape that other tests compile, too. The mean of so many 0.1 is rounded.
    images = np.full((len(labels), 25), 0.1)
    noisy = noise.instance_dependent_labels(jax.random.key(0), images, labels, 0.4, 10)
    counts = np.zeros((10, 10))
    np.add.at(counts, (labels, noisy), 1)
    matrix = noise.transition_matrix("symmetric_exclusive", 0.4, 10)
    assert stats.chisquare(counts.ravel(), (matrix * 2000).ravel()).pvalue > 1e-4


@pytest.mark.parametrize("rate", [0.0, 0.01, 0.1, 0.4, 0.95, 1.0])
def test_instance_dependent_rate(rate):
    labels = LABELS[:20_000]
    images = np.random.default_rng(0).integers(0, 256, (20_000, 5, 5, 1), dtype=np.uint8)
    args = images, labels, rate, 10
    noisy = noise.instance_dependent_labels(jax.random.key(0), *args)
    assert noisy.dtype == labels.dtype
    # Four standard deviations of the share; at 0 and 1, it is exact.
    tolerance = 4 * np.sqrt(rate * (1 - rate) / 20_000)
    np.testing.assert_allclose((noisy != labels).mean(), rate, atol=tolerance)
    again = noise.instance_dependent_labels(jax.random.key(0), *args)
    np.testing.assert_array_equal(noisy, again)


@pytest.mark.parametrize("rate", [0.05, 0.3, 0.4, 0.9])
def test_flip_rates_are_normal_numbers_truncated_on_both_sides(rate):
    drawn = _noisy_labels._flip_rates(jax.random.key(0), rate, 20_000)
    sigmas = min(rate, 1 - rate) / 0.1
    expected = stats.truncnorm(-sigmas, sigmas, rate, 0.1)
    assert stats.kstest(drawn, expected.cdf).pvalue > 1e-3
    assert expected.mean() == pytest.approx(rate)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e308])
def test_images_that_are_not_finite_are_refused(value):
    images = np.ones((6, 4, 4))
    images[2:4, 0, 0] = value
    got = "larger ones" if value == 1e308 else "NaN or infinity in image 2"
    with pytest.raises(ValueError, match=f"images: expected finite numbers .*, got {got}"):
        noise.instance_dependent_labels(jax.random.key(0), images, [0, 1, 2] * 2, 0.4, 3)


@pytest.mark.parametrize("images", [np.ones((6, 4)) * 1j, np.array([["a"]] * 6), np.ones((6, 0))])
def test_images_that_cannot_be_meant_are_refused(images):
    with pytest.raises(ValueError, match="images: expected"):
        noise.instance_dependent_labels(jax.random.key(0), images, [0, 1, 2] * 2, 0.4, 3)


def test_instance_dependent_noise_depends_on_the_image():
    rng = np.random.default_rng(1)
    two = rng.normal(size=(2, 300))
    labels = np.zeros(20_000, np.int64)
    noisy = noise.instance_dependent_labels(
        jax.random.key(0), np.repeat(two, 10_000, axis=0), labels, 0.5, 10
    )
    # Each image has its own wrong class, to which nearly all of its flips go.
    wrong = [part[part != 0] for part in (noisy[:10_000], noisy[10_000:])]
    favourites = [np.bincount(part).argmax() for part in wrong]
    assert favourites[0] != favourites[1]
    for part, favourite in zip(wrong, favourites, strict=True):
        assert (part == favourite).mean() > 0.9
    with pytest.raises(ValueError, match=r"labels: expected shape \(3,\), got \(2,\)"):
        noise.instance_dependent_labels(jax.random.key(0), np.ones((3, 2)), [0, 1], 0.1, 2)
    with pytest.raises(ValueError, match=r"images: expected at least one number each, got \(2, 0"):
        noise.instance_dependent_labels(jax.random.key(0), np.ones((2, 0)), [0, 1], 0.1, 2)
    none = np.zeros(0, np.int32)
    assert (
        noise.instance_dependent_labels(jax.random.key(0), np.ones((0, 2)), none, 0.1, 2).size == 0
    )
    with pytest.raises(ValueError, match="labels: expected 0 to 1, got"):
        noise.instance_dependent_labels(jax.random.key(0), np.ones((2, 2)), [0, 2], 0.1, 2)
