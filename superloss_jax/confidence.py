"""Confidence-aware losses, plain functions of an input and a confidence sigma.

Each is steep in its input where sigma is large and flat where sigma is small. A network that
learns sigma along with its weights can ignore what it cannot fit. SuperLoss needs no learned
sigma: it minimises `superloss_objective` over sigma for every sample, in closed form.

Half precision is computed in float32, and results have the dtype of the first argument.
"""

from superloss_jax._confidence import (
    confidence_cross_entropy,
    introspection,
    reliability,
    superloss_objective,
)

__all__ = ["confidence_cross_entropy", "introspection", "reliability", "superloss_objective"]
