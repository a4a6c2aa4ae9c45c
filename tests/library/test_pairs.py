"""Co-teaching and JoCoR against NumPy transcriptions of the official code, and edge cases."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from superloss_jax.pairs import co_teaching, jocor
from tests.library.compiled import update

N, C = 20, 5


def pair(seed=0, size=N):
    rng = np.random.default_rng(seed)
    logits = 2 * rng.normal(size=(2, size, C))
    labels = rng.integers(0, C, size)
    log_p = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    return logits, labels, -log_p[:, np.arange(size), labels], log_p


@jax.jit
def taught(losses, keep, where=None):
    transform = co_teaching(keep=lambda step: keep)

    def total(x):
        values, _ = transform.update(x, transform.init(), where=where)
        return values.mean(axis=1).sum(), values

    (_, values), grads = jax.value_and_grad(total, has_aux=True)(losses)
    return values, grads


taught_with_each = jax.jit(jax.vmap(taught, in_axes=(None, 0)))


@jax.jit
def joint(losses, logits, keep, lam):
    transform = jocor(keep=lambda step: keep, lam=lam)
    return transform.update(losses, transform.init(), logits=logits)[0]


def official_co_teaching(losses, forget_rate):
    """bhanML/Co-teaching, loss_coteaching: each network's mean over the other's small losses."""
    num_remember = int((1 - forget_rate) * losses.shape[1])
    first = np.argsort(losses[0], kind="stable")[:num_remember]
    second = np.argsort(losses[1], kind="stable")[:num_remember]
    return losses[0][second].mean(), losses[1][first].mean()


def official_jocor(losses, log_p, forget_rate, co_lambda):
    """hongxin001/JoCoR, loss_jocor; F.kl_div(input, target) is target * (log target - input)."""

    def kl_loss(pred, soft_targets):
        return (np.exp(soft_targets) * (soft_targets - pred)).sum(axis=1)

    pick = losses.sum(axis=0) * (1 - co_lambda)
    pick = pick + co_lambda * kl_loss(log_p[0], log_p[1]) + co_lambda * kl_loss(log_p[1], log_p[0])
    kept = np.argsort(pick, kind="stable")[: int((1 - forget_rate) * len(pick))]
    return pick[kept].mean(), kept


@pytest.mark.parametrize("rate", [0.0, 0.2, 0.45, 0.5, 0.83])
def test_co_teaching_is_the_official_loss(rate):
    _, _, losses, _ = pair()
    values, grads = taught(jnp.array(losses), 1 - rate)
    np.testing.assert_allclose(values.mean(axis=1), official_co_teaching(losses, rate), rtol=1e-5)
    kept = int((1 - rate) * N)
    np.testing.assert_allclose(grads, np.where(values > 0, 1 / kept, 0), rtol=1e-6)
    assert (np.sum(values > 0, axis=1) == kept).all()


@pytest.mark.parametrize("rate", [0.0, 0.2, 0.83])
@pytest.mark.parametrize("lam", [0.0, 0.65, 0.9, 1.0])
def test_jocor_is_the_official_loss(rate, lam):
    logits, _, losses, log_p = pair(1)
    values = joint(jnp.array(losses), jnp.array(logits), 1 - rate, lam)
    expected, kept = official_jocor(losses, log_p, rate, lam)
    np.testing.assert_allclose(values.mean(axis=1).sum(), expected, rtol=1e-5)
    for row in np.asarray(values):
        np.testing.assert_array_equal(np.flatnonzero(row), np.sort(kept))


def test_jocor_s_gradient_reaches_both_networks():
    logits, labels, _, log_p = pair(2)
    transform = jocor(keep=0.5, lam=0.9)

    def total(z):
        losses = optax.softmax_cross_entropy_with_integer_labels(z, jnp.tile(labels, (2, 1)))
        return transform.update(losses, transform.init(), logits=z)[0].mean(axis=1).sum()

    def reference(z):
        log_p = z - np.log(np.exp(z).sum(axis=-1, keepdims=True))
        return official_jocor(-log_p[:, np.arange(N), labels], log_p, 0.5, 0.9)[0]

    grads = jax.jit(jax.grad(total))(jnp.array(logits))
    slopes = np.zeros_like(logits)
    for place in np.ndindex(logits.shape):
        step = np.zeros_like(logits)
        step[place] = 1e-5
        slopes[place] = (reference(logits + step) - reference(logits - step)) / 2e-5
    np.testing.assert_allclose(grads, slopes, rtol=1e-3, atol=1e-5)
    _, kept = official_jocor(-log_p[:, np.arange(N), labels], log_p, 0.5, 0.9)
    moves = np.abs(grads).max(axis=-1) > 0
    np.testing.assert_array_equal(moves, np.tile(np.isin(np.arange(N), kept), (2, 1)))


@pytest.mark.parametrize("keep", [1, 1.0, lambda step: 1.0, lambda step: 2.0])
def test_keeping_all_is_cross_entropy(keep):
    logits, _, losses, _ = pair()
    losses = jnp.array(losses)
    for transform in (co_teaching(keep=keep), jocor(keep=keep, lam=0.0)):
        values, _ = update(transform, losses, logits=jnp.array(logits))
        np.testing.assert_array_equal(values, losses)


@pytest.mark.parametrize("method", ["co_teaching", "jocor"])
def test_a_schedule_is_read_at_each_update(method):
    rate, steps = 0.4, 5
    keep = optax.linear_schedule(1.0, 1 - rate, steps)
    transform = co_teaching(keep=keep) if method == "co_teaching" else jocor(keep=keep)
    logits, _, losses, _ = pair()
    state, kept = transform.init(), []
    for _ in range(8):
        values, state = update(transform, losses, state, logits=jnp.array(logits))
        values = np.asarray(values)
        assert (np.sum(values > 0, axis=1) == np.sum(values[0] > 0)).all()
        kept.append(int(np.sum(values[0] > 0)))
    # R(t) = 1 - min(t / T_k * tau, tau): each step keeps 8 % fewer of the 20.
    expected = [int(N * (1 - min(t / steps * rate, rate)) + 1e-9) for t in range(8)]
    assert kept == expected
    assert state.step == 8


def test_a_share_that_rounding_lowered_keeps_as_many_as_it_says():
    """floor(0.7 * 10) must be 7, although the product in floating point may be below 7."""
    tenths = np.arange(1, 11)
    exact = np.concatenate([tenths / 10, 1 - (10 - tenths) / 10])  # 0.1, 0.09999999999999998
    for size in (10, 1000):
        losses = jnp.tile(jnp.arange(1.0, size + 1), (2, 1))
        for shares in (exact, np.nextafter(np.float32(exact), np.float32(0))):
            values, _ = taught_with_each(losses, jnp.array(shares))
            np.testing.assert_array_equal(
                np.sum(values > 0, axis=-1)[:, 0], np.tile(tenths * size // 10, 2)
            )


@pytest.mark.parametrize("keep", [1e-3, 0.0, -1.0])
def test_one_sample_is_kept_at_least(keep):
    values, _ = taught(jnp.array([[3.0, 1.0, 2.0], [2.0, 5.0, 4.0]]), keep)
    assert values.tolist() == [[9.0, 0.0, 0.0], [0.0, 15.0, 0.0]]


def test_ties_are_kept_by_position():
    values, _ = taught(jnp.ones((2, 6)), 0.5)
    assert values.tolist() == [[2.0] * 3 + [0.0] * 3] * 2
    # Masked positions do not count, whatever their values.
    where = jnp.array([False, True, True, False, True, True])
    dirty = jnp.tile(jnp.where(where, 1.0, jnp.nan), (2, 1))
    values, _ = taught(dirty, 0.5, where)
    assert values.tolist() == [[0.0, 2.0, 2.0, 0.0, 0.0, 0.0]] * 2


@pytest.mark.parametrize("method", ["co_teaching", "jocor"])
def test_masked_samples_are_neither_kept_nor_counted(method):
    transform = co_teaching(keep=0.6) if method == "co_teaching" else jocor(keep=0.6)
    logits, _, losses, _ = pair(3)
    logits, where = np.array(logits), np.arange(N) % 3 > 0
    masked, state = update(transform, np.where(where, losses, -9.0), where=where, logits=logits)
    dropped, _ = update(transform, losses[:, where], logits=logits[:, where])
    masked = np.asarray(masked)
    np.testing.assert_allclose(masked[:, where], dropped, rtol=1e-6)
    np.testing.assert_array_equal(masked[:, ~where], 0)
    assert state.step == 1
    # If one network masks an example, it is masked for both, as there is nothing to compare.
    one = np.stack([where, np.ones(N, bool)])
    values, _ = update(transform, losses, where=one, logits=logits)
    np.testing.assert_array_equal(values, masked)
    nothing, _ = update(transform, losses, where=np.zeros(N, bool), logits=logits)
    np.testing.assert_array_equal(nothing, 0)


def test_what_is_not_kept_may_be_infinite():
    losses = jnp.array([[1.0, 2.0, jnp.inf, jnp.inf], [1.0, 2.0, 3.0, jnp.inf]])
    values, grads = taught(losses, 0.5)
    assert values.tolist() == [[2.0, 4.0, 0.0, 0.0]] * 2
    assert grads.tolist() == [[0.5, 0.5, 0.0, 0.0]] * 2


@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_jocor_at_saturated_and_equal_logits(scale):
    transform = jocor(keep=1.0, lam=1.0)
    same = scale * jnp.eye(3)
    opposed = jnp.stack([same, -same])

    def total(z):
        return transform.update(jnp.zeros((2, 3)), transform.init(), logits=z)[0].sum()

    both = jax.jit(jax.value_and_grad(total))
    value, grads = both(jnp.stack([same, same]))
    assert value == 0
    np.testing.assert_allclose(grads, 0, atol=1e-7)
    value, grads = both(opposed)
    e = np.exp(-scale)
    p, q = np.array([1, e, e]) / (1 + 2 * e), np.array([e, 1, 1]) / (2 + e)
    # log p - log q has the differences 2 * scale of the logits, up to a constant.
    expected = 3 * ((p - q) * np.array([2 * scale, 0, 0])).sum()
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    assert np.isfinite(grads).all()
    assert np.abs(grads).max() > 0


@pytest.mark.parametrize("keep", [0, 0.0, 1.1, -0.5, float("nan"), "0.5", None])
def test_keep_is_checked(keep):
    with pytest.raises(ValueError, match=r"keep: expected a number in \(0, 1\] or a schedule"):
        co_teaching(keep=keep)
    with pytest.raises(ValueError, match=r"keep: expected a number in \(0, 1\] or a schedule"):
        jocor(keep=keep)


@pytest.mark.parametrize("lam", [-0.1, 1.5, None])
def test_lam_is_checked(lam):
    with pytest.raises(ValueError, match=r"lam: expected a number in \[0, 1\], got"):
        jocor(keep=1.0, lam=lam)


@pytest.mark.parametrize("shape", [(8,), (3, 8), (1, 8), (2, 4, 2)])
def test_the_losses_of_two_networks_are_needed(shape):
    logits = jnp.ones((*shape, C))
    for name, transform in {"co_teaching": co_teaching(keep=0.5), "jocor": jocor(keep=0.5)}.items():
        with pytest.raises(ValueError, match=rf"{name} expected .* shape \(2, batch\), got shape"):
            transform.update(jnp.ones(shape), transform.init(), logits=logits)
