"""Compares the data sets on this machine with their published properties."""

import numpy as np
from rich.console import Console
from rich.table import Table

from experiments import checks
from experiments.data import human
from experiments.data.base import NotThere, moments
from experiments.data.labels import realised_rate
from experiments.data.sources import DATASETS, MOMENTS, OWN, load
from experiments.progress import console

# Numbers of training images, test images and classes, and the image shape, as published.
KNOWN = {
    "digits": (1297, 500, 10, (8, 8, 1)),
    "fashion_mnist": (60_000, 10_000, 10, (28, 28, 1)),
    "cifar10": (50_000, 10_000, 10, (32, 32, 3)),
    "cifar100": (50_000, 10_000, 100, (32, 32, 3)),
}
# Wrong labels in %, from table 1 of the CIFAR-N paper.
RATES = {
    ("cifar10n", "aggre"): 9.03, ("cifar10n", "random1"): 17.23, ("cifar10n", "random2"): 18.12,
    ("cifar10n", "random3"): 17.64, ("cifar10n", "worse"): 40.21, ("cifar100n", "noisy"): 40.20,
}  # fmt: skip


def check(names: list[str], data_dir: str | None) -> bool:
    """Prints a table; returns whether every named data set is present and as published."""
    allowed = [name for name in DATASETS if name not in OWN]
    for name in names:
        checks.choose("data set", name, dict.fromkeys(allowed))
    table = Table(title="data set, what was found, what is known")
    for column in ("data set", "train", "test", "classes", "shape", "mean", "std", "wrong labels"):
        table.add_column(column)
    good = True
    for name in names or allowed:
        for variant in human.VARIANTS.get(name, {None: None}):
            try:
                cells, agrees = _row(name, variant, data_dir)
            except (OSError, ValueError) as error:
                console.print(f"not read: {error}")
                # Without names, a data set may be missing, but it must not be damaged.
                cells = [name, *["-"] * 7]
                agrees = isinstance(error, NotThere) and not names
            table.add_row(*cells)
            good &= agrees
    Console(highlight=False, width=150).print(table)
    return good


def _row(name: str, variant: str | None, data_dir: str | None) -> tuple[list[str], bool]:
    dataset = load(name, variant=variant, data_dir=data_dir)
    base = name.removesuffix("n")
    found = (
        len(dataset.train.targets), len(dataset.test.targets), len(dataset.class_names),
        dataset.train.inputs.shape[1:],
    )  # fmt: skip
    mean, std = moments(dataset.train.inputs)
    agrees = found == KNOWN[base]
    if base in MOMENTS:
        agrees &= np.allclose((mean, std), MOMENTS[base], atol=6e-4)
    rate = 100 * (realised_rate(dataset.train) or 0)
    published = RATES.get((name, variant or ""), 0.0)
    agrees &= abs(rate - published) < 0.03  # aggre: 9.01 in the file, 9.03 in the paper
    table = [
        (name + (f" {variant}" if variant else ""), "known" if agrees else "[red]expected"),
        *((str(value), str(known)) for value, known in zip(found, KNOWN[base], strict=True)),
        *zip(map(_numbers, (mean, std)), map(_numbers, MOMENTS.get(base, ((), ()))), strict=True),
        (f"{rate:.2f} %", f"{published:.2f} %"),
    ]
    return [f"{value}\n[dim]{known}" for value, known in table], bool(agrees)


def _numbers(values) -> str:
    return " ".join(f"{value:.3f}" for value in values)
