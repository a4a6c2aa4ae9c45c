"""Runs the programs of training and reports in the test's process."""

import sys

import jax
import jax.numpy as jnp
import pytest

from experiments.report import __main__ as report
from experiments.runs import files
from experiments.training import build, checkpoint, devices, loop, seeds, step
from experiments.training.build import Member
from experiments.training.order import epoch_order
from tests.program.test_main import main


def train_one(config, run, path, signal=lambda: None):
    """Trains a single run and returns its results."""
    [results] = loop.train([Member(config, run, path)], signal)
    return results


def whole_and_torn(config, root, monkeypatch):
    """Trains undisturbed, and again, killed in epoch 2 and resumed; returns both directories."""
    whole, torn = root / "whole", root / "torn"
    for path in (whole, torn):
        path.mkdir()
    train_one(config, build.build_run(config), whole)
    write_row, save = loop.record.write_row, loop.save

    def killed(member, epoch, *rest):
        if epoch == 2:
            raise RuntimeError("killed")
        return write_row(member, epoch, *rest)

    def saved(own, *rest):  # before anything is killed
        save(own, *rest)
        for saver in own.savers:
            checkpoint.wait(saver)

    with monkeypatch.context() as patch:
        patch.setattr(loop.record, "write_row", killed)
        patch.setattr(loop, "save", saved)
        with pytest.raises(RuntimeError, match="killed"):
            train_one(config, build.build_run(config), torn)
    train_one(config, build.build_run(config), torn)
    return whole, torn


def alone_and_at_once(configs, runs, root):
    """Trains each run alone, then all at once; yields the last row of metrics of both, by run."""
    members: dict[str, list] = {"alone": [], "at_once": []}
    for kind, found in members.items():
        for i, (config, run) in enumerate(zip(configs, runs, strict=True)):
            found.append(Member(config, run, root / kind / str(i)))
            found[-1].path.mkdir(parents=True)
    for one in members["alone"]:
        train_one(*one)
    seeds.train_all(members["at_once"])
    for one, other in zip(*members.values(), strict=True):
        assert files.at_once(other.path)["number"] == len(runs)
        yield tuple(files.read_rows(x.path / files.METRICS)[-1] for x in (one, other))


def steps_in_float64(run, batch_size, number):
    """Takes the first steps of a run, whose model computes in float64; returns the state."""
    state = step.init_state(run, 0)
    narrow = state.params, state.batch_stats, state.average
    wide = jax.tree.map(lambda x: x.astype(jnp.float64), narrow)
    state = state._replace(params=wide[0], batch_stats=wide[1], average=wide[2])
    state = devices.replicate(state, run.layout)
    train = devices.replicate(run.problem.stored(run.dataset.train), run.layout)
    size = len(train.index)
    order = epoch_order(0, 1, size, batch_size, run.layout, run.problem.order)
    take_step = step.make_train_step(run)
    for _ in range(number):
        state, failed = take_step(state, train, order)
    assert not failed
    return state


def sweep_at_once(folder, text):
    """Runs a config with a sweep, two runs and two seeds at once; returns its directory."""
    (folder / "few.py").write_text(text)
    done = main(f"--config={folder / 'few.py'}", f"--workdir={folder / 'runs'}", "--workers=2",
                "--seeds_at_once=2", program="sweep")  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder / "runs"


@pytest.fixture
def reported(monkeypatch, capsys):
    """Returns a function that runs a report's command and returns what it prints."""

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["report", *map(str, words)])
        report.main()
        return capsys.readouterr().out

    return run
