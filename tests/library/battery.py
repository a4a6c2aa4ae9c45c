"""Every method, how it is built, and inputs for it: for the battery of properties."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from superloss_jax import (
    LossTransform,
    chain,
    curricula,
    memory,
    noise,
    pairs,
    per_class,
    robust,
    running_mean,
    superloss,
    windowed,
)

X64 = bool(jax.config.read("jax_enable_x64"))
B, C, N = 16, 5, 40
SIZES = {"num_examples": N, "num_classes": C}
T = noise.transition_matrix("symmetric_exclusive", 0.3, C)
NEVER = 10**6


def remembering(g, **settings):
    """Returns remembered SuperLoss whose first state is one after some epochs, with memory g."""
    transform = memory.remembered_superloss(num_examples=N, **settings)

    def init():
        state = transform.init()
        tau = [jnp.full_like(state.tau, number) for number in (1.5, 0.8, 2.0, g)]
        return state._replace(
            superloss=state.superloss._replace(tau=tau[0], count=jnp.int32(1)),
            tau=tau[1],
            start=tau[2],
            memory=tau[3],
            evidence=jnp.linspace(-3, 3, N, dtype=state.tau.dtype),
            visits=jnp.arange(N, dtype=jnp.int32),
        )

    return LossTransform(init, transform.update)


def mentornet_params():
    """Returns drawn weights of a MentorNet that knows no labels."""
    rng = np.random.default_rng(0)
    shapes = ((1, 2), (100, 5), (2, 4), (4,), (9, 20), (20,), (20,))
    drawn = (rng.normal(size=shape).astype(np.float32) for shape in shapes)
    return curricula.MentorNetParams(*drawn)


# How to build each method, and how to make it cross entropy (None: no paper states a limit).
METHODS = {
    "superloss": (lambda: superloss(lam=0.7), lambda: superloss(lam=1e30)),
    "superloss_running": (lambda: superloss(threshold=running_mean()), None),
    "superloss_windowed": (lambda: superloss(threshold=windowed(2)), None),
    "superloss_per_class": (lambda: superloss(threshold=per_class(C)), None),
    "trend": (
        lambda: memory.trend_superloss(num_examples=N, window=3),
        lambda: memory.trend_superloss(num_examples=N, lam=1e30),
    ),
    "remembered": (
        lambda: memory.remembered_superloss(num_examples=N),
        lambda: memory.remembered_superloss(num_examples=N, lam=1e30),
    ),
    "remembered_half": (lambda: remembering(0.5), None),
    "gce": (robust.generalized_cross_entropy, lambda: robust.generalized_cross_entropy(q=0)),
    "truncated_gce": (curricula.truncated_gce, lambda: curricula.truncated_gce(q=0, start=NEVER)),
    "sce": (
        robust.symmetric_cross_entropy,
        lambda: robust.symmetric_cross_entropy(alpha=1.0, beta=0.0),
    ),
    "nce_rce": (robust.active_passive, None),
    "nce_mae": (lambda: robust.active_passive(passive="mae"), None),
    "agce": (robust.asymmetric_gce, lambda: robust.asymmetric_gce(a=1e-30, q=1e-7)),
    "aul": (robust.asymmetric_unhinged, None),
    "ael": (robust.asymmetric_exponential, None),
    "anl": (robust.active_negative, None),
    "jal": (robust.joint_asymmetric, None),
    "epsilon_softmax": (
        robust.epsilon_softmax,
        lambda: robust.epsilon_softmax(m=0, alpha=1.0, beta=0.0),
    ),
    "label_smoothing": (robust.label_smoothing, lambda: robust.label_smoothing(smoothing=0.0)),
    "logit_adjustment": (
        lambda: robust.logit_adjustment(np.arange(1, C + 1)),
        lambda: robust.logit_adjustment(np.arange(1, C + 1), tau=0.0),
    ),
    "logit_clip": (robust.logit_clip, lambda: robust.logit_clip(delta=1e30)),
    "dal": (
        lambda: curricula.dynamics_aware(steps=3),
        lambda: curricula.dynamics_aware(steps=2**31 - 1, q_start=1e-20),
    ),
    "ogc": (
        lambda: curricula.optimized_clipping(learning_rate=0.1, interval=1, size=B),
        lambda: curricula.optimized_clipping(learning_rate=0.1),
    ),
    "bootstrap": (robust.bootstrap, lambda: robust.bootstrap(beta=1.0)),
    "bootstrap_hard": (
        lambda: robust.bootstrap(hard=True),
        lambda: robust.bootstrap(hard=True, beta=1.0),
    ),
    "focal": (robust.focal, lambda: robust.focal(gamma=0.0)),
    "cauchy": (lambda: robust.cauchy(scale=0.5), lambda: robust.cauchy(scale=1e30)),
    "trimmed": (lambda: curricula.trimmed(keep=0.6), lambda: curricula.trimmed(keep=1.0)),
    "forward": (
        lambda: robust.forward_correction(T),
        lambda: robust.forward_correction(np.eye(C)),
    ),
    "backward": (
        lambda: robust.backward_correction(T),
        lambda: robust.backward_correction(np.eye(C)),
    ),
    "self_paced": (
        lambda: curricula.self_paced(threshold=optax.linear_schedule(1.0, 4.0, 5)),
        lambda: curricula.self_paced(threshold=1e30),
    ),
    "self_paced_linear": (
        lambda: curricula.self_paced(threshold=2.0, weights="linear"),
        lambda: curricula.self_paced(threshold=1e30, weights="linear"),
    ),
    "mentornet": (
        lambda: curricula.mentornet(percentile=60.0, second=0.5),
        lambda: curricula.mentornet(burn_in=NEVER),
    ),
    "learned_mentornet": (
        lambda: curricula.learned_mentornet(mentornet_params(), percentile=60.0),
        lambda: curricula.learned_mentornet(mentornet_params(), burn_in=NEVER),
    ),
    # With both kinds, sigma starts at 1.05; with one, at 1.
    "data_parameters": (
        lambda: memory.data_parameters(**SIZES),
        lambda: memory.data_parameters(num_examples=N),
    ),
    "elr": (lambda: memory.early_learning(**SIZES), lambda: memory.early_learning(lam=0, **SIZES)),
    "self_filter": (
        lambda: memory.self_filter(**SIZES),
        lambda: memory.self_filter(start=NEVER, **SIZES),
    ),
    "loss_memory": (
        lambda: memory.loss_memory(num_examples=N),
        lambda: memory.loss_memory(num_examples=N),
    ),
    "co_teaching": (lambda: pairs.co_teaching(keep=0.6), lambda: pairs.co_teaching(keep=1.0)),
    "jocor": (lambda: pairs.jocor(keep=0.6), lambda: pairs.jocor(keep=1.0, lam=0.0)),
    "chain": (
        lambda: chain(robust.generalized_cross_entropy(), superloss(lam=0.2)),
        lambda: chain(robust.focal(gamma=0.0), superloss(lam=1e30)),
    ),
}
PAIRS = ("co_teaching", "jocor")
every_method = pytest.mark.parametrize("name", METHODS)
once = pytest.mark.skipif(X64, reason="x64 has no part in it")


def cross_entropy(logits, labels):
    labels = jnp.broadcast_to(labels, logits.shape[:-1])
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels)


def inputs(name, seed=0, dtype=jnp.float32):
    """Returns the losses and all further inputs for a batch of distinct examples."""
    rng = np.random.default_rng(seed)
    shape = (2, B, C) if name in PAIRS else (B, C)
    logits = jnp.asarray(3 * rng.normal(size=shape), dtype)
    labels = jnp.asarray(rng.integers(0, C, B), jnp.int32)
    index = jnp.asarray(rng.permutation(N)[:B], jnp.int32)
    return cross_entropy(logits, labels), {"logits": logits, "labels": labels, "index": index}


@functools.cache
def made(name):
    return METHODS[name][0]()


@functools.cache
def update(name):
    """Compiles the update, which is mostly faster than running single operations."""
    return jax.jit(lambda losses, state, extra: made(name).update(losses, state, **extra))


@functools.cache
def started(name):
    """Returns a state that has seen one batch."""
    losses, extra = inputs(name, seed=9)
    return update(name)(losses, made(name).init(), extra)[1]


def close(a, b, **tolerance):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert x.dtype == y.dtype
        x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
        np.testing.assert_allclose(x, y, **({"rtol": 2e-5, "atol": 1e-6} | tolerance))
