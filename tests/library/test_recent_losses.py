"""Losses of 2021 to 2025 against plain formulas in float64, as their official codes have them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from superloss_jax import chain, robust
from tests.library.batch import (
    CLASSES,
    LABELS,
    LOGITS,
    ONE_HOT,
    P_Y,
    P,
    of_logits,
    of_losses,
    of_several,
    with_all_labels,
    with_slopes,
)

X64 = bool(jax.config.read("jax_enable_x64"))
RTOL = 1e-12 if X64 else 2e-6
# From certain of the label to nearly certain of another, with both ends.
LOSSES = np.array([0.0, 1e-12, 1e-4, 0.1, 0.69, 0.71, 2.3, 9.0, 30.0, 1e4, np.inf])
AT = np.exp(-LOSSES)

# By name: how it is built, the formula of p, and its derivative by the loss.
OF_P = {
    "agce": (
        lambda a, q: robust.asymmetric_gce(a=a, q=q),
        lambda p, a, q: ((a + 1) ** q - (a + p) ** q) / q,
        lambda p, a, q: p * (a + p) ** (q - 1),
    ),
    "aul": (
        lambda a, q: robust.asymmetric_unhinged(a=a, q=q),
        lambda p, a, q: ((a - p) ** q - (a - 1) ** q) / q,
        lambda p, a, q: p * (a - p) ** (q - 1),
    ),
    "ael": (
        lambda a, q: robust.asymmetric_exponential(a=a),
        lambda p, a, q: np.exp(-p / a),
        lambda p, a, q: p / a * np.exp(-p / a),
    ),
}


ASYMMETRIC = (
    ("agce", 0.6, 0.6), ("agce", 6.0, 1.5), ("agce", 1e-5, 0.5), ("agce", 1.8, 3.0),
    ("aul", 5.5, 3.0), ("aul", 6.3, 1.5), ("aul", 3.0, 0.1), ("ael", 2.5, 0.0), ("ael", 1.5, 0.0),
)  # fmt: skip


def of_each(transforms, inputs, update):
    """Returns values and gradients of several transforms, each with its own copy of the inputs."""

    def stacked(copies):
        return jnp.stack([update(t, x) for t, x in zip(transforms, copies, strict=True)])

    return with_slopes(stacked, jnp.stack([jnp.asarray(inputs)] * len(transforms)))


def test_asymmetric_losses():
    transforms = [OF_P[name][0](a, q) for name, a, q in ASYMMETRIC]
    values, slopes = of_each(transforms, LOSSES, lambda t, x: t.update(x, ())[0])
    for i, (name, a, q) in enumerate(ASYMMETRIC):
        _, value, slope = OF_P[name]
        # NumPy's own difference of powers loses digits near p = 1.
        expected = value(AT, a, q)
        np.testing.assert_allclose(values[i], expected, rtol=RTOL, atol=1e-13 if X64 else 1e-12)
        np.testing.assert_allclose(slopes[i], slope(AT, a, q), rtol=10 * RTOL, atol=1e-30)


def test_asymmetric_losses_at_the_ends_by_hand():
    agce, _ = of_losses(robust.asymmetric_gce(a=1.0, q=2.0), [0.0, np.inf, -1e-7])
    np.testing.assert_allclose(agce, [0, 1.5, 0], atol=1e-6)  # (2^2 - 1^2) / 2
    aul, _ = of_losses(robust.asymmetric_unhinged(a=2.0, q=1.0), [0.0, np.inf, -1e-7])
    np.testing.assert_allclose(aul, [0, 1, 0], atol=1e-6)  # mean absolute error
    # Even where 1 + a is 1, nothing is infinite or NaN.
    values, slopes = of_losses(robust.asymmetric_gce(a=1e-30, q=0.5), LOSSES)
    np.testing.assert_allclose(values, 2 * (1 - np.sqrt(AT)), rtol=10 * RTOL, atol=1e-12)
    np.testing.assert_allclose(slopes, np.sqrt(AT), rtol=10 * RTOL, atol=1e-7)


def nce(p=P, one_hot=ONE_HOT):
    return (one_hot * np.log(p)).sum(axis=-1) / np.log(p).sum(axis=-1)


def passive(name, a):
    transform = robust.active_passive(passive=name, a=a, q=1.5, alpha=3, beta=4)
    return transform, 3 * nce() + 4 * OF_P[name][1](P_Y, a, 1.5)


def negative(p_min):
    q = np.log(np.maximum(P, p_min)) - np.log(p_min)
    expected = 5 * nce() + 2 * (1 - (ONE_HOT * q).sum(axis=1) / q.sum(axis=1))
    return robust.active_negative(alpha=5, beta=2, p_min=p_min), expected


def joint(a):
    squares = ((a * ONE_HOT - P) ** 2).mean(axis=1)
    return robust.joint_asymmetric(alpha=5, beta=2, a=a), 5 * nce() + 2 * squares


EPSILON = ((1e5, 0.01, 5, 1e-8), (3.0, 2.0, 0, 1e-8), (9.0, 1, 1, 0.015))


def sharpened(m):
    largest = np.eye(CLASSES)[P.argmax(axis=1)]  # of a tie, the first
    return (P + m * largest) / (m + 1)


def epsilon(m, alpha, beta, p_min):
    transform = robust.epsilon_softmax(m=m, alpha=alpha, beta=beta, p_min=p_min)
    ce = -(ONE_HOT * np.log(np.maximum(sharpened(m), p_min))).sum(axis=1)
    return transform, alpha * ce + 2 * beta * (1 - P_Y)


SMOOTHING = (0.0, 0.1, 1.0)


def smoothed(smoothing):
    targets = optax.smooth_labels(jnp.asarray(ONE_HOT), smoothing)
    expected = optax.softmax_cross_entropy(jnp.asarray(LOGITS), targets)
    return robust.label_smoothing(smoothing=smoothing), np.asarray(expected)


NORM = np.linalg.norm(LOGITS, axis=1, keepdims=True)
DELTAS = (0.5, 3.0, 100.0)


def clipped(delta):
    z = LOGITS * np.minimum(1, delta / np.where(NORM > 0, NORM, 1))
    expected = np.log(np.exp(z).sum(axis=1)) - (ONE_HOT * z).sum(axis=1)
    return robust.logit_clip(delta=delta), expected


PRIOR = np.linspace(1, 50, CLASSES)


def adjusted(tau, more=0.0):
    """Cross entropy of z + log(pi^tau + more), pi of sum 1; the official code has more = 1e-12."""
    z = LOGITS + np.log((PRIOR / PRIOR.sum()) ** tau + more)
    expected = np.log(np.exp(z).sum(axis=1)) - (ONE_HOT * z).sum(axis=1)
    return robust.logit_adjustment(PRIOR, tau=tau), expected


CASES = {
    "agce": passive("agce", 6.0), "aul": passive("aul", 6.3), "ael": passive("ael", 5.0),
    "anl": negative(1e-7), "anl_clipped": negative(0.05),  # some classes are, and a label
    "jal": joint(30.0), "jal_mse": joint(1.0),
    **{f"epsilon_{i}": epsilon(*case) for i, case in enumerate(EPSILON)},
    **{f"smoothing_{number}": smoothed(number) for number in SMOOTHING},
    **{f"clip_{delta}": clipped(delta) for delta in DELTAS},
    **{f"adjusted_{tau}": adjusted(tau) for tau in (0.0, 1.0, 2.5)},
}  # fmt: skip


@functools.cache
def found():
    """Returns values and gradients of all cases by name, compiled at once."""
    labels, nothing = jnp.asarray(LABELS), jnp.full(4, 7, jnp.result_type(float))

    def update(transform, logits):
        return transform.update(nothing, (), logits=logits, labels=labels)[0]

    together = of_each([transform for transform, _ in CASES.values()], LOGITS, update)
    return dict(zip(CASES, zip(*together, strict=True), strict=True))


@pytest.mark.parametrize("name", CASES)
def test_values_are_those_of_the_plain_formula(name):
    np.testing.assert_allclose(found()[name][0], CASES[name][1], rtol=10 * RTOL, atol=1e-7)


def test_logit_adjustment_is_near_the_official_code():
    expected = adjusted(2.5, more=1e-12)[1]
    np.testing.assert_allclose(found()["adjusted_2.5"][0], expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("case", range(len(EPSILON)))
def test_gradient_of_epsilon_softmax(case):
    """By p_y it is -alpha / (q (m + 1)), and 0 where q is clipped."""
    m, alpha, beta, p_min = EPSILON[case]
    q = sharpened(m)[np.arange(4), LABELS]
    by_p = -2 * beta - alpha * np.where(q > p_min, 1 / (q * (m + 1)), 0)
    expected = (by_p * P_Y)[:, None] * (ONE_HOT - P)
    np.testing.assert_allclose(found()[f"epsilon_{case}"][1], expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("smoothing", SMOOTHING)
def test_gradient_of_label_smoothing(smoothing):
    expected = P - (1 - smoothing) * ONE_HOT - smoothing / CLASSES
    np.testing.assert_allclose(found()[f"smoothing_{smoothing}"][1], expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("delta", DELTAS)
def test_a_clipped_example_has_no_gradient_along_its_logits(delta):
    """One that is not clipped has that of its loss, also where all logits are 0."""
    slopes, is_clipped = found()[f"clip_{delta}"][1], NORM[:, 0] > delta
    assert is_clipped.tolist() == [delta < 2, delta < 30, delta < 6, False]
    np.testing.assert_allclose((slopes * LOGITS).sum(axis=1)[is_clipped], 0, atol=1e-6)
    np.testing.assert_allclose(slopes[~is_clipped], (P - ONE_HOT)[~is_clipped], atol=1e-6)


def test_active_negative_gives_clipped_classes_no_gradient():
    logits = np.array([[0.0, 1.0, -40.0]])
    transform = robust.active_negative(alpha=0.0, beta=1.0)
    ((value,), (slopes,)) = of_logits(transform, logits, np.array([2]))
    assert (value, slopes.tolist()) == (1, [0, 0, 0])  # p_y is clipped: at its upper bound
    ((value,), (slopes,)) = of_logits(transform, logits, np.array([0]))
    a, log_p = -np.log(1e-7), np.log([1 / (1 + np.e), np.e / (1 + np.e)])
    np.testing.assert_allclose(value, 1 - (a + log_p[0]) / (2 * a + log_p.sum()), rtol=1e-5)
    np.testing.assert_allclose(slopes[2], 0, atol=1e-9)
    # Over labels, both terms sum to a constant: the symmetry of the paper.
    by_label, _ = of_logits(robust.active_negative(), *with_all_labels(LOGITS))
    np.testing.assert_allclose(by_label.sum(axis=1), 5 + 5 * (CLASSES - 1), rtol=1e-5)


def test_epsilon_softmax_is_sharp_in_float32():
    """(p + 1e5) / (1e5 + 1), rounded, would not tell p = 0.5 from 0.501."""
    transform = robust.epsilon_softmax(alpha=1.0, beta=0.0)
    logits = np.log(np.array([[0.501, 0.499], [0.6, 0.4]]))
    values, _ = of_logits(transform, logits, np.array([0, 0]))
    np.testing.assert_allclose(values, [0.499 / 100_001, 0.4 / 100_001], rtol=1e-4)


def test_what_follows_a_logit_clip_sees_the_clipped_loss():
    clip, gce = robust.logit_clip(delta=1.0), robust.generalized_cross_entropy(q=1.0)
    both = chain(clip, gce)
    logits, labels = jnp.array([[3.0, 4.0]]), jnp.array([1])
    values, _ = both.update(jnp.full(1, 9.0), both.init(), logits=logits, labels=labels)
    np.testing.assert_allclose(values, 1 - 1 / (1 + np.exp(-0.2)), rtol=1e-5)


def test_a_masked_class_has_no_part_in_the_norm():
    transform = robust.logit_clip(delta=1.0)
    labels = np.array([1])
    masked, slopes = of_logits(transform, np.array([[3.0, 4.0, -np.inf]]), labels)
    without, slopes_without = of_logits(transform, np.array([[3.0, 4.0]]), labels)
    np.testing.assert_allclose(masked, without, rtol=1e-6)
    np.testing.assert_allclose(slopes[:, :2], slopes_without, atol=1e-6)
    assert slopes[0, 2] == 0


OF_LOGITS = [
    robust.active_passive(passive="agce"),
    robust.active_negative(),
    robust.joint_asymmetric(),
    robust.epsilon_softmax(),
    robust.label_smoothing(),
    robust.logit_clip(),
]


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_saturated_logits(dtype):
    logits = 1e4 * jnp.array([[1, -1, 0, 0, 0], [-1, 1, 0, 1, 0], [1, 1, 1, 1, 1]], dtype)
    values, grads = of_several(OF_LOGITS, *with_all_labels(logits))
    assert values.dtype == grads.dtype == dtype
    assert np.isfinite(np.float32(values)).all()
    assert np.isfinite(np.float32(grads)).all()


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: robust.asymmetric_gce(a=0), "a: expected a number > 0, got 0"),
        (lambda: robust.asymmetric_gce(q=-1.0), "q: expected a number > 0, got -1.0"),
        (lambda: robust.asymmetric_unhinged(a=1.0), "a: expected a finite number > 1, got 1.0"),
        (lambda: robust.asymmetric_exponential(a=0), "a: expected a number > 0, got 0"),
        (lambda: robust.active_passive(passive="aul", a=1), "a: expected a finite number > 1"),
        (lambda: robust.active_negative(p_min=0.0), r"p_min: expected a number in \(0, 1\), got"),
        (lambda: robust.active_negative(beta=-1), "beta: expected a finite number >= 0, got -1"),
        (lambda: robust.joint_asymmetric(a=0), "a: expected a number > 0, got 0"),
        (lambda: robust.epsilon_softmax(m=-1), "m: expected a finite number >= 0, got -1"),
        (lambda: robust.epsilon_softmax(p_min=1), r"p_min: expected a number in \(0, 1\), got 1"),
        (lambda: robust.label_smoothing(smoothing=2), r"smoothing: expected a number in \[0, 1\]"),
        (lambda: robust.logit_clip(delta=0), "delta: expected a number > 0, got 0"),
        (lambda: robust.logit_adjustment([3, 0]), "prior: expected numbers > 0, got 0 at 1"),
        (lambda: robust.logit_adjustment([[1]]), r"prior: expected shape \(C,\), got \(1, 1\)"),
        (lambda: robust.logit_adjustment([1], tau=-1), "tau: expected a finite number >= 0"),
    ],
)
def test_hyperparameters_are_checked(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_one_class_cannot_be_normalized():
    for transform in (robust.active_negative(), robust.joint_asymmetric()):
        with pytest.raises(ValueError, match=r"expected at least 2 classes, got \(4, 1\)"):
            of_logits(transform, LOGITS[:, :1], np.zeros(4, int))
