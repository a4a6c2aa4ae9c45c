"""Checks the table's arithmetic, for invented and committed runs."""

import argparse
import csv
import io
import json
import re
import statistics as stdlib

import numpy as np
import pytest

from configs import digits
from experiments.report import table
from experiments.runs import files
from experiments.tasks.scores import ACCURACY
from tests.program.test_main import ROOT

NUMPY = {"numpy": "2.0"}


def write(root, method, seed, test, versions=NUMPY, platform="cpu", validation=None, **changes):
    """Writes a finished run with these test accuracies per epoch, in %."""
    config = digits.get_config()
    config.report.selection = ("last",)
    both = {"loss.method": method, "seed": seed, "noise.seed": seed, "data.split_seed": seed}
    config.update_from_flattened_dict(both | changes)
    accuracy = {"last": test[-1] / 100, "mean_of_last_10": sum(test[-10:]) / len(test[-10:]) / 100}
    if validation is not None:
        accuracy["best_validation"] = validation / 100
    path = root / f"{len(list(root.glob('*'))):03}"
    path.mkdir(parents=True)
    rows = [{"test_accuracy": value / 100} for value in test]
    (path / files.METRICS).write_text("".join(files.line(row) for row in rows))
    rate = config.noise.rate
    files.write_json(path / files.RESULTS, {
        "config": config.to_dict(), "versions": {"jax": "0.10.2"} | versions, "devices": 1,
        "platform": platform, "x64": False, "test_accuracy": accuracy,
        "score": ACCURACY._asdict(),
        "noise": {"convention": config.noise.kind, "realised_rate": rate + 0.001 * bool(rate)},
    })  # fmt: skip


def report(root, *flags):
    parser = argparse.ArgumentParser()
    table.add_command(parser.add_subparsers())
    args = parser.parse_args(["table", f"--workdir={root}", *flags])
    args.call(args)


def markdown(root, capsys, *flags):
    """Returns the rows of the first table as lists of cells, and the remaining text."""
    report(root, *flags)
    cells, _, text = capsys.readouterr().out.partition("\n\n")
    lines = [[part.strip() for part in line.strip("|").split(" | ")] for line in cells.splitlines()]
    assert len({len(line) for line in lines}) == 1
    return [lines[0], *lines[2:]], text


def lines_of_csv(root, capsys, *flags):
    report(root, "--format=csv", *flags)
    return list(csv.DictReader(io.StringIO(capsys.readouterr().out)))


def test_cells_of_the_committed_runs(capsys):
    root = ROOT / "results" / "rivals_digits"
    values: dict[str, list[float]] = {}
    for line in map(json.loads, (root / "runs.jsonl").read_text().splitlines()):
        name = re.sub("method=|,seed=.*", "", line["directory"])
        accuracy = line["results"]["test_accuracy"]["last"]
        values.setdefault(name, []).append(100 * accuracy)
    lines = lines_of_csv(root, capsys, "--select=last")
    assert len(lines) == len(values) > 20
    found = sorted((float(line["mean"]), float(line["deviation"])) for line in lines)
    expected = sorted((stdlib.mean(some), stdlib.stdev(some)) for some in values.values())
    np.testing.assert_allclose(found, expected)
    means = [float(line["mean"]) for line in lines]
    assert means == sorted(means, reverse=True)
    assert [line["best"] for line in lines] == ["True"] + ["False"] * (len(lines) - 1)


def test_missing_cells_are_counted_and_the_best_is_bold(tmp_path, capsys):
    for seed in range(3):
        write(tmp_path, "superloss", seed, [80.0 + seed])
        write(tmp_path, "superloss", seed, [60.0 + seed], **{"noise.rate": 0.8})
    for seed in range(2):
        write(tmp_path, "gce", seed, [90.0 + seed])
    write(tmp_path, "elr", 0, [50.0], **{"noise.rate": 0.8})
    lines, text = markdown(tmp_path, capsys)
    assert lines[0] == ["method, last epoch", "noise 0.4", "noise 0.8"]
    # Mean ranks: gce 1 in its only column, superloss 2 and 1, elr 2.
    assert lines[1:] == [
        ["gce", "**90.5 ± 0.7** (n = 2)", "-"],
        ["superloss", "81.0 ± 1.0", "**61.0 ± 1.0**"],
        ["elr", "-", "50.0 (n = 1)"],
    ]
    assert "2 of 6 cells missing (-), 2 of 6 with fewer seeds." in text
    assert "n = 3 where no other is shown." in text
    assert "last epoch: declared before the runs." in text
    assert "noise symmetric_exclusive" in text
    assert "noise 0.4: 40.10%; noise 0.8: 80.10%" in text
    by_row = {(one["row"], one["rate"]): one for one in lines_of_csv(tmp_path, capsys)}
    assert by_row["elr", "0.4"]["n"] == "0"
    assert by_row["elr", "0.4"]["mean"] == by_row["elr", "0.8"]["deviation"] == ""


def test_what_was_begun_and_has_no_result_is_counted(tmp_path, capsys):
    for seed in range(3):
        write(tmp_path, "superloss", seed, [80.0 + seed], **{"noise.seed": 0})
    for name in ("diverged", "begun", "refused"):
        (tmp_path / name).mkdir()
        (tmp_path / name / files.CONFIG).write_text("{}")
    (tmp_path / "diverged" / files.FAILED).write_text('{"step": 7, "tensors": ["loss"]}')
    _, text = markdown(tmp_path, capsys)
    assert "Runs below the directory without a result" not in text  # not the config of a single run
    (tmp_path / "refused" / files.REASON).write_text("exit code 2: no such method")
    for name in ("diverged", "begun"):
        (tmp_path / name / files.CONFIG).write_text('{"loss": {}, "epochs": 3}')
    several = tmp_path / "several"  # seeds trained at once: each is a run, but their parent is not
    for path in (several, several / "seed_0", several / "seed_1"):
        path.mkdir()
        (path / files.CONFIG).write_text('{"loss": {}, "epochs": 3}')
    _, text = markdown(tmp_path, capsys)
    assert "Runs below the directory without a result: 2 failed, 3 not finished." in text
    assert "over n seeds of training, split; 3 runs;" in text  # all have the same noise seed
    (tmp_path / "diverged" / files.FAILED).write_text("{}")
    (tmp_path / "begun" / files.FAILED).write_text("")
    assert "3 failed, 2 not finished." in markdown(tmp_path, capsys)[1]


def test_keys_may_be_columns(tmp_path, capsys):
    for seed in range(2):
        for decay in (0.0, 0.5):
            for method in ("superloss", "gce"):
                changes = {"optimizer.weight_decay": decay}
                write(tmp_path, method, seed, [80.0 + seed + decay], **changes)
    flag = "--columns=optimizer.weight_decay"
    lines, _ = markdown(tmp_path, capsys, flag)
    assert lines[0] == ["method, last epoch", "weight_decay 0.0", "weight_decay 0.5"]
    assert {line[0]: line[1:] for line in lines[1:]}["gce"] == ["**80.5 ± 0.7**", "**81.0 ± 0.7**"]
    by_cell = {(one["row"], one["more"]): one for one in lines_of_csv(tmp_path, capsys, flag)}
    assert by_cell["superloss", "weight_decay 0.5"]["mean"] == "81.0"
    write(tmp_path, "gce", 7, [80.0], {"numpy": "2.1"})
    with pytest.raises(ValueError, match=r"those of gce, weight_decay 0\.0: --mixed"):
        report(tmp_path, flag)
    with pytest.raises(ValueError, match=r"--columns: .* optimizer\.weight_decay, got"):
        report(tmp_path, "--columns=")


def test_nothing_is_said_of_a_whole_table(tmp_path, capsys):
    for seed in range(2):
        write(tmp_path, "superloss", seed, [80.0 + seed])
    lines, text = markdown(tmp_path, capsys, "--paired")
    assert lines[1] == ["superloss", "80.5 ± 0.7", ""]  # the only row is not marked as best
    assert "n = 2." in text
    assert not re.search("missing|fewer|MIXED|differ|†|chosen|Bold|without", text)


def test_what_counts_is_what_was_declared(tmp_path, capsys):
    both = {"report.selection": ("best_validation", "last")}
    for seed, (rise, fall) in enumerate([((70.0, 90.0), 71.0), ((72.0, 88.0), 75.0)]):
        write(tmp_path, "superloss", seed, rise, validation=80.0, **both)
        write(tmp_path, "gce", seed, [95.0, 60.0], validation=fall, **both)
    lines, text = markdown(tmp_path, capsys)
    assert lines[0][1:] == [
        "best epoch on noisy validation labels, noise 0.4", "last epoch, noise 0.4",
    ]  # fmt: skip
    assert lines[1] == ["superloss", "**80.0 ± 0.0**", "**89.0 ± 1.4**"]
    assert text.count("declared before the runs") == 2
    # The oracle was not declared, so it is marked.
    lines, text = markdown(tmp_path, capsys, "--select=best_test,mean_of_last_10,last")
    assert "†" in lines[0][1]
    assert lines[1] == ["gce", "**95.0 ± 0.0**", "77.5 ± 0.0", "60.0 ± 0.0"]
    assert text.count("chosen when reporting, not declared before 4 of the 4 runs") == 2
    assert "foremost by declaration: best_validation" in text
    with pytest.raises(ValueError, match=r"--select: expected one of last, .*, got 'lst'.*last"):
        report(tmp_path, "--select=lst")
    # Older runs declare nothing; if declarations differ, the user must choose.
    write(tmp_path, "elr", 0, [50.0], **{"report.selection": ()})
    lines, text = markdown(tmp_path, capsys)
    assert ["elr", "-", "50.0 (n = 1)"] in lines
    assert "not declared before 1 of the 5 runs" in text
    write(tmp_path, "elr", 1, [50.0], **{"report.selection": ("last",)})
    with pytest.raises(ValueError, match=r"--select: .* best_validation,last and last: name"):
        report(tmp_path)
    report(tmp_path, "--select=last")


def test_without_a_declaration_the_last_epoch_counts(tmp_path, capsys):
    write(tmp_path, "superloss", 0, [80.0], **{"report.selection": ()})
    lines, text = markdown(tmp_path, capsys)
    assert lines[0][1].startswith("last epoch")
    assert "not declared before 1 of the 1 runs" in text
    with pytest.raises(ValueError, match=r"--select: no run in .* has .* best_validation"):
        report(tmp_path, "--select=best_validation")
    (tmp_path / "000" / files.METRICS).unlink()
    with pytest.raises(ValueError, match=r"metrics\.jsonl"):
        report(tmp_path, "--select=best_test")
    with pytest.raises(ValueError, match="--workdir: no finished run in"):
        report(tmp_path / "nothing")


def test_runs_of_different_make_are_not_averaged(tmp_path, capsys):
    write(tmp_path, "superloss", 0, [80.0])
    write(tmp_path, "gce", 0, [70.0], platform="a GPU")
    # Nothing is averaged yet, but the caption says so.
    assert "Cells differ in 1 of a GPU / 1 of cpu." in markdown(tmp_path, capsys)[1]
    write(tmp_path, "superloss", 1, [82.0], versions={"numpy": "2.1"})
    with pytest.raises(ValueError, match=r"numpy 2\.0 / numpy 2\.1 in those of superloss.*--mixed"):
        report(tmp_path)
    write(tmp_path, "superloss", 1, [84.0])  # the same seed as 2.1, so it counts once
    lines, text = markdown(tmp_path, capsys, "--mixed")
    mean, spread = stdlib.mean([80, 83]), stdlib.stdev([80, 83])
    assert ["superloss", f"**{mean:.1f} ± {spread:.1f}**"] in lines
    assert "MIXED: cells average runs that differ in numpy 2.0 / numpy 2.1" in text


def test_labels_that_say_too_little_pool_nothing(tmp_path):
    for seed in range(3):
        write(tmp_path, "gce", seed, [80.0])
    write(tmp_path, "superloss", 0, [80.0], **{"noise.rate": 0.0})
    write(tmp_path, "superloss", 1, [80.0], **{"noise.rate": 0.0, "noise.kind": "pairflip"})
    with pytest.raises(ValueError, match=r"noise\.kind pairflip / symmetric"):
        report(tmp_path)


def test_latex_is_escaped(tmp_path, capsys):
    for seed in range(2):
        write(tmp_path, "cross_entropy", seed, [80.0 + seed, 70.0])
        write(tmp_path, "self_paced_hard", seed, [70.0 - seed], **{"noise.rate": 0.2})
        write(tmp_path, "self_paced_hard", seed, [70.0 - seed])
    report(tmp_path, "--format=latex", "--paired", "--select=best_test")
    text = capsys.readouterr().out
    assert re.sub(r"\\.", "", text).count("%") == 0
    assert not re.search(r"(?<!\\)[_#%±†]", text)
    assert re.findall(r"\\(\w+rule)", text) == ["toprule", "midrule", "bottomrule"]
    body = text[text.index(r"\toprule") : text.index(r"\bottomrule")]
    rows = [row for row in body.split(r"\\") if "&" in row]
    columns = re.search(r"tabular\}\{(\w+)\}", text)[1]
    assert {row.count("&") + 1 for row in rows} == {len(columns)} == {5}
    assert r"cross\_entropy & --" in text
    assert r"\textbf{80.5 $\pm$ 0.7}" in text
    assert "$-$11.0 [$-$" in text
    assert text.count("{") == text.count("}")
    report(tmp_path, "--format=latex", "--select=last,best_test")
    captions = re.findall(r"\\caption\{(.*)\}\n", capsys.readouterr().out)
    assert len(captions) == 2
    assert all("n = 2" in text for text in captions)
