"""Label Wave's stop beside the best epoch on validation labels, on invented numbers."""

import argparse

import numpy as np
import pytest

from configs import digits
from experiments.report import stops
from experiments.runs import files


def write(root, scores, **changes):
    config = digits.get_config()
    config.update_from_flattened_dict(changes)
    path = root / f"{len(list(root.glob('*'))):03}"
    path.mkdir(parents=True)
    files.write_json(path / files.RESULTS, {
        "config": config.to_dict(), "versions": {"jax": "1"}, "devices": 1, "platform": "cpu",
        "x64": False, "noise": {"convention": "symmetric", "realised_rate": config.noise.rate},
        "test_accuracy": scores,
    })  # fmt: skip


def told(root, capsys, by="condition"):
    stops.stops(argparse.Namespace(workdir=str(root), by=by))
    lines = capsys.readouterr().out.splitlines()
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if "|" in line][2:]


def test_epochs_apart_and_scores_of_both_stops(tmp_path, capsys):
    apart, differences = (4, -2, 10), (0.01, -0.03, -0.01)
    for seed, (later, difference) in enumerate(zip(apart, differences, strict=True)):
        chosen = {"best_validation": 0.8, "best_epoch": 20, "last": 0.5}
        chosen |= {"label_wave": 0.8 + difference, "label_wave_epoch": 20 + later}
        rate = 0.2 if seed == 2 else 0.4
        write(tmp_path, chosen, **{"seed": seed, "noise.rate": rate})
    write(tmp_path, {"last": 0.9}, seed=9)  # without a validation split
    first, second, total = told(tmp_path, capsys)
    assert first == [
        "noise 0.2",
        "1",
        "+10 [+10, +10]",
        "80.0",
        "79.0",
        "50.0",
        "-1.0 [-1.0, -1.0]",
    ]
    low, high = np.quantile([1.0, -3.0], (0.05, 0.95))
    assert second[:3] == ["noise 0.4", "2", "+1 [+0, +2]"]  # quartiles -0.5 and 2.5
    assert second[3:] == ["80.0", "79.0", "50.0", f"-1.0 [{low:+.1f}, {high:+.1f}]"]
    assert total[:3] == ["all", "3", "+4 [+1, +7]"]
    assert [line[0] for line in told(tmp_path, capsys, "method")] == ["superloss", "all"]


def test_runs_without_one_of_the_stops_are_refused(tmp_path):
    write(tmp_path, {"last": 0.9, "best_validation": 0.9, "best_epoch": 3})
    with pytest.raises(ValueError, match=r"no run in .* has both an epoch of least changed"):
        stops.stops(argparse.Namespace(workdir=str(tmp_path), by="method"))
