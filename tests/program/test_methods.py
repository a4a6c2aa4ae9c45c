"""Properties that every method must have."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from superloss_jax import (
    chain,
    constant,
    curricula,
    memory,
    noise,
    pairs,
    per_class,
    robust,
    running_mean,
    superloss,
    windowed,
)

pytestmark = pytest.mark.x64

X64 = bool(jax.config.read("jax_enable_x64"))
B, C, N = 16, 5, 40
SIZES = {"num_examples": N, "num_classes": C}
T = noise.transition_matrix("symmetric_exclusive", 0.3, C)
NEVER = 10**6
# How to build each method, and how to make it cross entropy (None: no paper states a limit).
METHODS = {
    "superloss": (lambda: superloss(lam=0.7), lambda: superloss(lam=1e30)),
    "superloss_running": (lambda: superloss(threshold=running_mean()), None),
    "superloss_windowed": (lambda: superloss(threshold=windowed(2)), None),
    "superloss_per_class": (lambda: superloss(threshold=per_class(C)), None),
    "trend": (
        lambda: memory.trend_superloss(num_examples=N, window=3),
        lambda: memory.trend_superloss(num_examples=N, lam=1e30),
    ),
    "gce": (robust.generalized_cross_entropy, lambda: robust.generalized_cross_entropy(q=0)),
    "truncated_gce": (curricula.truncated_gce, lambda: curricula.truncated_gce(q=0, start=NEVER)),
    "sce": (
        robust.symmetric_cross_entropy,
        lambda: robust.symmetric_cross_entropy(alpha=1.0, beta=0.0),
    ),
    "nce_rce": (robust.active_passive, None),
    "nce_mae": (lambda: robust.active_passive(passive="mae"), None),
    "bootstrap": (robust.bootstrap, lambda: robust.bootstrap(beta=1.0)),
    "bootstrap_hard": (
        lambda: robust.bootstrap(hard=True),
        lambda: robust.bootstrap(hard=True, beta=1.0),
    ),
    "focal": (robust.focal, lambda: robust.focal(gamma=0.0)),
    "forward": (
        lambda: robust.forward_correction(T),
        lambda: robust.forward_correction(np.eye(C)),
    ),
    "backward": (
        lambda: robust.backward_correction(T),
        lambda: robust.backward_correction(np.eye(C)),
    ),
    "self_paced": (
        lambda: curricula.self_paced(threshold=optax.linear_schedule(1.0, 4.0, 5)),
        lambda: curricula.self_paced(threshold=1e30),
    ),
    "self_paced_linear": (
        lambda: curricula.self_paced(threshold=2.0, weights="linear"),
        lambda: curricula.self_paced(threshold=1e30, weights="linear"),
    ),
    "mentornet": (
        lambda: curricula.mentornet(percentile=60.0, second=0.5),
        lambda: curricula.mentornet(burn_in=NEVER),
    ),
    # With both kinds, sigma starts at 1.05; with one, at 1.
    "data_parameters": (
        lambda: memory.data_parameters(**SIZES),
        lambda: memory.data_parameters(num_examples=N),
    ),
    "elr": (lambda: memory.early_learning(**SIZES), lambda: memory.early_learning(lam=0, **SIZES)),
    "self_filter": (
        lambda: memory.self_filter(**SIZES),
        lambda: memory.self_filter(start=NEVER, **SIZES),
    ),
    "loss_memory": (
        lambda: memory.loss_memory(num_examples=N),
        lambda: memory.loss_memory(num_examples=N),
    ),
    "co_teaching": (lambda: pairs.co_teaching(keep=0.6), lambda: pairs.co_teaching(keep=1.0)),
    "jocor": (lambda: pairs.jocor(keep=0.6), lambda: pairs.jocor(keep=1.0, lam=0.0)),
    "chain": (
        lambda: chain(robust.generalized_cross_entropy(), superloss(lam=0.2)),
        lambda: chain(robust.focal(gamma=0.0), superloss(lam=1e30)),
    ),
}
PAIRS = ("co_teaching", "jocor")
every_method = pytest.mark.parametrize("name", METHODS)
once = pytest.mark.skipif(X64, reason="x64 has no part in it")


def cross_entropy(logits, labels):
    labels = jnp.broadcast_to(labels, logits.shape[:-1])
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels)


def inputs(name, seed=0, dtype=jnp.float32):
    """Returns the losses and all further inputs for a batch of distinct examples."""
    rng = np.random.default_rng(seed)
    shape = (2, B, C) if name in PAIRS else (B, C)
    logits = jnp.asarray(3 * rng.normal(size=shape), dtype)
    labels = jnp.asarray(rng.integers(0, C, B), jnp.int32)
    index = jnp.asarray(rng.permutation(N)[:B], jnp.int32)
    return cross_entropy(logits, labels), {"logits": logits, "labels": labels, "index": index}


@functools.cache
def made(name):
    return METHODS[name][0]()


@functools.cache
def update(name):
    """Compiles the update, which is mostly faster than running single operations."""
    return jax.jit(lambda losses, state, extra: made(name).update(losses, state, **extra))


@functools.cache
def started(name):
    """Returns a state that has seen one batch."""
    losses, extra = inputs(name, seed=9)
    return update(name)(losses, made(name).init(), extra)[1]


def close(a, b, **tolerance):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert x.dtype == y.dtype
        x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
        np.testing.assert_allclose(x, y, **({"rtol": 2e-5, "atol": 1e-6} | tolerance))


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
    # The threshold is the highest loss, which small changes of other losses do not affect.
    "mentornet": lambda: curricula.mentornet(percentile=100.0, second=0.5),
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
        ({"logits": extra["labels"]}, "logits: expected real numbers of shape .16, 'classes'."),
        ({"index": extra["logits"]}, "index: expected integers of shape .16,., got float32"),
        ({"index": extra["index"][:3]}, "index: expected integers of shape .16,., got int32 of"),
    ):
        with pytest.raises(ValueError, match=message):
            made("elr").update(losses, made("elr").init(), **extra | change)
    with pytest.raises(ValueError, match="chain: expected LossTransforms, got <function"):
        chain(superloss)
