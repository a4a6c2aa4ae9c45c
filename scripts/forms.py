"""Remembered SuperLoss with parts exchanged: the forms that scripts/tried_forms.py compares.

With its defaults, a form is the library's, never advanced. It is written to be compared, and checks
no input: losses are finite, and an example comes once in a batch.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import logsumexp

from superloss_jax import LossTransform, SuperLossState, closed_form, memory

SHARE, DECAY = 0.2, 0.9
FROZEN = 90  # steps, five epochs of digits


class Form(NamedTuple):
    """What a form does; the defaults are those of the library."""

    lam: float = 1.0
    s: float = 0.25  # temperature of the soft minimum
    g: float = 0.0  # the memory at the start
    plain: str = "mean"  # the threshold without memory: mean, soft, highest or frozen
    full: str = "soft"  # the threshold of the evidence: soft or mean
    keep: float = 1.0  # what stays of evidence and visits from one visit to the next
    fades: bool = True  # whether lam falls as 1/k with the visits
    wide: bool = False  # whether sigma may be e with the full memory, too
    entropy: bool = False  # sigma log sigma - sigma + 1 in place of log(sigma)^2
    unweighted: bool = False  # the loss itself in place of SuperLoss without memory
    signal: str = "none"  # what moves the memory after an epoch: see `signal_of`
    law: str = "sum"  # how it does so: see `moved`


class FormState(NamedTuple):
    """The state of a form: of `remembered_superloss`, the other threshold, and all last losses."""

    remembered: memory.RememberedState
    other: jax.Array
    last: jax.Array


def transform(form: Form, size: int) -> LossTransform:
    """Returns the form for a data set of some size."""

    def init():
        remembered = memory.remembered_superloss(num_examples=size).init()
        remembered = remembered._replace(
            memory=jnp.full((), form.g), visits=jnp.zeros(size), superloss=nothing_seen()
        )
        return FormState(remembered, jnp.full((), -jnp.inf), jnp.zeros(size))

    def update(losses, state, *, where=None, index=None, **extra):
        where = jnp.ones(losses.shape, bool) if where is None else where
        old, detached = state.remembered, jax.lax.stop_gradient(losses)
        superloss, start, tau, other = thresholds(form, detached, where, state)
        g, evidence, visits = old.memory, old.evidence[index], old.visits[index]
        part = 1.0 if form.unweighted else g
        zero = (1 - part) * other + part * (tau - form.keep * evidence)
        lam = form.lam / (1 + part * form.keep * visits * form.fades)
        bound = jnp.exp(1.0 if form.wide else 1 - part)
        values = least(form, losses - zero, lam, bound)
        if form.unweighted:
            values = (1 - g) * losses + g * values
        counted = where
        if form.signal == "suspects":
            counted = where & (visits > 0) & (evidence > 0)
        rows = jnp.where(where, index, size)

        def write(array, values):
            return array.at[rows].set(values, mode="drop")

        remembered = memory.RememberedState(
            superloss=superloss,
            tau=tau,
            start=start,
            evidence=write(old.evidence, form.keep * evidence + detached - tau),
            visits=write(old.visits, form.keep * visits + 1),
            memory=g,
            seen=old.seen + jnp.sum(counted, dtype=jnp.int32),
            below=old.below + jnp.sum(counted & (detached < tau), dtype=jnp.int32),
            held_out=old.held_out,
        )
        state = FormState(remembered, other, write(state.last, detached))
        return jnp.where(where, values, 0), state

    return LossTransform(init, update)


def nothing_seen() -> SuperLossState:
    return SuperLossState(tau=jnp.zeros(()), count=jnp.int32(0))


def thresholds(form: Form, losses, where, state: FormState):
    """Returns SuperLoss's state and the thresholds after a batch."""
    old = state.remembered
    first = old.superloss.count == 0
    number = jnp.sum(where)

    def followed(old, new):
        return jnp.where(first, new, DECAY * old + (1 - DECAY) * new)

    now = jnp.mean(losses, where=where)
    mean = followed(old.superloss.tau, now)
    start = jnp.where(first, now, old.start)
    softmin = -form.s * (logsumexp(-losses / form.s, b=where) - jnp.log(number))
    soft = followed(old.tau, (1 - SHARE) * softmin + SHARE * start)
    count = old.superloss.count + 1  # of batches
    tau = {"soft": soft, "mean": mean}[form.full]
    other = {
        "mean": mean,
        "soft": soft,
        "highest": jnp.maximum(state.other, mean),
        "frozen": jnp.where(count <= FROZEN, mean, state.other),
    }[form.plain]
    return SuperLossState(tau=mean, count=count), start, tau, other


def least(form: Form, d, lam, bound):
    """Returns the minimum over sigma, at most `bound`, of d sigma and the regulariser."""
    if form.entropy:
        sigma = jnp.minimum(jnp.exp(jax.lax.stop_gradient(-d / lam)), bound)
        return d * sigma + lam * (sigma * jnp.log(jnp.maximum(sigma, 1e-30)) - sigma + 1)
    sigma = jnp.minimum(jax.lax.stop_gradient(closed_form(d, 0.0, lam)[1]), bound)
    return d * sigma + lam * jnp.log(sigma) ** 2


# --- What moves the memory. -----------------------------------------------------------------------


def advance(form: Form, state: FormState, losses, where) -> FormState:
    """Returns the state after an epoch, by the losses of held-out examples."""
    if form.signal == "none":
        return state
    old = state.remembered
    held_out = jnp.mean(losses < old.tau, where=where)
    known = jnp.where(old.held_out < 0, held_out, (old.held_out + held_out) / 2)
    g = moved(form.law, old.memory, signal_of(form.signal, state, losses, where, known))
    none = jnp.zeros_like(old.seen)
    new = old._replace(memory=g, held_out=held_out, seen=none, below=none)
    return state._replace(remembered=new)


def signal_of(name: str, state: FormState, losses, where, known):
    """Returns how much is memorised: `excess` is the library's."""
    one = state.remembered
    fitted = one.below / jnp.maximum(one.seen, 1)
    unknown = jnp.maximum(1 - known, np.finfo(np.float32).tiny)
    error = jnp.sqrt(known * (1 - known) / jnp.sum(where))
    seen = one.visits > 0

    def share_below(values, counted):  # at each held-out loss
        return jnp.mean(values[None] <= losses[:, None], axis=1, where=counted[None])

    return {
        "excess": lambda: (fitted - known) / unknown,
        "cautious": lambda: (fitted - known - error) / unknown,
        "suspects": lambda: fitted,
        "means": lambda: 1 - jnp.mean(state.last, where=seen) / jnp.mean(losses, where=where),
        "distance": lambda: jnp.max(
            share_below(state.last, seen) - share_below(losses, where), where=where, initial=0
        ),
    }[name]()


def moved(law: str, g, signal):
    """Returns the memory after a signal; `sum` is the library's law."""
    return {
        "sum": jnp.clip(g + signal, 0, 1),
        "now": jnp.clip(signal, 0, 1),
        "highest": jnp.maximum(g, jnp.clip(signal, 0, 1)),
        "rises": jnp.clip(g + jnp.maximum(signal, 0), 0, 1),
    }[law]
