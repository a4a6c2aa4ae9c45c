"""OGC against plain NumPy and scikit-learn's mixture, and DAL against the official code's terms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.mixture import GaussianMixture

from superloss_jax._two_gaussians import fit_two_gaussians
from superloss_jax.curricula import dynamics_aware, optimized_clipping
from tests.library.compiled import update, weights_of

SIZE, BATCH = 64, 16


def mixed(seed, size=SIZE):
    """Returns losses of which about 40 % are of wrong labels."""
    rng = np.random.default_rng(seed)
    wrong = rng.random(size) < 0.4
    return np.where(wrong, rng.normal(4, 1, size), rng.exponential(0.5, size)).clip(1e-3, 15)


def two_means(values):
    """Returns the two clusters of least squares, by trying all cuts."""
    values = np.sort(values)
    cuts = [(values[:i], values[i:]) for i in range(1, len(values))]
    return min(cuts, key=lambda parts: sum(part.var() * len(part) for part in parts))


def reference_fit(values, rounds=10):
    """scikit-learn's fit, started at the two clusters."""
    parts = two_means(values)
    gmm = GaussianMixture(
        2, max_iter=rounds, reg_covar=1e-3, means_init=[[part.mean()] for part in parts],
        weights_init=[len(part) / len(values) for part in parts],
        precisions_init=[[[1 / (part.var() + 1e-3)]] for part in parts],
    )  # fmt: skip
    gmm.fit(values[:, None])
    order = gmm.means_[:, 0].argsort()
    return gmm.means_[order, 0], gmm.covariances_[order, 0, 0]


fit = jax.jit(fit_two_gaussians, static_argnames="rounds")


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.filterwarnings("ignore:Best performing initialization did not converge")
def test_two_gaussians_are_those_of_scikit_learn(seed):
    values = mixed(seed)
    _, means, variances = fit(jnp.asarray(values), rounds=10)
    expected = reference_fit(values)
    np.testing.assert_allclose(means, expected[0], rtol=1e-4)
    np.testing.assert_allclose(variances, expected[1], rtol=1e-3)


@pytest.mark.parametrize("values", [[2.0] * SIZE, [0.0] * (SIZE - 1) + [16.0], [5.0]])
def test_two_gaussians_of_degenerate_numbers_are_finite(values):
    _, means, variances = fit(jnp.array(values), rounds=10)
    assert np.isfinite(means).all()
    assert (variances >= 1e-4).all()
    assert [*means] == pytest.approx([min(values), max(values)], rel=1e-4)


def expected_gradients(t, means, variances):
    """Means of min(1 / p, T) under both Gaussians, cut off at the ends, on a grid of losses."""
    losses = np.linspace(-np.log(1 - 1e-7), -np.log(1e-7), 1000)
    density = np.exp(-((losses - means[:, None]) ** 2) / (2 * variances[:, None]))
    return (density * np.minimum(np.exp(losses), t)).sum(axis=1) / density.sum(axis=1)


def halved(wanted, means, variances):
    """The official bisection of p = 1 / T: ten halvings, and the upper end of what is left."""

    def ratio(p):
        right, wrong = expected_gradients(1 / p, means, variances)
        return wrong / right

    low, high = 1e-7, 1 - 1e-7
    if ratio(low) < wanted:
        return low
    for _ in range(10):
        middle = (low + high) / 2
        low, high = (low, middle) if ratio(middle) < wanted else (middle, high)
    return high


OGC = optimized_clipping(learning_rate=0.1, epsilon=5.0, interval=3, size=SIZE)


def test_optimized_clipping_is_the_official_algorithm():
    """T changes at each third step, once the ring is full, by the losses in it."""
    state, p, seen, changes = OGC.init(), 1e-7, [], 0
    for step in range(1, 13):
        losses = mixed(step, BATCH)
        losses[0] = 20  # is remembered as 16.1, and always clipped once T is below
        weights, values, state = weights_of(OGC, losses, state)
        seen = [*seen, *losses.clip(1e-7, -np.log(1e-7))][-SIZE:]
        if step % 3 == 0 and len(seen) == SIZE:
            p, changes = halved(1.5, *reference_fit(np.array(seen))), changes + 1
        np.testing.assert_allclose(jnp.exp(-state.log_t), p, rtol=1e-4)
        clipped = np.exp(-losses) <= p
        expected = np.where(clipped, 1 - np.exp(-losses) / p - np.log(p), losses)
        np.testing.assert_allclose(values, expected, rtol=1e-4)
        np.testing.assert_allclose(weights, np.where(clipped, np.exp(-losses) / p, 1), rtol=1e-4)
    np.testing.assert_allclose(np.sort(state.losses), np.sort(seen), rtol=1e-5)
    assert (changes, int(state.step), int(state.number)) == (3, 12, 12 * BATCH)
    assert 0.05 < p < 0.9


def test_t_falls_with_the_learning_rate():
    transform = optimized_clipping(
        learning_rate=lambda step: jnp.where(step == 0, 0.4, 0.05), epsilon=5.0, interval=1,
        size=SIZE,
    )  # fmt: skip
    state, found = transform.init(), []
    for _ in range(2):
        _, state = update(transform, mixed(0), state)
        found.append(float(jnp.exp(state.log_t)))
    assert 1 < found[1] < found[0] < 1e3


def test_masked_and_nan_losses_are_not_remembered():
    losses = np.array([1.0, np.nan, 3.0, np.nan, np.inf])
    where = jnp.array([True, False, True, True, True])
    transform = optimized_clipping(learning_rate=0.1, size=6)
    values, state = update(transform, losses, where=where)
    np.testing.assert_allclose(values, [1, 0, 3, np.nan, 1 - np.log(1e-7)], rtol=1e-5)
    assert int(state.number) == int(state.place) == 3
    np.testing.assert_allclose(state.losses[:4], [1, 3, -np.log(1e-7), 0], rtol=1e-5)
    _, state = update(transform, losses, state, where=where)
    _, state = update(transform, losses, state, where=where)
    assert (int(state.number), int(state.place)) == (9, 3)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"learning_rate": -1.0}, "learning_rate: expected a finite number >= 0 or a schedule"),
        ({"learning_rate": 0.1, "epsilon": -1}, "epsilon: expected a finite number >= 0, got -1"),
        ({"learning_rate": 0.1, "interval": 0}, "interval: expected an integer >= 1, got 0"),
    ],
)
def test_hyper_parameters_of_optimized_clipping(given, message):
    with pytest.raises(ValueError, match=message):
        optimized_clipping(**given)


def test_a_batch_larger_than_the_memory_is_refused():
    transform = optimized_clipping(learning_rate=0.1, size=4)
    with pytest.raises(ValueError, match="at least the 5 losses of a batch, got 4"):
        transform.update(jnp.ones(5), transform.init())


@pytest.mark.parametrize(("epoch", "q", "lam"), [(0, 0.6, 0.0), (40, 0.96, 0.0), (90, 1.41, 0.82)])
def test_dynamics_aware_has_the_official_schedule(epoch, q, lam):
    rng = np.random.default_rng(0)
    logits, labels = 2 * rng.normal(size=(6, 4)), rng.integers(0, 4, 6)
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    p_y = p[np.arange(6), labels]
    entropy = -(p * np.log(p)).sum(axis=1)
    expected = (1 - p_y**q) / q + lam * entropy / (q * np.log(4))
    transform = dynamics_aware(steps=100)
    state = transform.init()._replace(step=jnp.int32(epoch))
    weights, values, new = weights_of(transform, -np.log(p_y), state, logits=jnp.asarray(logits))
    np.testing.assert_allclose(values, expected, rtol=1e-5)
    np.testing.assert_allclose(weights, p_y**q, rtol=1e-5)
    assert new.step == epoch + 1


def test_dynamics_aware_stays_at_its_end_and_takes_masked_classes():
    transform = dynamics_aware(steps=10)
    logits = jnp.array([[1.0, 2.0, -jnp.inf]])
    ends = []
    for step in (10, 10**6):
        state = transform.init()._replace(step=jnp.int32(step))
        ends.append(update(transform, jnp.array([jnp.inf]), state, logits=logits)[0])
    p = np.exp([1.0, 2.0]) / np.exp([1.0, 2.0]).sum()
    expected = (1 - (p * np.log(p)).sum() / np.log(3)) / 1.5
    np.testing.assert_allclose(np.ravel(ends), expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"steps": 0}, "steps: expected an integer >= 1, got 0"),
        ({"steps": 9, "q_start": 0.0}, r"q_start: expected a number in \(0, 1\], got 0.0"),
        ({"steps": 9, "q_end": 1.0}, "q_end: expected a finite number > 1, got 1.0"),
    ],
)
def test_hyper_parameters_of_dynamics_aware(given, message):
    with pytest.raises(ValueError, match=message):
        dynamics_aware(**given)


def test_dynamics_aware_needs_two_classes():
    transform = dynamics_aware(steps=9)
    with pytest.raises(ValueError, match=r"expected at least 2 classes, got \(3, 1\)"):
        transform.update(jnp.ones(3), transform.init(), logits=jnp.ones((3, 1)))
