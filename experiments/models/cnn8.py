"""The network of eight layers that papers about robust losses share."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from experiments.models import cpu
from experiments.models.batch_norm import BatchNorm
from experiments.models.layers import Conv, classify

he_uniform, xavier_uniform = nn.initializers.he_uniform(), nn.initializers.xavier_uniform()


class CNN8(nn.Module):
    """Six 3x3 convolutions, two at each resolution, and two dense layers, with BatchNorm.

    Xiong Zhou et al., "Asymmetric Loss Functions for Learning with Noisy Labels", ICML 2021, and
    its official code, where biases start at random instead of at 0.
    """

    num_classes: int
    bn_groups: int = 1
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x, train: bool, mask=None):
        def normed(x):
            return nn.relu(BatchNorm(self.bn_groups, dtype=self.dtype)(x, train, mask))

        for features in (64, 128, 196):
            for _ in range(2):
                x = normed(Conv(features, (3, 3), dtype=self.dtype, kernel_init=he_uniform)(x))
            x = cpu.max_pool(x)
        x = x.reshape(x.shape[0], -1)
        x = normed(nn.Dense(256, dtype=self.dtype, kernel_init=xavier_uniform)(x))
        return classify(self, x)
