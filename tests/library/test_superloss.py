"""superloss as a transform: masks, dtypes, state, transformations, the compiled program, errors."""

import fractions
import re

import chex
import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest

from superloss_jax import LossTransform, closed_form, constant, ema, running_mean, superloss
from tests.library.compiled import update, weights_of


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32])
def test_half_precision_is_computed_in_float32(dtype):
    losses = jnp.array([0.1, 0.7, 2.0, 11.0], dtype)
    transform = superloss(lam=0.5)
    values, state = update(transform, losses)
    wide, wide_state = update(transform, losses.astype(jnp.float32))
    assert values.dtype == dtype
    chex.assert_trees_all_equal(values, wide.astype(dtype))
    chex.assert_trees_all_equal(state, wide_state)
    chex.assert_trees_all_equal_dtypes(state, transform.init())
    # State leaves keep their dtype.
    given = transform.init()._replace(tau=jnp.float16(0))
    _, kept = update(transform, losses, given)
    chex.assert_trees_all_equal_dtypes(kept, given)


THRESHOLDS = {
    "ema": ema(),
    "debiased": ema(debias=True),
    "running_mean": running_mean(),
    "constant": constant(jnp.asarray(1.0)),
}


@pytest.mark.parametrize("name", THRESHOLDS)
def test_mask_equals_dropping(name):
    transform = superloss(threshold=THRESHOLDS[name])
    losses = np.array([[0.1, np.nan, 2.0], [np.inf, 0.4, 5.0]])
    where = np.array([[True, False, True], [False, True, True]])
    grads, masked, after = weights_of(transform, losses, where=where)
    dropped, dropped_after = update(transform, losses[where])
    np.testing.assert_array_equal(masked[where], dropped)
    np.testing.assert_array_equal(masked[~where], 0)
    np.testing.assert_array_equal(grads[~where], 0)
    expected = closed_form(losses[where], after.tau, 1.0)[1]
    np.testing.assert_allclose(grads[where], expected, rtol=1e-6)
    chex.assert_trees_all_close(after, dropped_after)


def test_tau_carries_no_gradient():
    """Through tau, a hard sample's weight would turn negative: training would raise its loss."""
    losses = jnp.array([0.1, 0.3, 0.5, 1.0, 2.0, 8.0, 20.0, 100.0])
    transform = superloss()
    state = update(transform, losses)[1]

    def leaking(x):
        tau = 0.9 * state.tau + 0.1 * x.mean()
        return closed_form(x, tau, 1.0)[0].sum()

    detached, _, _ = weights_of(transform, losses, state)
    assert (detached > 0).all()
    assert jax.jit(jax.grad(leaking))(losses)[-1] < 0


def test_jit_vmap_and_scan_agree_with_a_loop():
    transform = superloss(lam=0.8)
    batches = jax.random.exponential(jax.random.key(0), (5, 3, 16))  # steps, seeds, batch
    states = jax.vmap(lambda _: transform.init())(jnp.arange(3))

    @jax.jit
    def step(states, losses):
        losses, states = jax.vmap(transform.update)(losses, states)
        return states, losses

    last, scanned = jax.lax.scan(step, states, batches)
    for seed in range(3):
        state = transform.init()
        for t in range(5):
            losses, state = update(transform, batches[t, seed], state)
            np.testing.assert_allclose(losses, scanned[t, seed], rtol=1e-5, atol=1e-6)
        final = jax.tree.map(lambda leaf, seed=seed: leaf[seed], last)
        chex.assert_trees_all_close(state, final, rtol=1e-5)


def test_vmap_over_lam():
    losses = jnp.array([0.1, 1.0, 6.0])
    lams = jnp.array([0.1, 1.0, 10.0])

    def run(lam):
        return superloss(lam=lam).update(losses, superloss(lam=lam).init())[0]

    together = jax.jit(jax.vmap(run))(lams)
    for lam, row in zip(np.asarray(lams), np.asarray(together), strict=True):
        alone, _ = update(superloss(lam=float(lam)), losses)
        np.testing.assert_allclose(row, alone, rtol=1e-5)


@pytest.mark.parametrize("name", THRESHOLDS)
def test_state_can_be_donated(name):
    transform = superloss(threshold=THRESHOLDS[name])
    step = jax.jit(transform.update, donate_argnums=(0, 1))
    state, losses = transform.init(), jnp.ones(8)
    for _ in range(3):
        losses, state = step(losses, state)
    assert state.count == 24
    assert transform.init().count == 0  # the state is not modified in place


def test_state_survives_orbax(tmp_path):
    ocp = pytest.importorskip("orbax.checkpoint")
    transform = superloss()
    _, state = update(transform, [1.0, 2.0])
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "state", state)
        checkpointer.wait_until_finished()
        restored = checkpointer.restore(tmp_path / "state", transform.init())
    chex.assert_trees_all_equal(restored, state)


def test_sigma_for_logging_costs_nothing():
    """Loss, gradient and sigma together take one logarithm per loss, and no exponential."""
    transform = superloss()

    def step(losses, state):
        def mean(losses):
            values, new_state = transform.update(losses, state)
            return values.mean(), new_state

        (value, new_state), grads = jax.value_and_grad(mean, has_aux=True)(losses)
        return value, new_state, grads, closed_form(losses, new_state.tau)[1]

    compiled = jax.jit(step).lower(jnp.ones(4096, jnp.float32), transform.init()).compile()
    ops = re.findall(r"= f32\[4096\]\S* ([\w-]+)\(", compiled.as_text())
    assert ops.count("log") == 1
    assert ops.count("sqrt") == 1
    assert ops.count("divide") <= 2
    assert not {"exponential", "exponential-minus-one", "log-plus-one", "power"} & set(ops)
    assert not re.search(r" (while|custom-call|gather)\(", compiled.as_text())


@pytest.mark.parametrize("platform", ["cpu", "tpu", "cuda", "rocm"])
def test_lowers_for_every_platform(platform):
    transform = superloss()

    @jax.jit
    def step(losses, state):
        return jax.grad(lambda x: transform.update(x, state)[0].mean())(losses)

    exported = jax.export.export(step, platforms=[platform])(jnp.ones(8), transform.init())
    assert "custom_call" not in exported.mlir_module()


@pytest.mark.parametrize(
    "lam", [0, -1.0, float("nan"), np.float32(-2), "1", None, True, 1e-39, jnp.zeros(())]
)
def test_lam_is_checked_when_built(lam):
    with pytest.raises(ValueError, match=r"lam: expected a number > 0 \(at least 1.2e-38\) or a"):
        superloss(lam=lam)


@pytest.mark.parametrize("lam", [1, np.float32(2), fractions.Fraction(1, 3), jnp.float32(0.5)])
def test_any_positive_number_is_a_lam(lam):
    transform = superloss(lam=lam)
    values, _ = update(transform, [1.0, 4.0])
    expected, _ = closed_form(jnp.array([1.0, 4.0]), 2.5, float(lam))
    np.testing.assert_allclose(values, expected, rtol=1e-6)


@pytest.mark.parametrize("threshold", [0.5, "ema", ema])
def test_threshold_is_checked_when_built(threshold):
    with pytest.raises(ValueError, match=r"threshold: expected ema\(...\), running_mean\(\) or"):
        superloss(threshold=threshold)


def test_update_says_what_is_wrong():
    transform = superloss()
    assert isinstance(transform, LossTransform)
    state = transform.init()
    with pytest.raises(ValueError, match=r"at least one loss, got shape \(0, 3\)"):
        transform.update(jnp.zeros((0, 3)), state)
    with pytest.raises(ValueError, match=r"floating dtype, got int32 of shape \(4,\)"):
        transform.update(jnp.zeros(4, jnp.int32), state)
    with pytest.raises(ValueError, match="boolean mask, got float"):
        transform.update(jnp.zeros(4), state, where=jnp.ones(4))
    with pytest.raises(ValueError, match=r"broadcasts to the losses' \(4,\), got \(3,\)"):
        transform.update(jnp.zeros(4), state, where=jnp.ones(3, bool))
