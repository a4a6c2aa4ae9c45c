"""The confidence-aware losses against 40 digits, their limits, and properties from the papers."""

import functools

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

from superloss_jax import closed_form
from superloss_jax.confidence import (
    confidence_cross_entropy,
    introspection,
    reliability,
    superloss_objective,
)
from tests.library.reference import exact


@functools.cache
def with_slopes(f, number):
    def both(*args):
        grads = jax.grad(lambda *a: f(*a).sum(), argnums=tuple(range(number)))(*args)
        return f(*args), *grads

    return jax.jit(both)


def slopes(f, *args):
    """Returns values and elementwise derivatives by each argument, as NumPy arrays."""
    return jax.device_get(with_slopes(f, len(args))(*args))


compiled = functools.cache(jax.jit)


def exact_introspection(loss, sigma):
    """(L, dL/dl, dL/dsigma) as the paper writes L, with its limit at 0."""
    loss, sigma = exact(loss), exact(sigma)
    if sigma == 0:
        return mpmath.mpf(0), mpmath.mpf(0), loss - mpmath.mpf(1) / 2
    value = sigma * (loss - 1) + mpmath.log(mpmath.expm1(sigma) / sigma)
    slope = loss - 1 + mpmath.exp(sigma) / mpmath.expm1(sigma) - 1 / sigma
    return value, sigma, slope


SIGMAS = [0.0, 1e-30, 1e-6, 1e-3, 0.1, 0.49999, 0.5, 0.50001, 1.0, 6.0, 40.0, 100.0, 1e4, 1e8]


def test_introspection_and_its_gradients_to_the_last_digits():
    sigma = jnp.array([*SIGMAS, *(-s for s in SIGMAS)])
    for loss in (0.0, 0.25, 1.0):
        got = np.asarray(slopes(introspection, jnp.full(len(sigma), loss), sigma), np.float64)
        eps = float(np.finfo(sigma.dtype).eps)
        for *values, s in zip(*got, np.asarray(sigma, np.float64), strict=True):
            with mpmath.workdps(100):  # the formula cancels at 1e-30
                expected = exact_introspection(loss, s)
            # The tolerance is absolute where large terms cancel: the value for l near 1/2, and the
            # slope in sigma for sigma near 0.
            sizes = min(abs(s), 1), 0, 1 / max(abs(s), 1)
            for value, reference, size in zip(values, expected, sizes, strict=True):
                assert abs(value - reference) <= 8 * eps * (abs(reference) + size), (loss, s)


def test_introspection_s_second_derivative_is_finite_and_positive():
    """The slope in sigma rises: each l < 1/2 has one best confidence."""
    sigma = jnp.array([0.0, 1e-4, 0.3, 0.499, 0.501, 2.0, 30.0])
    curvature = jax.jit(jax.vmap(jax.hessian(introspection, argnums=1), (None, 0)))(0.2, sigma)
    s = np.asarray(sigma[1:], np.float64)
    np.testing.assert_allclose(curvature[0], 1 / 12, rtol=1e-5)
    # 1/s^2 - 1/(4 sinh(s/2)^2) cancels in float64 too, by 1e-8 * 1e-16 at the smallest.
    np.testing.assert_allclose(curvature[1:], 1 / s**2 - 0.25 / np.sinh(s / 2) ** 2, rtol=2e-5)


@pytest.mark.parametrize("sigma", [0.0, 1e-3, 0.7, 5.0, 50.0])
def test_introspection_is_minus_the_log_of_a_density(sigma):
    nodes, weights = np.polynomial.legendre.leggauss(64)
    density = np.exp(
        -np.asarray(compiled(introspection)(jnp.array((nodes + 1) / 2), sigma), np.float64)
    )
    np.testing.assert_allclose(weights @ density / 2, 1, rtol=1e-5)


def test_confidence_cross_entropy_is_softmax_of_scaled_logits():
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(6, 4)), rng.integers(0, 4, 6)
    sigma = np.array([0.0, 0.1, 0.5, 1.0, 2.0, 10.0])
    z = sigma[:, None] * logits
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    given = (jnp.array(logits), jnp.array(labels), jnp.array(sigma))
    values = compiled(confidence_cross_entropy)(*given)
    np.testing.assert_allclose(values, -np.log(p[np.arange(6), labels]), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(values[0], np.log(4), rtol=1e-6)
    _, by_logits, by_sigma = slopes(
        lambda z, s: confidence_cross_entropy(z, given[1], s), given[0], given[2]
    )
    residual = p - np.eye(4)[labels]
    np.testing.assert_allclose(by_logits, sigma[:, None] * residual, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(by_sigma, (residual * logits).sum(axis=1), rtol=1e-4, atol=1e-6)


def test_confidence_cross_entropy_broadcasts_and_is_stable():
    logits = jnp.array([[1e4, -1e4], [-1e4, 1e4]])
    sigma = jnp.array([[0.0], [1.0], [100.0]])
    values, *grads = slopes(lambda z, s: confidence_cross_entropy(z, 0, s), logits, sigma)
    expected = [[np.log(2), np.log(2)], [0, 2e4], [0, 2e6]]
    np.testing.assert_allclose(values, expected, rtol=1e-6)
    assert all(np.isfinite(g).all() for g in grads)


def test_reliability_is_r2d2_s():
    precision, sigma = np.meshgrid(np.linspace(0, 1, 5), np.linspace(0, 1, 4))
    for kappa in (0.5, 0.3):
        got = slopes(
            lambda a, s, k=kappa: reliability(a, s, k), jnp.array(precision), jnp.array(sigma)
        )
        # The authors' code: 1 - ap * rel - (1 - rel) * base.
        np.testing.assert_allclose(
            got[0], 1 - precision * sigma - (1 - sigma) * kappa, rtol=1e-6, atol=1e-7
        )
        np.testing.assert_allclose(got[1], -sigma, rtol=1e-6)
        np.testing.assert_allclose(got[2], kappa - precision, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(("tau", "lam"), [(0.0, 1.0), (2.3, 1.0), (2.3, 0.25)])
def test_closed_form_is_the_least_value_of_the_objective(tau, lam):
    losses = jnp.linspace(0.0, 9.0, 7)
    best, sigma = jax.device_get(closed_form(losses, tau, lam))
    at_best, _, by_sigma, _, _ = slopes(superloss_objective, losses, jnp.asarray(sigma), tau, lam)
    np.testing.assert_allclose(at_best, best, rtol=1e-5, atol=1e-6)
    inside = sigma < np.e - 1e-3
    np.testing.assert_allclose(by_sigma[inside], 0, atol=2e-4)
    grid = np.exp(np.linspace(-6.0, 1.0, 400))
    everywhere = np.asarray(compiled(superloss_objective)(losses[:, None], grid, tau, lam))
    assert (everywhere >= best[:, None] - 1e-5).all()
    np.testing.assert_allclose(everywhere.min(axis=1), best, atol=2e-3)


def test_the_objective_is_its_formula():
    losses, sigma = np.array([0.0, 1.0, 7.0]), np.array([0.1, 1.0, 2.5])
    expected = (losses - 2) * sigma + 0.5 * np.log(sigma) ** 2
    values = compiled(superloss_objective)(losses, sigma, jnp.array(2.0), 0.5)
    np.testing.assert_allclose(values, expected, rtol=1e-6)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32])
def test_half_precision_is_computed_in_float32(dtype):
    x, sigma = jnp.array([0.1, 0.6, 0.9], dtype), jnp.array([0.3, 0.7, 0.9], dtype)
    logits = jnp.stack([x, 4 * x], axis=-1)
    results = {
        introspection: (x, sigma),
        reliability: (x, sigma),
        superloss_objective: (x, sigma, jnp.array(0.5, dtype)),
        confidence_cross_entropy: (logits, jnp.array([0, 1, 0]), sigma),
    }
    for f, args in results.items():
        wide = [a.astype(jnp.float32) if jnp.issubdtype(a.dtype, jnp.floating) else a for a in args]
        values = compiled(f)(*args)
        assert values.dtype == dtype
        np.testing.assert_array_equal(values, compiled(f)(*wide).astype(dtype))


def test_shapes_broadcast_under_strict_rank_promotion():
    x, sigma = jnp.ones((2, 3)), jnp.ones(3)
    for f in (introspection, reliability, lambda a, s: superloss_objective(a, s, 1.0)):
        for args in ((x, sigma), (sigma, x), (x, 0.5)):
            assert jax.eval_shape(f, *args).shape == (2, 3)
    logits, labels = jnp.ones((2, 3, 5)), jnp.zeros(3, int)
    args = logits, labels, jnp.ones((7, 1, 1))
    assert jax.eval_shape(confidence_cross_entropy, *args).shape == (7, 2, 3)


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match=r"kappa: expected a number in \[0, 1\], got 2"):
        reliability(jnp.ones(3), 0.5, 2)
    with pytest.raises(ValueError, match="labels: expected integers, got float"):
        confidence_cross_entropy(jnp.ones((3, 2)), jnp.ones(3))
    with pytest.raises(ValueError, match=r"logits: expected shape \(..., classes\), got a scalar"):
        confidence_cross_entropy(1.0, 0)
    with pytest.raises(TypeError, match="sigma: expected real numbers, got complex"):
        introspection(jnp.ones(3), jnp.ones(3, complex))
