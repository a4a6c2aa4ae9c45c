"""Measures errors of lambertw and SuperLoss against independent references; prints Markdown tables.

    python scripts/check_lambertw.py              # every 64th float32: under a minute
    python scripts/check_lambertw.py --all        # every float32: a quarter of an hour

Near the branch point, up to a relative distance of 1e-4 from -1/e, both commands visit every
float32. Exits with code 1 if a bound is exceeded.
"""

import argparse
import itertools
import sys

import jax
import jax.numpy as jnp
import mpmath
import numpy as np

from superloss_jax import closed_form, lambertw

jax.config.update("jax_enable_x64", True)  # float64 is the reference for float32

E = np.e
BRANCH32 = np.float32(-1 / E)
SEGMENTS = (-0.3678794413, -0.3678426, -0.3, -0.1, 0.0, 0.125, 1.0, 3.0, 54.0, 1e6, 1e12, np.inf)
BOUNDS = {"W": 2.5, "slope": 8.0, "W64": 3.0, "slope64": 8.0, "SL": 4.0, "sigma": 1.0}
# W0 = -1 + p - p^2/3 + 11 p^3/72 - ..., p = sqrt(2 (1 + e z)) (Corless et al., 1996).
BRANCH_SERIES = (1, -1 / 3, 11 / 72, -43 / 540, 769 / 17280, -221 / 8505, 680863 / 43545600,
                 -1963 / 204120, 226287557 / 37623398400)  # fmt: skip


def reference64(z, w):
    """Returns (W, 1 + W) in float64: a series near the branch point, else a step from a guess w."""
    z, w = z.astype(jnp.float64), w.astype(jnp.float64)
    p = jnp.sqrt(jnp.maximum(2 * (1 + E * z), 0))
    series = jnp.zeros_like(p)
    for coefficient in reversed(BRANCH_SERIES):
        series = (series + coefficient) * p
    # A third-order Newton step for w - z exp(-w): an error of 1e-6 in the guess becomes 1e-18, and
    # a larger error of the guess still shows in the comparison.
    y = z * jnp.exp(-w)
    h, slope = w - y, 1 + y
    w = w - h / (slope - h * -y / (2 * slope))
    near = p < 0.05
    return jnp.where(near, series - 1, w), jnp.where(near, series, 1 + w)


def ulps32(values, reference):
    unit = jnp.ldexp(1.0, jnp.frexp(jnp.abs(reference))[1] - 24)
    error = jnp.abs(values.astype(jnp.float64) - reference) / unit
    return jnp.where(jnp.isnan(error), jnp.inf, error)


@jax.jit
def errors32(z):
    """Returns W, and the errors of W and W' in ulp; 0 for subnormal z or almost subnormal W'."""
    w, slope = jax.jvp(lambertw, (z,), (jnp.ones_like(z),))
    reference, one_plus = reference64(z, w)
    reference_slope = jnp.exp(-reference) / one_plus
    tiny = np.finfo(np.float32).tiny
    subnormal = jnp.abs(z.astype(jnp.float64)) < tiny
    error = jnp.where(subnormal, 0, ulps32(w, reference))
    # A W' next to the smallest normal number may be rounded to a subnormal one and flushed to 0.
    flushed = subnormal | (reference_slope < tiny * (1 + 1e-6))
    slope_error = jnp.where(flushed, 0, ulps32(slope, reference_slope))
    return w, error, slope_error


def bit_patterns(stride: int):
    """Yields chunks of every stride-th float32 from -1/e to the largest."""
    size = 1 << 22
    lowest = int(BRANCH32.view(np.uint32))
    for start, stop in ((0x8000_0001, lowest), (1, 0x7F80_0000)):
        for low in range(start, stop, size * stride):
            yield np.arange(low, min(low + size * stride, stop), stride, np.uint32)
    if stride > 1:
        away = np.float32(BRANCH32 * np.float32(1 - 1e-4))
        yield np.arange(int(away.view(np.uint32)), lowest, dtype=np.uint32)


def scan_float32(stride: int) -> tuple[list[dict], int]:
    rows = [
        {"from": low, "to": high, "values": 0, "W": 0.0, "slope": 0.0, "sum": 0.0}
        for low, high in itertools.pairwise(SEGMENTS)
    ]
    subnormal_wrong, done = 0, 0
    total = (0x7F80_0000 + int(BRANCH32.view(np.uint32)) - 0x8000_0000) // stride
    for bits in bit_patterns(stride):
        z = bits.view(np.float32)
        w, error, slope_error = (np.asarray(value) for value in errors32(z))
        subnormal = np.abs(z) < np.finfo(np.float32).tiny
        subnormal_wrong += int((subnormal & (w != z) & (w != 0)).sum())
        for row in rows:
            if z.max() < row["from"] or z.min() >= row["to"]:
                continue
            inside = (z >= row["from"]) & (z < row["to"])
            row["values"] += int(inside.sum())
            row["W"] = max(row["W"], error[inside].max(initial=0))
            row["slope"] = max(row["slope"], slope_error[inside].max(initial=0))
            row["sum"] += error[inside].sum()
        done += len(z)
        print(f"\r{done:,} of {total:,} floats", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return rows, subnormal_wrong


def exact_w(z: float, guess: float):
    """Returns W0 to 50 digits: two Newton steps from a good guess, else mpmath's own solver."""
    z = mpmath.mpf(z)
    if abs(1 + mpmath.e * z) < 1e-9 or not np.isfinite(guess):
        return mpmath.lambertw(z).real
    w = mpmath.mpf(guess)
    for _ in range(2):
        y = z * mpmath.exp(-w)
        w -= (w - y) / (1 + y)
    return w


def scan_float64(count: int) -> dict:
    rng = np.random.default_rng(0)
    part = count // 5
    z = np.concatenate([
        -1 / E * (1 - 10 ** rng.uniform(-15.5, 0, part)),
        rng.uniform(-1 / E, 0.5, part),
        rng.uniform(0.3, 10, part),
        10 ** rng.uniform(-300, 308, part),
        -(10 ** rng.uniform(-300, -0.44, part)),
    ])  # fmt: skip
    w, slope = jax.jit(lambda z: jax.jvp(lambertw, (z,), (jnp.ones_like(z),)))(z)
    worst = {"values": len(z), "W64": 0.0, "slope64": 0.0}
    for i, (x, value, gradient) in enumerate(zip(z, *map(np.asarray, (w, slope)), strict=True)):
        exact = exact_w(x, value)
        exact_slope = mpmath.exp(-exact) / (1 + exact)
        for name, got, wanted in (("W64", value, exact), ("slope64", gradient, exact_slope)):
            if abs(wanted) > np.finfo(np.float64).tiny:
                unit = np.spacing(abs(float(wanted)))
                worst[name] = max(worst[name], float(abs(mpmath.mpf(float(got)) - wanted)) / unit)
        if i % 1000 == 0:
            print(f"\r{i:,} of {len(z):,} doubles", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return worst


def scan_half(dtype) -> tuple[int, int]:
    """Checks all half-precision values; returns how many, and how many results are misrounded."""
    bits = np.arange(1 << 16, dtype=np.uint16)
    z = bits.view(dtype)
    with np.errstate(invalid="ignore"):  # NaN among the patterns
        z = z[np.isfinite(z)]
    wide = z.astype(np.float64)
    kept = (wide >= -1 / E) & (np.abs(wide) >= float(jnp.finfo(dtype).tiny))
    z, wide = z[kept], wide[kept]
    w = np.asarray(jax.jit(lambertw)(jnp.asarray(z)))
    exact = np.asarray(reference64(wide, jax.jit(lambertw)(wide))[0])
    # A result is correctly rounded if neither of its neighbours is nearer to the exact value.
    ends = (jnp.finfo(dtype).min, jnp.finfo(dtype).max)
    around = [np.nextafter(w, end).astype(np.float64) for end in ends]
    w = w.astype(np.float64)
    nearest = np.minimum(*(np.abs(neighbour - exact) for neighbour in around))
    return len(z), int((np.abs(w - exact) > nearest).sum())


def scan_superloss(dtype, count: int) -> dict:
    """Returns the largest errors in eps; for sigma divided by 4 + 2/p, p = sqrt(2 |1 + e x|)."""
    rng = np.random.default_rng(1)
    largest = 36 if dtype == np.float32 else 300
    lam = (10 ** rng.uniform(-6, 30, count)).astype(dtype)
    x = np.concatenate([
        10 ** rng.uniform(-30, largest, count // 4),
        -(10 ** rng.uniform(-30, 4, count // 4)),
        rng.uniform(-0.5, 3, count // 4),
        -1 / E + rng.choice([-1, 1], count // 4) * 10 ** rng.uniform(-7, -1, count // 4),
    ])  # fmt: skip
    with np.errstate(over="ignore"):
        distance = (2 * lam.astype(np.float64) * x).astype(dtype)
    kept = np.isfinite(distance) & (np.abs(distance) > 1e-30)
    distance, lam = distance[kept], lam[kept]
    values, sigma = map(np.asarray, closed_form(distance, dtype(0), lam))
    eps = float(np.finfo(dtype).eps)
    worst = {"values": int(kept.sum()), "SL": 0.0, "sigma": 0.0}
    for d, lam_, value, weight in zip(distance, lam, values, sigma, strict=True):
        d, lam_ = mpmath.mpf(float(d)), mpmath.mpf(float(lam_))
        x_ = d / (2 * lam_)
        p = max(float(mpmath.sqrt(2 * abs(1 + mpmath.e * x_))), 1e-12)
        if x_ <= -mpmath.exp(-1):
            exact, exact_sigma = mpmath.e * d + lam_, mpmath.e
        else:
            w = mpmath.lambertw(x_).real
            exact, exact_sigma = lam_ * w * (w + 2), mpmath.exp(-w)
        worst["SL"] = max(worst["SL"], float(abs(value - exact) / abs(exact)) / eps)
        if exact_sigma > np.finfo(dtype).tiny:
            error = float(abs(weight - exact_sigma) / exact_sigma) / eps
            worst["sigma"] = max(worst["sigma"], error / (4 + 2 / p))
    return worst


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--all", action="store_true", help="every float32, and 10 times the rest")
    parser.add_argument("--stride", type=int, default=64, help="visit every N-th float32")
    parser.add_argument("--points", type=int, help="float64 values (20,000, or a million)")
    args = parser.parse_args()
    mpmath.mp.dps = 50
    stride = 1 if args.all else args.stride
    points = args.points or (1_000_000 if args.all else 20_000)
    device = jax.devices()[0].device_kind
    print(f"jax {jax.__version__}, {device}; errors in units in the last place, under jit\n")

    worst: dict[str, float] = {}
    rows, subnormals = scan_float32(stride)
    print("| float32, z from | to | values | W, largest | W, mean | W', largest |")
    print("|---|---|---|---|---|---|")
    for row in rows:
        mean = row["sum"] / max(row["values"], 1)
        errors = f"{row['W']:.2f} | {mean:.2f} | {row['slope']:.2f}"
        print(f"| {row['from']:.7g} | {row['to']:.7g} | {row['values']:,} | {errors} |")
        for name in ("W", "slope"):
            worst[name] = max(worst.get(name, 0.0), row[name])
    print(f"\nsubnormal z whose W is neither z nor 0: {subnormals}")

    row = scan_float64(points)
    worst |= row
    print(f"float64, {row['values']:,} values against 50 digits: W {row['W64']:.2f},"
          f" W' {row['slope64']:.2f}")  # fmt: skip
    half = {np.dtype(dtype).name: scan_half(dtype) for dtype in (jnp.bfloat16, np.float16)}
    for name, (count, wrong) in half.items():
        print(f"{name}: {wrong} of all {count:,} normal values not correctly rounded")
    for dtype in (np.float32, np.float64):
        row = scan_superloss(dtype, 200_000 if args.all else 20_000)
        print(f"SuperLoss, {np.dtype(dtype).name}, {row['values']:,} values: SL {row['SL']:.2f}"
              f" eps, sigma {row['sigma']:.2f} times (4 + 2/p) eps")  # fmt: skip
        for name in ("SL", "sigma"):
            worst[name] = max(worst.get(name, 0.0), row[name])
    failed = [name for name, bound in BOUNDS.items() if not worst[name] <= bound]
    failed += ["subnormals"] * (subnormals > 0) + ["bfloat16"] * (half["bfloat16"][1] > 0)
    if failed:
        sys.exit(f"above its bound: {', '.join(failed)}")


if __name__ == "__main__":
    main()
