"""Embeddings: the outputs of a network as directions, and proxies of the training classes."""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp


class Embedded(NamedTuple):
    embeddings: jax.Array  # (B, dim), of length 1
    logits: Any  # (B, classes), or () without proxies


class Embedding(nn.Module):
    """Normalises the outputs of `network`.

    With proxies, logits are the cosines of an image with each class's proxy over `temperature`, as
    in Andrew Zhai, Hao-Yu Wu, "Classification is a Strong Baseline for Deep Metric Learning", BMVC
    2019.
    """

    network: nn.Module
    dim: int
    proxies: int = 0
    temperature: float = 0.05

    @nn.compact
    def __call__(self, x, train: bool, mask=None):
        embeddings = normalised(self.network(x, train, mask))
        if not self.proxies:
            return Embedded(embeddings, ())
        shape = (self.proxies, self.dim)
        proxies = normalised(self.param("proxies", nn.initializers.normal(1.0), shape))
        return Embedded(
            embeddings, embeddings @ proxies.T.astype(embeddings.dtype) / self.temperature
        )


def normalised(x):
    """Divides rows by their lengths. The gradient of a row of zeros is 0, not NaN."""
    square = jnp.sum(x**2, axis=-1, keepdims=True)
    return x * jax.lax.rsqrt(jnp.maximum(square, 1e-12))
