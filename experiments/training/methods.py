"""Builds the LossTransform for each method that a config can name."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments import checks
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


class Facts(NamedTuple):
    """What a method may need to know about a run."""

    num_examples: int
    num_classes: int | None  # None if targets are not classes
    steps: int  # in the whole run
    matrix: Callable[[], np.ndarray] | None  # the noise's transition matrix, if it has one

    def share(self, name: str, part: float) -> int:
        """Converts a share of the run to steps."""
        checks.within(f"config.loss: {name}, a share of the run", part, 0, 1)
        return round(part * self.steps)

    def classes(self) -> int:
        if self.num_classes is None:
            raise ValueError("it needs classes, and this task has none")
        return self.num_classes

    def noise_matrix(self) -> np.ndarray:
        if self.matrix is None:
            raise ValueError("it needs the noise's transition matrix, and this task has none")
        return self.matrix()


def _plain(loss, own, facts):
    """The task's own loss, without a method: cross entropy, if its targets are classes."""

    def update(losses, state, *, where=None, **extra):
        return (losses if where is None else jnp.where(where, losses, 0)), state

    return LossTransform(lambda: (), update)


def _decay(loss) -> float:
    if not 0 <= loss.decay < 1:
        said = f"expected a number in [0, 1), got {loss.decay!r}"
        raise ValueError(f"config.loss.decay: {said}")
    return loss.decay


def _threshold(loss, facts: Facts) -> Threshold:
    def fixed():
        if loss.tau is None:
            raise ValueError("config.loss.tau: a constant threshold needs a number, got None")
        return constant(loss.tau)

    def window():
        checks.integer("config.loss.window", loss.window, 1, 1_000_000)
        return windowed(loss.window)

    thresholds: dict[str, Callable[[], Threshold]] = {
        "ema": lambda: ema(_decay(loss)),
        "running_mean": running_mean,
        "constant": fixed,
        "windowed": window,
        "per_class": lambda: per_class(facts.classes(), _decay(loss)),
    }
    return checks.choose("config.loss.threshold", loss.threshold, thresholds)()


def _superloss(loss, own, facts):
    checks.positive("config.loss.lam", loss.lam)
    return superloss(lam=loss.lam, threshold=_threshold(loss, facts))


def _truncated_gce(loss, own, facts):
    return curricula.truncated_gce(q=own.q, k=own.k, start=facts.share("start", own.start))


def _self_paced(loss, own, facts):
    for name in ("threshold", "growth"):
        checks.positive(f"config.loss.self_paced.{name}", own[name])
    every = max(1, facts.share("every", own.every))
    threshold = optax.exponential_decay(own.threshold, every, own.growth, staircase=True)
    return curricula.self_paced(threshold=threshold, weights=own.weights)


def _mentornet(loss, own, facts):
    checks.within("config.loss.mentornet.second", own.second, 0, 1e6)
    late = facts.share("second_from", own.second_from)
    return curricula.mentornet(
        percentile=own.percentile, decay=own.decay, burn_in=facts.share("burn_in", own.burn_in),
        second=lambda step: jnp.where(step < late, 0.0, own.second),
    )  # fmt: skip


def _data_parameters(loss, own, facts):
    kinds = {"class": (True, False), "instance": (False, True), "both": (True, True)}
    of = "config.loss.data_parameters"
    of_class, of_instance = checks.choose(f"{of}.kind", own.kind, kinds)
    chosen: dict[str, Any] = {}
    if of_class:
        chosen["num_classes"] = facts.classes()
        checks.positive(f"{of}.class_rate", own.class_rate)
        chosen["class_optimizer"] = optax.sgd(own.class_rate, momentum=own.momentum)
    if of_instance:
        chosen["num_examples"] = facts.num_examples
        checks.positive(f"{of}.instance_rate", own.instance_rate)
        chosen["instance_optimizer"] = optax.sgd(own.instance_rate, momentum=own.momentum)
    return memory.data_parameters(**chosen, clamp=own.clamp)


def _trend_superloss(loss, own, facts):
    checks.positive("config.loss.lam", loss.lam)
    checks.integer("config.loss.trend_superloss.window", own.window, 2, 100_000)  # epochs, at most
    return memory.trend_superloss(
        num_examples=facts.num_examples, lam=loss.lam, threshold=_threshold(loss, facts), **own
    )


def _remembered_superloss(loss, own, facts):
    checks.positive("config.loss.lam", loss.lam)
    given = {"lam": loss.lam, "decay": _decay(loss), "share": own.share}
    return memory.remembered_superloss(num_examples=facts.num_examples, **given)


def _keep(own, facts: Facts):
    checks.within("config.loss: forget_rate", own.forget_rate, 0, 0.99)
    steps = max(1, facts.share("warmup", own.warmup))
    return optax.linear_schedule(1.0, 1.0 - own.forget_rate, steps)


def _early_learning(loss, own, facts):
    sizes = {"num_examples": facts.num_examples, "num_classes": facts.classes()}
    return memory.early_learning(**sizes, **own)


def _self_filter(loss, own, facts):
    sizes = {"num_examples": facts.num_examples, "num_classes": facts.classes()}
    return memory.self_filter(**sizes, decay=own.decay, start=facts.share("start", own.start))


PLAIN = ("plain", "cross_entropy")
SUPERLOSSES = ("superloss", "trend_superloss", "remembered_superloss")
ROBUST: dict[str, Callable[..., LossTransform]] = {
    "plain": _plain,
    "cross_entropy": _plain,
    "cauchy": lambda loss, own, facts: robust.cauchy(**own),
    "generalized_cross_entropy": lambda loss, own, facts: robust.generalized_cross_entropy(**own),
    "truncated_gce": _truncated_gce,
    "symmetric_cross_entropy": lambda loss, own, facts: robust.symmetric_cross_entropy(**own),
    "active_passive": lambda loss, own, facts: robust.active_passive(**own),
    "bootstrap": lambda loss, own, facts: robust.bootstrap(**own),
    "focal": lambda loss, own, facts: robust.focal(**own),
    "forward_correction": lambda loss, own, facts: robust.forward_correction(facts.noise_matrix()),
    "backward_correction": lambda loss, own, facts: robust.backward_correction(
        facts.noise_matrix()
    ),
}
PAIRS: dict[str, Callable[..., LossTransform]] = {
    "co_teaching": lambda loss, own, facts: pairs.co_teaching(keep=_keep(own, facts)),
    "jocor": lambda loss, own, facts: pairs.jocor(keep=_keep(own, facts), lam=own.lam),
}
METHODS: dict[str, Callable[..., LossTransform]] = {
    **ROBUST,
    "superloss": _superloss,
    "trimmed": lambda loss, own, facts: curricula.trimmed(keep=_keep(own, facts)),
    "trend_superloss": _trend_superloss,
    "remembered_superloss": _remembered_superloss,
    "self_paced": _self_paced,
    "mentornet": _mentornet,
    "data_parameters": _data_parameters,
    "early_learning": _early_learning,
    "self_filter": _self_filter,
    "loss_memory": lambda loss, own, facts: memory.loss_memory(num_examples=facts.num_examples),
    **PAIRS,
}
# These change their state after each epoch, by the losses of the validation split:
# (state, losses, where) -> state.
ADVANCES: dict[str, Callable[..., Any]] = {"remembered_superloss": memory.advance}
RENAMED = {  # former names in this program; methods now have the library's names
    "gce": "generalized_cross_entropy",
    "sce": "symmetric_cross_entropy",
    "nce_rce": "active_passive",
    "nce_mae": "active_passive with loss.active_passive.passive=mae",
    "bootstrap_soft": "bootstrap",
    "bootstrap_hard": "bootstrap with loss.bootstrap.hard=True and loss.bootstrap.beta=0.8",
    "forward": "forward_correction",
    "backward": "backward_correction",
    "self_paced_hard": "self_paced",
    "self_paced_linear": "self_paced with loss.self_paced.weights=linear",
    "elr": "early_learning",
    "o2u": "loss_memory",
}
# These take the loss for a cross entropy, from which they have the probability of the label.
OF_CROSS_ENTROPY = (
    "generalized_cross_entropy", "truncated_gce", "symmetric_cross_entropy", "focal",
    "early_learning", "self_filter", "jocor",
)  # fmt: skip
# These are computed from logits, so they have no base loss, nor a weight for it.
FROM_LOGITS = ("active_passive", "bootstrap", "forward_correction", "backward_correction")


def make_method(loss: Mapping[str, Any], facts: Facts) -> LossTransform:
    """Builds the method of `config.loss`, applied on top of its base loss."""
    for key, table in (("method", METHODS), ("base", ROBUST)):
        if loss[key] in RENAMED:
            raise ValueError(f"config.loss.{key}: {loss[key]} is now called {RENAMED[loss[key]]}")
        checks.choose(f"config.loss.{key}", loss[key], table)

    def named(name: str) -> LossTransform:
        try:
            return METHODS[name](loss, loss.get(name, {}), facts)
        except ValueError as error:
            said = str(error)
            raise ValueError(said if "config" in said else f"config.loss.{name}: {said}") from None

    if loss["base"] in PLAIN:
        made = named(loss["method"])
    elif loss["method"] in (*FROM_LOGITS, "data_parameters"):
        raise ValueError(
            f"config.loss.base: {loss['method']} works on logits, and has no loss below it:"
            " choose cross_entropy"
        )
    else:
        made = chain(named(loss["base"]), named(loss["method"]))
    of_superloss = loss["method"] in SUPERLOSSES
    return normalised(made) if of_superloss and loss.get("normalise_weights") else made


def check_fits(loss: Mapping[str, Any], num_classes: int | None) -> None:
    """Raises ValueError for a method that needs classes if the task has none."""
    of_classes = (*OF_CROSS_ENTROPY, *FROM_LOGITS, "data_parameters")
    unfit = {*of_classes, "cross_entropy"}  # which toys without classes may call their plain loss
    for key in ("method", "base"):
        if num_classes is None and loss[key] in of_classes:
            table = METHODS if key == "method" else ROBUST
            fitting = ", ".join(name for name in table if name not in unfit)
            said = f"{loss[key]} needs classes, which this task's units do not have"
            raise ValueError(f"config.loss.{key}: {said}; choose one of {fitting}")


def networks(loss) -> int:
    return 2 if loss.method in PAIRS else 1


def weighs(loss) -> bool:
    """Whether the method gives examples weights that are lower where labels look wrong."""
    return not {loss.method, loss.base} & {*FROM_LOGITS, "focal"}


def normalised(method: LossTransform) -> LossTransform:
    """Divides each loss's weight by the mean weight of the batch, which the article does not."""

    def update(losses, state, *, where=None, **inputs):
        where = jnp.ones(losses.shape, bool) if where is None else where
        transformed, new = method.update(losses, state, where=where, **inputs)
        sigma = weights(method, jax.lax.stop_gradient(losses), state, where, inputs)
        mean = jnp.sum(jnp.where(where, sigma, 0)) / jnp.maximum(jnp.sum(where), 1)
        factor = jnp.where(mean > 0, 1 / jnp.where(mean > 0, mean, 1), 1)
        return transformed * jax.lax.stop_gradient(factor), new

    return LossTransform(method.init, update)


def weights(method: LossTransform, losses, state, where, inputs) -> jax.Array:
    """Returns each example's weight: the derivative of the transformed losses by its loss.

    Data parameters work on logits; their weight is 1 / sigma.
    """
    if isinstance(state, memory.DataParametersState):
        parts = ((state.examples, "index"), (state.classes, "labels"))
        sigmas = [jnp.exp(part.log_sigma[inputs[name]]) for part, name in parts if part]
        return 1 / sum(sigmas[1:], sigmas[0])

    def total(losses):
        return jnp.sum(method.update(losses, state, where=where, **inputs)[0])

    return jax.grad(total)(losses)
