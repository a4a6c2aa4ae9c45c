"""One-stage detectors without anchors: at each place of a grid, logits of classes, and a box.

A backbone's levels are joined from the coarse to the fine, and the same head looks at each. `L`
places are those of `experiments.tasks.boxes.grid` for the model's strides, in its order.
"""

import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp

from experiments.checks import choose
from experiments.models import resnet50
from experiments.models.batch_norm import BatchNorm
from experiments.models.layers import Conv, dtype_of, he_normal


class Outputs(NamedTuple):
    logits: Any  # (B, L, outputs): of classes, and of the background if there is a softmax
    sides: Any  # (B, L, 4): logarithms of the distances to a box's four sides, in strides


class Small(nn.Module):
    """Strided convolutions down to 1/32, joined up to 1/4 of the image: for a CPU."""

    outputs: int
    prior: float  # of each output of the head at the start, if they are probabilities; 0: none
    widths: Sequence[int] = (32, 64, 96, 128)
    neck: int = 64
    towers: int = 1
    strides: tuple[int, ...] = (4,)
    bn_groups: int = 1
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x, train: bool, mask=None):
        conv = functools.partial(Conv, use_bias=False, dtype=self.dtype, kernel_init=he_normal)

        def block(x, width, kernel=3, strides=1):
            x = conv(width, (kernel, kernel), strides=(strides, strides))(x)
            return nn.relu(BatchNorm(self.bn_groups, dtype=self.dtype)(x, train, mask))

        levels = []
        for i, width in enumerate(self.widths):
            # The first sees squares of 4 x 4 pixels: on a CPU larger images cost most of the time.
            x = block(x, width, strides=2) if i else block(x, width, kernel=4, strides=4)
            levels.append(x)
        x = block(levels[-1], self.neck, 1)
        for level in levels[-2::-1]:
            x = block(level, self.neck, 1) + doubled(x, level.shape)
            x = block(x, self.neck)
        a = b = x
        for _ in range(self.towers):
            a, b = block(a, self.neck), block(b, self.neck)
        return heads([(a, b)], self.outputs, self.prior, self.dtype)


class ResNetFPN(nn.Module):
    """ResNet-50 with a feature pyramid from 1/8 to 1/128 of the image, and FCOS's towers.

    Tsung-Yi Lin et al., "Feature Pyramid Networks for Object Detection", CVPR 2017; Zhi Tian et
    al., "FCOS: Fully Convolutional One-Stage Object Detection", ICCV 2019, without its centre-ness.
    """

    outputs: int
    prior: float
    width: int = 256
    towers: int = 4
    depths: tuple[int, ...] = (3, 4, 6, 3)
    strides: tuple[int, ...] = (8, 16, 32, 64, 128)
    bn_groups: int = 1
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x, train: bool, mask=None):
        conv = functools.partial(Conv, self.width, dtype=self.dtype)
        found = resnet50.stages(x, train, mask, self.bn_groups, self.dtype, self.depths)[1:]
        x = conv((1, 1))(found[-1])
        levels = [conv((3, 3))(x)]
        for level in found[-2::-1]:
            x = conv((1, 1))(level) + doubled(x, level.shape)
            levels.insert(0, conv((3, 3))(x))
        for _ in range(2):
            levels.append(conv((3, 3), strides=(2, 2))(nn.relu(levels[-1])))
        both = []
        for _ in ("classes", "sides"):
            tower = levels
            for _ in range(self.towers):  # one layer for all levels
                layer, norm = conv((3, 3), use_bias=False), nn.GroupNorm(32, dtype=self.dtype)
                tower = [nn.relu(norm(layer(x))) for x in tower]
            both.append(tower)
        return heads([*zip(*both, strict=True)], self.outputs, self.prior, self.dtype)


def doubled(x, shape):
    """Repeats each pixel in both directions, and cuts off what is beyond `shape`."""
    for axis in (1, 2):
        x = jnp.repeat(x, 2, axis=axis)
    return x[:, : shape[1], : shape[2]]


def heads(levels, outputs: int, prior: float, dtype) -> Outputs:
    """Adds the last layers, shared by all levels, inside a module; returns at least float32.

    `levels` are pairs of features, of which the last classes and the last sides are made.
    """
    start = -math.log((1 - prior) / prior) if prior else 0.0
    classes = Conv(outputs, (1, 1), dtype=dtype, bias_init=nn.initializers.constant(start))
    sides = Conv(4, (1, 1), dtype=dtype, kernel_init=nn.initializers.normal(0.01))
    wide = jnp.promote_types(dtype, jnp.float32)

    def joined(head, features):
        found = [head(x) for x in features]
        return jnp.concatenate([x.reshape(len(x), -1, x.shape[-1]) for x in found], 1).astype(wide)

    return Outputs(*map(joined, (classes, sides), zip(*levels, strict=True)))


DETECTORS = {"detector_small": Small, "detector_resnet50_fpn": ResNetFPN}


def make_detector(
    name: str, *, outputs: int, prior: float, dtype: str = "float32", bn_groups: int = 1
) -> Any:
    """Builds the detector of `config.model`."""
    model = choose("config.model.name", name, DETECTORS)
    return model(outputs, prior, dtype=dtype_of(dtype), bn_groups=bn_groups)
