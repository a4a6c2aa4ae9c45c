"""Runs of the training program, in a test's own process."""

from experiments.training import loop
from experiments.training.build import Member


def train_one(config, run, path, signal=lambda: None):
    """Trains one run alone, and returns its result."""
    [results] = loop.train([Member(config, run, path)], signal)
    return results
