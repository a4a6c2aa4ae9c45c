"""Flax Linen models. They take images that are already normalised and return logits.

`mask` is False for padding, which BatchNorm must ignore. `dtype` is used for the arithmetic;
parameters and statistics are float32, and logits are at least float32. Widths and depths follow
the papers.
"""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from experiments.checks import choose, within
from experiments.imported import imported, is_own
from experiments.models import cpu
from experiments.models.batch_norm import BatchNorm
from experiments.models.cnn8 import CNN8
from experiments.models.inits import INITS
from experiments.models.layers import Conv, classify, dtype_of, he_normal
from experiments.models.resnet50 import ResNet50
from experiments.models.sides import check_sides, fitting
from experiments.models.vit import ViT


class MLP(nn.Module):
    num_classes: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x, train: bool, mask=None):
        x = x.reshape(x.shape[0], -1)
        for width in (256, 256):
            x = nn.relu(nn.Dense(width, dtype=self.dtype)(x))
        return classify(self, x)


class ConvThenMaxPool(nn.Module):
    """5x5 convolution without padding, 2x2 max pooling, bias; has the parameters of nn.Conv."""

    features: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x):
        shape = (5, 5, x.shape[-1], self.features)
        kernel = self.param("kernel", nn.initializers.lecun_normal(), shape)
        bias = self.param("bias", nn.initializers.zeros_init(), (self.features,))
        pooled = cpu.conv_then_max_pool(x.astype(self.dtype), kernel.astype(self.dtype))
        return pooled + bias.astype(self.dtype).reshape(1, 1, 1, -1)


class LeNet(nn.Module):
    """Two 5x5 convolutions with 6 and 16 channels, then dense layers of 120, 84 and num_classes.

    Yann LeCun et al., "Gradient-Based Learning Applied to Document Recognition", 1998; with ReLU
    and max pooling, as in CurBench.
    """

    num_classes: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x, train: bool, mask=None):
        for i, features in enumerate((6, 16)):
            x = nn.relu(ConvThenMaxPool(features, self.dtype, name=f"Conv_{i}")(x))
        x = x.reshape(x.shape[0], -1)
        for width in (120, 84):
            x = nn.relu(nn.Dense(width, dtype=self.dtype)(x))
        return classify(self, x)


class ConvNet(nn.Module):
    """Six 3x3 convolutions, two at each resolution."""

    num_classes: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x, train: bool, mask=None):
        for features in (32, 64, 128):
            for _ in range(2):
                x = nn.relu(Conv(features, (3, 3), dtype=self.dtype)(x))
            x = cpu.max_pool(x)
        x = x.reshape(x.shape[0], -1)
        return classify(self, x)


class ConvNetSmall(nn.Module):
    """Three strided convolutions: cheap to compute, but large enough to memorise labels."""

    num_classes: int
    dtype: Any = jnp.float32
    widths: tuple[int, ...] = (32, 64, 128, 256)  # the last one of a dense layer

    @nn.compact
    def __call__(self, x, train: bool, mask=None):
        for features in self.widths[:-1]:
            x = nn.relu(Conv(features, (3, 3), strides=(2, 2), dtype=self.dtype)(x))
        x = x.reshape(x.shape[0], -1)
        x = nn.relu(nn.Dense(self.widths[-1], dtype=self.dtype)(x))
        return classify(self, x)


class ConvNetNorm(nn.Module):
    """Three strided convolutions, each with GroupNorm."""

    num_classes: int
    dtype: Any = jnp.float32
    widths: tuple[int, ...] = (16, 32, 64)

    @nn.compact
    def __call__(self, x, train: bool, mask=None):
        for features in self.widths:
            x = Conv(features, (3, 3), strides=(2, 2), dtype=self.dtype)(x)
            x = nn.relu(nn.GroupNorm(8, dtype=self.dtype)(x))
        return classify(self, x.reshape(x.shape[0], -1))


class ResNet(nn.Module):
    """Residual networks of basic blocks, with the stem for 32x32 images.

    Kaiming He et al., "Deep Residual Learning for Image Recognition", CVPR 2016; with `preact`,
    "Identity Mappings in Deep Residual Networks", ECCV 2016; with `width` and `dropout`, Sergey
    Zagoruyko, Nikos Komodakis, "Wide Residual Networks", BMVC 2016.
    """

    num_classes: int
    depths: tuple[int, ...] = (2, 2, 2, 2)
    widths: tuple[int, ...] = (64, 128, 256, 512)
    stem: int = 64
    preact: bool = False
    final_norm: bool = False
    dropout: float = 0.0
    bn_groups: int = 1
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x, train: bool, mask=None):
        conv = functools.partial(
            Conv, use_bias=False, dtype=self.dtype, kernel_init=he_normal, padding=1
        )
        norm = functools.partial(BatchNorm, self.bn_groups, dtype=self.dtype)
        block = preact_block if self.preact else basic_block
        x = conv(self.stem, (3, 3), name="stem")(x)
        if not self.preact:
            x = nn.relu(norm()(x, train, mask))
        for i, (depth, width) in enumerate(zip(self.depths, self.widths, strict=True)):
            for j in range(depth):
                strides = (2, 2) if i and not j else (1, 1)
                drop = nn.Dropout(self.dropout, deterministic=not train)
                x = block(x, width, strides, conv, lambda y: norm()(y, train, mask), drop)
        if self.final_norm:
            x = nn.relu(norm()(x, train, mask))
        x = x.mean(axis=(1, 2))
        return classify(self, x)


def basic_block(x, width, strides, conv, norm, drop):
    y = nn.relu(norm(conv(width, (3, 3), strides=strides)(x)))
    y = norm(conv(width, (3, 3))(y))
    if x.shape != y.shape:
        x = norm(conv(width, (1, 1), strides=strides, padding=0)(x))
    return nn.relu(x + y)


def preact_block(x, width, strides, conv, norm, drop):
    y = nn.relu(norm(x))
    if strides != (1, 1) or x.shape[-1] != width:
        x = conv(width, (1, 1), strides=strides, padding=0)(y)
    y = drop(nn.relu(norm(conv(width, (3, 3), strides=strides)(y))))
    return x + conv(width, (3, 3))(y)


class Networks(nn.Module):
    """Several copies of a model with separate parameters; logits are (networks, B, classes).

    They run one after another, because vmap would turn their convolutions into grouped ones.
    """

    model: nn.Module
    number: int

    @nn.compact
    def __call__(self, x, train: bool, mask=None):
        copies = [self.model.clone(name=f"network_{i}", parent=self) for i in range(self.number)]
        outputs = [copy(x, train, mask) for copy in copies]
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *outputs)


class Views(nn.Module):
    """Networks that see several views of each image, (B, views, ...).

    Logits are (B, views, networks, classes).
    """

    model: nn.Module

    @nn.compact
    def __call__(self, x, train: bool, mask=None):
        images = x.reshape(-1, *x.shape[2:])
        mask = None if mask is None else jnp.repeat(mask, x.shape[1])
        logits = jnp.moveaxis(self.model(images, train, mask), 0, 1)
        return logits.reshape(*x.shape[:2], *logits.shape[1:])


preact = functools.partial(ResNet, preact=True)
MODELS = {
    "mlp": MLP,
    "lenet": LeNet,
    "convnet": ConvNet,
    "convnet_small": ConvNetSmall,
    "convnet_tiny": functools.partial(ConvNetSmall, widths=(8, 16, 32, 128)),
    "convnet_norm": ConvNetNorm,
    "cnn8": CNN8,
    "resnet18": ResNet,
    "resnet34": functools.partial(ResNet, depths=(3, 4, 6, 3)),
    "preact_resnet18": preact,
    "wrn28_2": functools.partial(
        preact, depths=(4, 4, 4), widths=(32, 64, 128), stem=16, final_norm=True
    ),
    "wrn28_10": functools.partial(
        preact, depths=(4, 4, 4), widths=(160, 320, 640), stem=16, final_norm=True
    ),
    "resnet50": ResNet50,
    "resnet50_gem": functools.partial(ResNet50, gem=True),
    "vit_tiny": ViT,
    "vit_curbench": functools.partial(
        ViT, width=512, depth=6, heads=8, mlp=512, qkv_bias=False, dropout=0.1,
        positions_init=nn.initializers.normal(1.0),
    ),
}  # fmt: skip


def check_name(name: str) -> None:
    """Raises ValueError if there is no such model: before data are read, to say so at once."""
    if not is_own(name):
        choose("config.model.name", name, {**MODELS, "auto": fitting})


def make_model(
    name: str,
    num_classes: int,
    image_shape: tuple[int, ...],
    *,
    init: str = "flax",
    dtype: str = "float32",
    dropout: float = -1.0,
    bn_groups: int = 1,
    networks: int = 1,
) -> nn.Module:
    """Builds the model of `config.model`; with dropout -1 it keeps its own dropout rate."""
    name = fitting(image_shape) if name == "auto" else name
    table = {name: imported("config.model.name", name)} if is_own(name) else MODELS
    model = choose("config.model.name", name, table)
    choose("config.model.init", init, INITS)
    kind = dtype_of(dtype)
    try:
        model = model(num_classes=num_classes, dtype=kind)
    except TypeError as error:  # of a user's own
        raise ValueError(f"config.model.name: {name}(num_classes, dtype): {error}") from None
    check_sides(name, image_shape, MODELS)
    if dropout != -1:
        within("config.model.dropout", dropout, 0, 0.99)
        if not hasattr(model, "dropout"):
            raise ValueError(f"config.model.dropout: {name} has none, got {dropout}")
        model = model.clone(dropout=dropout)
    if bn_groups != 1:
        if not hasattr(model, "bn_groups"):
            raise ValueError(f"config.model.bn_groups: {name} has no BatchNorm, got {bn_groups}")
        model = model.clone(bn_groups=bn_groups)
    return model if networks == 1 else Networks(model, networks)
