"""Parts of a user's own, which a config names as "tests.program.own_parts:NAME"."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from superloss_jax import LossTransform


class Linear(nn.Module):
    """A model: images of shape (batch, height, width, channels) in, logits out."""

    num_classes: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x, train: bool, mask=None):
        return nn.Dense(self.num_classes, dtype=self.dtype)(x.reshape(x.shape[0], -1))


def stripes(data_dir):
    """A data set: horizontal and vertical stripes, four labels of them wrong."""
    rng = np.random.default_rng(0)
    upright = rng.random(200) < 0.5
    rows = np.where(np.arange(8) % 2, 200, 50).astype(np.uint8)
    images = np.where(upright[:, None, None], rows[None, None, :], rows[None, :, None])
    clean = np.where(upright, "upright", "flat")
    labels = clean.copy()
    labels[:4] = np.where(upright[:4], "flat", "upright")
    return {"images": images, "labels": labels, "clean_labels": clean,
            "test_images": images[100:], "test_labels": clean[100:]}  # fmt: skip


def halved(facts):
    """A method: examples with even positions count by half."""

    def update(losses, state, *, where=None, index=None, **extra):
        weighted = jnp.where(index % 2, losses, losses / 2)
        return (weighted if where is None else jnp.where(where, weighted, 0)), state

    return LossTransform(lambda: (), update)


def nothing(*args):
    return None
