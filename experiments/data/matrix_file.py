"""An estimated noise matrix in a CSV file, as `experiments.clean` writes it."""

import csv

import numpy as np

from experiments import checks

KEY = "config.data.noise_matrix"


def read(path: str, class_names: tuple[str, ...]) -> np.ndarray:
    """Reads p(given label | true class): a row for each true class, a column for each given label.

    The first line and the first column name the classes, in the data set's order.

    Raises:
      ValueError: if the classes are others, or a row is no distribution.
    """
    file = checks.path(KEY, path)
    try:
        with open(file, newline="", encoding="utf-8-sig") as text:
            head, *rows = [*csv.reader(text)] or [[]]
        matrix = np.array([[float(value) for value in row[1:]] for row in rows])
    except OSError as error:
        raise ValueError(f"{KEY}: {file}: {error.strerror}") from None
    except (ValueError, csv.Error) as error:
        raise ValueError(f"{KEY}: {file}: expected rows of numbers: {error}") from None
    names = [row[0] for row in rows if row]
    if [*class_names] != head[1:] or [*class_names] != names:
        known = ", ".join([*class_names][:5]) + ", ..." * (len(class_names) > 5)
        raise ValueError(f"{KEY}: {file}: expected rows and columns of the classes {known}")
    totals = matrix.sum(axis=1, keepdims=True)
    if not ((matrix >= 0).all() and np.allclose(totals, 1, atol=1e-3)):
        raise ValueError(f"{KEY}: {file}: expected probabilities that sum to 1 in each row")
    return matrix / totals
