"""Runs with missing labels: resumed, streamed, at once, on several devices, swept and reported."""

import csv
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import fixmatch_cifar10, semi_supervised_cifar10
from experiments.report import plots, runs
from experiments.runs import files, samples
from experiments.training import build, loop
from experiments.training.order import epoch_order
from tests.program.drawn import closing
from tests.program.running import (
    reported,
    steps_in_float64,
    sweep_at_once,
    train_one,
    whole_and_torn,
)
from tests.program.test_data import DATA_DIR, needs_cifar10
from tests.program.test_semi_supervised import KINDS, config_of

closed = pytest.fixture(autouse=True)(closing)
__all__ = ["reported"]  # a fixture


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_that_is_killed_and_resumed_is_the_same(tmp_path, kind, monkeypatch):
    config = config_of(**KINDS[kind] | {"checkpoint.every_epochs": 1, "epochs": 3})
    whole, torn = whole_and_torn(config, tmp_path, monkeypatch)
    for name in (files.METRICS, files.RESULTS, files.SAMPLES):
        assert (whole / name).read_bytes() == (torn / name).read_bytes()


@pytest.mark.parametrize("kind", KINDS)
def test_streamed_or_in_bfloat16(tmp_path, kind):
    rows = {}
    for name, more in (
        ("resident", {}),
        ("streamed", {"data.device_budget_mb": 1e-3}),
        ("narrow", {"model.dtype": "bfloat16"}),
    ):
        (tmp_path / name).mkdir()
        config = config_of(**KINDS[kind] | more)
        train_one(config, build.build_run(config), tmp_path / name)
        rows[name] = files.read_rows(tmp_path / name / files.METRICS)
    assert rows["streamed"] == rows["resident"]
    assert rows["narrow"] != rows["resident"]
    close = pytest.approx(rows["resident"][-1]["test_loss"], rel=0.1)
    assert rows["narrow"][-1]["test_loss"] == close


@pytest.mark.parametrize("kind", KINDS)
def test_two_seeds_at_once_are_two_runs(tmp_path, kind):
    def config(seed):
        return config_of(**KINDS[kind] | {"seed": seed, "data.labelled_seed": seed})

    alone, members = [], []
    for seed in (0, 1):
        run = build.build_run(config(seed))
        for name in ("alone", "together"):
            (tmp_path / f"{name}{seed}").mkdir()
        alone.append(train_one(config(seed), run, tmp_path / f"alone{seed}"))
        members.append(build.Member(config(seed), run, tmp_path / f"together{seed}"))
    together = loop.train(members)
    for one, other in zip(alone, together, strict=True):
        last = other["last_epoch"]
        for key in ("train_loss", "test_loss", "test_accuracy", "pseudo_label_accuracy"):
            assert last[key] == pytest.approx(one["last_epoch"][key], rel=0.02, abs=2e-3)


def test_what_is_recorded_of_pseudo_labels(tmp_path):
    config = config_of(**{"epochs": 30, "consistency.threshold": 0.95, "report.losses": True})
    results = train_one(config, build.build_run(config), tmp_path)
    found = samples.read_samples(tmp_path)
    seen = (found["target"] < 0) & (found["taught"] >= 0)
    right = found["taught"] == found["clean_target"]
    last = results["last_epoch"]
    assert last["pseudo_label_accuracy"] == pytest.approx(right[seen].mean())
    sure = seen & (found["weight"] > 0)
    assert last["pseudo_label_weight"] == pytest.approx(sure.sum() / seen.sum())
    assert last["pseudo_label_weighted"] == pytest.approx(right[sure].mean())
    assert last["pseudo_label_weighted"] > last["pseudo_label_accuracy"] > 0.6
    assert last["accuracy_unlabelled"] is None
    assert last["train_accuracy"] == last["accuracy_clean"] > 0.9


SWEEP = """
from configs import semi_supervised

def get_config():
    config = semi_supervised.get_config()
    config.epochs = 3
    config.devices = 1
    config.report.losses = True
    config.noise.rate = 0.4
    config.data.labelled = 650
    config.consistency.labelled = 64
    return config

def sweep():
    for method in semi_supervised.methods(warmup_epochs=1.0):
        for seed in (0, 1):
            yield method | {"seed": seed, "noise.seed": seed}
"""


def test_a_sweep_and_its_reports(tmp_path, reported):
    swept = sweep_at_once(tmp_path, SWEEP)
    results = [json.loads(path.read_text()) for path in swept.glob("*/results.json")]
    values = [
        100 * one["test_accuracy"]["last"]
        for one in results
        if one["config"]["loss"]["method"] == "superloss"
    ]
    table = reported("table", f"--workdir={swept}").replace("**", "")
    assert f"{np.mean(values):.1f} ± {np.std(values, ddof=1):.1f}" in table
    found = runs.finished_runs(swept)
    drawn = {name: reason for name, _, _, reason in plots.drawn(found, None, 1)}
    expected = {"accuracy_over_epochs", "memorisation", "pseudo_labels", "tau", "sigma_over_loss"}
    assert {name for name, reason in drawn.items() if not reason} == expected | {"losses"}
    path = next(run.path for run in found if run.results["config"]["loss"]["method"] == "superloss")
    said = reported("suspects", f"--workdir={path}", "--number=50")
    assert "of these 50, " in said
    rows = samples.read_samples(path)
    with open(path / "suspects.csv") as file:
        listed = [int(line["index"]) for line in csv.DictReader(file)]
    known = rows["index"][rows["target"] >= 0]
    assert len(known) == 650
    assert set(listed) <= set(known)
    reported("html", f"--workdir={swept}", f"--output={tmp_path / 'page.html'}", "--split=1")
    assert "pseudo-labels are right" in (tmp_path / "page.html").read_text()
    reported("pack", f"--workdir={swept}")
    assert reported("table", f"--workdir={swept}").replace("**", "") == table


@needs_cifar10
@pytest.mark.parametrize("configs", [fixmatch_cifar10, semi_supervised_cifar10])
def test_the_configs_of_cifar10_build_with_every_method(configs):
    for point in list(configs.sweep())[:4]:
        config = configs.get_config()
        config.update_from_flattened_dict(point)
        run = build.build_run(config, DATA_DIR)
        targets = run.dataset.train.targets
        assert (targets >= 0).sum() == config.data.labelled
        order = epoch_order(0, 1, len(targets), 512, run.layout, run.problem.order)
        alone = config.consistency.kind == "none"
        assert order.shape == (98, config.consistency.labelled if alone else 512)


@pytest.mark.x64
@pytest.mark.skipif(not jax.config.read("jax_enable_x64"), reason="compares in float64")
@pytest.mark.parametrize("kind", KINDS)
def test_eight_devices_are_one(kind):
    found = []
    for number in (1, 8):
        overrides = {"devices": number, "optimizer.name": "sgd", "batch_size": 60}
        run = build.build_run(config_of(**KINDS[kind] | overrides))  # 60 is no multiple of 8
        run = run._replace(model=run.model.clone(dtype=jnp.float64))
        state = steps_in_float64(run, 60, 10)
        taken = state.params, state.average, jax.tree.leaves(state.loss_state)
        found.append(jax.tree.map(np.asarray, taken))
    for one, eight in zip(*map(jax.tree.leaves, found), strict=True):
        np.testing.assert_allclose(one, eight, rtol=1e-7, atol=1e-9)


def test_examples_that_were_not_seen_or_are_left_out(tmp_path):
    train = build.build_run(config_of()).dataset.train
    wrong = np.where(train.targets < 0, samples.NO_TARGET, 0)
    loss = np.where(train.targets < 0, np.nan, 1.0)
    rows = {"index": train.index, "target": train.targets, "wrong": wrong}
    of_first = config_of(**{"data.exclude": str(tmp_path), "data.exclude_rate": 0.9})
    samples.write(tmp_path, rows | {"loss": loss, "weight": loss})
    with pytest.raises(ValueError, match=r"consistency.labelled: expected .* 1 to 10, got"):
        build.build_run(of_first)  # 10 of 100 labels are left
    loss[np.flatnonzero(train.targets >= 0)[:45]] = np.nan
    samples.write(tmp_path, rows | {"loss": loss, "weight": loss})
    with pytest.raises(ValueError, match="no loss of 45 of 100 examples was recorded"):
        build.build_run(of_first)
