"""Data sets whose targets are numbers: loading, wrong targets, and the split.

All of it depends only on the arguments. Inputs are images of uint8, or rows of float32 that are
standardised by the training part.
"""

import csv
import gzip
import hashlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments import checks, rng
from experiments.data import features, picture_table, sources, table
from experiments.data.base import Examples, NotThere, moments
from superloss_jax import noise

KINDS = ("permute", "uniform", "given")


class Scale(NamedTuple):
    """Numbers of a data set that depend on its seeds."""

    mean: Any  # of the training targets as they are given, wrong ones included
    std: Any
    range: Any  # of the clean training targets
    variance: Any  # of the test targets
    pixel_mean: Any = 0.0  # of images, per channel
    pixel_std: Any = 1.0


class Inputs(NamedTuple):
    """An image or a row of numbers, and the scale, which is the same for all examples.

    It lies beside each example because runs with other seeds are trained at once.
    """

    of: np.ndarray
    scale: Scale


class Targets(NamedTuple):
    """A data set of a regression. Targets are float32, in their own unit."""

    name: str
    train: Examples  # with Inputs
    validation: Examples
    test: Examples
    low: float  # the range of the clean training targets
    high: float
    targets_sha256: str = ""  # of all training targets (noisy), before any split
    told: tuple[str, ...] = ()  # lines for the log: what was found, and what was done to it

    @property
    def is_images(self) -> bool:
        return self.train.inputs.of.dtype == np.uint8


class Source(NamedTuple):
    """What a loader returns. Without a published test set, a fifth becomes the test set."""

    inputs: np.ndarray | Callable[[np.ndarray], np.ndarray]  # or a function of training positions
    targets: np.ndarray
    number: int | None = None  # of published training examples, which come first
    told: tuple[str, ...] = ()  # lines for the log


def _standardised(rows: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Returns a function that standardises all rows by those of the training part."""

    def fit(train: np.ndarray) -> np.ndarray:
        mean, std = rows[train].mean(axis=0), rows[train].std(axis=0)
        return ((rows - mean) / np.where(std > 0, std, 1)).astype(np.float32)

    return fit


def _diabetes(**unused) -> Source:
    """Progression of diabetes after a year (25 to 346), of 442 patients; in scikit-learn."""
    from sklearn.datasets import load_diabetes

    rows, targets = load_diabetes(return_X_y=True, scaled=False)
    return Source(_standardised(rows), targets)


def _friedman(split_seed, **unused) -> Source:
    """Friedman's first function of 10 uniform numbers, with normal noise: 5,000 synthetic rows."""
    from sklearn.datasets import make_friedman1

    rows, targets = make_friedman1(n_samples=5000, noise=1.0, random_state=split_seed)
    return Source(_standardised(rows), targets)


def _mnist(data_dir, **unused) -> Source:
    """Digit values of MNIST: 60,000 training images and 10,000 test images, prepared by TFDS."""
    arrays = sources.find("mnist", places := sources.roots(data_dir))
    if arrays is None:
        said = f"expected a directory mnist in {places[0]}, as tfds build mnist"
        raise NotThere(f"--data_dir: {said} --file_format=array_record makes it")
    both = ("train", "test")
    images, targets = (
        np.concatenate([arrays[f"{part}_{kind}"] for part in both]) for kind in ("images", "labels")
    )
    return Source(images, targets, number=len(arrays["train_labels"]))


def _mnist20k(data_dir, **unused) -> Source:
    """Digit values, from the first 10,000 training images of MNIST and its test set."""
    path = sources.find_file("mnist20k/mnist20k.npz", data_dir)
    with np.load(path, allow_pickle=False) as arrays:
        images = np.concatenate([arrays["x_train"], arrays["x_test"]])[..., None]
        targets = np.concatenate([arrays["y_train"], arrays["y_test"]])
        return Source(images, targets, number=len(arrays["x_train"]))


def _california_housing(data_dir, **unused) -> Source:
    """Median house values in dollars, capped at 500,001, of 20,640 blocks of the census of 1990."""
    path = sources.find_file("california_housing/housing.csv.gz", data_dir)
    with gzip.open(path, "rt", newline="") as file:
        lines = list(csv.DictReader(file))
    targets = np.array([float(line.pop("median_house_value")) for line in lines])
    kinds = np.array([line.pop("ocean_proximity") for line in lines])[:, None]
    numbers = np.array([[float(value or "nan") for value in line.values()] for line in lines])

    return Source(features.standardised(numbers, kinds), targets)


def _images(path, pattern, side, **unused) -> Source:
    return Source(*picture_table.read(path, pattern, side))


def _table(path, label_column=None, **unused) -> Source:
    inputs, targets, told = table.targets(path, label_column)
    return Source(inputs, targets, told=told)


SOURCES: dict[str, Callable[..., Source]] = {
    "diabetes": _diabetes,
    "friedman": _friedman,
    "mnist": _mnist,
    "mnist20k": _mnist20k,
    "california_housing": _california_housing,
    "images": _images,
    "table": _table,
}
# Keys of `config.data` that single sources read.
OPTIONS = {"images": ("path", "pattern", "side"), "table": ("path", "label_column")}


def load(data, noise_config, data_dir: str | None = None) -> Targets:
    """Returns the data set of `config.data`, with the wrong targets of `config.noise`.

    Raises:
      ValueError: if a value is out of range, the data set is missing, or its targets cannot be
        learnt: NaN, infinite, constant, or too few.
    """
    checks.choose("config.data.name", data.name, SOURCES)
    checks.choose("config.noise.kind", noise_config.kind, dict.fromkeys(KINDS))
    seed = data.get("split_seed", 0)  # not there if nothing is drawn: see identity.py
    checks.seed("config.data.split_seed", seed)
    options = {key: data[key] for key in OPTIONS.get(data.name, ()) if key in data}
    found = SOURCES[data.name](data_dir=data_dir, split_seed=seed, **options)
    targets = _checked(data.name, found.targets)
    if found.number is None:
        order = rng.shuffled(seed, rng.TEST, len(targets))
        number = len(targets) // 5
        train, test = np.sort(order[number:]), np.sort(order[:number])
    else:
        train, test = np.arange(found.number), np.arange(found.number, len(targets))
    inputs = found.inputs(train) if callable(found.inputs) else found.inputs
    parts = [
        Examples(inputs[rows], targets[rows], targets[rows], rows.astype(np.int32))
        for rows in (train, test)
    ]
    dataset = _corrupted(data.name, parts[0], parts[1], noise_config)
    return _split(data, dataset._replace(told=found.told))


def _checked(name: str, targets: np.ndarray) -> np.ndarray:
    """Returns the targets as float32, or says why they cannot be learnt."""
    wide = np.asarray(targets, np.float64)
    with np.errstate(over="ignore"):  # what is too large for float32 is refused as infinite
        targets = wide.astype(np.float32)
    bad = np.flatnonzero(~np.isfinite(targets))
    if len(bad):
        raise ValueError(f"config.data.name: {name}: target {bad[0]} is {targets[bad[0]]}")
    if len(targets) < 10:
        raise ValueError(
            f"config.data.name: {name}: expected 10 examples or more, got {len(targets)}"
        )
    spread = np.ptp(wide)
    if spread and not 1e-15 <= spread <= 1e15:  # squared errors would not fit into float32
        said = f"expected targets with a range from 1e-15 to 1e15, got {spread:g}"
        raise ValueError(f"config.data.name: {name}: {said}; give them in another unit")
    if np.abs(targets - wide).max() > 1e-3 * spread > 0:
        said = f"float32 does not tell targets from {wide.min():.10g} to {wide.max():.10g} apart"
        raise ValueError(f"config.data.name: {name}: {said}; subtract a number from all")
    return targets


def _corrupted(name: str, train: Examples, test: Examples, noise_config) -> Targets:
    """Draws wrong targets for the whole training part, in its original order."""
    clean = train.targets
    low, high = float(clean.min()), float(clean.max())
    if low == high:
        raise ValueError(f"config.data.name: {name}: all training targets are {low:g}")
    noisy = clean
    if noise_config.kind != "given":
        checks.within("config.noise.rate", noise_config.rate, 0, 1)
        if noise_config.rate:
            checks.seed("config.noise.seed", noise_config.seed)
            key = jax.random.key(noise_config.seed, impl="threefry2x32")
            if noise_config.kind == "permute":
                noisy = noise.permute_targets(key, clean, noise_config.rate)
            else:
                ends = {"low": low, "high": high}
                noisy = noise.uniform_targets(key, clean, noise_config.rate, **ends)
    else:
        clean = np.full_like(clean, np.nan)  # which are right is not known
    train = train._replace(targets=noisy, clean_targets=clean)
    digest = hashlib.sha256(noisy.astype("<f4").tobytes()).hexdigest()
    own = noisy.mean(dtype=np.float64), noisy.std(dtype=np.float64)
    pixels = moments(train.inputs) if train.inputs.dtype == np.uint8 else ()
    scale = Scale(*own, high - low, np.var(test.targets, dtype=np.float64), *pixels)
    train, test = _scaled(train, scale), _scaled(test, scale)
    return Targets(name, train, train.rows(slice(0)), test, low, high, digest)


def _scaled(part: Examples, scale: Scale) -> Examples:
    rows = Scale(*(np.broadcast_to(np.float32(x), (len(part.index), *np.shape(x))) for x in scale))
    return part._replace(inputs=Inputs(part.inputs, rows))


def _split(data, dataset: Targets) -> Targets:
    """Keeps `examples` random training examples, and holds out `validation` of them."""
    total = len(dataset.train.targets)
    checks.within("config.data.examples", data.examples, 0, total)
    number = data.examples or total
    checks.within("config.data.validation", data.validation, 0, number - 1)
    if not data.examples and not data.validation:
        return dataset
    order = rng.shuffled(data.split_seed, rng.VALIDATION, total)[:number]
    held_out = dataset.train.rows(np.sort(order[: data.validation]))
    kind = data.get("validation_labels", "noisy")  # left out where noisy: see identity.py
    checks.choose("config.data.validation_labels", kind, dict.fromkeys(("noisy", "clean")))
    if kind == "clean":
        if np.isnan(held_out.clean_targets).any():
            raise ValueError("config.data.validation_labels: no clean targets are known: use noisy")
        held_out = held_out._replace(targets=held_out.clean_targets)
    train = dataset.train.rows(np.sort(order[data.validation :]))
    return dataset._replace(train=train, validation=held_out)


def realised_rate(train: Examples) -> float | None:
    """Returns the share of wrong targets, or None if the clean ones are not known."""
    known = np.isfinite(train.clean_targets)
    wrong = known & (train.clean_targets != train.targets)
    return float(wrong.sum() / known.sum()) if known.any() else None


def described(dataset: Targets, noise_config) -> tuple[str, ...]:
    """Returns lines for the log."""
    counts = ", ".join(
        f"{len(getattr(dataset, part).targets)} {part}" for part in ("train", "validation", "test")
    )
    rate = realised_rate(dataset.train)
    known = "how many are wrong is not known" if rate is None else f"{rate:.2%} are wrong"
    asked = "" if noise_config.kind == "given" else f", rate {noise_config.rate}"
    return (
        f"data     {dataset.name}: {counts} examples, targets from {dataset.low:g} to"
        f" {dataset.high:g}",
        *dataset.told,
        f"noise    {noise_config.kind}{asked}: of the training targets, {known}",
    )
