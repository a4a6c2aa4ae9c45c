"""SuperLoss (Castells, Weinzaepfel, Revaud, 2020): the closed form and the loss transform."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero
from jax.typing import ArrayLike

from superloss_jax._base import LossTransform, make_transform
from superloss_jax._checks import Range, Schedule, as_real, as_schedule, compute_dtype
from superloss_jax._inputs import Batch
from superloss_jax._lambertw import E, lambertw_parts, near_branch
from superloss_jax._states import saturating_add
from superloss_jax._thresholds import ema
from superloss_jax._thresholds_base import SuperLossState, Threshold


def closed_form(
    losses: ArrayLike, tau: ArrayLike, lam: ArrayLike = 1.0
) -> tuple[jax.Array, jax.Array]:
    """Returns the SuperLoss of each loss, and the confidence sigma that it gives to that loss.

        SL(l) = min over 0 < sigma <= e of (l - tau) * sigma + lam * log(sigma)**2

    Let `x = (l - tau) / (2 * lam)` and `w = W(max(-1/e, x))`, where W is the principal branch of
    Lambert's function. The minimum lies at `sigma = exp(-w)` and is `lam * (w**2 + 2 * w)`. Below
    the clamp, `x < -1/e`, sigma is e and the value is `e * (l - tau) + lam`. The derivatives are
    stated rather than traced, to any order and in both modes:

        dSL/dl = sigma        dSL/dtau = -sigma        dSL/dlam = log(sigma)**2

    Args:
      losses: real, any shape. Half precision is computed in float32; integers become floats.
      tau: threshold, in units of the loss; broadcasts against `losses`.
      lam: regularisation > 0, in units of the loss; broadcasts against `losses`. Where it is
        not positive, both results are NaN.

    Returns:
      `(values, sigma)`, both with the dtype of `losses` and the broadcast shape, where
      `0 <= sigma <= e`. A NaN loss gives NaN in its own place. An infinite loss gives infinity and
      sigma 0.

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
    return _closed_form(*(as_real(name, value) for name, value in names.items()))


@jax.jit
def _closed_form(losses: jax.Array, tau: jax.Array, lam: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns value and sigma of real arrays, computed in at least float32."""
    dtype = compute_dtype(losses.dtype)
    distance = losses.astype(dtype) - tau.astype(dtype)
    lam = lam.astype(dtype)
    # NaN unless lam > 0, by 0/0: a NaN written here would stop users of jax_debug_nans.
    positive = (lam > 0).astype(dtype)
    lam = lam * positive / positive
    shape = jnp.broadcast_shapes(distance.shape, lam.shape)
    values, sigma, _, _ = _solve(jnp.broadcast_to(distance, shape), lam)
    return values.astype(losses.dtype), sigma.astype(losses.dtype)


# W of the largest float. Where x overflows, SuperLoss stays near its value there.
_LARGEST_W = {np.dtype("float32"): 84.28859251631846, np.dtype("float64"): 703.2270331047701}


@jax.custom_jvp
def _solve(distance, lam):
    """Returns (SL, sigma, w, 1 + w) for `distance = l - tau`, where w = -log(sigma) >= -1."""
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


def _scale(lam: jax.Array) -> jax.Array:
    """Returns 1 / (2 lam), so that there is one division per lam, not one per loss."""
    # Not 0 for the largest lam, since infinity times 0 is NaN.
    return jnp.maximum(0.5 / lam, np.finfo(lam.dtype).tiny)


def _solve_jvp(primals, tangents):
    """Returns the outputs of `_solve` and their tangents, computed from these outputs."""
    distance, lam = primals
    distance_dot, lam_dot = tangents
    values, sigma, w, v = _solve(distance, lam)
    # dw/dx = sigma / v and x dw/dx = w / v, with limit 1. v is 0 only where clamped, and w does not
    # move there.
    moves = v > 0
    safe_v = jnp.where(moves, v, 1)
    values_dot = w_dot = jnp.zeros_like(values)
    # Symbolic zeros are left out, not multiplied, since w is infinite for an infinite loss.
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
    lam: ArrayLike | Schedule = 1.0,
    threshold: Threshold | None = None,
    axis_name: str | None = None,
) -> LossTransform[SuperLossState]:
    """SuperLoss weighs each loss by its distance from a threshold, between a loss and its mean.

        tau   <- threshold(losses)                          detached
        SL(l) =  min over 0 < sigma <= e of (l - tau) * sigma + lam * log(sigma)**2

    Losses below tau are amplified by up to e, and losses above it fade. The result is negative for
    `l < tau`, as it should be. Its gradient with respect to `l` is exactly `sigma`, so the caller
    has nothing to detach.

    For logging, sigma is `closed_form(losses, state.tau, lam)[1]` with the new state, or with
    `state.tau[labels]` if each class has its own tau. Under jit the compiler merges that with the
    loss.

    Args:
      lam: regularisation > 0, in units of the loss, or a schedule, a function of the step. Large
        values approach `l - tau`. A schedule's value or a traced scalar cannot be checked:
        `lam <= 0` then gives NaN.
      threshold: where tau comes from: `ema`, `running_mean`, `windowed`, `constant` or `per_class`.
        None is `ema(decay=0.9)`. With `per_class`, `update` needs `labels`.
      axis_name: the mapped axis over which the batch is spread, inside `shard_map` or `pmap`. Tau
        is then that of the whole batch. Leave it out under plain jit, sharded or not.

    Returns:
      A `LossTransform` whose state is a `SuperLossState`.

    Raises:
      ValueError: if `lam` is not positive or `threshold` is no Threshold.

    >>> import jax, jax.numpy as jnp
    >>> transform = superloss(lam=1.0)
    >>> state = transform.init()
    >>> losses = jnp.array([0.1, 0.2, 0.3, 5.0])
    >>> values, state = transform.update(losses, state)
    >>> print([f"{v:.2f}" for v in values], f"{state.tau:.2f}")
    ['-2.53', '-2.26', '-1.99', '2.26'] 1.40

    Reference: Thibault Castells, Philippe Weinzaepfel, Jerome Revaud, "SuperLoss: A Generic Loss
    for Robust Curriculum Learning", NeurIPS 2020.
    """
    threshold = check_threshold(threshold)
    lam_at = check_lam(lam)

    def init():
        return start(threshold, lam)

    def step(batch: Batch, state: SuperLossState, **inputs: jax.Array):
        new, tau = follow(threshold, batch, state, axis_name, inputs)
        values, _ = closed_form(batch.losses, tau, lam_at(step_of(state)))
        return values, new

    return make_transform("superloss with this threshold", init, step, threshold.needs)


_SMALLEST_LAM = float(np.finfo(np.float32).tiny)
_LAM = Range(f"a number > 0 (at least {_SMALLEST_LAM:.2g})", lambda x: x >= _SMALLEST_LAM)


def check_lam(lam: ArrayLike | Schedule) -> Schedule:
    """Returns lam as a function of the step; a number must be positive even in float32."""
    return as_schedule("lam", lam, _LAM)


def check_threshold(threshold: Threshold | None) -> Threshold:
    """Returns the threshold, or the one that None stands for."""
    if threshold is None:
        return ema(decay=0.9)
    if not isinstance(threshold, Threshold):
        raise ValueError(
            "threshold: expected ema(...), running_mean() or another Threshold, called,"
            f" got {threshold!r}"
        )
    return threshold


def start(threshold: Threshold, lam: ArrayLike | Schedule) -> SuperLossState:
    """Returns the first state of a threshold, with a step count if lam is a schedule."""
    state = threshold.init()
    return state._replace(step=jnp.zeros((), jnp.int32)) if callable(lam) else state


def step_of(state: SuperLossState) -> Any:
    """Returns the step, or () if lam is no schedule; a user's threshold may have another state."""
    return getattr(state, "step", ())


def follow(
    threshold: Threshold,
    batch: Batch,
    state: SuperLossState,
    axis_name: str | None,
    inputs: Mapping[str, jax.Array],
) -> tuple[SuperLossState, jax.Array]:
    """Returns the state after the batch, and the tau of all losses or of each one's class."""
    scheduled = not isinstance(step_of(state), tuple)
    own = state._replace(step=()) if scheduled else state
    new = threshold.update(batch.losses, own, where=batch.where, axis_name=axis_name, **inputs)
    if new.tau.ndim and "labels" not in inputs:
        raise ValueError(
            "threshold: a tau per class needs Threshold(..., needs={'labels': classes})"
        )
    tau = new.tau[inputs["labels"]] if new.tau.ndim else new.tau
    return new._replace(step=saturating_add(state.step)) if scheduled else new, tau
