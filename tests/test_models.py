"""The models against their plain definitions and published sizes."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import models


@pytest.mark.parametrize(
    ("name", "shape", "num_params"),
    [
        ("mlp", (8, 8, 1), 64 * 256 + 256 + 256 * 256 + 256 + 256 * 10 + 10),
        ("lenet", (32, 32, 3), 62_006),
    ],
)
def test_number_of_parameters(name, shape, num_params):
    model = models.create(name, 10, shape)
    variables = jax.eval_shape(lambda: model.init(jax.random.key(0), jnp.zeros((1, *shape)), False))
    assert sum(leaf.size for leaf in jax.tree.leaves(variables)) == num_params


def test_max_pool():
    x = jax.random.normal(jax.random.key(0), (2, 6, 8, 3))
    np.testing.assert_array_equal(models.max_pool(x), nn.max_pool(x, (2, 2), strides=(2, 2)))


def test_lenet_needs_room():
    with pytest.raises(ValueError, match=r"at least 16x16, got \(8, 8, 1\)"):
        models.create("lenet", 10, (8, 8, 1))
