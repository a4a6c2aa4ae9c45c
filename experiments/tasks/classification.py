"""Image classification: cross entropy on labels, some of which may be wrong."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments import data
from experiments.data import Dataset, Examples
from experiments.models import inits, networks, sides
from experiments.tasks import easy_anchors, images, mean_teacher
from experiments.tasks.base import At, Batch, Evaluation, Problem, Recorded, Task, Units
from experiments.tasks.scores import SCORES


def load(config, data_dir: str | None) -> Dataset:
    networks.check_name(config.model.name)
    dataset = data.build(config.data, config.noise, data_dir)
    return data.labelled(dataset, "train", "validation", "test")


def build(config, dataset: Dataset) -> Problem:
    image_shape = dataset.train.inputs.shape[1:]
    augment = images.augment(image_shape, **config.augment)
    classes = len(dataset.class_names)
    told = data.described(dataset, config.noise)
    if config.model.name == "auto":
        told += (f"model    {sides.fitting(image_shape)}, which fits {sides.said(image_shape)}",)
    model = networks.make_model(**config.model, num_classes=classes, image_shape=image_shape)

    def draw(examples: Examples, rows, at: At | None) -> Batch:
        mixture: images.Mixture | tuple = ()
        if at is None:
            inputs = images.normalise(examples.inputs[rows], dataset)
        else:
            inputs = images.draw(examples.inputs, rows, dataset, augment, *at)
            if augment.mixup:
                mixture = images.mixture(rows, augment, *at)
                inputs = images.mixed(inputs, mixture)
        _, labels, clean_labels, index = examples
        return Batch(inputs, labels[rows], clean_labels[rows], index[rows], rows >= 0, mixture)

    counts = np.bincount(dataset.train.targets, minlength=classes)
    problem = Problem(
        model=model,
        units=units,
        draw=draw,
        initial=inits.INITS[config.model.init],
        metrics={"accuracy": is_right},
        groups={"clean": is_clean, "wrong": is_wrong},
        records={"predicted": Recorded(np.int32(-1), predicted)},
        rows_are_examples=not augment.mixup,
        stored=lambda examples: images.padded(examples, augment),
        evaluate=HELD_OUT if config.data.get("folds") else None,
        evaluated_at_once=images.evaluated_at_once(image_shape),
        examine=memorised,
        extra=() if augment.mixup else ("logits", "labels", "index"),
        num_classes=classes,
        noise_matrix=lambda: noise_matrix(config, dataset),
        label_counts=lambda: counts,
        facts={"noise": noise_facts(config, dataset)},
        told=told,
    )
    problem = easy_anchors.added(config, counts, problem)
    return mean_teacher.taught(problem, config, dataset, augment)


def noise_matrix(config, dataset: Dataset) -> np.ndarray:
    if config.noise.kind == "given" and config.data.get("noise_matrix"):
        return data.read_matrix(config.data.noise_matrix, dataset.class_names)
    rate, classes = config.noise.get("rate", 0.0), len(dataset.class_names)  # given noise has none
    return data.noise_matrix(config.data.name, config.noise.kind, rate, classes)


def units(logits, batch: Batch) -> Units:
    losses = cross_entropy(logits, batch.targets)
    if not batch.drawn:
        extra = {"logits": logits, "labels": batch.targets, "index": batch.index}
        return Units(losses, batch.where, extra)
    # A mixture of two examples has a loss but no label, so methods that need labels cannot use it.
    part, partner = batch.drawn
    losses = part * losses + (1 - part) * cross_entropy(logits, batch.targets[partner])
    return Units(losses, batch.where, {})


def noise_facts(config, dataset: Dataset) -> dict[str, Any]:
    return {
        "convention": config.noise.kind,
        "realised_rate": data.realised_rate(dataset.train),
        "labels_sha256": dataset.labels_sha256,
    }


cross_entropy = optax.softmax_cross_entropy_with_integer_labels


def is_right(logits, batch: Batch):
    return (logits.argmax(-1) == batch.targets).astype(logits.dtype)


def predicted(logits, batch: Batch):
    return logits.argmax(-1).astype(jnp.int32)


# For `experiments.clean`, of a fold that the model has not seen.
HELD_OUT = Evaluation(
    names=(),
    collect=lambda logits, batch: jax.nn.softmax(logits.astype(jnp.float32)),
    measure=lambda found, split: ({}, {"index": split.index, "probabilities": found}),
    kept="validation",
)


def is_clean(labels, clean_labels):
    return labels == clean_labels


is_wrong = data.is_wrong


def memorised(samples) -> dict[str, float]:
    """Returns how often the given, the true or another label is predicted for wrong labels.

    These are shares of the wrongly labelled examples seen so far, NaN if none was seen. Returns {}
    if no label is known to be wrong.
    """
    wrong = is_wrong(samples["target"], samples["clean_target"])
    if not wrong.any():
        return {}
    seen = wrong & (samples["predicted"] >= 0)
    guess, given, true = (samples[name][seen] for name in ("predicted", "target", "clean_target"))
    count = seen.sum() or np.nan
    return {
        "wrong_memorised": float((guess == given).sum() / count),
        "wrong_correct": float((guess == true).sum() / count),
        "wrong_other": float(((guess != given) & (guess != true)).sum() / count),
    }


task = Task(SCORES["classification"], load, build)
