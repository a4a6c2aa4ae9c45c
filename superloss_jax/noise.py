"""Label noise: transition matrices and labels drawn through them, and wrong targets of regression.

One key gives the same labels on every platform, whatever `jax_enable_x64` and
`jax_threefry_partitionable` say.
"""

from superloss_jax._noisy_labels import corrupt_labels, instance_dependent_labels, permute_labels
from superloss_jax._noisy_targets import permute_targets, uniform_targets
from superloss_jax._transition_matrix import (
    CIFAR10_FLIPS,
    CIFAR100_BLOCK_FLIPS,
    CIFAR100_FLIPS,
    KINDS,
    transition_matrix,
)

__all__ = [
    "CIFAR10_FLIPS",
    "CIFAR100_BLOCK_FLIPS",
    "CIFAR100_FLIPS",
    "KINDS",
    "corrupt_labels",
    "instance_dependent_labels",
    "permute_labels",
    "permute_targets",
    "transition_matrix",
    "uniform_targets",
]
