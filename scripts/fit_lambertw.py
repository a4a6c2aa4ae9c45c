"""Fit the coefficients of `lambertw`: python fit_lambertw.py

Prints every table of the module as Python source, below a comment with its errors, and says where
the module's digits differ. Takes about four minutes on one core.

All targets are parametrised by w, from which z = w exp(w), t and the target value follow without a
solver. A table is a rational N(t) / D(t), D[0] = 1, that minimises the largest |error| / allowed:

    near   t = sqrt(2 (z + 1/e))        exp(-w) - 1      allowed exp(-w)
    mid    t = z                        exp(-w) - 1/2    allowed exp(-w)
    far    t = log z = w + log w        1 - log w        allowed: see far()
    start  t = sqrt(log z + 6) - T0     log w            allowed 1
    slope  t = sqrt(2 (z + 1/e))        (1 + w) / t      allowed (1 + w) / t: a relative error

In near and mid, the allowed error bounds the relative errors of both W and exp(-W). float64
coefficients are rounded to nearest. For float32 this would cost most of the accuracy; rounded()
and choose() do better.
"""

import itertools
import textwrap

import mpmath as mp
import numpy as np

from superloss_jax import _lambertw
from superloss_jax._lambertw import _polynomial as polynomial

MAX32, MAX64 = (float(np.finfo(t).max) for t in (np.float32, np.float64))
NEAR, FAR, NEAR64, START_SHIFT, SLOPE_END = 0.125, 3.0, 0.4, 6, 0.2
# The smallest t of START, subtracted so that its polynomials begin at 0.
START_T0 = float(np.float32(mp.sqrt(mp.log(NEAR64) + START_SHIFT)))
INV_E32 = (np.float32(0.3678794503211975), np.float32(-9.149755245183291e-09))
INV_E64 = (0.36787944117144233, -1.2428753672788363e-17)
# The ranges of z that are scanned (log z for FAR). For |z| < 0.01, W is z up to a rounding or two.
RANGES = {
    "NEAR": ((-1e-2, 1e-7 - 1 / np.e), (1e-2, NEAR)),
    "MID": ((NEAR, FAR),),
    "FAR": ((np.log(FAR), np.log(MAX32)),),
}


# The targets: lists of (t, value, allowed error).


def nodes(low, high, count=160):
    """Returns Chebyshev nodes, denser towards both ends, where a fit's error oscillates faster."""
    angles = (mp.pi * (2 * k + 1) / (2 * count) for k in range(count))
    return [low + (high - low) * (1 - mp.cos(a)) / 2 for a in angles]


def w_of(z):
    return mp.lambertw(mp.mpf(z)).real


def root(w):
    return mp.sqrt(2 * (w * mp.exp(w) + mp.exp(-1)))


def near(end):
    return [(root(w), mp.exp(-w) - 1, mp.exp(-w)) for w in nodes(mp.mpf(-1), w_of(end))]


def mid():
    ws = nodes(w_of(NEAR), w_of(FAR))
    return [(w * mp.exp(w), mp.exp(-w) - mp.mpf(1) / 2, mp.exp(-w)) for w in ws]


def geometric(start, end):
    return map(mp.exp, nodes(mp.log(w_of(start)), mp.log(w_of(end))))


def far():
    """Allows what remains of 2.1 ulp of w after the rounding of its sum, q and log z.

    Rounding log z costs up to 1.1 ulp of w where log z lies a binade above w. There, the fit must
    be most accurate.
    """
    points = []
    for w in geometric(FAR, MAX32):
        x, q = w + mp.log(w), 1 - mp.log(w)
        ulp_w, ulp_x = (mp.mpf(2) ** (mp.frexp(v)[1] - 24) for v in (w, x))
        logarithm = 0.55 * ulp_x * w / (1 + w)
        points.append((x, q, 1.6 * ulp_w - logarithm - 1.3 * abs(q) * mp.mpf(2) ** -24))
    return points


def start(t0):
    ws = geometric(NEAR64, MAX64)
    return [(mp.sqrt(w + mp.log(w) + START_SHIFT) - t0, mp.log(w), mp.mpf(1)) for w in ws]


def slope():
    ws = nodes(mp.mpf(-1), w_of(mp.mpf(SLOPE_END) ** 2 / 2 - mp.exp(-1)))
    return [(root(w), (1 + w) / root(w), (1 + w) / root(w)) for w in ws]


# The fits.


def minimax(points, m, n, sweeps=30):
    """Returns (N, D) of degrees m and n, by weighted least squares on N - value * D.

    The weight 1 / (D * allowed), with D of the previous sweep, turns the linear residual into the
    wanted error (Sanathanan and Koerner). A second weight, which grows with the previous sweep's
    error, turns the least sum of squares into the least maximum (Lawson).
    """
    ts, values, allowed = zip(*points, strict=True)
    den, lawson, best = [mp.mpf(1)], [mp.mpf(1)] * len(ts), None
    for _ in range(sweeps):
        size = [a * polynomial(den, t) for a, t in zip(allowed, ts, strict=True)]
        columns = [[mp.sqrt(g) / s for g, s in zip(lawson, size, strict=True)]]
        for _ in range(max(m, n)):
            columns.append([p * t for p, t in zip(columns[-1], ts, strict=True)])
        weighted = [[-c * f for c, f in zip(column, values, strict=True)] for column in columns]
        basis = columns[: m + 1] + weighted[1 : n + 1]
        # Normal equations square the condition number. Hence the 60 digits in fits().
        gram = mp.matrix([[mp.fdot(a, b) for b in basis] for a in basis])
        solution = list(mp.lu_solve(gram, mp.matrix([-mp.fdot(a, weighted[0]) for a in basis])))
        num, den = solution[: m + 1], [mp.mpf(1), *solution[m + 1 :]]
        errors = [abs(polynomial(num, t) / polynomial(den, t) - f) / a for t, f, a in points]
        top = max(errors)
        if best is None or top < best[0]:
            best = top, num, den
        lawson = [g * (e / top + mp.mpf("1e-9")) for g, e in zip(lawson, errors, strict=True)]
        scale = max(lawson)
        lawson = [g / scale for g in lawson]
    return best[1:]


def largest_error(points, num, den):
    num, den = ([mp.mpf(float(c)) for c in part] for part in (num, den))
    return float(max(abs(polynomial(num, t) / polynomial(den, t) - f) / a for t, f, a in points))


def metric(points, num, den, order):
    """Returns (keys, R): a change c of the coefficients moves error / allowed by |R c| (2-norm).

    R is triangular. A key is (0, power) in N or (1, power) in D. With `order` +1, powers increase.
    """
    keys = [(0, k) for k in range(len(num))] + [(1, k) for k in range(1, len(den))]
    keys.sort(key=lambda key: order * key[1])
    columns = []
    for part, k in keys:
        factors = ((-f if part else 1) / (polynomial(den, t) * a) for t, f, a in points)
        columns.append([t**k * factor for (t, _, _), factor in zip(points, factors, strict=True)])
    return keys, mp.cholesky(mp.matrix([[mp.fdot(a, b) for b in columns] for a in columns])).T


def rounded(num, den, keys, r, dtype=np.float32, offsets=()):
    """Rounds the coefficients one by one, from the last of `keys` to the first. After each, the
    remaining ones compensate for the change as well as possible (Babai's nearest plane algorithm).

    `offsets` moves the first coefficients that are rounded that many floats away from the nearest.
    """
    table, changes, n = [list(num), list(den)], {}, len(keys)
    for i in reversed(range(n)):
        part, k = keys[i]
        offset = offsets[n - 1 - i] if n - 1 - i < len(offsets) else 0
        best = table[part][k] - sum(r[i, j] * changes[j] for j in changes) / r[i, i]
        nearest = dtype(best)
        value = mp.mpf(float(nearest + dtype(offset) * np.spacing(nearest)))
        changes[i] = value - table[part][k]
        table[part][k] = value
    return table


# Chooses float32 tables by their errors in the float32 operations of the module itself.


def horner32(coefficients, t, fused):
    # A float64 holds a product of two float32 exactly, so rounding happens once, as in an FMA.
    wide = t.astype(np.float64) if fused else t
    result = np.full_like(t, coefficients[-1])
    for c in coefficients[-2::-1]:
        result = (result * wide + (float(c) if fused else c)).astype(np.float32)
    return result


def w_of_log(x):
    w = 0.8 * np.log1p(np.exp(x))
    for _ in range(5):
        w = w * (1 + x - np.log(w)) / (1 + w)
    return w


def case(name, z, near64):
    """Returns t, A and M of the module's W = A + M N(t) / D(t); the exact W; an error to add."""
    wide = z.astype(np.float64)
    if name == "NEAR":
        t64 = np.sqrt(2 * ((wide + INV_E64[0]) + INV_E64[1]))
        w = wide + wide * (polynomial(near64[0], t64) / polynomial(near64[1], t64))
        return np.sqrt((z + INV_E32[0]) * 2 + 2 * INV_E32[1]), z, z, w, 0
    if name == "MID":
        return z, z * np.float32(0.5), z, w_of_log(np.log(wide)), 0
    # Here z is log z, taken as exact. The largest error of the logarithm is added.
    w = w_of_log(wide)
    return z, z - np.float32(1), np.ones_like(z), w, 0.55 * np.spacing(z) * w / (1 + w)


def loss(ulps):
    # Without FMA, an error larger by 1/4 ulp is accepted.
    return max(ulps[0], ulps[1] - 0.25)


def largest_ulp(name, table, near64, stride, limit=np.inf):
    """Returns W's largest errors in ulp with and without FMA; stops early if over `limit`."""
    num, den = ([np.float32(c) for c in part] for part in table)
    top = [0.0, 0.0]
    for low, high in RANGES[name]:
        first, last = (int(np.float32(abs(x)).view(np.int32)) for x in (low, high))
        z = np.copysign(np.arange(first, last, stride, dtype=np.int32).view(np.float32), low)
        for chunk in np.array_split(z.astype(np.float32), z.size // 2**16 + 1):
            t, a, m, w, extra = case(name, chunk, near64)
            ulp = np.ldexp(1.0, np.frexp(w)[1] - 24)
            for k, fused in enumerate((True, False)):
                q = horner32(num, t, fused) / horner32(den, t, fused)
                wide = m.astype(np.float64) if fused else m
                error = np.abs((a + wide * q).astype(np.float32) - w) + extra
                top[k] = max(top[k], float((error / ulp).max()))
            if loss(top) > limit:
                return top
    return top


def choose(name, points, num, den, near64):
    """Picks the best of 162 roundings, in scans of more and more floats for fewer and fewer tables.

    The last scan visits every float. Tables that fit equally well differ by chance in their worst
    float, so it pays to try many.
    """
    tables = []
    for order in (1, -1):
        keys, r = metric(points, num, den, order)
        for offsets in itertools.product((0, 1, -1), repeat=4):
            table = rounded(num, den, keys, r, offsets=offsets)
            tables.append((largest_error(points, *table), table))
    tables = [table for _, table in sorted(tables, key=lambda pair: pair[0])]
    for count, stride in ((70, 47), (24, 7)):
        tables = tables[:count]
        tables.sort(key=lambda table: loss(largest_ulp(name, table, near64, stride)))
    best, ulps = None, (np.inf, np.inf)
    for table in tables[:10]:
        found = largest_ulp(name, table, near64, 1, loss(ulps))
        if loss(found) < loss(ulps):
            best, ulps = table, found
    return best, ulps


def fits():
    """Returns {table: (points, degree of N, degree of D)}, in 60 digits."""
    mp.mp.dps = 60
    return {
        "NEAR64": (near(NEAR64), 7, 7),
        "NEAR": (near(NEAR), 3, 3),
        "MID": (mid(), 5, 4),
        "FAR": (far(), 6, 5),
        "START": (start(START_T0), 5, 5),
        "SLOPE": (slope(), 5, 0),
        "SLOPE64": (slope(), 12, 0),
    }


def show(name, values):
    """Prints a table as source; returns whether the module has the same digits."""
    text = f"_{name} = ({', '.join(repr(float(v)) for v in values)})"
    lines = textwrap.wrap(text, 86, subsequent_indent=" " * (len(name) + 5))
    print("\n".join(lines) + ("  # fmt: skip" if len(lines) > 1 else ""), flush=True)
    return getattr(_lambertw, f"_{name}") == tuple(float(v) for v in values)


def main():
    near64 = None
    for name, (points, m, n) in fits().items():
        num, den = minimax(points, m, n)
        note = ""
        if name in RANGES:
            (num, den), (fused, unfused) = choose(name, points, num, den, near64)
            note = f"; W within {fused:.2f} ulp, {unfused:.2f} without FMA"
        else:
            dtype = np.float64 if name.endswith("64") else np.float32
            num, den = rounded(num, den, *metric(points, num, den, -1), dtype)
        if name == "NEAR64":
            near64 = [[float(c) for c in part] for part in (num, den)]
        print(f"# Largest error / allowed: {largest_error(points, num, den):.1e}{note}.")
        if name == "START":
            print(f"_START_SHIFT, _START_T0 = {float(START_SHIFT)}, {START_T0}")
        same = show(f"{name}_N" if n else name, num)
        if n:
            same &= show(f"{name}_D", den)
        if not same:
            print("# The module has other digits here.")


if __name__ == "__main__":
    main()
