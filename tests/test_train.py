"""The training program: order, one step against plain arithmetic, a whole run, its files."""

import hashlib
import json
import os

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from configs import cifar10, digits
from experiments import data, methods, models, train, workdir
from superloss_jax import closed_form


def small_config(**overrides):
    config = digits.get_config()
    config.epochs = 2
    config.update_from_flattened_dict(overrides)
    return config


def test_every_epoch_visits_every_example_once():
    first, second = (np.asarray(train.epoch_order(3, epoch, 1000, 64)) for epoch in (1, 2))
    assert first.shape == (16, 64)
    for order in (first, second):
        np.testing.assert_array_equal(np.sort(order[order >= 0]), np.arange(1000))
        assert (order[:-1] >= 0).all()
    assert (first != second).mean() > 0.9


def test_order_is_the_same_everywhere():
    order = np.asarray(train.epoch_order(3, 1, 1000, 64), "<i4")
    assert hashlib.sha256(order.tobytes()).hexdigest()[:16] == "a100fb36ea6dd8c1"


def test_one_step_is_plain_arithmetic():
    """The padded last batch, with SGD: the step is minus the gradient of the mean over the rest."""
    config = small_config(**{"optimizer.name": "sgd", "optimizer.learning_rate": 1.0})
    run = train.build(config)
    state = train.init_state(run, config.seed)
    order = train.epoch_order(config.seed, 1, len(run.noisy_labels), config.batch_size)[-1:]
    index = np.asarray(order[0][order[0] >= 0])
    assert 0 < len(index) < config.batch_size

    images = run.dataset.train_images[index] / np.float32(16)
    labels = run.noisy_labels[index]

    def objective(params):
        logits = run.model.apply({"params": params}, images, train=True)
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
        tau = jax.lax.stop_gradient(losses.mean())
        values, sigma = closed_form(losses, tau, config.loss.lam)
        return values.mean(), (losses, sigma)

    grads, (losses, sigma) = jax.jit(jax.grad(objective, has_aux=True))(state.params)
    expected = jax.tree.map(lambda p, g: p - g, state.params, grads)
    wrong = labels != run.dataset.train_labels[index]

    arrays = run.dataset.train_images, run.noisy_labels
    train_data = train.TrainData(*arrays, run.noisy_labels != run.dataset.train_labels)
    after, sums = train.make_train_step(run)(state, jnp.zeros((3, 4)), train_data, order)
    chex.assert_trees_all_close(after.params, expected, rtol=1e-5, atol=1e-6)
    assert after.step == 1
    assert after.loss_state.count == len(index)
    np.testing.assert_allclose(sums[:, 0], [len(index), (~wrong).sum(), wrong.sum()])
    np.testing.assert_allclose(sums[2, 1], losses[wrong].sum(), rtol=1e-5)
    np.testing.assert_allclose(sums[1, 3], sigma[~wrong].sum(), rtol=1e-5)


def test_a_run_writes_its_files(tmp_path):
    config = small_config()
    run = train.build(config)
    paths = [workdir.prepare(str(tmp_path / name)) for name in ("a", "b")]
    results = [train.train(config, run, path) for path in paths]
    names = {workdir.CONFIG, workdir.METRICS, workdir.TIMING, workdir.RESULTS}
    assert set(os.listdir(paths[0])) == names
    for name in names - {workdir.TIMING}:  # the others are a function of config and platform
        assert (paths[0] / name).read_bytes() == (paths[1] / name).read_bytes()

    rows = workdir.read_rows(paths[0] / workdir.METRICS)
    assert [row["epoch"] for row in rows] == [1, 2]
    written = json.loads((paths[0] / workdir.RESULTS).read_text())
    assert written == results[0]
    assert written["last_epoch"] == rows[-1]
    assert written["test_accuracy"]["last"] == rows[-1]["test_accuracy"] > 0.5
    wrong = run.noisy_labels != run.dataset.train_labels
    assert written["noise"]["realised_rate"] == wrong.mean()
    assert str(tmp_path) not in (paths[0] / workdir.RESULTS).read_text()
    # SuperLoss trusts right labels more than wrong ones.
    assert rows[-1]["sigma_clean"] > 1 > rows[-1]["sigma_wrong"] > 0
    with pytest.raises(ValueError, match="holds a finished run"):
        workdir.prepare(str(paths[0]))


def test_no_noise_and_no_threshold(tmp_path):
    overrides = {"loss.method": "cross_entropy", "loss.threshold": "running_mean"}
    config = small_config(**overrides, **{"noise.rate": 0.0, "epochs": 1})
    results = train.train(config, train.build(config), workdir.prepare(str(tmp_path)))
    assert results["last_epoch"]["sigma_clean"] == 1
    text = (tmp_path / workdir.RESULTS).read_text()
    row = json.loads(text)["last_epoch"]
    assert row["loss_wrong"] is None
    assert row["tau"] is None
    assert row["loss_clean"] == row["train_loss"]


def test_evaluation_counts_every_test_image_once():
    config = small_config()
    run = train.build(config)
    state = train.init_state(run, 0)
    images, labels = run.dataset.test_images, run.dataset.test_labels
    evaluated = train.make_evaluate(run, 64)(state, images, labels)
    logits = run.model.apply({"params": state.params}, images / np.float32(16), train=False)
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    right = (logits.argmax(-1) == labels).sum()
    np.testing.assert_allclose(evaluated, [500, losses.sum(), right], rtol=1e-5)


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path):
    config = small_config(**{"optimizer.learning_rate": 1e30})
    with pytest.raises(FloatingPointError, match="training loss nan in epoch"):
        train.train(config, train.build(config), workdir.prepare(str(tmp_path)))
    assert not (tmp_path / workdir.RESULTS).exists()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"loss.method": "superlos"}, "got 'superlos'; did you mean superloss?"),
        ({"model.name": "resnet"}, "config.model.name: expected one of mlp, lenet, got 'resnet'"),
        ({"data.name": "digit"}, "did you mean digits?"),
        ({"noise.kind": "symmetric"}, "ambiguous; choose"),
        (
            {"noise.rate": float("nan")},
            r"config.noise: rate: expected a number in \[0, 1\], got nan",
        ),
        ({"noise.rate": 1.5}, "got 1.5"),
        ({"noise.kind": "asymmetric"}, "asymmetric has no published map for digits"),
        ({"noise.seed": -1}, "config.noise.seed: expected an integer in .*, got -1"),
        ({"loss.lam": 0.0}, "config.loss.lam: expected a finite number > 0, got 0.0"),
        ({"loss.lam": float("nan")}, "config.loss.lam: expected a finite number > 0, got nan"),
        ({"loss.decay": 1.0}, r"config.loss.decay: expected a number in \[0, 1\), got 1.0"),
        # Whether or not the method reads it.
        ({"loss.method": "cross_entropy", "loss.lam": -1.0}, "config.loss.lam: .* got -1.0"),
        ({"loss.threshold": "const"}, "did you mean constant?"),
        ({"loss.threshold": "constant"}, "needs a number, got None"),
        ({"optimizer.name": "adamm"}, "did you mean adam?"),
        ({"optimizer.learning_rate": -1.0}, "expected a finite number > 0, got -1.0"),
        ({"epochs": 0}, "config.epochs: expected a number from 1 to 100000, got 0"),
        ({"batch_size": 0}, "config.batch_size: expected a number from 1 to 1297, got 0"),
        ({"seed": -1}, "config.seed: expected an integer in .*, got -1"),
        ({"batch_size": 9999}, "from 1 to 1297, got 9999"),
        ({"data.split_seed": -1}, "config.data.split_seed: expected an integer in .*, got -1"),
        ({"model.name": "lenet"}, r"at least 16x16, got \(8, 8, 1\)"),
    ],
)
def test_bad_configs_are_refused_before_training(overrides, message):
    with pytest.raises(ValueError, match=message) as error:
        train.build(small_config(**overrides))
    assert "\n" not in str(error.value)


def test_digits():
    dataset = data.load("digits", split_seed=0)
    assert dataset.train_images.shape == (1297, 8, 8, 1)
    assert dataset.train_images.max() == 16
    assert len(dataset.test_labels) == 500
    assert set(dataset.train_labels) == set(range(10))
    both = np.concatenate([dataset.train_images, dataset.test_images]).reshape(1797, 64)
    from sklearn.datasets import load_digits

    # The same 1,797 images, none of them on both sides.
    np.testing.assert_array_equal(
        np.unique(both, axis=0), np.unique(load_digits().data.astype(np.uint8), axis=0)
    )


def test_every_threshold_of_the_config_trains():
    for threshold in ("ema", "running_mean", "constant"):
        config = small_config(**{"loss.threshold": threshold, "loss.tau": 2.3})
        method = methods.create(**config.loss)
        values, state = method.update(jnp.array([1.0, 4.0]), method.init())
        assert values.shape == (2,)
        np.testing.assert_allclose(state.tau, 2.3 if threshold == "constant" else 2.5)


def test_cifar10_config_builds_lenet(monkeypatch):
    images, labels = np.zeros((20, 32, 32, 3), np.uint8), np.arange(20, dtype=np.int32) % 10
    names = tuple("abcdefghij")
    fake = data.Dataset("fake", names, images, labels, images, labels, (0.0,) * 3, (1.0,) * 3)
    monkeypatch.setitem(data.DATASETS, "cifar10", lambda *unused: fake)
    config = cifar10.get_config()
    config.batch_size = 8
    run = train.build(config)
    assert isinstance(run.model, models.LeNet)
    fake = fake._replace(name="cifar10")
    noisy = data.corrupt(fake, kind="asymmetric", rate=1.0, exact=True, seed=0)
    np.testing.assert_array_equal(noisy[:10], [0, 1, 0, 5, 7, 3, 6, 7, 8, 1])


def test_unusable_work_directories(tmp_path):
    for path in ("", "~nouser/x", tmp_path / ("x" * 300), "/proc/run"):
        with pytest.raises(ValueError, match="--workdir: ") as error:
            workdir.prepare(path)
        assert "\n" not in str(error.value)


def test_missing_cifar10_says_how_to_get_it(tmp_path):
    with pytest.raises(ValueError, match=r"--data_dir at one, or make it .*download_and_prepare"):
        data.load("cifar10", 0, str(tmp_path))
    broken = tmp_path / "cifar10" / "3.0.2"
    broken.mkdir(parents=True)
    (broken / "dataset_info.json").write_text("{")
    with pytest.raises(ValueError, match=r"data set cifar10: cannot read .*3\.0\.2: "):
        data.load("cifar10", 0, str(tmp_path))


@pytest.mark.skipif("SUPERLOSS_DATA_DIR" not in os.environ, reason="needs a prepared CIFAR-10")
def test_cifar10_in_its_original_order():
    builder = data._tfds_builder("cifar10", os.environ["SUPERLOSS_DATA_DIR"])
    images, labels = data.read_split(builder, "test", 10_000)
    assert images.shape == (10_000, 32, 32, 3)
    assert images.dtype == np.uint8
    np.testing.assert_array_equal(np.bincount(labels), [1000] * 10)
    # The official test file starts with a cat, two ships and an airplane.
    names = builder.info.features["label"].names
    assert [names[label] for label in labels[:4]] == ["cat", "ship", "ship", "airplane"]
    np.testing.assert_allclose(images.mean((0, 1, 2)), [126.02, 123.71, 114.85], atol=0.01)
    with pytest.raises(ValueError, match="expected 9999 records, got 10000"):
        data.read_split(builder, "test", 9_999)
