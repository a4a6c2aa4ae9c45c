"""Finds and reads data sets. The sources are tried in this order:

1. a directory that TFDS prepared (array_record files, read without TensorFlow)
2. the official files in a local folder, checked against their SHA-256
3. a TFDS download, if TensorFlow is installed; `scripts/prepare_data.py` does it ahead of a run
"""

import functools
import hashlib
import importlib.util
import pathlib
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from experiments import cache, checks
from experiments.data import archives, human, large, npz, own, prepared
from experiments.data.base import Dataset, NotThere, dataset
from experiments.imported import imported, is_own
from experiments.progress import console, track

Arrays = dict[str, np.ndarray]

# Means and standard deviations of the training pixels; `python -m experiments.data check` prints
# them.
MOMENTS = {
    "cifar10": ((125.307, 122.950, 113.865), (62.993, 62.089, 66.705)),
    "cifar100": ((129.304, 124.070, 112.434), (68.170, 65.392, 70.418)),
    "fashion_mnist": ((72.940,), (90.021,)),
}
# Result of _digest for the decoded arrays, taken from official files whose MD5 was verified.
SHA256 = {"cifar10": "9bb26ea52d5b395389569734654d923ce7ba78a18a63b56115e3cecfb33f114d"}
COUNTS = {"train": 50_000, "test": 10_000}  # CIFAR-10 and CIFAR-100
MNIST_COUNTS = {"train": 60_000, "test": 10_000}
FASHION_MNIST_FOLDERS = ("", "fashion-mnist", "/usr/share/datasets/fashion-mnist")  # last: Debian's


def roots(data_dir: str | None) -> list[pathlib.Path]:
    """Returns the folders to search."""
    root = checks.path("--data_dir", data_dir or "~/tensorflow_datasets")
    return [root, root / "tfds"]


def find_file(name: str, data_dir: str | None, beside: str = "") -> pathlib.Path:
    """Returns the path of a file of the data directory; a message also names what is beside it."""
    folders = roots(data_dir)
    for root in folders:
        if (root / name).is_file():
            return root / name
    wanted = f"{name} and {beside}" if beside else name
    raise NotThere(f"--data_dir: expected {wanted} in {folders[0]}")


def _digits_file() -> tuple[np.ndarray, np.ndarray]:
    """Reads scikit-learn's file without importing it, which takes as long as training on it."""
    found = importlib.util.find_spec("sklearn")
    if found is None or found.origin is None:
        raise NotThere("digits come with scikit-learn: pip install scikit-learn")
    file = pathlib.Path(found.origin).parent / "datasets" / "data" / "digits.csv.gz"
    rows = np.loadtxt(file, dtype=np.uint8, delimiter=",")  # values 0 to 16, and the label
    return rows[:, :-1].reshape(-1, 8, 8, 1), rows[:, -1].astype(np.int64)


def _digits(split_seed, **unused) -> Dataset:
    """The 1,797 handwritten 8x8 digits of scikit-learn; 500 random ones are the test set."""
    images, labels = _digits_file()
    order = np.random.Generator(np.random.PCG64(split_seed)).permutation(len(labels))
    parts = {"test": np.sort(order[:500]), "train": np.sort(order[500:])}
    arrays = {f"{part}_images": images[rows] for part, rows in parts.items()}
    arrays |= {f"{part}_labels": labels[rows] for part, rows in parts.items()}
    names = [str(digit) for digit in range(10)]
    return dataset("digits", names, arrays, mean=(0.0,), std=(16.0,))


def _large(name: str):
    def load(path, side, decode, **unused) -> Dataset:
        return large.read(name, path, side, decode)

    return load


def _official(name: str):
    """CIFAR-10, CIFAR-100 or Fashion-MNIST."""

    def load(data_dir, **unused) -> Dataset:
        arrays = find(name, roots(data_dir)) or _download(name, data_dir)
        return dataset(name, arrays["class_names"].tolist(), arrays, *MOMENTS[name])

    return load


def _cifar_n(name: str):
    """The images of CIFAR-10 or CIFAR-100 with human labels."""

    def load(data_dir, variant, **unused) -> Dataset:
        checks.choose("config.data.variant", variant, human.VARIANTS[name])
        path = human.find(name, roots(data_dir))
        source = DATASETS[name.removesuffix("n")](data_dir=data_dir)
        clean = source.train.targets
        labels = human.checked(path, name, variant, clean)
        arrays = {
            "train_images": source.train.inputs, "train_labels": labels, "clean_labels": clean,
            "test_images": source.test.inputs, "test_labels": source.test.targets,
        }  # fmt: skip
        return dataset(name, source.class_names, arrays, source.mean, source.std)

    return load


DATASETS = {
    "digits": _digits,
    **own.READERS,
    "cifar10": _official("cifar10"),
    "cifar100": _official("cifar100"),
    "fashion_mnist": _official("fashion_mnist"),
    "cifar10n": _cifar_n("cifar10n"),
    "cifar100n": _cifar_n("cifar100n"),
    **{name: _large(name) for name in large.LARGE},
}
OWN = tuple(own.READERS)  # at `path`


def options(name: str) -> tuple[str, ...]:
    """Returns the keys of `config.data` that this data set alone reads."""
    if name in large.LARGE:
        return "side", "decode"
    return own.OPTIONS.get(prepared.PREFIX if name.startswith(prepared.PREFIX) else name, ())


def load(
    name: str,
    *,
    split_seed: int = 0,
    path: str | None = None,
    variant: str | None = None,
    data_dir: str | None = None,
    side: int = 0,
    damaged: str = "stop",
    decode: str = "memory",
    label_column: str | None = None,
    path_column: str | None = None,
) -> Dataset:
    """Returns images and labels as published, in their original order.

    Raises:
      ValueError: if the data set is missing or damaged, or an argument does not apply to it.
    """
    checks.seed("config.data.split_seed", split_seed)
    if path and name not in (*OWN, *large.LARGE):
        said = f"{name} reads no file; choose config.data.name={' or '.join(OWN)}"
        raise ValueError(f"config.data.path: {said}")
    if variant and name not in human.VARIANTS:
        raise ValueError(f"config.data.variant: {name} has none, got {variant!r}")
    given: dict[str, Any] = {"side": side, "damaged": damaged, "decode": decode}
    given |= {"label_column": label_column, "path_column": path_column}
    if name.startswith(prepared.PREFIX):
        return prepared.read(name, roots(data_dir), **given)
    if is_own(name):
        return _imported(name, data_dir)
    reader = checks.choose("config.data.name", name, DATASETS)
    return reader(split_seed=split_seed, path=path, variant=variant, data_dir=data_dir, **given)


def _imported(name: str, data_dir: str | None) -> Dataset:
    """A data set of the user's own: a function of the data directory that returns arrays."""
    found = imported("config.data.name", name)(data_dir)
    if not isinstance(found, dict) or not all(isinstance(a, np.ndarray) for a in found.values()):
        said = f"expected {name} to return a dictionary of NumPy arrays, got {type(found).__name__}"
        raise ValueError(f"config.data.name: {said}")
    return npz.from_arrays(name, name, found)


# --- Sources. -------------------------------------------------------------------------------------


def find(name: str, folders: list[pathlib.Path]) -> Arrays | None:
    for root in folders:
        files, decode = _in_folder(name, root)
        if files:
            return cache.cached(name, files, decode)
    return None


def _in_folder(name: str, root: pathlib.Path) -> tuple[list[pathlib.Path], Callable[[], Arrays]]:
    """Returns the files of the first source found, or an empty list, and their reader."""
    if name == "fashion_mnist":
        for place in FASHION_MNIST_FOLDERS:
            files = [root / place / f"{file}.gz" for file in archives.FASHION_MNIST]
            if all(file.is_file() for file in files):
                return files, functools.partial(archives.read_fashion_mnist, files)
        return [], dict
    versions = sorted((root / name).glob("*/dataset_info.json"))
    if versions:
        folder = versions[-1].parent
        files = sorted(path for path in folder.iterdir() if path.is_file())
        return files, functools.partial(_read_tfds, name, folder)
    archive = archives.ARCHIVES.get(name)
    if archive is None:  # MNIST comes from TFDS alone
        return [], dict
    path, pickled = (root / archive.file.replace("binary", kind) for kind in ("binary", "python"))
    if path.is_file():
        return [path], functools.partial(archives.read_archive, path, archive)
    if pickled.is_file():
        raise ValueError(
            f"{pickled}: pickled archives are refused, since unpickling can run any program; get"
            f" {archive.url}"
        )
    return [], dict


def _download(name: str, data_dir: str | None) -> Arrays:
    root = roots(data_dir)[0]
    needed = [f"a TFDS directory {root / name}"] if name != "fashion_mnist" else []
    needed += [archives.ARCHIVES[name].file] if name in archives.ARCHIVES else ["its IDX files"]
    hint = f"{' or '.join(needed)} in {root}; point --data_dir there, or run: python"
    hint += f" scripts/prepare_data.py {name} --data_dir={root}"
    if importlib.util.find_spec("tensorflow") is None or name not in archives.ARCHIVES:
        raise NotThere(f"data set {name}: expected {hint}")
    console.print(f"data     {name} is not in {root}: downloading")
    # In a separate process, because TensorFlow would take the accelerator's memory.
    command = [sys.executable, "-m", "experiments.data", "prepare", name, f"--data_dir={root}"]
    if subprocess.run(command, check=False).returncode:
        raise ValueError(f"data set {name}: its download failed; expected {hint}")
    arrays = find(name, [root])
    if arrays is None:
        raise ValueError(f"data set {name}: the download left nothing; expected {hint}")
    return arrays


def _read_tfds(name: str, folder: pathlib.Path) -> Arrays:
    if importlib.util.find_spec("tensorflow_datasets") is None:
        raise ValueError("TFDS directories need: pip install -e '.[experiments]'")
    try:
        prepared.check_features(folder)
        import tensorflow_datasets as tfds

        builder = tfds.builder_from_directory(str(folder))
        counts = MNIST_COUNTS if name == "mnist" else COUNTS
        train, test = (_read_split(builder, *part) for part in counts.items())
    except Exception as error:  # TFDS raises many types
        reason = (str(error).strip() or repr(error)).splitlines()[0]
        raise ValueError(f"data set {name}: cannot read {folder}: {reason}") from None
    names = ("train_images", "train_labels", "test_images", "test_labels")
    arrays = dict(zip(names, (*train, *test), strict=True))
    found, expected = _digest(arrays), SHA256.get(name)
    if expected not in (None, found):
        raise ValueError(f"data set {name}: {folder}: expected SHA-256 {expected}, got {found}")
    return arrays | {"class_names": np.array(builder.info.features["label"].names)}


def _digest(arrays: Arrays) -> str:
    """Hashes training images and labels, then test images and labels."""
    digest = hashlib.sha256()
    for part in ("train", "test"):
        digest.update(np.ascontiguousarray(arrays[f"{part}_images"]).data)
        digest.update(arrays[f"{part}_labels"].astype("<i4").tobytes())
    return digest.hexdigest()


def _read_split(builder, split: str, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Reads a split's array_record files without TensorFlow, and restores the original order."""
    source = builder.as_data_source(split)
    if len(source) != count:
        raise ValueError(f"{builder.name} {split}: expected {count} records, got {len(source)}")
    images = np.empty((count, *builder.info.features["image"].shape), np.uint8)
    labels, coarse = np.full(count, -1, np.int32), np.full(count, -1, np.int32)
    # TFDS shuffles when it writes, but each id ends in the position in the official file. MNIST has
    # no ids, and keeps the order of TFDS.
    for i, record in enumerate(track(source, f"decoding {builder.name} {split}")):
        index = int(record["id"].decode().rsplit("_", 1)[1]) if "id" in record else i
        images[index], labels[index] = record["image"], record["label"]
        if "coarse_label" in record:
            coarse[index] = record["coarse_label"]
    if (labels < 0).any():
        raise ValueError(f"{builder.name} {split}: ids other than 0 to {count - 1}, each once")
    if "coarse_label" in builder.info.features:
        archives.check_superclasses(f"{builder.name} {split}", labels, coarse)
    return images, labels
