"""The quickstart reuses runs of the same configuration and versions, and no others."""

import json

import pytest

from configs import digits
from experiments import quickstart
from experiments.report.runs import mean_and_spread
from experiments.runs import files, packing
from tests.program.test_packing import make

POINT = {"loss.method": "superloss", "seed": 1, "noise.seed": 1, "epochs": 2}


def finished_run(path, **changes):
    config = digits.get_config()
    config.update_from_flattened_dict(POINT)
    row = {"test_accuracy": 0.5, "accuracy_clean": 0.75, "accuracy_wrong": 0.25,
           "loss_clean": 1.0, "loss_wrong": 2.0}  # fmt: skip
    results = {"config": config.to_dict(), "versions": files.versions(), "devices": 1,
               "noise": {"realised_rate": 0.4}, "platform": "cpu", "x64": False}  # fmt: skip
    path.mkdir(exist_ok=True)
    files.write_json(path / files.RESULTS, results | changes)
    return json.loads((path / files.RESULTS).read_text()), [row, row]


def test_only_the_same_run_is_reused(tmp_path):
    path = tmp_path / "run"
    assert not quickstart.is_finished(path, POINT)
    finished_run(path)
    assert quickstart.is_finished(path, POINT)
    for point in (POINT | {"epochs": 3}, POINT | {"seed": 2}):
        with pytest.raises(ValueError, match=r"another configuration or version; delete .* or"):
            quickstart.is_finished(path, point)
    finished_run(path, versions=files.versions() | {"superloss_jax": "0.0.1"})
    with pytest.raises(ValueError, match="another configuration or version"):
        quickstart.is_finished(path, POINT)


def test_table_and_picture(tmp_path, capsys):
    runs = {method: [finished_run(tmp_path / "run")] * 2 for method in quickstart.METHODS}
    quickstart.print_table(runs, seeds=2, epochs=2)
    printed = capsys.readouterr().out
    assert "50.0 ± 0.0" in printed
    assert "40.0%" in printed
    quickstart.save_picture(runs, tmp_path / "picture.png")
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")


def test_packed_runs_are_read_and_not_trained_again(tmp_path, monkeypatch):
    points = [{"loss.method": method, "seed": 0, "noise.seed": 0, "epochs": 3}
              for method in quickstart.METHODS]  # fmt: skip
    for point in points:
        path = make(tmp_path / f"{point['loss.method']}_seed0", point["loss.method"], epochs=3)
        results = json.loads((path / files.RESULTS).read_text())
        files.write_json(path / files.RESULTS, results | {"versions": files.versions()})
    monkeypatch.setattr(quickstart, "run_one", lambda path, point: pytest.fail(f"trains {path}"))
    before = quickstart.run_all(tmp_path, seeds=1, epochs=3)
    packing.pack(tmp_path)
    assert not (tmp_path / "superloss_seed0" / files.RESULTS).exists()
    assert quickstart.run_all(tmp_path, seeds=1, epochs=3) == before


def test_spread_is_the_sample_standard_deviation():
    assert mean_and_spread([1.0, 3.0], 1) == "2.0 ± 1.4"
    assert mean_and_spread([1.0], 1) == "1.0"
