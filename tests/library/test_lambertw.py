"""lambertw against mpmath, at the edges, and differentiated."""

import re

import jax
import jax.export
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from jax.test_util import check_grads

from superloss_jax import lambertw
from tests.library import reference

X64 = jax.config.jax_enable_x64
DTYPES = [np.float32, np.float64] if X64 else [np.float32]
BRANCH = -np.exp(-1)
slopes_of = jax.jit(jax.vmap(jax.grad(lambertw)))


def points(dtype):
    """Points on both sides of every seam, next to the branch point and over the whole range."""
    eps, largest = np.finfo(dtype).eps, np.finfo(dtype).max
    first = dtype(BRANCH) + dtype(0)
    neighbours = [first := np.nextafter(first, dtype(0)) for _ in range(20)]
    near = BRANCH * (1 - np.geomspace(4 * eps, 0.9, 100))
    seams = [s * (1 + k * eps) for s in (0.125, 0.4, 3.0) for k in (-2, -1, 0, 1, 2)]
    positive = np.geomspace(1e-30, float(largest) * 0.99, 200)
    return np.array([*neighbours, *near, *-np.geomspace(1e-30, 0.1, 30), *seams, *positive], dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("op_by_op", [False, True])
def test_values(dtype, op_by_op):
    z = points(dtype)
    with jax.disable_jit(op_by_op):
        w = lambertw(z)
    assert w.dtype == dtype
    assert reference.ulps(w, [reference.lambertw(x) for x in z]).max() < 3


@pytest.mark.parametrize("dtype", DTYPES)
def test_edges(dtype):
    tiny, branch = np.finfo(dtype).tiny, dtype(BRANCH)
    below = np.nextafter(branch, dtype(-1))
    z = np.array([branch, below, -1, -np.inf, np.nan, np.inf, 0.0, -0.0, tiny, -tiny], dtype)
    nan = np.nan
    expected = np.array([-1, nan, nan, nan, nan, np.inf, 0.0, -0.0, tiny, -tiny], dtype)
    w = np.asarray(lambertw(z))
    np.testing.assert_array_equal(w, expected)
    np.testing.assert_array_equal(np.signbit(w[6:8]), [False, True])
    # For a subnormal z, the result may be z or 0, depending on the device.
    subnormal = np.array([tiny / 8, -tiny / 8], dtype)
    w = np.asarray(lambertw(subnormal))
    assert ((w == subnormal) | (w == 0)).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_first_derivative(dtype):
    z = points(dtype)
    slopes = np.asarray(slopes_of(z))
    w = [reference.lambertw(x) for x in z]
    expected = [mpmath.exp(-v) / (1 + v) for v in w]
    # A subnormal result may be flushed to 0.
    kept = np.array([e >= np.finfo(dtype).tiny for e in expected])
    expected = [e for e, k in zip(expected, kept, strict=True) if k]
    assert kept.sum() > len(z) - 5
    assert reference.ulps(slopes[kept], expected).max() < 8


@pytest.mark.parametrize("dtype", DTYPES)
def test_derivatives_at_the_edges(dtype):
    z = np.array([BRANCH, -1, 0, np.inf, np.nan], dtype)
    slopes = slopes_of(z)
    np.testing.assert_array_equal(slopes, np.array([np.inf, np.nan, 1, 0, np.nan], dtype))
    # W(z) = z - z**2 + 3/2 z**3 - 8/3 z**4 + ...
    orders = [lambertw]
    for _ in range(4):
        orders.append(jax.grad(orders[-1]))
    taylor = jax.jit(lambda z: [order(z) for order in orders[1:]])(dtype(0))
    np.testing.assert_allclose(taylor, [1, -2, 9, -64], rtol=1e-6)


@pytest.mark.parametrize("z", [-0.36, -0.2, -1e-3, 0.0, 0.1249, 1.0, 2.99, 3.01, 50.0])
@pytest.mark.parametrize("modes", ["fwd", "rev"])
def test_finite_differences(z, modes):
    z = jnp.asarray(z, float)
    check_grads(lambertw, (z,), order=2 if X64 else 1, modes=(modes,), rtol=2e-2)


def test_third_derivative_in_mixed_modes():
    def slope(z):
        w = reference.lambertw(z)
        # d/dz of W' = W/(z (1 + W)), twice, by hand: W''' = exp(-3 W) (2 W^2 + 8 W + 9)/(1 + W)^5
        return mpmath.exp(-3 * w) * (2 * w**2 + 8 * w + 9) / (1 + w) ** 5

    z = jnp.array([-0.3, -0.01, 0.5, 2.0, 20.0])
    third = jax.jit(jax.vmap(jax.jacfwd(jax.jacrev(jax.grad(lambertw)))))(z)
    np.testing.assert_allclose(third, [float(slope(x)) for x in np.asarray(z)], rtol=1e-5)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_half_precision_is_correctly_rounded(dtype):
    z = np.concatenate([-np.geomspace(1e-3, 0.3671875, 40), np.geomspace(1e-3, 6e4, 100)])
    z = jnp.asarray(z, dtype)
    w = lambertw(z)
    assert w.dtype == dtype
    expected = np.array([float(reference.lambertw(x)) for x in np.asarray(z)]).astype(dtype)
    np.testing.assert_array_equal(np.asarray(w), expected)
    # The nearest float16 to -1/e lies below it, the nearest bfloat16 above.
    branch = jnp.asarray(BRANCH, dtype)
    assert lambertw(branch) == lambertw(max(float(branch), BRANCH)).astype(dtype)
    assert jax.grad(lambertw)(branch) > 20


def test_input_types():
    assert lambertw(1).dtype == jnp.result_type(float)
    assert not lambertw(1.0).weak_type
    np.testing.assert_allclose(lambertw(jnp.array([1, 2])), [0.567143290, 0.852605502], rtol=1e-6)
    # Integers have no tangent (float0), but they pass.
    _, tangent = jax.jvp(lambertw, (jnp.int32(1),), (np.zeros((), jax.dtypes.float0),))
    assert tangent == 0
    with pytest.raises(TypeError, match="z: expected real numbers, got complex64"):
        lambertw(jnp.complex64(1))


def test_transformations_agree():
    z = jnp.linspace(-0.36, 5.0, 24).reshape(2, 3, 4)
    w = lambertw(z)
    np.testing.assert_array_equal(jax.jit(jax.vmap(jax.vmap(lambertw)))(z), w)
    _, scanned = jax.jit(lambda z: jax.lax.scan(lambda c, x: (c, lambertw(x)), 0, z))(z)
    np.testing.assert_array_equal(scanned, w)
    grads = jax.jit(jax.grad(lambda z: jax.checkpoint(lambertw)(z).sum()))(z)
    np.testing.assert_array_equal(grads, jax.jit(jax.grad(lambda z: lambertw(z).sum()))(z))


def test_quiet_under_debug_nans():
    z = jnp.array([BRANCH * 0.999, -0.1, 0.0, 1.0, 5.0, 1e30])
    z = jnp.append(z, jnp.inf)
    with jax.debug_nans(True), jax.disable_jit():
        assert not jnp.isnan(lambertw(z)).any()
        assert jnp.isfinite(jax.vmap(jax.grad(lambertw))(z)).all()


def test_scipys_own_test_points():
    """The real, principal-branch points of scipy.special.tests.test_lambertw."""
    points = {
        0.0: 0.0,
        np.inf: np.inf,
        np.e: 1.0,
        1.0: 0.567143290409783873,
        -np.log(2) / 2: -np.log(2),
        0.25: 0.203888354702240164,
        -0.25: -0.357402956181388903,
        -1e-4: -0.000100010001500266719,
        1000.0: 5.24960285240159623,
        np.pi: 1.073658194796149172,
    }
    w = lambertw(jnp.array(list(points)))
    np.testing.assert_allclose(w, list(points.values()), rtol=1e-13 if X64 else 5e-7)
    assert jnp.isnan(lambertw(jnp.nan))


def test_optimised_program():
    """One logarithm, one square root, one division, no exponential, no loops or host callbacks."""
    z = jnp.ones(4096, jnp.float32)
    text = jax.jit(lambertw).lower(z).compile().as_text()
    ops = re.findall(r"= f32\[4096\]\S* ([\w-]+)\(", text)
    counts = {op: ops.count(op) for op in ("log", "sqrt", "divide", "exponential")}
    assert counts == {"log": 1, "sqrt": 1, "divide": 1, "exponential": 0}
    assert not re.search(r" (while|custom-call|gather|log-plus-one|power)\(", text)


@pytest.mark.parametrize("platform", ["cpu", "tpu", "cuda", "rocm"])
def test_lowers_for_every_platform(platform):
    both = jax.jit(lambda z: jax.vjp(lambertw, z)[1](lambertw(z)))
    for dtype in DTYPES:
        exported = jax.export.export(both, platforms=[platform])(jnp.ones(8, dtype))
        assert exported.platforms == (platform,)
        assert "custom_call" not in exported.mlir_module()
        assert "while" not in exported.mlir_module()
