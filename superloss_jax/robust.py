"""Robust losses, on which wrong labels pull less.

`update` needs losses, or logits and labels. These transforms remember no examples and have no
state in time: their state is `()`.

`cauchy` takes losses of any kind. The others that need nothing but `losses` expect cross
entropies, from which they have the probability of the label, `p = exp(-l)`. Those that need
`logits` and `labels` take only shape and dtype from `losses`: in a `chain` they come first.
"""

from superloss_jax._active_negative import active_negative
from superloss_jax._active_passive import active_passive
from superloss_jax._asymmetric import (
    asymmetric_exponential,
    asymmetric_gce,
    asymmetric_unhinged,
)
from superloss_jax._bootstrap import bootstrap
from superloss_jax._cauchy import cauchy
from superloss_jax._corrections import backward_correction, forward_correction
from superloss_jax._epsilon_softmax import epsilon_softmax
from superloss_jax._focal import focal
from superloss_jax._generalized_cross_entropy import generalized_cross_entropy
from superloss_jax._joint_asymmetric import joint_asymmetric
from superloss_jax._label_smoothing import label_smoothing
from superloss_jax._logit_adjustment import logit_adjustment
from superloss_jax._logit_clip import logit_clip
from superloss_jax._symmetric_cross_entropy import symmetric_cross_entropy

__all__ = [
    "active_negative",
    "active_passive",
    "asymmetric_exponential",
    "asymmetric_gce",
    "asymmetric_unhinged",
    "backward_correction",
    "bootstrap",
    "cauchy",
    "epsilon_softmax",
    "focal",
    "forward_correction",
    "generalized_cross_entropy",
    "joint_asymmetric",
    "label_smoothing",
    "logit_adjustment",
    "logit_clip",
    "symmetric_cross_entropy",
]
