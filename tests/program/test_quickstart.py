"""The quickstart reuses runs of the same configuration and versions, and no others."""

import json

import pytest

from configs import digits
from experiments import quickstart
from experiments.runs import files

POINT = {"loss.method": "superloss", "seed": 1, "noise.seed": 1, "epochs": 2}


def finished_run(path, **changes):
    config = digits.get_config()
    config.update_from_flattened_dict(POINT)
    row = {"test_accuracy": 0.5, "accuracy_clean": 0.75, "accuracy_wrong": 0.25,
           "loss_clean": 1.0, "loss_wrong": 2.0}  # fmt: skip
    results = {"config": config.to_dict(), "versions": files.versions(),
               "noise": {"realised_rate": 0.4}}  # fmt: skip
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


def test_spread_is_the_sample_standard_deviation():
    assert quickstart.mean_and_spread([1.0, 3.0]) == "2.0 ± 1.4"
    assert quickstart.mean_and_spread([1.0]) == "1.0"
