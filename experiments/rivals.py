"""What people use for Lambert's W without this library; for the benchmark and the figures."""

import jax.numpy as jnp
import numpy as np


def halley(z, steps=2):
    """A start from the branch point or from the logarithm, and Halley steps."""
    near = jnp.sqrt(jnp.maximum(2 * (1 + np.e * z), 0)) - 1
    w = jnp.where(z < 1, near, jnp.log1p(jnp.maximum(z, 0)))
    for _ in range(steps):
        e = jnp.exp(w)
        f = w * e - z
        w = w - f / (e * (w + 1) - (w + 2) * f / (2 * w + 2 + 1e-8))
    return w
