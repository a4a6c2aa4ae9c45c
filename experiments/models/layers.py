"""Layers that the networks share."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp

from experiments.models import cpu


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
