"""Compares intervals and tests over seeds with brute force and SciPy."""

import itertools

import numpy as np
import pytest
from scipy import stats

from experiments.report import statistics
from experiments.tasks.scores import ACCURACY


def test_sign_flip_counts_all_signs_and_ties():
    rng = np.random.default_rng(0)
    for n in range(1, 9):
        for tenths in (rng.integers(-4, 5, n), rng.integers(1, 9, n), np.full(n, 3)):
            # Sums of tenths are equal in integers, but not in floating point.
            signs = np.array([*itertools.product((-1, 1), repeat=n)])
            expected = np.mean(np.abs(signs @ tenths) >= abs(tenths.sum()))
            assert statistics.sign_flip(tenths / 10) == expected, tenths
    for n in (2, 5, 9):
        values = rng.normal(0.5, 1, n)
        kind = {"permutation_type": "samples", "n_resamples": np.inf}
        expected = stats.permutation_test((values,), np.mean, **kind).pvalue
        assert statistics.sign_flip(values) == pytest.approx(expected)
    assert statistics.sign_flip(np.zeros(4)) == 1
    for n in (1, 3, 10, 30):
        assert statistics.sign_flip(rng.uniform(1, 2, n)) == statistics.least_p(n)


def test_holm_is_bonferroni_closed():
    rng = np.random.default_rng(1)
    for p in (rng.uniform(0, 0.2, 6), np.array([0.01, 0.01, 0.04, 1.0, 0.02]), np.array([0.03])):
        # An adjusted p is the largest Bonferroni p over all sets that contain the hypothesis.
        sets = [
            chosen
            for size in range(1, len(p) + 1)
            for chosen in itertools.combinations(range(len(p)), size)
        ]
        expected = [
            max(min(1.0, len(s) * min(p[j] for j in s)) for s in sets if i in s)
            for i in range(len(p))
        ]
        np.testing.assert_allclose(statistics.holm(list(p)), expected)
    assert statistics.holm([]) == []


def test_pairs_are_of_the_seeds_in_common():
    a, b = (statistics.Cell([], values) for values in (
        {(0, 0, 0): 81.0, (1, 1, 1): 84.5, (2, 2, 2): 79.0, (3, 3, 3): 10.0},
        {(2, 2, 2): 90.0, (0, 0, 0): 88.0, (1, 1, 1): 86.0, (1, 0, 0): 99.0},
    ))  # fmt: skip
    pair = statistics.paired(a, b)
    test = stats.ttest_rel([81.0, 84.5, 79.0], [88.0, 86.0, 90.0])
    assert pair.n == 3
    assert pair.mean == pytest.approx(np.mean([-7, -1.5, -11]))
    assert (pair.low, pair.high) == pytest.approx(tuple(test.confidence_interval(0.95)))
    assert statistics.paired(a, statistics.Cell([], {(9, 9, 9): 1.0})) is None
    one = statistics.paired(a, statistics.Cell([], {(0, 0, 0): 80.0}))
    assert (one.n, one.mean, one.p) == (1, 1, 1)
    assert np.isnan(one.low)
    same = statistics.paired(a, a)
    assert (same.low, same.mean, same.high, same.p) == (0, 0, 0, 1)


def test_seeds_that_are_enough():
    def testable(n, comparisons):
        adjusted = dict.fromkeys(range(comparisons), 1.0)
        made = statistics.Table(ACCURACY, (), [], [], {}, {}, {}, adjusted)
        return statistics.is_testable(made, n)

    assert testable(10, 20)
    assert testable(10, 25)
    assert not testable(10, 26)
    assert not testable(9, 20)
    assert testable(6, 1)
    assert not testable(5, 1)
