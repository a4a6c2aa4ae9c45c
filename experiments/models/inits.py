"""Initial parameters other than Flax's."""

import math
import zlib
from collections.abc import Callable

import jax
import jax.numpy as jnp


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
