"""Which epoch's test score counts: declared in config.report.selection before the run."""

from collections.abc import Sequence

import numpy as np

from experiments.tasks.scores import Score

SELECTIONS = {
    "last": "last epoch",
    "mean_of_last_10": "mean of the last 10 epochs",
    "best_validation": "best epoch on {validation} validation {target}s",
    "label_wave": "first epoch of least changed predictions",
    "best_test": "best epoch on test (†: an oracle)",
}


def best_epoch(values: Sequence[float | None], score: Score) -> int:
    """The position of the best value, the first of equal ones; NaN and None lose against any."""
    known = {i: x for i, x in enumerate(values) if x is not None and not np.isnan(x)}
    sign = 1 if score.larger_is_better else -1
    return max(known, key=lambda i: sign * known[i], default=0)


def best_validation(rows: list[dict], score: Score) -> int | None:
    """The epoch with the best validation score, from a row an epoch; None without validation."""
    key = f"validation_{score.key}"
    if key not in rows[-1]:
        return None
    return rows[best_epoch([row[key] for row in rows], score)]["epoch"]


SMOOTHED = 3  # epochs


def label_wave(changed: Sequence[float]) -> int | None:
    """Returns where the share of changed training predictions first has a minimum, or its end.

    Each share, one an epoch, is averaged with the two before it; None if fewer than three are
    known. After Suqin Yuan, Lei Feng, Tongliang Liu, "Early Stopping Against Label Noise Without
    Validation Data", ICLR 2024. Its algorithm has the number of epochs and a patience as settings:
    3 and 1 are ours.
    """
    means = np.convolve(changed, np.full(SMOOTHED, 1 / SMOOTHED))[: len(changed)]
    means[: SMOOTHED - 1] = np.nan
    known = np.flatnonzero(np.isfinite(means))
    ends = [i for i in known[:-1] if means[i + 1] >= means[i]]
    return int([*ends, *known[-1:]][0]) if known.size else None


def selected_scores(rows: list[dict], score: Score) -> dict[str, float]:
    """The test scores by selection, from a row an epoch; only reports add the oracle."""
    test_key = f"test_{score.key}"
    if test_key not in rows[-1]:
        return {}
    test = [row[test_key] for row in rows]
    found = {"last": test[-1]}
    if len(test) >= 10:
        found["mean_of_last_10"] = float(np.mean(test[-10:]))
    if (best := best_validation(rows, score)) is not None:
        value = next(row[test_key] for row in rows if row["epoch"] == best)
        found |= {"best_validation": value, "best_epoch": best}
    changed = [row.get("train_changed") for row in rows]
    wave = label_wave([np.nan if share is None else share for share in changed])
    if wave is not None:
        found |= {"label_wave": test[wave], "label_wave_epoch": rows[wave]["epoch"]}
    return found
