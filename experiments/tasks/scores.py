"""How tasks are judged, apart from what they need to train: a sweep asks without JAX."""

from typing import NamedTuple


class Score(NamedTuple):
    """The number that a task is judged by, and how people call it."""

    key: str  # in results.json and metrics.jsonl: accuracy gives test_accuracy, accuracy_wrong
    name: str  # for people
    scale: float = 1.0  # what it is multiplied by for people: 100 for %
    unit: str = ""  # then
    larger_is_better: bool = True
    target: str = "target"  # what people call that which may be wrong: label


ACCURACY = Score("accuracy", "accuracy", scale=100.0, unit="%", target="label")
SCORES = {"classification": ACCURACY}
