"""The thresholds against plain Python, in the presence of values that they must ignore."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from superloss_jax import closed_form, constant, ema, per_class, running_mean, superloss, windowed
from tests.library.compiled import update, weights_of

BATCHES = [[1.0, 3.0, 5.0], [2.0], [10.0, 0.0], [7.0, 7.0, 7.0, 7.0]]


def follow(threshold, batches, **inputs):
    state, taus = threshold.init(), []
    size = max(map(len, batches))
    for batch in batches:
        # Padded to one shape, so that only one program is compiled.
        losses = np.pad(batch, (0, size - len(batch)), constant_values=99.0)
        state = update(threshold, losses, state, where=np.arange(size) < len(batch), **inputs)
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
    # Before the first sample, all values are 0. A donated state must not contain a buffer twice.
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


@pytest.mark.parametrize("size", [1, 2, 3, 9])
def test_windowed_is_the_mean_of_all_samples_of_the_last_batches(size):
    state, taus = follow(windowed(size), BATCHES)
    for t, tau in enumerate(taus):
        recent = np.concatenate(BATCHES[max(0, t + 1 - size) : t + 1])
        np.testing.assert_allclose(tau, recent.mean(), rtol=1e-6)
    assert state.count == sum(map(len, BATCHES))


def test_a_batch_with_nothing_to_count_takes_no_place_in_the_window():
    state, taus = follow(windowed(2), [[8.0], [2.0], [np.nan, np.inf], [4.0, 4.0, np.nan]])
    np.testing.assert_allclose(taus, [8, 5, 5, 10 / 3], rtol=1e-6)
    assert state.memory[1].tolist() == [1, 2]


def test_per_class_is_an_average_of_each_class():
    threshold, rng = per_class(4, decay=0.75), np.random.default_rng(0)
    state, expected = threshold.init(), {}
    counts = np.zeros(4, int)
    for _ in range(8):
        losses, where = rng.exponential(size=6), rng.random(6) < 0.7
        labels = rng.integers(0, 3, 6)  # never the last class
        losses[rng.random(6) < 0.2] = rng.choice([np.nan, np.inf])
        state = update(threshold, losses, state, labels=labels, where=where)
        for c in range(3):
            kept = losses[where & (labels == c) & np.isfinite(losses)]
            counts[c] += len(kept)
            if len(kept):
                old = expected.get(c, kept.mean())
                expected[c] = 0.75 * old + 0.25 * kept.mean()
        np.testing.assert_allclose(state.tau, [expected.get(c, 0) for c in range(4)], rtol=1e-5)
    assert state.memory.tolist() == counts.tolist()
    assert state.count == counts.sum()
    chex.assert_trees_all_equal_shapes_and_dtypes(state, threshold.init())


def test_superloss_compares_each_loss_with_its_class():
    transform = superloss(lam=0.5, threshold=per_class(3))
    losses, labels = np.array([[1.0, 4.0, 3.0, np.nan]] * 2), jnp.array([0, 2, 0, 1])
    where = jnp.array([True, True, True, False])
    sigma, values, state = weights_of(transform, losses, labels=labels, where=where)
    assert state.tau.tolist() == [2, 0, 4]
    tau = jnp.array([[2.0, 4.0, 2.0]] * 2)
    expected = closed_form(losses[:, :3], tau, 0.5)
    chex.assert_trees_all_close((values[:, :3], sigma[:, :3]), expected, rtol=1e-6)
    assert (values[:, 3] == 0).all()
    assert (sigma[:, 3] == 0).all()


def test_a_class_whose_sum_overflows_is_left_out():
    threshold = per_class(2)
    largest = jnp.finfo(threshold.init().tau.dtype).max
    losses, labels = jnp.array([largest, largest, 3.0]), jnp.array([0, 0, 1])
    state = update(threshold, losses, labels=labels)
    assert state.tau.tolist() == [0, 3]
    assert (state.memory.tolist(), state.count) == ([0, 1], 1)


def test_labels_outside_the_classes_enter_none():
    transform = superloss(threshold=per_class(2))
    losses, labels = jnp.array([1.0, 5.0, 7.0]), jnp.array([1, 2, -1])
    values, state = update(transform, losses, labels=labels)
    assert state.tau.tolist() == [0, 1]
    assert np.isnan(values).tolist() == [False, True, True]


def test_per_class_needs_labels():
    threshold = per_class(3)
    for transform in (threshold, superloss(threshold=threshold)):
        with pytest.raises(ValueError, match=r"this threshold needs labels: update\("):
            transform.update(jnp.ones(4), transform.init())
        with pytest.raises(ValueError, match=r"labels: expected integers, got float"):
            transform.update(jnp.ones(4), transform.init(), labels=jnp.ones(4))


def test_tau_is_updated_before_the_batch_is_weighted():
    transform = superloss(threshold=ema(decay=0.5))
    losses = jnp.array([1.0, 3.0])
    values, state = jax.device_get(update(transform, losses))
    assert state.tau == 2.0
    assert values[0] < 0 < values[1]  # below and above 2, not 0
    _, state = update(transform, [4.0, 8.0], state)
    assert state.tau == 4.0


THRESHOLDS = {
    "ema": ema(0.6),
    "debiased": ema(0.6, debias=True),
    "running_mean": running_mean(),
    "constant": constant(0.3),
    "windowed": windowed(2),
    "per_class": per_class(3, 0.6),
}


@pytest.mark.parametrize("name", THRESHOLDS)
def test_masked_and_non_finite_losses_do_not_enter(name):
    threshold = THRESHOLDS[name]
    two = jnp.array([0, 1])  # labels, for thresholds that need them
    start = update(threshold, [1.0, 2.0], labels=two)
    dirty = jnp.array([4.0, jnp.nan, jnp.inf, -jnp.inf, 6.0, 99.0])
    where, labels = jnp.array([True] * 5 + [False]), jnp.array([0, 1, 2, 0, 1, 2])
    clean = update(threshold, [4.0, 6.0], start, labels=two)
    found = update(threshold, dirty, start, where=where, labels=labels)
    chex.assert_trees_all_close(found, clean)
    # A batch without any counted sample leaves the state unchanged, even the first batch.
    for state in (threshold.init(), start):
        where = jnp.array([True, False])
        nothing = update(threshold, [jnp.nan, 5.0], state, where=where, labels=two)
        chex.assert_trees_all_equal(nothing, state)


def test_the_first_batch_that_counts_starts_tau():
    threshold = ema(0.9)
    state = update(threshold, [jnp.nan])
    assert update(threshold, [5.0], state).tau == 5.0


def test_large_losses_and_counts():
    threshold = running_mean()
    state = update(threshold, [1e30, 3e30])
    np.testing.assert_allclose(state.tau, 2e30, rtol=1e-6)
    # If the sum overflows, the mean is unknown, so the batch is ignored.
    largest = jnp.finfo(state.tau.dtype).max
    chex.assert_trees_all_equal(update(threshold, jnp.full(4, largest), state), state)
    full = state._replace(count=jnp.int32(2**31 - 3))
    state = update(threshold, jnp.ones(8), full)
    assert state.count == 2**31 - 1
    assert update(threshold, jnp.ones(8), state).count == 2**31 - 1


def batch_and_mask():
    losses = jax.random.exponential(jax.random.key(1), (64,))
    losses = losses.at[jnp.array([3, 40])].set(jnp.nan)
    # The first shards hold fewer samples than the last, one of them none at all.
    return losses, jnp.arange(64) >= 13


@pytest.mark.parametrize("name", THRESHOLDS)
def test_sharded_batch_has_the_global_mean(name):
    transform = superloss(threshold=THRESHOLDS[name])
    losses, where = batch_and_mask()
    labels = jnp.arange(64) % 3
    state = update(transform, losses[::-1] + 1, labels=labels)[1]
    expected = update(transform, losses, state, where=where, labels=labels)

    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    spread = jax.device_put((losses, where, labels), NamedSharding(mesh, P("data")))
    sharded = jax.jit(lambda x, m, y, s: transform.update(x, s, where=m, labels=y))(*spread, state)
    assert len(sharded[0].sharding.device_set) == 8
    chex.assert_trees_all_close(sharded, expected, rtol=1e-6, atol=1e-6)

    spread_transform = superloss(threshold=THRESHOLDS[name], axis_name="data")
    mapped = jax.jit(
        jax.shard_map(
            lambda x, m, y, s: spread_transform.update(x, s, where=m, labels=y),
            mesh=mesh,
            in_specs=(P("data"), P("data"), P("data"), P()),
            out_specs=(P("data"), P()),
        )
    )(losses, where, labels, state)
    chex.assert_trees_all_close(mapped, expected, rtol=1e-6, atol=1e-6)


def test_pmap_has_the_global_mean():
    losses, where = batch_and_mask()
    transform = superloss()
    expected, state = update(transform, losses, where=where)
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


def test_sizes_are_checked():
    with pytest.raises(ValueError, match="size: expected an integer >= 1, got 0"):
        windowed(0)
    with pytest.raises(ValueError, match=r"num_classes: expected an integer >= 1, got 2\.0"):
        per_class(2.0)
    with pytest.raises(ValueError, match=r"decay: expected a number in \[0, 1\), got 1"):
        per_class(2, decay=1)
