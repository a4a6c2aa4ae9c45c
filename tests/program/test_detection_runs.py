"""Runs of detections: what they measure and record, and that they resume as other tasks do."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from experiments.runs import files, samples
from experiments.tasks.average_precision import Found, average_precision
from experiments.training import build
from tests.program import shapes
from tests.program.running import alone_and_at_once, steps_in_float64, train_one, whole_and_torn

pytest.importorskip("faster_coco_eval", reason="needs the extra detection: faster-coco-eval")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return shapes.make(tmp_path_factory.mktemp("shapes"))


def test_a_run_measures_and_records(folder, tmp_path):
    config = shapes.config_of(folder, **{"epochs": 12, "noise.seed": 3, "report.losses": True})
    run = build.build_run(config)
    results = train_one(config, run, tmp_path)
    [*_, row] = files.read_rows(tmp_path / files.METRICS)
    assert results["score"]["key"] == "map_50"
    assert results["test_map_50"]["last"] == row["test_map_50"] > 0.3
    with np.load(tmp_path / files.TEST) as kept:
        found = Found(*(kept[name] for name in Found._fields))
    truth = run.dataset.test.targets
    again = average_precision(found, Found(truth.box, truth.label, truth.crowd), ("bright", "dark"))
    for name, value in again.items():
        assert row[f"test_{name}"] == pytest.approx(value, abs=1e-6)
    train, rows = run.dataset.train, samples.read_samples(tmp_path)
    there = train.targets.label >= 0
    np.testing.assert_array_equal(rows["target"], train.targets.label[there])
    np.testing.assert_array_equal(rows["clean_target"], train.clean_targets[there])
    np.testing.assert_array_equal(rows["index"], train.index[np.nonzero(there)[0]])
    wrong = rows["target"] != rows["clean_target"]
    np.testing.assert_array_equal(rows["wrong"], wrong)
    assert results["noise"]["realised_rate"] == pytest.approx(wrong.mean())
    assert row["auroc_weight"] == pytest.approx(roc_auc_score(wrong, -rows["weight"]))
    assert results["detectors"]["loss"]["auroc"] == row["auroc_loss"]
    assert row["auroc_loss"] == pytest.approx(roc_auc_score(wrong, rows["loss"]))
    assert row["wrong_memorised"] == np.mean(rows["predicted"][wrong] == rows["target"][wrong])
    assert samples.read_losses(tmp_path, 12).shape == (12, len(wrong))


def test_a_run_that_is_killed_and_resumed_is_the_same(folder, tmp_path, monkeypatch):
    config = shapes.config_of(folder, **{"checkpoint.every_epochs": 1, "epochs": 3})
    whole, torn = whole_and_torn(config, tmp_path, monkeypatch)
    for name in (files.METRICS, files.RESULTS, files.SAMPLES, files.TEST):
        assert (whole / name).read_bytes() == (torn / name).read_bytes(), name


def test_seeds_at_once_are_those_alone(folder, tmp_path):
    """Also with wrong classes, missing and bogus boxes of their own."""
    noise = {"noise.box": 0.1, "noise.missing": 0.2, "noise.bogus": 0.2, "devices": 1}
    own = [noise | {"seed": seed, "noise.seed": seed} for seed in (0, 1)]
    configs = [shapes.config_of(folder, **changes) for changes in own]
    runs = [build.build_run(config) for config in configs]
    for alone, at_once in alone_and_at_once(configs, runs, tmp_path):
        for key, value in alone.items():
            assert at_once[key] == pytest.approx(value, rel=1e-2, abs=1e-2, nan_ok=True), key


@pytest.mark.x64
@pytest.mark.skipif(not jax.config.read("jax_enable_x64"), reason="compares in float64")
def test_eight_devices_are_one(folder):
    found = []
    for number in (1, 8):
        own = {"devices": number, "optimizer.name": "sgd"}
        run = build.build_run(shapes.config_of(folder, **own, batch_size=12))  # no multiple of 8
        run = run._replace(model=run.model.clone(dtype=jnp.float64))
        state = steps_in_float64(run, 12, 4)
        found.append(jax.tree.map(np.asarray, (state.params, state.loss_state.tau)))
    for one, eight in zip(*map(jax.tree.leaves, found), strict=True):
        np.testing.assert_allclose(one, eight, rtol=1e-9, atol=1e-12)
