"""Curricula: how much each example weighs, by its loss and the state of training."""
