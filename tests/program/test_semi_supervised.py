"""Missing labels: what counts, the teachers, and that the rest works as for classification."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from configs import base
from configs import semi_supervised as defaults
from experiments.runs import files, samples
from experiments.tasks import semi_supervised
from experiments.tasks.base import UNKNOWN, Batch
from experiments.training import build, evaluation, record, step
from experiments.training.order import epoch_order
from superloss_jax import closed_form
from tests.program.running import train_one

KINDS = {
    "fixmatch": {
        "loss.method": "superloss",
        "loss.threshold": "ema",
        "loss.lam": 1.0,
        "consistency.threshold": 0.0,
    },
    "mean_teacher": {"consistency.kind": "mean_teacher"},
}


def config_of(defaults=defaults, **overrides):
    config = defaults.get_config()
    config.epochs = 2
    config.loss.method = "cross_entropy"
    config.update_from_flattened_dict(overrides)
    return config


def test_hidden_labels_are_balanced_and_depend_on_their_seed():
    runs = [build.build_run(config_of(**{"data.labelled_seed": seed})) for seed in (0, 0, 1)]
    one, again, other = (np.asarray(run.dataset.train.targets) for run in runs)
    clean = runs[0].dataset.train.clean_targets
    assert np.bincount(one[one >= 0]).tolist() == [10] * 10
    assert (one[one >= 0] == clean[one >= 0]).all()
    np.testing.assert_array_equal(one, again)
    assert (one != other).sum() > 100
    uneven = build.build_run(config_of(**{"data.labelled": 103})).dataset.train.targets
    assert np.bincount(uneven[uneven >= 0]).tolist() == [11] * 3 + [10] * 7


def test_noise_is_drawn_before_labels_are_hidden():
    overrides = {"noise.rate": 0.4, "data.labelled": 400}
    run = build.build_run(config_of(**overrides))
    train = run.dataset.train
    whole = build.build_run(config_of(base, **{"noise.rate": 0.4})).dataset.train
    known = train.targets >= 0
    np.testing.assert_array_equal(train.targets[known], whole.targets[known])
    wrong = record.wrong_targets(run)
    assert (wrong[~known] == samples.NO_TARGET).all()
    expected = (whole.targets != whole.clean_targets)[known]
    np.testing.assert_array_equal(wrong[known] == 1, expected)
    assert record.realised_rate(run) == pytest.approx(expected.mean())


def test_each_batch_has_its_labels_and_no_example_twice():
    run = build.build_run(config_of())
    targets = run.dataset.train.targets
    size = len(targets)
    one, again, other = (
        np.asarray(epoch_order(*where, size, 128, run.layout, run.problem.order))
        for where in ((3, 1), (3, 1), (3, 2))
    )
    np.testing.assert_array_equal(one, again)
    assert one.shape == (-(-size // 128), 128)
    assert (one != other).any()
    assert (targets[one[:, :16]] >= 0).all()
    assert (targets[one[:, 16:]] < 0).all()
    assert all(len(set(row)) == 128 for row in one)
    # 100 labels fill 6 rows of 16: each shuffle is used for as many.
    for first in range(0, len(one) - 6, 6):
        assert len(set(one[first : first + 6, :16].ravel())) == 96
    assert set(np.concatenate([one, other])[:, :16].ravel()) == set(np.flatnonzero(targets >= 0))


def taught_by(run, state, batch):
    variables = state.average if run.problem.taught_by_average else step.variables_of(state)
    return jax.nn.softmax(run.model.apply(variables, batch.drawn.crops, train=True))


@pytest.mark.parametrize("kind", KINDS)
def test_one_step_is_plain_arithmetic(kind):
    overrides = {"optimizer.name": "sgd", "optimizer.learning_rate": 1.0, "optimizer.momentum": 0.0}
    config = config_of(**KINDS[kind] | overrides | {"consistency.weight": 2.5})
    run = build.build_run(config)
    state = step.init_state(run, 0)
    other = step.init_state(run, 1)
    state = state._replace(average={"params": other.params, "batch_stats": {}})
    order = epoch_order(0, 1, len(run.dataset.train.index), 128, run.layout, run.problem.order)
    train = run.problem.stored(run.dataset.train)
    batch = run.problem.draw(train, order[0], step.At(0, 0))
    labels = np.asarray(batch.targets)
    assert (np.asarray(batch.inputs == batch.drawn.crops).all((1, 2, 3)) >= (labels >= 0)).all()
    taught = taught_by(run, state, batch)

    def objective(params):
        logits = run.model.apply({"params": params}, batch.inputs, train=True)
        own = optax.softmax_cross_entropy_with_integer_labels(logits[:16], labels[:16])
        others = jnp.square(jax.nn.softmax(logits[16:]) - taught[16:]).mean(-1)
        if kind == "fixmatch":
            hard = taught[16:].argmax(-1)
            others = optax.softmax_cross_entropy_with_integer_labels(logits[16:], hard)
            own, others = (
                closed_form(one, jax.lax.stop_gradient(one.mean()), config.loss.lam)[0]
                for one in (own, others)
            )
        return own.mean() + 2.5 * others.mean()

    expected = jax.tree.map(jnp.subtract, state.params, jax.jit(jax.grad(objective))(state.params))
    after, failed = step.make_train_step(run)(state, train, order)
    assert not failed
    for a, b in zip(jax.tree.leaves(after.params), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=2e-6)
    weights = build.build_run(config_of(**{"consistency.warmup_epochs": 0.5})).problem.draw
    drawn = [float(weights(train, order[0], step.At(0, i)).drawn.weight) for i in (0, 1, 5, 9)]
    np.testing.assert_allclose(drawn, [1 / 5.5, 2 / 5.5, 1, 1])
    index = np.asarray(batch.index)
    np.testing.assert_array_equal(after.seen["taught"][index], taught.argmax(-1))


def test_a_pseudo_label_counts_from_the_threshold_on_and_the_mean_is_over_all():
    units = semi_supervised.units_of("fixmatch", threshold=0.6)
    drawn = semi_supervised.Drawn(None, 1.0)
    labels = np.array([2, -1, -1, -1, -1])
    taught = np.eye(3)[[0, 0, 1, 2, 2]] * 0.5 + 1 / 6
    taught[2] = (0.59, 0.41, 0.0)
    logits = jnp.log(jnp.asarray(np.full((5, 3), 1 / 3)))
    where = np.array([True] * 4 + [False])
    batch = Batch(None, labels, labels, np.arange(5), where, drawn, taught)
    found = units(logits, batch)
    assert found.where.tolist() == [True, True, False, True, False]
    assert found.kind.tolist() == [0, 1, 1, 1, 1]
    np.testing.assert_allclose(found.losses, np.log(3), rtol=1e-6)
    scalar = semi_supervised.mean(found.losses, found.where, batch)
    np.testing.assert_allclose(scalar, np.log(3) * (1 + 2 / 3), rtol=1e-6)
    none = batch._replace(where=np.array([True] + [False] * 4))
    alone = semi_supervised.mean(found.losses, none.where, none)
    np.testing.assert_allclose(alone, np.log(3), rtol=1e-6)
    accuracy = semi_supervised.is_right(jnp.eye(3)[jnp.array([2, 0, 0, 0, 0])], batch)
    assert accuracy.tolist() == [1.0] + [UNKNOWN] * 4


@pytest.mark.parametrize("defaults", [base, defaults])
def test_averaged_weights_are_evaluated(defaults):
    run = build.build_run(config_of(defaults, **{"average.decay": 0.7}))
    state, seen = step.init_state(run, 0), []
    size = len(run.dataset.train.index)
    order = epoch_order(0, 1, size, 64, run.layout, run.problem.order)
    train, take_step = run.problem.stored(run.dataset.train), step.make_train_step(run)
    for _ in range(6):
        state, _ = take_step(state, train, order)
        seen.append(jax.tree.map(np.array, state.params))
    expected = seen[0]
    for i, params in enumerate(seen[1:], start=2):
        part = max(0.3, 1 / i)
        mix = lambda a, p, part=part: a + part * (p - a)  # noqa: E731
        expected = jax.tree.map(mix, expected, params)
    found = state.average["params"]
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    images = run.problem.draw(run.dataset.test, np.arange(500), None).inputs
    logits = run.model.apply({"params": found}, images, train=False)
    right = (logits.argmax(-1) == run.dataset.test.targets).sum()
    (_, total), counts = evaluation.make_evaluate(run)(state, run.dataset.test).sums
    assert (total, *counts) == (right, 500, 500)


def own_file(tmp_path, labels, **others):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (len(labels), 6, 6, 1), np.uint8)
    np.savez(tmp_path / "own.npz", images=images, labels=labels, **others)
    path = {"data.name": "npz", "data.path": str(tmp_path / "own.npz"), "noise.kind": "given"}
    return images, path | {"batch_size": 16, "data.labelled": 0}


def test_an_unknown_label_counts_nowhere(tmp_path):
    """Classification learns from the file as from one without these examples."""
    labels = np.where(np.arange(90) % 3 == 0, -1, np.arange(90) % 4)
    images, overrides = own_file(tmp_path, labels)
    tests = {"test_images": images[:30], "test_labels": labels[:30]}
    np.savez(tmp_path / "own.npz", images=images, labels=labels, **tests)
    rows = []
    for name in ("unknown", "known"):
        if name == "known":
            kept = labels >= 0
            tests = {"test_images": images[:30][kept[:30]], "test_labels": labels[:30][kept[:30]]}
            np.savez(tmp_path / "own.npz", images=images[kept], labels=labels[kept], **tests)
        (tmp_path / name).mkdir()
        config = config_of(base, **overrides)
        train_one(config, build.build_run(config), tmp_path / name)
        rows.append(files.read_rows(tmp_path / name / files.METRICS))
    for one, other in zip(*rows, strict=True):
        assert one["train_accuracy"] is not None
        for key in ("train_loss", "train_accuracy", "test_loss", "test_accuracy"):
            # The mean and spread of all images normalise them, which differ a little.
            assert one[key] == pytest.approx(other[key], rel=0.05, abs=0.1), key


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"data.labelled": 1438}, r"config.data.labelled: expected an integer from 10 to 1297"),
        ({"data.labelled": 9}, "config.data.labelled: expected an integer from 10 to 1297, got 9"),
        ({"data.labelled": 1290}, "129 labels of class 2 asked for, 128 are there"),
        ({"data.labelled": 0}, "got 128; data.labelled=N hides all labels but N"),
        ({"data.labelled_seed": -1}, "config.data.labelled_seed: expected"),
        ({"consistency.labelled": 101}, "config.consistency.labelled: expected .* 1 to 100, got"),
        ({"batch_size": 16}, "config.batch_size: expected 16 with a label and 1 to 1197 without"),
        ({"consistency.kind": "mixmatch"}, "expected one of fixmatch, mean_teacher, none, got"),
        ({"consistency.threshold": 1.5}, "config.consistency.threshold: expected"),
        ({"consistency.weight": -1.0}, "config.consistency.weight: expected"),
        ({"consistency.warmup_epochs": 3.0}, "config.consistency.warmup_epochs: expected"),
        ({"consistency.operations": -1}, "config.consistency.operations: expected"),
        ({"average.decay": 1.0}, "config.average.decay: expected"),
        (
            {"consistency.kind": "mean_teacher", "average.decay": 0.0},
            "config.average.decay: the teacher is the moving average of the weights",
        ),
        ({"loss.method": "early_learning"}, "early_learning needs classes, .* units do not have"),
        ({"loss.method": "co_teaching"}, "config.loss.method: two networks that teach each other"),
    ],
)
def test_mistakes(overrides, message):
    with pytest.raises(ValueError, match=message) as error:
        build.build_run(config_of(**overrides))
    assert "\n" not in str(error.value)


def test_a_file_without_any_label(tmp_path):
    _, overrides = own_file(tmp_path, np.full(30, -1), class_names=np.array(["a", "b"]))
    for own in (base, defaults):
        with pytest.raises(ValueError, match="no training example has a label"):
            build.build_run(config_of(own, **overrides))
