"""Curricula, which weigh an example by its loss and the progress of training.

`update` needs losses and a state in time: a step count, or a moving average of the losses. These
transforms remember no single example.

A method that picks weights by minimising an objective over them returns that minimum. Its
derivative by the loss is then the weight itself.
"""

from superloss_jax._generalized_cross_entropy import truncated_gce
from superloss_jax._mentornet import MentorNetState, mentornet
from superloss_jax._self_paced import self_paced
from superloss_jax._trimmed import trimmed

__all__ = ["MentorNetState", "mentornet", "self_paced", "trimmed", "truncated_gce"]
