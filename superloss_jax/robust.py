"""Robust losses, on which wrong labels pull less.

`update` needs losses, or logits and labels. These transforms remember no examples and have no
state in time: their state is `()`.

`cauchy` takes losses of any kind. The others that need nothing but `losses` expect cross
entropies, from which they have the probability of the label, `p = exp(-l)`. Those that need
`logits` and `labels` take only shape and dtype from `losses`: in a `chain` they come first.
"""

from superloss_jax._active_passive import active_passive
from superloss_jax._bootstrap import bootstrap
from superloss_jax._cauchy import cauchy
from superloss_jax._corrections import backward_correction, forward_correction
from superloss_jax._focal import focal
from superloss_jax._generalized_cross_entropy import generalized_cross_entropy
from superloss_jax._symmetric_cross_entropy import symmetric_cross_entropy

__all__ = [
    "active_passive",
    "backward_correction",
    "bootstrap",
    "cauchy",
    "focal",
    "forward_correction",
    "generalized_cross_entropy",
    "symmetric_cross_entropy",
]
