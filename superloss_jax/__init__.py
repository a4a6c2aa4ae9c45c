"""SuperLoss for JAX: train on labels that are partly wrong.

A loss transform stands between per-example losses and their mean:

    transform = superloss(lam=1.0)
    state = transform.init()
    values, state = transform.update(losses, state)       # then values.mean()

Here stand SuperLoss and what it is made of:

    superloss                                   the loss transform
    ema, running_mean, windowed, constant,      thresholds: where tau comes from
      per_class
    closed_form                                 value and sigma for a given tau
    lambertw                                    the function that it needs
    chain                                       several transforms, one after the other

Its rivals stand in four modules, by what `update` needs:

    robust       losses, or logits and labels; no memory of examples, no state in time
    curricula    a state in time: a step count, a moving average
    memory       a state per example or per class, found by `index` or `labels`
    pairs        two networks

Two modules have plain functions:

    confidence   losses that are given a confidence
    noise        wrong labels, drawn

The types are LossTransform, Threshold, SuperLossState, StepState and Schedule.
"""

from superloss_jax import confidence, curricula, memory, noise, pairs, robust
from superloss_jax._base import LossTransform, chain
from superloss_jax._checks import Schedule
from superloss_jax._lambertw import lambertw
from superloss_jax._states import StepState
from superloss_jax._superloss import closed_form, superloss
from superloss_jax._thresholds import constant, ema, per_class, running_mean, windowed
from superloss_jax._thresholds_base import SuperLossState, Threshold

__version__ = "0.1.0"

__all__ = [
    "LossTransform",
    "Schedule",
    "StepState",
    "SuperLossState",
    "Threshold",
    "chain",
    "closed_form",
    "confidence",
    "constant",
    "curricula",
    "ema",
    "lambertw",
    "memory",
    "noise",
    "pairs",
    "per_class",
    "robust",
    "running_mean",
    "superloss",
    "windowed",
]
