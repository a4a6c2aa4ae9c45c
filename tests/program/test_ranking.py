"""AUROC and average precision against scikit-learn, and by hand."""

import numpy as np
import pytest
from sklearn import metrics

from experiments.runs import ranking


@pytest.mark.parametrize("values", [2, 5, 1000])  # few: most scores are tied
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_as_scikit_learn(values, dtype):
    generator = np.random.default_rng(values)
    wrong = generator.random(200) < 0.3
    score = (generator.integers(0, values, 200) / values + 0.2 * wrong).astype(dtype)
    expected = metrics.roc_auc_score(wrong, score)
    assert ranking.auroc(wrong, score) == pytest.approx(expected, rel=1e-14)
    expected = metrics.average_precision_score(wrong, score)
    assert ranking.average_precision(wrong, score) == pytest.approx(expected, rel=1e-14)


def test_by_hand():
    wrong = np.array([True, False, True, False])
    # Of the four pairs of a wrong and a right one, the wrong one is higher in 2, tied in 1.
    assert ranking.auroc(wrong, np.array([4, 3, 2, 2])) == 2.5 / 4
    assert ranking.average_precision(wrong, np.array([4, 3, 2, 2])) == (1 / 1 + 2 / 4) / 2
    for score, area in ((np.zeros(4), 0.5), (wrong, 1.0), (~wrong, 0.0)):
        assert ranking.auroc(wrong, score.astype(float)) == area
