"""What a method may need to know about a run."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import optax

from experiments import checks


class Facts(NamedTuple):
    """What a method may need to know about a run."""

    num_examples: int
    num_classes: int | None  # None if targets are not classes
    steps: int  # in the whole run
    matrix: Callable[[], np.ndarray] | None  # the noise's transition matrix, if it has one
    rate: optax.Schedule  # the learning rate, by step
    counts: Callable[[], np.ndarray] | None = None  # of the given training labels, by class
    noise_rate: float | None = None  # that wrong labels are drawn with; None if they are the data's

    def share(self, name: str, part: float) -> int:
        """Converts a share of the run to steps."""
        checks.within(f"config.loss: {name}, a share of the run", part, 0, 1)
        return round(part * self.steps)

    def classes(self) -> int:
        if self.num_classes is None:
            raise ValueError("it needs classes, and this task has none")
        return self.num_classes

    def noise_matrix(self) -> np.ndarray:
        if self.matrix is None:
            raise ValueError("it needs the noise's transition matrix, and this task has none")
        return self.matrix()

    def label_counts(self) -> np.ndarray:
        """Returns how often each class is given; each of them at least once."""
        if self.counts is None:
            raise ValueError("it needs the numbers of labels by class, and this task has none")
        counts = self.counts()
        if len(never := np.flatnonzero(counts == 0)):
            said = "it needs training labels of each class"
            raise ValueError(f"{said}: expected at least 1 of class {never[0]}, got 0")
        return counts
