"""Reports of retrieval: its score, the figure of pairs, and the picture of neighbours."""

import csv
import json

import numpy as np
import pytest

from experiments.data import retrieval
from experiments.report import neighbours, plots, runs
from experiments.runs import files
from experiments.training import build
from scripts import pair_weights
from tests.program.drawn import closing, lines_of
from tests.program.running import reported, train_one
from tests.program.test_main import ROOT
from tests.program.test_retrieval_runs import config_of

closed = pytest.fixture(autouse=True)(closing)
__all__ = ["reported"]  # a fixture


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Two runs: the plain loss, and SuperLoss with normalised weights."""
    root = tmp_path_factory.mktemp("retrieval")
    for name, own in (("plain", {"loss.method": "plain"}),
                      ("normalised", {"loss.normalise_weights": True})):  # fmt: skip
        config = config_of(epochs=1, **own)
        train_one(config, build.build_run(config), files.make_workdir(root / name))
    return root


def test_the_table_names_what_departs_from_the_article(trained, reported):
    said = reported("table", f"--workdir={trained}").replace("**", "")
    for run in runs.finished_runs(trained):
        recall = run.results["test_recall_at_1"]["last"]
        assert f"| {run.row} | {100 * recall:.1f} |" in said
    assert "Test recall at 1 in %;" in said
    assert said.count("normalise_weights divides sigma by its mean over a batch") == 1
    assert "part of wrong labels" in said


def test_the_figures(trained):
    found = runs.finished_runs(trained)
    drawn = {name: reason for name, _, _, reason in plots.drawn(found, None, 1)}
    assert {name for name, reason in drawn.items() if not reason} >= {
        "recall_at_1_over_epochs", "pairs", "tau", "sigma_over_loss",
    }  # fmt: skip
    figure = plots.plots_metrics.pairs(found, ["superloss", "plain"], 1)
    rows = {run.row: runs.metrics(run)[-1] for run in found}
    for axes, key in zip(figure.axes, ("sigma_right_positive", "sigma_right_negative",
                                       "similarity_right_negative"), strict=True):  # fmt: skip
        for row, line in lines_of(axes).items():
            assert line.get_ydata()[-1] == pytest.approx(rows[row][key])
    assert "the article does not" in " ".join(figure.get_supxlabel().split())


def test_the_picture_frames_neighbours_of_another_identity(trained, reported, monkeypatch):
    path = trained / "plain"
    said = reported("neighbours", f"--workdir={path}", "--number=6")
    assert (path / "neighbours.png").stat().st_size > 1000
    shown = {}
    monkeypatch.setattr(neighbours.plt, "close", lambda figure: shown.update(figure=figure))
    reported("neighbours", f"--workdir={path}", "--number=6")
    config = config_of()
    test = retrieval.load(config.data, config.noise).test
    with np.load(path / files.TEST) as kept:
        near = kept["neighbours"]
    queries = np.sort(np.random.default_rng(0).permutation(len(near))[:6])
    grid = np.array(shown["figure"].axes).reshape(6, 9)
    right = 0
    for row, query in zip(grid, queries, strict=True):
        np.testing.assert_array_equal(row[0].images[0].get_array(), test.inputs[query, ..., 0])
        for axes, one in zip(row[1:], near[query], strict=True):
            np.testing.assert_array_equal(axes.images[0].get_array(), test.inputs[one, ..., 0])
            same = test.targets[one] == test.targets[query]
            right += same
            width = axes.spines["left"].get_linewidth()
            assert (width > 2) == (not same)
    assert f"of 48 neighbours, {right / 48:.1%} have the query's identity" in said


def test_what_has_no_neighbours_is_refused(tmp_path, trained, monkeypatch, capsys):
    from experiments.report import __main__ as report

    for path in (tmp_path, trained):
        monkeypatch.setattr("sys.argv", ["report", "neighbours", f"--workdir={path}"])
        with pytest.raises(SystemExit) as caught:
            report.main()
        assert caught.value.code == 2
        assert capsys.readouterr().err.count("\n") == 1


def test_weights_of_pairs_are_means_over_seeds():
    packed = ROOT / "results" / "retrieval_omniglot_tuning"
    rows = [json.loads(line) for line in (packed / "runs.jsonl").read_text().splitlines()]
    own = [row for row in rows if row["directory"].startswith("decay=0.0,lam=0.25,")]
    with open(packed / "metrics.csv", newline="") as file:
        first = {int(row["run"]): row for row in csv.DictReader(file) if row["epoch"] == "1"}
    names = [f"sigma_{name}" for name in ("right_positive", "wrong_positive", "right_negative")]
    names.append("similarity_right_negative")
    means = [np.mean([float(first[row["run"]][name]) for row in own]) for name in names]
    recall = 100 * np.mean([row["results"]["test_recall_at_1"]["last"] for row in own])
    cells = " | ".join(f"{mean:.2f}" for mean in means)
    said = pair_weights.table(runs.finished_runs(packed))
    line = f"| 0.4 | superloss, decay 0.0, lam 0.25 | {len(own)} | {cells} | {recall:.1f} |"
    assert len(own) == 2
    assert line in said.splitlines()
    assert said in (ROOT / "docs" / "retrieval.md").read_text()
    assert pair_weights.mean([0.5, None]) == "-"
