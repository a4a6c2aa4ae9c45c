"""Columns of a table as inputs of a network."""

from collections.abc import Callable

import numpy as np


def standardised(numbers: np.ndarray, kinds: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Returns a function of the training positions that gives a row of float32 of each example.

    Numbers have mean 0 and standard deviation 1 over the training rows; one that is missing (NaN)
    becomes the median of its column there. Of each kind that occurs there is a column of 0 and 1.

    Args:
      numbers: float64, shape (N, columns).
      kinds: texts, shape (N, columns).
    """

    def fit(train: np.ndarray) -> np.ndarray:
        from sklearn.impute import SimpleImputer
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import OneHotEncoder, StandardScaler

        known = SimpleImputer(strategy="median", keep_empty_features=True)
        one_hot = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
        steps = [(make_pipeline(known, StandardScaler()), numbers), (one_hot, kinds)]
        parts = [step.fit(of[train]).transform(of) for step, of in steps if of.shape[1]]
        return np.concatenate(parts, axis=1).astype(np.float32)

    return fit
