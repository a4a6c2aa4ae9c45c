"""Remembered SuperLoss against a NumPy version of its definition, its invariances and limits."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import lambertw

from superloss_jax import ema, superloss
from superloss_jax.memory import advance, remembered_superloss
from tests.library.compiled import update, weights_of

N, B = 20, 8
LARGEST = 2**31 - 1
compiled_advance = jax.jit(advance)


class Reference:
    """The definition, one example after another, in float64."""

    def __init__(self, lam=1.0, share=0.2, decay=0.9, g=0.0):
        self.lam, self.share, self.decay, self.g = lam, share, decay, g
        self.evidence, self.visits = np.zeros(N), np.zeros(N, int)
        self.mean = self.soft = self.start = self.last = None
        self.fitted = []

    def update(self, losses, index, where):
        known = where & np.isfinite(losses) & (index >= 0) & (index < N)
        if known.any():
            mean, s = losses[known].mean(), self.lam / 4
            low = -s * np.log(np.mean(np.exp(-losses[known] / s)))
            if self.mean is None:
                self.mean, self.soft, self.start = mean, low, mean
            self.mean = self.decay * self.mean + (1 - self.decay) * mean
            self.soft = self.decay * self.soft + (1 - self.decay) * low
        tau = self.tau()
        found = [self.one(loss, i, tau) if ok else (0.0, 0.0)
                 for loss, i, ok in zip(losses, index, known, strict=True)]  # fmt: skip
        for i in np.unique(index[known]):
            self.evidence[i] += losses[known & (index == i)].mean() - tau
            self.visits[i] += 1
        self.fitted += [*(losses[known] < tau)]
        return np.array(found).T

    def tau(self):
        return (1 - self.share) * self.soft + self.share * self.start

    def one(self, loss, i, tau):
        g = self.g
        d = loss - ((1 - g) * self.mean + g * tau) + g * self.evidence[i]
        lam = self.lam / (1 + g * self.visits[i])
        sigma = np.exp(-lambertw(max(d / (2 * lam), -0.3678794411)).real)
        sigma = min(sigma, np.exp(1 - g))
        return d * sigma + lam * np.log(sigma) ** 2, sigma

    def advance(self, held_out):
        now = np.mean(held_out < self.tau())
        known = now if self.last is None else (now + self.last) / 2
        excess = (np.mean(self.fitted) - known) / (1 - known)
        self.g, self.last, self.fitted = float(np.clip(self.g + excess, 0, 1)), now, []


def batches(number, seed=0, repeats=False):
    """Yields losses, indices and masks: the first half of the examples is easy."""
    rng = np.random.default_rng(seed)
    for step in range(number):
        index = rng.integers(0, N, B) if repeats else rng.permutation(N)[:B]
        size = np.where(index < N // 2, 2 / (1 + 0.2 * step), 3.0)
        yield size * rng.exponential(size=B), index, rng.random(B) < 0.8


def with_memory(state, g):
    return state._replace(memory=jnp.full_like(state.memory, g))


def trained(transform, g=0.0, steps=12, **change):
    """Returns a state that has seen some batches."""
    state = with_memory(transform.init(), g)
    for losses, index, where in batches(steps, seed=5):
        _, state = update(transform, losses.astype(np.float32), state, index=index, where=where)
    return state._replace(**change)


@pytest.mark.parametrize(
    ("lam", "share", "decay", "repeats"), [(1.0, 0.2, 0.9, False), (0.4, 0.5, 0.5, True)]
)
def test_many_updates_and_epochs_are_the_definition(lam, share, decay, repeats):
    own = {"lam": lam, "share": share, "decay": decay}
    transform = remembered_superloss(num_examples=N, **own)
    expected, state, seen = Reference(**own), transform.init(), []
    for step, (losses, index, where) in enumerate(batches(200, repeats=repeats)):
        losses = losses.astype(np.float32)
        sigma, values, state = weights_of(transform, losses, state, index=index, where=where)
        wanted = expected.update(losses.astype(np.float64), index, where)
        np.testing.assert_allclose(values, wanted[0], rtol=2e-4, atol=2e-4)
        np.testing.assert_allclose(sigma, wanted[1], rtol=2e-4, atol=2e-5)
        assert (sigma[where] > 0).all()
        assert (sigma <= np.exp(1 - float(state.memory)) * (1 + 1e-6)).all()
        if step % 10 == 9:
            held_out = np.random.default_rng(step).exponential(2, 50).astype(np.float32)
            state = compiled_advance(state, held_out)
            expected.advance(held_out)
            seen.append(float(state.memory))
            np.testing.assert_allclose(state.memory, expected.g, atol=1e-5)
    assert min(seen) < 0.5 < max(seen)
    assert len({*seen}) > 3  # neither 0 nor 1 all the time
    np.testing.assert_allclose(state.tau, expected.tau(), rtol=1e-4)
    np.testing.assert_allclose(state.evidence, expected.evidence, rtol=1e-3, atol=1e-3)
    np.testing.assert_array_equal(state.visits, expected.visits)


@pytest.mark.parametrize("g", [0.0, 0.3, 1.0])
def test_the_value_is_the_least_over_sigma(g):
    transform = remembered_superloss(num_examples=N, lam=0.7)
    state = trained(transform, g)
    losses, index = np.linspace(0, 6, N, dtype=np.float32), np.arange(N)
    _, values, new = weights_of(transform, losses, state, index=index)
    sigma = np.linspace(1e-4, np.exp(1 - g), 20_001)[:, None]
    mean, tau = float(new.superloss.tau), float(new.tau)
    d = losses - ((1 - g) * mean + g * tau) + g * np.asarray(state.evidence)
    lam = 0.7 / (1 + g * np.asarray(state.visits))
    np.testing.assert_allclose(
        values, (d * sigma + lam * np.log(sigma) ** 2).min(axis=0), atol=2e-3
    )


# --- Limits. --------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, jnp.bfloat16])
@pytest.mark.parametrize(("lam", "decay"), [(1.0, 0.9), (0.25, 0.0)])
def test_never_advanced_it_is_superloss_to_the_bit(lam, decay, dtype):
    plain = superloss(lam=lam, threshold=ema(decay))
    transform = remembered_superloss(num_examples=N, lam=lam, decay=decay)
    state, expected_state = transform.init(), plain.init()
    for losses, index, where in batches(40, repeats=True):
        losses = jnp.asarray(losses, dtype)
        expected = weights_of(plain, losses, expected_state, where=where)
        found = weights_of(transform, losses, state, where=where, index=index)
        expected_state, state = expected[2], found[2]
        chex.assert_trees_all_equal((*found[:2], state.superloss), expected)


def test_the_full_memory_is_the_best_sigma_for_the_past():
    """min over 0 < sigma <= 1 of D sigma + lam / k log(sigma)^2, with this visit in D and k."""
    transform = remembered_superloss(num_examples=1, lam=0.8)
    state, evidence, index = with_memory(transform.init(), 1.0), 0.0, jnp.array([0])
    for k, loss in enumerate([3.0, 2.5, 0.1, 4.0, 4.0, 0.2, 0.1, 0.1, 0.1], start=1):
        sigma, values, state = weights_of(transform, [loss], state, index=index)
        evidence += loss - float(state.tau)
        best = np.exp(-lambertw(evidence * k / 1.6).real) if evidence > 0 else 1.0
        np.testing.assert_allclose(sigma, [best], rtol=1e-5)
        expected = evidence * best + 0.8 / k * np.log(best) ** 2
        np.testing.assert_allclose(values, [expected], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(state.evidence, [evidence], rtol=1e-5)
    assert state.visits.tolist() == [9]


def test_a_label_that_stays_above_tau_has_a_bounded_total_weight():
    """Over 10,000 visits at distance 4, or a little less, and without memory it has 4,263."""

    @jax.jit
    def total(g):
        transform = remembered_superloss(num_examples=2)

        def visit(carry, _):
            state, total = carry
            losses, index = jnp.array([4.0, 0.0]), jnp.arange(2)
            grad = jax.grad(lambda x: transform.update(x, state, index=index)[0].sum())(losses)
            _, state = transform.update(losses, state, index=index)
            mean = state.superloss._replace(tau=state.tau * 0)
            state = state._replace(tau=state.tau * 0, start=state.start * 0, superloss=mean)
            return (state, total + grad[0]), grad[0]

        state = with_memory(transform.init(), g)
        state = state._replace(superloss=state.superloss._replace(count=jnp.int32(1)))
        (_, total), weights = jax.lax.scan(visit, (state, jnp.zeros(())), None, 10_000)
        return total, weights

    a = 3.8 / 2  # the thresholds are at most 0.2
    k = np.arange(1, 10_001)
    for g, bound in ((1.0, np.pi / np.sqrt(a)), (0.2, 1 + np.pi / 0.2 / np.sqrt(a))):
        found, weights = total(g)
        n = 1 + g * (k - 1)
        assert (np.asarray(weights) <= np.log1p(a * n**2) / (a * n**2)).all()
        assert bound / 4 < found < bound
    assert total(0.0)[0] > 4000


# --- Invariances. ---------------------------------------------------------------------------------


def run(transform, change=lambda losses: losses, epochs=6):
    """Returns the weights and memories of some epochs, of losses changed in some way."""
    state, sigmas, memories = transform.init(), [], []
    for epoch in range(epochs):
        for losses, index, where in batches(10, seed=epoch):
            losses = jnp.asarray(change(losses), jnp.float32)
            sigma, _, state = weights_of(transform, losses, state, index=index, where=where)
            sigmas.append(sigma)
        held_out = np.random.default_rng(epoch).exponential(2, 40)
        state = compiled_advance(state, jnp.asarray(change(held_out), jnp.float32))
        memories.append(float(state.memory))
    return np.array(sigmas), np.array(memories)


def test_sigma_and_memory_change_neither_by_translation_nor_by_scale():
    expected = run(remembered_superloss(num_examples=N, lam=0.5))
    assert expected[1].max() > 0
    moved = run(remembered_superloss(num_examples=N, lam=0.5), lambda losses: losses - 3)
    scaled = run(remembered_superloss(num_examples=N, lam=3.5), lambda losses: 7 * losses)
    for found in (moved, scaled):
        np.testing.assert_allclose(found[0], expected[0], rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(found[1], expected[1], atol=1e-5)


@pytest.mark.parametrize("lam", [1e-37, 1e-3, 1e3, 1e30])
def test_the_soft_minimum_lies_between_the_least_and_the_mean(lam):
    transform = remembered_superloss(num_examples=N, lam=lam, share=0.0)
    losses = jnp.array([0.5, 1.0, 4.5])
    _, state = update(transform, losses, index=jnp.arange(3))
    exact = {1e-37: 0.5, 1e-3: 0.5 + 1e-3 / 4 * np.log(3), 1e3: 1.994, 1e30: 2.0}[lam]
    np.testing.assert_allclose(state.tau, exact, rtol=1e-3)


# --- Batches of every kind. -----------------------------------------------------------------------


def test_an_example_that_comes_twice_is_visited_once_with_the_mean():
    transform = remembered_superloss(num_examples=4)
    state = with_memory(transform.init(), 1.0)
    _, state = update(transform, [1.0, 2.0], state, index=jnp.array([0, 1]))
    before = state
    losses, index = [3.0, 0.5, 5.0], jnp.array([1, 0, 1])
    sigma, _, state = weights_of(transform, losses, state, index=index)
    added = state.evidence - before.evidence
    np.testing.assert_allclose(added[:2], [0.5 - state.tau, 4.0 - state.tau], rtol=1e-5)
    assert state.visits.tolist() == [2, 2, 0, 0]
    assert state.seen - before.seen == 3  # but three losses
    assert sigma[0] > sigma[2]  # each has the weight of its own loss, on top of the same past


def test_what_is_not_finite_or_no_example_enters_nothing():
    transform = remembered_superloss(num_examples=4)
    _, before = update(transform, [1.0, 2.0], index=jnp.array([0, 1]))
    losses = [jnp.inf, jnp.nan, 1.0, 1.0]
    values, state = update(transform, losses, before, index=jnp.array([0, 1, 4, -1]))
    assert np.isposinf(values[0])
    assert np.isnan(values[1:]).all()
    own = state._replace(seen=before.seen, below=before.below)
    chex.assert_trees_all_equal(own, before)
    assert state.seen - before.seen == 1  # the infinite one is not below
    largest = jnp.finfo(state.tau.dtype).max
    for nothing in ([jnp.nan, jnp.inf], [largest, largest]):  # no finite mean to start from
        _, state = update(transform, nothing, index=jnp.arange(2))
        chex.assert_trees_all_equal(state._replace(tau=state.tau * 0), transform.init())
    for _ in range(3):
        values, state = update(transform, [largest], with_memory(state, 1.0), index=jnp.array([2]))
    assert np.isfinite(state.evidence).all()


def test_counts_stay_at_their_largest():
    transform = remembered_superloss(num_examples=2)
    full = trained(remembered_superloss(num_examples=N))
    start = transform.init()
    state = start._replace(
        superloss=full.superloss, tau=full.tau, visits=jnp.full_like(start.visits, LARGEST),
        seen=jnp.int32(LARGEST - 1), below=jnp.int32(LARGEST // 2),
    )  # fmt: skip
    _, state = update(transform, [0.1, 0.1], state, index=jnp.arange(2))
    assert state.visits.tolist() == [LARGEST] * 2
    assert (state.seen, state.below) == (LARGEST - 1, LARGEST // 2)
    assert 0.4 < advance(state, jnp.array([9.0])).memory < 0.6


def test_half_precision_is_computed_in_single():
    transform = remembered_superloss(num_examples=N)
    state = trained(transform, 0.6)
    losses, index = jnp.array([0.5, 3.0, 8.0], jnp.bfloat16), jnp.arange(3)
    values, new = update(transform, losses, state, index=index)
    exact, same = update(transform, losses.astype(jnp.float32), state, index=index)
    assert values.dtype == jnp.bfloat16
    np.testing.assert_array_equal(values, exact.astype(jnp.bfloat16))
    chex.assert_trees_all_equal(new, same)
    half = jnp.asarray([0.25, 4.0], jnp.bfloat16)
    chex.assert_trees_all_equal(
        compiled_advance(new, half), compiled_advance(new, half.astype(jnp.float32))
    )


def test_losses_may_have_any_shape():
    transform = remembered_superloss(num_examples=4)
    losses = jnp.arange(12, dtype=jnp.float32).reshape(2, 2, 3)
    index = jnp.broadcast_to(jnp.array([[0], [3]])[:, :, None], losses.shape)
    values, state = update(transform, losses, index=index)
    assert values.shape == losses.shape
    assert state.visits.tolist() == [1, 0, 0, 1]
    assert compiled_advance(state, losses).held_out == pytest.approx(int(state.below) / 12)
