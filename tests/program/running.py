"""Runs the programs of training and reports in the test's process."""

import sys

import pytest

from experiments.report import __main__ as report
from experiments.training import build, loop
from experiments.training.build import Member
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
    return whole, torn


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
