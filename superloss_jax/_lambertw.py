"""Lambert's W, principal branch, for real arguments: no loop, no gather, no host."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from superloss_jax._checks import as_real, compute_dtype

E = math.e
# 1/e = hi + lo. In both types hi > 1/e: the float nearest to the branch point lies below it.
_INV_E = {
    np.dtype("float32"): (0.3678794503211975, -9.149755245183291e-09),
    np.dtype("float64"): (0.36787944117144233, -1.2428753672788363e-17),
}

# float32. W = A + M * N(t) / D(t), one rational whose coefficients depend on the region:
#   z < 1/8   t = sqrt(2 (z + 1/e))   W = z + z q           q = exp(-W) - 1
#   z < 3     t = z                   W = z / 2 + z q       q = exp(-W) - 1/2
#   else      t = log z               W = (log z - 1) + q   q = 1 - log W
# A is exact except for the rounding of log z. |M q| < |W|, which damps the rounding errors of
# N / D. scripts/fit_lambertw.py prints all tables of this module.
_NEAR, _FAR = 0.125, 3.0
_NEAR_N = (1.718281865119934, -0.4838533103466034, -1.5022706985473633,
           -0.31364065408706665)  # fmt: skip
_NEAR_D = (1.0, 2.326648235321045, 1.6105989217758179, 0.30896511673927307)
_MID_N = (0.49999865889549255, 1.1137504577636719, 0.014200618490576744,
          -0.6040264368057251, -0.12479683756828308, -0.00021683033264707774)  # fmt: skip
_MID_D = (1.0, 4.227426052093506, 5.484170913696289, 2.4045767784118652,
          0.2717554569244385)  # fmt: skip
_FAR_N = (1.567195177078247, 0.16430498659610748, -0.026417281478643417,
          -0.028394022956490517, -0.0017859094077721238, -1.6656966181471944e-05,
          -5.18083531630964e-09)  # fmt: skip
_FAR_D = (1.0, 0.5121707320213318, 0.1443779468536377, 0.017776144668459892,
          0.0005583958118222654, 3.138754209430772e-06)  # fmt: skip

# float64. z < 0.4 is as above. Beyond it, one step starts at log z - H(sqrt(log z + 6)), which is
# computed in float32.
_NEAR64 = 0.4
_NEAR64_N = (1.7182818284590453, 2.954650427832717, -0.38884528407778707,
             -3.5136008641153174, -2.5386768973183647, -0.7302728664233249,
             -0.08690071544781144, -0.003275060992237743)  # fmt: skip
_NEAR64_D = (1.0, 4.327776372307739, 7.478025909739589, 6.57899183902414,
             3.112482124594367, 0.7673288488205292, 0.08715896985669665,
             0.0032724882443314514)  # fmt: skip
_START_SHIFT, _START_T0 = 6.0, 2.2547082901000977
_START_N = (-1.2134785652160645, 1.7561115026474, 1.6061437129974365,
            4.408649921417236, 0.7468411922454834, 0.012539985589683056)  # fmt: skip
_START_D = (1.0, 1.4196053743362427, 2.201462507247925, 1.2835478782653809,
            0.10750799626111984, 0.001020225347019732)  # fmt: skip

# 1 + W = t K(t) for t < 0.2, where the sum would cancel.
_SLOPE_END = 0.2
_SLOPE = (1.6487212181091309, -0.9060863852500916, 0.6843891143798828,
          -0.5827465653419495, 0.4914885461330414, -0.2889067530632019)  # fmt: skip
_SLOPE64 = (1.6487212707001282, -0.9060939428197007, 0.6847024968590825,
            -0.5883878005142282, 0.5421491787119009, -0.5219167385999673,
            0.517774541125346, -0.5249473141856286, 0.5400405875971293,
            -0.5548436208322971, 0.53947641465757, -0.42868278734766735,
            0.19525597667132552)  # fmt: skip


def lambertw(z: ArrayLike) -> jax.Array:
    """Returns the principal branch of Lambert's W, the `w >= -1` with `w * exp(w) = z`.

    Args:
      z: real, any shape. bfloat16 and float16 are computed in float32; integers become floats.

    Returns:
      W(z), of the shape and dtype of `z`. It is NaN below -1/e, -1 at the float nearest to -1/e,
      +-0 at +-0, and infinity at infinity. It has derivatives of every order, forward and reverse:
      `dW/dz = exp(-W) / (1 + W)`, which is 1 at 0 and infinite at the branch point. A Python number
      gives a strongly typed array of the default dtype.

    Raises:
      TypeError: if `z` is complex.

    >>> import jax
    >>> print(f"{lambertw(1.0):.6f} {jax.grad(lambertw)(0.0)}")
    0.567143 1.0

    Reference: Robert Corless, Gaston Gonnet, David Hare, David Jeffrey, Donald Knuth, "On the
    Lambert W function", Advances in Computational Mathematics, 1996.
    """
    return _lambertw(as_real("z", z))


@jax.jit
def _lambertw(z: jax.Array) -> jax.Array:
    """Returns W of a real array, computed in at least float32."""
    wide = z.astype(compute_dtype(z.dtype))
    if z.dtype == jnp.float16:
        # The float16 nearest to -1/e lies below the float32 nearest to it.
        # Not a constant there, whose derivative would be 0.
        gap = np.float32(-1 / E) - np.float32(np.float16(-1 / E))
        wide = jnp.where(z == np.float16(-1 / E), wide + gap, wide)  # -0 stays -0
    return _parts(wide)[0].astype(z.dtype)


def near_branch(z: jax.Array) -> jax.Array:
    """Returns whether z is the float nearest to -1/e, or below it."""
    return z <= -np.asarray(_INV_E[z.dtype][0], z.dtype)


def lambertw_parts(z: jax.Array, clamp: bool) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Returns (W, exp(-W), 1 + W) of z, or with `clamp` of max(z, -1/e), without derivatives."""
    hi, lo = (np.asarray(part, z.dtype) for part in _INV_E[z.dtype])
    # 2 (z + 1/e) to the last bit. Without the factor, XLA would fold hi + lo under jit.
    square = (z + hi) * 2 + 2 * lo
    square = jnp.maximum(square, 0) if clamp else jnp.where(z == -hi, 0, square)
    t = jnp.sqrt(square)
    w, near, slope = (_w64 if z.dtype == np.float64 else _w32)(z, t)
    # W / z, since exp(-W) would be 40 ulp off at W = 84. Here W is finite even for infinite z,
    # where the quotient is 0. Special values enter above and below the line, so that a division
    # comes last.
    special = (z == 0) | near_branch(z) if clamp else z == 0
    s = jnp.where(special, jnp.where(z == 0, 1, E), w) / jnp.where(special, 1, z)
    if not clamp:
        w = jnp.where((z == 0) | (z == jnp.inf), z, w)
    # 1 + W by its own polynomial, where the sum would cancel.
    v = jnp.where(
        near & (t < _SLOPE_END), t * _polynomial(slope, jnp.minimum(t, _SLOPE_END)), 1 + w
    )
    return w, s, v


@jax.custom_jvp
def _parts(z):
    """Returns `lambertw_parts` without clamp, with derivatives."""
    return lambertw_parts(z, clamp=False)


@_parts.defjvp
def _parts_jvp(primals, tangents):
    """Returns the outputs of `_parts` and their tangents."""
    w, s, v = _parts(*primals)
    # From its own outputs, so that the rule can be differentiated again, to any order.
    # s * (1 / v), since XLA makes one division of s / v = W / z / v, by a z * v that overflows.
    w_dot = s * (1 / v) * tangents[0]
    return (w, s, v), (w_dot, -s * w_dot, w_dot)


def _polynomial(coefficients, t):
    """Returns the sum of coefficients[k] t**k, by Horner's scheme."""
    result = coefficients[-1]
    for c in coefficients[-2::-1]:
        result = result * t + c
    return result


def _constants(values, dtype) -> list[np.ndarray]:
    """Returns the values as scalars of the dtype."""
    return [np.asarray(c, dtype) for c in values]


def _w32(z, t):
    """Returns (W, near the branch point?, slope table) in float32, with t = sqrt(2 (z + 1/e))."""
    near, far = z < np.float32(_NEAR), z >= np.float32(_FAR)

    def select(a, b, c):
        return jnp.where(far, np.float32(c), jnp.where(near, np.float32(a), np.float32(b)))

    def rational(table, t):
        width = max(len(row) for row in table)
        rows = [tuple(row) + (0.0,) * (width - len(row)) for row in table]
        return _polynomial([select(*column) for column in zip(*rows, strict=True)], t)

    # Lanes that are not taken are kept finite, for users who debug with jax_debug_nans.
    z_far = jnp.maximum(z, np.float32(_FAR))
    log_z = jnp.minimum(jnp.log(z_far), np.float32(89))
    t_all = jnp.where(far, log_z, jnp.where(near, t, z))
    q = rational((_NEAR_N, _MID_N, _FAR_N), t_all) / rational((_NEAR_D, _MID_D, _FAR_D), t_all)
    # Select the factor and not the product: a select before the sum would block its FMA.
    w = jnp.where(far, log_z - 1, jnp.where(near, z, z * 0.5)) + jnp.where(far, 1, z) * q
    return jnp.maximum(w, -1), near, _constants(_SLOPE, np.float32)


def _w64(z, t):
    """Returns the same in float64."""
    near = z < _NEAR64
    t = jnp.minimum(t, 2)
    q = _polynomial(_NEAR64_N, t) / _polynomial(_NEAR64_D, t)
    z_near = jnp.minimum(z, _NEAR64)
    w_near = jnp.maximum(z_near + z_near * q, -1)
    # log z in float32, of a z scaled into its range by a power of two: XLA's float64 logarithm
    # on CPU is a scalar call, seven times the cost of exp.
    z_far = jnp.clip(z, _NEAR64, np.finfo(np.float64).max)
    scale, shift = jnp.float64(1), jnp.float32(0)
    for k in (240, 480, 720, 960):
        large = z_far >= 2.0 ** (k - 120)
        scale = jnp.where(large, 2.0**-k, scale)
        shift = jnp.where(large, np.float32(k * math.log(2)), shift)
    log_z = jnp.log((z_far * scale).astype(np.float32)) + shift
    u = jnp.sqrt(log_z + np.float32(_START_SHIFT)) - np.float32(_START_T0)
    start_n, start_d = (_constants(c, np.float32) for c in (_START_N, _START_D))
    w0 = (log_z - _polynomial(start_n, u) / _polynomial(start_d, u)).astype(np.float64)
    # One fourth-order step on h(w) = w - z exp(-w), whose derivatives are 1 + y, -y, y.
    y = z_far * jnp.exp(-w0)
    h, h1 = w0 - y, 1 + y
    step = h * (h1 * h1 + 0.5 * (h * y)) / (h1 * (h1 * h1 + h * y) + h * h * y * (1 / 6))
    w_far = w0 - step
    w = jnp.where(near, w_near, w_far)
    # Comparisons with NaN are false, so it would take the far lane, which is clipped.
    w = jnp.where(jnp.isnan(z), z, w)
    return w, near, _SLOPE64
