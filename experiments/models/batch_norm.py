"""Batch normalisation that ignores padding."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jax import lax


class BatchNorm(nn.Module):
    """BatchNorm for images that ignores padding and can normalise in groups.

    Statistics are computed over the whole batch, across all devices. With `groups`, the batch is
    split into that many equal parts, each normalised on its own, as on devices that do not
    synchronise their statistics.

    Sergey Ioffe, Christian Szegedy, "Batch Normalization: Accelerating Deep Network Training by
    Reducing Internal Covariate Shift", ICML 2015.
    """

    groups: int = 1
    momentum: float = 0.9  # weight of the old average; PyTorch's 0.1 weights the new value
    epsilon: float = 1e-5
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x, train: bool, mask=None):
        shape, channels = x.shape, x.shape[-1]
        scale = self.param("scale", nn.initializers.ones_init(), (channels,))
        bias = self.param("bias", nn.initializers.zeros_init(), (channels,))
        old_mean = self.variable("batch_stats", "mean", jnp.zeros, (channels,))
        old_var = self.variable("batch_stats", "var", jnp.ones, (channels,))
        if not train:
            values, mean, var = x[None], old_mean.value[None], old_var.value[None]
        else:
            values = x.reshape(self.groups, -1, *shape[1:])
            over = tuple(range(1, values.ndim - 1))
            where = None
            if mask is not None:
                where = mask.reshape(self.groups, -1, *(1,) * (values.ndim - 2))
            # At least float32. The means of x and x^2 can be computed in one pass.
            wide = values.astype(jnp.promote_types(values.dtype, jnp.float32))
            here = jnp.ones((self.groups, 1), wide.dtype)
            if where is not None:
                # A group of padding alone must not enter the averages, nor produce NaN.
                here = mask.reshape(self.groups, -1).any(1, keepdims=True).astype(wide.dtype)
                where |= here.reshape(-1, *(1,) * (values.ndim - 1)) == 0
            mean = wide.mean(over, where=where)
            var = jnp.maximum((wide * wide).mean(over, where=where) - mean * mean, 0)
            if not self.is_initializing():
                keep = self.momentum
                new_mean, new_var = ((v * here).sum(0) / here.sum() for v in (mean, var))
                old_mean.value = keep * old_mean.value + (1 - keep) * new_mean
                old_var.value = keep * old_var.value + (1 - keep) * new_var
        factor = lax.rsqrt(var + self.epsilon) * scale[None]
        shift = bias[None] - mean * factor
        factor, shift = (
            v.reshape(-1, *(1,) * (values.ndim - 2), channels) for v in (factor, shift)
        )
        return (values * factor + shift).astype(self.dtype).reshape(shape)
