"""Runs the training program in the test's process."""

from experiments.training import loop
from experiments.training.build import Member


def train_one(config, run, path, signal=lambda: None):
    """Trains a single run and returns its results."""
    [results] = loop.train([Member(config, run, path)], signal)
    return results
