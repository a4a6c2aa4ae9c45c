"""Regression: its data, its numbers, and that everything else works as for classification."""

import csv
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import mean_absolute_error

from configs import regression as defaults
from experiments.data import regression as data
from experiments.runs import files, samples
from experiments.tasks import regression
from experiments.training import build, devices, loop, step
from experiments.training.order import epoch_order
from tests.program.running import train_one
from tests.program.test_main import main


def config_of(name="friedman", **overrides):
    config = defaults.get_config()
    config.epochs, config.batch_size, config.data.name = 2, 64, name
    with config.unlocked():
        config.update_from_flattened_dict(overrides)
    return config


def loaded(config):
    return data.load(config.data, config.noise)


def test_losses_of_a_residual():
    residual = jnp.array([-3.0, -1.0, -0.2, 0.0, 0.5, 2.0])
    expected = {
        "l1": np.abs(residual),
        "l2": np.square(residual) / 2,
        "huber": [2.5, 0.5, 0.02, 0, 0.125, 1.5],
    }
    for name, values in expected.items():
        np.testing.assert_allclose(regression.losses(name)(residual), values, rtol=1e-6)
    small = regression.losses("huber", delta=0.5)(residual)
    np.testing.assert_allclose(small[0], 0.5 * (3 - 0.25), rtol=1e-6)


@pytest.mark.parametrize(("kind", "realised"), [("permute", 0.4), ("uniform", 0.4)])
def test_wrong_targets_and_the_split_depend_on_their_seeds_alone(kind, realised):
    overrides = {"noise.kind": kind, "noise.rate": 0.4, "data.validation": 100}
    one = loaded(config_of(**overrides))
    assert data.realised_rate(one.train) == pytest.approx(realised, abs=0.02)
    assert [len(part.targets) for part in one[1:4]] == [3900, 100, 1000]
    assert (one.test.targets == one.test.clean_targets).all()
    np.testing.assert_allclose(one.train.inputs.mean(axis=0), 0, atol=0.05)
    again, other = (
        loaded(config_of(**overrides)),
        loaded(config_of(**overrides | {"noise.seed": 1})),
    )
    assert again.targets_sha256 == one.targets_sha256 != other.targets_sha256
    np.testing.assert_array_equal(other.train.clean_targets, one.train.clean_targets)
    if kind == "uniform":
        assert one.low <= one.train.targets.min()
        assert one.train.targets.max() <= one.high


def test_the_scores_are_those_of_the_targets_unit(tmp_path):
    config = config_of(**{"noise.rate": 0.3, "report.losses": True})
    run = build.build_run(config)
    results = train_one(config, run, tmp_path)
    rows = files.read_rows(tmp_path / files.METRICS)
    assert results["score"]["key"] == "mae"
    assert results["test_mae"]["last"] == rows[-1]["test_mae"]
    assert results["noise"]["realised_rate"] == pytest.approx(0.3, abs=0.01)
    # Against scikit-learn, from the recorded predictions of the training examples.
    found = samples.read_samples(tmp_path)
    assert found["predicted"].shape == found["target"].shape
    error = mean_absolute_error(found["target"], found["predicted"])
    assert rows[-1]["train_mae"] == pytest.approx(error, rel=1e-4)
    wrong = found["wrong"] == 1
    assert rows[-1]["mae_wrong"] == pytest.approx(
        mean_absolute_error(found["target"][wrong], found["predicted"][wrong]), rel=1e-4
    )
    spread = np.var(run.dataset.test.targets)
    square = np.mean((found["target"] - found["predicted"]) ** 2)
    assert rows[-1]["train_r2"] == pytest.approx(1 - square / spread, rel=1e-3)
    limit = (run.dataset.high - run.dataset.low) / 10
    capped = np.minimum(np.abs(found["target"] - found["predicted"]), limit).mean()
    assert rows[-1]["train_truncated"] == pytest.approx(capped, rel=1e-4)
    right = np.sort(found["target"][~wrong])
    assert rows[-1]["tenth_10_weight"] > 0
    assert len(right) > 1000


def test_one_lam_serves_targets_of_every_size(monkeypatch):
    """Of targets 1,000 times as large the weights are the same."""
    source = data.SOURCES["friedman"]

    def thousandfold(**options):
        found = source(**options)
        return found._replace(targets=1000 * found.targets)

    states = []
    for own in (source, thousandfold):
        monkeypatch.setitem(data.SOURCES, "friedman", own)
        config = config_of(**{"epochs": 1})
        run = build.build_run(config)
        order = jnp.arange(64, dtype=jnp.int32)[None]
        first = step.init_state(run, 0)
        states.append(step.make_train_step(run)(first, run.dataset.train, order)[0])
    seen = [np.asarray(state.seen["weight"])[:5000] for state in states]
    np.testing.assert_allclose(seen[0], seen[1], rtol=1e-3)


def test_a_run_that_is_killed_and_resumed_is_the_same(tmp_path, monkeypatch):
    config = config_of(**{"checkpoint.every_epochs": 1, "epochs": 3})
    whole, torn = tmp_path / "whole", tmp_path / "torn"
    for path in (whole, torn):
        path.mkdir()
    train_one(config, build.build_run(config), whole)
    write_row = loop.record.write_row

    def killed(member, epoch, *rest):
        if epoch == 2:
            raise RuntimeError("killed")
        return write_row(member, epoch, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(loop.record, "write_row", killed)
        with pytest.raises(RuntimeError, match="killed"):
            train_one(config, build.build_run(config), torn)
    train_one(config, build.build_run(config), torn)
    for name in (files.METRICS, files.RESULTS):
        assert (whole / name).read_bytes() == (torn / name).read_bytes(), name


@pytest.mark.parametrize("method", ["trend_superloss", "self_paced", "mentornet", "loss_memory",
                                    "co_teaching", "cauchy", "trimmed", "plain"])  # fmt: skip
def test_the_methods_that_need_no_classes(method):
    jax.block_until_ready(build.build_run(config_of(**{"loss.method": method})).method.init())


def test_a_table_of_images(tmp_path):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (12, 20, 30, 3), np.uint8)
    lines = [("path", "target")]
    for i, image in enumerate(pixels):
        name = f"{i + 20}_{i % 2}_x.png"
        Image.fromarray(image).save(tmp_path / name)
        lines.append((name, str(i + 20)))
    table = tmp_path / "ages.csv"
    with open(table, "w", newline="") as file:
        csv.writer(file).writerows(lines)
    of = {"noise.rate": 0.0, "data.side": 16}
    listed = loaded(config_of("images", **of, **{"data.path": str(table)}))
    named = loaded(
        config_of("images", **of, **{"data.path": str(tmp_path), "data.pattern": r"^(\d+)_"})
    )
    assert listed.train.inputs.shape == (10, 16, 16, 3)
    for one, other in zip(jax.tree.leaves(listed.train), jax.tree.leaves(named.train), strict=True):
        np.testing.assert_array_equal(one, other)
    assert sorted([*listed.train.targets, *listed.test.targets]) == list(range(20, 32))
    (tmp_path / "20_0_x.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"20_0_x.png: no image that can be read"):
        loaded(config_of("images", **of, **{"data.path": str(table)}))


def with_targets(monkeypatch, targets):
    source = data.Source(np.zeros((len(targets), 3), np.float32), np.array(targets))
    monkeypatch.setitem(data.SOURCES, "friedman", lambda **options: source)
    return config_of()


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        ([*range(19), np.nan], "target 19 is nan"),
        ([*range(19), np.inf], "target 19 is inf"),
        ([1.5] * 20, "all targets are 1.5"),
        ([1.0, 2.0], "expected 10 examples or more, got 2"),
    ],
)
def test_targets_that_cannot_be_learnt(monkeypatch, targets, message):
    with pytest.raises(ValueError, match=message):
        loaded(with_targets(monkeypatch, targets))


def test_mistakes(tmp_path):
    (tmp_path / "text.csv").write_text("path,target\na.png,old\n")
    (tmp_path / "other.csv").write_text("file,age\na.png,3\n")
    for overrides, message in (
        ({"noise.kind": "symmetric_exclusive"}, "expected one of permute, uniform, given, got"),
        (
            {"loss.method": "focal"},
            "focal needs classes, which this task",
        ),
        ({"loss.method": "cross_entropy"}, "the loss of a regression without a method is plain"),
        ({"loss.base": "bootstrap"}, "bootstrap needs classes"),
        ({"loss.threshold": "per_class"}, "needs classes"),
        ({"residual.loss": "l3"}, "config.residual.loss: expected one of huber, l1, l2"),
        ({"residual.delta": 0.0}, "config.residual.delta: expected a finite number > 0"),
        ({"residual.truncation": -1.0}, "config.residual.truncation: expected a finite number > 0"),
        ({"model.name": "lenet"}, "friedman has rows of numbers, not images: choose mlp"),
        ({"data.examples": 9000}, "config.data.examples: expected"),
        ({"data.validation": 4000}, "config.data.validation: expected"),
        ({"data.name": "diabets"}, "did you mean diabetes"),
        ({"data.name": "images"}, "config.data.path: expected a CSV file or a folder"),
        ({"data.name": "images", "data.path": "/no/such"}, "is neither a file nor a folder"),
        ({"data.name": "images", "data.path": str(tmp_path)}, "a group for the target"),
        ({"data.name": "images", "data.path": str(tmp_path / "text.csv")}, "'old' is no number"),
        ({"data.name": "images", "data.path": str(tmp_path / "other.csv")}, "got file, age"),
    ):
        with pytest.raises(ValueError, match=message) as error:
            build.build_run(config_of(**overrides))
        assert "\n" not in str(error.value)


def test_from_the_command_line_without_a_data_directory(tmp_path):
    run = f"--workdir={tmp_path / 'run'}"
    done = main("--config=configs/regression_diabetes.py", run, "--config.epochs=2",
                "--data_dir=/no/such")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "test mean absolute error" in done.stdout
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert (results["score"]["key"], *results["test_mae"]) == ("mae", "last")


@pytest.mark.x64
@pytest.mark.skipif(not jax.config.read("jax_enable_x64"), reason="compares in float64")
def test_eight_devices_are_one():
    found = []
    for number in (1, 8):
        run = build.build_run(config_of(**{"devices": number, "optimizer.name": "sgd"}))
        run = run._replace(model=run.model.clone(dtype=jnp.float64))
        state = step.init_state(run, 0)
        wide = jax.tree.map(lambda x: x.astype(jnp.float64), state.params)
        state = devices.replicate(state._replace(params=wide), run.layout)
        train = devices.replicate(run.dataset.train, run.layout)
        order = epoch_order(0, 1, len(train.index), 60, run.layout)  # no multiple of 8
        take_step = step.make_train_step(run)
        for _ in range(10):
            state, failed = take_step(state, train, order)
        assert not failed
        found.append(jax.tree.map(np.asarray, (state.params, state.loss_state.tau)))
    for one, eight in zip(*map(jax.tree.leaves, found), strict=True):
        np.testing.assert_allclose(one, eight, rtol=1e-9, atol=1e-12)
