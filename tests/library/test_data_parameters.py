"""Data parameters against the official training loop, with float64 finite differences."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from superloss_jax.memory import data_parameters, instance_weights
from tests.library.compiled import update


def mean_cross_entropy(parts, labels, index, logits, where):
    """The official loss, in float64: mean over the batch of CE(z / sigma)."""
    sigma = np.zeros(len(labels))
    for kind, values in parts.items():
        sigma += np.exp(values)[{"classes": labels, "examples": index}[kind]]
    z = logits / sigma[:, None]
    z = z - z.max(axis=1, keepdims=True)
    losses = np.log(np.exp(z).sum(axis=1)) - z[np.arange(len(labels)), labels]
    return losses, losses[where].mean()


def official_step(parts, momenta, rates, batch):
    """apple/ml-data-parameters: mean loss, SGD with momentum, absent entries restored, clamp."""
    new = {kind: values.copy() for kind, values in parts.items()}
    labels, index, _, where = batch
    for kind, values in parts.items():
        present = np.unique({"classes": labels, "examples": index}[kind][where])
        for i in present:
            up, down = (
                {**parts, kind: values + s * (np.arange(len(values)) == i)} for s in (1e-5, -1e-5)
            )
            slope = (mean_cross_entropy(up, *batch)[1] - mean_cross_entropy(down, *batch)[1]) / 2e-5
            momenta[kind][i] = 0.9 * momenta[kind][i] + slope
            new[kind][i] -= rates[kind] * momenta[kind][i]
        new[kind] = np.clip(new[kind], np.log(1 / 20), np.log(20))
    return new


SIZES = {"classes": 3, "examples": 9}


@pytest.mark.parametrize("kinds", [("classes",), ("examples",), ("classes", "examples")])
def test_data_parameters_follow_the_official_loop(kinds):
    transform = data_parameters(
        num_classes=3 if "classes" in kinds else None,
        num_examples=9 if "examples" in kinds else None,
        instance_optimizer=optax.sgd(5.0, momentum=0.9),
    )
    rates = {"classes": 0.1, "examples": 5.0}
    rng, state = np.random.default_rng(1), transform.init()
    parts = {kind: np.zeros(SIZES[kind]) for kind in kinds}
    if len(kinds) == 2:
        parts["examples"] -= np.log(20)
    momenta = {kind: np.zeros(SIZES[kind]) for kind in kinds}
    targets = rng.integers(0, 3, 9)
    for _ in range(6):
        index = rng.integers(0, 9, 7)  # with repeats
        labels, where = targets[index], rng.random(7) < 0.8
        logits = rng.normal(0, 3, (7, 3)).astype(np.float32)
        batch = labels, index, logits, where
        expected, _ = mean_cross_entropy(parts, *batch)
        dirty = np.where(where[:, None], logits, np.nan)
        values, state = update(
            transform, jnp.zeros(7), state, where=where, logits=dirty, labels=labels, index=index
        )
        # The losses are weighted before the parameters take their step.
        np.testing.assert_allclose(values, np.where(where, expected, 0), rtol=2e-4, atol=1e-5)
        parts = official_step(parts, momenta, rates, batch)
        for kind in kinds:
            np.testing.assert_allclose(getattr(state, kind).log_sigma, parts[kind], atol=2e-4)
    if kinds == ("examples",):
        assert np.abs(parts["examples"]).max() == np.log(20)  # the clamp was reached


def inputs_of(seed=0, size=6, classes=4):
    rng = np.random.default_rng(seed)
    logits = jnp.array(rng.normal(0, 2, (size, classes)), jnp.float32)
    return {"logits": logits, "labels": jnp.array(rng.integers(0, classes, size))}


def test_data_parameters_send_the_gradient_of_the_scaled_logits():
    transform = data_parameters(num_examples=6)
    inputs = {**inputs_of(), "index": jnp.arange(6)}
    log_sigma = jnp.linspace(-2, 2, 6)
    state = transform.init()
    state = state._replace(examples=state.examples._replace(log_sigma=log_sigma))

    def total(logits):
        return transform.update(jnp.zeros(6), state, **{**inputs, "logits": logits})[0].sum()

    sigma = np.exp(np.asarray(log_sigma, np.float64))[:, None]
    p = np.exp(np.asarray(inputs["logits"], np.float64) / sigma)
    expected = p / p.sum(axis=1, keepdims=True) - np.eye(4)[inputs["labels"]]
    actual = jax.jit(jax.grad(total))(inputs["logits"])
    np.testing.assert_allclose(actual, expected / sigma, rtol=1e-4, atol=1e-6)


def test_data_parameters_default_to_sgd_with_momentum():
    own, given = (
        data_parameters(num_classes=4, num_examples=6, **optimizers)
        for optimizers in (
            {},
            {
                "class_optimizer": optax.sgd(0.1, momentum=0.9),
                "instance_optimizer": optax.sgd(0.2, momentum=0.9),
            },
        )
    )
    states = own.init(), given.init()
    for seed in range(3):
        inputs = {**inputs_of(seed), "index": jnp.arange(6)}
        states = [
            update(transform, jnp.zeros(6), state, **inputs)[1]
            for transform, state in zip((own, given), states, strict=True)
        ]
    for kind in ("classes", "examples"):
        moved, expected = (np.asarray(getattr(state, kind).log_sigma) for state in states)
        np.testing.assert_allclose(moved, expected, rtol=1e-6)
        assert (moved != getattr(own.init(), kind).log_sigma).any()


def test_absent_examples_keep_their_parameters_and_moments():
    transform = data_parameters(num_examples=9, instance_optimizer=optax.adam(0.1))
    inputs = {**inputs_of(), "index": jnp.array([0, 1, 2, 3, 4, 5])}
    _, before = update(transform, jnp.zeros(6), **inputs)
    where = jnp.array([True, True, False, False, False, False])
    inputs["index"] = jnp.array([7, 1, 0, 2, 3, 4])
    _, after = update(transform, jnp.zeros(6), before, where=where, **inputs)
    before, after = jax.device_get((before, after))
    still = np.array([0, 2, 3, 4, 5, 6, 8])
    adam_before, adam_after = before.examples.optimizer[0], after.examples.optimizer[0]
    for old, new in (
        (before.examples.log_sigma, after.examples.log_sigma),
        (adam_before.mu, adam_after.mu),
        (adam_before.nu, adam_after.nu),
    ):
        np.testing.assert_array_equal(old[still], new[still])
        assert (old[[1, 7]] != new[[1, 7]]).all()
    assert adam_after.count == 2
    chex.assert_trees_all_equal_shapes_and_dtypes(before, after)


def test_data_parameters_at_extreme_and_non_finite_logits():
    transform = data_parameters(num_classes=2, num_examples=4)
    labels, index = jnp.array([0, 1, 0, 1]), jnp.arange(4)
    low = -jnp.inf  # logit of a masked class
    logits = jnp.array([[1e4, -1e4, low], [1e4, -1e4, 0.0], [0.0, low, low], [2.0, 1.0, low]])
    inputs = {"labels": labels, "index": index}
    state = transform.init()
    values, after = jax.device_get(update(transform, jnp.zeros(4), logits=logits, **inputs))
    np.testing.assert_allclose(values[:3], [0, 2e4 / 1.05, 0], rtol=1e-6)
    chex.assert_tree_all_finite(after)
    assert after.examples.log_sigma[3] != state.examples.log_sigma[3]
    assert (np.abs(after.examples.log_sigma) <= np.log(20) * (1 + 1e-6)).all()
    # A NaN example is treated like an absent one.
    bad = logits.at[1].set(jnp.nan)
    values, after = update(transform, jnp.zeros(4), logits=bad, **inputs)
    _, dropped = update(transform, jnp.zeros(4), logits=logits, where=index != 1, **inputs)
    assert np.isnan(values).tolist() == [False, True, False, False]
    chex.assert_trees_all_close(after, dropped)


def test_unknown_examples_and_classes_give_nan():
    transform = data_parameters(num_classes=3, num_examples=4)
    inputs = {"logits": jnp.ones((4, 4)), "labels": jnp.array([0, 3, 1, 1])}
    values, state = update(transform, jnp.zeros(4), index=jnp.array([0, 1, 4, -1]), **inputs)
    assert np.isnan(values).tolist() == [False, True, True, True]
    chex.assert_tree_all_finite(state)


def test_instance_weights_tell_wrong_labels():
    rng = np.random.default_rng(3)
    targets, wrong = rng.integers(0, 4, 40), rng.random(40) < 0.3
    labels = np.where(wrong, (targets + 1) % 4, targets)
    logits = jnp.array(3 * np.eye(4)[targets] + rng.normal(0, 0.5, (40, 4)), jnp.float32)
    joint = data_parameters(num_classes=4, num_examples=40)
    single = data_parameters(num_examples=40)
    for transform, given in ((single, None), (joint, labels)):
        state = transform.init()
        for _ in range(5):
            _, state = update(
                transform,
                jnp.zeros(40),
                state,
                logits=logits,
                labels=jnp.array(labels),
                index=jnp.arange(40),
            )
        weights = instance_weights(state, given)
        assert weights.shape == (40,)
        log_sigma = np.asarray(state.examples.log_sigma)
        sigma = np.exp(log_sigma)
        if given is not None:
            sigma += np.exp(np.asarray(state.classes.log_sigma))[labels]
        np.testing.assert_allclose(weights, 1 / sigma, rtol=1e-5)
        assert log_sigma[wrong].min() > log_sigma[~wrong].max()
    with pytest.raises(ValueError, match="parameters per class need labels"):
        instance_weights(state)


def test_data_parameter_errors():
    with pytest.raises(ValueError, match="expected num_classes, num_examples or both"):
        data_parameters()
    with pytest.raises(ValueError, match="num_examples: expected an integer >= 1"):
        data_parameters(num_examples=0)
    with pytest.raises(ValueError, match="clamp: expected a finite number > 1"):
        data_parameters(num_classes=2, clamp=1.0)
    with pytest.raises(ValueError, match=r"class_optimizer: expected an Optax optimizer, got 0\.1"):
        data_parameters(num_classes=2, class_optimizer=0.1)
    transform = data_parameters(num_examples=2)
    with pytest.raises(ValueError, match="data_parameters needs logits and labels and index"):
        transform.update(jnp.zeros(2), transform.init())
    transform = data_parameters(num_classes=4)
    update(transform, jnp.zeros(6), **inputs_of())  # no index
