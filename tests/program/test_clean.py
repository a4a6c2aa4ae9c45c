"""Wrong labels found by `experiments.clean`, and corrections that are read back."""

import csv
import json
import re

import numpy as np
import pytest

from configs import digits
from experiments import data
from experiments.clean import folds, page, scores, written
from experiments.data import corrections
from experiments.data.base import dataset as make_dataset
from experiments.runs import contents, files, samples
from experiments.training import build
from scripts import compare_cleanlab
from tests.program.running import whole_and_torn
from tests.program.test_main import ROOT, main

NAMES = ("cat", 'a "dog"', "</script>")


def toy(number=30):
    """Images, a third of them with wrong labels, and what a good model would say of each."""
    rng = np.random.default_rng(0)
    clean = np.arange(number) % 3
    labels = np.where(np.arange(number) % 3 == np.arange(number) // 10, (clean + 1) % 3, clean)
    images = rng.integers(0, 256, (number, 8, 8, 3)).astype(np.uint8)
    arrays = {
        "train_images": images, "train_labels": labels, "clean_labels": clean,
        "test_images": images[:0], "test_labels": labels[:0],
    }  # fmt: skip
    made = make_dataset("toy", NAMES, arrays)._replace(
        files=tuple(f"{i}.png" for i in range(number))
    )
    probabilities = np.full((number, 3), 0.1)
    probabilities[np.arange(number), clean] = 0.8
    return made, probabilities


def folds_of(root, made, probabilities, number=3):
    """The directories that runs of the folds would leave."""
    points = []
    train = made.train
    for k in range(number):
        held = np.arange(len(train.index)) % number == k
        path = root / f"fold_{k}"
        path.mkdir(parents=True)
        arrays = {"index": train.index[held], "probabilities": probabilities[held]}
        samples.write(path, arrays, files.HELD_OUT)
        seen = train.index[~held]
        rows = {
            "index": seen,
            "loss": (seen + k) / 100,
            "weight": np.ones(len(seen)),
            "wrong": 0 * seen,
        }
        samples.write(path, rows, files.BEST)
        points.append(folds.Point(path, "", []))
    return points


def read(file):
    with open(file, newline="") as text:
        return [*csv.DictReader(text)]


def test_every_example_is_scored_by_the_model_that_has_not_seen_it(tmp_path):
    made, probabilities = toy()
    out = folds.collected(folds_of(tmp_path, made, probabilities), made)
    np.testing.assert_array_equal(out.probabilities, probabilities)
    # The mean over the two models that were trained with the example: k is added to its loss.
    k = np.arange(30) % 3
    np.testing.assert_allclose(out.in_sample["loss"], (np.arange(30) + (3 - k) / 2) / 100)


def test_what_is_written(tmp_path):
    made, probabilities = toy()
    out = folds.collected(folds_of(tmp_path / "runs", made, probabilities), made)
    one = scores.found(out)
    summary = written.write(
        tmp_path, made, out, one, page.page(made, out, one, 5, "python -m x", {})
    )
    wrong = made.train.targets != made.train.clean_targets
    assert summary["wrong"] == summary["suspected"] == summary["seem_wrong"] == wrong.sum() == 12
    assert summary["precision"] == summary["recall"] == 1
    assert summary["scores"]["margin"]["auroc"] == 1
    assert summary["scores"]["in_sample_loss"]["auroc"] < 1
    expected = one.scores["margin"] + one.scores["in_sample_loss"]
    np.testing.assert_allclose(one.scores["suspicion"], expected)
    assert (np.diff(expected[one.order]) <= 0).all()
    assert json.loads((tmp_path / "clean.json").read_text()) == summary
    rows = read(tmp_path / "suspects.csv")
    assert [int(row["rank"]) for row in rows] == [*range(1, 31)]
    assert {int(row["index"]) for row in rows[:12]} == {*np.flatnonzero(wrong)}
    assert rows[0]["path"] == f"{rows[0]['index']}.png"
    assert [row["suspected"] for row in rows] == ["1"] * 12 + ["0"] * 18
    np.testing.assert_allclose(np.load(tmp_path / "pred_probs.npy"), probabilities, rtol=1e-6)
    np.testing.assert_array_equal(np.load(tmp_path / "labels.npy"), made.train.targets)
    matrix = [[*row.values()][1:] for row in read(tmp_path / "noise_matrix.csv")]
    np.testing.assert_allclose(np.array(matrix, float).sum(axis=1), 1, rtol=1e-5)
    # What is written as cleaned is what corrections read.
    again = data.corrected(made, str(tmp_path / "labels_cleaned.csv"))
    np.testing.assert_array_equal(again.train.targets, made.train.clean_targets)
    assert again.told[-1] == "labels   12 corrected, 0 left out: labels_cleaned.csv"


def test_what_was_decided_before_is_kept(tmp_path):
    """Two examples were changed and one left out; a fourth is decided on anew."""
    made, probabilities = toy()
    file = tmp_path / "first.csv"
    file.write_text("index,label\n0,</script>\n1,cat\n7,\n29,cat\n")
    again = data.corrected(made, str(file))
    assert again.train.targets[7] == -1
    points = folds_of(tmp_path / "runs", again, probabilities)
    for point in points:  # as a run records them: nothing of what has no label
        held, seen = (samples.read_arrays(point.path / n) for n in (files.HELD_OUT, files.BEST))
        kept = held["index"] != 7
        samples.write(point.path, {k: v[kept] for k, v in held.items()}, files.HELD_OUT)
        seven = seen["index"] == 7
        for name, value in (("loss", np.nan), ("weight", np.nan), ("wrong", samples.NO_TARGET)):
            seen[name] = np.where(seven, value, seen[name])
        samples.write(point.path, seen, files.BEST)
    out = folds.collected(points, again)
    assert 7 not in out.index
    np.testing.assert_allclose(out.in_sample["loss"][-1], (29 + 0.5) / 100)
    one = scores.found(out)
    earlier = corrections.by_index(again, str(file))
    assert earlier == {0: "</script>", 1: "cat", 7: "", 29: "cat"}
    written.write(tmp_path, again, out, one, page.page(again, out, one, 50, "x", earlier))
    rows = read(tmp_path / "labels_cleaned.csv")
    assert len(rows) == 30
    assert (rows[7]["given"], rows[7]["label"]) == ("", "")
    text = (tmp_path / "page.html").read_text()
    assert json.loads(re.search(r"earlier = (\{.*?\}), key", text)[1])["7"] == ""
    assert text.count("</script>") == 1
    assert "Your earlier corrections are saved with the new ones." in text
    cleaned = data.corrected(made, str(tmp_path / "labels_cleaned.csv")).train.targets
    assert cleaned[7] == -1
    assert cleaned[1] == made.train.clean_targets[1]  # which the models say


def test_the_page_is_one_file_that_no_name_can_break():
    made, probabilities = toy()
    out = folds.OutOfFold(*made.train[3:], *made.train[1:3], probabilities, {})
    text = page.page(made, out, scores.found(out), 4, "python -m x --y='<z>'", {})
    assert text.count("</script>") == 1
    assert "python -m x --y=&#x27;&lt;z&gt;&#x27;" in text
    shown = json.loads(re.search(r"rows = (\[.*?\]), earlier", text)[1])
    assert len(shown) == 4
    assert shown[0]["image"].startswith("data:image/png;base64,")
    assert all(row["given"] != row["suggested"] for row in shown)
    assert not re.search(r"(?:src|href)=.?http", text)


def test_folds_of_another_data_set_are_refused(tmp_path):
    made, probabilities = toy()
    points = folds_of(tmp_path, made, probabilities)
    with pytest.raises(ValueError, match="folds of another data set"):
        folds.collected(points[:2], made)
    with pytest.raises(ValueError, match="not a fold of this data set"):
        folds.collected([*points, points[0]], made)
    smaller = made._replace(train=made.train.rows(slice(20)))  # than when the folds were trained
    with pytest.raises(ValueError, match="not a fold of this data set"):
        folds.collected(points, smaller)


def test_folds_hold_out_each_example_once_and_keep_the_best_epoch(tmp_path, monkeypatch):
    config = digits.get_config()
    config.epochs, config.data.folds, config.optimizer.learning_rate = 4, 3, 0.03
    held = []
    for k in range(3):
        config.data.fold = k
        part = data.build(config.data, config.noise)
        held.append(part.validation)
        assert len(part.train.index) + len(part.validation.index) == 1297
    assert sorted(np.concatenate([one.index for one in held]).tolist()) == [*range(1297)]
    counts = np.array([np.bincount(one.targets, minlength=10) for one in held])
    assert np.ptp(counts, axis=0).max() <= 1  # each class is in all folds alike
    whole, torn = whole_and_torn(config, tmp_path, monkeypatch)
    assert (whole / files.HELD_OUT).read_bytes() == (torn / files.HELD_OUT).read_bytes()
    kept = samples.read_arrays(whole / files.HELD_OUT)
    np.testing.assert_array_equal(kept["index"], held[2].index)
    right = kept["probabilities"].argmax(axis=1) == held[2].targets
    rows = files.read_rows(whole / files.METRICS)
    assert right.mean() == pytest.approx(max(row["validation_accuracy"] for row in rows))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected rows with index or path, and label, got no rows"),
        ("index,given\n1,cat\n", "and label, got columns index, given"),
        ("name,label\n1,cat\n", "expected a column index, got name, label"),
        ("index,label\n99,cat\n", "line 2: no training example has the index '99'"),
        ("index,label\n1,cat\n1,cat\n", "line 3: the index '1' occurs twice"),
        ("path,label\n1.png,horse\n", "line 2: 'horse' is none of the classes cat"),
        ("path,label\n../1.png,cat\n", "no training example has the path '../1.png'"),
    ],
)
def test_corrections_that_cannot_be_meant(tmp_path, text, message):
    made, _ = toy()
    (tmp_path / "own.csv").write_text(text)
    with pytest.raises(ValueError, match=re.escape(message)):
        data.corrected(made, str(tmp_path / "own.csv"))
    with pytest.raises(ValueError, match=r"config\.data\.corrections: .*none.csv: No such file"):
        data.corrected(made, str(tmp_path / "none.csv"))


def test_corrections_change_labels_and_leave_out_examples(tmp_path):
    made, _ = toy()
    (tmp_path / "own.csv").write_text('\ufeffindex,given,label\n3,,"a ""dog"""\n4,x,\n')
    targets = data.corrected(made, str(tmp_path / "own.csv")).train.targets
    assert (targets[3], targets[4]) == (1, -1)
    assert (np.delete(targets, [3, 4]) == np.delete(made.train.targets, [3, 4])).all()
    config = digits.get_config()
    config.data.corrections = str(tmp_path / "digits.csv")
    (tmp_path / "digits.csv").write_text("index,label\n0,\n")
    assert len(build.build_run(config).dataset.train.index) == 1296


def test_from_the_command_line(tmp_path):
    given = ["--config=configs/digits.py", "--config.epochs=2", f"--workdir={tmp_path / 'a'}"]
    done = main(*given, "--folds=2", program="clean")
    assert done.returncode == 0, done.stderr
    assert "labels seem wrong" in done.stdout
    assert "in_sample_loss" in done.stdout
    command = re.search(r"or train on    python (.*)", done.stdout)[1]
    assert f"--config.data.corrections={tmp_path / 'a'}/labels_cleaned.csv" in command
    for more, message in (
        (["--folds=1"], "--folds: expected a number from 2 to 100, got 1"),
        (["--config.vmap_seeds=2"], "config.vmap_seeds: expected 1, one model a fold"),
    ):
        done = main(*given, *more, program="clean")
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert message in done.stderr


def test_an_estimated_noise_matrix_is_what_forward_correction_uses(tmp_path):
    config = digits.get_config()
    config.loss.method, config.noise.kind = "forward_correction", "given"
    with pytest.raises(ValueError, match="given noise has no known transition matrix"):
        build.build_run(config)
    names = [str(i) for i in range(10)]
    wanted = np.full((10, 10), 0.05) + 0.5 * np.eye(10)
    lines = [["", *names], *([name, *row] for name, row in zip(names, wanted, strict=True))]
    file = tmp_path / "noise_matrix.csv"
    file.write_bytes(written.table(*(lines[0], lines[1:])))
    config.data.noise_matrix = str(file)
    contents.note(config)
    run = build.build_run(config)
    np.testing.assert_allclose(run.problem.noise_matrix(), wanted)
    for broken, message in (
        (lines[1:], "expected rows and columns of the classes 0, 1"),
        ([lines[0], *([*row[:-1], 0.2] for row in lines[1:])], "probabilities that sum to 1"),
        ([lines[0], ["0", "x"]], "expected rows of numbers: could not convert"),
        ([], "expected rows and columns"),
    ):
        file.write_bytes(written.table([], broken)[1:])
        with pytest.raises(ValueError, match=rf"noise_matrix: .*{message}"):
            run.problem.noise_matrix()


def test_the_table_beside_cleanlab_is_the_committed_one():
    found = compare_cleanlab.committed()
    assert len(found) == 9
    table = compare_cleanlab.table(found)
    assert table in (ROOT / "docs/wrong_labels.md").read_text()
    mask, wrong = np.array([True, True, False, False]), np.array([True, False, True, False])
    assert compare_cleanlab.masks(mask, wrong) == {"suspected": 2, "precision": 0.5, "recall": 0.5}
    found = compare_cleanlab.ranks(np.array([4.0, 3, 2, 1]), wrong)
    assert found == {"auroc": 0.75, "at_100": 0.5, "at_1000": 0.5, "at_number": 0.5}
