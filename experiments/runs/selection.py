"""Which epoch's test score counts: declared in config.report.selection before the run."""

import numpy as np

from experiments.tasks.scores import Score

SELECTIONS = {
    "last": "last epoch",
    "mean_of_last_10": "mean of the last 10 epochs",
    "best_validation": "best epoch on {validation} validation {target}s",
    "best_test": "best epoch on test (†: an oracle)",
}


def test_scores(rows: list[dict], score: Score) -> dict[str, float]:
    """By selection, from a row an epoch; of equal epochs, the first; without the oracle."""
    name = f"test_{score.key}"
    if name not in rows[-1]:
        return {}
    test = [row[name] for row in rows]
    found = {"last": test[-1]}
    if len(test) >= 10:
        found["mean_of_last_10"] = float(np.mean(test[-10:]))
    name = f"validation_{score.key}"
    if name in rows[-1]:
        sign = 1 if score.larger_is_better else -1
        best = int(np.argmax([sign * row[name] for row in rows]))
        found |= {"best_validation": test[best], "best_epoch": rows[best]["epoch"]}
    return found
