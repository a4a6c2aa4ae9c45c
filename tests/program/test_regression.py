"""Regression: its losses and scores, and that it trains and resumes as classification does."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import mean_absolute_error

from configs import regression as defaults
from experiments.data import regression as data
from experiments.runs import files, samples
from experiments.tasks import regression
from experiments.training import build, step
from experiments.training.stream import fits
from tests.program.running import alone_and_at_once, steps_in_float64, train_one, whole_and_torn
from tests.program.test_main import main


def config_of(name="friedman", **overrides):
    config = defaults.get_config()
    config.epochs, config.batch_size, config.data.name = 2, 64, name
    with config.unlocked():
        config.update_from_flattened_dict(overrides)
    return config


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
    whole, torn = whole_and_torn(config, tmp_path, monkeypatch)
    for name in (files.METRICS, files.RESULTS, files.SAMPLES):
        assert (whole / name).read_bytes() == (torn / name).read_bytes(), name


@pytest.mark.parametrize("changes", [{"noise.seed": 1, "data.split_seed": 1}, {}])
def test_seeds_at_once_are_those_alone(changes, tmp_path):
    """Also with wrong targets, a test set and so a scale of their own."""
    own = {"noise.kind": "uniform", "devices": 1}
    configs = [config_of("diabetes", **own), config_of("diabetes", **own, seed=1, **changes)]
    first = build.build_run(configs[0])
    runs = [first, build.build_run(configs[1]) if changes else first]
    for alone, at_once in alone_and_at_once(configs, runs, tmp_path):
        for key, value in alone.items():
            assert at_once[key] == pytest.approx(value, rel=1e-3, nan_ok=True), key


def test_streamed_or_in_bfloat16_it_is_nearly_the_same(tmp_path):
    rows = {}
    for key, value in (("seed", 0), ("data.device_budget_mb", 0.01), ("model.dtype", "bfloat16")):
        path = files.make_workdir(tmp_path / key)
        config = config_of("diabetes", devices=1, **{key: value})
        run = build.build_run(config)
        train_one(config, run, path)
        [*_, rows[key]] = files.read_rows(path / files.METRICS)
    assert not fits(run.dataset.train, 0.01)
    resident, streamed, narrow = rows.values()
    assert streamed == pytest.approx(resident, rel=1e-5, nan_ok=True)
    assert 0 < abs(narrow["test_mae"] - resident["test_mae"]) < 0.02 * resident["test_mae"]


@pytest.mark.parametrize("method", ["trend_superloss", "self_paced", "mentornet", "loss_memory",
                                    "co_teaching", "cauchy", "trimmed", "plain"])  # fmt: skip
def test_the_methods_that_need_no_classes(method):
    jax.block_until_ready(build.build_run(config_of(**{"loss.method": method})).method.init())


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
        state = steps_in_float64(run, 60, 10)  # no multiple of 8
        found.append(jax.tree.map(np.asarray, (state.params, state.loss_state.tau)))
    for one, eight in zip(*map(jax.tree.leaves, found), strict=True):
        np.testing.assert_allclose(one, eight, rtol=1e-9, atol=1e-12)
