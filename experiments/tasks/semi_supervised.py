"""Semi-supervised classification: where a label is unknown (-1), the loss is one of consistency.

The network should say of an image what a teacher says of another view of it.

- `fixmatch`: the teacher is the network itself, and sees a crop. The network sees a strongly
  augmented view, and its loss is the cross entropy with the class that the teacher holds most
  likely. Only images count of which the teacher is sure. From Kihyuk Sohn et al., "FixMatch:
  Simplifying Semi-Supervised Learning with Consistency and Confidence", NeurIPS 2020.
- `mean_teacher`: the teacher is the moving average of the network, both see crops, and the loss is
  the squared difference of their probabilities. From Antti Tarvainen and Harri Valpola, "Mean
  Teachers Are Better Role Models", NeurIPS 2017.
- `none`: only the labels count, in the same batches. This is what the others are compared with.

Images with and without a label are two kinds of units. The method has a state for each, so that
SuperLoss compares a pseudo-label's loss with those of other pseudo-labels.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from experiments import data, rng
from experiments.checks import choose, integer, within
from experiments.data import Dataset, Examples
from experiments.models import inits, networks
from experiments.tasks import classification, images, strong
from experiments.tasks.base import UNKNOWN, At, Batch, Problem, Recorded, Task, Units
from experiments.tasks.classification import cross_entropy
from experiments.tasks.mean_teacher import Drawn, of_probabilities, warmup
from experiments.tasks.orders import passes
from experiments.tasks.scores import SCORES

LABELLED, UNLABELLED = range(2)  # kinds of units
KINDS = ("fixmatch", "mean_teacher", "none")


def load(config, data_dir: str | None) -> Dataset:
    networks.check_name(config.model.name)
    choose("config.consistency.kind", config.consistency.kind, dict.fromkeys(KINDS))
    dataset = data.build(config.data, config.noise, data_dir)
    return data.labelled(dataset, "validation", "test")


def check_batch(config, dataset: Dataset) -> None:
    """Raises ValueError if too few training examples are with, or without, a label."""
    unlabelled = int((dataset.train.targets < 0).sum())
    known = len(dataset.train.index) - unlabelled
    number, batch = config.consistency.labelled, config.batch_size
    if not known:
        raise ValueError(f"data set {dataset.name}: no training example has a label")
    integer("config.consistency.labelled", number, 1, known)
    if not 1 <= batch - number <= unlabelled:
        said = f"expected {number} with a label and 1 to {unlabelled} without, got {batch}"
        hint = "" if unlabelled else "; data.labelled=N hides all labels but N"
        raise ValueError(f"config.batch_size: {said}{hint}")


def build(config, dataset: Dataset) -> Problem:
    check_batch(config, dataset)  # here, as examples may have been left out since `load`
    shape = dataset.train.inputs.shape[1:]
    if len(shape) == 1:
        raise ValueError("config.data.name: semi_supervised needs images, got rows of numbers")
    augment = images.augment(shape, **config.augment, mixup=0.0)
    classes, kind = len(dataset.class_names), config.consistency.kind
    weight = warmup(config, "consistency", len(dataset.train.index))

    return Problem(
        model=networks.make_model(**config.model, num_classes=classes, image_shape=shape),
        units=units_of(**config.consistency),
        draw=draw_of(dataset, augment, weight, config.consistency),
        order=order_of(dataset.train.targets, **config.consistency),
        teach=None if kind == "none" else teach,
        taught_by_average=kind == "mean_teacher",
        initial=inits.INITS[config.model.init],
        kinds=1 if kind == "none" else 2,
        mean=mean,
        metrics={"accuracy": is_right},
        groups={"clean": is_clean, "wrong": classification.is_wrong, "unlabelled": is_unlabelled},
        records=records_of(kind),
        stored=lambda examples: images.padded(examples, augment),
        evaluated_at_once=images.evaluated_at_once(shape),
        examine=examined,
        facts={"noise": classification.noise_facts(config, dataset)},
        told=data.described(dataset, config.noise),
    )


# --- Views. ---------------------------------------------------------------------------------------


def draw_of(dataset: Dataset, augment: images.Augment, weight: Callable, consistency):
    """Returns `draw`: crops of images with a label, second views of those without."""
    kind, operations = consistency.kind, consistency.get("operations", 0)
    integer("config.consistency.operations", operations, 0, 20)
    white = max(int(dataset.train.inputs.max()), 1)
    weak = augment._replace(cutout=0)

    def strong_view(stored, rows, at: At):
        number = images.BITS + strong.BITS * operations
        bits = images.bits_of(rows, *at, rng.SECOND, number)
        crops = images.crops(stored, rows, augment, bits)
        view = strong.strong(crops, dataset, white, bits[images.BITS :])
        return images.cut_out(view, augment.cutout, bits)

    def weak_view(stored, rows, at: At):
        return images.draw(stored, rows, dataset, weak, *at, rng.SECOND)

    def draw(examples: Examples, rows, at: At | None) -> Batch:
        stored, labels, clean_labels, index = examples
        rest = labels[rows], clean_labels[rows], index[rows], rows >= 0
        if at is None:
            return Batch(images.normalise(stored[rows], dataset), *rest)
        crops = images.draw(stored, rows, dataset, weak, *at)
        if kind == "none":
            return Batch(crops, *rest)
        view = strong_view if kind == "fixmatch" else weak_view
        known = (rest[0] >= 0)[:, None, None, None]
        inputs = jnp.where(known, crops, view(stored, rows, at))
        return Batch(inputs, *rest, drawn=Drawn(crops, weight(at.step)))

    return draw


def order_of(targets, labelled: int, kind: str, **others) -> Callable:
    """Returns an `order` whose batches have `labelled` examples with a label, which come first."""
    known, unknown = (np.flatnonzero(one).astype(np.int32) for one in (targets >= 0, targets < 0))

    def order(seed, epoch, size: int, batch_size: int):
        steps = -(-size // batch_size)
        parts = ((known, labelled), (unknown, batch_size - labelled))[: 1 if kind == "none" else 2]
        columns = [passes(seed, epoch, i, *part, steps) for i, part in enumerate(parts)]
        return jnp.concatenate(columns, axis=1)

    return order


# --- Losses. --------------------------------------------------------------------------------------


def teach(outputs_of: Callable, batch: Batch):
    return jax.nn.softmax(outputs_of(batch.drawn.crops))


def units_of(kind: str, threshold: float = 0.0, **others) -> Callable:
    """Returns `units`: a loss of the label where there is one, else of what the teacher says."""
    within("config.consistency.threshold", threshold, 0, 1)
    of_teacher = of_class if kind == "fixmatch" else of_probabilities

    def units(logits, batch: Batch) -> Units:
        known, where = batch.targets >= 0, batch.where
        losses = cross_entropy(logits, jnp.maximum(batch.targets, 0))
        if len(batch.taught):  # in training
            losses = jnp.where(known, losses, of_teacher(logits, batch.taught))
            where = where & (known | (batch.taught.max(-1) >= threshold))
        kinds = None if kind == "none" else jnp.where(known, LABELLED, UNLABELLED)
        return Units(losses, where, {"index": batch.index}, kinds)

    return units


def of_class(logits, taught):
    return cross_entropy(logits, taught.argmax(-1))


def mean(losses, where, batch: Batch):
    """Returns the mean over the labels, plus the weighted mean over all images without one."""
    known = batch.targets >= 0
    supervised = jnp.mean(losses, where=where & known)
    if not batch.drawn:
        return supervised
    number = jnp.maximum(jnp.sum(batch.where & ~known), 1)
    return supervised + batch.drawn.weight * jnp.sum(losses, where=where & ~known) / number


# --- Metrics. -------------------------------------------------------------------------------------


def is_right(logits, batch: Batch):
    return jnp.where(batch.targets >= 0, classification.is_right(logits, batch), UNKNOWN)


def is_clean(labels, clean_labels):
    return (labels >= 0) & classification.is_clean(labels, clean_labels)


def is_unlabelled(labels, clean_labels):
    return labels < 0


def taught(logits, batch: Batch):
    return batch.taught.argmax(-1).astype(jnp.int32)


def records_of(kind: str) -> dict[str, Recorded]:
    records = {"predicted": Recorded(np.int32(-1), classification.predicted)}
    return records | ({} if kind == "none" else {"taught": Recorded(np.int32(-1), taught)})


def examined(samples) -> dict[str, float]:
    """Returns how good the teacher's classes are, for the examples without a label seen so far.

    `pseudo_label_weight` is their mean weight, `pseudo_label_accuracy` the share of right ones
    among those whose true label is known, `pseudo_label_weighted` the same with weights.
    """
    if "taught" not in samples:
        return classification.memorised(samples)
    seen = (samples["target"] < 0) & (samples["taught"] >= 0)
    weights = np.where(np.isfinite(samples["weight"]), samples["weight"], 1)
    weights = np.where(np.isfinite(samples["loss"]), weights, 0)  # the teacher was not sure
    known = seen & (samples["clean_target"] >= 0)
    right = samples["taught"] == samples["clean_target"]
    total = weights[known].sum() or np.nan
    return classification.memorised(samples) | {
        "pseudo_label_weight": float(weights[seen].mean()) if seen.any() else np.nan,
        "pseudo_label_accuracy": float(right[known].mean()) if known.any() else np.nan,
        "pseudo_label_weighted": float(weights[known & right].sum() / total),
    }


task = Task(SCORES["semi_supervised"], load, build)
