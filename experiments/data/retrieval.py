"""Data sets for retrieval: training images of some classes, test images of others.

All of it depends only on the arguments. Labels are numbers of classes, training classes first.
"""

import hashlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from experiments import cache, checks, rng
from experiments.data import identities, listed, sources
from experiments.data.base import Dataset, Examples, is_wrong, moments


class Source(NamedTuple):
    """Images, and the class of each. The first `number` classes are those of training."""

    images: np.ndarray
    labels: np.ndarray  # as given
    names: tuple[str, ...]  # of the classes
    number: int
    clean: np.ndarray | None = None  # the classes, where the given ones may be wrong


def _digits(**unused) -> Source:
    """scikit-learn's 8x8 digits: 0 to 4 to train, 5 to 9 to test."""
    whole = sources.load("digits")
    parts = whole.train, whole.test
    order = np.argsort(np.concatenate([part.index for part in parts]))
    images, labels = (
        np.concatenate([getattr(part, of) for part in parts])[order] for of in ("inputs", "targets")
    )
    return Source(images, labels, whole.class_names, 5)


def _omniglot_small(data_dir, side, **unused) -> Source:
    """Omniglot's small sets: 136 characters of 5 alphabets to train, 106 of 3 others to test."""
    path = sources.find_file("omniglot_small/omniglot_small.npz", data_dir)

    def decode():
        from PIL import Image

        with np.load(path, allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in arrays.files}
        bits = np.unpackbits(found["bits"], axis=1, count=105 * 105).reshape(-1, 105, 105)
        size = (side, side)
        images = [
            np.asarray(Image.fromarray(255 * one).resize(size, Image.Resampling.BOX))
            for one in bits
        ]
        test = np.isin(found["alphabets"], ("Japanese_(katakana)", "Sanskrit", "Tagalog"))
        of = np.zeros(len(found["classes"]), int)  # the alphabet of each class
        of[found["label"]] = found["alphabet"]
        order = np.argsort(test[of], kind="stable")
        return {
            "images": np.stack(images)[..., None], "labels": np.argsort(order)[found["label"]],
            "names": found["classes"][order], "number": np.sum(~test[of]),
        }  # fmt: skip

    found = cache.cached(f"omniglot_small_{side}", [path], decode)
    names = tuple(found["names"].tolist())
    return Source(found["images"], found["labels"], names, int(found["number"]))


def _cifar100(data_dir, **unused) -> Source:
    """CIFAR-100: training images of the first 50 fine classes, test images of the others."""
    whole = sources.load("cifar100", data_dir=data_dir)
    parts = whole.train.only(whole.train.targets < 50), whole.test.only(whole.test.targets >= 50)
    images, labels = (
        np.concatenate([getattr(part, of) for part in parts]) for of in ("inputs", "targets")
    )
    return Source(images, labels, whole.class_names, 50)


def _folder(path, side, **unused) -> Source:
    """A folder of images with folders `train` and `test`, in each one folder for each class."""
    return Source(*listed.folder(path, side))


def _listed(path, side, train_list, test_list, **unused) -> Source:
    """Images of two lists with lines "path,label", as those of PRISM's repository."""
    return Source(*listed.lists(path, side, train_list, test_list))


SOURCES: dict[str, Callable[..., Source]] = {
    "digits": _digits,
    "omniglot_small": _omniglot_small,
    "cifar100": _cifar100,
    "folder": _folder,
    "listed": _listed,
}
OPTIONS = ("path", "side", "train_list", "test_list")


def load(data, noise, data_dir: str | None = None) -> Dataset:
    """Returns the data set of `config.data`, with the wrong labels of `config.noise`.

    Raises:
      ValueError: if a value is out of range, or the data set is missing or cannot be learnt.
    """
    reader = checks.choose("config.data.name", data.name, SOURCES)
    wanted = {"kind": noise.kind, "rate": noise.get("rate", 0.0), "seed": noise.get("seed", 0)}
    identities.check(**wanted)
    options = {name: data.get(name) for name in OPTIONS}
    if options["side"] is not None:  # the others have one size
        checks.integer("config.data.side", options["side"], 8, 1024)
    found = reader(data_dir=data_dir, **options)
    if found.clean is not None and noise.kind != "given":
        raise ValueError("config.noise.kind: the lists bring their own wrong labels: choose given")
    of_train = found.labels < found.number
    train, test = (_part(found, np.flatnonzero(rows)) for rows in (of_train, ~of_train))
    for part, name in ((train, "training"), (test, "test")):
        _check_classes(data.name, name, part, found.names, least=2 if found.clean is None else 1)
    mean, std = moments(train.inputs)
    known = _noisy(train, wanted)
    digest = hashlib.sha256(known.targets.astype("<i4").tobytes()).hexdigest()
    dataset = Dataset(data.name, found.names, known, train.rows(slice(0)), test, mean, std, digest)
    return _split(data, dataset, train, wanted) if data.validation else dataset


def _part(found: Source, rows: np.ndarray) -> Examples:
    labels = found.labels[rows].astype(np.int32)
    clean = labels if found.clean is None else found.clean[rows].astype(np.int32)
    return Examples(found.images[rows], labels, clean, rows.astype(np.int32))


def _check_classes(name: str, part: str, examples: Examples, names, least: int) -> None:
    """Raises ValueError unless there are two classes, and so many images of each.

    Where wrong labels leave a class a single image, batches leave it out.
    """
    classes, sizes = np.unique(examples.targets, return_counts=True)
    if len(classes) < 2:
        said = f"expected 2 {part} classes or more, got {len(classes)}"
        raise ValueError(f"config.data.name: {name}: {said}")
    if sizes.min() < least:
        lone = names[classes[sizes.argmin()]]
        said = f"{part} class {lone} has 1 image, and a pair needs 2"
        raise ValueError(f"config.data.name: {name}: {said}")


def _noisy(part: Examples, wanted) -> Examples:
    """Draws wrong labels among the classes of a part."""
    if wanted["kind"] == "given":
        return part
    noisy = identities.corrupt(part.inputs, part.targets, **wanted)
    return part._replace(targets=noisy)


def _split(data, dataset: Dataset, train: Examples, wanted) -> Dataset:
    """Holds out `validation` random training classes; each part has wrong labels of its own."""
    classes = np.unique(train.clean_targets)
    checks.integer("config.data.validation, in classes,", data.validation, 2, len(classes) - 2)
    checks.seed("config.data.split_seed", data.split_seed)
    kinds = dict.fromkeys(("noisy", "clean"))
    checks.choose("config.data.validation_labels", data.validation_labels, kinds)
    if wanted["kind"] == "given":
        said = "images whose labels are wrong belong to no class that could be held out"
        raise ValueError(f"config.data.validation: {said}: expected 0, got {data.validation}")
    order = rng.shuffled(data.split_seed, rng.VALIDATION, len(classes))
    chosen = classes[order[: data.validation]]
    held_out = np.isin(train.clean_targets, chosen)
    validation, rest = (train.rows(np.flatnonzero(rows)) for rows in (held_out, ~held_out))
    if data.validation_labels == "noisy":
        validation = _noisy(validation, wanted)
    return dataset._replace(train=_noisy(rest, wanted), validation=validation)


def described(dataset: Dataset, noise) -> tuple[str, ...]:
    """Returns lines for the log."""
    parts = {part: getattr(dataset, part) for part in ("train", "validation", "test")}
    counts = ", ".join(
        f"{len(one.targets)} {part} images of {len(np.unique(one.clean_targets))} classes"
        for part, one in parts.items() if len(one.targets)
    )  # fmt: skip
    wrong = is_wrong(dataset.train.targets, dataset.train.clean_targets).mean()
    lone = int((np.unique(dataset.train.targets, return_counts=True)[1] == 1).sum())
    left_out = f"; {lone} with a single image are left out" if lone else ""
    asked = "" if noise.kind == "given" else f", rate {noise.rate}"
    return (
        f"data     {dataset.name}: {counts}",
        f"noise    {noise.kind}{asked}: of the training labels, {wrong:.2%} are wrong{left_out}",
    )
