"""SuperLoss (Castells, Weinzaepfel, Revaud, 2020): the closed form and the loss transform."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero
from jax.typing import ArrayLike

from superloss_jax._base import LossTransform, as_floating, check_losses, checked, open_batch
from superloss_jax._lambertw import E, compute_dtype, lambertw_parts, near_branch
from superloss_jax._thresholds import SuperLossState, Threshold, ema


def closed_form(
    losses: ArrayLike, tau: ArrayLike, lam: ArrayLike = 1.0
) -> tuple[jax.Array, jax.Array]:
    """SuperLoss of each loss, and the confidence sigma it gives to that loss.

        SL(l) = min over 0 < sigma <= e of (l - tau) * sigma + lam * log(sigma)**2

    With `x = (l - tau) / (2 * lam)` and `w = W(max(-1/e, x))`, W the principal branch of Lambert's
    function, the minimum lies at `sigma = exp(-w)` and is `lam * (w**2 + 2 * w)`; below the clamp,
    `x < -1/e`, sigma is e and the value `e * (l - tau) + lam`. The derivatives are stated rather
    than traced, to any order and in both modes:

        dSL/dl = sigma        dSL/dtau = -sigma        dSL/dlam = log(sigma)**2

    Args:
      losses: real, any shape. Half precision is computed in float32; integers become floats.
      tau: threshold, in units of the loss; broadcasts against `losses`.
      lam: regularisation > 0, in units of the loss; broadcasts against `losses`. Where it is
        not positive, both results are NaN.

    Returns:
      `(values, sigma)`, both with the dtype of `losses` and the broadcast shape. `0 <= sigma <= e`.
      A NaN loss gives NaN in its own place; an infinite one gives infinity and sigma 0.

    Raises:
      TypeError: for complex numbers.

    >>> import jax.numpy as jnp
    >>> values, sigma = closed_form(jnp.array([0.0, 1.0, 5.0]), tau=1.0, lam=1.0)
    >>> print([f"{v:.3f}" for v in values], [f"{s:.3f}" for s in sigma])
    ['-1.718', '0.000', '2.432'] ['2.718', '1.000', '0.426']

    Reference: Thibault Castells, Philippe Weinzaepfel, Jerome Revaud, "SuperLoss: A Generic Loss
    for Robust Curriculum Learning", NeurIPS 2020.
    """
    names = {"losses": losses, "tau": tau, "lam": lam}
    return _closed_form(*(as_floating(name, value) for name, value in names.items()))


@jax.jit
def _closed_form(losses, tau, lam):
    dtype = compute_dtype(losses.dtype)
    distance = losses.astype(dtype) - tau.astype(dtype)
    lam = lam.astype(dtype)
    # NaN unless lam > 0, by 0/0: a NaN written here would stop users of jax_debug_nans.
    positive = (lam > 0).astype(dtype)
    lam = lam * positive / positive
    shape = jnp.broadcast_shapes(distance.shape, lam.shape)
    values, sigma, _, _ = _solve(jnp.broadcast_to(distance, shape), lam)
    return values.astype(losses.dtype), sigma.astype(losses.dtype)


# W of the largest float: where x overflows, SuperLoss stays near the value that it has there.
_LARGEST_W = {np.dtype("float32"): 84.28859251631846, np.dtype("float64"): 703.2270331047701}


@jax.custom_jvp
def _solve(distance, lam):
    """(SL, sigma, w, 1 + w) of `distance = l - tau`, where w = -log(sigma) >= -1."""
    x = distance * _scale(lam)
    _, sigma, v = lambertw_parts(x, clamp=True)
    # w once more, from sigma: XLA:CPU then computes sigma in one loop and the value in another,
    # and keeps no array between them.
    finite, largest_w = x < jnp.inf, _LARGEST_W[x.dtype]
    w = jnp.where(distance < jnp.inf, largest_w, distance)
    w = jnp.where(finite, jnp.maximum(x * sigma, -1), w)
    # lam * (w**2 + 2 * w), where 2 * lam * w = (l - tau) * sigma, which holds for lam -> inf, too.
    values = jnp.where(finite, distance * sigma, 2 * lam * largest_w) * (1 + 0.5 * w)
    values = jnp.where(near_branch(x), E * distance + lam, values)
    return values, sigma, w, v


def _scale(lam):
    # One reciprocal per lam, not one per loss; not 0 for the largest lam, since infinity times 0 is
    # NaN.
    return jnp.maximum(0.5 / lam, np.finfo(lam.dtype).tiny)


def _solve_jvp(primals, tangents):
    distance, lam = primals
    distance_dot, lam_dot = tangents
    values, sigma, w, v = _solve(distance, lam)
    # dw/dx = sigma / v and x dw/dx = w / v, with limit 1. v is 0 only where clamped: there w does
    # not move.
    moves = v > 0
    safe_v = jnp.where(moves, v, 1)
    values_dot = w_dot = jnp.zeros_like(values)
    # Symbolic zeros are left out, not multiplied: w is infinite for an infinite loss.
    if not isinstance(distance_dot, SymbolicZero):
        values_dot += sigma * distance_dot
        w_dot += jnp.where(moves, sigma * (1 / safe_v), 0) * _scale(lam) * distance_dot
    if not isinstance(lam_dot, SymbolicZero):
        values_dot += w * w * lam_dot
        # From w, not from x, which may overflow.
        share = jnp.where(w < jnp.inf, w / safe_v, 1)
        w_dot -= jnp.where(moves, share, 0) / lam * lam_dot
    return (values, sigma, w, v), (values_dot, -sigma * w_dot, w_dot, w_dot)


_solve.defjvp(_solve_jvp, symbolic_zeros=True)


def superloss(
    *,
    lam: ArrayLike = 1.0,
    threshold: Threshold = ema(decay=0.9),
    axis_name: str | None = None,
) -> LossTransform:
    """SuperLoss as a transform that stands between a per-example loss and its mean.

        tau   <- threshold(losses)                          detached
        SL(l) =  min over 0 < sigma <= e of (l - tau) * sigma + lam * log(sigma)**2

    Losses below tau are amplified by up to e, losses above it fade. The result is negative for
    `l < tau`, as it should be; its gradient with respect to `l` is `sigma` exactly, so nothing is
    left to detach. For logging, sigma is `closed_form(losses, state.tau, lam)[1]` with the new
    state (`state.tau[labels]` if tau is one of each class); under jit the compiler merges that
    with the loss.

    Args:
      lam: regularisation > 0, in units of the loss; large values approach `l - tau`. A traced
        scalar is accepted and cannot be checked: `lam <= 0` then gives NaN.
      threshold: where tau comes from: `ema`, `running_mean`, `windowed`, `constant`, or
        `per_class`, which needs `labels` in `update`: integers of the losses' shape.
      axis_name: mapped axis, inside `shard_map` or `pmap`, over which the batch is spread; tau is
        then that of the whole batch. Under plain jit, sharded or not, leave it out.

    Returns:
      A `LossTransform`. `state = init()` is a `SuperLossState`. `losses, state = update(losses,
      state, *, where=None, **extra)` takes real floating losses of any shape (half precision is
      computed in float32) and keeps their shape and dtype, and the dtypes of the state. A
      position where the boolean mask `where` is False gets loss 0 and gradient 0, even if its
      loss is NaN. Extra keyword arguments go to the threshold.

    Raises:
      ValueError: if `lam` is not positive or `threshold` no Threshold; by `update`, if the losses
        are empty or not floating, the mask is not boolean or does not fit, or labels lack that the
        threshold needs.

    >>> import jax, jax.numpy as jnp
    >>> transform = superloss(lam=1.0)
    >>> state = transform.init()
    >>> losses = jnp.array([0.1, 0.2, 0.3, 5.0])
    >>> robust, state = transform.update(losses, state)
    >>> print([f"{v:.2f}" for v in robust], f"{state.tau:.2f}")
    ['-2.53', '-2.26', '-1.99', '2.26'] 1.40

    Reference: Thibault Castells, Philippe Weinzaepfel, Jerome Revaud, "SuperLoss: A Generic Loss
    for Robust Curriculum Learning", NeurIPS 2020.
    """
    lam = checked_lam(lam)
    check_threshold(threshold)

    def update(losses, state: SuperLossState, *, where=None, **extra):
        losses, where = check_losses(losses, where)
        state = threshold.update(losses, state, where=where, axis_name=axis_name, **extra)
        # The input is replaced as well as the output: NaN times a zero gradient is NaN.
        kept = losses if where is None else jnp.where(where, losses, 0)
        values, _ = closed_form(kept, tau_of_each(kept, state, where, extra), lam)
        return (values if where is None else jnp.where(where, values, 0)), state

    return LossTransform(threshold.init, update)


def checked_lam(lam: ArrayLike) -> ArrayLike:
    """A regularisation that float32 holds, or ValueError."""
    smallest = float(np.finfo(np.float32).tiny)
    return checked("lam", lam, f"a number > 0 (at least {smallest:.2g})", lambda x: x >= smallest)


def check_threshold(threshold: Threshold) -> None:
    """Raises ValueError unless it is a Threshold."""
    if not isinstance(threshold, Threshold):
        raise ValueError(
            "threshold: expected ema(...), running_mean() or another Threshold, called,"
            f" got {threshold!r}"
        )


def tau_of_each(losses, state: SuperLossState, where, extra) -> jax.Array:
    """The tau that each loss is compared with: the scalar, or that of its class."""
    if state.tau.ndim == 0:
        return state.tau
    labels = open_batch("a threshold per class", ("labels",), losses, where, extra).labels
    labels = jnp.where(labels < 0, len(state.tau), labels)  # no counting from the end
    return state.tau.at[labels].get(mode="fill", fill_value=jnp.nan)
