"""A sweep of regressions and its reports: nothing in them is of classification alone."""

import csv
import json

import numpy as np
import pytest

from experiments.data import regression as data
from experiments.report import plots, plots_numbers, runs
from experiments.runs import files, samples
from experiments.tasks.regression import by_size
from experiments.training import build
from tests.program.drawn import closing, lines_of
from tests.program.running import reported, sweep_at_once, train_one
from tests.program.test_regression import config_of

closed = pytest.fixture(autouse=True)(closing)
__all__ = ["reported"]  # a fixture
SWEEP = """
from configs import regression_diabetes

def get_config():
    config = regression_diabetes.get_config()
    config.epochs = 2
    config.devices = 1
    config.report.losses = True
    return config

def sweep():
    for method in ("plain", "superloss"):
        for seed in (0, 1):
            yield {"loss.method": method, "seed": seed, "noise.seed": seed}
"""


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    folder = tmp_path_factory.mktemp("regression")
    return sweep_at_once(folder, SWEEP)


def test_the_table(swept, reported):
    said = reported("table", f"--workdir={swept}", "--paired=plain").replace("**", "")
    errors: dict[str, list[float]] = {}
    for path in sorted(swept.glob("*/results.json")):
        results = json.loads(path.read_text())
        assert results["vmapped"] == 2
        method = results["config"]["loss"]["method"]
        errors.setdefault(method, []).append(results["test_mae"]["last"])
    for method, values in errors.items():
        mean, spread = np.mean(values), np.std(values, ddof=1)
        assert f"| {method} | {mean:.3f} ± {spread:.3f} |" in said
    assert f"| {np.subtract(errors['superloss'], errors['plain']).mean():+.3f} [" in said
    assert "Test mean absolute error; mean ± sample standard deviation over n seeds" in said
    assert "part of wrong targets" in said


def test_every_figure_is_drawn(swept):
    found = runs.finished_runs(swept)
    assert plots.chosen(found, None) == ["superloss", "plain"]  # not by rank
    drawn = {name: reason for name, _, _, reason in plots.drawn(found, None, 1)}
    assert {name for name, reason in drawn.items() if not reason} == {
        "mae_over_epochs", "memorisation", "tau", "sigma_over_loss", "losses", "predictions",
        "tenths",
    }  # fmt: skip
    assert "rate" in drawn["mae_over_noise"]  # there is one


def test_predictions_and_tenths_show_what_was_recorded(swept):
    found = runs.finished_runs(swept)
    order = ["superloss", "plain"]
    figure = plots_numbers.predictions(found, order, 1)
    for axes, row in zip(figure.axes, order, strict=True):
        run = next(run for run in found if run.row == row)
        rows, lines = samples.read_samples(run.path), lines_of(axes)
        for name, of in (
            ("right target", rows["wrong"] == 0),
            ("wrong target", rows["wrong"] == 1),
        ):
            shown = lines[name].get_xydata()
            expected = np.stack([rows["target"][of], rows["predicted"][of]], axis=1)
            np.testing.assert_array_equal(np.sort(shown, axis=0), np.sort(expected, axis=0))
    figure = plots_numbers.by_tenths(found, order, 1)
    for axes, name in zip(figure.axes, ("error", "weight"), strict=True):
        for row in order:
            last = [runs.metrics(run)[-1] for run in found if run.row == row]
            means = [np.mean([one[f"tenth_{i}_{name}"] for one in last]) for i in range(1, 11)]
            np.testing.assert_allclose(lines_of(axes)[row].get_ydata(), means, rtol=1e-6)


def test_the_tenths_of_the_right_targets_counted_one_by_one():
    rng = np.random.default_rng(0)
    clean = rng.normal(size=95).astype(np.float32)
    rows = {"clean_target": clean, "target": clean.copy(), "weight": rng.random(95),
            "predicted": rng.normal(size=95).astype(np.float32)}  # fmt: skip
    rows["target"][:35] += 9  # wrong
    right = sorted(range(35, 95), key=lambda i: clean[i])
    found = by_size(rows)
    for i in range(10):
        six = right[6 * i : 6 * i + 6]
        error = np.mean([abs(rows["predicted"][j] - clean[j]) for j in six])
        assert found[f"tenth_{i + 1}_error"] == pytest.approx(error, rel=1e-5)
        assert found[f"tenth_{i + 1}_weight"] == pytest.approx(rows["weight"][six].mean())
    assert by_size(rows | {"clean_target": np.full(95, np.nan)}) == {}


def test_the_page(swept, reported, tmp_path):
    reported("html", f"--workdir={swept}", f"--output={tmp_path / 'page.html'}", "--split=1")
    page = (tmp_path / "page.html").read_text()
    for text in ("Test mean absolute error", "what is predicted over its given target",
                 "mean absolute error on wrong targets"):  # fmt: skip
        assert text in page
    assert page.count("<figure>") == 7
    assert "accuracy" not in page
    assert "label" not in page.replace("aria-label", "").partition("<h2>Configs")[0]


def test_suspects_of_a_table_and_of_images(swept, reported, tmp_path, monkeypatch):
    pixels = np.random.default_rng(0).integers(0, 256, (150, 8, 8, 1), np.uint8)
    own = data.Source(pixels, pixels.mean(axis=(1, 2, 3)))
    monkeypatch.setitem(data.SOURCES, "mnist20k", lambda **options: own)
    config = config_of("mnist20k", **{"model.name": "mlp", "epochs": 1})
    train_one(config, build.build_run(config), files.make_workdir(tmp_path / "images"))
    table = next(run.path for run in runs.finished_runs(swept) if run.row == "superloss")
    for path, pictured in ((table, False), (tmp_path / "images", True)):
        said = reported("suspects", f"--workdir={path}", "--number=30")
        assert "of these 30, " in said
        assert (path / "suspects.png").exists() == pictured
        rows = samples.read_samples(path)
        at = {int(index): i for i, index in enumerate(rows["index"])}
        with open(path / "suspects.csv") as file:
            for line in csv.DictReader(file):
                i = at[int(line["index"])]
                assert float(line["given_target"]) == pytest.approx(rows["target"][i], rel=1e-4)
                assert float(line["predicted_target"]) == pytest.approx(
                    rows["predicted"][i], rel=1e-4
                )
