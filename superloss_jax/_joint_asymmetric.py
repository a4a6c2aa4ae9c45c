"""Joint asymmetric loss (Wang et al., 2025)."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from superloss_jax._active_passive import normalized
from superloss_jax._base import LossTransform, from_logits
from superloss_jax._checks import NOT_NEGATIVE, POSITIVE, Scalar, check_number
from superloss_jax._probabilities import log_probabilities


def _joint_asymmetric(
    logits: jax.Array, labels: jax.Array, *, alpha: Scalar, beta: Scalar, a: Scalar
) -> jax.Array:
    """Returns alpha NCE + beta AMSE."""
    log_p, log_p_y = log_probabilities(logits, labels)
    p, p_y = jnp.exp(log_p), jnp.exp(log_p_y)
    # |a e_y - p|^2, with the square of the label's own distance in place of its p^2.
    squares = (a - p_y) ** 2 + (jnp.sum(p**2, axis=-1) - p_y**2)
    return alpha * normalized(log_p, log_p_y) + beta * (squares / log_p.shape[-1])


def joint_asymmetric(
    *, alpha: ArrayLike = 1.0, beta: ArrayLike = 1.0, a: ArrayLike = 30.0
) -> LossTransform[tuple[()]]:
    """Joint asymmetric loss, JAL-CE, adds an asymmetric squared error to NCE.

        alpha NCE + beta AMSE        NCE  = log p_y / sum_k log p_k
                                     AMSE = (1 / K) sum_k (a t_k - p_k)^2
        t: the label, one-hot; K: number of classes

    As in the official code, AMSE is a mean over classes, and its least value, (a - 1)^2 / K, is
    not subtracted: with the default, losses are some 90 for ten classes.

    The authors train it with delta times the sum of the parameters' magnitudes in place of weight
    decay, which is the optimizer's part: 5e-5 for CIFAR-10, 5e-6 for CIFAR-100.

    Args:
      alpha: weight of NCE, >= 0; the authors' for CIFAR-10 is 1, for CIFAR-100 5, WebVision 50.
      beta: weight of AMSE, >= 0; the authors' is 1.
      a: what the label's p is drawn towards, > 0; the authors' for CIFAR-10 and WebVision is 30,
        for CIFAR-100 20. With 1, AMSE is the mean squared error.

    Returns:
      A `LossTransform` without state, which needs `logits` and `labels`.

    Raises:
      ValueError: if a number is out of range; by `update`, if there are fewer than two classes.

    >>> logits, labels = jnp.zeros((1, 2)), jnp.array([1])
    >>> transform = joint_asymmetric(a=2.0)
    >>> print(transform.update(jnp.ones(1), (), logits=logits, labels=labels)[0])  # .5 + 2.5 / 2
    [1.75]

    Reference: Jialiang Wang, Xianming Liu, Xiong Zhou, Gangfeng Hu, Deming Zhai, Junjun Jiang,
    Xiangyang Ji, "Joint Asymmetric Loss for Learning with Noisy Labels", ICCV 2025.
    """
    alpha = check_number("alpha", alpha, NOT_NEGATIVE)
    beta = check_number("beta", beta, NOT_NEGATIVE)
    a = check_number("a", a, POSITIVE)
    value = functools.partial(_joint_asymmetric, alpha=alpha, beta=beta, a=a)
    return from_logits("joint_asymmetric", value)
