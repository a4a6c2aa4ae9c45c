"""What a regression needs of the library: wrong targets, trimming, Cauchy's loss."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from superloss_jax import curricula, noise, robust
from tests.library.compiled import update, weights_of

KEY = jax.random.key(3)
TARGETS = np.random.default_rng(0).normal(50, 9, 1000).astype(np.float32)


@pytest.mark.parametrize("rate", [0.0, 0.4, 1.0])
def test_the_exact_part_of_targets_is_permuted_among_itself(rate):
    noisy = noise.permute_targets(KEY, TARGETS, rate)
    changed = noisy != TARGETS
    assert changed.sum() == round(1000 * rate)
    assert sorted(noisy[changed]) == sorted(TARGETS[changed])
    np.testing.assert_array_equal(noisy, noise.permute_targets(KEY, TARGETS.tolist(), rate))
    assert noisy.dtype == TARGETS.dtype


def test_the_exact_part_of_targets_is_uniform():
    noisy = noise.uniform_targets(KEY, TARGETS, 0.4, low=-10, high=30)
    changed = noisy[noisy != TARGETS]
    assert len(changed) == 400
    assert -10 <= changed.min() <= -9
    assert 29 <= changed.max() <= 30
    quantiles = np.quantile(changed, [0.25, 0.5, 0.75])
    np.testing.assert_allclose(quantiles, [0, 10, 20], atol=3)  # three standard errors
    other = noise.uniform_targets(jax.random.key(4), TARGETS, 0.4, low=-10, high=30)
    assert (other != noisy).sum() > 400


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: noise.permute_targets(KEY, TARGETS, 1.5), "rate: expected a number in .0, 1."),
        (lambda: noise.permute_targets(KEY, TARGETS[:, None], 0.5), "targets: expected shape .N,."),
        (
            lambda: noise.uniform_targets(KEY, [1, 2], 0.5, low=0, high=1),
            "numbers, got int",
        ),
        (lambda: noise.uniform_targets(KEY, TARGETS, 0.5, low=2, high=1), "low: expected at most"),
        (
            lambda: noise.uniform_targets(KEY, TARGETS, 0.5, low=0, high=np.nan),
            "high: expected",
        ),
        (lambda: robust.cauchy(scale=0.0), "scale: expected a number > 0"),
        (lambda: curricula.trimmed(keep=0.0), "keep: expected a number in .0, 1."),
    ],
)
def test_bad_values(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_cauchy_is_that_of_the_residual():
    residual, c = np.array([0.0, 1e-4, 0.3, 2.0, 50.0]), 1.7
    transform = robust.cauchy(scale=c**2 / 2)
    weights, values, _ = weights_of(transform, jnp.array(residual**2 / 2, jnp.float32))
    np.testing.assert_allclose(values, c**2 / 2 * np.log1p((residual / c) ** 2), rtol=1e-6)
    np.testing.assert_allclose(weights, 1 / (1 + (residual / c) ** 2), rtol=1e-6)
    assert update(transform, [np.inf])[0][0] == np.inf


def test_trimmed_keeps_the_smallest_losses():
    losses = np.random.default_rng(1).exponential(size=(4, 5)).astype(np.float32)
    where = np.ones((4, 5), bool)
    where[0, :2] = False
    losses[0, 0] = np.nan
    transform = curricula.trimmed(keep=lambda step: jnp.where(step == 0, 1.0, 0.5))
    state = transform.init()
    values, state = update(transform, losses, state, where=where)
    np.testing.assert_array_equal(values, np.where(where, losses, 0))
    values, state = update(transform, losses, state, where=where)
    smallest = np.sort(losses[where])[:9]  # half of 18
    assert np.sort(values[values > 0] / 2) == pytest.approx(smallest)
    assert values.sum() / where.sum() == pytest.approx(smallest.mean(), rel=1e-6)
    assert state.step == 2
