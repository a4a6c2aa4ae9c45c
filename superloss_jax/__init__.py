"""SuperLoss for JAX: train on labels that are partly wrong."""

from superloss_jax import noise
from superloss_jax._base import LossTransform
from superloss_jax._lambertw import lambertw
from superloss_jax._superloss import closed_form, superloss
from superloss_jax._thresholds import SuperLossState, Threshold, constant, ema, running_mean

__version__ = "0.1.0"

__all__ = [
    "LossTransform",
    "SuperLossState",
    "Threshold",
    "closed_form",
    "constant",
    "ema",
    "lambertw",
    "noise",
    "running_mean",
    "superloss",
]
