"""Figures can be read: whole epochs, named axes, each name once, captions that are sentences."""

import argparse
import json
import re

import numpy as np
import pytest

from experiments import figures, quickstart
from experiments.report import detectors, drawing, page, plots, plots_metrics, runs
from experiments.report.drawing import plt
from experiments.runs import files
from tests.program import test_score
from tests.program.drawn import ARGS, NEEDING_MORE, closing, make_run, note_of, swept
from tests.program.test_page import Reader

closed = pytest.fixture(autouse=True)(closing)
VERBS = {"is", "are", "show", "shows", "reach", "count", "stands"}


def everything_drawn(root, split=5):
    for one in plots.drawn(runs.finished_runs(root), None, split):
        if one.figure:
            one.figure.draw_without_rendering()
            yield one


def names_in(figure):
    """Every name of a line or a group of points: in legends, and beside the ends of lines."""
    legends = [one for axes in figure.axes if (one := axes.get_legend())] + figure.legends
    beside = [text.get_text() for axes in figure.axes for text in axes.texts]
    return beside + [text.get_text() for legend in legends for text in legend.get_texts()]


@pytest.mark.parametrize("epochs", [1, 2, 3, 4, 6, 10, 60, 200])
def test_epochs_are_whole_numbers(epochs, tmp_path):
    make_run(tmp_path, "superloss", 0.4, 0, epochs=epochs)
    drawn = [one.figure for one in everything_drawn(tmp_path)]
    assert len(drawn) == 3
    for axes in (axes for figure in drawn for axes in figure.axes):
        low, high = axes.get_xlim()
        ticks = [tick for tick in axes.get_xticks() if low <= tick <= high]
        assert ticks, "no tick"
        assert all(float(tick).is_integer() for tick in ticks)
        assert {"epoch", ""} >= {axes.get_xlabel()}


def test_axes_have_the_score_and_its_unit_and_panels_their_condition(tmp_path):
    for method in ("superloss", "cross_entropy"):
        make_run(tmp_path, method, 0.0, 0, **{"noise.kind": "given", "data.name": "cifar10n"})
    found = runs.finished_runs(tmp_path)
    figure = plots_metrics.score_over_epochs(found, ["superloss", "cross_entropy"], 5)
    names = [" ".join(axes.get_ylabel().split()) for axes in figure.axes]
    assert names == ["validation accuracy, noisy labels (%)", "test accuracy (%)"]
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["cifar10n, mlp", ""]
    sweep = swept(tmp_path / "swept")
    figure = plots_metrics.score_over_epochs(runs.finished_runs(sweep), ["superloss"], 5)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["noise 0", "", "noise 0.4", ""]


def test_memory_stands_beside_the_wrong_labels_that_each_method_fits(tmp_path):
    make_run(tmp_path, "remembered_superloss", 0.4, 0, wanted=("memory",))
    make_run(tmp_path, "superloss", 0.4, 0)
    found = runs.finished_runs(tmp_path)
    figure = plots_metrics.memory(found, ["superloss", "remembered_superloss"], 5)
    names = [" ".join(axes.get_ylabel().split()) for axes in figure.axes]
    assert names == ["wrong labels memorised (%)", "memory g"]
    row = next(runs.metrics(run)[-1] for run in found if "remembered" in run.row)
    ends = [{line.get_ydata()[-1] for line in axes.lines} for axes in figure.axes]
    assert 100 * row["accuracy_wrong"] in ends[0]
    assert ends[1] == {row["memory"]}
    with pytest.raises(ValueError, match="no run has memory"):
        plots_metrics.memory([run for run in found if run.row == "superloss"], ["superloss"], 5)


def test_each_name_stands_once_in_a_figure(tmp_path):
    sweep = swept(tmp_path)
    for kind in ("asymmetric", "pair_flip"):
        for rate in (0.2, 0.4):
            make_run(sweep, "superloss", rate, 0, **{"noise.kind": kind})
    expected = {"superloss", "cross_entropy"}
    own = {"tau": {"superloss"}, "losses": {"easy", "hard", "wrong"},
           "sigma_over_loss": {"right label", "wrong label"}}  # fmt: skip
    seen = set()
    for name, _, figure, _ in everything_drawn(sweep):
        names = [text for text in names_in(figure) if text != "tau"]  # which marks a place
        assert sorted(names) == sorted(own.get(name, expected)), name
        seen.add(name)
    assert len(seen) == len(plots.FIGURES.keys() - NEEDING_MORE)


def test_a_name_stands_in_the_last_panel_of_the_first_row_that_has_it():
    panels = [["a", "b"], ["a"], ["b"], ["c", "b"], ["c"]]
    assert drawing.named_once(panels, 3) == [set(), {"a"}, {"b"}, set(), {"c"}]
    assert drawing.named_once([], 3) == []


def test_captions_and_notes_are_sentences(tmp_path):
    settings = {"loss.lam": 0.25, "report.selection": ("last", "best_test")}
    sweep = swept(tmp_path / "swept")
    make_run(sweep, "superloss", 0.4, 7, epochs=60, **settings)
    make_run(sweep, "gce", 0.2, 7, **{"optimizer.learning_rate": 1.0})
    texts = [text for one in everything_drawn(sweep) for text in (one.caption, note_of(one.figure))]
    texts += [one.caption for one in everything_drawn(test_score.swept(tmp_path / "ages"), 2)]
    for text in texts:
        for sentence in re.split(r"(?<=[a-z)%]\.) ", text):
            assert re.match("[A-Z0-9]", sentence), sentence
            assert sentence.endswith("."), sentence
            assert VERBS & {*sentence.split()}, sentence


def test_the_page_has_every_declared_selection_and_hides_what_cannot_be_drawn(tmp_path, capsys):
    values = {"last": 0.5, "best_validation": 0.75, "mean_of_last_10": None}
    declared = {"report.selection": ("best_validation", "last", "mean_of_last_10", "best_test")}
    for rate in (0.2, 0.4):
        make_run(tmp_path, "cross_entropy", rate, 0, more={"test_accuracy": values}, **declared)
    page.page(argparse.Namespace(**ARGS, workdir=str(tmp_path)))
    said = capsys.readouterr().out
    content = (tmp_path / "report.html").read_text()
    read = Reader()
    read.feed(content)
    text = "".join(read.text)
    for name, value in {
        "best epoch on noisy validation labels": "75.0",
        "last epoch": "50.0",
    }.items():
        assert f"method, {name}" in text
        assert value in text
    assert "method, best epoch on test" in text
    assert "mean of the last" not in text  # no run has ten epochs
    assert text.index("method, best epoch on noisy") < text.index("method, last epoch")
    assert "ot drawn" not in text
    assert "tau: not drawn: no run has tau in its metrics.jsonl\n" in said
    assert "Runs without a result" not in text
    assert content.count("<figure>") == 3
    over_noise = content[content.index("accuracy_over_noise-") :]
    assert "best epoch on test" in over_noise[: over_noise.index("</svg>")]


def test_the_page_of_a_task_of_ones_own_names_only_what_its_runs_have(tmp_path):
    bare = {"epochs": 2, "loss": {"method": "superloss"}, "task": "mine:task", "seed": 0}
    path = test_score.write(tmp_path, "superloss", 0, [2.0, 1.0])
    results = json.loads((path / files.RESULTS).read_text())
    files.write_json(path / files.CONFIG, bare)
    files.write_json(path / files.RESULTS, results | {"config": bare})
    rows = [{"epoch": epoch, "test_mae": 1.0} for epoch in (1, 2)]
    (path / files.METRICS).write_text("".join(map(files.line, rows)))
    assert [
        [axes.get_title(loc="left") for axes in one.figure.axes]
        for one in everything_drawn(tmp_path, 1)
    ] == [[""]]
    page.page(argparse.Namespace(**ARGS, workdir=str(tmp_path)))
    content = (tmp_path / "report.html").read_text()
    read = Reader()
    read.feed(content)
    assert not re.search("accura|label|given|error on (right|wrong)", "".join(read.text))
    assert content.count('<line class="') == 1


def test_figures_outside_the_report_have_one_legend_and_whole_epochs(tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr(plt, "close", shown.append)
    figures.superloss_over_loss(tmp_path / "theory.png")
    figures.weight_over_visits(tmp_path / "memory.png")
    make_run(tmp_path, "superloss", 0.4, 0, ("auroc_loss",), epochs=1)
    groups = {"superloss": runs.finished_runs(tmp_path)}
    detectors.draw_areas(groups, "wrong labels found", str(tmp_path / "areas.png"))
    *theory, areas = shown
    for figure in theory:
        names = [text.get_text() for text in figure.legends[0].get_texts()]
        assert len(names) == len({*names}) == 5
        assert not any(axes.get_legend() for axes in figure.axes)
    (axes,) = areas.axes
    low, high = axes.get_xlim()
    assert [tick for tick in axes.get_xticks() if low <= tick <= high] == [1]


def test_the_quickstart_has_one_legend_and_says_what_is_better(tmp_path, monkeypatch):
    row = {"test_accuracy": 0.5, "accuracy_wrong": 0.25}
    shown = []
    monkeypatch.setattr(plt, "close", shown.append)
    known = {method: [({}, [row] * 3)] for method in quickstart.METHODS}
    quickstart.save_picture(known, tmp_path / "a.png")
    (figure,) = shown
    assert names_in(figure) == ["cross entropy", "SuperLoss"]
    said = {axes.get_ylabel(): axes.get_title() for axes in figure.axes}
    assert said == {
        "test accuracy (%)": "Higher is better", "wrong labels fitted (%)": "Lower is better",
    }  # fmt: skip
    assert all(np.array_equal(axes.get_xticks()[1:-1], [1, 2, 3]) for axes in figure.axes)
