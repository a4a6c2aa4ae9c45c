"""Paired differences in the table: intervals, tests, and seeds in common."""

import numpy as np
import pytest
from scipy import stats

from experiments.report import table
from experiments.report.statistics import Table
from experiments.tasks.scores import ACCURACY
from tests.program.test_table import lines_of_csv, markdown, report, write


def test_a_test_is_made_only_where_n_can_reach_the_level(tmp_path, capsys):
    rng = np.random.default_rng(2)
    values = {"superloss": 80 + rng.normal(0, 1, 10)}
    values |= {"gce": values["superloss"] - rng.uniform(1, 2, 10)}
    values |= {"elr": values["superloss"] - rng.normal(0.5, 1, 10)}
    for method, some in values.items():
        for seed, value in enumerate(some):
            write(tmp_path, method, seed, [value])
    lines, text = markdown(tmp_path, capsys, "--paired")
    assert lines[0][2] == "difference to the best"
    p = {
        method: stats.permutation_test(
            (values[method] - values["superloss"],), np.mean,
            permutation_type="samples", n_resamples=np.inf,
        ).pvalue
        for method in ("gce", "elr")
    }  # fmt: skip
    assert p["gce"] == 2 / 2**10 < p["elr"]
    by_row = {one["row"]: one for one in lines_of_csv(tmp_path, capsys, "--paired")}
    assert float(by_row["gce"]["p_holm"]) == pytest.approx(2 * p["gce"])
    assert float(by_row["elr"]["p_holm"]) == pytest.approx(max(2 * p["gce"], p["elr"]))
    for method in ("gce", "elr"):
        line, test = by_row[method], stats.ttest_rel(values[method], values["superloss"])
        expected = test.confidence_interval(0.95)
        found = [float(line[name]) for name in ("difference", "low", "high", "p")]
        mean = np.mean(values[method] - values["superloss"])
        assert found == pytest.approx([mean, *expected, p[method]])
    (cell,) = [line[2] for line in lines if line[0] == "gce"]
    assert cell == (
        f"{float(by_row['gce']['difference']):+.1f} [{float(by_row['gce']['low']):+.1f},"
        f" {float(by_row['gce']['high']):+.1f}], p = {2 * p['gce']:.2g}"
    )
    assert "Holm over the 2 comparisons" in text
    assert "too small" not in text
    # Only the first selection is tested.
    assert "2 comparisons" in markdown(tmp_path, capsys, "--paired", "--select=last,best_test")[1]
    # With three seeds, a method cannot be significant: 2 / 2^3 is more than 0.05 / 4.
    for seed in range(3):
        write(tmp_path, "sce", seed, [60.0 + seed])
    write(tmp_path, "focal", 0, [50.0])
    lines, text = markdown(tmp_path, capsys, "--paired")
    (cell,) = [line[2] for line in lines if line[0] == "sce"]
    assert "p =" not in cell
    assert cell.endswith("(n = 3)")
    assert "p of n = 3 cannot go below 0.25, and 4 comparisons need 0.013" in text  # 0.0125
    by_row = {one["row"]: one for one in lines_of_csv(tmp_path, capsys, "--paired")}
    assert (by_row["sce"]["p"], by_row["sce"]["p_holm"]) == ("", "")
    assert by_row["sce"]["paired_n"] == "3"


def test_pairs_need_a_seed_in_common(tmp_path, capsys):
    write(tmp_path, "superloss", 0, [80.0])
    write(tmp_path, "gce", 1, [70.0])
    write(tmp_path, "elr", 0, [75.0])
    lines, _ = markdown(tmp_path, capsys, "--paired")
    assert [line[2] for line in lines[1:]] == ["", "-5.0", "no seed in common"]


def test_differences_to_a_row(tmp_path, capsys):
    for seed in range(3):
        write(tmp_path, "cross_entropy", seed, [70.0 + seed])
        write(tmp_path, "gce", seed, [72.0 + 2 * seed])
        write(tmp_path, "sce", seed, [60.0])
    write(tmp_path, "sce", 0, [1.0], **{"noise.rate": 0.8})  # the baseline has no run here
    lines, text = markdown(tmp_path, capsys, "--paired=cross_entropy")
    assert lines[0][2] == "difference to cross_entropy"
    by_row = {line[0]: line[2] for line in lines[1:]}
    low, high = stats.t.interval(0.95, 2, loc=3, scale=1 / 3**0.5)  # the differences are 2, 3 and 4
    assert by_row["gce"] == f"+3.0 [{low:+.1f}, {high:+.1f}]"
    assert by_row["sce"].startswith("-11.0 [")
    assert by_row["cross_entropy"] == ""
    assert lines[0][4] == "difference to cross_entropy"
    assert {line[0]: line[4] for line in lines[1:]}["sce"] == "no seed in common"
    assert "after the fact" not in text
    assert "2 comparisons" in text
    with pytest.raises(ValueError, match=r"--paired: expected one of cross_entropy, gce, sce"):
        report(tmp_path, "--paired=elr")


@pytest.mark.parametrize(
    ("columns", "with_pairs", "parts"),
    [
        ("a", True, ["a"]),
        ("abc", True, ["abc"]),
        ("abcd", True, ["ab", "cd"]),
        ("abcde", True, ["abc", "de"]),
        ("abcdefg", False, ["abcdefg"]),
        ("abcdefgh", False, ["abcd", "efgh"]),
    ],
)
def test_columns_that_are_too_many_for_a_page_are_parted(columns, with_pairs, parts):
    made = Table(ACCURACY, ("last", "best_test"), [], [*columns], {}, {}, {}, {})
    found = [(one.selections, "".join(some)) for one, some in table.split(made, with_pairs)]
    if len(columns) == 1:
        assert found == [(("last", "best_test"), "a")]
    else:
        assert found == [((name,), part) for name in ("last", "best_test") for part in parts]
