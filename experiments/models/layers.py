"""Layers that the networks share."""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from experiments.checks import choose
from experiments.models import cpu


def _conv(*args, **kwargs):
    """Our fast convolution on CPU; elsewhere JAX's, whose gradients vendor libraries support."""
    form = cpu.conv if jax.default_backend() == "cpu" else jax.lax.conv_general_dilated
    return form(*args, **kwargs)


Conv = functools.partial(nn.Conv, conv_general_dilated=_conv)
he_normal = nn.initializers.variance_scaling(2.0, "fan_out", "normal")


def dtype_of(name: str) -> Any:
    """Returns the dtype of `config.model.dtype`."""
    choices: dict[str, Any] = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}
    return choose("config.model.dtype", name, choices)


def classify(model, x):
    """Adds the last layer inside `model`; returns logits in at least float32."""
    logits = nn.Dense(model.num_classes, dtype=model.dtype)(x)
    return logits.astype(jnp.promote_types(model.dtype, jnp.float32))
