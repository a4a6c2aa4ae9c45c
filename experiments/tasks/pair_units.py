"""What a method weighs in retrieval, by `config.embedding`: pairs, triplets or images."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from experiments.checks import choose, positive, within
from experiments.tasks import pair_losses
from experiments.tasks.base import UNKNOWN, Batch, Units, mean_over_units
from experiments.tasks.classification import cross_entropy
from experiments.tasks.pair_losses import NEGATIVE, POSITIVE, Losses


class Form(NamedTuple):
    """Parts of a Problem."""

    units: Callable[[Any, Batch], Units]
    extra: tuple[str, ...] = ()
    kinds: int = 1
    mean: Callable[[jax.Array, jax.Array, Batch], jax.Array] = mean_over_units
    metrics: Mapping[str, Callable[[Any, Batch], jax.Array]] = {}
    groups: Mapping[str, Callable[[Any, Any], jax.Array]] = {}


class Drawn(NamedTuple):
    """Marks a batch of training: only these are of classes times images, and have losses."""

    rows: jax.Array


def form_of(loss: str, **options) -> Form:
    """Returns the form of `config.embedding`."""
    if loss in ("contrastive", "triplet"):
        within("config.embedding.margin", options["margin"], -1, 2)
    return choose("config.embedding.loss", loss, FORMS)(**options)


def _contrastive(units: str, margin: float, positives: float = 1.0, **unused) -> Form:
    positive("config.embedding.positives", positives)
    if choose("config.embedding.units", units, {"pairs": False, "images": True}):
        return _of_images(pair_losses.contrastive_of_images, margin=margin)
    losses_of = _losses(pair_losses.contrastive, margin=margin)
    return Form(
        units=_units(losses_of),
        kinds=2,
        mean=_mean_of_kinds(positives),
        metrics={"similarity": _similarity, "auroc": _auroc(losses_of)},
        groups=PAIRS,
    )


def _triplet(negatives: str, margin: float, **unused) -> Form:
    table = {"semi_hard": pair_losses.semi_hard, "all": pair_losses.all_triplets}
    losses_of = _losses(choose("config.embedding.negatives", negatives, table), margin=margin)
    if negatives == "all":
        return Form(units=_units(losses_of), groups=TRIPLETS)
    of_positives = {name: PAIRS[name] for name in ("right_positive", "wrong_positive")}
    metrics = {"similarity": _similarity, "auroc": _auroc(losses_of)}
    return Form(units=_units(losses_of), metrics=metrics, groups=of_positives)


def _multi_similarity(alpha: float, beta: float, base: float, epsilon: float, **unused) -> Form:
    positive("config.embedding.alpha", alpha)
    positive("config.embedding.beta", beta)
    within("config.embedding.base", base, -1, 1)
    within("config.embedding.epsilon", epsilon, 0, 2)
    settings = {"alpha": alpha, "beta": beta, "base": base, "epsilon": epsilon}
    return _of_images(pair_losses.multi_similarity, **settings)


def _softmax(temperature: float, **unused) -> Form:
    positive("config.embedding.temperature", temperature)

    def units(outputs, batch: Batch) -> Units:
        inputs = {"logits": outputs.logits, "labels": batch.targets, "index": batch.index}
        if not batch.drawn:  # other classes have no proxy
            inputs["labels"] = jnp.zeros_like(batch.targets)
        losses = cross_entropy(outputs.logits, inputs["labels"])
        return Units(losses, batch.where & bool(batch.drawn), inputs)

    return Form(units=units, extra=("logits", "labels", "index"))


FORMS: dict[str, Callable[..., Form]] = {
    "contrastive": _contrastive,
    "triplet": _triplet,
    "multi_similarity": _multi_similarity,
    "softmax": _softmax,
}


def _of_images(function: Callable[..., Losses], **settings) -> Form:
    return Form(units=_units(_losses(function, **settings), indexed=True), extra=("index",))


def _losses(function: Callable[..., Losses], **settings) -> Callable[[Any, Batch], Losses]:
    def losses_of(outputs, batch: Batch) -> Losses:
        masks = pair_losses.masks(batch.targets, batch.where)
        return function(_cosines(outputs), *masks, **settings)

    return losses_of


def _units(losses_of: Callable[[Any, Batch], Losses], indexed: bool = False) -> Callable:
    def units(outputs, batch: Batch) -> Units:
        extra = {"index": batch.index} if indexed else {}
        if not batch.drawn:
            size = batch.where.shape
            return Units(jnp.zeros(size), jnp.zeros(size, bool), extra, jnp.zeros(size, jnp.int32))
        losses, where, kind = losses_of(outputs, batch)
        return Units(losses, where, extra, kind)

    return units


def _cosines(outputs):
    return outputs.embeddings @ outputs.embeddings.T


def _mean_of_kinds(weight: float) -> Callable:
    """Returns the weighted mean over positive pairs plus the mean over negative ones that count."""

    def mean(losses, where, batch: Batch):
        positive, negative = (
            jnp.sum(losses, where=where & of) / jnp.maximum(jnp.sum(where & of), 1)
            for of in pair_losses.masks(batch.targets, batch.where)
        )
        return weight * positive + negative

    return mean


# --- Metrics of pairs. ----------------------------------------------------------------------------


def _pairs(of_given: bool, of_clean: bool) -> Callable:
    def mask(targets, clean_targets):
        same, clean = (x[:, None] == x[None, :] for x in (targets, clean_targets))
        return (same == of_given) & (clean == of_clean)

    return mask


PAIRS = {
    "right_positive": _pairs(True, True),
    "wrong_positive": _pairs(True, False),
    "right_negative": _pairs(False, False),
    "wrong_negative": _pairs(False, True),
}


def _right_triplets(targets, clean_targets):
    positive, negative = (PAIRS[f"right_{one}"](targets, clean_targets)
                          for one in ("positive", "negative"))  # fmt: skip
    return positive[:, :, None] & negative[:, None, :]


TRIPLETS = {
    "right_triplet": _right_triplets,
    "wrong_triplet": lambda targets, clean_targets: ~_right_triplets(targets, clean_targets),
}


def _similarity(outputs, batch: Batch):
    return _cosines(outputs) if batch.drawn else jnp.zeros(batch.where.shape)


def _auroc(losses_of: Callable[[Any, Batch], Losses]) -> Callable[[Any, Batch], jax.Array]:
    """Returns a metric of wrong pairs: the share of right ones of the batch with a smaller loss.

    Its mean over them is the area under the ROC curve of the loss as a detector of wrong pairs, in
    a batch. Pairs of one kind have weights in the order of their losses, so it is sigma's, too.
    """

    def metric(outputs, batch: Batch):
        if not batch.drawn:
            return jnp.zeros(batch.where.shape)
        losses, where, kind = losses_of(outputs, batch)
        found = jnp.full_like(losses, UNKNOWN)
        for name, number in (("positive", POSITIVE), ("negative", NEGATIVE)):
            if kind is None and number == NEGATIVE:
                continue
            of_kind = where if kind is None else where & (kind == number)
            right, wrong = (
                of_kind & PAIRS[f"{of}_{name}"](batch.targets, batch.clean_targets)
                for of in ("right", "wrong")
            )
            found = jnp.where(wrong, share_below(losses, right), found)
        return found

    return metric


BINS = 4096  # a sort of all pairs would take longer than the rest of a step


def share_below(losses, where):
    """Returns for each loss which share of those in `where` are smaller; equal ones count half.

    Losses are equal if they are in the same of BINS equal parts from 0 to the largest.
    """
    top = jnp.maximum(jnp.max(losses), jnp.finfo(losses.dtype).tiny)
    bins = jnp.clip(losses / top * BINS, 0, BINS - 1).astype(jnp.int32)
    counts = jnp.zeros(BINS, losses.dtype).at[bins].add(where.astype(losses.dtype))
    upto = jnp.cumsum(counts)
    number = upto[-1]
    share = (upto - counts / 2)[bins] / jnp.maximum(number, 1)
    return jnp.where(number > 0, share, UNKNOWN)
