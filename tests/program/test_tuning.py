"""Choosing settings by validation accuracy, on invented numbers."""

import argparse

import numpy as np
import pytest

from configs import digits
from experiments.report import tuning
from experiments.runs import files


def write(root, validation, **changes):
    """Writes a finished run with this best validation accuracy in %; later epochs are worse."""
    config = digits.get_config()
    config.data.validation = 400
    config.update_from_flattened_dict(changes)
    path = root / f"{len(list(root.glob('*'))):03}"
    path.mkdir(parents=True)
    rows = [
        {"validation_accuracy": value / 100, "train_accuracy": 1.0}
        for value in (1, validation, validation - 5)
    ]
    (path / files.METRICS).write_text("".join(files.line(row) for row in rows))
    files.write_json(path / files.RESULTS, {
        "config": config.to_dict(), "versions": {"jax": "1"}, "devices": 1, "platform": "cpu",
        "x64": False, "noise": {"convention": "symmetric", "realised_rate": 0.4},
    })  # fmt: skip


def choose(root, capsys, epoch="best"):
    tuning.choose(argparse.Namespace(workdir=str(root), epoch=epoch))
    return capsys.readouterr().out


def test_settings_by_validation_accuracy_with_its_standard_error(tmp_path, capsys):
    for lam, values in {1.0: (60.0, 62.0), 0.25: (70.0, 74.0)}.items():
        for seed, value in enumerate(values):
            write(tmp_path, value, **{"loss.lam": lam, "seed": seed})
    one = {"loss.method": "generalized_cross_entropy", "loss.generalized_cross_entropy.q": 0.2}
    write(tmp_path, 50.0, **one)  # a single setting is named, too
    said = choose(tmp_path, capsys)
    lines = [line for line in said.splitlines() if line.startswith("| ")]
    assert lines[1:] == [
        f"| superloss | lam 0.25 | **72.00 ± {np.std((70, 74), ddof=1):.2f}** |",
        f"| superloss | as configured | 61.00 ± {np.std((60, 62), ddof=1):.2f} |",
        "| generalized_cross_entropy | q 0.2 | **50.00** |",
    ]
    assert f"to a standard error of {100 * np.sqrt(0.72 * 0.28 / 400):.1f};" in said


def test_the_last_epoch_can_decide(tmp_path, capsys):
    write(tmp_path, 60.0)
    said = choose(tmp_path, capsys, "last")
    assert "| superloss | as configured | **55.00** |" in said
    assert "on noisy validation labels in the last epoch" in said


def test_a_choice_is_made_at_one_condition_and_with_validation_labels(tmp_path, capsys):
    write(tmp_path / "two", 60.0)
    write(tmp_path / "two", 60.0, **{"noise.rate": 0.2})
    with pytest.raises(ValueError, match="one condition"):
        choose(tmp_path / "two", capsys)
    write(tmp_path / "none", 60.0)
    (tmp_path / "none" / "000" / files.METRICS).write_text(files.line({"test_accuracy": 0.5}))
    with pytest.raises(ValueError, match="has no validation labels to choose by"):
        choose(tmp_path / "none", capsys)
