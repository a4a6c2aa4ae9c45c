"""The losses that a config can name, each as a LossTransform."""

from collections.abc import Callable

import jax.numpy as jnp

from experiments.choices import choose, positive
from superloss_jax import LossTransform, Threshold, constant, ema, running_mean, superloss


def _cross_entropy(**unused):
    def update(losses, state, *, where=None, **extra):
        return (losses if where is None else jnp.where(where, losses, 0)), state

    return LossTransform(lambda: (), update)


def _superloss(lam, threshold, decay, tau):
    def fixed():
        if tau is None:
            raise ValueError("config.loss.tau: a constant threshold needs a number, got None")
        return constant(tau)

    thresholds: dict[str, Callable[[], Threshold]] = {
        "ema": lambda: ema(decay),
        "running_mean": running_mean,
        "constant": fixed,
    }
    return superloss(lam=lam, threshold=choose("config.loss.threshold", threshold, thresholds)())


METHODS: dict[str, Callable[..., LossTransform]] = {
    "cross_entropy": _cross_entropy,
    "superloss": _superloss,
}


def create(method: str, *, lam: float, decay: float, **hyper) -> LossTransform:
    # Whether or not the method reads them: they are part of what the results are said to be of.
    positive("config.loss.lam", lam)
    if not 0 <= decay < 1:
        raise ValueError(f"config.loss.decay: expected a number in [0, 1), got {decay!r}")
    return choose("config.loss.method", method, METHODS)(lam=lam, decay=decay, **hyper)
