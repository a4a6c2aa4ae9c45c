"""A mean teacher for classification, and SELF: the losses, a step, what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from configs import digits
from experiments.tasks.base import At, Batch
from experiments.tasks.mean_teacher import Drawn
from experiments.training import build, step
from experiments.training.order import epoch_order

TAUGHT = {"mean_teacher.weight": 2.5, "average.decay": 0.9, "augment.pad": 1}
SELF = TAUGHT | {"loss.method": "self_filter"}


def config_of(**overrides):
    config = digits.get_config()
    config.epochs, config.loss.method = 2, "cross_entropy"
    config.update_from_flattened_dict(overrides)
    return config


def softmax(logits):
    exponentials = np.exp(np.float64(logits))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def test_the_losses_are_those_of_plain_loops():
    """Four visits of six images in one batch, the last of which is padding."""
    run = build.build_run(config_of(**SELF | {"loss.self_filter.start": 0.0}))
    rng, state = np.random.default_rng(0), run.method.init()
    labels, index = rng.integers(0, 10, 6), np.array([7, 3, 1, 0, 9, 0])
    where = np.arange(6) < 5

    @jax.jit
    def loss(logits, taught, weight, state):
        batch = Batch(None, labels, labels, index, where, Drawn(None, weight), taught)
        losses, mask, extra, _, rest = run.problem.units(logits, batch)
        weighted, state = run.method.update(losses, state, where=mask, **extra)
        return run.problem.mean(weighted, mask, batch) + rest, state

    averages, dropped = np.zeros((10, 10)), 0
    for weight in (0.5, 1.0, 2.5, 2.5):
        logits, taught = rng.normal(0, 2, (2, 6, 10)).astype(np.float32)
        taught[np.arange(6), labels] += 2
        found, state = loss(logits, taught, weight, state)
        expected = 0.0
        for i in range(5):
            student, teacher = softmax(logits[i]), softmax(taught[i])
            averages[index[i]] = 0.9 * averages[index[i]] + 0.1 * teacher
            agrees = averages[index[i]].argmax() == labels[i]
            if agrees:
                expected -= np.log(student[labels[i]]) / 5
            dropped += not agrees
            expected += weight * sum((student[c] - teacher[c]) ** 2 for c in range(10)) / 10 / 5
        np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert 0 < dropped < 20
    np.testing.assert_allclose(state.predictions[:10], averages, rtol=1e-4, atol=1e-7)


def test_in_evaluation_there_is_no_teacher():
    run = build.build_run(config_of(**SELF))
    labels, logits = np.arange(3), np.zeros((3, 10), np.float32)
    batch = Batch(None, labels, labels, labels, labels >= 0)
    _, _, extra, _, rest = run.problem.units(logits, batch)
    assert rest == 0
    assert extra["logits"] is logits


def test_one_step_is_plain_arithmetic():
    """The teacher has the averaged weights and another crop, and no gradient."""
    overrides = {"optimizer.name": "sgd", "optimizer.learning_rate": 1.0, "optimizer.momentum": 0.0}
    run = build.build_run(config_of(**SELF | overrides | {"mean_teacher.warmup_epochs": 0.1}))
    state, other = step.init_state(run, 0), step.init_state(run, 1)
    state = state._replace(average={"params": other.params, "batch_stats": {}})
    order = epoch_order(0, 1, len(run.dataset.train.index), 64, run.layout, run.problem.order)
    train = run.problem.stored(run.dataset.train)
    batch = run.problem.draw(train, order[0], At(0, 0))
    plain = build.build_run(config_of(**{"augment.pad": 1})).problem
    np.testing.assert_array_equal(batch.inputs, plain.draw(train, order[0], At(0, 0)).inputs)
    same = np.asarray(batch.inputs == batch.drawn.crops).all((1, 2, 3))
    assert 0 < same.sum() < 32  # one of nine crops
    of_other = run.model.apply({"params": other.params}, batch.drawn.crops, train=True)
    taught = jax.nn.softmax(of_other)

    def objective(params):  # before the filter starts: all labels count
        logits = run.model.apply({"params": params}, batch.inputs, train=True)
        own = optax.softmax_cross_entropy_with_integer_labels(logits, batch.targets)
        return own.mean() + 2.5 / 2.1 * jnp.square(jax.nn.softmax(logits) - taught).mean()

    expected = jax.tree.map(jnp.subtract, state.params, jax.jit(jax.grad(objective))(state.params))
    after, failed = step.make_train_step(run)(state, train, order)
    assert not failed
    for a, b in zip(jax.tree.leaves(after.params), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=2e-6)
    index = np.asarray(batch.index)
    np.testing.assert_allclose(after.loss_state.predictions[index], 0.1 * taught, rtol=1e-4)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"mean_teacher.weight": -1.0}, "config.mean_teacher.weight: expected .* got -1.0"),
        ({"mean_teacher.weight": float("nan")}, "config.mean_teacher.weight: expected .* got nan"),
        ({"mean_teacher.warmup_epochs": 3.0}, "config.mean_teacher.warmup_epochs: .* 0 to 2, got"),
        ({"average.decay": 0.0}, "config.average.decay: the teacher is the moving average"),
        ({"augment.mixup": 1.0}, "config.augment.mixup: .* expected 0, got 1.0"),
        ({"loss.method": "co_teaching"}, "config.loss.method: two networks that teach each other"),
        ({"loss.base": "focal"}, "config.loss.base: .* expected cross_entropy, got focal"),
    ],
)
def test_mistakes(overrides, message):
    with pytest.raises(ValueError, match=message) as error:
        build.build_run(config_of(**SELF | overrides))
    assert "\n" not in str(error.value)
