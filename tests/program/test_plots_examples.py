"""Figures of single examples: losses, weights, predictions for wrong labels."""

import argparse
import contextlib
import csv
import shutil

import numpy as np
import pytest

from experiments.report import drawing, loss_groups, plots, plots_examples, plots_metrics, runs
from experiments.report.drawing import plt
from experiments.runs import files, samples
from experiments.tasks import classification
from tests.program.drawn import (
    ARGS,
    EPOCHS,
    NEEDING_MORE,
    closing,
    examples,
    lines_of,
    make_run,
    note_of,
    swept,
    with_examples,
)

closed = pytest.fixture(autouse=True)(closing)


def test_what_is_predicted_of_wrong_labels_counted_one_by_one():
    rows, _ = examples(3)
    rows["clean_target"][:20] = -1  # unknown
    counts = {"wrong_memorised": 0, "wrong_correct": 0, "wrong_other": 0}
    triples = zip(rows["target"], rows["clean_target"], rows["predicted"], strict=True)
    for given, true, predicted in triples:
        if true >= 0 and true != given and predicted >= 0:
            kind = {given: "wrong_memorised", true: "wrong_correct"}.get(predicted, "wrong_other")
            counts[kind] += 1
    found = classification.memorised(rows)
    assert found == pytest.approx({k: n / sum(counts.values()) for k, n in counts.items()})
    assert classification.memorised(rows | {"clean_target": rows["target"]}) == {}
    assert classification.memorised(rows | {"clean_target": np.full(200, -1)}) == {}
    unseen = classification.memorised(rows | {"predicted": np.full(200, -1)})
    assert list(unseen) == list(counts)
    assert np.isnan(list(unseen.values())).all()


def test_easy_and_hard_are_quarters_of_the_clean_and_all_quantiles_are_theirs():
    rows, losses = examples(1)
    losses[2, :7] = np.nan  # not seen in that epoch
    summary = loss_groups.summarise(rows, losses, 5)
    clean = np.flatnonzero(rows["target"] == rows["clean_target"])
    order = sorted(clean, key=lambda i: losses[4, i])
    quarter = (len(clean) - 1) // 4 + 1  # number of values up to the 25 % quantile
    wrong = np.flatnonzero(rows["target"] != rows["clean_target"])
    expected = {"easy": order[:quarter], "hard": order[-quarter:], "wrong": wrong}
    for group, members in expected.items():
        for epoch in range(EPOCHS):
            seen = sorted(value for value in losses[epoch, members] if not np.isnan(value))
            assert summary[group][epoch, 5] == len(seen)
            at = np.interp(np.array((0.1, 0.25, 0.5, 0.75, 0.9)) * (len(seen) - 1),
                           np.arange(len(seen)), seen)  # fmt: skip
            np.testing.assert_allclose(summary[group][epoch, :5], at, rtol=1e-5)
    for split in (0, EPOCHS + 1):
        with pytest.raises(ValueError, match=f"--split: .* from 1 to 7, got {split}"):
            loss_groups.summarise(rows, losses, split)
    with pytest.raises(ValueError, match="not known which targets are wrong"):
        loss_groups.summarise(rows | {"wrong": np.zeros(200)}, losses, 5)
    with pytest.raises(ValueError, match="no loss of a clean example"):
        loss_groups.summarise(rows, np.full_like(losses, np.nan), 5)


def test_losses_are_drawn_again_from_their_table_when_they_are_gone(tmp_path, capsys):
    sweep = swept(tmp_path / "swept")
    plots.figures(argparse.Namespace(**ARGS, workdir=str(sweep)))
    said = capsys.readouterr().out
    for name in (one.format(key="accuracy") for one in plots.FIGURES.keys() - NEEDING_MORE):
        for suffix in ("png", "svg"):
            file = sweep / "figures" / f"{name}.{suffix}"
            assert str(file) in said
            assert 1000 < file.stat().st_size < 300_000
    with open(sweep / "figures" / "losses.csv") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 2 * 3 * EPOCHS  # two methods, three groups
    found = runs.finished_runs(sweep)
    paths = [str(run.path.relative_to(sweep)) for run in found if run.column.rate and
             (run.path / samples.LOSSES).is_dir()]  # fmt: skip
    assert len(paths) == 2
    assert {line["run"] for line in lines} == {*paths}
    order = plots.chosen(found, None)
    before = {run.row: lines for run, lines in plots_examples.summaries(found, order, 5)}
    with plt.rc_context(drawing.LOOK):
        again = drawing.svg(plots_examples.losses(found, order, 5))
    assert again == (sweep / "figures" / "losses.svg").read_text()
    for run in found:
        shutil.rmtree(run.path / samples.LOSSES, ignore_errors=True)
    after = {run.row: lines for run, lines in plots_examples.summaries(found, order, 5)}
    for row in before:
        for group in loss_groups.GROUPS:
            np.testing.assert_allclose(after[row][group], before[row][group], rtol=1e-5)
    with pytest.raises(ValueError, match=r"losses\.csv was made with --split=5, not 4"):
        plots_examples.summaries(found, order, 4)
    (found[-1].path / files.LOSSES).write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match=r"expected the columns run,split,epoch"):
        loss_groups.summary_of(found[-1], 5)


def test_weights_are_drawn_over_losses_and_tau_is_marked(tmp_path):
    sweep = swept(tmp_path / "swept")
    found = runs.finished_runs(sweep)
    figure = plots_examples.sigma_over_loss(found, ["superloss", "cross_entropy"], 5)
    upper, lower = figure.axes[0], figure.axes[2]
    rows, _ = examples(0)
    points = {(x, y) for line in lines_of(upper).values() for x, y in line.get_xydata()}
    assert points == set(zip(rows["loss"], rows["weight"], strict=True))
    source = next(run for run in found if run.row == "superloss" and run.column.rate == 0.4)
    last = runs.metrics(source)[-1]["tau"]
    assert [line.get_xdata()[0] for line in lower.get_lines()] == [last]


def test_runs_whose_metrics_cannot_be_read_are_left_out(tmp_path):
    oracle = {"report.selection": ("best_test",)}
    torn = make_run(tmp_path, "superloss", 0.4, 0, **oracle)
    whole = make_run(tmp_path, "superloss", 0.4, 1, **oracle)
    with_examples(torn)
    expected = [row["tau"] for row in files.read_rows(whole / files.METRICS)]
    for content in ('{"epoch": 1, "ta', None):
        (torn / files.METRICS).unlink()
        if content:
            (torn / files.METRICS).write_text(content)
        found = runs.finished_runs(tmp_path)
        assert plots_metrics.foremost(found) == "last"  # not all have the epochs the oracle needs
        order = plots.chosen(found, None)
        figure = plots_metrics.tau(found, order, 5)
        np.testing.assert_allclose(lines_of(figure.axes[0])["superloss"].get_ydata(), expected)
        assert "1 run is left out: " in note_of(figure)
        assert str(torn / files.METRICS) in note_of(figure).replace(" ", "")
        figure = plots_examples.sigma_over_loss(found, order, 5)
        assert "superloss: tau is not known: " in note_of(figure)
    (whole / files.METRICS).write_text("{")
    drawn = {name: reason for name, _, _, reason in plots.drawn(found, None, 5)}
    assert not drawn["sigma_over_loss"]
    assert not drawn["losses"]
    for name in ("accuracy_over_epochs", "memorisation", "tau"):
        assert "2 runs are left out: " in drawn[name]
        assert str(whole) in drawn[name]
    content = (torn / "samples.npz").read_bytes()
    for length in (0, 10, len(content) // 2, len(content) - 1):
        (torn / "samples.npz").write_bytes(content[:length])
        drawn = {name: reason for name, _, _, reason in plots.drawn(found, None, 5)}
        assert drawn["sigma_over_loss"].startswith(f"{torn / 'samples.npz'} is torn: ")
    for place in range(0, len(content), max(1, len(content) // 400)):
        flipped = bytearray(content)
        flipped[place] ^= 0x10
        (torn / "samples.npz").write_bytes(flipped)
        with contextlib.suppress(ValueError):  # some bytes may be changed without effect
            samples.read_samples(torn)
