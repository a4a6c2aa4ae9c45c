"""Builds SuperLoss and its relatives from `config.loss`."""

from collections.abc import Callable
from typing import Any

from experiments import checks
from experiments.training.facts import Facts
from experiments.training.guessed_memory import guess_memory
from superloss_jax import (
    Threshold,
    constant,
    ema,
    memory,
    per_class,
    running_mean,
    superloss,
    windowed,
)

# These change their state after each epoch, by the losses of the validation split:
# (state, losses, where) -> state.
ADVANCES: dict[str, Callable[..., Any]] = {"remembered_superloss": memory.advance}
MEMORY_FROM = {"held_out": True, "training": False}  # whether it does so


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


def superloss_of(loss, own, facts):
    checks.positive("config.loss.lam", loss.lam)
    return superloss(lam=loss.lam, threshold=_threshold(loss, facts))


def trend_superloss_of(loss, own, facts):
    checks.positive("config.loss.lam", loss.lam)
    checks.integer("config.loss.trend_superloss.window", own.window, 2, 100_000)  # epochs, at most
    return memory.trend_superloss(
        num_examples=facts.num_examples, lam=loss.lam, threshold=_threshold(loss, facts), **own
    )


def remembered_superloss_of(loss, own, facts):
    checks.positive("config.loss.lam", loss.lam)
    given = {"lam": loss.lam, "decay": _decay(loss), "share": own.share}
    method = memory.remembered_superloss(num_examples=facts.num_examples, **given)
    return method if advance_of(loss) else guess_memory(method, facts.num_examples)


def advance_of(loss) -> Callable[..., Any] | None:
    """Returns what changes the method's state after each epoch, if anything does."""
    source = loss.get(loss["method"], {}).get("memory", "held_out")
    held_out = checks.choose("config.loss.remembered_superloss.memory", source, MEMORY_FROM)
    return ADVANCES.get(loss["method"]) if held_out else None
