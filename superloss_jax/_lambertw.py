"""Lambert's W, principal branch, for real arguments: no loop, no gather, no host."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

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
# A is exact and |M q| < |W|, which damps the rounding errors of N / D.
_NEAR, _FAR = 0.125, 3.0
_NEAR_N = (1.718281865119934, -0.48384979367256165, -1.502273678779602, -0.3136419355869293)
_NEAR_D = (1.0, 2.326650381088257, 1.6106022596359253, 0.3089669644832611)
_MID_N = (0.4999985992908478, 1.1150370836257935, 0.01550394669175148, -0.6050233244895935,
          -0.12523700296878815, -0.00021817446395289153)  # fmt: skip
_MID_D = (1.0, 4.229998588562012, 5.491913795471191, 2.4104228019714355, 0.27274397015571594)
_FAR_N = (1.5671887397766113, 0.16113059222698212, -0.02676554024219513, -0.02820003777742386,
          -0.0017531883204355836, -1.6098028936539777e-05, -4.90340035241843e-09)  # fmt: skip
_FAR_D = (1.0, 0.5101306438446045, 0.1433461755514145, 0.017558706924319267,
          0.000545932911336422, 3.0240346404752927e-06)  # fmt: skip

# float64. z < 0.4 as above; beyond, log z - H(sqrt(log z + 6)) in float32 starts one step.
_NEAR64 = 0.4
_NEAR64_N = (1.7182818284590453, 2.6686940216617794, -0.7374587449220923, -3.2970271924583496,
             -2.076824168516618, -0.5151660314110413, -0.05035742413017956,
             -0.0014046661290090987)  # fmt: skip
_NEAR64_D = (1.0, 4.161356404736189, 6.841078004879563, 5.640094601745257, 2.4447193655269133,
             0.5329894672567019, 0.05042016234389432, 0.0014046661290090987)  # fmt: skip
_START_SHIFT, _START_T0 = 6.0, 2.2547082901000977
_START_N = (-1.2134788036346436, 1.7509621381759644, 1.613118290901184, 4.420804977416992,
            0.7561115026473999, 0.013021220453083515)  # fmt: skip
_START_D = (1.0, 1.4238698482513428, 2.207609176635742, 1.2907198667526245, 0.10938343405723572,
            0.0010656300000846386)  # fmt: skip

# 1 + W = t K(t) for t < 0.2, where the sum would cancel.
_SLOPE_END = 0.2
_SLOPE = (1.6487212181091309, -0.9060907363891602, 0.68450927734375, -0.5841134190559387,
          0.49829912185668945, -0.30125635862350464)  # fmt: skip
_SLOPE64 = (1.6487212707001282, -0.9060939428196738, 0.684702496854958, -0.5883878002205226,
            0.5421491669936934, -0.5219164494777633, 0.5177698796756406, -0.524896790394623,
            0.5396696549632939, -0.5530239953047049, 0.5337647031874723, -0.4183096282799965,
            0.18696606420452896)  # fmt: skip


def lambertw(z: ArrayLike) -> jax.Array:
    """Principal branch of Lambert's W: the `w >= -1` with `w * exp(w) = z`, elementwise.

    Args:
      z: real, any shape. bfloat16 and float16 are computed in float32; integers become floats.

    Returns:
      W(z), of the shape and dtype of `z`: NaN below -1/e, -1 at the float nearest to -1/e, +-0 at
      +-0, infinity at infinity. Derivatives of every order, forward and reverse:
      `dW/dz = exp(-W) / (1 + W)`, which is 1 at 0 and infinite at the branch point.

    Raises:
      TypeError: if `z` is complex.

    >>> import jax
    >>> print(f"{lambertw(1.0):.6f} {jax.grad(lambertw)(0.0)}")
    0.567143 1.0

    Reference: Robert Corless, Gaston Gonnet, David Hare, David Jeffrey, Donald Knuth, "On the
    Lambert W function", Advances in Computational Mathematics, 1996.
    """
    z = jnp.asarray(z)
    if jnp.issubdtype(z.dtype, jnp.complexfloating):
        raise TypeError(f"lambertw: expected real input, got {z.dtype}")
    if not jnp.issubdtype(z.dtype, jnp.floating):
        z = z.astype(jnp.result_type(float))
    return _lambertw(z)


@jax.jit
def _lambertw(z):
    wide = z.astype(compute_dtype(z.dtype))
    if z.dtype == jnp.float16:
        # The float16 nearest to -1/e lies below the float32 nearest to it.
        wide = jnp.where(z == np.float16(-1 / E), np.float32(-1 / E), wide)
    return _parts(wide)[0].astype(z.dtype)


def compute_dtype(dtype) -> np.dtype:
    """float64 for float64, float32 for everything narrower."""
    return np.dtype("float64") if dtype == np.float64 else np.dtype("float32")


def near_branch(z):
    """Whether z is the float nearest to -1/e or below it."""
    return z <= -np.asarray(_INV_E[z.dtype][0], z.dtype)


def lambertw_parts(z, clamp: bool):
    """(W, exp(-W), 1 + W) for float32 or float64; with `clamp`, of max(z, -1/e). No derivatives."""
    hi, lo = (np.asarray(part, z.dtype) for part in _INV_E[z.dtype])
    # 2 (z + 1/e) to the last bit. Without the factor, XLA would fold hi + lo under jit.
    square = (z + hi) * 2 + 2 * lo
    square = jnp.maximum(square, 0) if clamp else jnp.where(z == -hi, 0, square)
    return (_parts64 if z.dtype == np.float64 else _parts32)(z, jnp.sqrt(square))


@jax.custom_jvp
def _parts(z):
    return lambertw_parts(z, clamp=False)


@_parts.defjvp
def _parts_jvp(primals, tangents):
    w, s, v = _parts(*primals)
    # From its own outputs, so that the rule can be differentiated again, to any order.
    w_dot = s / v * tangents[0]
    return (w, s, v), (w_dot, -s * w_dot, w_dot)


def _polynomial(coefficients, t):
    result = coefficients[-1]
    for c in coefficients[-2::-1]:
        result = result * t + c
    return result


def _constants(values, dtype):
    return [np.asarray(c, dtype) for c in values]


def _one_plus_w(w, t, is_near, coefficients):
    """1 + W, by its own polynomial where the sum would cancel."""
    slope = _polynomial(_constants(coefficients, t.dtype), jnp.minimum(t, _SLOPE_END))
    return jnp.where(is_near & (t < _SLOPE_END), t * slope, 1 + w)


def _parts32(z, t):
    near, far = z < np.float32(_NEAR), z >= np.float32(_FAR)

    def select(a, b, c):
        return jnp.where(far, np.float32(c), jnp.where(near, np.float32(a), np.float32(b)))

    def rational(table, t):
        width = max(len(row) for row in table)
        rows = [tuple(row) + (0.0,) * (width - len(row)) for row in table]
        return _polynomial([select(*column) for column in zip(*rows, strict=True)], t)

    # Lanes that are not taken are kept finite, for users who debug with jax_debug_nans.
    z_far = jnp.maximum(z, np.float32(_FAR))
    log_z = jnp.log(z_far)
    log_z_finite = jnp.minimum(log_z, np.float32(89))
    t_all = jnp.where(far, log_z_finite, jnp.where(near, t, z))
    q = rational((_NEAR_N, _MID_N, _FAR_N), t_all) / rational((_NEAR_D, _MID_D, _FAR_D), t_all)
    # Select the factor and not the product: a select before the sum would block its FMA.
    w = jnp.where(far, log_z - 1, jnp.where(near, z, z * 0.5)) + jnp.where(far, 1, z) * q
    w = jnp.where(z == 0, z, jnp.maximum(w, -1))
    # exp(-W) = W / z there: from a rounded W it would be 40 ulp off at W = 84.
    s = jnp.where(far, ((log_z_finite - 1) + q) / z_far, jnp.where(near, 1, 0.5) + q)
    return w, s, _one_plus_w(w, t, near, _SLOPE)


def _parts64(z, t):
    near = z < _NEAR64
    t = jnp.minimum(t, 2)
    q = _polynomial(_NEAR64_N, t) / _polynomial(_NEAR64_D, t)
    w_near = jnp.maximum(z + z * q, -1)
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
    w = jnp.where(near, w_near, jnp.where(z == jnp.inf, z, w_far))
    s = jnp.where(near, 1 + q, w_far / jnp.maximum(z, _NEAR64))
    # Comparisons with NaN are false, so it would take the far lane, which is clipped.
    w = jnp.where(jnp.isnan(z), z, jnp.where(z == 0, z, w))
    return w, s, _one_plus_w(w, t, near, _SLOPE64)
