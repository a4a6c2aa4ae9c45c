"""Data parameters (Saxena, Tuzel, DeCoste, 2019): a learnt temperature per class and example."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike

from superloss_jax._base import LossTransform, make_transform
from superloss_jax._checks import ABOVE_ONE, Scalar, check_integer, check_number
from superloss_jax._examples import places
from superloss_jax._inputs import Batch, as_rows, is_row


class DataParameters(NamedTuple):
    """The parameters of one kind, per class or per example.

    Attributes:
      log_sigma: (num_classes,) or (num_examples,), the logarithm of each temperature.
      optimizer: the state of their optimizer.
    """

    log_sigma: jax.Array
    optimizer: Any


class DataParametersState(NamedTuple):
    """The state of `data_parameters`.

    Attributes:
      classes: `DataParameters` of the classes, or `()` if they have none.
      examples: `DataParameters` of the examples, or `()` if they have none.
    """

    classes: Any = ()
    examples: Any = ()


class _Optimizer(NamedTuple):
    """As in Optax: `init(params)`, and `update(gradient, state, params) -> (change, state)`."""

    init: Callable[..., Any]
    update: Callable[..., tuple[Any, Any]]


class _Kind(NamedTuple):
    """How one kind is built: the name of the input that has its rows, its size and optimizer."""

    rows: str
    size: int
    optimizer: _Optimizer


def data_parameters(
    *,
    num_classes: int | None = None,
    num_examples: int | None = None,
    class_optimizer: Any = None,
    instance_optimizer: Any = None,
    clamp: ArrayLike = 20.0,
) -> LossTransform[DataParametersState]:
    """Data parameters are temperatures of the cross entropy, learnt per class, example, or both.

        -log softmax(z / sigma)_y        sigma = sigma_class[y],  sigma_example[i],  or their sum

    The temperature of a wrong label rises. The gradient that it sends into the network has a
    factor 1/sigma, and fades.

    `update` weights the batch first and moves its parameters afterwards. log(sigma) follows the
    gradient of the mean over unmasked, finite examples, computed from detached logits. A parameter
    that occurs several times in the batch gets the sum of its shares. As in the official code,
    parameters absent from the batch keep their value and their optimizer's momentum (sparse SGD),
    and sigma is clamped after each step.

    Sigma starts at 1, which is cross entropy. If both kinds are learnt, it starts at 1 per class
    and 1 / clamp per example, which is what the official start of 0.001 becomes after one step.

    The official code holds momentum back where a gradient is exactly 0, whether the parameter is
    present or not. Its weight decay counts a class once per occurrence in the batch, where
    `optax.add_decayed_weights` in the optimizer counts it once.

    Args:
      num_classes: number of parameters per class, or None for none.
      num_examples: number of parameters per example, or None for none. `index` runs from 0 to
        num_examples - 1. Beyond either size, the loss is NaN.
      class_optimizer: an Optax optimizer, elementwise; by default the official
        `optax.sgd(0.1, momentum=0.9)`.
      instance_optimizer: likewise, `optax.sgd(0.2, momentum=0.9)`, the official choice for wrong
        labels. Both defaults are for batches of 128, whose mean divides each gradient. In an
        optimizer's state, arrays of one value per parameter are sparse; all others, such as a step
        count, move with each update.
      clamp: bound on sigma and 1/sigma, > 1 and finite; the official is 20.

    Returns:
      A `LossTransform` that needs `logits` and `labels`, and `index` for parameters per example.
      It takes nothing but shape and dtype from `losses`, and so comes first in a `chain`. The
      state is a `DataParametersState`, from which `instance_weights` reads 1/sigma.

    Raises:
      ValueError: if neither size is given, a size is no integer >= 1, `clamp` is out of range, or
        an optimizer is none.

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
    kinds: dict[str, _Kind] = {}
    if num_classes is not None:
        size = check_integer("num_classes", num_classes)
        optimizer = _check_optimizer("class_optimizer", class_optimizer, 0.1)
        kinds["classes"] = _Kind("labels", size, optimizer)
    if num_examples is not None:
        size = check_integer("num_examples", num_examples)
        optimizer = _check_optimizer("instance_optimizer", instance_optimizer, 0.2)
        kinds["examples"] = _Kind("index", size, optimizer)
    if not kinds:
        raise ValueError("data_parameters: expected num_classes, num_examples or both, got neither")
    return _transform(kinds, check_number("clamp", clamp, ABOVE_ONE))


def _transform(kinds: dict[str, _Kind], clamp: Scalar) -> LossTransform[DataParametersState]:
    """Returns the transform with one or both kinds of parameters."""
    needs = {"logits": None, "labels": None} | {kind.rows: kind.size for kind in kinds.values()}

    def init():
        parts = {}
        for name, kind in kinds.items():
            start = -jnp.log(clamp) if name == "examples" and len(kinds) == 2 else 0.0
            log_sigma = jnp.full(kind.size, start, jnp.result_type(float))
            parts[name] = DataParameters(log_sigma, kind.optimizer.init(log_sigma))
        return DataParametersState(**parts)

    def step(batch: Batch, state: DataParametersState, **inputs: jax.Array):
        logits, labels = inputs["logits"], inputs["labels"]
        parts = {name: getattr(state, name) for name in kinds}
        sigmas = {
            name: jnp.exp(part.log_sigma[inputs[kinds[name].rows]]) for name, part in parts.items()
        }
        sigma = functools.reduce(operator.add, sigmas.values())
        values, slope = _cross_entropy(logits, labels, sigma.astype(logits.dtype))

        counted = batch.where & jnp.isfinite(slope)
        slope = jnp.where(counted, slope, 0) / jnp.maximum(jnp.sum(counted, dtype=slope.dtype), 1)
        for name, kind in kinds.items():
            gradient = slope.astype(sigmas[name].dtype) * sigmas[name]  # by log(sigma)
            rows = places(parts[name].log_sigma, inputs[kind.rows], counted)
            parts[name] = _sparse_step(kind.optimizer, parts[name], gradient, rows, jnp.log(clamp))
        return values, DataParametersState(**parts)

    return make_transform("data_parameters", init, step, needs)


def _sgd(rate: float, momentum: float = 0.9) -> _Optimizer:
    """Returns PyTorch's SGD, `optax.sgd(rate, momentum)`; the library does not depend on Optax."""

    def update(gradient, trace, params):
        trace = momentum * trace + gradient
        return -rate * trace, trace

    return _Optimizer(jnp.zeros_like, update)


def _check_optimizer(name: str, optimizer: Any, rate: float) -> Any:
    """Returns the optimizer, or SGD with this rate if there is none."""
    if optimizer is None:
        return _sgd(rate)
    if not callable(getattr(optimizer, "init", None)) or not hasattr(optimizer, "update"):
        raise ValueError(f"{name}: expected an Optax optimizer, got {optimizer!r}")
    return optimizer


def _cross_entropy(
    logits: jax.Array, labels: jax.Array, sigma: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Returns cross entropy of logits / sigma, and its derivative by sigma, detached."""
    labels = labels[..., None]
    # Shifted before it is scaled: the largest is then 0 to the last bit, and no loss negative.
    largest = lax.stop_gradient(jnp.max(logits, axis=-1, keepdims=True))
    log_p = jax.nn.log_softmax((logits - largest) / sigma[..., None])
    values = -jnp.take_along_axis(log_p, labels, axis=-1)[..., 0]
    z, p = lax.stop_gradient((logits, jnp.exp(log_p)))
    # Differences are exact where all logits are large. A class of logit -infinity counts as 0.
    above = jnp.where(p > 0, jnp.take_along_axis(z, labels, axis=-1) - z, 0)
    return values, jnp.sum(p * above, axis=-1) / sigma**2


def _sparse_step(
    optimizer: _Optimizer,
    part: DataParameters,
    gradient: jax.Array,
    rows: jax.Array,
    bound: jax.Array,
) -> DataParameters:
    """Returns the parameters after one step of those in the batch, summing over repeats."""
    old = part.log_sigma
    total = jnp.zeros_like(old).at[rows].add(gradient.astype(old.dtype), mode="drop")
    present = jnp.zeros(old.shape, bool).at[rows].set(True, mode="drop")
    change, optimizer_state = optimizer.update(total, part.optimizer, old)
    new = DataParameters(jnp.clip(old + change, -bound, bound), optimizer_state)

    def keep(old, new):
        new = new.astype(old.dtype)
        return jnp.where(present, new, old) if new.shape == present.shape else new

    return jax.tree.map(keep, part, new)


def instance_weights(state: DataParametersState, labels: ArrayLike | None = None) -> jax.Array:
    """Returns 1/sigma of every example, a factor of its gradient, small where a label looks wrong.

    Args:
      state: state of `data_parameters`.
      labels: integers of shape (num_examples,), of all examples in the order of their index. They
        are needed if there are parameters per class.

    Returns:
      Array of shape (num_examples,), NaN for a label that is no class.

    Raises:
      ValueError: if there are parameters per class and no integer labels.

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
        labels = as_rows("labels", labels)
        sigma_of_class = jnp.exp(state.classes.log_sigma)
        known = is_row(labels, len(sigma_of_class))
        of_class = jnp.where(known, sigma_of_class[jnp.where(known, labels, 0)], jnp.nan)
        sigma = of_class + jnp.broadcast_to(sigma, of_class.shape)
    return 1 / sigma
