"""Curricula, which weigh an example by its loss and the progress of training.

`update` needs losses and a state in time: a step count, a moving average, the last losses. These
transforms know no example again.

A method that picks weights by minimising an objective over them returns that minimum. Its
derivative by the loss is then the weight itself.
"""

from superloss_jax._dynamics_aware import dynamics_aware
from superloss_jax._generalized_cross_entropy import truncated_gce
from superloss_jax._learned_mentornet import (
    MentorNetParams,
    learned_mentornet,
    mentornet_logits,
)
from superloss_jax._mentornet import MentorNetState, mentornet
from superloss_jax._optimized_clipping import OptimizedClippingState, optimized_clipping
from superloss_jax._self_paced import self_paced
from superloss_jax._trimmed import trimmed

__all__ = [
    "MentorNetParams",
    "MentorNetState",
    "OptimizedClippingState",
    "dynamics_aware",
    "learned_mentornet",
    "mentornet",
    "mentornet_logits",
    "optimized_clipping",
    "self_paced",
    "trimmed",
    "truncated_gce",
]
