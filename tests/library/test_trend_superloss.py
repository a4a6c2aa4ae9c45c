"""Trend-SL against a Python version of its official code, and SuperLoss in 40 digits."""

import itertools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from superloss_jax import constant, ema, per_class, superloss
from superloss_jax.memory import trend_superloss
from tests.library import reference
from tests.library.compiled import update, weights_of


def official_trend(history, loss, window):
    """CLU-UML's calculate_trend_using_previous_k_loss, for one example after the first epoch."""
    recent = [*history[-(window - 1) :], loss] if history else [0, loss]
    steps = [b - a for a, b in itertools.pairwise(recent)]
    return sum(steps) / sum(map(abs, steps)) if any(steps) else 0.0


@pytest.mark.parametrize(("window", "alpha"), [(2, 0.5), (4, 0.7), (4, -0.3)])
def test_trend_superloss_has_the_official_trend(window, alpha):
    tau, lam = 1.2, 0.8
    transform = trend_superloss(
        num_examples=6, lam=lam, threshold=constant(tau), window=window, alpha=alpha
    )
    rng, histories, state = np.random.default_rng(window), [[] for _ in range(6)], transform.init()
    for t in range(12):
        index = rng.permutation(6)[:4]
        where = np.array([True, True, True, t % 3 > 0])
        losses = rng.exponential(size=4).astype(np.float32)
        losses[rng.random(4) < 0.2] = 0  # fitted examples; some windows are all 0
        sigma, values, state = weights_of(transform, losses, state, index=index, where=where)
        for i, loss, counted, s, value in zip(index, losses, where, sigma, values, strict=True):
            if not counted:
                assert s == value == 0
                continue
            trend = official_trend(histories[i], float(loss), window)
            expected = reference.superloss(loss, tau - alpha * trend, lam)
            expected = [float(x) for x in expected[:2]]
            np.testing.assert_allclose((value, s), expected, rtol=2e-5, atol=2e-6)
            histories[i].append(float(loss))


def test_trend_starts_anew_only_once():
    """Saturated logits give losses of exactly 0. A window full of them still counts as history."""
    transform = trend_superloss(num_examples=1, threshold=constant(0.0), window=3, alpha=1.0)
    state, history, index = transform.init(), [], jnp.array([0])
    for loss in (1.0, 0.0, 0.0, 0.0, 2.0, 1.0):
        _, values, state = weights_of(transform, [loss], state, index=index)
        expected, _, _ = reference.superloss(loss, -official_trend(history, loss, 3), 1.0)
        np.testing.assert_allclose(values[0], float(expected), rtol=1e-5, atol=1e-6)
        history.append(loss)
    assert state.history.tolist() == [[0.0, 2.0, 1.0]]


@pytest.mark.parametrize("threshold", [ema(0.8), constant(0.7), per_class(3, 0.5)])
def test_trend_superloss_without_alpha_is_superloss(threshold):
    plain = superloss(lam=0.6, threshold=threshold)
    trend = trend_superloss(num_examples=20, lam=0.6, threshold=threshold, alpha=0.0)
    state, trend_state = plain.init(), trend.init()
    rng = np.random.default_rng(0)
    for _ in range(3):
        losses = jnp.array(rng.exponential(size=8), jnp.bfloat16)
        inputs = {
            "labels": jnp.array(rng.integers(0, 3, 8)),
            "index": jnp.array(rng.integers(0, 20, 8)),
            "where": jnp.array(rng.random(8) < 0.7),
        }
        expected, state = update(plain, losses, state, **inputs)
        values, trend_state = update(trend, losses, trend_state, **inputs)
        assert values.dtype == jnp.bfloat16
        chex.assert_trees_all_equal((values, trend_state.superloss), (expected, state))


def test_trend_memory_takes_the_mean_of_repeats_and_no_infinity():
    transform = trend_superloss(num_examples=4, threshold=constant(1.0), window=3)
    _, state = update(transform, [1.0, 4.0], index=jnp.array([0, 1]))
    losses, index = [2.0, jnp.inf, 6.0, jnp.nan], jnp.array([0, 1, 0, 2])
    values, state = jax.device_get(update(transform, losses, state, index=index))
    assert state.history[:2].tolist() == [[1.0, 1.0, 4.0], [4.0, 4.0, 4.0]]
    assert np.isinf(state.history[2:]).all()
    assert np.isnan(values).tolist() == [False, False, False, True]
    expected = [float(reference.superloss(loss, 1.0 - 0.7, 1.0)[0]) for loss in (2.0, 6.0)]
    np.testing.assert_allclose(values[[0, 2]], expected, rtol=1e-5)  # both rising


def test_trend_of_an_unknown_example_is_nan():
    trend = trend_superloss(num_examples=4)
    index = jnp.array([0, 4, -1])
    values, state = update(trend, jnp.ones(3), index=index)
    assert np.isnan(values).tolist() == [False, True, True]
    assert np.isfinite(state.history).all(axis=1).tolist() == [True, False, False, False]


def test_trend_errors():
    with pytest.raises(ValueError, match="window: expected an integer >= 2, got 1"):
        trend_superloss(num_examples=4, window=1)
    with pytest.raises(ValueError, match="alpha: expected a finite number"):
        trend_superloss(num_examples=4, alpha=float("inf"))
    with pytest.raises(ValueError, match="num_examples: expected an integer >= 1"):
        trend_superloss(num_examples=0)
    with pytest.raises(ValueError, match="lam: expected a number > 0"):
        trend_superloss(num_examples=4, lam=0)
    with pytest.raises(ValueError, match="threshold: expected ema"):
        trend_superloss(num_examples=4, threshold=1.0)
    transform = trend_superloss(num_examples=4)
    with pytest.raises(ValueError, match=r"trend_superloss needs index: update\("):
        transform.update(jnp.ones(2), transform.init())
