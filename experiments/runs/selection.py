"""Which epoch's test accuracy counts: declared in config.report.selection before the run."""

import numpy as np

SELECTIONS = {
    "last": "last epoch",
    "mean_of_last_10": "mean of the last 10 epochs",
    "best_validation": "best epoch on {validation} validation labels",
    "best_test": "best epoch on test (†: an oracle)",
}


def accuracies(rows: list[dict]) -> dict[str, float]:
    """By selection, from a row an epoch; of equal epochs, the first; without the oracle."""
    if "test_accuracy" not in rows[-1]:
        return {}
    test = [row["test_accuracy"] for row in rows]
    found = {"last": test[-1]}
    if len(test) >= 10:
        found["mean_of_last_10"] = float(np.mean(test[-10:]))
    if "validation_accuracy" in rows[-1]:
        best = int(np.argmax([row["validation_accuracy"] for row in rows]))
        found |= {"best_validation": test[best], "best_epoch": rows[best]["epoch"]}
    return found
