"""The thresholds against plain Python, with everything that must not enter them."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from superloss_jax import constant, ema, running_mean, superloss

BATCHES = [[1.0, 3.0, 5.0], [2.0], [10.0, 0.0], [7.0, 7.0, 7.0, 7.0]]


def follow(threshold, batches, **inputs):
    state, taus = threshold.init(), []
    for batch in batches:
        state = threshold.update(jnp.array(batch), state, **inputs)
        taus.append(float(state.tau))
    return state, taus


def test_ema_weights_the_old_value_and_starts_at_the_first_mean():
    state, taus = follow(ema(decay=0.75), BATCHES)
    tau, expected = np.mean(BATCHES[0]), []
    for batch in BATCHES:
        tau = 0.75 * tau + 0.25 * np.mean(batch)
        expected.append(tau)
    np.testing.assert_allclose(taus, expected, rtol=1e-6)
    assert state.count == sum(map(len, BATCHES))


def test_debiased_ema_weighs_batches_by_age_alone():
    threshold = ema(decay=0.75, debias=True)
    _, taus = follow(threshold, BATCHES)
    means = np.array([np.mean(batch) for batch in BATCHES])
    for t, tau in enumerate(taus):
        weights = 0.75 ** np.arange(t, -1, -1)
        np.testing.assert_allclose(tau, weights @ means[: t + 1] / weights.sum(), rtol=1e-6)
    # Before the first sample it is 0, like the others; a donated state has no buffer twice.
    assert threshold.init().tau == 0
    step = jax.jit(threshold.update, donate_argnums=1)
    state = step(jnp.ones(3), threshold.init())
    assert step(jnp.ones(3), state).tau == 1


def test_running_mean_is_the_mean_of_all_samples():
    state, taus = follow(running_mean(), BATCHES)
    expected = [np.mean(np.concatenate(BATCHES[: i + 1])) for i in range(len(BATCHES))]
    np.testing.assert_allclose(taus, expected, rtol=1e-6)
    assert state.count == sum(map(len, BATCHES))


def test_constant_stays():
    state, taus = follow(constant(2.5), BATCHES)
    assert taus == [2.5] * len(BATCHES)
    assert constant(2.5).init().tau == 2.5
    assert state.count == sum(map(len, BATCHES))


def test_tau_is_updated_before_the_batch_is_weighted():
    transform = superloss(threshold=ema(decay=0.5))
    losses = jnp.array([1.0, 3.0])
    values, state = transform.update(losses, transform.init())
    assert state.tau == 2.0
    assert values[0] < 0 < values[1]  # below and above 2, not 0
    _, state = transform.update(jnp.array([4.0, 8.0]), state)
    assert state.tau == 4.0


THRESHOLDS = {
    "ema": ema(0.6),
    "debiased": ema(0.6, debias=True),
    "running_mean": running_mean(),
    "constant": constant(0.3),
}


@pytest.mark.parametrize("name", THRESHOLDS)
def test_masked_and_non_finite_losses_do_not_enter(name):
    threshold = THRESHOLDS[name]
    start = threshold.update(jnp.array([1.0, 2.0]), threshold.init())
    dirty = jnp.array([4.0, jnp.nan, jnp.inf, -jnp.inf, 6.0, 99.0])
    where = jnp.array([True] * 5 + [False])
    clean = threshold.update(jnp.array([4.0, 6.0]), start)
    chex.assert_trees_all_close(threshold.update(dirty, start, where=where), clean)
    # A batch with nothing to count leaves the state as it was, the first one too.
    for state in (threshold.init(), start):
        nothing = threshold.update(jnp.array([jnp.nan, 5.0]), state, where=jnp.array([True, False]))
        chex.assert_trees_all_equal(nothing, state)


def test_the_first_batch_that_counts_starts_tau():
    threshold = ema(0.9)
    state = threshold.update(jnp.array([jnp.nan]), threshold.init())
    assert threshold.update(jnp.array([5.0]), state).tau == 5.0


def test_large_losses_and_counts():
    threshold = running_mean()
    state = threshold.update(jnp.array([1e30, 3e30]), threshold.init())
    np.testing.assert_allclose(state.tau, 2e30, rtol=1e-6)
    # A sum beyond the largest float says nothing about the mean: the batch is left out.
    largest = jnp.finfo(state.tau.dtype).max
    chex.assert_trees_all_equal(threshold.update(jnp.full(4, largest), state), state)
    full = state._replace(count=jnp.int32(2**31 - 3))
    state = threshold.update(jnp.ones(8), full)
    assert state.count == 2**31 - 1
    assert threshold.update(jnp.ones(8), state).count == 2**31 - 1


def batch_and_mask():
    losses = jax.random.exponential(jax.random.key(1), (64,))
    losses = losses.at[jnp.array([3, 40])].set(jnp.nan)
    # The first shards hold fewer samples than the last, one of them none at all.
    return losses, jnp.arange(64) >= 13


@pytest.mark.parametrize("name", THRESHOLDS)
def test_sharded_batch_has_the_global_mean(name):
    transform = superloss(threshold=THRESHOLDS[name])
    losses, where = batch_and_mask()
    state = transform.update(losses[::-1] + 1, transform.init())[1]
    expected = transform.update(losses, state, where=where)

    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    spread = jax.device_put((losses, where), NamedSharding(mesh, P("data")))
    sharded = jax.jit(lambda x, m, s: transform.update(x, s, where=m))(*spread, state)
    assert len(sharded[0].sharding.device_set) == 8
    chex.assert_trees_all_close(sharded, expected, rtol=1e-6, atol=1e-6)

    spread_transform = superloss(threshold=THRESHOLDS[name], axis_name="data")
    mapped = jax.jit(
        jax.shard_map(
            lambda x, m, s: spread_transform.update(x, s, where=m),
            mesh=mesh,
            in_specs=(P("data"), P("data"), P()),
            out_specs=(P("data"), P()),
        )
    )(losses, where, state)
    chex.assert_trees_all_close(mapped, expected, rtol=1e-6, atol=1e-6)


def test_pmap_has_the_global_mean():
    losses, where = batch_and_mask()
    transform = superloss()
    expected, state = transform.update(losses, transform.init(), where=where)
    spread = superloss(axis_name="data")
    step = jax.pmap(lambda x, m: spread.update(x, spread.init(), where=m), axis_name="data")
    values, states = step(losses.reshape(8, 8), where.reshape(8, 8))
    np.testing.assert_allclose(values.ravel(), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(states.tau, np.full(8, state.tau), rtol=1e-6)


@pytest.mark.parametrize("decay", [1.0, -0.1, float("nan"), 2, "0.9"])
def test_decay_is_checked(decay):
    with pytest.raises(ValueError, match=r"decay: expected a number in \[0, 1\), got"):
        ema(decay)


@pytest.mark.parametrize("tau", [float("inf"), float("nan"), None])
def test_tau_is_checked(tau):
    with pytest.raises(ValueError, match="tau: expected a finite number, got"):
        constant(tau)
