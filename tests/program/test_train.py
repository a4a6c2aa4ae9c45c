"""The training program: order, a step against plain arithmetic, a whole run and its files."""

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
from experiments import data
from experiments.models import networks
from experiments.runs import files
from experiments.training import build, evaluation
from experiments.training import step as one_step
from experiments.training.order import epoch_order
from superloss_jax import closed_form
from tests.program.running import train_one

pytestmark = pytest.mark.x64


def small_config(**overrides):
    config = digits.get_config()
    config.epochs, config.devices = 2, 1
    config.checkpoint.every_minutes = 0  # no checkpoints, to save time
    with config.unlocked():
        config.update_from_flattened_dict(overrides)  # may add the key "task", which configs lack
    return config


def test_one_step_is_plain_arithmetic():
    """With SGD, a step on the padded last batch follows the mean over its real examples."""
    config = small_config(**{"optimizer.name": "sgd", "optimizer.learning_rate": 1.0})
    run = build.build_run(config)
    state = one_step.init_state(run, config.seed)
    examples = run.dataset.train
    order = epoch_order(config.seed, 1, len(examples.targets), config.batch_size)[-1:]
    index = np.asarray(order[0][order[0] >= 0])
    assert 0 < len(index) < config.batch_size

    images = examples.inputs[index] / np.float32(16)
    labels = examples.targets[index]

    def objective(params):
        logits = run.model.apply({"params": params}, images, train=True)
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
        tau = jax.lax.stop_gradient(losses.mean())
        values, sigma = closed_form(losses, tau, config.loss.lam)
        return values.mean(), (losses, sigma)

    grads, (losses, sigma) = jax.jit(jax.grad(objective, has_aux=True))(state.params)
    expected = jax.tree.map(lambda p, g: p - g, state.params, grads)
    wrong = labels != examples.clean_targets[index]

    train_data = run.problem.stored(examples)
    after, failed = one_step.make_train_step(run)(state, train_data, order)
    assert not failed
    sums = after.sums
    chex.assert_trees_all_close(after.params, expected, rtol=1e-5, atol=1e-6)
    assert after.step == 1
    assert after.loss_state.count == len(index)
    counts = [[len(index)], [(~wrong).sum()], [wrong.sum()]]
    np.testing.assert_allclose(sums[1, :, :3], np.broadcast_to(counts, (3, 3)))
    np.testing.assert_array_equal(sums[:, :, 3], 0)  # predictions that changed: none is known
    np.testing.assert_allclose(sums[0, 2, 0], losses[wrong].sum(), rtol=1e-5)
    np.testing.assert_allclose(sums[0, 1, 2], sigma[~wrong].sum(), rtol=1e-5)


def test_a_run_writes_its_files(tmp_path):
    config = small_config()
    run = build.build_run(config)
    paths = [files.make_workdir(str(tmp_path / name)) for name in ("a", "b")]
    results = [train_one(config, run, path) for path in paths]
    names = {files.CONFIG, files.METRICS, files.TIMING, files.RESULTS, files.SAMPLES}
    assert set(os.listdir(paths[0])) == names
    for name in names - {files.TIMING}:  # the others depend only on config and platform
        assert (paths[0] / name).read_bytes() == (paths[1] / name).read_bytes()

    rows = files.read_rows(paths[0] / files.METRICS)
    assert [row["epoch"] for row in rows] == [1, 2]
    written = json.loads((paths[0] / files.RESULTS).read_text())
    assert written == results[0]
    assert written["last_epoch"] == rows[-1]
    assert written["test_accuracy"]["last"] == rows[-1]["test_accuracy"] > 0.5
    noisy_labels, clean_labels = run.dataset.train[1:3]
    assert written["noise"]["realised_rate"] == (noisy_labels != clean_labels).mean()
    hashed = hashlib.sha256(noisy_labels.astype("<i4").tobytes()).hexdigest()
    assert written["noise"]["labels_sha256"] == hashed
    assert str(tmp_path) not in (paths[0] / files.RESULTS).read_text()
    # SuperLoss trusts right labels more than wrong ones.
    assert rows[-1]["sigma_clean"] > 1 > rows[-1]["sigma_wrong"] > 0
    assert rows[0]["train_changed"] is None  # nothing was predicted before
    assert 0 < rows[1]["changed_clean"] < rows[1]["train_changed"] < rows[1]["changed_wrong"] < 1


def test_no_noise_and_no_threshold(tmp_path):
    overrides = {"loss.method": "cross_entropy", "loss.threshold": "running_mean"}
    config = small_config(**overrides, **{"noise.rate": 0.0, "epochs": 1})
    results = train_one(config, build.build_run(config), files.make_workdir(str(tmp_path)))
    assert results["last_epoch"]["sigma_clean"] == 1
    text = (tmp_path / files.RESULTS).read_text()
    row = json.loads(text)["last_epoch"]
    assert row["loss_wrong"] is None
    assert row["tau"] is None
    assert row["loss_clean"] == row["train_loss"]


def test_evaluation_counts_every_test_image_once():
    config = small_config()
    run = build.build_run(config)
    state = one_step.init_state(run, 0)
    images, labels, *_ = run.dataset.test
    evaluated = evaluation.make_evaluate(run)(state, run.dataset.test).sums
    logits = run.model.apply({"params": state.params}, images / np.float32(16), train=False)
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    right = (logits.argmax(-1) == labels).sum()
    np.testing.assert_allclose(evaluated, [[losses.sum(), right], [500, 500]], rtol=1e-5)


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path):
    """Steps dispatched before it is noticed change nothing, and FAILED.json names the tensors."""
    config = small_config(**{"optimizer.learning_rate": 1e30})
    run = build.build_run(config)
    state = one_step.init_state(run, 0)
    data = run.problem.stored(run.dataset.train)
    order = epoch_order(0, 1, len(data.index), config.batch_size)
    step = one_step.make_train_step(run)
    flags, states = [], []
    for _ in range(6):
        state, failed = step(state, data, order)
        flags.append(bool(failed))
        states.append(jax.tree.map(np.asarray, state))
    first = flags.index(True)
    assert all(flags[first:])
    chex.assert_trees_all_equal(states[first], states[-1])
    good = states[first - 1]._replace(failed=np.bool(True))
    chex.assert_trees_all_equal(states[first], good)
    assert np.isfinite(states[-1].loss_state.tau)

    with pytest.raises(FloatingPointError, match=f"step {first}: .* not finite; see .*FAILED"):
        train_one(config, run, files.make_workdir(str(tmp_path)))
    failure = json.loads((tmp_path / files.FAILED).read_text())
    assert failure["step"] == first
    assert failure["indices"] == np.asarray(order[first]).tolist()
    assert "losses" in failure["tensors"]
    assert not (tmp_path / files.RESULTS).exists()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"loss.method": "superlos"}, "got 'superlos'; did you mean superloss?"),
        ({"model.name": "resnet"}, "config.model.name: expected one of mlp, .*, got 'resnet'"),
        ({"data.name": "digit"}, "did you mean digits?"),
        ({"noise.kind": "symmetric"}, "ambiguous; choose"),
        ({"noise.kind": "symetric_exclusive"}, "did you mean symmetric_exclusive?"),
        (
            {"noise.kind": "permuted", "noise.exact": True},
            "permuted noise has no",
        ),
        ({"noise.rate": float("nan")}, "config.noise.rate: expected a number from 0 to 1, got nan"),
        ({"data.name": "cifar10n"}, "cifar10n brings its own wrong labels: choose given"),
        ({"data.validation": 1297}, "config.data.validation: .* from 0 to 1296, got 1297"),
        (
            {"data.validation": 9, "data.validation_labels": "right"},
            "expected one of noisy, clean, got 'right'",
        ),
        ({"data.imbalance": 0.5}, "config.data.imbalance: expected a number from 1 to 1e"),
        ({"data.device_budget_mb": -1.0}, "config.data.device_budget_mb"),
        ({"data.workers": -1}, "config.data.workers: expected an integer from 0"),
        ({"data.decode": "ram"}, "config.data.decode: expected one of auto, memory, files"),
        ({"data.decode": "files"}, "config.data.decode: digits is read into memory"),
        ({"devices": 9}, "config.devices: expected an integer from 0 to 8, got 9"),
        (
            {"checkpoint.keep": 1},
            "config.checkpoint.keep: expected an integer from 2 to 1000, got 1",
        ),
        ({"optimizer.schedule": "step"}, "config.optimizer.schedule: expected one of constant, "),
        ({"optimizer.schedule": "piecewise"}, r"expected rising epochs, got \(0.0,\)"),
        ({"optimizer.weight_decay": -1.0}, "config.optimizer.weight_decay: .* got -1.0"),
        ({"model.init": "keras"}, "config.model.init: expected one of flax, torch, got 'keras'"),
        ({"model.dtype": "float16"}, "did you mean bfloat16?"),
        ({"model.dropout": 0.5}, "config.model.dropout: mlp has none, got 0.5"),
        ({"model.bn_groups": 2}, "config.model.bn_groups: mlp has no BatchNorm, got 2"),
        ({"augment.pad": -1}, "config.augment.pad: expected a number from 0 to 100, got -1"),
        ({"augment.cutout": 99}, "config.augment.cutout: expected a number from 0 to 16, got 99"),
        ({"data.name": "npz"}, "config.data.path: npz needs the name of a file"),
        ({"noise.rate": 1.5}, "got 1.5"),
        ({"noise.kind": "asymmetric"}, "asymmetric has no published map for digits"),
        ({"noise.seed": -1}, "config.noise.seed: expected an integer in .*, got -1"),
        ({"loss.lam": 0.0}, "config.loss.lam: expected a finite number > 0, got 0.0"),
        ({"loss.lam": float("nan")}, "config.loss.lam: expected a finite number > 0, got nan"),
        ({"loss.decay": 1.0}, r"config.loss.decay: expected a number in \[0, 1\), got 1.0"),
        ({"loss.method": "gce"}, "config.loss.method: gce is now called generalized_cross_entropy"),
        ({"loss.base": "sce"}, "config.loss.base: sce is now called symmetric_cross_entropy"),
        ({"task": "detektion"}, "config.task: expected one of classification, semi_supervised,"),
        ({"task": "no.such:task"}, "config.task: cannot import no.such:task: No module named 'no'"),
        ({"task": "configs.digits:digits"}, "config.task: cannot import configs.digits:digits"),
        ({"task": "configs.digits:base"}, "config.task: expected configs.digits:base to be a Task"),
        ({"loss.threshold": "const"}, "did you mean constant?"),
        ({"loss.threshold": "constant"}, "needs a number, got None"),
        (
            {"loss.method": "forward_correction", "noise.kind": "given"},
            "given noise has no known transition matrix",
        ),
        ({"optimizer.name": "adamm"}, "did you mean adam?"),
        ({"optimizer.learning_rate": -1.0}, "expected a finite number > 0, got -1.0"),
        ({"epochs": 0}, "config.epochs: expected an integer from 1 to 100000, got 0"),
        ({"batch_size": 0}, "config.batch_size: expected an integer from 1 to 1297, got 0"),
        ({"seed": -1}, "config.seed: expected an integer in .*, got -1"),
        ({"batch_size": 9999}, "from 1 to 1297, got 9999"),
        ({"data.split_seed": -1}, "config.data.split_seed: expected an integer in .*, got -1"),
        ({"model.name": "lenet"}, "lenet needs images .* got 8x8; pad them to 16x16"),
    ],
)
def test_bad_configs_are_refused_before_training(overrides, message):
    with pytest.raises(ValueError, match=message) as error:
        build.build_run(small_config(**overrides))
    assert "\n" not in str(error.value)


def test_every_threshold_of_the_config_trains():
    for threshold in ("ema", "running_mean", "constant", "windowed", "per_class"):
        config = small_config(**{"loss.threshold": threshold, "loss.tau": 2.3})
        method = build.build_run(config).method
        labels = jnp.array([3, 3])
        values, state = method.update(jnp.array([1.0, 4.0]), method.init(), labels=labels)
        assert values.shape == (2,)
        tau = state.tau[3] if threshold == "per_class" else state.tau
        np.testing.assert_allclose(tau, 2.3 if threshold == "constant" else 2.5)


def fake_cifar10(**unused):
    images, labels = np.zeros((20, 32, 32, 3), np.uint8), np.arange(20, dtype=np.int32) % 10
    arrays = dict.fromkeys(("train_images", "test_images"), images)
    arrays |= dict.fromkeys(("train_labels", "test_labels"), labels)
    return data.base.dataset("cifar10", "abcdefghij", arrays)


def test_cifar10_config_builds_lenet(monkeypatch):
    monkeypatch.setitem(data.DATASETS, "cifar10", fake_cifar10)
    config = cifar10.get_config()
    config.batch_size = 8
    config.data.validation = 4
    run = build.build_run(config)
    assert isinstance(run.model, networks.LeNet)
    assert [len(part.targets) for part in run.dataset[2:5]] == [16, 4, 20]


def test_unusable_work_directories(tmp_path):
    for path in ("", "~nouser/x", tmp_path / ("x" * 300), "/proc/run"):
        with pytest.raises(ValueError, match="--workdir: ") as error:
            files.make_workdir(path)
        assert "\n" not in str(error.value)
