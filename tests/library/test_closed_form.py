"""The closed form: values and derivatives against 40 digits, limits, edges."""

import itertools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from scipy import optimize

from superloss_jax import closed_form, lambertw
from tests.library import reference

X64 = jax.config.jax_enable_x64
FLOAT = np.dtype("float64" if X64 else "float32").type
LOSSES = (0.0, 1e-4, 0.3, 0.6321, 1.0, 1.5, 2.302585, 7.0, 40.0, 1e3, 1e10, 1e30)
GRID = list(itertools.product(LOSSES, (0.0, 1.0, 2.302585), (1e-6, 1e-2, 0.25, 1.0, 30.0, 1e6)))


def grid():
    """Returns losses, tau, lam, and sigma's allowed error, larger for x near the branch point."""
    losses, tau, lam = np.array(GRID, FLOAT).T
    x = (losses.astype(np.float64) - tau) / (2 * lam.astype(np.float64))
    distance = np.sqrt(2 * np.abs(1 + np.e * x)) + 1e-3
    return losses, tau, lam, 4 + 2 / distance


def total(losses, tau, lam):
    return closed_form(losses, tau, lam)[0].sum()


slopes = jax.jit(jax.grad(total, argnums=(0, 1, 2)))


@pytest.mark.parametrize("op_by_op", [False, True])
def test_value_and_gradient_against_40_digits(op_by_op):
    losses, tau, lam, allowed = grid()
    with jax.disable_jit(op_by_op):
        values, sigma = jax.device_get(closed_form(losses, tau, lam))
        by_loss, by_tau, by_lam = jax.device_get(slopes(losses, tau, lam))
    chex.assert_tree_all_finite((values, sigma, by_loss, by_tau, by_lam))
    np.testing.assert_array_equal(by_loss, sigma)
    np.testing.assert_array_equal(by_tau, -sigma)
    clamped = 0
    for i, point in enumerate(zip(losses, tau, lam, strict=True)):
        # The code rounds loss - tau once, so the reference starts from the rounded difference.
        point = (FLOAT(point[0] - point[1]), 0, point[2])
        value, weight, square = reference.superloss(*point)
        clamped += weight > 2.7182818
        if value == 0:
            assert values[i] == 0
            continue
        assert reference.relative(values[i], value) < 4
        if weight > np.finfo(FLOAT).tiny:
            assert reference.relative(sigma[i], weight) < allowed[i]
        assert reference.relative(by_lam[i], square) < 2 * allowed[i] + 4
    assert 20 < clamped < len(GRID) - 20  # both sides of the clamp occur


def test_is_the_minimum_over_sigma_up_to_e():
    """Checks the definition itself, without Lambert W: a numeric minimum over log(sigma)."""
    for loss, tau, lam in [(0.1, 1.0, 0.5), (0.9, 1.0, 1.0), (3.0, 1.0, 1.0), (9.0, 2.3, 0.25)]:
        found = optimize.minimize_scalar(
            lambda s, d=loss - tau, lam=lam: d * np.exp(s) + lam * s * s,
            bounds=(-20, 1),
            method="bounded",
            options={"xatol": 1e-10},
        )
        value, sigma = closed_form(loss, tau, lam)
        np.testing.assert_allclose(value, found.fun, rtol=1e-6)
        np.testing.assert_allclose(sigma, np.exp(found.x), rtol=1e-5)


@pytest.mark.parametrize("loss", [0.0, 0.3, 0.9, 1.0, 1.2, 4.0, 60.0])
def test_finite_differences(loss):
    def value(loss, tau, lam):
        return closed_form(loss, tau, lam)

    args = (jnp.asarray(loss, float), jnp.asarray(1.0, float), jnp.asarray(1.1, float))
    check_grads(value, args, order=2 if X64 else 1, rtol=2e-2, atol=2e-3)


def test_second_derivative():
    d = jnp.array([-5.0, -1.0, -0.7, -0.1, 0.0, 0.5, 3.0, 50.0])
    lam = 1.0
    second = jax.jit(jax.vmap(jax.grad(jax.grad(lambda x: closed_form(x, 0.0, lam)[0]))))(d)
    expected = []
    for x in np.asarray(d):
        _, s, _ = reference.superloss(x, 0, lam)
        w = -reference.mpmath.log(s)
        expected.append(0.0 if x <= -2 / np.e else float(-(s**2) / (2 * lam * (1 + w))))
    np.testing.assert_allclose(second, expected, rtol=1e-5)


def test_hessian_is_finite_where_the_value_is():
    losses, tau, lam, _ = grid()
    with np.errstate(over="ignore"):
        each = jax.vmap(jax.hessian(lambda *point: closed_form(*point)[0], argnums=(0, 1, 2)))
    hessian = jax.device_get(jax.jit(each)(losses, tau, lam))
    chex.assert_tree_all_finite(hessian)
    # With w = -log(sigma): the mixed derivative is w sigma / (lam (1 + w)), that by lam twice
    # -2 w^2 / (lam (1 + w)), both 0 below the clamp.
    for i, (x, t, m) in enumerate(zip(losses, tau, lam, strict=True)):
        _, sigma, _ = reference.superloss(FLOAT(x - t), 0, m)
        w = -reference.mpmath.log(sigma)
        if 1 + w < 1e-2:
            continue
        expected = float(-2 * w**2 / (float(m) * (1 + w)))
        np.testing.assert_allclose(hessian[2][2][i], expected, rtol=1e-3, atol=1e-30)
        expected = float(w * sigma / (float(m) * (1 + w)))
        np.testing.assert_allclose(hessian[0][2][i], expected, rtol=1e-3, atol=1e-30)


def test_limits():
    """lam -> inf: l - tau. lam -> 0: weight e below tau, 0 above. Shift and scale."""
    losses = jnp.array([0.0, 0.5, 2.0, 30.0])
    for lam in (1e30, jnp.inf):
        values, sigma = closed_form(losses, 1.0, lam)
        np.testing.assert_allclose(values, losses - 1)
        np.testing.assert_allclose(sigma, 1)
    _, sigma = closed_form(losses, 1.0, 1e-20)
    np.testing.assert_allclose(sigma, [np.e, np.e, 0, 0], atol=1e-12)
    values, sigma = closed_form(losses, 1.0, 0.7)
    shifted, scaled = closed_form(losses + 8, 9.0, 0.7), closed_form(losses * 4, 4.0, 2.8)
    chex.assert_trees_all_close((values, sigma), shifted, (scaled[0] / 4, scaled[1]), rtol=1e-5)
    # At the clamp, l = tau - 2 lam / e, the value is -lam and sigma e.
    value, sigma = closed_form(1.0 - 2 * 0.7 / np.e, 1.0, 0.7)
    np.testing.assert_allclose((value, sigma), (-0.7, np.e), rtol=2e-3)
    # Far above tau, sigma = log(x) / x and SL = lam log(x)^2, up to terms of log(log(x)).
    value, sigma = closed_form(2e20, 0.0, 1.0)
    np.testing.assert_allclose(sigma * 1e20 / np.log(1e20), 1, atol=0.1)
    np.testing.assert_allclose(value / np.log(1e20) ** 2, 1, atol=0.2)


def test_detaching_sigma_changes_nothing_and_tracing_it_fails():
    losses = jnp.array([0.1, 0.9, 2.0, 6.0])  # the first is below the clamp

    def by_formula(losses, weight):
        sigma = weight(jnp.exp(-lambertw(jnp.maximum(-2 / np.e, losses - 1.0) / 2)))
        return jnp.sum((losses - 1.0) * sigma + jnp.log(sigma) ** 2)

    exact = np.asarray(slopes(losses, 1.0, 1.0)[0])
    by_formula = jax.jit(jax.grad(by_formula), static_argnums=1)
    detached = by_formula(losses, jax.lax.stop_gradient)
    np.testing.assert_allclose(detached, exact, rtol=1e-5)
    traced = np.asarray(by_formula(losses, lambda sigma: sigma))
    assert np.isnan(traced[0])
    np.testing.assert_allclose(traced[1:], exact[1:], rtol=1e-4)


def test_bad_losses_stay_in_their_place():
    losses = jnp.array([0.2, jnp.nan, jnp.inf, -jnp.inf, 3.0])
    for lam in (1e-6, 1.0, 1e37):
        values, sigma = jax.device_get(closed_form(losses, 1.0, lam))
        np.testing.assert_array_equal(np.isnan(values), [False, True, False, False, False])
        assert values[2] == np.inf
        assert sigma[2] == 0
        assert values[3] == -np.inf
        np.testing.assert_allclose(sigma[3], np.e, rtol=1e-6)
        grads, _, _ = slopes(losses, 1.0, lam)
        np.testing.assert_array_equal(grads, sigma)
    values, sigma = closed_form(losses[:3], 1.0, jnp.inf)
    # Exact on a CPU; on a GPU, division may be off by one bit.
    rtol = 0 if jax.default_backend() == "cpu" else np.finfo(values.dtype).eps
    expected = np.array([-0.8, np.nan, np.inf], values.dtype)
    np.testing.assert_allclose(values, expected, rtol=rtol)
    np.testing.assert_array_equal(sigma, np.array([1, np.nan, 0], values.dtype))
    # A constant lam has tangent 0, which must not be multiplied by infinity.
    values, sigma = closed_form(losses, 1.0, 1.0)
    value = jax.jit(lambda x, dot: jax.jvp(lambda x: closed_form(x, 1.0, 1.0)[0], (x,), (dot,)))
    _, tangent = value(losses, jnp.ones(5))
    np.testing.assert_array_equal(tangent, sigma)


def test_beyond_the_range_of_x():
    largest = np.finfo(FLOAT).max
    losses = jnp.asarray([largest / 1e8, largest / 1e3, largest], FLOAT)
    values, sigma = closed_form(losses, 0.0, 1e-6)
    chex.assert_tree_all_finite((values, sigma))
    assert (np.diff(values) >= 0).all()
    assert (np.diff(sigma) <= 0).all()


def test_traced_lam_that_is_not_positive_gives_nan():
    for lam in (0.0, -1.0, jnp.nan):
        values, sigma = jax.jit(closed_form)(jnp.ones(3), 0.5, jnp.asarray(lam))
        assert np.isnan(values).all()
        assert np.isnan(sigma).all()


def test_differentiated_in_every_way():
    """Mixed modes, a third derivative, checkpoint, scan and shard_map against nested reverse."""
    losses = jnp.array([0.2, 0.9, 1.7, 6.0])

    def each(x):
        return closed_form(x, 1.0, 0.9)[0]

    mesh = jax.make_mesh((4,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    spec = jax.sharding.PartitionSpec("data")

    @jax.jit
    def in_every_way(x):
        second = jax.vmap(jax.grad(jax.grad(each)))
        return {
            "reverse": second(x),
            "forward over reverse": jax.vmap(jax.jacfwd(jax.jacrev(each)))(x),
            "reverse over forward": jax.vmap(jax.jacrev(jax.jacfwd(each)))(x),
            "checkpoint": jax.hessian(lambda x: jax.checkpoint(each)(x).sum())(x),
            "scan": jax.lax.scan(lambda c, x: (c, jax.grad(each)(x)), 0, x)[1],
            "shard_map": jax.shard_map(second, mesh=mesh, in_specs=spec, out_specs=spec)(x),
            "third": jax.vmap(jax.grad(jax.grad(jax.grad(each))))(x[1:]),
        }

    found = jax.device_get(in_every_way(losses))
    for way in ("forward over reverse", "reverse over forward", "shard_map"):
        np.testing.assert_allclose(found[way], found["reverse"], rtol=1e-5)
    np.testing.assert_allclose(found["checkpoint"], np.diag(found["reverse"]), rtol=1e-5)
    np.testing.assert_allclose(found["scan"], closed_form(losses, 1.0, 0.9)[1], rtol=1e-6)
    # The third derivative is sigma^3 (3 + 2 w) / (4 lam^2 (1 + w)^3), from the second and dw/dl.
    sigma = np.asarray(closed_form(losses[1:], 1.0, 0.9)[1], np.float64)
    w = -np.log(sigma)
    expected = sigma**3 * (3 + 2 * w) / (4 * 0.81 * (1 + w) ** 3)
    np.testing.assert_allclose(found["third"], expected, rtol=2e-5)


def test_quiet_under_debug_nans():
    losses = jnp.array([0.0, 0.3, 1.0, 2.0, 1e30])
    for without_jit in (False, True):
        with jax.debug_nans(True), jax.disable_jit(without_jit):
            values, sigma = closed_form(losses, 1.0, 1.0)
            chex.assert_tree_all_finite((values, sigma, slopes(losses, 1.0, 1.0)))


def test_complex_numbers_are_refused():
    with pytest.raises(TypeError, match="losses: expected real numbers, got complex64"):
        closed_form(jnp.ones(2, jnp.complex64), 0.0, 1.0)
    with pytest.raises(TypeError, match="lam: expected real numbers, got complex"):
        closed_form(jnp.ones(2), 0.0, 1j)
