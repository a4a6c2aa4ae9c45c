"""Early-learning regularisation, ELR (Liu et al., 2020)."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike

from superloss_jax._base import LossTransform, make_transform
from superloss_jax._checks import NOT_NEGATIVE, ZERO_TO_BELOW_ONE, check_integer, check_number
from superloss_jax._examples import mean_over_repeats, write
from superloss_jax._inputs import Batch


class EarlyLearningState(NamedTuple):
    """The state of `early_learning`.

    Attributes:
      targets: (num_examples, num_classes), the moving average of each example's probabilities,
        started at 0. After k visits a row sums to 1 - beta**k.
    """

    targets: jax.Array


def early_learning(
    *, num_examples: int, num_classes: int, lam: ArrayLike = 3.0, beta: ArrayLike = 0.7
) -> LossTransform[EarlyLearningState]:
    """ELR adds to cross entropy a pull towards the network's earlier predictions of the example.

        p    =  clip(softmax(logits), 1e-4, 1 - 1e-4)
        t_i <-  beta * t_i + (1 - beta) * p / sum(p)         detached
        L    =  loss + lam * log(1 - <t_i, p>)

    `loss` is the cross entropy of the given label. The gradient passes through it and through `p`,
    but not through `t_i`. The pull grows with the agreement of `p` and `t_i`. It cancels the
    gradient of a wrong label if the network was right before it began to fit that label. The value
    is at least `loss + lam * log(1e-4)` and may be negative.

    As in the official code (shengliu66/ELR), p is clipped, and `t_i` is updated before it is used.
    The paper's formula has no clipping. An example that comes twice in a batch is seen once, with
    the mean of both.

    Args:
      num_examples: number of examples in the data set.
      num_classes: number of classes.
      lam: strength >= 0, without unit; 0 is cross entropy. Official for CIFAR-10: 3 for symmetric
        and 1 for asymmetric noise; 7 for CIFAR-100.
      beta: weight of the old target, in [0, 1). Official for CIFAR-10: 0.7 for symmetric and 0.9
        for asymmetric noise; 0.9 for CIFAR-100. It counts visits of an example, that is, epochs.

    Returns:
      A `LossTransform` of cross-entropy losses that needs `logits` and `index`. Its state is an
      `EarlyLearningState`.

    Raises:
      ValueError: if a number is out of range; by `update`, if an input is missing or does not fit.

    >>> import jax.numpy as jnp
    >>> transform = early_learning(num_examples=100, num_classes=2)
    >>> logits = jnp.array([[2.0, 0.0], [2.0, 0.0]])
    >>> losses = jnp.array([0.127, 2.127])  # of the labels 0 and 1
    >>> index = jnp.array([7, 42])
    >>> values, state = transform.update(losses, transform.init(), logits=logits, index=index)
    >>> print([f"{v:.3f}" for v in values], [f"{t:.3f}" for t in state.targets[7]])
    ['-0.685', '1.315'] ['0.264', '0.036']

    Reference: Sheng Liu, Jonathan Niles-Weed, Narges Razavian, Carlos Fernandez-Granda,
    "Early-Learning Regularization Prevents Memorization of Noisy Labels", NeurIPS 2020.
    """
    num_examples = check_integer("num_examples", num_examples)
    num_classes = check_integer("num_classes", num_classes, least=2)
    lam = check_number("lam", lam, NOT_NEGATIVE)
    beta = check_number("beta", beta, ZERO_TO_BELOW_ONE)

    def init():
        return EarlyLearningState(jnp.zeros((num_examples, num_classes), jnp.result_type(float)))

    def step(batch: Batch, state: EarlyLearningState, *, logits, index):
        p = jnp.clip(jax.nn.softmax(logits), 1e-4, 1 - 1e-4)
        seen = lax.stop_gradient(p / jnp.sum(p, axis=-1, keepdims=True))
        old = state.targets[index].astype(p.dtype)
        share = jnp.asarray(beta, p.dtype)
        targets = share * old + (1 - share) * mean_over_repeats(seen, index, batch.where)
        # A target sums to 1 at most, so that the logarithm's argument is at least 1e-4.
        values = batch.losses + lam * jnp.log(1 - jnp.sum(targets * p, axis=-1))
        written = write(state.targets, index, batch.where, targets)
        return values, EarlyLearningState(written)

    needs = {"logits": num_classes, "index": num_examples}
    return make_transform("early_learning", init, step, needs)
