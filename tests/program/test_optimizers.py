"""Compares schedules with their formulas, and steps of each optimizer with PyTorch's."""

import chex
import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import optax
import pytest

from experiments.training import build, optimizers
from experiments.training import step as one_step
from experiments.training.order import epoch_order
from tests.program.test_train import small_config

VALUES = {"learning_rate": 0.1, "warmup_epochs": 0.0, "boundaries": (2.0, 3.0), "factor": 0.1}


def rates(name, **changes):
    own = ml_collections.ConfigDict({"schedule": name} | VALUES | changes)
    schedule = optimizers.schedule(own, epochs=4, steps_per_epoch=10)
    return np.array([float(schedule(step)) for step in range(40)])


def test_schedules():
    np.testing.assert_allclose(rates("constant"), 0.1)
    expected = np.repeat([0.1, 0.1, 0.01, 0.001], 10)
    np.testing.assert_allclose(rates("piecewise"), expected, rtol=1e-6)
    cosine = 0.05 * (1 + np.cos(np.pi * np.arange(40) / 40))
    np.testing.assert_allclose(rates("cosine"), cosine, rtol=1e-5, atol=1e-8)
    # r(t) = (1 - s) r_max + s r_min, s = (1 + (t - 1) mod c) / c, in epoch t = 1, 2, ...
    s = np.array([(1 + (t - 1) % 2) / 2 for t in range(1, 5)])
    expected_cyclic = np.repeat((1 - s) * 0.1 + s * 0.01, 10)
    np.testing.assert_allclose(rates("cyclic"), expected_cyclic, rtol=1e-6)
    warm = rates("cosine", warmup_epochs=1.0)
    np.testing.assert_allclose(warm[:10], 0.1 * np.arange(1, 11) / 10, rtol=1e-6)
    cosine = 0.05 * (1 + np.cos(np.pi * np.arange(30) / 30))
    np.testing.assert_allclose(warm[10:], cosine, rtol=1e-4, atol=1e-8)
    warm = rates("piecewise", warmup_epochs=1.0)
    np.testing.assert_allclose(warm[10:], expected[10:], rtol=1e-6)


# Two steps from w = (1, -2) with gradients (0.5, 0.25), then (-1, 0.75), at a learning rate of 0.1
# and a weight decay of 0.01, by PyTorch 2.14: scripts/torch_steps.py prints them.
PYTORCH = {
    ("sgd", 0.0, False): (1.048051, -2.095977),
    ("sgd", 0.9, False): (1.002151, -2.116677),
    ("sgd", 0.9, True): (1.0500741, -2.200947),
    ("adam", 0.9, False): (0.9355236, -2.1911203),
    ("adamw", 0.9, False): (0.9347114, -2.1876801),
}


@pytest.mark.parametrize("setting", PYTORCH)
def test_steps_are_pytorch_s(setting):
    name, momentum, nesterov = setting
    own = ml_collections.ConfigDict(VALUES | {
        "name": name, "momentum": momentum, "nesterov": nesterov, "weight_decay": 0.01,
        "schedule": "constant",
    })  # fmt: skip
    optimizer = optimizers.make(own, epochs=1, steps_per_epoch=1)
    w = jnp.array([1.0, -2.0])
    state = optimizer.init(w)
    for gradient in ([0.5, 0.25], [-1.0, 0.75]):
        updates, state = optimizer.update(jnp.array(gradient), state, w)
        w = optax.apply_updates(w, updates)
    np.testing.assert_allclose(w, PYTORCH[setting], rtol=1e-6)


def test_l1_adds_the_signs_of_the_parameters():
    """At a rate of 0.1: 1 - 0.1 (0.5 + 0.3), -2 - 0.1 (0.25 - 0.3), and 0 has no sign."""
    own = ml_collections.ConfigDict(VALUES | {
        "name": "sgd", "momentum": 0.0, "nesterov": False, "weight_decay": 0.0, "l1": 0.3,
        "schedule": "constant",
    })  # fmt: skip
    w = {"a": jnp.array([1.0, -2.0]), "b": jnp.zeros(1)}
    optimizer = optimizers.make(own, epochs=1, steps_per_epoch=1)
    gradients = {"a": jnp.array([0.5, 0.25]), "b": jnp.ones(1)}
    updates, _ = optimizer.update(gradients, optimizer.init(w), w)
    w = optax.apply_updates(w, updates)
    np.testing.assert_allclose([*w["a"], *w["b"]], [0.92, -1.995, -0.1], rtol=1e-6)
    own.weight_decay = 0.1  # beside it: 1 - 0.1 (0.8 + 0.1)
    optimizer = optimizers.make(own, epochs=1, steps_per_epoch=1)
    updates, _ = optimizer.update(jnp.array(0.5), optimizer.init(jnp.ones(())), jnp.ones(()))
    np.testing.assert_allclose(updates, -0.09, rtol=1e-6)
    own.l1 = -1.0
    with pytest.raises(ValueError, match=r"config.optimizer.l1: .*-1.0"):
        optimizers.make(own, epochs=1, steps_per_epoch=1)


def test_clipping_bounds_the_norm_before_weight_decay_is_added():
    """Of (6, 8) with norm 10, clipped to 5: (3, 4), and then 0.5 times the parameters."""
    own = ml_collections.ConfigDict(VALUES | {
        "name": "sgd", "momentum": 0.0, "nesterov": False, "weight_decay": 0.5, "clip": 5.0,
        "schedule": "constant",
    })  # fmt: skip
    optimizer = optimizers.make(own, epochs=1, steps_per_epoch=1)
    w, gradients = (
        {"a": jnp.ones(1), "b": jnp.ones(1)},
        {"a": jnp.full(1, 6.0), "b": jnp.full(1, 8.0)},
    )
    updates, _ = optimizer.update(gradients, optimizer.init(w), w)
    np.testing.assert_allclose([*updates["a"], *updates["b"]], [-0.35, -0.45], rtol=1e-6)
    own.clip = -1.0
    with pytest.raises(ValueError, match=r"config.optimizer.clip: .*-1.0"):
        optimizers.make(own, epochs=1, steps_per_epoch=1)


def test_sam_takes_the_gradient_uphill():
    """Of |w|^2 / 2 at (3, 4), whose gradient w has norm 5: w - 0.1 (w + 0.5 w / 5)."""
    own = ml_collections.ConfigDict(VALUES | {
        "name": "sgd", "momentum": 0.0, "nesterov": False, "weight_decay": 0.0, "sam": 0.5,
        "schedule": "constant",
    })  # fmt: skip
    optimizer, w = optimizers.make(own, epochs=1, steps_per_epoch=1), jnp.array([3.0, 4.0])
    updates, _ = optimizer.update(w, optimizer.init(w), w, grad_fn=lambda params, i: params)
    np.testing.assert_allclose(w + updates, [3 - 0.33, 4 - 0.44], rtol=1e-6)
    still = jnp.zeros(2)  # without a gradient there is no uphill
    updates, _ = optimizer.update(still, optimizer.init(w), w, grad_fn=lambda params, i: params)
    np.testing.assert_allclose(updates, [-0.3, -0.4], rtol=1e-6)
    own.sam = -1.0
    with pytest.raises(ValueError, match=r"config.optimizer.sam: .*-1.0"):
        optimizers.make(own, epochs=1, steps_per_epoch=1)


def test_a_step_with_sam_looks_at_the_batch_twice():
    config = small_config(**{"optimizer.name": "sgd", "optimizer.momentum": 0.0})
    config.optimizer.sam, config.optimizer.learning_rate = 0.5, 0.1
    run = build.build_run(config)
    state, data = one_step.init_state(run, 0), run.problem.stored(run.dataset.train)
    order = epoch_order(0, 1, len(data.index), config.batch_size)[:1]

    @jax.jit
    def expected(state, data):
        here = one_step.differentiate(run, state, data, order).grads
        norm = jnp.sqrt(sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(here)))
        uphill = jax.tree.map(lambda p, g: p + 0.5 * g / norm, state.params, here)
        there = one_step.differentiate(run, state._replace(params=uphill), data, order).grads
        return jax.tree.map(lambda p, g: p - 0.1 * g, state.params, there)

    params = expected(state, data)
    after, failed = one_step.make_train_step(run)(state, data, order)
    assert not failed
    chex.assert_trees_all_close(after.params, params, rtol=1e-5, atol=1e-6)
    config.loss.method = "co_teaching"
    with pytest.raises(ValueError, match=r"config\.optimizer\.sam: expected 0 with two networks"):
        build.build_run(config)
