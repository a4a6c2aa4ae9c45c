"""Runs of retrieval: they train, resume and are trained at once as those of other tasks."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import retrieval as defaults
from experiments.runs import files, samples
from experiments.training import build, weighing
from superloss_jax import closed_form
from tests.program.running import alone_and_at_once, steps_in_float64, train_one, whole_and_torn
from tests.program.test_main import main


def config_of(**overrides):
    config = defaults.get_config()
    config.epochs, config.batch_size, config.data.name, config.devices = 2, 16, "digits", 1
    config.checkpoint.every_minutes = 0
    with config.unlocked():
        config.update_from_flattened_dict(overrides)
    return config


def test_a_run_that_is_killed_and_resumed_is_the_same(tmp_path, monkeypatch):
    own = {"epochs": 3, "batch_size": 12, "data.validation": 2, "checkpoint.every_epochs": 1}
    config = config_of(**own)
    config.report.selection = ("best_validation", "last")
    whole, torn = whole_and_torn(config, tmp_path, monkeypatch)
    for name in (files.METRICS, files.RESULTS, files.SAMPLES, files.TEST):
        assert (whole / name).read_bytes() == (torn / name).read_bytes(), name
    rows = files.read_rows(whole / files.METRICS)
    results = json.loads((whole / files.RESULTS).read_text())
    best = max(rows, key=lambda row: row["validation_recall_at_1"])
    assert results["test_recall_at_1"]["best_validation"] == best["test_recall_at_1"]
    assert results["score"]["key"] == "recall_at_1"
    with np.load(whole / files.TEST) as kept:
        assert kept["neighbours"].shape == (len(kept["index"]), 8)
    last = rows[-1]
    assert last["sigma_right_positive"] > last["sigma_wrong_positive"]
    assert 0.5 < last["auroc_wrong_positive"] < 1
    found = samples.read_samples(whole)
    assert set(found["wrong"]) == {0, 1}


@pytest.mark.parametrize("changes", [{"noise.seed": 1}, {}])
def test_seeds_at_once_are_those_alone(changes, tmp_path):
    """Also with wrong labels of their own."""
    configs = [config_of(epochs=1), config_of(epochs=1, seed=1, **changes)]
    first = build.build_run(configs[0])
    runs = [first, build.build_run(configs[1]) if changes else first]
    for alone, at_once in alone_and_at_once(configs, runs, tmp_path):
        for key, value in alone.items():
            close = {"rel": 1e-2, "abs": 5e-3, "nan_ok": True}
            assert at_once[key] == (None if value is None else pytest.approx(value, **close)), key


CASES = [
    {"embedding.units": "images", "loss.method": "loss_memory"},
    {"embedding.loss": "triplet", "loss.method": "superloss"},
    {"embedding.loss": "triplet", "embedding.negatives": "all", "loss.method": "cauchy"},
    {"embedding.loss": "multi_similarity", "loss.method": "trend_superloss"},
    {"embedding.loss": "softmax", "loss.method": "early_learning"},
    {"embedding.units": "images", "loss.method": "co_teaching"},
]


@pytest.mark.parametrize("changes", CASES, ids=lambda one: "-".join(map(str, one.values())))
def test_every_loss_trains(changes, tmp_path):
    results = train_one(
        config_of(epochs=1, **changes), build.build_run(config_of(epochs=1, **changes)), tmp_path
    )
    assert 0 < results["test_recall_at_1"]["last"] <= 1
    row = files.read_rows(tmp_path / files.METRICS)[-1]
    assert row["train_loss"] > 0
    assert row["test_loss"] is None
    assert ("loss_wrong_positive" in row) == (
        changes.get("embedding.loss") in (None, "triplet")
        and changes.get("embedding.units") is None
        and changes.get("embedding.negatives") is None
    )


def test_each_kind_of_pair_has_its_threshold_and_normalised_weights_have_mean_1():
    """Compares sigma of the pairs of a batch with the closed form."""
    losses = jnp.array([[0.2, 0.9, 1.4], [0.1, 0.3, 0.0]])
    kind = jnp.array([[0, 0, 0], [1, 1, 1]])
    where = losses > 0
    for normalise in (False, True):
        run = build.build_run(config_of(**{"loss.normalise_weights": normalise}))
        state = run.method.init()
        inputs = {"kind": kind}
        sigma = weighing.weights(run.method, losses, state, where, inputs)
        for row in (0, 1):
            of = np.asarray(where[row])
            own = np.asarray(losses)[row][of]
            expected = np.asarray(closed_form(own, own.mean(), 0.25)[1])
            expected = expected / expected.mean() if normalise else expected
            np.testing.assert_allclose(sigma[row][of], expected, rtol=1e-5)
        values, new = run.method.update(losses, state, where=where, **inputs)
        np.testing.assert_allclose(new.tau, [losses[0].mean(), 0.2], rtol=1e-6)
        assert values[1, 2] == 0


def test_from_the_command_line_without_a_data_directory(tmp_path):
    run = f"--workdir={tmp_path / 'run'}"
    done = main("--config=configs/retrieval.py", run, "--config.epochs=1",
                "--config.batch_size=16", "--config.data.name=digits",
                "--data_dir=/no/such")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "test recall at 1" in done.stdout
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert (results["score"]["key"], *results["test_recall_at_1"]) == ("recall_at_1", "last")


@pytest.mark.x64
@pytest.mark.skipif(not jax.config.read("jax_enable_x64"), reason="compares in float64")
def test_eight_devices_are_one():
    found = []
    for number in (1, 8):
        run = build.build_run(config_of(**{"devices": number, "optimizer.name": "sgd"}))
        network = run.model.network.clone(dtype=jnp.float64)
        run = run._replace(model=run.model.clone(network=network))
        state = steps_in_float64(run, 12, 10)
        found.append(jax.tree.map(np.asarray, (state.params, state.loss_state.tau)))
    for one, eight in zip(*map(jax.tree.leaves, found), strict=True):
        np.testing.assert_allclose(one, eight, rtol=1e-9, atol=1e-12)
