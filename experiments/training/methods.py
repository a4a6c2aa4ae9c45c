"""Builds the LossTransform for each method that a config can name."""

from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
import optax

from experiments import checks
from experiments.imported import imported, is_own
from experiments.training import mentors, superlosses
from experiments.training.facts import Facts
from experiments.training.renamed import RENAMED
from experiments.training.weighing import normalised
from superloss_jax import LossTransform, chain, curricula, memory, pairs, robust


def _plain(loss, own, facts):
    """The task's own loss, without a method: cross entropy, if its targets are classes."""

    def update(losses, state, *, where=None, **extra):
        return (losses if where is None else jnp.where(where, losses, 0)), state

    return LossTransform(lambda: (), update)


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


def _learned_mentornet(loss, own, facts):
    if loss.base not in PLAIN:
        said = "learned_mentornet knows the task's own losses alone: expected cross_entropy"
        raise ValueError(f"config.loss.base: {said}, got {loss.base}")
    mentor = mentors.read(own.path)
    first, last = mentor.percents
    return curricula.learned_mentornet(
        mentor.params, decay=own.decay, burn_in=facts.share("burn_in", own.burn_in),
        percentile=mentor.percentile if own.percentile is None else own.percentile,
        percent=lambda step: jnp.clip(100 * (step / facts.steps), first, last),
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


def _keep(own, facts: Facts):
    rate = facts.noise_rate if own.forget_rate == -1 else own.forget_rate
    if rate is None:
        said = "-1 is the rate that wrong labels are drawn with, and none are drawn here"
        raise ValueError(f"config.loss: forget_rate: {said}; give a share")
    checks.within("config.loss: forget_rate, a share or -1,", rate, 0, 0.99)
    steps = max(1, facts.share("warmup", own.warmup))
    return optax.linear_schedule(1.0, 1.0 - rate, steps)


def _early_learning(loss, own, facts):
    sizes = {"num_examples": facts.num_examples, "num_classes": facts.classes()}
    return memory.early_learning(**sizes, **own)


def _self_filter(loss, own, facts):
    sizes = {"num_examples": facts.num_examples, "num_classes": facts.classes()}
    return memory.self_filter(**sizes, decay=own.decay, start=facts.share("start", own.start))


def _active_passive(loss, own, facts):
    others = {"agce": ("a", "q"), "aul": ("a", "q"), "ael": ("a",)}.get(own.passive, ())
    return robust.active_passive(**{key: own[key] for key in ("passive", "alpha", "beta", *others)})


def _logit_adjustment(loss, own, facts):
    return robust.logit_adjustment(facts.label_counts(), tau=own.tau)


def _dynamics_aware(loss, own, facts):
    steps = max(1, facts.share("end", own.end))
    return curricula.dynamics_aware(steps=steps, q_start=own.q_start, q_end=own.q_end)


def _with_section(factory: Callable[..., LossTransform]) -> Callable[..., LossTransform]:
    return lambda loss, own, facts: factory(**own)


BY_SECTION = (  # these need nothing but the keys of their own sections
    robust.cauchy, robust.generalized_cross_entropy, robust.symmetric_cross_entropy,
    robust.active_negative, robust.joint_asymmetric, robust.asymmetric_gce,
    robust.asymmetric_unhinged, robust.asymmetric_exponential, robust.epsilon_softmax,
    robust.logit_clip, robust.label_smoothing, robust.bootstrap, robust.focal,
)  # fmt: skip
PLAIN = ("plain", "cross_entropy")
ROBUST: dict[str, Callable[..., LossTransform]] = {
    "plain": _plain,
    "cross_entropy": _plain,
    **{factory.__name__: _with_section(factory) for factory in BY_SECTION},
    "active_passive": _active_passive,
    "logit_adjustment": _logit_adjustment,
    "truncated_gce": _truncated_gce,
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
    "superloss": superlosses.superloss_of,
    "trimmed": lambda loss, own, facts: curricula.trimmed(keep=_keep(own, facts)),
    "trend_superloss": superlosses.trend_superloss_of,
    "remembered_superloss": superlosses.remembered_superloss_of,
    "self_paced": _self_paced,
    "dynamics_aware": _dynamics_aware,
    "optimized_clipping": lambda loss, own, facts: curricula.optimized_clipping(
        learning_rate=facts.rate, **own
    ),
    "mentornet": _mentornet,
    "learned_mentornet": _learned_mentornet,
    "data_parameters": _data_parameters,
    "early_learning": _early_learning,
    "self_filter": _self_filter,
    "loss_memory": lambda loss, own, facts: memory.loss_memory(num_examples=facts.num_examples),
    **PAIRS,
}
SUPERLOSSES = ("superloss", "trend_superloss", "remembered_superloss")
FROM_FILE = ("learned_mentornet",)  # these need a file of the user's
# These take the loss for a cross entropy, from which they have the probability of the label.
OF_CROSS_ENTROPY = (
    "generalized_cross_entropy", "truncated_gce", "symmetric_cross_entropy", "focal",
    "early_learning", "self_filter", "jocor", "asymmetric_gce", "asymmetric_unhinged",
    "asymmetric_exponential", "dynamics_aware", "optimized_clipping",
)  # fmt: skip
# These are computed from logits, so they have no base loss, nor a weight for it.
FROM_LOGITS = (
    "active_passive", "active_negative", "joint_asymmetric", "epsilon_softmax", "logit_clip",
    "logit_adjustment", "label_smoothing", "bootstrap", "forward_correction", "backward_correction",
)  # fmt: skip


def make_method(loss: Mapping[str, Any], facts: Facts) -> LossTransform:
    """Builds the method of `config.loss`, applied on top of its base loss."""
    for key, table in (("method", METHODS), ("base", ROBUST)):
        if loss[key] in RENAMED:
            raise ValueError(f"config.loss.{key}: {loss[key]} is now called {RENAMED[loss[key]]}")
        if key == "base" or not is_own(loss[key]):
            checks.choose(f"config.loss.{key}", loss[key], table)

    def named(name: str) -> LossTransform:
        if is_own(name):
            return _imported(name, facts)
        try:
            return METHODS[name](loss, loss.get(name, {}), facts)
        except ValueError as error:
            said = str(error)
            raise ValueError(said if "config" in said else f"config.loss.{name}: {said}") from None

    def as_asked(method: LossTransform) -> LossTransform:
        asked = loss["method"] in SUPERLOSSES and loss.get("normalise_weights")
        return normalised(method) if asked else method

    if loss["base"] in PLAIN:
        return as_asked(named(loss["method"]))
    if loss["method"] in (*FROM_LOGITS, "data_parameters"):
        raise ValueError(
            f"config.loss.base: {loss['method']} works on logits, and has no loss below it:"
            " choose cross_entropy"
        )
    return as_asked(chain(named(loss["base"]), named(loss["method"])))


def _imported(name: str, facts: Facts) -> LossTransform:
    """A method of the user's own: a function of the Facts that returns a LossTransform."""
    found = imported("config.loss.method", name)(facts)
    if not isinstance(found, LossTransform):
        said = f"expected {name} to return a LossTransform, got {type(found).__name__}"
        raise ValueError(f"config.loss.method: {said}")
    return found


def check_fits(loss: Mapping[str, Any], num_classes: int | None) -> None:
    """Raises ValueError for a method that needs classes, if the task has none or others."""
    if loss["method"] == "learned_mentornet":
        mentors.check_classes(loss["learned_mentornet"].path, num_classes)
    of_classes = (*OF_CROSS_ENTROPY, *FROM_LOGITS, "data_parameters")
    unfit = {*of_classes, "cross_entropy"}  # which toys without classes may call their plain loss
    for key in ("method", "base"):
        if num_classes is None and loss[key] in of_classes:
            table = METHODS if key == "method" else ROBUST
            fitting = ", ".join(name for name in table if name not in unfit)
            said = f"{loss[key]} needs classes, which this task's units do not have"
            raise ValueError(f"config.loss.{key}: {said}; choose one of {fitting}")


def counts_labels(loss) -> bool:
    """Whether the method depends on how often each class is given."""
    return "logit_adjustment" in (loss.method, loss.base)


def networks(loss) -> int:
    return 2 if loss.method in PAIRS else 1


def weighs(loss) -> bool:
    """Whether the method gives examples weights that are lower where labels look wrong."""
    return not {loss.method, loss.base} & {*FROM_LOGITS, "focal"}
