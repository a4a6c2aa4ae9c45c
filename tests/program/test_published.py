"""Published numbers are compared with ours only if both measure the same thing."""

import csv
import math

import pytest

from configs import digits
from experiments.models.networks import MODELS
from experiments.report import published, statistics
from experiments.report.runs import FinishedRun, condition
from experiments.tasks.scores import ACCURACY
from tests.program.test_table import lines_of_csv, markdown, report, write

CURBENCH = {
    "data.name": "cifar10", "model.name": "lenet", "data.validation_labels": "clean",
    "report.selection": ("best_validation",),
}  # fmt: skip


def run_of(method="cross_entropy", **changes):
    config = digits.get_config()
    config.update_from_flattened_dict(CURBENCH | {"loss.method": method} | changes)
    config = config.to_dict()
    return FinishedRun(None, {"config": config}, method, condition(config))


def found(selection="best_validation", **changes):
    return published.matches(run_of(**changes), selection, published.listed(ACCURACY))


def test_every_row_of_the_file_is_read():
    with open(published.FILE) as file:
        rows = list(csv.DictReader(file))
    read = published.listed(ACCURACY)
    assert len(read) == len(rows) > 250
    for one, row in zip(read, rows, strict=True):
        assert (one.value, one.source) == (float(row["accuracy"]), row["source"])
        assert math.isnan(one.deviation) == (row["std"] == "")
        assert 0 <= one.task.rate < 1
    # Every model that the file calls by another name is one of ours.
    assert set(published.MODELS) <= set(MODELS)
    assert set(published.MODELS.values()) <= {row["model"] for row in rows}
    assert {theirs for theirs, _ in published.METHODS.values()} <= {row["method"] for row in rows}


def test_the_same_is_matched():
    (one,) = found()
    assert (one.value, one.deviation, one.n) == (65.02, 1.12, 5)
    (one,) = found(method="superloss")
    assert (one.value, one.deviation, one.n) == (65.93, 0.57, 5)
    (one,) = found(**{"noise.rate": 0.0})
    assert one.value == 69.95
    # Without noise, noisy validation labels are clean.
    assert found(**{"noise.rate": 0.0, "data.validation_labels": "noisy"}) == [one]
    (one,) = found(**{"noise.rate": 0.0, "data.imbalance": 50.0, "model.name": "vit_curbench"})
    assert one.value == 52.12
    # The figure repeats the table's number and adds others.
    resnet = {"method": "superloss", "model.name": "resnet18"}
    assert [(one.value, one.n) for one in found(**resnet)] == [(84.54, 5)]
    (one,) = found(**resnet, **{"noise.rate": 0.6})
    assert (one.value, math.isnan(one.deviation)) == (77.38, True)
    inclusive = {"noise.kind": "symmetric_inclusive", "model.name": "resnet34",
                 "data.validation_labels": "noisy"}  # fmt: skip
    (one,) = found(method="early_learning", **inclusive)
    assert one.task.method == "early_learning_regularization"
    # For CIFAR-100, the method has other values.
    assert not found(method="early_learning", **inclusive, **{"data.name": "cifar100"})
    of_100 = {
        "data.name": "cifar100",
        "loss.early_learning.lam": 7.0,
        "loss.early_learning.beta": 0.9,
    }
    assert len(found(method="early_learning", **inclusive, **of_100)) == 1
    best = {"noise.kind": "symmetric_inclusive", "model.name": "preact_resnet18", "noise.rate": 0.5}
    assert {one.selection for one in found("best_test", **best)} == {"test_best"}


def test_the_last_epoch_is_matched_where_a_paper_reports_it():
    cnn8 = {"model.name": "cnn8", "data.validation_labels": "noisy"}
    values = [one.value for one in found("last", method="active_passive", **cnn8)]
    assert values == [85.13]
    assert not found("last", method="active_passive", **cnn8, **{"loss.active_passive.beta": 4.0})
    assert [one.value for one in found("last", method="epsilon_softmax", **cnn8)] == [85.93]
    other = cnn8 | {"noise.kind": "asymmetric"}  # with other values there
    assert not found("last", method="epsilon_softmax", **other)
    assert [one.value for one in found("last", **other)] == [75.28]


@pytest.mark.parametrize("changes", [
    {"data.name": "digits"}, {"model.name": "convnet"}, {"method": "focal"},
    {"noise.rate": 0.3}, {"noise.kind": "symmetric_inclusive"}, {"noise.kind": "given"},
    {"data.validation_labels": "noisy"}, {"data.imbalance": 50.0},
    {"curriculum.difficulty": "runs/teacher"}, {"curriculum.classes": "balanced"},
    {"easy_anchors.weight": 1.0}, {"augment.mixup": 1.0}, {"augment.cutout": 8},
    {"loss.base": "generalized_cross_entropy"},
    {"method": "superloss", "loss.lam": 0.25}, {"method": "superloss", "loss.decay": 0.99},
    {"method": "superloss", "loss.threshold": "constant"},
    {"method": "superloss", "loss.base": "generalized_cross_entropy"},
    {"method": "superloss", "augment.mixup": 0.2},
    {"method": "trend_superloss"},
    {"method": "data_parameters", "model.name": "resnet18"},
    {"method": "self_paced_hard", "model.name": "resnet18"},
])  # fmt: skip
def test_one_difference_and_nothing_matches(changes):
    assert not found(**changes)


@pytest.mark.parametrize("selection", ["last", "mean_of_last_10", "best_test"])
def test_another_selection_matches_nothing(selection):
    assert not found(selection)


def test_what_is_unknown_matches_nothing():
    for kind in ("symmetric_exclusive", "symmetric_inclusive"):
        for selection in ("last", "best_validation", "best_test", "mean_of_last_10"):
            for labels in ("noisy", "clean"):
                changes = {"model.name": "resnet34", "noise.kind": kind,
                           "data.validation_labels": labels}  # fmt: skip
                # The file has GCE only with an unknown convention.
                assert not found(selection, method="generalized_cross_entropy", **changes)


def test_labels_of_people():
    for name, variant, data, noise in (
        ("cifar10n", "worse", "cifar10", "human_worse"),
        ("cifar100n", "noisy", "cifar100", "human"),
    ):
        changes = {"data.name": name, "data.variant": variant, "noise.kind": "given",
                   "model.name": "resnet34"}  # fmt: skip
        task = published.measured_by(run_of(**changes))
        assert (task.data, task.noise) == (data, noise)
        # Their selection is unknown.
        assert task in [one.task for one in published.listed(ACCURACY)]
        assert not found(**changes)
    other = run_of(**{"data.name": "cifar10n", "data.variant": "aggre", "noise.kind": "given"})
    assert published.measured_by(other) not in [one.task for one in published.listed(ACCURACY)]


def test_numbers_of_blocks_are_not_those_of_superclasses():
    """On CIFAR-100, two kinds of noise are called asymmetric."""
    changes = {"data.name": "cifar100", "model.name": "resnet34"}
    superclasses, blocks = (
        published.measured_by(run_of(**changes | {"noise.kind": kind}))
        for kind in ("asymmetric", "asymmetric_blocks")
    )
    assert superclasses != blocks
    assert published._near(superclasses, blocks)  # listed apart, with the reason
    cells = {("last", "row", "column"): statistics.Cell(
        [run_of(**changes | {"noise.kind": "asymmetric"})], {(0, 0, 0): 40.0})}  # fmt: skip
    one = published.Published(blocks, "last10", 41.15, math.nan, 3, "")
    _, ((*_, why, _),) = published.apart(cells, [one])
    assert why.startswith("not comparable: noise convention is asymmetric_blocks")


def test_wrong_labels_at_rate_0_are_not_compared_with_clean_ones():
    run = run_of(**{"noise.kind": "instance_dependent", "noise.rate": 0.0})
    column = condition(run.results["config"], 0.088)
    assert not published.matches(
        run._replace(column=column), "best_validation", published.listed(ACCURACY)
    )


def test_the_verdict_needs_three_seeds_and_a_deviation():
    task = published.Measured("cifar10", "lenet", "superloss", "symmetric_exclusive", 0.4)

    def verdict(values, accuracy, deviation=0.5, n=5):
        cell = statistics.Cell([], {(seed, 0, 0): value for seed, value in enumerate(values)})
        one = published.Published(task, "clean_validation", accuracy, deviation, n, "")
        return published.compare(cell, one)

    values = [65.0, 66.0, 67.0]
    reach = 2 * math.sqrt(1.0 / 3 + 0.25 / 5)
    assert verdict(values, 66 + 0.999 * reach).within is True
    assert verdict(values, 66 + 1.001 * reach).within is False
    assert verdict(values, 66 - 1.001 * reach).within is False
    assert verdict(values, 65.0).difference == pytest.approx(1.0)
    for one in (verdict(values[:2], 66.0), verdict(values, 66.0, deviation=math.nan),
                verdict(values, 66.0, n=0)):  # fmt: skip
        assert one.within is None


def test_beside_ours_and_apart(tmp_path, capsys):
    for seed, value in enumerate((64.0, 65.0, 66.0)):
        write(tmp_path, "cross_entropy", seed, [50.0], validation=value, **CURBENCH)
        write(tmp_path, "superloss", seed, [50.0], validation=value + 3, **CURBENCH)
        write(tmp_path, "superloss", seed, [50.0], validation=99.0, **CURBENCH | {"loss.lam": 0.25})
    lines, text = markdown(tmp_path, capsys, "--published")
    assert [line[0] for line in lines[1:]] == ["superloss, lam 0.25", "superloss", "cross_entropy"]
    rows = [line for line in text.splitlines() if "CurBench" in line]
    assert len(rows) == 2
    for row, numbers in zip(rows, (
        ("65.00 ± 1.00 (n = 3)", "65.02 ± 1.12 (n = 5)", "-0.02", "yes"),
        ("68.00 ± 1.00 (n = 3)", "65.93 ± 0.57 (n = 5)", "+2.07", "no"),
    ), strict=True):  # fmt: skip
        assert f"| {' | '.join(numbers)} |" in row
    assert "not comparable" not in text
    by_row = {one["row"]: one for one in lines_of_csv(tmp_path, capsys, "--published")}
    assert float(by_row["superloss"]["published"]) == 65.93
    assert by_row["superloss"]["within"] == "False"
    assert by_row["superloss, lam 0.25"]["published"] == ""
    # The last epoch, or an unknown selection or convention, is a different measurement.
    text = markdown(tmp_path, capsys, "--published", "--select=last")[1]
    assert text.count("not comparable: selection is clean_validation") == 2
    assert "| yes |" not in text


def test_apart_says_what_is_unknown(tmp_path, capsys):
    changes = CURBENCH | {"model.name": "resnet34", "data.validation_labels": "noisy"}
    write(tmp_path, "generalized_cross_entropy", 0, [50.0], validation=60.0, **changes)
    people = {"data.name": "cifar10n", "data.variant": "worse", "noise.kind": "given"}
    write(tmp_path, "early_learning", 0, [50.0], validation=60.0, **changes | people)
    text = markdown(tmp_path, capsys, "--published")[1]
    rows = [line for line in text.splitlines() if "not comparable:" in line]
    assert len(rows) == 2
    assert "87.13 (n = 5) | not comparable: noise convention unknown |" in rows[0]
    assert "human_worse" in rows[1]
    assert "not comparable: selection unknown" in rows[1]
    write(tmp_path, "focal", 0, [50.0], validation=60.0)
    report(tmp_path, "--published", "--format=latex", "--select=last")
    assert capsys.readouterr().out.count(r"\begin{tabular}") == 2


def test_nothing_published_is_said(tmp_path, capsys):
    write(tmp_path, "superloss", 0, [50.0])
    report(tmp_path, "--published")
    assert "No published number is of the same" in capsys.readouterr().out
