"""The curricula against NumPy versions of their papers' formulas and of official code."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from superloss_jax import StepState, curricula, robust
from superloss_jax.curricula import mentornet, self_paced
from tests.library import batch
from tests.library.batch import of_losses
from tests.library.compiled import update, weights_of

LOSSES = np.array([0.0, 0.3, 0.999, 1.0, 1.5, 2.3, 7.0, 1e4])


def least(objective, choices):
    """Returns the smallest value of `objective(v)` over the choices, and the choice."""
    table = np.array([objective(v) for v in choices])
    return table.min(axis=0), choices[table.argmin(axis=0)]


@pytest.mark.parametrize("K", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("weights", ["hard", "linear"])
def test_self_paced_is_the_minimum_over_the_weights(weights, K):
    objectives = {
        "hard": (lambda v: v * LOSSES - K * v, np.array([0.0, 1.0])),
        "linear": (lambda v: v * LOSSES + K * (v**2 / 2 - v), np.linspace(0, 1, 30_001)),
    }
    expected, best = least(*objectives[weights])
    transform = self_paced(threshold=K, weights=weights)
    v, values, _ = weights_of(transform, LOSSES, transform.init())
    np.testing.assert_allclose(values, expected, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(v, best, atol=4e-5)
    if weights == "hard":
        assert v.tolist() == (LOSSES < K).tolist()  # l = K is not kept


def test_self_paced_lets_harder_samples_in_as_the_threshold_grows():
    grown = optax.exponential_decay(0.8, transition_steps=2, decay_rate=1.3, staircase=True)
    transform = self_paced(threshold=grown)
    state = transform.init()
    for step in range(8):
        v, _, state = weights_of(transform, LOSSES, state)
        assert v.tolist() == (0.8 * 1.3 ** (step // 2) > LOSSES).tolist()
    assert state.step == 8


@pytest.mark.parametrize("weights", ["hard", "linear"])
def test_self_paced_with_a_large_threshold_has_the_gradient_of_cross_entropy(weights):
    for K in (1e12, 1e30):
        transform = self_paced(threshold=K, weights=weights)
        v, values, _ = weights_of(transform, LOSSES, transform.init())
        np.testing.assert_allclose(v, 1, rtol=1e-6)
        np.testing.assert_allclose(values, -K if weights == "hard" else -K / 2, rtol=1e-5)


def selecting(weights="hard"):
    return self_paced(threshold=1.0, weights=weights)


@pytest.mark.parametrize(
    "transform", [selecting(), selecting("linear"), mentornet(), mentornet(second=1.0)]
)
def test_a_nan_loss_stays_and_an_infinite_one_weighs_nothing(transform):
    losses = jnp.array([0.5, jnp.nan, jnp.inf, 0.25])
    v, values, _ = weights_of(transform, losses, transform.init())
    assert np.isnan(values).tolist() == [False, True, False, False]
    assert values[2] == v[2] == 0
    assert v[3] > 0


def test_selection_errors():
    for K in (0, -1.0, float("inf"), float("nan"), None, "1"):
        with pytest.raises(ValueError, match="threshold: expected a number > 0 or a schedule, got"):
            self_paced(threshold=K)
    with pytest.raises(ValueError, match="weights: expected hard or linear, got 'soft'"):
        self_paced(threshold=1.0, weights="soft")
    with pytest.raises(ValueError, match=r"percentile: expected a number in \[0, 100\]"):
        mentornet(percentile=101.0)
    with pytest.raises(ValueError, match=r"decay: expected a number in \[0, 1\)"):
        mentornet(decay=1.0)
    with pytest.raises(ValueError, match="second: expected a finite number >= 0"):
        mentornet(second=-0.1)
    with pytest.raises(ValueError, match="burn_in: expected an integer >= 0"):
        mentornet(burn_in=1.5)


@pytest.mark.parametrize("percentile", [0.0, 30.0, 50.0, 75.0, 99.0, 100.0])
def test_mentornet_follows_numpy_s_percentile_of_what_is_kept(percentile):
    rng = np.random.default_rng(int(percentile))
    transform = mentornet(percentile=percentile, decay=0.8)
    state, first = transform.init(), None
    for kept in (0, 7, 1, 0, 2, 12, 5):
        losses = rng.exponential(size=12).astype(np.float32)
        where = rng.permutation(12) < kept
        losses[~where] = rng.choice([np.nan, 1e9, -5.0], (~where).sum())
        if kept == 5:  # two of the five are not finite
            losses[np.flatnonzero(where)[:2]] = np.nan, np.inf
        _, state = update(transform, losses, state, where=where)
        if kept:
            current = np.percentile(losses[where & np.isfinite(losses)], percentile)
            first = current if first is None else 0.8 * first + 0.2 * current
        np.testing.assert_allclose(state.first, 0 if first is None else first, rtol=1e-5)
    assert (state.step, state.batches) == (7, 5)


def official_weights(losses, first, epoch, gamma=1.0):
    """google/mentornet's vstar_mentornet_pd, epochs from 0 to 99."""
    difference = losses - first
    hard = np.where(difference <= 0, 1.0, 0.0)
    linear = np.maximum(np.minimum(-1.0 / gamma * difference + 1, 1), 0)
    return np.ones_like(losses) if epoch <= 18 else linear if epoch >= 90 else hard


def test_mentornet_pd_has_the_official_weights():
    transform = mentornet(
        percentile=60.0, decay=0.5, burn_in=19, second=lambda step: jnp.where(step >= 90, 1.0, 0.0)
    )
    rng, seen, state = np.random.default_rng(0), set(), transform.init()
    for epoch in range(100):
        losses = rng.exponential(size=16).astype(np.float32)
        v, values, state = weights_of(transform, losses, state)
        expected = official_weights(losses, np.float32(state.first), epoch)
        np.testing.assert_allclose(v, expected, atol=1e-6)
        seen |= set(np.round(v, 3).tolist())
        if epoch < 19:
            np.testing.assert_array_equal(values, losses)  # equals cross entropy
    assert {0, 1} < seen  # and fractional weights


@pytest.mark.parametrize("second", [0.0, 0.5, 2.0])
def test_mentornet_is_the_minimum_over_the_weights(second):
    transform = mentornet(percentile=40.0, second=second)
    v, values, state = weights_of(transform, LOSSES, transform.init())
    first = np.percentile(LOSSES, 40)
    np.testing.assert_allclose(state.first, first, rtol=1e-6)

    def objective(v):
        return second / 2 * v**2 - (first + second) * v + v * LOSSES

    expected, best = least(objective, np.linspace(0, 1, 30_001))
    np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(v, best, atol=4e-5)


def test_mentornet_keeps_all_of_equal_losses():
    """An untrained network has equal losses. A threshold one bit too low would drop them all."""
    transform = mentornet(percentile=47.0, decay=0.9)
    for size, loss in enumerate(np.random.default_rng(0).uniform(1, 4, 40)):
        state, where = transform.init(), jnp.arange(60) <= size
        for _ in range(4):
            v, _, state = weights_of(transform, jnp.full(60, loss), state, where=where)
            assert v.tolist() == where.tolist()


def test_truncation_is_that_of_the_paper():
    q, k = 0.7, 0.25
    p = np.array([0.9, 0.26, 0.25, 0.24, 1e-9, 1.0])
    transform = curricula.truncated_gce(q=q, k=k)
    values, slopes = of_losses(transform, -np.log(p), transform.init())
    believed = p > k
    l_q, l_k = (1 - p**q) / q, (1 - k**q) / q
    np.testing.assert_allclose(values, np.where(believed, l_q, l_k), rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(slopes, np.where(believed, p**q, 0), rtol=1e-5)
    # AlanChou's Truncated-Loss weights examples, and differs from ours by the constant L_q(k).
    weight = (l_k > l_q).astype(float)
    np.testing.assert_allclose(values - l_k, l_q * weight - l_k * weight, rtol=1e-5, atol=1e-6)


def test_truncation_starts_at_its_step():
    losses = -np.log([0.9, 0.1])
    transform, plain = curricula.truncated_gce(start=2), robust.generalized_cross_entropy()
    state, values = transform.init(), []
    for count in range(4):
        assert state.step == count
        by_loss, state = update(transform, losses, state)
        values.append(by_loss[1])
    before, after = (1 - 0.1**0.7) / 0.7, (1 - 0.5**0.7) / 0.7
    np.testing.assert_allclose(values, [before, before, after, after], rtol=1e-5)
    last = StepState(jnp.int32(2**31 - 1))
    assert update(transform, losses, last)[1].step == 2**31 - 1
    never = curricula.truncated_gce(k=0.0)
    pruned_never = of_losses(never, batch.LOSSES, never.init())
    np.testing.assert_array_equal(pruned_never, of_losses(plain, batch.LOSSES))
