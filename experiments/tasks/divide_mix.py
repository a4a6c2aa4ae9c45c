"""DivideMix: labels that look wrong are forgotten, and their images learnt from without a label.

Two networks learn by cross entropy at first. Then, after each epoch, a mixture of two Gaussians is
fitted to the losses of each network. It gives the probability w that a label is right, to the other
network. Images with w above a threshold keep a label, refined by w, and the others get what both
networks say of two views. Both kinds are mixed and learnt from as in MixMatch.

From Junnan Li, Richard Socher, Steven C.H. Hoi, "DivideMix: Learning with Noisy Labels as
Semi-supervised Learning", ICLR 2020. MixMatch is from David Berthelot et al., "MixMatch: A Holistic
Approach to Semi-Supervised Learning", NeurIPS 2019. docs/divide_mix.md says where this differs.

A batch has B images, two views of each and two networks: arrays are of shape (B, views, networks).
Every batch has images of both kinds, which masks tell apart: shapes do not depend on how many there
are. The two networks are one model with two outputs, so that the loop need not know of them.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments import rng
from experiments.checks import positive, within
from experiments.data import Dataset, Examples
from experiments.models.networks import Networks, Views
from experiments.tasks import classification, images
from experiments.tasks.base import UNKNOWN, At, Batch, Problem, Recorded, Task, Units
from experiments.tasks.classification import cross_entropy
from experiments.tasks.scores import SCORES
from superloss_jax.memory import clean_probability

NETWORKS = range(2)
KEPT, FORGOTTEN = range(2)  # kinds of units: with their label, and without


def check(config) -> None:
    """Raises ValueError for a setting out of range."""
    own = config.divide_mix
    if config.augment.mixup:
        said = f"divide_mix mixes images itself: expected 0, got {config.augment.mixup}"
        raise ValueError(f"config.augment.mixup: {said}")
    within("config.divide_mix.warmup_epochs", own.warmup_epochs, 0, config.epochs)
    within("config.divide_mix.rampup_epochs", own.rampup_epochs, 0, 1e6)
    within("config.divide_mix.threshold", own.threshold, 0, 1)
    for name in ("temperature", "alpha"):
        positive(f"config.divide_mix.{name}", own[name])
    for name in ("weight", "prior", "penalise_confidence"):
        within(f"config.divide_mix.{name}", own[name], 0, 1e6)


def build(config, dataset: Dataset) -> Problem:
    check(config)
    plain, own = classification.build(config, dataset), config.divide_mix
    augment = images.augment(dataset.train.inputs.shape[1:], **config.augment)
    steps = -(-len(dataset.train.index) // config.batch_size)
    return plain._replace(
        model=Views(Networks(plain.model, len(NETWORKS))),
        units=units_of(own.prior, own.penalise_confidence),
        draw=draw_of(dataset, augment, steps, own),
        teach=teach_of(own.threshold, own.temperature),
        kinds=2,
        mean=mean,
        metrics={"accuracy": is_right},
        records=RECORDS,
        review=review,
        evaluate=None,
        extra=(),
        num_classes=None,
    )


# --- Views, and mixtures of them. -----------------------------------------------------------------


class Drawn(NamedTuple):
    views: jax.Array  # (B, views, ...), not mixed
    part: jax.Array  # lambda', at least 1/2: of each view; its partner has 1 - part
    partner: jax.Array  # (B * views,), the partner's position among the views
    warms_up: jax.Array  # whether the networks learn by plain cross entropy
    weight: jax.Array  # of the mean over images that have no label


def draw_of(dataset: Dataset, augment: images.Augment, steps: int, own) -> Callable:
    """Returns `draw`: two views of each image, mixed with others once the warm-up is over."""
    first = round(own.warmup_epochs * steps)  # the first step after it
    rising = max(own.rampup_epochs * steps, 1e-6)

    def draw(examples: Examples, rows, at: At | None) -> Batch:
        stored, labels, clean_labels, index = examples
        rest = labels[rows], clean_labels[rows], index[rows], rows >= 0
        if at is None:
            return Batch(images.normalise(stored[rows], dataset)[:, None], *rest)
        views = jnp.stack(
            [images.draw(stored, rows, dataset, augment, *at, one) for one in PURPOSES], axis=1
        )
        since = jnp.asarray(at.step - first)
        drawn = Drawn(
            views,
            share(at, own.alpha),
            partners(rows >= 0, at),
            since < 0,
            own.weight * jnp.clip(since.astype(jnp.float32) / rising, 0, 1),
        )
        inputs = jnp.where(drawn.warms_up, views, mixed(views, drawn))
        return Batch(inputs, *rest, drawn=drawn)

    return draw


PURPOSES = rng.AUGMENT, rng.SECOND  # of the draws of both views


def share(at: At, alpha: float):
    """Returns lambda' = max(lambda, 1 - lambda), with one lambda of Beta(alpha, alpha)."""
    part = jax.random.beta(
        rng.key_for(at.seed, rng.MIXUP, at.step), alpha, alpha, dtype=jnp.float32
    )
    return jnp.maximum(part, 1 - part)


def partners(where, at: At):
    """Returns a random order of the views; those of padding, which comes last, stay there."""
    where = jnp.repeat(where, len(PURPOSES))
    key = jax.random.fold_in(rng.key_for(at.seed, rng.MIXUP, at.step), 1)
    bits = rng.bits(key, where.shape)
    return jnp.argsort(jnp.where(where, bits, np.uint32(2**32 - 1)), stable=True)


def mixed(values, drawn: Drawn):
    """Mixes values of views, (B, views, ...), with those of their partners."""
    others = values.reshape(-1, *values.shape[2:])[drawn.partner].reshape(values.shape)
    return drawn.part * values + (1 - drawn.part) * others


# --- What each view should be: co-refined, or co-guessed. -----------------------------------------


class Taught(NamedTuple):
    targets: jax.Array  # (B, views, networks, classes), mixed as the views are
    keeps: jax.Array  # (B, 1, networks), whether the label is kept
    probabilities: jax.Array  # (B, classes), the mean over views and networks
    losses: jax.Array  # (B, networks), of the given label, not mixed; the mean over views


def teach_of(threshold: float, temperature: float) -> Callable:
    def teach(outputs_of: Callable, batch: Batch) -> Taught:
        logits = outputs_of(batch.drawn.views)
        p = jax.nn.softmax(logits)
        labels = jax.nn.one_hot(batch.targets, p.shape[-1], dtype=p.dtype)[:, None]
        # Each network gets the other's division.
        right = jnp.stack([batch.seen[f"right_{i}"] for i in reversed(NETWORKS)], axis=1)
        w = right[..., None].astype(p.dtype)
        refined = sharpened(w * labels + (1 - w) * p.mean(axis=1), temperature)
        guessed = sharpened(p.mean(axis=(1, 2)), temperature)[:, None]
        keeps = batch.drawn.warms_up | (right > threshold)
        targets = jnp.where(keeps[..., None], refined, guessed)
        targets = jnp.broadcast_to(targets[:, None], p.shape)
        targets = jnp.where(batch.drawn.warms_up, labels[:, None], mixed(targets, batch.drawn))
        losses = cross_entropy(logits, of_views(batch.targets, logits)).mean(axis=1)
        return Taught(targets, keeps[:, None], p.mean(axis=(1, 2)), losses)

    return teach


def sharpened(p, temperature: float):
    """Returns p^(1/T), normalised."""
    return jax.nn.softmax(jnp.log(p) / temperature)


def of_views(values, logits):
    """Returns values of images, (B,), as those of their views and both networks."""
    return jnp.broadcast_to(values[:, None, None], logits.shape[:-1])


# --- Losses. --------------------------------------------------------------------------------------


def units_of(prior: float, penalise_confidence: float) -> Callable:
    """Returns `units`: cross entropy of images with a label, squared error of those without."""

    def units(logits, batch: Batch) -> Units:
        where = of_views(batch.where, logits)
        if not batch.drawn:
            losses = cross_entropy(logits, of_views(batch.targets, logits))
            return Units(losses, where, {}, jnp.full(losses.shape, KEPT))
        log_p, targets = jax.nn.log_softmax(logits), batch.taught.targets
        own = -jnp.sum(targets * log_p, axis=-1)
        others = jnp.mean((jnp.exp(log_p) - targets) ** 2, axis=-1)
        keeps = jnp.broadcast_to(batch.taught.keeps, where.shape)
        before = penalise_confidence * negative_entropy(log_p, where)
        after = prior * far_from_uniform(log_p, where)
        return Units(
            losses=jnp.where(keeps, own, others),
            where=where,
            extra={},
            kind=jnp.where(keeps, KEPT, FORGOTTEN),
            rest=jnp.sum(jnp.where(batch.drawn.warms_up, before, after)),
        )

    return units


def negative_entropy(log_p, where):
    """Returns of each network the mean of sum p log p."""
    terms = jnp.where(log_p == -jnp.inf, 0, jnp.exp(log_p) * log_p)
    return jnp.mean(terms.sum(axis=-1), axis=(0, 1), where=where)


def far_from_uniform(log_p, where):
    """Returns of each network KL(uniform || mean prediction)."""
    number, classes = jnp.sum(where, axis=(0, 1)), log_p.shape[-1]
    total = jax.nn.logsumexp(log_p, axis=(0, 1), where=where[..., None])
    return jnp.log(number) - np.log(classes) - total.mean(axis=-1)


def mean(losses, where, batch: Batch):
    """Returns, summed over networks: the mean over views with a label, and the weighted other."""

    def over(mask):  # a batch may have none of a kind
        number = jnp.maximum(jnp.sum(mask, axis=(0, 1)), 1)
        return jnp.sum(jnp.where(mask, losses, 0), axis=(0, 1)) / number

    keeps = batch.taught.keeps
    return jnp.sum(over(where & keeps) + batch.drawn.weight * over(where & ~keeps))


# --- Metrics and records. -------------------------------------------------------------------------


def predicted(logits, batch: Batch):
    """Returns the class that both networks together hold most likely: in training, unmixed."""
    scores = batch.taught.probabilities if batch.drawn else logits.sum(axis=(1, 2))
    return scores.argmax(-1).astype(jnp.int32)


def is_right(logits, batch: Batch):
    return of_views(predicted(logits, batch) == batch.targets, logits).astype(logits.dtype)


def review(seen: dict[str, jax.Array]) -> dict[str, jax.Array]:
    """Divides the examples anew, by the losses of their last visit."""
    losses = [seen[f"loss_{i}"] for i in NETWORKS]
    found = jnp.stack([clean_probability(one, where=one != UNKNOWN) for one in losses])
    return seen | {f"right_{i}": found[i] for i in NETWORKS} | {"weight": found.mean(axis=0)}


def remembered(name: str) -> Recorded:
    """The record of a probability that only `review` changes."""
    return Recorded(np.float32(1), lambda logits, batch: batch.seen[name])


def loss_of(i: int) -> Recorded:
    return Recorded(np.float32(UNKNOWN), lambda logits, batch: batch.taught.losses[:, i])


# `loss` and `weight` are otherwise those of units, which are mixtures here.
RECORDS = {
    "predicted": Recorded(np.int32(-1), predicted),
    "loss": Recorded(np.float32(UNKNOWN), lambda logits, batch: batch.taught.losses.mean(axis=1)),
    "weight": remembered("weight"),
    **{f"loss_{i}": loss_of(i) for i in NETWORKS},
    **{f"right_{i}": remembered(f"right_{i}") for i in NETWORKS},
}

task = Task(SCORES["divide_mix"], classification.load, build)
