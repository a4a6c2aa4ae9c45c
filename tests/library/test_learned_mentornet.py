"""The learned MentorNet against google/mentornet's `utils.mentornet_nn`, translated to NumPy.

The translation has the whole official LSTM, with its recurrent weights and its four gates.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from superloss_jax.curricula import MentorNetParams, learned_mentornet, mentornet_logits
from tests.library.compiled import update, weights_of

OTHER = {"atol": 2e-5, "rtol": 2e-5}


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def official_variables(rng, rows=2):
    """Draws the variables of the official network."""
    shapes = {
        "label_embedding": (rows, 2), "epoch_embedding": (100, 5), "fw": (3, 4), "fw_bias": (4,),
        "bw": (3, 4), "bw_bias": (4,), "W1": (9, 20), "b1": (20,), "W2": (20, 1), "b2": (1,),
    }  # fmt: skip
    return {name: rng.normal(size=shape) for name, shape in shapes.items()}


def official_logits(variables, features):
    """Follows mentornet_nn, whose features are loss, difference, label and epoch."""
    found = []
    for loss, difference, label, epoch in features:
        states = []
        for way in ("fw", "bw"):  # BasicLSTMCell with forget_bias=0, and one step of one input
            memory = hidden = 0.0
            for inputs in ([loss, difference],):
                gates = np.array([*inputs, hidden]) @ variables[way] + variables[f"{way}_bias"]
                i, j, f, o = gates
                memory = memory * sigmoid(f) + sigmoid(i) * np.tanh(j)
                hidden = np.tanh(memory) * sigmoid(o)
            states.append(memory)  # out_state_fw[0] is c
        embedded = [variables["label_embedding"][int(label)]]
        embedded.append(variables["epoch_embedding"][min(int(epoch), 99)])
        fc_1 = np.tanh(np.concatenate([*embedded, states]) @ variables["W1"] + variables["b1"])
        found.append((fc_1 @ (variables["W2"] + variables["b2"]))[0])
    return np.array(found)


def converted(variables, rows=None):
    """Returns the official variables in our form; `rows` of the label embedding, or all."""
    kernel = [variables[way][:2, gate] for gate in (0, 1) for way in ("fw", "bw")]
    bias = [variables[f"{way}_bias"][gate] for gate in (0, 1) for way in ("fw", "bw")]
    own = (
        variables["label_embedding"][:rows], variables["epoch_embedding"],
        np.stack(kernel, axis=1), np.array(bias), variables["W1"], variables["b1"],
        (variables["W2"] + variables["b2"])[:, 0],
    )  # fmt: skip
    return MentorNetParams(*(jnp.asarray(value, jnp.float32) for value in own))


def test_the_network_is_the_official_one():
    rng = np.random.default_rng(0)
    variables = official_variables(rng, rows=3)
    features = np.stack(
        [rng.exponential(2, 64), rng.normal(0, 3, 64), rng.integers(0, 3, 64),
         rng.integers(0, 100, 64)], axis=1,
    )  # fmt: skip
    given = (jnp.asarray(column.reshape(8, 8), jnp.float32) for column in features[:, :2].T)
    rows = (jnp.asarray(column.reshape(8, 8), jnp.int32) for column in features[:, 2:].T)
    found = jax.jit(mentornet_logits)(converted(variables), *given, *rows)
    np.testing.assert_allclose(found.ravel(), official_logits(variables, features), **OTHER)


@pytest.mark.parametrize("classes", [1, 3])
def test_training_is_the_official_loop(classes):
    """utils.mentornet with burn_in_epoch=5, a fixed epoch afterwards, and no dropout."""
    rng = np.random.default_rng(classes)
    variables = official_variables(rng, rows=classes)
    transform = learned_mentornet(
        converted(variables), percentile=60.0, decay=0.5, burn_in=4,
        percent=lambda step: jnp.minimum(step, 5),
    )  # fmt: skip
    state, first = transform.init(), None
    for epoch in range(9):
        losses = rng.exponential(2, 12)
        labels, where = rng.integers(0, classes, 12), np.arange(12) < 11 - epoch % 2
        given = {"labels": labels} if classes > 1 else {}
        v, values, state = weights_of(
            transform, losses.astype(np.float32), state, where=jnp.asarray(where), **given
        )
        current = np.percentile(losses[where], 60)
        first = current if first is None else 0.5 * first + 0.5 * current
        np.testing.assert_allclose(state.first, first, rtol=1e-5)
        fixed = np.full(12, min(epoch, 5))
        features = np.stack([losses, losses - first, labels, fixed], axis=1)
        expected = sigmoid(official_logits(variables, features))
        expected = np.where(where, np.maximum(expected, epoch < 5 - 1), 0)
        np.testing.assert_allclose(v, expected, atol=1e-5)
        np.testing.assert_allclose(values, expected * losses, **OTHER)
    assert state.step == 9


def test_edges():
    params = converted(official_variables(np.random.default_rng(0), rows=1))
    transform = learned_mentornet(params, percent=100.0)
    v, values, _ = weights_of(transform, jnp.array([0.5, jnp.nan, jnp.inf, 0.25]))
    assert np.isfinite(v).tolist() == [True, False, True, True]
    assert values[2] == np.inf
    last, _ = update(learned_mentornet(params, percent=99.0), jnp.array([0.5, 0.25]))
    beyond, _ = update(transform, jnp.array([0.5, 0.25]))
    np.testing.assert_array_equal(last, beyond)


def test_errors():
    params = converted(official_variables(np.random.default_rng(0)))
    for name, value, wanted in (
        ("epochs", jnp.zeros((99, 5)), r"expected epochs of shape \(100, 5\), got \(99, 5\)"),
        ("hidden", jnp.zeros((8, 20)), r"expected hidden of shape \(9, 20\), got \(8, 20\)"),
        ("labels", jnp.zeros((0, 2)), r"expected labels of shape \(1, 2\), got \(0, 2\)"),
        ("output", jnp.zeros(()), r"expected output of shape \(20,\), got \(\)"),
    ):
        with pytest.raises(ValueError, match=f"params: {wanted}"):
            learned_mentornet(params._replace(**{name: value}))
    with pytest.raises(ValueError, match="params: expected MentorNetParams, got dict"):
        learned_mentornet({})
    with pytest.raises(ValueError, match=r"percent: expected a number in \[0, 100\] or a schedule"):
        learned_mentornet(params, percent=-1.0)
    transform = learned_mentornet(params)  # of two classes
    with pytest.raises(ValueError, match="learned_mentornet needs labels"):
        transform.update(jnp.ones(3), transform.init())
