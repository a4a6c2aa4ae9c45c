"""ELR, SELF's filter and O2U-Net's record against NumPy versions of the papers and their code."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from superloss_jax.memory import early_learning, loss_memory, self_filter
from tests.library.compiled import update, weights_of

N, C = 12, 4


def softmax(z):
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def batches(steps, size=6, seed=0):
    """Yields logits, labels, cross entropies and indices; an index is unique within a batch."""
    rng = np.random.default_rng(seed)
    for _ in range(steps):
        logits = 3 * rng.normal(size=(size, C))
        labels = rng.integers(0, C, size)
        losses = -np.log(softmax(logits))[np.arange(size), labels]
        yield logits, labels, losses, rng.choice(N, size, replace=False)


def arrays(logits, labels, losses, index):
    inputs = {"logits": jnp.array(logits), "labels": jnp.array(labels), "index": jnp.array(index)}
    return jnp.array(losses), inputs


@jax.jit
def early(losses, state, lam, beta, **inputs):
    transform = early_learning(num_examples=N, num_classes=C, lam=lam, beta=beta)
    return transform.update(losses, state, **inputs)


@pytest.mark.parametrize(("lam", "beta"), [(3.0, 0.7), (1.0, 0.9), (7.0, 0.0)])
def test_early_learning_is_the_official_formula(lam, beta):
    state = early_learning(num_examples=N, num_classes=C).init()
    target = np.zeros((N, C))
    for logits, labels, losses, index in batches(4):
        # shengliu66/ELR, elr_loss.forward, without its mean over the batch.
        p = np.clip(softmax(logits), 1e-4, 1.0 - 1e-4)
        target[index] = beta * target[index] + (1 - beta) * (p / p.sum(axis=1, keepdims=True))
        expected = losses + lam * np.log(1 - (target[index] * p).sum(axis=1))
        jax_losses, inputs = arrays(logits, labels, losses, index)
        values, state = early(jax_losses, state, lam, beta, **inputs)
        np.testing.assert_allclose(values, expected, rtol=1e-5, atol=2e-5)
        np.testing.assert_allclose(state.targets, target, rtol=1e-5, atol=1e-6)


def test_early_learning_s_gradient_passes_through_p_alone():
    """For logit c, the paper has lam * p_c * sum_k (t_k - t_c) p_k / (1 - <t, p>)."""
    state = early_learning(num_examples=N, num_classes=C).init()

    @jax.jit
    def gradients(losses, state, logits, **inputs):
        def total(losses, logits):
            values, new_state = early(losses, state, 3.0, 0.7, logits=logits, **inputs)
            return values.sum(), new_state

        return jax.grad(total, argnums=(0, 1), has_aux=True)(losses, logits)

    for logits, labels, losses, index in batches(3, seed=1):
        losses, inputs = arrays(logits, labels, losses, index)
        (by_loss, by_logits), state = gradients(losses, state, **inputs)
    np.testing.assert_array_equal(by_loss, 1)
    p, t = softmax(np.float64(logits)), np.asarray(state.targets, np.float64)[index]
    assert ((p > 1e-4) & (p < 1 - 1e-4)).all()  # nothing is clipped
    inner = (t * p).sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(by_logits, 3.0 * p * (inner - t) / (1 - inner), rtol=1e-4, atol=1e-5)


def test_early_learning_cancels_the_gradient_of_a_wrong_label():
    transform = early_learning(num_examples=1, num_classes=2, lam=3.0)
    index = jnp.array([0])

    @jax.jit
    def gradient(z, state):
        def value(z):
            loss = -jax.nn.log_softmax(z)[:, 1]  # the given label is 1
            values, new_state = transform.update(loss, state, logits=z, index=index)
            return values.sum(), new_state

        return jax.grad(value, has_aux=True)(z)

    state = transform.init()
    for _ in range(10):  # early in training, the network says 0
        _, state = gradient(jnp.array([[4.0, 0.0]]), state)
    fitting = jnp.array([[1.5, 0.0]])
    # Cross entropy's gradient, p_0 = 0.82, would fit the label; this one returns to class 0.
    assert gradient(fitting, state)[0][0, 0] < 0
    assert gradient(fitting, transform.init())[0][0, 0] > 0.5


@pytest.mark.parametrize("scale", [1e4, -1e4])
def test_early_learning_at_saturated_logits(scale):
    transform = early_learning(num_examples=2, num_classes=C, beta=0.0)
    logits = scale * jnp.eye(2, C)
    inputs = {"index": jnp.arange(2)}

    def total(z):
        return transform.update(jnp.zeros(2), transform.init(), logits=z, **inputs)[0].sum()

    value, grads = jax.jit(jax.value_and_grad(total))(logits)
    q = np.clip(softmax(np.float64(logits)), 1e-4, 1 - 1e-4)
    t = q / q.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(value, 3 * np.log(1 - (t * q).sum(axis=1)).sum(), rtol=1e-3)
    assert np.isfinite(grads).all()


def test_no_pull_is_cross_entropy():
    state = early_learning(num_examples=N, num_classes=C).init()
    for batch in batches(3):
        losses, inputs = arrays(*batch)
        values, state = early(losses, state, 0.0, 0.7, **inputs)
        np.testing.assert_array_equal(values, losses)


@jax.jit
def filtering(losses, state, decay, **inputs):
    transform = self_filter(num_examples=N, num_classes=C, decay=decay, start=2)

    def total(losses):
        values, new_state = transform.update(losses, state, **inputs)
        return values.sum(), (values, new_state)

    return jax.grad(total, has_aux=True)(losses)


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.9])
def test_self_filter_keeps_what_the_average_agrees_with(decay):
    state = self_filter(num_examples=N, num_classes=C).init()
    average, filtered = np.zeros((N, C)), 0
    for step, (logits, labels, losses, index) in enumerate(batches(8)):
        average[index] = decay * average[index] + (1 - decay) * softmax(logits)
        keep = (average[index].argmax(axis=1) == labels) | (step < 2)
        jax_losses, inputs = arrays(logits, labels, losses, index)
        grads, (values, state) = filtering(jax_losses, state, decay, **inputs)
        np.testing.assert_array_equal(values, np.where(keep, jax_losses, 0))
        np.testing.assert_array_equal(grads, keep)
        filtered += np.sum(~keep)
    np.testing.assert_allclose(state.predictions, average, rtol=1e-5, atol=1e-6)
    assert state.step == 8
    assert 0 < filtered < 36


def test_each_prediction_weighs_by_its_age_alone():
    """Later predictions outweigh a strong first one; a mean started at the first would not."""
    transform = self_filter(num_examples=1, num_classes=2, decay=0.9)
    state = transform.init()
    inputs = {"labels": jnp.array([1]), "index": jnp.array([0])}
    for p in (0.9, 0.1, 0.1):
        logits = jnp.log(jnp.array([[p, 1 - p]]))
        value, state = update(transform, jnp.ones(1), state, logits=logits, **inputs)
    # The weights are proportional to 0.81, 0.9, 1: 0.729 + 0.09 + 0.1 < 0.081 + 0.81 + 0.9.
    np.testing.assert_allclose(state.predictions[0] / 0.1, [0.919, 1.791], rtol=1e-5)
    assert value == 1
    started_at_first = 0.9**2 * 0.9 + 0.1 * (0.9 * 0.1 + 0.1)
    assert started_at_first > 0.5


def test_a_filtered_loss_may_be_infinite_but_a_nan_prediction_shows():
    transform = self_filter(num_examples=3, num_classes=2)
    logits = jnp.array([[5.0, -5.0], [jnp.nan, 0.0]])
    inputs = {"logits": logits, "labels": jnp.array([1, 1]), "index": jnp.array([0, 1])}
    values, _ = update(transform, [jnp.inf, 1.0], **inputs)
    np.testing.assert_array_equal(values, [0.0, np.nan])


MEMORIES = {
    "early_learning": early_learning(num_examples=3, num_classes=2),
    "self_filter": self_filter(num_examples=3, num_classes=2),
    "loss_memory": loss_memory(num_examples=3),
}


@pytest.mark.parametrize("name", ["early_learning", "self_filter"])
def test_an_example_that_comes_twice_is_seen_once_with_the_mean(name):
    logits = jnp.array([[2.0, 0.0], [0.0, 1.0], [0.0, 3.0]])
    inputs = {"labels": jnp.array([0, 1, 0]), "index": jnp.array([2, 0, 2])}
    _, state = update(MEMORIES[name], jnp.ones(3), logits=logits, **inputs)
    share = 0.3 if name == "early_learning" else 0.1
    p = softmax(np.float64(logits))
    expected = share * np.stack([p[1], np.zeros(2), (p[0] + p[2]) / 2])
    np.testing.assert_allclose(state[0], expected, rtol=1e-5)


@pytest.mark.parametrize("name", MEMORIES)
@pytest.mark.parametrize("unknown", [-1, 3, 100])
def test_an_index_outside_of_the_data_set_gives_nan_and_is_not_recorded(name, unknown):
    inputs = {"logits": jnp.array([[9.0, 0.0], [0.0, 9.0]]), "labels": jnp.array([0, 1])}
    inputs["index"] = jnp.array([unknown, 1])
    values, state = update(MEMORIES[name], jnp.ones(2), **inputs)
    assert np.isnan(values[0])
    assert np.isfinite(values[1])
    # Only the row of the example 1 has changed.
    rows = [leaf for leaf in jax.tree.leaves(state) if leaf.ndim]
    for row in rows:
        assert np.flatnonzero(np.asarray(row).reshape(3, -1).any(axis=1)).tolist() == [1]


def test_loss_memory_sums_and_counts_what_is_unmasked_and_finite():
    transform = loss_memory(num_examples=4)
    losses = [1.0, 2.0, jnp.inf, jnp.nan, 5.0]
    where = jnp.array([True, True, True, False, True])
    index = jnp.array([3, 0, 1, 1, 3])
    values, state = update(transform, losses, index=index, where=where)
    np.testing.assert_array_equal(values, [1.0, 2.0, np.inf, 0.0, 5.0])
    _, state = update(transform, [4.0], state, index=jnp.array([0]))
    assert state.total.tolist() == [6.0, 0.0, 0.0, 6.0]
    assert state.visits.tolist() == [2, 0, 0, 2]
    grads, _, _ = weights_of(transform, jnp.ones(5), state, index=index)
    np.testing.assert_array_equal(grads, 1)


def epochs(rng, count, size):
    """Yields the losses of epochs, which decrease on average, and their shuffled batches."""
    for level in np.linspace(3, 1, count):
        losses = np.float32(level + rng.exponential(size=N))
        yield losses, rng.permutation(N).reshape(-1, size)


def test_loss_memory_ranks_as_the_official_epoch_means_do():
    rng = np.random.default_rng(3)
    transform, official = loss_memory(num_examples=N), np.zeros(N)
    state = transform.init()
    for losses, shuffled in epochs(rng, 5, size=4):
        official += losses - losses.mean()  # hjimce/O2U-Net, second_stage
        for index in shuffled:
            _, state = update(transform, losses[index], state, index=jnp.array(index))
    np.testing.assert_array_equal(np.argsort(state.total), np.argsort(official))
    np.testing.assert_array_equal(state.visits, 5)


def test_centred_loss_memory_with_one_batch_an_epoch_is_official():
    rng = np.random.default_rng(4)
    transform, official = loss_memory(num_examples=N, centred=True), np.zeros(N)
    state = transform.init()
    for losses, ((*order,),) in epochs(rng, 5, size=N):
        official += losses - losses.mean()
        padded = np.array([*losses[order], 99.0, np.inf])  # neither enters the mean
        index = jnp.array([*order, 0, 0])
        _, state = update(transform, padded, state, index=index, where=padded != 99.0)
    np.testing.assert_allclose(state.total, official, rtol=1e-4, atol=1e-5)


def test_centred_loss_memory_corrects_for_when_an_example_was_seen():
    """Example 0 is easy but only seen early, 1 hard but only seen late; 2 and 3 are always seen."""
    early, late = jnp.array([2.8, 3.0, 3.2]), jnp.array([1.2, 1.0, 0.8])
    scores = {}
    for centred in (False, True):
        transform = loss_memory(num_examples=4, centred=centred)
        _, state = update(transform, early, index=jnp.array([0, 2, 3]))
        _, state = update(transform, late, state, index=jnp.array([1, 2, 3]))
        scores[centred] = np.asarray(state.total) / np.asarray(state.visits)
    assert scores[False][0] > scores[False][1]
    assert scores[True][0] < scores[True][1]


def test_state_is_one_row_per_example():
    chex.assert_shape(early_learning(num_examples=7, num_classes=3).init().targets, (7, 3))
    chex.assert_shape(self_filter(num_examples=7, num_classes=3).init().predictions, (7, 3))
    state = loss_memory(num_examples=7).init()
    chex.assert_shape([state.total, state.visits], (7,))
    assert state.visits.dtype == jnp.int32


@pytest.mark.parametrize(
    ("factory", "hyper", "message"),
    [
        (early_learning, {"num_examples": 0, "num_classes": 2}, "num_examples: expected an int"),
        (early_learning, {"num_examples": 5, "num_classes": 1}, "num_classes: expected an integer"),
        (early_learning, {"lam": -1.0}, "lam: expected a finite number >= 0, got -1.0"),
        (early_learning, {"beta": 1.0}, r"beta: expected a number in \[0, 1\), got 1.0"),
        (self_filter, {"decay": -0.1}, r"decay: expected a number in \[0, 1\), got -0.1"),
        (self_filter, {"start": 1.5}, "start: expected an integer >= 0, got 1.5"),
        (loss_memory, {"num_examples": 2.0}, "num_examples: expected an integer >= 1, got 2.0"),
    ],
)
def test_hyper_parameters_are_checked(factory, hyper, message):
    sizes = {"num_examples": 5} | ({} if factory is loss_memory else {"num_classes": 3})
    with pytest.raises(ValueError, match=message):
        factory(**sizes | hyper)


@pytest.mark.parametrize("name", ["early_learning", "self_filter"])
def test_the_number_of_classes_must_fit(name):
    transform = MEMORIES[name]
    inputs = {"labels": jnp.zeros(4, int), "index": jnp.arange(4)}
    with pytest.raises(ValueError, match=rf"{name} expected real numbers of shape \(4, 2\), got"):
        transform.update(jnp.ones(4), transform.init(), logits=jnp.ones((4, 3)), **inputs)
