"""SuperLoss for JAX: train on labels that are partly wrong."""

from superloss_jax import confidence, curricula, memory, noise, pairs, robust
from superloss_jax._base import LossTransform, Schedule, chain
from superloss_jax._lambertw import lambertw
from superloss_jax._superloss import closed_form, superloss
from superloss_jax._thresholds import (
    SuperLossState,
    Threshold,
    constant,
    ema,
    per_class,
    running_mean,
    windowed,
)

__version__ = "0.1.0"

__all__ = [
    "LossTransform",
    "Schedule",
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
