"""scripts/fit_lambertw.py finds the coefficients in the module."""

import functools

import pytest

from scripts import fit_lambertw
from superloss_jax import _lambertw


@functools.cache
def fits():
    return fit_lambertw.fits()


# The whole script takes minutes; these two of its fits take a few seconds.
@pytest.mark.parametrize("name", ["SLOPE", "START"])
def test_the_script_finds_the_same_digits(name):
    points, m, n = fits()[name]
    table = fit_lambertw.minimax(points, m, n)
    table = fit_lambertw.rounded(*table, *fit_lambertw.metric(points, *table, -1))
    found = [tuple(float(c) for c in part) for part in table]
    if n:
        assert found == [_lambertw._START_N, _lambertw._START_D]
    else:
        assert found == [_lambertw._SLOPE, (1.0,)]


# What the script prints as the largest error / allowed of each rational.
ERRORS = {"NEAR64": 2.8e-17, "NEAR": 1.3e-8, "MID": 2.3e-9, "FAR": 0.25, "START": 2.1e-5}


@pytest.mark.parametrize("name", ERRORS)
def test_rationals_are_as_good_as_the_script_says(name):
    points, m, n = fits()[name]
    num, den = (getattr(_lambertw, f"_{name}_{part}") for part in "ND")
    assert (len(num), len(den)) == (m + 1, n + 1)
    error = fit_lambertw.largest_error(points, num, den)
    assert float(f"{error:.1e}") == ERRORS[name]
    # Every coefficient matters: a change in the sixth digit would show.
    for k in range(m + 1):
        nudged = [c * (1 + 1e-5 * (i == k)) for i, c in enumerate(num)]
        assert fit_lambertw.largest_error(points, nudged, den) > 1.1 * error
