"""Figures show the numbers of the runs, and say what they leave out."""

import argparse

import numpy as np
import pytest

from experiments.report import (
    drawing,
    loss_groups,
    plots,
    plots_examples,
    plots_metrics,
    plots_noise,
    runs,
)
from experiments.report.drawing import STYLES
from experiments.runs import files
from tests.program.drawn import ARGS, EPOCHS, closing, lines_of, make_run, note_of, with_examples

closed = pytest.fixture(autouse=True)(closing)


def test_figures_that_cannot_be_drawn_say_why(tmp_path, capsys):
    make_run(tmp_path, "cross_entropy", 0.4, 0)
    plots.figures(argparse.Namespace(**ARGS, workdir=str(tmp_path)))
    said = dict(line.split(": ", 1) for line in capsys.readouterr().out.splitlines())
    assert said["accuracy_over_noise"].endswith("at several rates of noise, got 0.4")
    assert said["tau"] == "not drawn: no run has tau in its metrics.jsonl"
    assert "no run of these rows has samples.npz" in said["sigma_over_loss"]
    assert "config.report.losses" in said["losses"]
    assert said["memorisation"].endswith("memorisation.svg")
    assert not (tmp_path / "figures" / "tau.svg").exists()


def test_accuracy_over_noise_is_the_mean_and_the_band_the_extremes(tmp_path):
    for seed in (0, 1, 2):
        for rate in (0.0, 0.2, 0.4):
            for method in ("superloss", "cross_entropy"):
                make_run(tmp_path, method, rate, seed)
    make_run(tmp_path, "superloss", 0.3, 0, **{"noise.kind": "asymmetric"})
    found = runs.finished_runs(tmp_path)
    figure = plots_noise.score_over_noise(found, plots.chosen(found, None), 5)
    titles = {axes.get_xlabel(): axes for axes in figure.axes}
    kinds = ["asymmetric", "symmetric_exclusive"]
    assert sorted(titles) == [f"noise rate (%), {kind}" for kind in kinds]
    values = {}
    for run in found:
        noise = run.results["config"]["noise"]
        key = run.row, noise["kind"], noise["rate"]
        values.setdefault(key, []).append(100 * run.results["test_accuracy"]["last"])
    axes = titles["noise rate (%), symmetric_exclusive"]
    assert list(lines_of(axes)) == ["superloss", "cross_entropy"]
    for (row, line), band in zip(lines_of(axes).items(), axes.collections, strict=True):
        cells = [values[row, "symmetric_exclusive", rate] for rate in (0.0, 0.2, 0.4)]
        assert list(line.get_xdata()) == [0, 20, 40]
        np.testing.assert_allclose(line.get_ydata(), np.mean(cells, axis=1))
        corners = {tuple(np.round(corner, 6)) for corner in band.get_paths()[0].vertices}
        for rate, cell in zip((0, 20, 40), cells, strict=True):
            assert {(rate, round(min(cell), 6)), (rate, round(max(cell), 6))} <= corners
    # Runs with wrong labels at a rate of 0 are not drawn there.
    odd = {"noise": {"convention": "x", "realised_rate": 0.08}}
    make_run(tmp_path, "superloss", 0.0, 9, more=odd, **{"noise.kind": "instance_dependent"})
    again = runs.finished_runs(tmp_path)
    assert len(again) == len(found) + 1
    lines = plots_noise.lines_over_noise(again, "last")
    assert lines == plots_noise.lines_over_noise(found, "last")
    # Without noise, its kind does not matter.
    line = lines_of(titles["noise rate (%), asymmetric"])["superloss"]
    clean = values["superloss", "symmetric_exclusive", 0.0]
    alone = values["superloss", "asymmetric", 0.3]
    np.testing.assert_allclose(line.get_ydata(), [np.mean(clean), np.mean(alone)])


def test_memorisation_shows_what_runs_have(tmp_path):
    path = make_run(tmp_path, "superloss", 0.4, 0)
    figure = plots_metrics.memorisation(runs.finished_runs(tmp_path), ["superloss"], 5)
    names = [axes.get_ylabel() for axes in figure.axes]
    assert names == ["right labels fitted (%)", "wrong labels memorised (%)"]
    expected = [100 * row["accuracy_wrong"] for row in files.read_rows(path / files.METRICS)]
    drawn = lines_of(figure.axes[1])["superloss"].get_ydata()
    np.testing.assert_allclose(drawn, expected)
    make_run(tmp_path, "elr", 0.4, 0, ("wrong_correct", "wrong_other"))
    found = runs.finished_runs(tmp_path)
    figure = plots_metrics.memorisation(found, ["superloss", "elr"], 5)
    drawn = {" ".join(axes.get_ylabel().split()): [*lines_of(axes)] for axes in figure.axes}
    assert drawn["wrong labels: true label predicted (%)"] == ["elr"]
    assert drawn["wrong labels memorised (%)"] == ["superloss", "elr"]


def test_rows_to_draw(tmp_path):
    methods = ("gce", "elr", "sce", "focal", "jocor", "superloss", "cross_entropy")
    for i, method in enumerate(methods):
        make_run(tmp_path, method, 0.4, i)
    make_run(tmp_path, "superloss", 0.4, 9, **{"loss.base": "gce", "loss.lam": 3.0})
    found = runs.finished_runs(tmp_path)
    order = plots.chosen(found, None)
    assert order[:2] == ["superloss", "cross_entropy"]
    others = {run.row: run.results["test_accuracy"]["last"] for run in found}
    del others["superloss"], others["cross_entropy"]
    assert order[2:] == sorted(others, key=others.get, reverse=True)
    both = "superloss, base gce, lam 3.0"
    assert plots.chosen(found, f"{both},superloss, elr") == [both, "superloss", "elr"]
    wrong = {"nothing": "got 'nothing'", "": "got none", ",".join(order): "most 6"}
    for asked, said in wrong.items():
        with pytest.raises(ValueError, match=rf"--rows: expected .*{said}"):
            plots.chosen(found, asked)
    # A row has the same style in all figures, and no row gets the style of an absent one.
    having = {order[1], order[3], order[6], order[7]}
    styles, others = drawing.styled(order, having)
    assert styles == {order[1]: STYLES[1], order[3]: STYLES[3]}
    assert others == order[6:]
    figure = plots_metrics.score_over_epochs(found, order, 5)
    lines = lines_of(figure.axes[-1])
    assert [*lines] == order[:6]
    assert [line.get_color() for line in lines.values()] == [one["color"] for one in STYLES]
    assert f"As there are 6 styles, {order[6]}; {order[7]} are not drawn." in note_of(figure)
    without = [row for row in order if row not in (both, "superloss")]
    with pytest.raises(ValueError, match=r"without a style have tau \(--rows\): superloss"):
        plots_metrics.tau(found, [*without, "superloss"], 5)


def imbalanced(factor):
    return {"data.imbalance": float(factor)}


def test_the_noisiest_conditions_are_shown_by_how_many_labels_are_wrong(tmp_path):
    human = {"more": {"noise": {"convention": "x", "realised_rate": 0.4}}, "noise.kind": "given"}
    path = make_run(tmp_path, "superloss", 0.0, 0, **human)
    for rate in (0.1, 0.3, 0.5):
        make_run(tmp_path, "superloss", rate, 0)
    unknown = {"noise": {"convention": "x", "realised_rate": None}}
    make_run(tmp_path, "superloss", 0.45, 0, more=unknown)
    found = runs.finished_runs(tmp_path)
    figure = plots_metrics.tau(found, ["superloss"], 5)
    expected = ["noise 0.3", "noise given", "noise 0.45", "noise 0.5"]
    assert [axes.get_title(loc="left") for axes in figure.axes] == expected
    assert note_of(figure).endswith("1 condition is not shown: noise 0.1.")
    for one in (path, next(run.path for run in found if run.column.rate == 0.1)):
        with_examples(one)
    assert [
        run.path for run in plots_examples.sources(found, ["superloss"], loss_groups.are_kept)
    ] == [path]


def test_of_equally_noisy_conditions_the_first_are_shown(tmp_path):
    factors = (20, 5, 50, 1, 100, 2, 10)  # a set would rarely yield these in order
    for factor in factors:
        make_run(tmp_path, "superloss", 0.4, 0, **imbalanced(factor))
    found = runs.finished_runs(tmp_path)
    figure = plots_metrics.tau(found, ["superloss"], 5)
    columns = sorted(run.column for run in found)
    headings = [runs.heading(column, columns) for column in columns]
    assert [axes.get_title(loc="left") for axes in figure.axes] == headings[:4]
    assert f"3 conditions are not shown: {'; '.join(headings[4:])}." in note_of(figure)


def test_runs_of_the_same_seeds_count_once_and_the_note_says_in_what_they_differ(tmp_path):
    older = {"versions": {"jax": "0.9"}}
    paths = {}
    for rate in (0.2, 0.4):
        paths[rate] = [make_run(tmp_path, "superloss", rate, seed) for seed in (0, 1)]
    found = runs.finished_runs(tmp_path)
    for draw in (plots_metrics.tau, plots_noise.score_over_noise):
        assert "MIXED" not in note_of(draw(found, ["superloss"], 5))
    path = make_run(tmp_path, "superloss", 0.4, 0, epochs=EPOCHS, more=older)
    rows = [row | {"tau": 3 * row["tau"]} for row in files.read_rows(path / files.METRICS)]
    rows.append({"epoch": EPOCHS + 1, "tau": 9.0})  # only this run has an extra epoch
    (path / files.METRICS).write_text("".join(map(files.line, rows)))
    results = runs.finished_runs(tmp_path)
    own = next(run for run in results if run.path == path).results
    files.write_json(path / files.RESULTS, own | {"test_accuracy": {"last": 0.01}})
    found = runs.finished_runs(tmp_path)
    said = "MIXED: the means are of runs that differ in jax 0.9 / jax 1.0; those of the same seeds"
    figure = plots_metrics.tau(found, ["superloss"], 5)
    assert said in note_of(figure)
    first, second = ([row["tau"] for row in files.read_rows(one / files.METRICS)]
                     for one in paths[0.4])  # fmt: skip
    expected = [((a + 3 * a) / 2 + b) / 2 for a, b in zip(first, second, strict=True)] + [9.0]
    np.testing.assert_allclose(lines_of(figure.axes[1])["superloss"].get_ydata(), expected)
    figure = plots_noise.score_over_noise(found, ["superloss"], 5)
    assert said in note_of(figure)
    first, second = (
        100 * files.read_rows(one / files.METRICS)[-1]["test_accuracy"] for one in paths[0.4]
    )
    assert lines_of(figure.axes[0])["superloss"].get_ydata()[-1] == pytest.approx(
        ((first + 1) / 2 + second) / 2
    )


def test_accuracy_over_noise_is_drawn_of_what_there_is(tmp_path):
    for rate in (0.2, 0.4):
        make_run(tmp_path, "superloss", rate, 0)
        make_run(tmp_path, "gce", rate, 0, **{"data.name": "other"})
        make_run(tmp_path, "elr", rate, 0, more={"test_accuracy": {}})
    make_run(tmp_path, "superloss", 0.3, 0, more={"test_accuracy": {}})
    found = runs.finished_runs(tmp_path)
    figure = plots_noise.score_over_noise(found, plots.chosen(found, "superloss,elr"), 5)
    assert [axes.get_title().split(",")[0] for axes in figure.axes] == ["digits"]
    line = lines_of(figure.axes[0])
    assert [*line] == ["superloss"]
    assert [*line["superloss"].get_xdata()] == [20, 40]
    with pytest.raises(ValueError, match="at several rates of noise, got none"):
        plots_noise.score_over_noise(found, ["elr"], 5)


def test_the_note_names_all_kinds_of_selection(tmp_path):
    for kind in ("clean", "noisy"):
        for rate in (0.2, 0.4):
            declared = {
                "data.validation": 9,
                "data.validation_labels": kind,
                "report.selection": ("best_validation",),
            }
            make_run(tmp_path, "superloss", rate, 0, (), EPOCHS,
                     {"test_accuracy": {"best_validation": 0.5}}, **declared)  # fmt: skip
    found = runs.finished_runs(tmp_path)
    order = plots.chosen(found, None)
    both = "best epoch on clean validation labels or best epoch on noisy validation labels"
    assert both in note_of(plots_noise.score_over_noise(found, order, 5))
    clean = next(run.row for run in found
                 if run.results["config"]["data"]["validation_labels"] == "clean")  # fmt: skip
    assert "noisy" not in note_of(plots_noise.score_over_noise(found, [clean], 5))
