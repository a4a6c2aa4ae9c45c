"""What a run keeps of its epochs, and the list of the targets that it trusts least."""

import csv
import re

import numpy as np
import pytest

from configs import digits
from experiments.data import Examples
from experiments.report import detectors, suspects
from experiments.runs import files, identity, reading, samples
from experiments.runs.selection import best_validation
from experiments.tasks.scores import ACCURACY, MAE
from experiments.training import evaluation, loggers
from experiments.training.step import UNKNOWN, Past
from superloss_jax import memory
from tests.program.running import reported, whole_and_torn
from tests.program.test_main import ROOT

__all__ = ["reported"]
EPOCHS, BEST = 3, 2


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run that is best in epoch 2 of 3, the same run killed and resumed, and what was logged."""
    config = digits.get_config()
    config.devices, config.epochs, config.batch_size = 1, EPOCHS, 128
    config.checkpoint.every_epochs, config.data.validation = 1, 100
    config.report.losses, config.report.logger = True, "noted"
    config.optimizer.schedule, config.optimizer.boundaries = "piecewise", (2.0,)
    config.optimizer.factor = 100.0  # the last epoch is worse
    said = []

    def noted(config, path, rows):
        said.append(("start", path.name, [row["epoch"] for row in rows]))
        return loggers.Logger(lambda *row: said.append(row), lambda: said.append("close"))

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(loggers.LOGGERS, "noted", noted)
        patch.setitem(loggers.PACKAGES, "noted", "json")
        whole, torn = whole_and_torn(config, tmp_path_factory.mktemp("trained"), patch)
    return whole, torn, said


def test_after_a_kill_the_files_are_the_same(trained):
    whole, torn, _ = trained
    for name in (files.SAMPLES, files.BEST, files.METRICS, files.RESULTS):
        assert (whole / name).read_bytes() == (torn / name).read_bytes(), name


def test_each_epoch_is_logged_once(trained):
    whole, torn, said = trained
    written = [(row["epoch"], row) for row in files.read_rows(whole / files.METRICS)]
    said = [one if isinstance(one, str) else tuple(identity.plain(one)) for one in said]
    assert said == [
        ("start", whole.name, []), *written, "close",
        ("start", torn.name, []), written[0], "close",
        ("start", torn.name, [1]), *written[1:], "close",
    ]  # fmt: skip


def test_the_mean_loss_and_the_best_epoch_are_those_of_the_losses_of_each_epoch(trained):
    whole, *_ = trained
    losses = samples.read_losses(whole, EPOCHS)
    accuracy = [row["validation_accuracy"] for row in files.read_rows(whole / files.METRICS)]
    assert np.argmax(accuracy) == BEST - 1
    for name, epoch in ((files.SAMPLES, EPOCHS), (files.BEST, BEST)):
        rows = samples.read_samples(whole, name)
        np.testing.assert_array_equal(rows["loss"], losses[epoch - 1])
        np.testing.assert_allclose(rows["mean_loss"], losses[:epoch].mean(axis=0), rtol=1e-5)
    kept = reading.json_object(whole / files.RESULTS)
    rows = samples.read_samples(whole, files.BEST)
    first = np.argsort(-losses[:BEST].mean(axis=0))[:100]
    found = kept["detectors_best"]["mean_loss"]["precision_at_100"]
    assert found == pytest.approx((rows["wrong"][first] == 1).mean())
    assert kept["detectors_best"] != kept["detectors"]


def test_an_epoch_without_a_loss_does_not_count():
    past = Past(np.float32([1, 2, 0]), np.int32([1, 1, 0]))
    total, epochs = evaluation.with_losses(past, np.float32([3, UNKNOWN, UNKNOWN]))
    assert (total.tolist(), epochs.tolist()) == ([4, 2, 0], [2, 1, 0])


def test_the_best_epoch_is_strictly_better_than_those_before():
    def best(*values, score=ACCURACY):
        rows = [{"epoch": i, f"validation_{score.key}": x} for i, x in enumerate(values, 1)]
        return best_validation(rows, score)

    assert [best(*[0.5, 0.7, 0.7, None, 0.8][:n]) for n in range(1, 6)] == [1, 2, 2, 2, 5]
    assert best(2.0, 1.0, 1.5, score=MAE) == 2
    assert best_validation([{"epoch": 1, "test_accuracy": 0.5}], ACCURACY) is None


def listed(path):
    with open(path / "suspects.csv") as file:
        return [*csv.DictReader(file)]


def test_suspects_by_score_and_epoch(trained, reported, capsys):
    whole, *_ = trained
    for flags, name, score in (
        ((), files.BEST, "mean_loss"),
        (("--epoch=last",), files.SAMPLES, "mean_loss"),
        (("--epoch=best", "--score=loss"), files.BEST, "loss"),
    ):
        said = reported("suspects", f"--workdir={whole}", "--number=12", *flags)
        rows = samples.read_samples(whole, name)
        first = np.argsort(-rows[score])[:12]
        lines = listed(whole)
        assert [int(line["index"]) for line in lines] == rows["index"][first].tolist()
        wrong = rows["wrong"] == 1
        assert [line["wrong"] for line in lines] == [str(int(x)) for x in wrong[first]]
        assert f"({wrong[first].sum()}); of all 1197, {wrong.mean():.1%} ({wrong.sum()})" in said
        when = "last epoch of 3" if name == files.SAMPLES else "labels, 2 of 3"
        assert said.startswith(f"ranked by {score} in the ")
        assert when in said.splitlines()[0]
        assert f"--config.data.exclude={whole} --config.data.exclude_rate=0.01" in said
    for flag, choices in (
        ("--score=wight", "loss, weight, mean_loss"),
        ("--epoch=2", "best, last"),
    ):
        with pytest.raises(SystemExit, match="2"):
            reported("suspects", f"--workdir={whole}", flag)
        assert re.fullmatch(rf"error: {flag[:7]}.*: expected one of {choices}, .*\n",
                            capsys.readouterr().err)  # fmt: skip


def test_without_validation_there_is_the_last_epoch_alone(trained, tmp_path, reported, capsys):
    _, torn, _ = trained
    (tmp_path / files.CONFIG).write_bytes((torn / files.CONFIG).read_bytes())
    (tmp_path / files.SAMPLES).write_bytes((torn / files.SAMPLES).read_bytes())
    said = reported("suspects", f"--workdir={tmp_path}", "--number=4")
    assert "in the last epoch of 3" in said
    with pytest.raises(SystemExit, match="2"):
        reported("suspects", f"--workdir={tmp_path}", "--epoch=best")
    assert "expected one of last, got 'best'" in capsys.readouterr().err


def test_what_is_memorised_is_told_in_a_line():
    target = np.arange(200) % 10
    rows = {"target": target, "predicted": np.where(np.arange(200) < 60, target, (target + 1) % 10)}
    first, scores = np.arange(100), ["loss", "weight", "mean_loss"]
    (said,) = suspects.memorised(rows, first, "last", ["best", "last"], "loss", scores)
    assert said.startswith("warning: 60 of these 100 are predicted as given")
    for advice in ("--score=mean_loss", "--epoch=best", "python -m experiments.clean"):
        assert advice in said
    (said,) = suspects.memorised(rows, first, "best", ["best", "last"], "mean_loss", scores)
    assert "--" not in said.replace("python -m experiments.clean", "")
    (said,) = suspects.memorised(rows, first, "last", ["last"], "loss", ["loss", "weight"])
    assert "fewer epochs" in said
    assert "mean_loss" not in said
    assert suspects.memorised(rows, np.arange(10, 110), "last", ["last"], "loss", scores) == []
    for other in ({"object": target}, {"target": target + 0.0}):
        assert suspects.memorised(rows | other, first, "last", ["last"], "loss", scores) == []


def test_wrong_ones_are_red():
    rows = {"index": np.array([5, 6, 7]), "target": np.array([1, 2, 0]),
            "predicted": np.array([2, 2, 1]), "wrong": np.array([1, 0, -1])}  # fmt: skip
    found = suspects.titles_of(rows, [0, 1, 2], ("ant", "bee", "cat"))
    assert found == [("5: bee\ncat?", "red"), ("6: cat\ncat?", "black"), ("7: ant\nbee?", "black")]
    assert suspects.counts(rows, np.array([0, 1]), "label").startswith("2 of 3 labels; which")


def test_the_document_that_is_pointed_to_has_such_a_section():
    file, _, anchor = suspects.MEASURED.partition("#")
    heads = re.findall(r"^#+ (.*)$", (ROOT / file).read_text(), re.M)
    assert anchor in {re.sub(r"[^\w -]", "", head).lower().replace(" ", "-") for head in heads}


def test_detectors_have_a_line_for_each_epoch_that_was_kept(trained, tmp_path, reported):
    whole, *_ = trained
    said = reported("detectors", f"--workdir={whole}", f"--output={tmp_path / 'a.png'}")
    kept = reading.json_object(whole / files.RESULTS)
    for key, epoch in (("detectors", "last"), ("detectors_best", "best validation")):
        for score, values in kept[key].items():
            cells = " | ".join(f"{values[column]:.3f}" for column in detectors.COLUMNS)
            assert f"| superloss | 1 | {detectors.RANKED[score]} | {epoch} | {cells} |\n" in said


def test_averaged_predictions_are_a_score():
    """Of ELR's and SELF's averages, which start at 0; of each kind of units, if there are two."""
    own = np.array([[0.0, 0.0], [0.3, 0.6], [0.2, 0.0], [0.1, 0.4]])
    rows = Examples(np.zeros(3), np.array([1, 0, -1]), np.zeros(3), np.array([3, 1, 2]))
    state = memory.EarlyLearningState(targets=own)
    found = samples.mean_probability(rows, (state,))["mean_probability"]
    np.testing.assert_allclose(found, [0.8, 1 / 3, np.nan])
    kinds = memory.SelfFilterState(np.stack([0.5 * own, 0.5 * own]), np.zeros(2))
    again = samples.mean_probability(rows, kinds)["mean_probability"]
    np.testing.assert_allclose(again, found)
    assert samples.mean_probability(rows, ()) == {}
    scores = samples.suspicion({name: np.ones(3) for name in ("loss", "weight", "mean_loss")}
                               | {"mean_probability": np.array([0.8, 0.3, 0.5])})  # fmt: skip
    assert [*scores][-2:] == ["mean_probability", "mean_loss"]
    np.testing.assert_array_equal(scores["mean_probability"], [-0.8, -0.3, -0.5])
