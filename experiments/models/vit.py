"""A vision transformer for small images."""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from experiments.models.layers import classify


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
