"""Properties that every method must have."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from superloss_jax import (
    chain,
    constant,
    curricula,
    memory,
    robust,
    superloss,
)
from tests.library.battery import (
    METHODS,
    SIZES,
    X64,
    B,
    C,
    N,
    close,
    cross_entropy,
    every_method,
    inputs,
    made,
    mentornet_params,
    once,
    remembering,
    started,
    update,
)


@every_method
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_losses_and_state_keep_shape_and_dtype(name, dtype):
    losses, extra = inputs(name, dtype=dtype)
    state = made(name).init()
    values, new = update(name)(losses, state, extra)
    assert (values.shape, values.dtype) == (losses.shape, losses.dtype)
    assert jnp.isfinite(values).all()
    for before, after in zip(jax.tree.leaves(state), jax.tree.leaves(new), strict=True):
        assert (before.shape, before.dtype) == (after.shape, after.dtype)
        assert not after.weak_type  # so that it can be the carry of a scan
    # Computed in float32, so only the rounding of inputs matters, once per method in a chain.
    if dtype == jnp.bfloat16 and name != "chain":
        exact = extra | {"logits": extra["logits"].astype(jnp.float32)}
        exact = update(name)(losses.astype(jnp.float32), state, exact)[0]
        np.testing.assert_array_equal(values, exact.astype(dtype))


@once
@every_method
def test_eight_devices_are_one(name):
    losses, extra = inputs(name)
    state = started(name)
    expected = update(name)(losses, state, extra)
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))

    def spread(array):
        axes = [None] * array.ndim
        axes[array.shape.index(B)] = "data"
        return jax.device_put(array, NamedSharding(mesh, PartitionSpec(*axes)))

    whole = jax.device_put(state, NamedSharding(mesh, PartitionSpec()))
    found = update(name)(spread(losses), whole, jax.tree.map(spread, extra))
    close(found, expected)


@once
@every_method
def test_a_scan_over_states_of_several_seeds_is_a_loop_over_each(name):
    batches = [[inputs(name, seed=10 * i + j) for j in range(3)] for i in range(2)]
    expected = []
    for steps in batches:
        state, values = made(name).init(), []
        for losses, extra in steps:
            value, state = update(name)(losses, state, extra)
            values.append(value)
        expected.append((state, jnp.stack(values)))

    def step(state, batch):
        losses, extra = batch
        value, state = made(name).update(losses, state, **extra)
        return state, value

    def stacked(trees):
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)

    @jax.jit
    @jax.vmap
    def run(state, batches):
        return jax.lax.scan(step, state, batches)

    states = stacked([made(name).init() for _ in batches])
    found = run(states, stacked([stacked(steps) for steps in batches]))
    close(found, stacked(expected))


@every_method
def test_a_mask_is_as_good_as_leaving_out(name):
    losses, extra = inputs(name)
    where = np.arange(B) % 3 != 1
    state = started(name)
    few = {key: value[..., where, :] if key == "logits" else value[where]
           for key, value in extra.items()}  # fmt: skip
    expected, new = update(name)(losses[..., where], state, few)
    spoilt = {"logits": jnp.where(where[:, None], extra["logits"], jnp.nan)}
    spoilt |= {"labels": jnp.where(where, extra["labels"], -7)}
    spoilt |= {"index": jnp.where(where, extra["index"], N + 3)}

    @jax.jit
    @functools.partial(jax.grad, argnums=(0, 1), has_aux=True)
    def differentiated(losses, logits):
        values, new = made(name).update(
            losses, state, where=jnp.array(where), **spoilt | {"logits": logits}
        )
        return values.sum(), (values, new)

    bad = jnp.where(where, losses, jnp.nan)
    grads, (values, masked) = differentiated(bad, spoilt["logits"])
    close(values[..., where], expected)
    assert (np.asarray(values)[..., ~where] == 0).all()
    close(masked, new)
    assert (np.asarray(grads[0])[..., ~where] == 0).all()
    assert (np.asarray(grads[1])[..., ~where, :] == 0).all()


@once
@every_method
def test_the_order_of_a_batch_is_irrelevant(name):
    losses, extra = inputs(name)
    state = started(name)
    order = np.random.default_rng(1).permutation(B)
    expected = update(name)(losses, state, extra)
    turned = {key: value[..., order, :] if key == "logits" else value[order]
              for key, value in extra.items()}  # fmt: skip
    found = update(name)(losses[..., order], state, turned)
    close(found, (expected[0][..., order], expected[1]))


@jax.jit
def gradient_of_cross_entropy(logits, labels, index):
    return jax.grad(lambda logits: cross_entropy(logits, labels).sum())(logits)


@once
@every_method
def test_a_limit_is_cross_entropy(name):
    limit = METHODS[name][1]
    if limit is None:
        pytest.skip("no paper states one")
    _, extra = inputs(name)

    transform = limit()

    @jax.jit
    @jax.grad
    def found(logits):
        losses = cross_entropy(logits, extra["labels"])
        given = extra | {"logits": logits}
        return transform.update(losses, transform.init(), **given)[0].sum()

    found, expected = found(extra["logits"]), gradient_of_cross_entropy(**extra)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


# Finite differences fail if detached values change with an example: thresholds over the batch, or
# targets that contain the example's prediction. These settings keep both constant.
STILL = {
    "superloss": lambda: superloss(lam=0.7, threshold=constant(1.5)),
    "superloss_running": lambda: superloss(lam=2.0, threshold=constant(1.5)),
    "superloss_windowed": lambda: superloss(lam=0.3, threshold=constant(1.0)),
    "superloss_per_class": lambda: superloss(threshold=constant(0.5)),
    # On an example's first visit, its loss counts as rising, whatever its value.
    "trend": lambda: memory.trend_superloss(num_examples=N, threshold=constant(1.5)),
    # Both thresholds stay where they were.
    "remembered": lambda: remembering(0.0, decay=1 - 1e-15),
    "remembered_half": lambda: remembering(0.5, decay=1 - 1e-15),
    # The threshold is the highest loss, which small changes of other losses do not affect.
    "mentornet": lambda: curricula.mentornet(percentile=100.0, second=0.5),
    # The weights are held constant, and here do not change with the losses.
    "learned_mentornet": lambda: curricula.learned_mentornet(
        mentornet_params()._replace(kernel=np.zeros((2, 4)))
    ),
    "ogc": lambda: curricula.optimized_clipping(learning_rate=0.1),
    "elr": lambda: memory.early_learning(beta=1 - 1e-15, **SIZES),
    "chain": lambda: chain(
        robust.generalized_cross_entropy(), superloss(lam=0.2, threshold=constant(0.8))
    ),
}


@pytest.mark.skipif(not X64, reason="differences need float64")
@every_method
def test_gradients_are_finite_differences(name):
    transform = STILL[name]() if name in STILL else made(name)
    state = transform.init()
    if name == "elr":
        state = state._replace(targets=jnp.full((N, C), 1 / C) * 0.9)
    _, extra = inputs(name, dtype=jnp.float64)

    @jax.jit
    @jax.value_and_grad
    def total(logits):
        given = extra | {"logits": logits}
        return transform.update(cross_entropy(logits, extra["labels"]), state, **given)[0].sum()

    logits, step = extra["logits"], 1e-6
    grad = np.asarray(total(logits)[1])
    losses = np.asarray(cross_entropy(logits, extra["labels"])).reshape(-1, B)[-1]
    for example in np.argsort(losses)[[0, B // 2, -2]]:  # an easy, a medium and a hard one
        for k in range(C):
            place = (0,) * (logits.ndim - 2) + (int(example), k)
            ahead, behind = np.array(logits), np.array(logits)
            ahead[place] += step
            behind[place] -= step
            slope = (total(ahead)[0] - total(behind)[0]) / (2 * step)
            np.testing.assert_allclose(grad[place], slope, rtol=2e-5, atol=1e-7)


@once
def test_states_come_back_from_orbax(tmp_path):
    states = {name: started(name) for name in METHODS}
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "states", states)
        checkpointer.wait_until_finished()
        fresh = {name: made(name).init() for name in METHODS}
        restored = checkpointer.restore(tmp_path / "states", fresh)
    close(restored, states, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("name", "missing"),
    [("nce_rce", "logits"), ("elr", "index"), ("self_filter", "labels"), ("trend", "index")],
)
def test_what_a_method_needs_and_did_not_get_is_an_error(name, missing):
    losses, extra = inputs(name)
    del extra[missing]
    with pytest.raises(ValueError, match=rf"needs .*{missing}.*: update\(losses, state, "):
        jax.jit(made(name).update)(losses, made(name).init(), **extra)


def test_inputs_that_do_not_fit_are_named():
    losses, extra = inputs("elr")
    for change, message in (
        (
            {"logits": extra["labels"]},
            "logits: early_learning expected real numbers of shape .16, 5",
        ),
        ({"index": extra["logits"]}, "index: expected integers, got float32 of shape .16, 5."),
        ({"index": extra["index"][:3]}, "index: expected integers of shape .16,., got shape .3,."),
    ):
        with pytest.raises(ValueError, match=message):
            made("elr").update(losses, made("elr").init(), **extra | change)
    with pytest.raises(ValueError, match="chain: expected LossTransforms, got <function"):
        chain(superloss)
