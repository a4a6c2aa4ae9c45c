"""Flax Linen models. They take images that are already normalised and return logits.

`mask` is False for padding, which BatchNorm must ignore. `dtype` is used for the arithmetic;
parameters and statistics are float32, and logits are at least float32. Widths and depths follow
the papers.
"""

import functools
import math
import zlib
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from experiments.checks import choose, within
from experiments.models import cpu
from experiments.models.batch_norm import BatchNorm
from experiments.models.sides import check_sides


def _conv(*args, **kwargs):
    """Our fast convolution on CPU; elsewhere JAX's, whose gradients vendor libraries support."""
    form = cpu.conv if jax.default_backend() == "cpu" else jax.lax.conv_general_dilated
    return form(*args, **kwargs)


Conv = functools.partial(nn.Conv, conv_general_dilated=_conv)
he_normal = nn.initializers.variance_scaling(2.0, "fan_out", "normal")


def classify(model, x):
    """Adds the last layer inside `model`; returns logits in at least float32."""
    logits = nn.Dense(model.num_classes, dtype=model.dtype)(x)
    return logits.astype(jnp.promote_types(model.dtype, jnp.float32))


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


class ViT(nn.Module):
    """Alexey Dosovitskiy et al., "An Image is Worth 16x16 Words", ICLR 2021; 4x4 patches."""

    num_classes: int
    width: int = 192
    depth: int = 12
    heads: int = 3
    mlp: int = 768
    qkv_bias: bool = True
    positions_init: Any = nn.initializers.normal(0.02)
    dropout: float = 0.0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x, train: bool, mask=None):
        b, h, w, c = x.shape
        x = x.reshape(b, h // 4, 4, w // 4, 4, c).transpose(0, 1, 3, 2, 4, 5)
        dense = functools.partial(nn.Dense, dtype=self.dtype)
        norm = functools.partial(nn.LayerNorm, dtype=self.dtype, epsilon=1e-5)
        drop = nn.Dropout(self.dropout, deterministic=not train)
        x = dense(self.width)(x.reshape(b, h * w // 16, 16 * c))
        token = self.param("class_token", self.positions_init, (1, 1, self.width))
        tokens = jnp.broadcast_to(token, (b, 1, self.width)).astype(x.dtype)
        x = jnp.concatenate([tokens, x], axis=1)
        positions = self.param("positions", self.positions_init, (1, x.shape[1], self.width))
        x = drop(x + positions.astype(x.dtype))
        for _ in range(self.depth):
            y = dense(3 * self.width, use_bias=self.qkv_bias)(norm()(x))
            y = y.reshape(b, -1, 3 * self.heads, self.width // self.heads)
            q, k, v = jnp.split(y, 3, axis=2)
            y = jax.nn.dot_product_attention(q, k, v).reshape(x.shape)
            x = x + drop(dense(self.width)(y))
            y = drop(nn.gelu(dense(self.mlp)(norm()(x)), approximate=False))
            x = x + drop(dense(self.width)(y))
        return classify(self, norm()(x[:, 0]))


class Networks(nn.Module):
    """Several copies of a model with separate parameters; logits are (networks, B, classes).

    They run one after another, because vmap would turn their convolutions into grouped ones.
    """

    model: nn.Module
    number: int

    @nn.compact
    def __call__(self, x, train: bool, mask=None):
        copies = [self.model.clone(name=f"network_{i}", parent=self) for i in range(self.number)]
        return jnp.stack([copy(x, train, mask) for copy in copies])


preact = functools.partial(ResNet, preact=True)
MODELS = {
    "mlp": MLP,
    "lenet": LeNet,
    "convnet": ConvNet,
    "convnet_small": ConvNetSmall,
    "convnet_tiny": functools.partial(ConvNetSmall, widths=(8, 16, 32, 128)),
    "resnet18": ResNet,
    "resnet34": functools.partial(ResNet, depths=(3, 4, 6, 3)),
    "preact_resnet18": preact,
    "wrn28_2": functools.partial(
        preact, depths=(4, 4, 4), widths=(32, 64, 128), stem=16, final_norm=True
    ),
    "wrn28_10": functools.partial(
        preact, depths=(4, 4, 4), widths=(160, 320, 640), stem=16, final_norm=True
    ),
    "vit_tiny": ViT,
    "vit_curbench": functools.partial(
        ViT, width=512, depth=6, heads=8, mlp=512, qkv_bias=False, dropout=0.1,
        positions_init=nn.initializers.normal(1.0),
    ),
}  # fmt: skip


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
    model = choose("config.model.name", name, MODELS)
    choose("config.model.init", init, INITS)
    choices: dict[str, Any] = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}
    model = model(num_classes, dtype=choose("config.model.dtype", dtype, choices))
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


def torch_init(params, key):
    """PyTorch's default: a layer's weights and biases are uniform in +-1 / sqrt(fan_in)."""

    def layer(path, module):
        if not isinstance(module, dict):
            return module
        if "kernel" not in module:
            return {name: layer(f"{path}/{name}", child) for name, child in module.items()}
        bound = math.prod(module["kernel"].shape[:-1]) ** -0.5
        drawn = {}
        for name, old in module.items():
            # The key depends on the name, so that a layer's values do not depend on other layers.
            own = jax.random.fold_in(key, zlib.crc32(f"{path}/{name}".encode()))
            drawn[name] = jax.random.uniform(own, old.shape, jnp.float32, -bound, bound)
        return drawn

    return layer("", params)


INITS: dict[str, Callable] = {"flax": lambda params, key: params, "torch": torch_init}
