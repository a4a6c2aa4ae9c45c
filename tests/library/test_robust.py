"""The robust losses against their papers' formulas in 40 digits or float64, and official codes."""

import math

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

from superloss_jax import curricula, noise, robust
from tests.library.batch import (
    CLASSES,
    LABELS,
    LOGITS,
    LOSSES,
    ONE_HOT,
    P_Y,
    P,
    of_logits,
    of_losses,
    of_several,
    with_all_labels,
)
from tests.library.reference import exact

EPS = float(jnp.finfo(jnp.result_type(float)).eps)
SYMMETRIC = noise.transition_matrix("symmetric_exclusive", 0.4, CLASSES)
ASYMMETRIC = noise.transition_matrix("asymmetric", 0.4, CLASSES, flips={0: 1, 3: 2})


def assert_close(values, expected, losses, smallest=0.0):
    """Allows a few ulp, and the error from rounding the argument of exp."""
    for value, reference, loss in zip(values, expected, losses, strict=True):
        error = abs(exact(value) - reference)
        assert error <= 8 * EPS * (1 + min(loss, 100)) * abs(reference) + smallest, (loss, value)


@pytest.mark.parametrize("q", [0.0, 1e-40, 1e-5, 0.7, 1.0])
def test_generalized_cross_entropy(q):
    values, slopes = of_losses(robust.generalized_cross_entropy(q=q), LOSSES)
    p = [mpmath.exp(-exact(loss)) for loss in np.asarray(jnp.asarray(LOSSES))]
    with mpmath.workdps(90):
        expected = [(1 - x**q) / mpmath.mpf(q) if q else -mpmath.log(x) for x in p]
    assert_close(values, expected, LOSSES, smallest=1e-37)
    assert_close(slopes, [x ** mpmath.mpf(q) for x in p], LOSSES, smallest=1e-37)


def clipped_symmetric_cross_entropy(alpha, beta):
    """The official TensorFlow code (YisenWang), for one example instead of the mean."""
    prediction, label = np.clip(P, 1e-7, 1), np.clip(ONE_HOT, 1e-4, 1)
    ce = -(ONE_HOT * np.log(prediction)).sum(axis=-1)
    return alpha * ce + beta * -(P * np.log(label)).sum(axis=-1)


@pytest.mark.parametrize(("alpha", "beta"), [(0.1, 1.0), (6.0, 0.1), (1.0, 0.0)])
def test_symmetric_cross_entropy(alpha, beta):
    losses = -np.log(P_Y)
    values, slopes = of_losses(robust.symmetric_cross_entropy(alpha=alpha, beta=beta), losses)
    np.testing.assert_allclose(values, alpha * losses + beta * 4 * (1 - P_Y), rtol=1e-5)
    np.testing.assert_allclose(slopes, alpha + beta * 4 * P_Y, rtol=1e-5)
    transform = robust.symmetric_cross_entropy(alpha=alpha, beta=beta, log_zero=math.log(1e-4))
    official = clipped_symmetric_cross_entropy(alpha, beta)
    inside = P_Y > 1e-7
    assert inside.sum() == 3
    np.testing.assert_allclose(of_losses(transform, losses)[0][inside], official[inside], rtol=1e-5)


@pytest.mark.parametrize("passive", ["rce", "mae"])
def test_active_passive_is_the_official_code(passive):
    alpha, beta = 10.0, 0.1
    values, _ = of_logits(robust.active_passive(passive=passive, alpha=alpha, beta=beta))
    log_p = np.log(P)
    nce = (ONE_HOT * log_p).sum(axis=1) / log_p.sum(axis=1)
    prediction, label = np.clip(P, 1e-7, 1), np.clip(ONE_HOT, 1e-4, 1)
    rce = -(prediction * np.log(label)).sum(axis=1)
    mae = 1 - (ONE_HOT * P).sum(axis=1)
    expected = alpha * nce + beta * {"rce": rce, "mae": mae}[passive]
    np.testing.assert_allclose(values, expected, rtol=2e-6)


def test_active_passive_loss_sums_to_a_constant_over_labels():
    """Checks the symmetry that makes the loss robust in the paper, and the bounds it implies."""
    logits = np.concatenate([LOGITS, [[1e4, -1e4, 0, 0, 0], [1e4, 1e4, 0, 0, 0]]])
    transform = robust.active_passive(alpha=2.0, beta=3.0, log_zero=-4.0)
    by_label, _ = of_logits(transform, *with_all_labels(logits))
    np.testing.assert_allclose(by_label.sum(axis=1), 2 + 3 * 4 * (CLASSES - 1), rtol=1e-5)
    assert (by_label >= 0).all()
    assert (by_label <= 2 + 3 * 4).all()
    # If the network is certain of a class, NCE is 0 for it and 1 / (C - 1) for any other.
    inputs = with_all_labels([[1e4, 0, 0, 0, 0]])
    certain, _ = of_logits(robust.active_passive(beta=0.0), *inputs)
    np.testing.assert_allclose(certain, [[0, *[1 / (CLASSES - 1)] * (CLASSES - 1)]], rtol=1e-6)


@pytest.mark.parametrize(("beta", "weight"), [(None, 0.95), (0.3, 0.3), (1.0, 1.0)])
def test_soft_bootstrap(beta, weight):
    values, grads = of_logits(robust.bootstrap(beta=beta))
    log_p = np.log(P)
    expected = -((weight * ONE_HOT + (1 - weight) * P) * log_p).sum(axis=1)
    np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-7)
    entropy = -(P * log_p).sum(axis=1, keepdims=True)
    slope = weight * (P - ONE_HOT) - (1 - weight) * P * (log_p + entropy)
    np.testing.assert_allclose(grads, slope, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("beta", "weight"), [(None, 0.8), (0.3, 0.3), (1.0, 1.0)])
def test_hard_bootstrap(beta, weight):
    values, grads = of_logits(robust.bootstrap(beta=beta, hard=True))
    target = weight * ONE_HOT + (1 - weight) * np.eye(CLASSES)[P.argmax(axis=1)]
    np.testing.assert_allclose(values, -(target * np.log(P)).sum(axis=1), rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(grads, P - target, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("gamma", [0.0, 1e-3, 0.5, 1.0, 2.0])
def test_focal(gamma):
    # Also at and below 0, since rounding may make a loss negative.
    subnormal = np.finfo(jnp.result_type(float)).smallest_subnormal
    losses = [*LOSSES, -1e-8, -0.0, subnormal]
    all_values, all_slopes = of_losses(robust.focal(gamma=gamma), losses)
    expected, derivatives = [], []
    with mpmath.workdps(90):
        for loss in np.asarray(jnp.asarray(LOSSES[1:])):
            loss = exact(loss)
            p = mpmath.exp(-loss)
            expected.append((1 - p) ** gamma * loss)
            derivatives.append((1 - p) ** gamma * (1 + gamma * p * loss / (1 - p)))
    n = len(LOSSES)
    assert_close(all_values[1:n], expected, LOSSES[1:], smallest=1e-37)
    assert_close(all_slopes[1:n], derivatives, LOSSES[1:], smallest=1e-37)
    at_zero = [0, n, n + 1]
    np.testing.assert_array_equal(all_slopes[at_zero], float(gamma == 0))
    np.testing.assert_allclose(all_values[at_zero], [0, -1e-8 if gamma == 0 else 0, 0])
    assert np.isfinite([all_values[-1], all_slopes[-1]]).all()


OF_LOGITS = [
    robust.active_passive(),
    robust.bootstrap(),
    robust.bootstrap(hard=True),
    robust.forward_correction(ASYMMETRIC),
    robust.backward_correction(SYMMETRIC),
]


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_saturated_logits(dtype):
    logits = 1e4 * jnp.array([[1, -1, 0, 0, 0], [-1, 1, 0, 1, 0], [1, 1, 1, 1, 1]], dtype)
    values, grads = of_several(OF_LOGITS, *with_all_labels(logits))
    assert values.dtype == grads.dtype == dtype
    assert np.isfinite(np.float32(values)).all()
    assert np.isfinite(np.float32(grads)).all()


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize(
    ("transform", "largest"),
    [
        (robust.generalized_cross_entropy(q=0.5), 2),
        (curricula.truncated_gce(q=0.5, k=0.25), 1),
        (robust.symmetric_cross_entropy(alpha=0.5), 5004),
        (robust.focal(gamma=0.5), 1e4),
    ],
)
def test_extreme_losses(transform, largest, dtype):
    losses = jnp.array([1e4, 0.0, -1e-7], dtype)
    values, slopes = of_losses(transform, losses, transform.init())
    assert values.dtype == slopes.dtype == dtype
    np.testing.assert_allclose(np.float32(values), [largest, 0, 0], rtol=5e-3, atol=1e-6)
    assert np.isfinite(np.float32(slopes)).all()
    assert (slopes >= 0).all()


@pytest.mark.parametrize(
    "build",
    [
        lambda x: robust.generalized_cross_entropy(q=x),
        lambda x: curricula.truncated_gce(k=x),
        lambda x: robust.focal(gamma=x),
        lambda x: robust.bootstrap(beta=x),
    ],
)
def test_hyperparameters_may_be_traced(build):
    """Traced hyperparameters work, and give the limit at 0."""
    logits, labels = jnp.asarray(LOGITS), jnp.asarray(LABELS)
    losses = jnp.asarray(-np.log(P_Y))

    def run(x):
        transform = build(x)
        return transform.update(losses, transform.init(), logits=logits, labels=labels)[0]

    numbers = [0.0, 0.4, 0.9]
    together = jax.jit(jax.vmap(run))(jnp.array(numbers))
    apart = jax.jit(lambda: jnp.stack([run(number) for number in numbers]))()
    np.testing.assert_allclose(together, apart, rtol=1e-5, atol=1e-6)


def test_a_label_too_high_is_no_other_class():
    for values in of_several(OF_LOGITS, labels=[2, 1, CLASSES, 4])[0]:
        np.testing.assert_array_equal(np.isnan(values), [False, False, True, False])


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: robust.generalized_cross_entropy(q=1.1), r"q: expected a number in \[0, 1\], got"),
        (lambda: curricula.truncated_gce(q=-0.1), r"q: expected a number in \[0, 1\], got -0.1"),
        (lambda: curricula.truncated_gce(k=1.0), r"k: expected a number in \[0, 1\), got 1.0"),
        (lambda: curricula.truncated_gce(start=-1), "start: expected an integer >= 0, got -1"),
        (lambda: curricula.truncated_gce(start=1.0), "start: expected an integer >= 0, got 1.0"),
        (lambda: robust.symmetric_cross_entropy(alpha=-1), "alpha: expected a finite number >= 0"),
        (lambda: robust.symmetric_cross_entropy(beta=math.inf), "beta: expected a finite number"),
        (
            lambda: robust.symmetric_cross_entropy(log_zero=0),
            "log_zero: expected a finite",
        ),
        (
            lambda: robust.active_passive(passive="ce"),
            "passive: expected rce, mae, agce, aul, ael, got",
        ),
        (
            lambda: robust.active_passive(log_zero=4.0),
            "log_zero: expected a finite number < 0",
        ),
        (lambda: robust.active_passive(alpha="1"), "alpha: expected a finite number >= 0, got '1'"),
        (lambda: robust.bootstrap(beta=1.5), r"beta: expected a number in \[0, 1\], got 1.5"),
        (lambda: robust.focal(gamma=-1), "gamma: expected a finite number >= 0, got -1"),
        (lambda: robust.focal(gamma=math.nan), "gamma: expected a finite number >= 0, got nan"),
    ],
)
def test_hyperparameters_are_checked(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_one_class_cannot_be_normalized():
    with pytest.raises(ValueError, match=r"expected at least 2 classes, got \(4, 1\)"):
        of_logits(robust.active_passive(), LOGITS[:, :1], np.zeros(4, int))
