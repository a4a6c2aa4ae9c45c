"""How a sweep is shown: names of its points, the live table, and the table at its end."""

import argparse
import io
import itertools
import json

import pytest
from rich.console import Console

from experiments.report import detectors, suspects
from experiments.runs import files, packing, stored
from experiments.sweep import outcome, watch
from experiments.sweep import points as points_of
from experiments.sweep.points import Point
from experiments.tasks.scores import ACCURACY
from experiments.training import loop
from tests.program.test_packing import make

LONG = "generalized_cross_entropy"


def test_points_are_labelled_by_what_differs():
    seeds = [{"seed": seed, "noise.seed": seed, "data.split_seed": seed} for seed in (0, 1)]
    swept = [{"noise.rate": 0.4, "loss.method": method, "epochs": 3} | seed
             for method in ("superloss", LONG) for seed in seeds]  # fmt: skip
    assert points_of.names_of(swept) == [
        "superloss seed=0", "superloss seed=1", f"{LONG} seed=0", f"{LONG} seed=1",
    ]  # fmt: skip
    forms = [{"loss.method": "focal"}, {"loss.method": "superloss", "loss.base": "focal"}]
    assert points_of.names_of(forms) == ["focal", "superloss base=focal"]
    assert points_of.names_of([{"seed": 0}]) == [""]


def test_a_long_name_keeps_a_part_of_each_setting():
    assert watch.shortened(f"{LONG} rate=0.4 seed=0", 30) == "generalized_c… rate=0.4 seed=0"
    assert watch.shortened("superloss seed=0", 30) == "superloss seed=0"
    assert watch.shortened("abcd efgh", 0) == "abcd efgh"  # never to nothing


@pytest.mark.parametrize("width", [80, 120])
def test_the_live_table_shows_the_numbers(tmp_path, monkeypatch, width):
    points, states = [], {}
    for i, state in enumerate(("running", "done")):
        path = tmp_path / f"method={LONG},seed={i},noise.seed={i},split_seed={i}-{'0' * 8}"
        path.mkdir()
        (path / files.CONFIG).write_text(json.dumps({"epochs": 200}))
        (path / files.TIMING).write_text(files.line({"epoch": 1, "seconds": 10.5}))
        (path / files.METRICS).write_text('{"train_loss": 0.5, "test_accuracy": 0.25}\n')
        label = f"{LONG} threshold=running_mean rate=0.4 seed={i}"
        points.append(Point(path, "", [], label=label))
        states[i] = state
    console = Console(width=width, record=True, file=io.StringIO())
    monkeypatch.setattr(watch, "console", console)
    console.print(watch.view(points, states, 1))
    lines = console.export_text().splitlines()
    assert all(len(line) <= width for line in lines)
    for line, state, seed in zip(lines[2:4], ("running", "done"), (0, 1), strict=True):
        assert line.split()[0] == state
        assert line.split()[-4:] == ["1/200", "0.500", "25.0%", "10.5"]
        assert f" rate=0.4 seed={seed} " in line


def test_a_line_says_which_epoch_its_numbers_are_of():
    config = argparse.Namespace(epochs=3)
    run = argparse.Namespace(score=ACCURACY)
    seen = argparse.Namespace(members=[(config, run, None)])
    rows = [[{"epoch": 1, "train_loss": 0.5, "test_accuracy": 0.25}]]
    assert loop.heading(seen, 1, [[]]) == "epoch 1/3"
    assert loop.heading(seen, 2, rows) == "epoch 2/3  after 1:  loss 0.500  test 25%"
    speed = {"examples_per_second": 1234.0}
    ended = "epoch 1/3  loss 0.500  test 25%  1,234 examples/s"
    assert loop.heading(seen, 1, rows, speed) == ended


def swept(root, rates=(0.4,)):
    """Finished runs of two methods and seeds as points of a sweep."""
    points = []
    for rate, method, seed in itertools.product(rates, ("superloss", LONG), (0, 1)):
        given = {"noise.seed": 0, "noise.rate": rate}
        path = make(root / f"{method}{seed}_{rate}", method, seed, **given)
        results = json.loads((path / files.RESULTS).read_text())
        results |= {"noise": {"realised_rate": 0.4, "convention": "x"}}
        files.write_json(path / files.RESULTS, results)
        points.append(Point(path, results["config_sha256"], []))
    return points


def test_a_sweep_ends_with_its_table_and_the_next_command(tmp_path, capsys, monkeypatch):
    root = tmp_path / "a b"
    points = swept(root)
    make(root / "another", "focal")  # of another sweep
    monkeypatch.setenv("COLUMNS", "80")
    outcome.print_outcome(points, root)
    loose = capsys.readouterr().out
    assert "Test accuracy in %, mean ± standard deviation over 2 seeds:" in loose
    assert f"python -m experiments.report html --workdir='{root}'" in loose
    lines = [line.split() for line in loose.splitlines()]
    for method in ("superloss", LONG):
        last = [100 * stored.at(root / f"{method}{seed}_0.4").results["test_accuracy"]["last"]
                for seed in (0, 1)]  # fmt: skip
        spread = abs(last[0] - last[1]) / 2**0.5
        assert [method, f"{sum(last) / 2:.1f}", "±", f"{spread:.1f}"] in lines
    assert "focal" not in loose
    packing.pack(root)
    outcome.print_outcome(points, root)
    assert capsys.readouterr().out == loose
    outcome.print_outcome([Point(root / "none", "0", [])], root)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("width", "lines"), [(80, 2), (60, 8)])
def test_a_table_too_wide_has_a_line_for_each_cell(tmp_path, capsys, monkeypatch, width, lines):
    monkeypatch.setenv("COLUMNS", str(width))
    outcome.print_outcome(swept(tmp_path, (0.1, 0.2, 0.3, 0.4)), tmp_path)
    shown = [line for line in capsys.readouterr().out.splitlines() if " ± " in line][1:]
    assert len(shown) == lines
    assert all(len(line) <= width for line in shown)
    assert sum(line.count("±") for line in shown) == 8


def test_suspects_of_a_sweep_lists_its_runs(tmp_path, capsys):
    args = argparse.Namespace(workdir=str(tmp_path), data_dir="/a b", number=3)
    for name in ("x", "y=1"):
        (tmp_path / name).mkdir()
        (tmp_path / name / files.SAMPLES).touch()
    with pytest.raises(ValueError, match=r"expected a run, got .*, which holds 2"):
        suspects.suspects(args)
    assert capsys.readouterr().out.splitlines() == [
        f"python -m experiments.report suspects --workdir={tmp_path}/{name} '--data_dir=/a b'"
        for name in ("x", "y=1")
    ]


def test_detectors_go_where_figures_go(tmp_path):
    def place(output):
        return detectors.place(argparse.Namespace(workdir=str(tmp_path), output=output))

    assert place(None) == tmp_path / "figures/detectors.png"
    assert place(str(tmp_path / "pictures")) == tmp_path / "pictures/detectors.png"
    assert place(str(tmp_path / "own/areas.png")) == tmp_path / "own/areas.png"
    assert (tmp_path / "own").is_dir()


def test_which_finished_run_is_this_one(tmp_path):
    path = make(tmp_path / "a")
    config = json.loads((path / files.CONFIG).read_text())
    config["data"] |= {"name": "npz", "path": "x.npz", "sha256": "0" * 16}
    results = json.loads((path / files.RESULTS).read_text()) | {"config": config}
    files.write_json(path / files.RESULTS, results)
    gone = config | {"data": {k: v for k, v in config["data"].items() if k != "sha256"}}
    changed = config | {"data": config["data"] | {"sha256": "1" * 16}}
    kept = config | {"checkpoint": config["checkpoint"] | {"keep": 9}}
    for packs in (False, True):
        if packs:
            packing.pack(tmp_path)
        for same in (config, gone, kept):
            assert stored.finished(path, same).results["config"] == config
        selected = config | {"report": {"selection": ["best_test"], "losses": False}}
        for other in (changed, selected, config | {"seed": 5}, config | {"epochs": 61}):
            assert stored.finished(path, other) is None
    assert stored.finished(tmp_path / "none", config) is None
    for text in ("null", "[]", "{", '{"config": 3}'):
        (tmp_path / "b").mkdir(exist_ok=True)
        (tmp_path / "b" / files.RESULTS).write_text(text)
        assert stored.finished(tmp_path / "b", config) is None, text
