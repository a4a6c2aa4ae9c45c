"""Methods that remember what they saw of each example in earlier epochs.

The state has a row for each example of the data set, found by `index`, the example's position in
it. An index outside of the data set gives NaN and is not recorded.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike

from superloss_jax._base import Batch, LossTransform, checked, open_batch, whole_number
from superloss_jax._examples import mean_over_repeats, read, write


def _probabilities(batch: Batch, num_classes: int) -> jax.Array:
    """Softmax of the logits, which must have as many classes as the memory."""
    if batch.logits.shape[-1] != num_classes:
        raise ValueError(
            f"logits: expected num_classes={num_classes} on the last axis,"
            f" got shape {batch.logits.shape}"
        )
    return jax.nn.softmax(batch.logits)


class EarlyLearningState(NamedTuple):
    """What early-learning regularisation carries from step to step.

    Attributes:
      targets: (num_examples, num_classes), the moving average of each example's probabilities,
        started at 0: after k visits a row sums to 1 - beta**k.
    """

    targets: jax.Array


def early_learning(
    *, num_examples: int, num_classes: int, lam: ArrayLike = 3.0, beta: ArrayLike = 0.7
) -> LossTransform:
    """ELR: cross entropy, and a pull towards what the network said of the example before.

        p    =  clip(softmax(logits), 1e-4, 1 - 1e-4)
        t_i <-  beta * t_i + (1 - beta) * p / sum(p)         detached
        L    =  loss + lam * log(1 - <t_i, p>)

    `loss` is the cross entropy of the given label. The gradient passes through it and through `p`
    but not through `t_i`: the pull grows with the agreement of `p` and `t_i`, and cancels the
    gradient of wrong labels where the network was right before it began to fit them. The value is
    at least `loss + lam * log(1e-4)` and may be negative. The clipping, and that `t_i` is updated
    before it is used, are the official code's (shengliu66/ELR); the paper's formula has no
    clipping. An example that comes twice in a batch is seen once, with the mean of both.

    Args:
      num_examples: number of examples in the data set.
      num_classes: number of classes.
      lam: strength >= 0, without unit; 0 is cross entropy. Official for CIFAR-10: 3 for symmetric
        and 1 for asymmetric noise; 7 for CIFAR-100.
      beta: weight of the old target, in [0, 1). Official for CIFAR-10: 0.7 for symmetric and 0.9
        for asymmetric noise; 0.9 for CIFAR-100. It counts visits of an example, that is, epochs.

    Returns:
      A `LossTransform` that needs `logits` and `index`, and is given cross-entropy losses. Its
      state is an `EarlyLearningState`.

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
    num_examples = whole_number("num_examples", num_examples)
    num_classes = whole_number("num_classes", num_classes, least=2)
    lam = checked("lam", lam, "a finite number >= 0", lambda x: 0 <= x < float("inf"))
    beta = checked("beta", beta, "a number in [0, 1)", lambda x: 0 <= x < 1)

    def init():
        return EarlyLearningState(jnp.zeros((num_examples, num_classes), jnp.result_type(float)))

    def update(losses, state: EarlyLearningState, *, where=None, **extra):
        batch = open_batch("early_learning", ("logits", "index"), losses, where, extra)
        p = jnp.clip(_probabilities(batch, num_classes), 1e-4, 1 - 1e-4)
        seen = lax.stop_gradient(p / jnp.sum(p, axis=-1, keepdims=True))
        old = read(state.targets, batch).astype(p.dtype)
        share = jnp.asarray(beta, p.dtype)
        targets = share * old + (1 - share) * mean_over_repeats(seen, batch)
        # A target sums to 1 at most, so that the logarithm's argument is at least 1e-4.
        values = batch.losses + lam * jnp.log(1 - jnp.sum(targets * p, axis=-1))
        return batch.finished(values), EarlyLearningState(write(state.targets, batch, targets))

    return LossTransform(init, update)


class SelfFilterState(NamedTuple):
    """What the filter carries from step to step.

    Attributes:
      predictions: (num_examples, num_classes), the moving average of each example's
        probabilities, started at 0.
      step: int32 scalar, the number of updates.
    """

    predictions: jax.Array
    step: jax.Array


def self_filter(
    *, num_examples: int, num_classes: int, decay: ArrayLike = 0.9, start: int = 0
) -> LossTransform:
    """SELF's filter: an example counts only while its averaged predictions give its label.

        z_i <-  decay * z_i + (1 - decay) * softmax(logits)              detached
        L    =  loss  if step < start  or  argmax(z_i) = label,  else 0

    A sample that was filtered comes back when its average agrees again. The weight, 0 or 1, is
    detached; filtered samples stay in the batch that the caller's mean divides by. The average
    starts at 0: every prediction then weighs by its age alone, the first too, and the factor
    1 - decay**visits that is missing does not move the argmax. (Started at the first prediction,
    that one would weigh 1 / (1 - decay) times as much as its age gives it.) Of equal averages the
    first class is the argmax. An example that comes twice in a batch is seen once, with the mean
    of both. A NaN prediction gives NaN, not a filtered sample.

    Of the paper, this is the filter alone. It leaves out the mean teacher (there, predictions are
    those of averaged weights; give the teacher's logits to do the same), the consistency loss on
    all samples, filtered ones included, and the rounds: there, the network is trained to its best
    validation accuracy, predictions over the whole data set are averaged from epoch to epoch, and
    the labels are filtered for the next round. Here, the prediction made in training enters the
    average before the average decides.

    Args:
      num_examples: number of examples in the data set.
      num_classes: number of classes.
      decay: weight of the old average, in [0, 1). With 0, the current prediction decides. It
        counts visits of an example, that is, epochs.
      start: the step, counted from 0, from which on samples are filtered; before it, the loss is
        cross entropy and predictions are averaged. An untrained network agrees with few labels:
        give it some epochs.

    Returns:
      A `LossTransform` that needs `logits`, `labels` and `index`. Its state is a
      `SelfFilterState`.

    Raises:
      ValueError: if a number is out of range; by `update`, if an input is missing or does not fit.

    >>> import jax.numpy as jnp
    >>> transform = self_filter(num_examples=100, num_classes=2)
    >>> inputs = {"labels": jnp.array([0, 1]), "index": jnp.array([7, 42])}
    >>> logits = jnp.array([[2.0, 0.0], [2.0, 0.0]])
    >>> losses = jnp.array([0.127, 2.127])
    >>> values, state = transform.update(losses, transform.init(), logits=logits, **inputs)
    >>> print(values)
    [0.127 0.   ]

    Reference: Duc Tam Nguyen, Chaithanya Kumar Mummadi, Thi Phuong Nhung Ngo, Thi Hoai Phuong
    Nguyen, Laura Beggel, Thomas Brox, "SELF: Learning to Filter Noisy Labels with
    Self-Ensembling", ICLR 2020.
    """
    num_examples = whole_number("num_examples", num_examples)
    num_classes = whole_number("num_classes", num_classes, least=2)
    decay = checked("decay", decay, "a number in [0, 1)", lambda x: 0 <= x < 1)
    start = whole_number("start", start, least=0)

    def init():
        rows = jnp.zeros((num_examples, num_classes), jnp.result_type(float))
        return SelfFilterState(predictions=rows, step=jnp.int32(0))

    def update(losses, state: SelfFilterState, *, where=None, **extra):
        batch = open_batch("self_filter", ("logits", "labels", "index"), losses, where, extra)
        p = lax.stop_gradient(_probabilities(batch, num_classes))
        old = read(state.predictions, batch).astype(p.dtype)
        share = jnp.asarray(decay, p.dtype)
        averages = share * old + (1 - share) * mean_over_repeats(p, batch)
        counts = (jnp.argmax(averages, axis=-1) == batch.labels) | (state.step < start)
        values = jnp.where(counts, batch.losses, 0)
        # A network that diverged must not look like one whose samples are all filtered.
        values = jnp.where(jnp.isnan(averages).any(axis=-1), jnp.nan, values)
        predictions = write(state.predictions, batch, averages)
        return batch.finished(values), SelfFilterState(predictions, state.step + 1)

    return LossTransform(init, update)


class LossMemoryState(NamedTuple):
    """The record of losses.

    Attributes:
      total: (num_examples,), the sum of each example's losses, or of what they lie above their
        batch's mean.
      visits: (num_examples,) int32, how many losses that sum has.
    """

    total: jax.Array
    visits: jax.Array


def loss_memory(*, num_examples: int, centred: bool = False) -> LossTransform:
    """O2U-Net's record: losses pass unchanged, and each example's are summed and counted.

        total_i  <-  total_i + loss       (centred: loss - mean(batch))       detached
        visits_i <-  visits_i + 1

    Wrong labels tend to have a large mean loss `total / visits` while a learning rate that goes
    up and down in cycles takes the network from overfitting to underfitting and back. The mean is
    NaN for an example never seen. Every unmasked, finite loss enters, twice for an example that
    comes twice in a batch. The schedule of the learning rate, and training anew without the
    examples of the largest means, are the caller's.

    The official code (hjimce/O2U-Net) subtracts each epoch's mean loss from the losses of that
    epoch and sums over the epochs. Where every example is seen once an epoch, that lowers all sums
    alike: `total` without it ranks the examples in the same order. Where some are seen more often
    than others, or at other times, `centred=True` subtracts the mean of the batch, which estimates
    the epoch's.

    Args:
      num_examples: number of examples in the data set.
      centred: whether to subtract the batch's mean of finite, unmasked losses from what is
        recorded.

    Returns:
      A `LossTransform` that needs `index`. Its state is a `LossMemoryState`.

    Raises:
      ValueError: if `num_examples` is no integer >= 1; by `update`, if `index` is missing or does
        not fit.

    >>> import jax.numpy as jnp
    >>> transform = loss_memory(num_examples=3)
    >>> state = transform.init()
    >>> _, state = transform.update(jnp.array([0.5, 4.0]), state, index=jnp.array([1, 2]))
    >>> _, state = transform.update(jnp.array([1.0, 0.2]), state, index=jnp.array([2, 0]))
    >>> means = state.total / state.visits
    >>> print(means, jnp.argsort(-means))  # most suspicious first
    [0.2 0.5 2.5] [2 1 0]

    Reference: Jinchi Huang, Lie Qu, Rongfei Jia, Binqiang Zhao, "O2U-Net: A Simple Noisy Label
    Detection Approach for Deep Neural Networks", ICCV 2019.
    """
    num_examples = whole_number("num_examples", num_examples)

    def init():
        return LossMemoryState(
            total=jnp.zeros(num_examples, jnp.result_type(float)),
            visits=jnp.zeros(num_examples, jnp.int32),
        )

    def update(losses, state: LossMemoryState, *, where=None, **extra):
        batch = open_batch("loss_memory", ("index",), losses, where, extra)
        record = lax.stop_gradient(batch.losses)
        known = (batch.index >= 0) & (batch.index < num_examples)
        finite = batch.where & jnp.isfinite(record)
        if centred:
            mean = jnp.sum(jnp.where(finite, record, 0)) / jnp.maximum(jnp.sum(finite), 1)
            record -= mean
        index = jnp.where(known & finite, batch.index, num_examples)
        state = LossMemoryState(
            total=state.total.at[index].add(record.astype(state.total.dtype), mode="drop"),
            visits=state.visits.at[index].add(1, mode="drop"),
        )
        return batch.finished(jnp.where(known, batch.losses, jnp.nan)), state

    return LossTransform(init, update)
