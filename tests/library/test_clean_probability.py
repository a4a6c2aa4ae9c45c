"""DivideMix's probability that a label is right, against scikit-learn's mixture."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.mixture import GaussianMixture

from superloss_jax.memory import clean_probability
from tests.library.test_optimized_clipping import mixed, two_means

SIZE = 64
compiled = jax.jit(clean_probability)  # once for all: everything is padded to the same size


def found_of(losses):
    """Returns the probabilities of losses, with masked ones between them that must not matter."""
    where = np.arange(SIZE + 20) % 4 != 1
    where &= where.cumsum() <= len(losses)
    filled = np.where(np.arange(len(where)) % 2 == 0, -np.inf, np.nan)
    filled[where] = losses
    found = np.asarray(compiled(jnp.asarray(filled, jnp.float32), where=where))
    assert (found[~where] == 1).all()
    return found[where]


def reference(losses):
    """The official code's fit, started at the two clusters of least squares."""
    scaled = (losses - losses.min()) / (losses.max() - losses.min())
    parts = two_means(scaled)
    gmm = GaussianMixture(
        2, max_iter=10, tol=1e-2, reg_covar=5e-4, means_init=[[part.mean()] for part in parts],
        weights_init=[len(part) / len(scaled) for part in parts],
        precisions_init=[[[1 / (part.var() + 5e-4)]] for part in parts],
    )  # fmt: skip
    gmm.fit(scaled[:, None])
    return gmm.predict_proba(scaled[:, None])[:, gmm.means_.argmin()]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.filterwarnings("ignore:Best performing initialization did not converge")
def test_it_is_scikit_learns(seed):
    losses = mixed(seed, SIZE - 4)
    expected = reference(losses)
    assert 0.2 < (expected > 0.5).mean() < 0.95
    np.testing.assert_allclose(found_of(losses), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        ([], []),
        ([2.0], [1]),
        ([2.0, 2.0, 2.0], [1, 1, 1]),
        ([0.0, 8.0], [1, 0]),
        ([1.0, np.nan, 0.0], [np.nan] * 3),
        ([0.1, 0.2, 1e30], [1, 1, 0]),
    ],
)
def test_edges(losses, expected):
    np.testing.assert_allclose(found_of(losses), expected, atol=1e-6)


def test_shape_and_dtype_are_those_of_the_losses():
    given = jax.ShapeDtypeStruct((4, 3), jnp.bfloat16)
    found = jax.eval_shape(clean_probability, given)
    assert (found.shape, found.dtype) == (given.shape, given.dtype)


@pytest.mark.parametrize(
    ("losses", "where", "error", "message"),
    [
        (
            1.0,
            None,
            ValueError,
            "losses: expected per-example losses, not their mean, got a scalar",
        ),
        (np.arange(3), None, ValueError, "losses: expected .* a real floating dtype, got int"),
        (np.ones(0), None, ValueError, "losses: expected at least one loss"),
        (None, None, TypeError, "losses: expected an array, got NoneType"),
        (np.ones(3), np.ones(3), ValueError, "where: expected a boolean mask"),
        (np.ones(3), np.ones(2, bool), ValueError, "where: "),
    ],
)
def test_mistakes(losses, where, error, message):
    with pytest.raises(error, match=message) as found:
        clean_probability(losses, where=where)
    assert "\n" not in str(found.value)
