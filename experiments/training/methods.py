"""The losses that a config can name, each as a LossTransform."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments import checks
from experiments.data import Dataset
from superloss_jax import (
    LossTransform,
    Threshold,
    chain,
    constant,
    curricula,
    ema,
    memory,
    pairs,
    per_class,
    robust,
    running_mean,
    superloss,
    windowed,
)


class Task(NamedTuple):
    """What a method must know of a run."""

    num_examples: int
    num_classes: int
    steps: int  # of the whole run
    matrix: Callable[[], np.ndarray]  # of the label noise; raises ValueError where it has none

    def share(self, name: str, part: float) -> int:
        """Steps that are a share of the run."""
        checks.within(f"config.loss: {name}, a share of the run", part, 0, 1)
        return round(part * self.steps)


def _cross_entropy(loss, own, task):
    def update(losses, state, *, where=None, **extra):
        return (losses if where is None else jnp.where(where, losses, 0)), state

    return LossTransform(lambda: (), update)


def _threshold(loss, task: Task) -> Threshold:
    def fixed():
        if loss.tau is None:
            raise ValueError("config.loss.tau: a constant threshold needs a number, got None")
        return constant(loss.tau)

    thresholds: dict[str, Callable[[], Threshold]] = {
        "ema": lambda: ema(loss.decay),
        "running_mean": running_mean,
        "constant": fixed,
        "windowed": lambda: windowed(loss.window),
        "per_class": lambda: per_class(task.num_classes, loss.decay),
    }
    return checks.choose("config.loss.threshold", loss.threshold, thresholds)()


def _superloss(loss, own, task):
    return superloss(lam=loss.lam, threshold=_threshold(loss, task))


def _truncated_gce(loss, own, task):
    return curricula.truncated_gce(q=own.q, k=own.k, start=task.share("start", own.start))


def _self_paced(weights):
    def make(loss, own, task):
        for name in ("threshold", "growth"):
            checks.positive(f"config.loss.self_paced_{weights}.{name}", own[name])
        every = max(1, task.share("every", own.every))
        threshold = optax.exponential_decay(own.threshold, every, own.growth, staircase=True)
        return curricula.self_paced(threshold=threshold, weights=weights)

    return make


def _mentornet(loss, own, task):
    checks.within("config.loss.mentornet.second", own.second, 0, 1e6)
    late = task.share("second_from", own.second_from)
    return curricula.mentornet(
        percentile=own.percentile, decay=own.decay, burn_in=task.share("burn_in", own.burn_in),
        second=lambda step: jnp.where(step < late, 0.0, own.second),
    )  # fmt: skip


def _data_parameters(loss, own, task):
    kinds = {"class": (True, False), "instance": (False, True), "both": (True, True)}
    of = "config.loss.data_parameters"
    of_class, of_instance = checks.choose(f"{of}.kind", own.kind, kinds)
    for name in ("class_rate", "instance_rate"):
        checks.positive(f"{of}.{name}", own[name])
    return memory.data_parameters(
        num_classes=task.num_classes if of_class else None,
        num_examples=task.num_examples if of_instance else None,
        class_optimizer=optax.sgd(own.class_rate, momentum=own.momentum),
        instance_optimizer=optax.sgd(own.instance_rate, momentum=own.momentum),
        clamp=own.clamp,
    )


def _trend_superloss(loss, own, task):
    return memory.trend_superloss(
        num_examples=task.num_examples, lam=loss.lam, threshold=_threshold(loss, task), **own
    )


def _keep(own, task: Task):
    checks.within("config.loss: forget_rate", own.forget_rate, 0, 0.99)
    steps = max(1, task.share("warmup", own.warmup))
    return optax.linear_schedule(1.0, 1.0 - own.forget_rate, steps)


def _early_learning(loss, own, task):
    sizes = {"num_examples": task.num_examples, "num_classes": task.num_classes}
    return memory.early_learning(**sizes, **own)


def _self_filter(loss, own, task):
    sizes = {"num_examples": task.num_examples, "num_classes": task.num_classes}
    return memory.self_filter(**sizes, decay=own.decay, start=task.share("start", own.start))


def _active_passive(passive):
    return lambda loss, own, task: robust.active_passive(passive=passive, **own)


def _bootstrap(hard):
    return lambda loss, own, task: robust.bootstrap(beta=own.beta, hard=hard)


ROBUST: dict[str, Callable[..., LossTransform]] = {
    "cross_entropy": _cross_entropy,
    "gce": lambda loss, own, task: robust.generalized_cross_entropy(**own),
    "truncated_gce": _truncated_gce,
    "sce": lambda loss, own, task: robust.symmetric_cross_entropy(**own),
    "nce_rce": _active_passive("rce"),
    "nce_mae": _active_passive("mae"),
    "bootstrap_soft": _bootstrap(hard=False),
    "bootstrap_hard": _bootstrap(hard=True),
    "focal": lambda loss, own, task: robust.focal(**own),
    "forward": lambda loss, own, task: robust.forward_correction(task.matrix()),
    "backward": lambda loss, own, task: robust.backward_correction(task.matrix()),
}
PAIRS: dict[str, Callable[..., LossTransform]] = {
    "co_teaching": lambda loss, own, task: pairs.co_teaching(keep=_keep(own, task)),
    "jocor": lambda loss, own, task: pairs.jocor(keep=_keep(own, task), lam=own.lam),
}
METHODS: dict[str, Callable[..., LossTransform]] = {
    **ROBUST,
    "superloss": _superloss,
    "trend_superloss": _trend_superloss,
    "self_paced_hard": _self_paced("hard"),
    "self_paced_linear": _self_paced("linear"),
    "mentornet": _mentornet,
    "data_parameters": _data_parameters,
    "elr": _early_learning,
    "self_filter": _self_filter,
    "o2u": lambda loss, own, task: memory.loss_memory(num_examples=task.num_examples),
    **PAIRS,
}
# These are computed from logits: there is no loss below them, and no weight of one.
FROM_LOGITS = ("nce_rce", "nce_mae", "bootstrap_soft", "bootstrap_hard", "forward", "backward")


def create(loss: Mapping[str, Any], task: Task) -> LossTransform:
    """The method of `config.loss`, on top of its base."""
    # Whether or not the method reads them: they are part of what the results are said to be of.
    checks.positive("config.loss.lam", loss["lam"])
    if not 0 <= loss["decay"] < 1:
        raise ValueError(f"config.loss.decay: expected a number in [0, 1), got {loss['decay']!r}")
    checks.within("config.loss.window", loss["window"], 1, 1_000_000)
    checks.choose("config.loss.method", loss["method"], METHODS)
    checks.choose("config.loss.base", loss["base"], ROBUST)

    def named(name: str) -> LossTransform:
        try:
            return METHODS[name](loss, loss.get(name, {}), task)
        except ValueError as error:
            said = str(error)
            raise ValueError(said if "config" in said else f"config.loss.{name}: {said}") from None

    if loss["base"] == "cross_entropy":
        return named(loss["method"])
    if loss["method"] in (*FROM_LOGITS, "data_parameters"):
        raise ValueError(
            f"config.loss.base: {loss['method']} works on logits, and has no loss below it:"
            " choose cross_entropy"
        )
    return chain(named(loss["base"]), named(loss["method"]))


def networks(loss) -> int:
    return 2 if loss.method in PAIRS else 1


def weighs(loss) -> bool:
    """Whether an example's loss has a weight that is less where its label looks wrong."""
    return not {loss.method, loss.base} & {*FROM_LOGITS, "focal"}


def num_examples(dataset: Dataset) -> int:
    """Rows of a memory that is read by an example's position in the published file.

    Of what is kept for validation, too: the same for every split.
    """
    parts = (dataset.train.indices, dataset.validation.indices)
    return max(int(part.max(initial=0)) for part in parts) + 1


def weights(method: LossTransform, losses, state, where, inputs) -> jax.Array:
    """How much each example counts: the derivative of its transformed loss by its loss.

    Of data parameters, which work on logits, it is 1 / sigma.
    """
    if isinstance(state, memory.DataParametersState):
        parts = ((state.examples, "index"), (state.classes, "labels"))
        sigmas = [jnp.exp(part.log_sigma[inputs[name]]) for part, name in parts if part]
        return 1 / sum(sigmas[1:], sigmas[0])

    def total(losses):
        return jnp.sum(method.update(losses, state, where=where, **inputs)[0])

    return jax.grad(total)(losses)
