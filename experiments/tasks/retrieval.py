"""Image retrieval: embeddings in which images of one identity are near each other.

Training images have identities, some of which are wrong. Test images are of other identities: each
is a query, and is ranked against all others. What the method weighs is a pair of images, a triplet,
or an image: `pair_units.py`.
"""

import numpy as np

from experiments.checks import choose, integer
from experiments.data import Dataset, Examples, retrieval
from experiments.models import networks
from experiments.models.embedding import Embedding
from experiments.tasks import classification, images, pair_units, ranking
from experiments.tasks.base import TWO_NETWORKS, At, Batch, Evaluation, Problem, Task
from experiments.tasks.orders import classes_times_images
from experiments.tasks.pair_units import Drawn
from experiments.tasks.scores import SCORES


def load(config, data_dir: str | None) -> Dataset:
    choose("config.model.name", config.model.name, networks.MODELS)  # before data is read
    loss, method = config.embedding.loss, config.loss.method
    choose("config.embedding.loss", loss, pair_units.FORMS)
    if method == "cross_entropy" and loss != "softmax":
        raise ValueError("config.loss.method: the loss of pairs without a method is plain")
    if method == "remembered_superloss":
        said = f"{method} needs losses of held-out examples, and classes not trained on have none"
        raise ValueError(f"config.loss.method: {said}")
    return retrieval.load(config.data, config.noise, data_dir)


def build(config, dataset: Dataset) -> Problem:
    own, shape = config.embedding, dataset.train.inputs.shape[1:]
    integer("config.embedding.dim", own.dim, 2, 65_536)
    form = pair_units.form_of(**own)
    if not form.extra and config.loss.method in TWO_NETWORKS:
        said = "needs a loss of each image: choose embedding.units=images, or another loss"
        raise ValueError(f"config.loss.method: {config.loss.method} {said}")
    check_batch(config, dataset)
    augment = images.augment(shape, **config.augment, cutout=0, mixup=0.0)

    def draw(examples: Examples, rows, at: At | None) -> Batch:
        stored, labels, clean_labels, index = examples
        rest = labels[rows], clean_labels[rows], index[rows], rows >= 0
        if at is None:
            return Batch(images.normalise(stored[rows], dataset), *rest)
        return Batch(images.draw(stored, rows, dataset, augment, *at), *rest, drawn=Drawn(rows))

    return Problem(
        model=model_of(config, dataset),
        draw=draw,
        order=classes_times_images(dataset.train.targets, own.per_class),
        groups={
            "clean": classification.is_clean,
            "wrong": classification.is_wrong,
            **form.groups,
        },
        **{name: value for name, value in form._asdict().items() if name != "groups"},
        stored=lambda examples: images.padded(examples, augment),
        evaluate=Evaluation(ranking.NAMES, lambda outputs, batch: outputs.embeddings, measured),
        num_classes=classes_of(dataset) if own.loss == "softmax" else None,
        facts={"noise": classification.noise_facts(config, dataset)},
        told=retrieval.described(dataset, config.noise),
    )


def model_of(config, dataset: Dataset) -> Embedding:
    own, shape = config.embedding, dataset.train.inputs.shape[1:]
    network = networks.make_model(**config.model, num_classes=own.dim, image_shape=shape)
    if own.loss != "softmax":
        return Embedding(network, own.dim)
    return Embedding(network, own.dim, classes_of(dataset), own.temperature)


def classes_of(dataset: Dataset) -> int:
    """Returns how many training classes there are, held-out ones included."""
    return int(dataset.test.targets.min())


def check_batch(config, dataset: Dataset) -> None:
    """Raises ValueError unless a batch holds as many images of each of two or more classes."""
    images_each, batch = config.embedding.per_class, config.batch_size
    integer("config.embedding.per_class", images_each, 2, batch)
    _, sizes = np.unique(dataset.train.targets, return_counts=True)
    most = int((sizes > 1).sum())
    if batch % images_each or not 2 <= batch // images_each <= most:
        said = f"expected 2 to {most} classes times {images_each} images, got {batch}"
        raise ValueError(f"config.batch_size: {said}")


def measured(embeddings, examples: Examples):
    scores, neighbours = ranking.scores(embeddings, examples.targets)
    return scores, {"index": examples.index, "neighbours": neighbours}


task = Task(SCORES["retrieval"], load, build)
