"""Finds wrong labels with models that have not seen them: `python -m experiments.clean`."""
