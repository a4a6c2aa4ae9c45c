"""Rows of examples: read, written, and averaged over repeats."""

import jax
import jax.numpy as jnp
import numpy as np

from superloss_jax import _examples

mean_over_repeats = jax.jit(_examples.mean_over_repeats)


def test_mean_over_repeats_is_numpy_s_mean_of_each_group():
    rng = np.random.default_rng(0)
    index, where = rng.integers(0, 6, 40), rng.random(40) < 0.7
    values = rng.normal(size=(40, 3)).astype(np.float32)
    means = np.asarray(mean_over_repeats(values, index, where))
    for i in np.unique(index):
        group = (index == i) & where
        for row in means[group]:
            np.testing.assert_allclose(row, values[group].mean(axis=0), rtol=1e-5, atol=1e-6)


def test_an_example_that_comes_once_keeps_its_bits():
    values = jnp.array([0.1, 0.2, 0.3])
    means = mean_over_repeats(values, jnp.array([5, 0, 9]), jnp.array([True] * 3))
    assert means.tolist() == values.tolist()


def test_masked_rows_are_not_written():
    index, where = jnp.array([1, 0]), jnp.array([True, False])
    memory = jax.jit(_examples.write)(jnp.zeros(3), index, where, jnp.array([1.0, 2.0]))
    assert memory.tolist() == [0.0, 1.0, 0.0]
