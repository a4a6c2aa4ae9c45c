"""SELF's filter (Nguyen et al., 2020)."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike

from superloss_jax._base import LossTransform, make_transform
from superloss_jax._checks import ZERO_TO_BELOW_ONE, check_integer, check_number
from superloss_jax._examples import mean_over_repeats, write
from superloss_jax._inputs import Batch
from superloss_jax._states import saturating_add


class SelfFilterState(NamedTuple):
    """The state of `self_filter`.

    Attributes:
      predictions: (num_examples, num_classes), the moving average of each example's
        probabilities, started at 0.
      step: int32 scalar, the number of updates so far. It stays at 2**31 - 1.
    """

    predictions: jax.Array
    step: jax.Array


def self_filter(
    *, num_examples: int, num_classes: int, decay: ArrayLike = 0.9, start: int = 0
) -> LossTransform[SelfFilterState]:
    """SELF's filter drops an example while its averaged predictions disagree with its label.

        z_i <-  decay * z_i + (1 - decay) * softmax(logits)              detached
        L    =  loss  if step < start  or  argmax(z_i) = label,  else 0

    A dropped sample comes back as soon as its average agrees. The weight, 0 or 1, is detached.
    Dropped samples still count in the batch size that the caller's mean divides by. A NaN
    prediction gives NaN, not a dropped sample. An example that comes twice in a batch is seen
    once, with the mean of both.

    The average starts at 0, so each prediction weighs by its age alone. It is too small by the
    factor 1 - decay**visits, which does not move the argmax. (Started at the first prediction, the
    average would give that one 1 / (1 - decay) times the weight of its age.) Of equal averages the
    first class is the argmax.

    This is the paper's filter alone, without three other parts. There is no mean teacher, whose
    averaged weights make the paper's predictions (give the teacher's logits to do the same). There
    is no consistency loss on all samples, the dropped ones included. And there are no rounds: the
    paper trains to the best validation accuracy, averages predictions over the whole data set from
    epoch to epoch, and then filters the labels for the next round. Here, the prediction made in
    training enters the average before the average decides.

    Args:
      num_examples: number of examples in the data set.
      num_classes: number of classes.
      decay: weight of the old average, in [0, 1). With 0, the current prediction decides. It
        counts visits of an example, that is, epochs.
      start: first step, counted from 0, that drops samples. Before it, the loss is cross entropy
        and predictions are averaged. An untrained network agrees with few labels: give it some
        epochs.

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
    num_examples = check_integer("num_examples", num_examples)
    num_classes = check_integer("num_classes", num_classes, least=2)
    decay = check_number("decay", decay, ZERO_TO_BELOW_ONE)
    start = check_integer("start", start, least=0)

    def init():
        rows = jnp.zeros((num_examples, num_classes), jnp.result_type(float))
        return SelfFilterState(predictions=rows, step=jnp.int32(0))

    def step(batch: Batch, state: SelfFilterState, *, logits, labels, index):
        p = lax.stop_gradient(jax.nn.softmax(logits))
        old = state.predictions[index].astype(p.dtype)
        share = jnp.asarray(decay, p.dtype)
        averages = share * old + (1 - share) * mean_over_repeats(p, index, batch.where)
        counts = (jnp.argmax(averages, axis=-1).astype(labels.dtype) == labels) | (
            state.step < start
        )
        values = jnp.where(counts | jnp.isnan(batch.losses), batch.losses, 0)
        # A network that diverged must not look like one whose samples are all dropped.
        values = jnp.where(jnp.isnan(averages).any(axis=-1), jnp.nan, values)
        predictions = write(state.predictions, index, batch.where, averages)
        return values, SelfFilterState(predictions, saturating_add(state.step))

    needs = {"logits": num_classes, "labels": None, "index": num_examples}
    return make_transform("self_filter", init, step, needs)
