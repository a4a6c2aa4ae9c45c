"""Data parameters (Saxena, Tuzel, DeCoste, 2019): a learnt temperature per class and example."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike

from superloss_jax import _examples
from superloss_jax._base import Batch, LossTransform, checked, open_batch, whole_number


class DataParameters(NamedTuple):
    """One kind of data parameters.

    Attributes:
      log_sigma: shape (num_classes,) or (num_examples,).
      optimizer: the state of their optimizer.
    """

    log_sigma: jax.Array
    optimizer: Any


class DataParametersState(NamedTuple):
    """What data parameters carry: `DataParameters` of each kind, or `()` for a kind not learnt."""

    classes: Any = ()
    examples: Any = ()


class _Optimizer(NamedTuple):
    """As in Optax: `init(params)`, and `update(gradient, state, params) -> (change, state)`."""

    init: Any
    update: Any


def _sgd(rate: float, momentum: float = 0.9) -> _Optimizer:
    """PyTorch's SGD, `optax.sgd(rate, momentum)`, for which the library need not have Optax."""

    def update(gradient, trace, params):
        trace = momentum * trace + gradient
        return -rate * trace, trace

    return _Optimizer(jnp.zeros_like, update)


def data_parameters(
    *,
    num_classes: int | None = None,
    num_examples: int | None = None,
    class_optimizer: Any = None,
    instance_optimizer: Any = None,
    clamp: ArrayLike = 20.0,
) -> LossTransform:
    """Data parameters: cross entropy at a temperature that is learnt per class, example, or both.

        -log softmax(z / sigma)_y        sigma = sigma_class[y],  sigma_example[i],  or their sum

    The temperature of a wrong label rises, and the gradient that it sends into the network, which
    has a factor 1/sigma, fades. log(sigma) follows the gradient of the mean over unmasked, finite
    examples, computed from detached logits within `update`: a parameter that occurs repeatedly
    gets the sum of its shares. A batch is weighted before its parameters move. As in the official
    code, parameters absent from the batch keep their value and their optimizer's momentum
    (sparse SGD), and after each step sigma is clamped. It starts at 1, which is cross entropy; if
    both are learnt, at 1 per class and 1 / clamp per example, what the official start of 0.001
    becomes after one step. The official code holds momentum back where a gradient is exactly 0,
    present or not; its weight decay counts a class once per occurrence in the batch, where
    `optax.add_decayed_weights` in the optimizer counts it once.

    Args:
      num_classes: size of the classes' parameters, or None for none.
      num_examples: size of the examples' parameters, or None for none; `index` runs from 0 to
        num_examples - 1. Beyond either, the loss is NaN.
      class_optimizer: an Optax optimizer, elementwise; by default the official
        `optax.sgd(0.1, momentum=0.9)`.
      instance_optimizer: likewise, `optax.sgd(0.2, momentum=0.9)`, the official choice for wrong
        labels. Both are for batches of 128, whose mean divides each gradient. Of an optimizer's
        state, arrays of one value per parameter are sparse, and others, such as a step count, move
        with each update.
      clamp: bound on sigma and 1/sigma, > 1 and finite; the official is 20.

    Returns:
      A `LossTransform` that needs `logits` and `labels`, and `index` for parameters per example;
      of `losses` it takes shape and dtype alone, and so comes first in a `chain`. The state is a
      `DataParametersState`; `instance_weights` reads 1/sigma off it.

    Raises:
      ValueError: if neither size is given, one is no integer >= 1, `clamp` is out of range, or an
        optimizer is none.

    >>> import jax.numpy as jnp
    >>> transform = data_parameters(num_examples=2)
    >>> logits, labels = jnp.array([[2.0, 0.0], [2.0, 0.0]]), jnp.array([0, 1])
    >>> inputs = {"logits": logits, "labels": labels, "index": jnp.arange(2)}
    >>> _, state = transform.update(jnp.array([0.127, 2.127]), transform.init(), **inputs)
    >>> print([f"{w:.3f}" for w in instance_weights(state)])  # right, and wrong
    ['1.024', '0.838']

    Reference: Shreyas Saxena, Oncel Tuzel, Dennis DeCoste, "Data Parameters: A New Family of
    Parameters for Learning a Differentiable Curriculum", NeurIPS 2019.
    """
    sizes, optimizers = {}, {}
    if num_classes is not None:
        sizes["classes"] = whole_number("num_classes", num_classes)
        optimizers["classes"] = _checked_optimizer("class_optimizer", class_optimizer, 0.1)
    if num_examples is not None:
        sizes["examples"] = whole_number("num_examples", num_examples)
        optimizers["examples"] = _checked_optimizer("instance_optimizer", instance_optimizer, 0.2)
    if not sizes:
        raise ValueError("data_parameters: expected num_classes, num_examples or both, got neither")
    clamp = checked("clamp", clamp, "a finite number > 1", lambda x: 1 < x < math.inf)
    needs = ("logits", "labels", "index") if "examples" in sizes else ("logits", "labels")

    def init():
        parts = {}
        for kind, size in sizes.items():
            start = -jnp.log(clamp) if kind == "examples" and len(sizes) == 2 else 0.0
            log_sigma = jnp.full(size, start, jnp.result_type(float))
            parts[kind] = DataParameters(log_sigma, optimizers[kind].init(log_sigma))
        return DataParametersState(**parts)

    def update(losses, state: DataParametersState, *, where=None, **extra):
        batch = open_batch("data_parameters", needs, losses, where, extra)
        rows = {"classes": batch._replace(index=batch.labels), "examples": batch}
        parts = {kind: getattr(state, kind) for kind in sizes}
        sigmas = {k: jnp.exp(_examples.read(part.log_sigma, rows[k])) for k, part in parts.items()}
        sigma = sum(sigmas.values(), jnp.zeros_like(batch.losses))
        values, slope = _cross_entropy(batch, sigma.astype(batch.logits.dtype))

        counted = batch.where & jnp.isfinite(slope)
        slope = jnp.where(counted, slope, 0) / jnp.maximum(jnp.sum(counted), 1)
        for kind, part in parts.items():
            seen = rows[kind]._replace(where=counted)
            gradient = slope * sigmas[kind]  # by log(sigma)
            parts[kind] = _sparse_step(optimizers[kind], part, gradient, seen, jnp.log(clamp))
        return batch.finished(values), DataParametersState(**parts)

    return LossTransform(init, update)


def _checked_optimizer(name: str, optimizer: Any, rate: float) -> Any:
    """The optimizer, by default SGD with this rate."""
    if optimizer is None:
        return _sgd(rate)
    if not callable(getattr(optimizer, "init", None)) or not hasattr(optimizer, "update"):
        raise ValueError(f"{name}: expected an Optax optimizer, got {optimizer!r}")
    return optimizer


def _cross_entropy(batch: Batch, sigma: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Cross entropy of logits / sigma, and its derivative by sigma, detached."""
    labels = batch.labels[..., None]
    # Shifted before it is scaled: the largest is then 0 to the last bit, and no loss negative.
    largest = lax.stop_gradient(jnp.max(batch.logits, axis=-1, keepdims=True))
    log_p = jax.nn.log_softmax((batch.logits - largest) / sigma[..., None])
    values = -jnp.take_along_axis(log_p, labels, axis=-1)[..., 0]
    z, p = lax.stop_gradient((batch.logits, jnp.exp(log_p)))
    # By differences, which are exact where all logits are large; of a class of logit -infinity, 0.
    above = jnp.where(p > 0, jnp.take_along_axis(z, labels, axis=-1) - z, 0)
    return values, jnp.sum(p * above, axis=-1) / sigma**2


def _sparse_step(optimizer, part: DataParameters, gradient, batch: Batch, bound) -> DataParameters:
    """One step of the parameters that the batch has, summing over repeats; the rest stays."""
    old = part.log_sigma
    index = _examples.places(old, batch)
    total = jnp.zeros_like(old).at[index].add(gradient.astype(old.dtype), mode="drop")
    present = jnp.zeros(old.shape, bool).at[index].set(True, mode="drop")
    change, optimizer_state = optimizer.update(total, part.optimizer, old)
    new = DataParameters(jnp.clip(old + change, -bound, bound), optimizer_state)

    def keep(old, new):
        new = new.astype(old.dtype)
        return jnp.where(present, new, old) if new.shape == present.shape else new

    return jax.tree.map(keep, part, new)


def instance_weights(state: DataParametersState, labels: ArrayLike | None = None) -> jax.Array:
    """1/sigma of every example, a factor of its gradient: small where the label looks wrong.

    Args:
      state: of `data_parameters`.
      labels: integers, shape (num_examples,), of all examples in order of their index; needed if
        there are parameters per class.

    Returns:
      Array of shape (num_examples,).

    Raises:
      ValueError: if there are parameters per class and no labels.

    >>> transform = data_parameters(num_classes=10)
    >>> print(instance_weights(transform.init(), labels=[3, 1, 4]))
    [1. 1. 1.]

    Reference: Shreyas Saxena, Oncel Tuzel, Dennis DeCoste, "Data Parameters: A New Family of
    Parameters for Learning a Differentiable Curriculum", NeurIPS 2019.
    """
    sigma = jnp.exp(state.examples.log_sigma) if state.examples else jnp.zeros(())
    if state.classes:
        if labels is None:
            raise ValueError("instance_weights: parameters per class need labels, got None")
        of_class = jnp.exp(state.classes.log_sigma)[jnp.asarray(labels)]
        sigma = of_class + jnp.broadcast_to(sigma, of_class.shape)
    return 1 / sigma
