"""Applies a config to a data set: first wrong labels, then a validation split, then imbalance."""

import hashlib

import jax
import numpy as np

from experiments import checks, rng
from experiments.data.base import Dataset, Examples, is_known, wrong
from superloss_jax import noise

# Which class each class is mistaken for. On CIFAR-100, papers say superclasses; the code behind
# most published numbers has blocks of five consecutive labels, which is another noise.
FLIPS = {
    "asymmetric": {"cifar10": noise.CIFAR10_FLIPS, "cifar100": noise.CIFAR100_FLIPS},
    "asymmetric_blocks": {"cifar100": noise.CIFAR100_BLOCK_FLIPS},
}
OF_MATRIX = (*noise.KINDS, "asymmetric_blocks")
KINDS = (*OF_MATRIX, "permuted", "instance_dependent", "given")
MOST_CLASSES = 5000  # a noise matrix of as many has 200 MB
HUMAN = ("cifar10n", "cifar100n")


def check_noise(
    dataset: str, kind: str, rate: float = 0.0, exact: bool = False, seed: int = 0
) -> None:
    """Raises ValueError for invalid noise settings, before any data is read."""
    checks.seed("config.noise.seed", seed)
    checks.within("config.noise.rate", rate, 0, 1)
    if dataset in HUMAN and kind != "given":
        raise ValueError(f"config.noise.kind: {dataset} brings its own wrong labels: choose given")
    if kind == "symmetric":  # ambiguous, which noise.transition_matrix explains
        noise_matrix(dataset, kind, rate, num_classes=2)
    checks.choose("config.noise.kind", kind, dict.fromkeys(KINDS))
    if exact and kind not in OF_MATRIX:
        raise ValueError(f"config.noise.exact: {kind} noise has no transition matrix")
    if kind in FLIPS and dataset not in FLIPS[kind]:
        said = f"{kind} has no published map for {dataset}, only for {', '.join(FLIPS[kind])}"
        raise ValueError(f"config.noise.kind: {said}")


def check_classes(kind: str, num_classes: int) -> None:
    """Raises ValueError if a table of the classes would not fit into memory."""
    if num_classes > MOST_CLASSES:
        said = f"{kind} noise needs a table of the classes, which may be {MOST_CLASSES} at most"
        raise ValueError(f"config.noise.kind: {said}, got {num_classes}; permuted and given do not")


def noise_matrix(dataset: str, kind: str, rate: float, num_classes: int) -> np.ndarray:
    """Returns the noise's transition matrix; raises ValueError if there is none."""
    flips = FLIPS[kind][dataset] if kind in FLIPS else None
    if kind not in (*OF_MATRIX, "symmetric"):
        raise ValueError(f"config.noise.kind: {kind} noise has no known transition matrix")
    check_classes(kind, num_classes)
    try:
        kind = "asymmetric" if flips else kind
        return np.asarray(noise.transition_matrix(kind, rate, num_classes, flips=flips))
    except ValueError as error:
        raise ValueError(f"config.noise: {error}") from None


def corrupt(
    dataset: Dataset, kind: str, rate: float = 0.0, exact: bool = False, seed: int = 0
) -> Dataset:
    """Returns the data set with noisy training labels. The result depends only on the arguments.

    Noise is drawn for the whole training set in its original order, before any split. If the clean
    label of an example is unknown, its label counts as clean, unless `kind` is "given". A label
    that is unknown stays so.
    """
    if kind == "given":
        return dataset
    labelled = dataset.train.targets >= 0
    train, classes = dataset.train.only(labelled), len(dataset.class_names)
    if wrong(train).any():
        raise ValueError("config.noise.kind: the labels are not the clean ones: choose given")
    clean = np.where(train.clean_targets < 0, train.targets, train.clean_targets)
    key = jax.random.key(seed, impl="threefry2x32")
    if not rate:
        noisy = clean
    elif kind == "permuted":
        noisy = np.asarray(noise.permute_labels(key, clean, rate))
    elif kind == "instance_dependent":
        check_classes(kind, classes)
        if train.is_encoded():
            said = "instance_dependent needs all images in memory: expected data.decode=memory"
            raise ValueError(f"config.noise.kind: {said}")
        noisy = noise.instance_dependent_labels(key, train.inputs, clean, rate, classes)
    else:
        matrix = noise_matrix(dataset.name, kind, rate, classes)
        noisy = np.asarray(noise.corrupt_labels(key, clean, matrix, exact=exact))
    targets, clean_targets = dataset.train.targets.copy(), dataset.train.clean_targets.copy()
    targets[labelled], clean_targets[labelled] = noisy, clean
    train = dataset.train._replace(targets=targets, clean_targets=clean_targets)
    return dataset._replace(train=train)


def hide(train: Examples, number: int, seed: int, class_names) -> Examples:
    """Makes all but `number` labels unknown, -1. As many of each class stay, or one more.

    Which ones depends only on the labels and the seed.
    """
    checks.seed("config.data.labelled_seed", seed)
    classes = len(class_names)
    checks.integer("config.data.labelled", number, classes, int((train.targets >= 0).sum()))
    drawn = np.asarray(rng.bits(rng.key_for(seed, rng.LABELLED), train.targets.shape))
    hidden = np.full_like(train.targets, -1)
    for i in range(classes):
        members = np.flatnonzero(train.targets == i)
        wanted = number // classes + (i < number % classes)
        if wanted > len(members):
            said = f"{wanted} labels of class {class_names[i]} asked for, {len(members)} are there"
            raise ValueError(f"config.data.labelled: {said}")
        kept = members[np.argsort(drawn[members], kind="stable")[:wanted]]
        hidden[kept] = i
    return train._replace(targets=hidden)


def split(
    dataset: Dataset,
    split_seed: int,
    validation: int,
    validation_labels: str,
    imbalance: float,
    imbalance_exact: bool,
    share: float = 0.0,
    folds: int = 0,
    fold: int = 0,
) -> Dataset:
    """Holds out `validation` random training examples, then makes the rest class-imbalanced.

    Or it holds out this `share` of them, by class: of each class at least one, and not all. Or one
    of so many `folds`, which have as many of each class, or one more.

    A training example of class i out of C is kept with probability imbalance^(-i / (C - 1)). With
    `imbalance_exact`, exactly that share of the class is kept. Validation and test examples are
    not thinned out. After Yuwei Zhou et al., "CurBench: Curriculum Learning Benchmark", ICML 2024.
    """
    train = dataset.train
    checks.seed("config.data.split_seed", split_seed)
    checks.within("config.data.validation", validation, 0, len(train.targets) - 1)
    checks.within("config.data.imbalance", imbalance, 1, 1e6)
    checks.choose("config.data.validation_labels", validation_labels, {"noisy": 0, "clean": 0})
    drawn = np.asarray(rng.bits(rng.key_for(split_seed, rng.VALIDATION), train.targets.shape))
    _check_one(validation=validation, validation_share=share, folds=folds)
    if share:
        checks.within("config.data.validation_share", share, 0, 0.9)
        is_held_out = _share_of_each(train.targets, drawn, share)
    elif folds:
        checks.integer("config.data.folds", folds, 2, min(100, len(train.targets)))
        checks.integer("config.data.fold", fold, 0, folds - 1)
        is_held_out = _folds(train.targets, drawn, folds) == fold
    else:
        is_held_out = np.argsort(np.argsort(drawn, kind="stable")) < validation
    held_out = train.rows(np.flatnonzero(is_held_out))
    if validation_labels == "clean" and is_held_out.any():
        if (held_out.clean_targets < 0).any():
            raise ValueError("config.data.validation_labels: no clean labels are known: use noisy")
        held_out = held_out._replace(targets=held_out.clean_targets)
    train = train.rows(np.flatnonzero(~is_held_out))
    if imbalance > 1:
        train = _thin_out(train, split_seed, len(dataset.class_names), imbalance, imbalance_exact)
    if not len(train.targets):
        raise ValueError("config.data.imbalance: it leaves no training example")
    return dataset._replace(train=train, validation=held_out)


def _share_of_each(labels: np.ndarray, drawn: np.ndarray, share: float) -> np.ndarray:
    """Returns a mask of this share of each class, of one example at least, and never of all."""
    chosen = np.zeros(labels.shape, bool)
    for label in np.unique(labels[labels >= 0]):
        members = np.flatnonzero(labels == label)
        number = min(max(1, round(share * len(members))), len(members) - 1)
        chosen[members[np.argsort(drawn[members], kind="stable")[:number]]] = True
    return chosen


def _check_one(**given) -> None:
    """Raises ValueError if examples are to be held out in two ways."""
    asked = [f"config.data.{name}={value}" for name, value in given.items() if value]
    if len(asked) > 1:
        raise ValueError(f"{asked[0]}: expected 0 beside {asked[1]}")


def _folds(labels: np.ndarray, drawn: np.ndarray, number: int) -> np.ndarray:
    """Returns the fold of each example; one class goes on where the one before has ended."""
    order = np.lexsort((drawn, labels))
    found = np.empty(len(labels), np.int64)
    found[order] = np.arange(len(labels)) % number
    return found


def _thin_out(train: Examples, seed: int, num_classes: int, ratio: float, exact: bool) -> Examples:
    classes = np.where(train.clean_targets < 0, train.targets, train.clean_targets)
    if (classes < 0).any():
        raise ValueError("config.data.imbalance: some examples have no label; expected 1")
    part = ratio ** (-np.arange(num_classes) / (num_classes - 1))
    drawn = np.asarray(rng.bits(rng.key_for(seed, rng.IMBALANCE), classes.shape))
    keep = drawn < np.rint(part[classes] * 2.0**32)
    if exact:
        for i in range(num_classes):
            members = np.flatnonzero(classes == i)
            count = round(part[i] * len(members))
            keep[members] = np.argsort(np.argsort(drawn[members], kind="stable")) < count
    return train.rows(np.flatnonzero(keep))


def labels_sha256(dataset: Dataset) -> str:
    """Hashes the noisy labels in their original order, before any split."""
    return hashlib.sha256(dataset.train.targets.astype("<i4").tobytes()).hexdigest()


def realised_rate(examples: Examples) -> float | None:
    """Returns the share of wrong labels, or None if no clean label is known."""
    known = is_known(examples.targets, examples.clean_targets)
    return float(wrong(examples).sum() / known.sum()) if known.any() else None
