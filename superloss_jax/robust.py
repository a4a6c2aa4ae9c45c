"""Losses that wrong labels pull less on: functions of one example, without memory.

Those that take `losses` alone expect cross entropy, from which they have the probability of the
label, `p = exp(-l)`. Those that need `logits` and `labels` compute all from these and take only
shape and dtype from `losses`: in a `chain` they come first. `p_y` is the label's probability.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from superloss_jax._base import LossTransform, checked, open_batch, stateless, whole_number
from superloss_jax._corrections import (
    NEEDS,
    backward_correction,
    bootstrap,
    forward_correction,
    log_probabilities,
)

__all__ = [
    "TruncatedGCEState",
    "active_passive",
    "backward_correction",
    "bootstrap",
    "focal",
    "forward_correction",
    "generalized_cross_entropy",
    "symmetric_cross_entropy",
    "truncated_gce",
]


def _one_minus_exp(x):
    """1 - exp(-x), exact to rounding near 0; its derivative is exact to rounding everywhere."""
    # That of expm1 is traced as its value plus 1, which cancels for large x.
    return jnp.where(x < 0.7, -jnp.expm1(-x), 1 - jnp.exp(-x))


def _fraction(name: str, value: ArrayLike) -> ArrayLike:
    return checked(name, value, "a number in [0, 1]", lambda x: 0 <= x <= 1)


def _weight(name: str, value: ArrayLike) -> ArrayLike:
    return checked(name, value, "a finite number >= 0", lambda x: 0 <= x < float("inf"))


def _negative(name: str, value: ArrayLike) -> ArrayLike:
    return checked(name, value, "a finite number < 0", lambda x: -float("inf") < x < 0)


def _gce(losses, q):
    """(1 - exp(-q losses)) / q, and its limit at q = 0."""
    # Below eps squared, the limit is exact to rounding, and q * losses could underflow.
    positive = q > float(jnp.finfo(losses.dtype).eps) ** 2
    safe_q = jnp.where(positive, q, 1)
    return jnp.where(positive, _one_minus_exp(safe_q * losses) / safe_q, losses)


def generalized_cross_entropy(*, q: ArrayLike = 0.7) -> LossTransform:
    """Generalised cross entropy: between cross entropy, q = 0, and mean absolute error, q = 1.

        L_q(p) = (1 - p^q) / q        dL_q/dl = p^q

    Args:
      q: in [0, 1]; the paper's is 0.7.

    Returns:
      A `LossTransform` of cross-entropy losses, without state.

    Raises:
      ValueError: if `q` is out of range.

    >>> transform = generalized_cross_entropy(q=0.5)
    >>> print(transform.update(jnp.log(jnp.array([1.0, 4.0])), ())[0])  # 2 (1 - 1 / 2)
    [0. 1.]

    Reference: Zhilu Zhang, Mert Sabuncu, "Generalized Cross Entropy Loss for Training Deep Neural
    Networks with Noisy Labels", NeurIPS 2018.
    """
    q = _fraction("q", q)
    return stateless("generalized_cross_entropy", lambda batch: _gce(batch.losses, q))


class TruncatedGCEState(NamedTuple):
    """What `truncated_gce` carries from step to step.

    Attributes:
      step: int32 scalar, the number of updates so far; it stays at 2**31 - 1.
    """

    step: jax.Array


def truncated_gce(*, q: ArrayLike = 0.7, k: ArrayLike = 0.5, start: int = 0) -> LossTransform:
    """Generalised cross entropy, constant for labels that the network gives little probability.

        L = L_q(p)    where p > k, or before step `start`
        L = L_q(k)    elsewhere, with gradient 0

    An untrained network has every p below k and would learn nothing, hence `start`; the paper
    prunes from epoch 40 of 120 on CIFAR. Its alternating search freezes which examples are pruned
    for some epochs (10); here each batch decides anew, which is exactly the gradient of L.

    Args:
      q: in [0, 1], as in `generalized_cross_entropy`.
      k: probability in [0, 1) up to which a label is pruned; the paper's is 0.5. With 0, none is.
      start: first step that prunes, an integer >= 0, counted in updates.

    Returns:
      A `LossTransform` of cross-entropy losses; its state is a `TruncatedGCEState`.

    Raises:
      ValueError: if `q`, `k` or `start` is out of range.

    >>> transform = truncated_gce(q=1.0, k=0.5)
    >>> print(transform.update(jnp.log(jnp.array([1.0, 4.0])), transform.init())[0])  # 1 - k
    [0.  0.5]

    Reference: Zhilu Zhang, Mert Sabuncu, "Generalized Cross Entropy Loss for Training Deep Neural
    Networks with Noisy Labels", NeurIPS 2018 (section 3.3).
    """
    q = _fraction("q", q)
    k = checked("k", k, "a number in [0, 1)", lambda x: 0 <= x < 1)
    start = whole_number("start", start, least=0)

    def update(losses, state: TruncatedGCEState, *, where=None, **extra):
        batch = open_batch("truncated_gce", (), losses, where, extra)
        limit = -jnp.log(jnp.asarray(k, batch.losses.dtype))
        kept = (state.step < start) | (batch.losses < limit)
        values = _gce(jnp.where(kept, batch.losses, limit), q)
        step = jnp.minimum(state.step, jnp.iinfo(state.step.dtype).max - 1) + 1
        return batch.finished(values), TruncatedGCEState(step)

    return LossTransform(lambda: TruncatedGCEState(jnp.array(0, jnp.int32)), update)


def symmetric_cross_entropy(
    *, alpha: ArrayLike = 0.1, beta: ArrayLike = 1.0, log_zero: ArrayLike = -4.0
) -> LossTransform:
    """Symmetric cross entropy: cross entropy, and that with label and prediction exchanged.

        alpha CE + beta RCE        CE = l,   RCE = -log_zero (1 - p)

    `log_zero` stands for the logarithm of the label's zeros. The default is the paper's A = -4;
    the official code clips labels to 1e-4, that is to log_zero = log(1e-4) = -9.21, for 2.3 times
    as much RCE.

    Args:
      alpha: weight of CE, >= 0; the authors' for CIFAR-10 is 0.1, for CIFAR-100 6.
      beta: weight of RCE, >= 0; the authors' for CIFAR-10 is 1, for CIFAR-100 0.1.
      log_zero: below 0.

    Returns:
      A `LossTransform` of cross-entropy losses, without state.

    Raises:
      ValueError: if a number is out of range.

    >>> transform = symmetric_cross_entropy(alpha=0.0, beta=1.0)
    >>> print(transform.update(jnp.log(jnp.array([1.0, 4.0])), ())[0])  # 4 (1 - 1 / 4)
    [0. 3.]

    Reference: Yisen Wang et al., "Symmetric Cross Entropy for Robust Learning with Noisy Labels",
    ICCV 2019.
    """
    alpha, beta = _weight("alpha", alpha), _weight("beta", beta)
    log_zero = _negative("log_zero", log_zero)

    def value(batch):
        return alpha * batch.losses - beta * (log_zero * _one_minus_exp(batch.losses))

    return stateless("symmetric_cross_entropy", value)


def active_passive(
    *,
    passive: str = "rce",
    alpha: ArrayLike = 1.0,
    beta: ArrayLike = 1.0,
    log_zero: ArrayLike = -9.210340371976182,  # log(1e-4)
) -> LossTransform:
    """Active passive loss: normalised cross entropy, and a loss of the other classes; both bounded.

        alpha NCE + beta (RCE or MAE)
        NCE = log p_y / sum_k log p_k,   RCE = -log_zero (1 - p_y),   MAE = 1 - p_y

    The scales are those of the official code, with whose `alpha` and `beta` the defaults agree: it
    clips labels to 1e-4, hence the default of `log_zero`, and halves the paper's MAE, 2 (1 - p_y).

    Args:
      passive: "rce" (reverse cross entropy) or "mae" (mean absolute error).
      alpha: weight of NCE, >= 0; the authors' for CIFAR-10 is 1, for CIFAR-100 10.
      beta: weight of the other, >= 0; the authors' for CIFAR-10 is 1, for CIFAR-100 0.1.
      log_zero: below 0, as in `symmetric_cross_entropy`; for "rce" only.

    Returns:
      A `LossTransform` without state, which needs `logits` and `labels`.

    Raises:
      ValueError: if a number is out of range or `passive` unknown; by `update`, if there are fewer
        than two classes.

    >>> logits, labels = jnp.zeros((1, 2)), jnp.array([1])
    >>> transform = active_passive(passive="mae")
    >>> print(transform.update(jnp.ones(1), (), logits=logits, labels=labels)[0])  # 1 / 2 + 1 / 2
    [1.]

    Reference: Xingjun Ma et al., "Normalized Loss Functions for Deep Learning with Noisy Labels",
    ICML 2020.
    """
    if passive not in ("rce", "mae"):
        raise ValueError(f"passive: expected rce or mae, got {passive!r}")
    alpha, beta = _weight("alpha", alpha), _weight("beta", beta)
    log_zero = _negative("log_zero", log_zero)
    scale = log_zero if passive == "rce" else -1.0

    def value(batch):
        if batch.logits.shape[-1] < 2:
            raise ValueError(f"logits: expected at least 2 classes, got {batch.logits.shape}")
        log_p, log_p_y = log_probabilities(batch)
        normalized = log_p_y / jnp.sum(log_p, axis=-1)
        return alpha * normalized - beta * (scale * _one_minus_exp(-log_p_y))

    return stateless("active_passive", value, NEEDS)


def focal(*, gamma: ArrayLike = 2.0) -> LossTransform:
    """Focal loss: fades what is classified well already, and so turns towards wrong labels.

        (1 - p)^gamma l

    It is differentiated through both factors, as in the paper; some codes detach the first.

    Args:
      gamma: >= 0, where 0 is cross entropy; the paper's is 2.

    Returns:
      A `LossTransform` of cross-entropy losses, without state. A loss that rounding left below 0
      counts as 0.

    Raises:
      ValueError: if `gamma` is out of range.

    >>> losses, _ = focal(gamma=2.0).update(jnp.log(jnp.array([1.0, 2.0])), ())
    >>> print([f"{loss:.3f}" for loss in losses])  # log(2) / 4
    ['0.000', '0.173']

    Reference: Tsung-Yi Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017.
    """
    gamma = _weight("gamma", gamma)

    def value(batch):
        # At 0 the derivative of the power is infinite for gamma < 1, that of the product is not.
        positive = batch.losses > jnp.finfo(batch.losses.dtype).tiny
        losses = jnp.where(positive, batch.losses, 1)
        at_zero = jnp.where(gamma == 0, batch.losses, 0)
        return jnp.where(positive, _one_minus_exp(losses) ** gamma * losses, at_zero)

    return stateless("focal", value)
