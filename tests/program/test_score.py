"""Reports take the score from a run's results; here, lower scores are better."""

import argparse
import re

import numpy as np
import pytest

from configs import digits
from experiments.report import page, plots, plots_metrics, plots_noise, published, runs, tuning
from experiments.runs import files, selection
from experiments.sweep import watch
from experiments.tasks import score_of
from experiments.tasks.scores import ACCURACY, Score
from tests.program.drawn import ARGS, closing, lines_of, note_of
from tests.program.test_main import ROOT
from tests.program.test_table import lines_of_csv, markdown, report

closed = pytest.fixture(autouse=True)(closing)
MAE = Score("mae", "mean absolute error", 1.0, "years", False, "age")


def write(root, method, seed, test, score=MAE, **changes):
    """Writes a finished run with these test scores per epoch; validation scores are twice those."""
    config = digits.get_config()
    config.report.selection = ("last",)
    both = {"loss.method": method, "seed": seed, "noise.seed": seed, "data.split_seed": seed}
    config.update_from_flattened_dict(both | changes)
    path = root / f"{len(list(root.glob('*'))):03}"
    path.mkdir(parents=True)
    key = score.key
    rows = [
        {"epoch": i + 1, f"test_{key}": value, f"validation_{key}": 2 * value,
         f"{key}_clean": value / 2, f"{key}_wrong": 3 * value}
        for i, value in enumerate(test)
    ]  # fmt: skip
    (path / files.METRICS).write_text("".join(files.line(row) for row in rows))
    files.write_json(path / files.CONFIG, config.to_dict())
    rate = config.noise.rate
    files.write_json(path / files.RESULTS, {
        "config": config.to_dict(), "versions": {"jax": "1"}, "devices": 1, "platform": "cpu",
        "x64": False, "score": score._asdict(),
        f"test_{key}": selection.selected_scores(rows, score),
        "noise": {"convention": config.noise.kind, "realised_rate": rate + 0.001 * bool(rate)},
    })  # fmt: skip
    return path


def swept(root):
    """Without noise, gce is best; with noise, superloss. cross_entropy is worst in both cases."""
    values = {"superloss": (5.0, 6.0), "gce": (4.0, 7.0), "cross_entropy": (9.0, 12.0)}
    for method, of in values.items():
        for rate, value in zip((0.0, 0.4), of, strict=True):
            for seed in range(3):
                rows = [value + 3, value + seed / 10 - 1, value + seed / 10]
                write(root, method, seed, rows, **{"noise.rate": rate})
    return root


def test_the_least_is_best_and_first_and_differences_keep_their_sign(tmp_path, capsys):
    root = swept(tmp_path)
    lines, text = markdown(root, capsys, "--paired=cross_entropy")
    assert [line[0] for line in lines[1:]] == ["gce", "superloss", "cross_entropy"]
    assert {line[0]: line[1] for line in lines[1:]} == {
        "gce": "**4.1 ± 0.1**", "superloss": "5.1 ± 0.1", "cross_entropy": "9.1 ± 0.1",
    }  # fmt: skip
    assert lines[2][3] == "**6.1 ± 0.1**"
    assert lines[1][2].startswith("-5.0 [")
    assert text.startswith("Test mean absolute error in years; ")
    assert "Ages wrong: noise 0: 0.00%; noise 0.4: 40.10%." in text
    assert "part of wrong ages 0.00% to 40.10%" in text
    best = {(one["row"], one["rate"]): one["best"] for one in lines_of_csv(root, capsys)}
    assert [key for key, said in best.items() if said == "True"] == [
        ("gce", "0.0"), ("superloss", "0.4"),
    ]  # fmt: skip
    lines, text = markdown(root, capsys, "--select=best_test")
    assert lines[1][:2] == ["gce", "**3.1 ± 0.1**"]
    assert "chosen with the test ages" in text
    assert "best epoch on noisy validation ages" in markdown(
        root, capsys, "--select=best_validation"
    )[0][0][0]  # fmt: skip


def test_nothing_published_is_of_another_score(tmp_path, capsys):
    assert published.listed(MAE) == []
    report(swept(tmp_path), "--published")
    assert "No published number is of the same" in capsys.readouterr().out


def test_the_setting_of_least_error_is_chosen(tmp_path, capsys):
    for lam, values in {1.0: (6.0, 6.2), 0.25: (5.0, 5.4)}.items():
        for seed, value in enumerate(values):
            write(tmp_path, "superloss", seed, [9.0, value / 2, 8.0], **{"loss.lam": lam})
    tuning.choose(argparse.Namespace(workdir=str(tmp_path), epoch="best"))
    said = capsys.readouterr().out
    lines = [line for line in said.splitlines() if line.startswith("| ")]
    assert lines[0] == "| method | setting | validation mean absolute error |"
    assert [line.split(" | ")[2] for line in lines[1:]] == ["**5.20 ± 0.28** |", "6.10 ± 0.14 |"]
    assert "Mean absolute error in years on noisy validation ages at its best epoch" in said
    assert "standard error" not in said  # the score is not a share


def test_figures_and_page_say_what_it_is(tmp_path):
    root = swept(tmp_path / "swept")
    found = runs.finished_runs(root)
    figure = plots_noise.score_over_noise(found, plots.chosen(found, None), 5)
    (axes,) = figure.axes
    assert " ".join(axes.get_ylabel().split()) == (
        "test mean absolute error (years, lower is better)"
    )
    np.testing.assert_allclose(lines_of(axes)["gce"].get_ydata(), [4.1, 7.1])
    assert note_of(figure).startswith("The test mean absolute error is that of the last epoch.")
    figure = plots_metrics.memorisation(found, plots.chosen(found, None), 2)
    assert {" ".join(axes.get_ylabel().split()) for axes in figure.axes} == {
        "mean absolute error on right ages (years)", "mean absolute error on wrong ages (years)",
    }  # fmt: skip
    assert plots.chosen(found, None)[:3] == ["superloss", "cross_entropy", "gce"]
    assert [one.name for one in plots.drawn(found, None, 2)][:2] == [
        "mae_over_noise", "mae_over_epochs",
    ]  # fmt: skip
    page.page(argparse.Namespace(**ARGS, workdir=str(root)))
    content = (root / "report.html").read_text()
    assert "<h2>Test mean absolute error</h2>" in content
    said = "mean absolute error on right ages 2.0 years, mean absolute error on wrong ages 12.0"
    assert said in content
    assert "Over epochs, in years, from 0 to 45;" in content
    assert not re.search("accura|wrong label|right label", content)
    for y in re.findall(r'points="([^"]*)"', content)[-18:]:
        assert all(-0.1 <= float(pair.split(",")[1]) <= page.HEIGHT + 0.1 for pair in y.split())


def test_epochs_are_chosen_by_the_score_and_of_equal_ones_the_first():
    rows = [{"epoch": i + 1, "test_mae": float(i), "validation_mae": v}
            for i, v in enumerate((3.0, 1.0, 2.0, 1.0))]  # fmt: skip
    assert selection.selected_scores(rows, MAE) == {
        "last": 3.0, "best_validation": 1.0, "best_epoch": 2,
    }  # fmt: skip
    more = MAE._replace(larger_is_better=True)
    assert selection.selected_scores(rows, more)["best_epoch"] == 1
    assert selection.best_epoch([np.nan, 2.0, 2.0], MAE) == 1
    assert selection.best_epoch([np.nan], MAE) == 0


def test_a_live_table_has_the_scores_unit():
    assert watch.on_test({"test_mae": 4.26}, MAE) == "4.3 years"
    assert watch.on_test({"test_accuracy": 0.25}, ACCURACY) == "25.0%"
    assert watch.on_test({"test_accuracy": None}, ACCURACY) == ""
    assert watch.on_test({"test_mae": 1.0}, ACCURACY) == ""


def test_two_scores_are_not_compared_and_older_results_leave_theirs_to_the_config(tmp_path):
    write(tmp_path, "superloss", 0, [1.0])
    path = write(tmp_path, "gce", 0, [0.5], ACCURACY)
    with pytest.raises(
        ValueError, match="--workdir: expected runs of one score, got accuracy, mae"
    ):
        runs.finished_runs(tmp_path)
    text = (path / files.RESULTS).read_text()
    (path / files.RESULTS).write_text(text.replace('"score"', '"other"'))
    (run,) = runs.finished_runs(path)
    assert run.score == ACCURACY == score_of(run.results["config"])


def test_reports_and_sweeps_name_no_score_of_their_own():
    """Except for names in configs, a figure of columns that some tasks have, samples.py, whose
    per-example records depend on the task, and mentornet.py, whose network learns from labels.
    """
    allowed = {
        "logit_clip",
        "logit_adjustment",
        "validation_labels",
        "pseudo_labels",
        "pseudo_label_accuracy",
    }
    for room in ("report", "sweep", "runs"):
        for path in sorted((ROOT / "experiments" / room).glob("*.py")):
            if path.name in ("samples.py", "mentornet.py"):
                continue
            text = path.read_text()
            for word in re.findall(r"\w*(?:accura|logit|num_classes|labels)\w*", text, re.I):
                assert word in allowed, f"{path.name}: {word}"
