"""Independent references: 40 digits of mpmath, and the definition of SuperLoss itself."""

import mpmath
import numpy as np

mpmath.mp.dps = 40


def exact(x) -> mpmath.mpf:
    return mpmath.mpf(float(x))


def lambertw(z) -> mpmath.mpf:
    """W0(z) by mpmath's own solver; -1 at floats that round to the branch point from below."""
    z = exact(z)
    if z <= -mpmath.exp(-1):
        return mpmath.mpf(-1)
    return mpmath.lambertw(z).real


def superloss(loss, tau, lam):
    """(SL, sigma, log(sigma)**2) as the paper writes them, in 40 digits."""
    distance, lam = exact(loss) - exact(tau), exact(lam)
    beta = max(-2 * mpmath.exp(-1), distance / lam)
    sigma = mpmath.exp(-mpmath.lambertw(beta / 2).real)
    square = mpmath.log(sigma) ** 2
    return distance * sigma + lam * square, sigma, square


def ulps(values, references):
    """Error of each float in units in the last place of the reference."""
    values = np.asarray(values)
    unit = [float(np.spacing(np.abs(values.dtype.type(float(r))))) for r in references]
    return np.array(
        [
            float(abs(exact(v) - r)) / u
            for v, r, u in zip(values.ravel(), references, unit, strict=True)
        ]
    )


def relative(value, reference) -> float:
    """Relative error in units of the dtype's eps."""
    eps = float(np.finfo(np.asarray(value).dtype).eps)
    return float(abs(exact(value) - reference) / abs(reference)) / eps
