"""ResNet-50 for photographs, with mean pooling or GeM.

Kaiming He et al., "Deep Residual Learning for Image Recognition", CVPR 2016; the stride is in a
block's 3x3 convolution.
"""

import functools
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from experiments.models.batch_norm import BatchNorm
from experiments.models.layers import Conv, classify, he_normal


def stages(x, train: bool, mask, bn_groups: int, dtype, depths=(3, 4, 6, 3)) -> list:
    """Adds the convolutions inside a model; returns the features at strides 4, 8, 16 and 32."""
    conv = functools.partial(Conv, use_bias=False, dtype=dtype, kernel_init=he_normal)

    def norm(x):
        return BatchNorm(bn_groups, dtype=dtype)(x, train, mask)

    x = conv(64, (7, 7), strides=(2, 2), padding=3)(x)
    x = nn.max_pool(nn.relu(norm(x)), (3, 3), (2, 2), ((1, 1), (1, 1)))
    found = []
    for i, depth in enumerate(depths):
        for j in range(depth):
            x = bottleneck(x, 64 * 2**i, (2, 2) if i and not j else (1, 1), conv, norm)
        found.append(x)
    return found


def bottleneck(x, width: int, strides, conv, norm):
    y = nn.relu(norm(conv(width, (1, 1))(x)))
    y = nn.relu(norm(conv(width, (3, 3), strides=strides, padding=1)(y)))
    y = norm(conv(4 * width, (1, 1))(y))
    if x.shape != y.shape:
        x = norm(conv(4 * width, (1, 1), strides=strides)(x))
    return nn.relu(x + y)


class ResNet50(nn.Module):
    num_classes: int
    gem: bool = False
    bn_groups: int = 1
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x, train: bool, mask=None):
        x = stages(x, train, mask, self.bn_groups, self.dtype)[-1]
        if not self.gem:
            return classify(self, x.mean(axis=(1, 2)))
        power = self.param("power", nn.initializers.constant(3.0), ())
        return classify(self, generalized_mean(x, power.astype(x.dtype)))


def generalized_mean(x, power):
    """GeM pooling, (mean of x^p over the places)^(1 / p): p = 1 is the mean, infinity the maximum.

    Filip Radenovic, Giorgos Tolias, Ondrej Chum, "Fine-Tuning CNN Image Retrieval with No Human
    Annotation", TPAMI 2019.
    """
    return jnp.mean(jnp.maximum(x, 1e-6) ** power, axis=(1, 2)) ** (1 / power)
