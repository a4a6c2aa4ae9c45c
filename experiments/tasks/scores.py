"""The scores of the built-in tasks, in a module that a sweep can read without importing JAX."""

from typing import NamedTuple


class Score(NamedTuple):
    """The number that a task is judged by, and how to print it."""

    key: str  # part of names in results.json and metrics.jsonl: test_accuracy, accuracy_wrong
    name: str  # in print
    scale: float = 1.0  # factor in print: 100 for %
    unit: str = ""  # in print
    larger_is_better: bool = True
    target: str = "target"  # the word for targets in print: label
    digits: int = 1  # after the point, of the scaled number in tables


ACCURACY = Score("accuracy", "accuracy", scale=100.0, unit="%", target="label")
MAE = Score("mae", "mean absolute error", larger_is_better=False, digits=3)
RECALL = Score("recall_at_1", "recall at 1", scale=100.0, unit="%", target="label")
MAP_50 = Score("map_50", "mAP at IoU 0.5", digits=3, target="label")
SCORES = {
    "classification": ACCURACY,
    "semi_supervised": ACCURACY,
    "divide_mix": ACCURACY,
    "regression": MAE,
    "retrieval": RECALL,
    "detection": MAP_50,
}
