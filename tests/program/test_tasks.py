"""A user's own task trains, resumes, runs in a sweep and makes a table, with just a Task."""

import json

import jax
import numpy as np
import pytest

from experiments import tasks
from experiments.runs import contents, files, lock
from experiments.tasks.scores import SCORES
from experiments.training import build, devices, evaluation, loop, record
from experiments.training import step as one_step
from superloss_jax import closed_form
from tests.program.running import reported, train_one
from tests.program.test_main import main

__all__ = ["reported"]  # a fixture

CONFIG = """
import ml_collections
from configs import base

def get_config():
    default = base.get_config()
    names = ("seed", "batch_size", "devices", "vmap_seeds", "checkpoint", "optimizer", "loss")
    config = ml_collections.ConfigDict({name: default[name] for name in names})
    config.task, config.width, config.epochs = "tests.program.toy:task", 32, 2
    config.report = {"selection": ("best_validation", "last"), "losses": False}
    return config

def sweep():
    for method in ("cross_entropy", "superloss"):
        for seed in (0, 1):
            yield {"loss.method": method, "seed": seed}
"""


def config_of(**overrides):
    scope: dict = {}
    exec(CONFIG, scope)
    config = scope["get_config"]()
    config.devices, config.checkpoint.every_epochs = 1, 1
    config.update_from_flattened_dict(overrides)
    return config


def test_every_task_here_has_its_score():
    assert tasks.TASKS.keys() == SCORES.keys()
    for name in tasks.TASKS:
        config = {"task": name}
        assert tasks.task_of(config).score == tasks.score_of(config) == SCORES[name]
    assert tasks.score_of({}) == SCORES["classification"]


@pytest.mark.x64
def test_units_are_weighed_and_padding_and_what_is_ignored_are_not():
    """Compares a step on a padded batch with plain arithmetic."""
    config = config_of(**{"optimizer.name": "sgd", "optimizer.learning_rate": 1.0})
    run = build.build_run(config)
    state, train = one_step.init_state(run, 0), run.dataset.train
    rows = np.array([[3, 1, 4, -1]], np.int32)
    batch = run.problem.draw(train, rows[0], one_step.At(0, 0))
    hidden = np.asarray(batch.drawn)[:3]
    target = train.targets[rows[0, :3]]

    def objective(params):
        output = run.model.apply({"params": params}, np.where(hidden, 0, target), train=True)
        losses = (output - target) ** 2
        tau = jax.lax.stop_gradient(losses.mean(where=hidden))
        values, sigma = closed_form(losses, tau, config.loss.lam)
        return values.mean(where=hidden), (losses, sigma)

    grads, (losses, sigma) = jax.jit(jax.grad(objective, has_aux=True))(state.params)
    expected = jax.tree.map(lambda p, g: np.asarray(p - g), state.params, grads)
    after, failed = one_step.make_train_step(run)(state, train, rows)
    assert not failed
    for a, b in zip(jax.tree.leaves(after.params), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    index = train.index[rows[0, :3]]
    seen = {"loss": losses, "weight": sigma}
    for name, values in seen.items():  # per example, the mean over its counted pixels
        mean = np.asarray(values).mean(1, where=hidden)
        np.testing.assert_allclose(np.asarray(after.seen[name])[index], mean, rtol=1e-4)
    np.testing.assert_allclose(after.sums[1, 0], hidden.sum())
    np.testing.assert_allclose(after.sums[0, 0, 0], losses.sum(where=hidden), rtol=1e-4)


@pytest.mark.parametrize(("method", "number"), [("superloss", 1), ("co_teaching", 8)])
def test_a_whole_split_is_measured_in_order_without_padding(method, number, monkeypatch):
    """The averaged weights are evaluated; with two networks, the numbers are averaged."""
    overrides = {"loss.method": method, "devices": number, "average.decay": 0.9}
    config = config_of()
    config.unlock()
    config.average = {"decay": 0.0}
    config.update_from_flattened_dict(overrides)
    config.loss.co_teaching.forget_rate = 0.4
    run = build.build_run(config)
    state, test = one_step.init_state(run, 0), run.dataset.test
    moved = jax.tree.map(lambda leaf: leaf + 0.1, state.average)
    state = state._replace(average=devices.replicate(moved, run.layout))
    monkeypatch.setattr(evaluation, "EVALUATION_BATCH", 250)  # of 597
    evaluated = {"test": evaluation.make_evaluate(run)(state, test)}
    columns, kept = record.measured(run, jax.device_get(evaluated))
    visible = np.where(np.arange(64) % 2 == 0, 0, test.targets)
    outputs = run.model.apply(jax.device_get(moved), visible, train=False)
    errors = np.abs(np.asarray(outputs).reshape(-1, *visible.shape) - test.targets).max(-1)
    assert columns == {"test_median_error": pytest.approx(np.median(errors, 1).mean(), rel=1e-5)}
    np.testing.assert_allclose(kept["error"], errors[0], rtol=1e-5)


def test_it_resumes_bit_by_bit_and_alone_or_at_once(tmp_path):
    config, run = config_of(), build.build_run(config_of())
    for name in ("straight", "stopped", *"01"):
        (tmp_path / name).mkdir()
    results = train_one(config, run, tmp_path / "straight")
    asked = iter([None] * 5)
    with pytest.raises(lock.Stopped):
        train_one(config, run, tmp_path / "stopped", lambda: next(asked, 15))
    train_one(config, run, tmp_path / "stopped")
    for name in (files.METRICS, files.RESULTS, files.SAMPLES, files.TEST):
        first, second = (tmp_path / one / name for one in ("straight", "stopped"))
        assert first.read_bytes() == second.read_bytes()
    assert results["score"]["key"] == "absolute_error"
    # Smaller is better.
    rows = files.read_rows(tmp_path / "straight" / files.METRICS)
    best = min(rows, key=lambda row: row["validation_absolute_error"])
    assert results["test_absolute_error"]["best_epoch"] == best["epoch"]
    assert best["test_absolute_error"] < rows[0]["train_absolute_error"]
    members = [build.Member(config_of(seed=seed), run, tmp_path / str(seed)) for seed in (0, 1)]
    together = loop.train(members)
    last = together[0]["last_epoch"]
    for key, value in results["last_epoch"].items():
        assert last[key] == pytest.approx(value, rel=1e-3), key


def test_a_config_of_one_s_own_may_use_names_of_ours():
    config = config_of()
    with config.unlocked():
        config.data, config.model = "digits", "vit"
        config.encoder = {"a": {"start": 3}}  # no share of the run
    build.build_run(config)
    contents.note(config)
    path = files._fixed(config.to_dict())
    assert path["encoder.a.start"] == 3


def test_the_score_is_one_of_the_metrics(monkeypatch):
    found = tasks.task_of(config_of())
    wrong = found._replace(score=found.score._replace(key="absolut_error"))
    monkeypatch.setattr(build, "task_of", lambda config: wrong)
    match = "key of the task's score: expected one of loss, absolute_error, median_error"
    with pytest.raises(ValueError, match=match):
        build.build_run(config_of())


def test_what_the_task_does_not_have_is_said():
    for method in ("early_learning", "loss_memory", "forward_correction"):
        with pytest.raises(ValueError, match=r"config\.loss.*(needs|expected)"):
            build.build_run(config_of(**{"loss.method": method}))


def test_it_sweeps_and_makes_a_table(tmp_path, reported, capsys):
    (tmp_path / "toy.py").write_text(CONFIG)

    flags = (f"--config={tmp_path / 'toy.py'}", f"--workdir={tmp_path / 'runs'}")
    done = main(*flags, program="sweep")
    assert "4 of 4 runs are done" in done.stdout, done.stderr
    table = reported("table", f"--workdir={tmp_path / 'runs'}")
    paths = sorted((tmp_path / "runs").glob(f"*/{files.RESULTS}"))
    results = [json.loads(path.read_text()) for path in paths]
    values = {
        method: np.mean([
            one["test_absolute_error"]["best_validation"]
            for one in results if one["config"]["loss"]["method"] == method
        ])
        for method in ("cross_entropy", "superloss")
    }  # fmt: skip
    best = min(values, key=values.__getitem__)
    lines = {line.split(" | ")[0]: line for line in table.splitlines()}
    assert "**" in lines[f"| {best}"]
    assert "absolute error" in table
    assert "accuracy" not in table
    assert len(lines[f"| {best}"].split("**")[1].split(" ±")[0]) == 5  # 0.123
    for command in ("html", "choose", "figures"):
        reported(command, f"--workdir={tmp_path / 'runs'}")
    reported("table", f"--workdir={tmp_path / 'runs'}", "--published")
    with pytest.raises(SystemExit, match="2"):
        reported("suspects", f"--workdir={paths[0].parent}")
    assert capsys.readouterr().err.count("\n") == 1
