"""Learned MentorNets: how one is trained, and the file that keeps it.

After google/mentornet, whose MentorNet DD this is: Adam, with a learning rate that falls from 0.1
and gradients of a norm of at most 5, on batches of 32 examples whose labels are known to be right
or wrong. The embedding of epochs stays as it was drawn. It differs in three ways: batches are drawn
with replacement, a difference is from the percentile of its own epoch, and there is no scalar that
the output layer adds to each of its weights, to which it gives nothing new.
"""

import pathlib
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments import checks, rng
from experiments.runs import samples
from superloss_jax import curricula
from superloss_jax.curricula import MentorNetParams

KEY = "config.loss.learned_mentornet.path"
NEEDED = "expected a MentorNet, as `python -m experiments.report mentornet` writes one"
PARTS, HIDDEN, OF_LABEL, OF_EPOCH = 100, 20, 2, 5
BATCH, LARGEST_NORM = 32, 5.0


class Mentor(NamedTuple):
    """A learned MentorNet, and what it has learned from."""

    params: MentorNetParams
    percentile: float  # of an epoch's losses, which their differences are from
    percents: tuple[int, int]  # the first and the last per cent of a run that it has seen


class Seen(NamedTuple):
    """What MentorNet learns from: arrays with an entry for each loss of each epoch."""

    losses: jax.Array
    differences: jax.Array
    labels: jax.Array
    percents: jax.Array
    right: jax.Array  # 1 if the label is right, else 0

    def rows(self, which) -> "Seen":
        return Seen(*(values[which] for values in self))


def seen(losses: np.ndarray, labels, right, percents, percentile: float) -> Seen:
    """Returns the entries of epochs, from losses of shape (epochs, examples)."""
    differences = losses - np.percentile(losses, percentile, axis=1, keepdims=True)

    def column(values, dtype: str) -> jax.Array:
        return jnp.asarray(np.broadcast_to(values, losses.shape).ravel(), dtype)

    return Seen(
        losses=column(losses, "float32"),
        differences=column(differences, "float32"),
        labels=column(labels, "int32"),
        percents=column(np.reshape(percents, (-1, 1)), "int32"),
        right=column(right, "float32"),
    )


def drawn(key, rows: int) -> MentorNetParams:
    """Returns the weights before training: Glorot's for embeddings and LSTM, else normal."""
    keys = iter(jax.random.split(key, 5))

    def glorot(rows: int, columns: int):
        bound = (6 / (rows + columns)) ** 0.5
        return jax.random.uniform(next(keys), (rows, columns), jnp.float32, -bound, bound)

    wide = OF_LABEL + OF_EPOCH + 2
    return MentorNetParams(
        labels=glorot(rows, OF_LABEL),
        epochs=glorot(PARTS, OF_EPOCH),
        kernel=glorot(2, 4),
        bias=jnp.zeros(4),
        hidden=jax.random.normal(next(keys), (wide, HIDDEN), jnp.float32),
        hidden_bias=jnp.zeros(HIDDEN),
        output=jax.random.normal(next(keys), (HIDDEN,), jnp.float32),
    )


def logits_of(params: MentorNetParams, entries: Seen):
    losses, differences, labels, percents, _ = entries
    return curricula.mentornet_logits(params, losses, differences, labels, percents)


def fit(entries: Seen, rows: int, seed: int, steps: int) -> MentorNetParams:
    """Trains MentorNet's network to tell right labels from wrong ones, by logistic regression."""
    key = rng.key_for(seed, rng.INIT)
    rate = optax.exponential_decay(0.1, 1000, 0.9, staircase=True)
    optimizer = optax.chain(optax.clip_by_global_norm(LARGEST_NORM), optax.adam(rate))

    @jax.grad
    def slopes(params, batch: Seen):
        return optax.sigmoid_binary_cross_entropy(logits_of(params, batch), batch.right).mean()

    def step(carried, number):
        params, state = carried
        own = jax.random.fold_in(key, number)
        batch = entries.rows(jax.random.randint(own, (BATCH,), 0, len(entries.losses)))
        grads = slopes(params, batch)
        grads = grads._replace(epochs=jnp.zeros_like(grads.epochs))
        updates, state = optimizer.update(grads, state)
        return (optax.apply_updates(params, updates), state), None

    @jax.jit
    def trained(params):
        return jax.lax.scan(step, (params, optimizer.init(params)), jnp.arange(steps))[0][0]

    return trained(drawn(jax.random.fold_in(key, steps), rows))


def write(path: pathlib.Path, mentor: Mentor) -> None:
    kept = {name: np.asarray(value) for name, value in mentor.params._asdict().items()}
    kept |= {"percentile": np.array(mentor.percentile), "percents": np.array(mentor.percents)}
    samples.write(path.parent, kept, path.name)


def read(text: str | None) -> Mentor:
    """Reads the file that `config.loss.learned_mentornet.path` names.

    Raises:
      ValueError: if there is none, or it is no MentorNet.
    """
    if not text:
        raise ValueError(f"{KEY}: {NEEDED}, got None")
    path = checks.path(KEY, text)
    try:
        rows = samples.read_arrays(path)
        first, last = rows.pop("percents").tolist()
        percentile = float(rows.pop("percentile"))
        params = MentorNetParams(**{name: jnp.asarray(value) for name, value in rows.items()})
        curricula.learned_mentornet(params, percentile=percentile)  # raises if it does not fit
    except OSError as error:
        raise ValueError(f"{KEY}: {path}: {error.strerror}") from None
    except (KeyError, TypeError, ValueError) as error:
        said = f"{type(error).__name__}: {error}" if isinstance(error, KeyError) else error
        raise ValueError(f"{KEY}: {path}: {NEEDED}: {said}") from None
    if not all(np.isfinite(value).all() for value in params):
        raise ValueError(f"{KEY}: {path}: expected finite weights")
    return Mentor(params, percentile, (first, last))


def check_classes(text: str | None, num_classes: int | None) -> None:
    """Raises ValueError if a MentorNet that knows classes has learned from another number."""
    rows = len(read(text).params.labels)
    if rows not in (1, num_classes):
        said = f"it has learned from {rows} classes, and here are {num_classes or 'none'}"
        raise ValueError(f"{KEY}: {text}: {said}: expected one without --labels, or of as many")
