"""Downloads and verifies data sets: with TFDS if TensorFlow is installed, else official files."""

import hashlib
import importlib.util
import os
import pathlib
import urllib.request

from experiments.data import archives
from experiments.data.sources import find, load, roots
from experiments.progress import console, progress_line

FASHION_MNIST_URL = (
    "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/{name}.gz"
)


def prepare(names: list[str], data_dir: str | None) -> bool:
    """Downloads each missing data set, reads it once to verify it, and prints its size."""
    root = roots(data_dir)[0]
    known = (*archives.ARCHIVES, "fashion_mnist")
    for name in names:
        if name not in known:
            raise ValueError(f"prepare: expected one of {', '.join(known)}, got {name!r}")
    for name in names:
        try:
            if find(name, roots(data_dir)) is None:
                root.mkdir(parents=True, exist_ok=True)
                _get(name, root)
        except OSError as error:
            raise ValueError(f"data set {name}: cannot download: {error}") from None
        dataset = load(name, data_dir=data_dir)
        size = (dataset.train.inputs.nbytes + dataset.test.inputs.nbytes) / 1e6
        console.print(f"{name}: whole, {size:,.0f} MB decoded; --data_dir={root}")
    return True


def _get(name: str, root: pathlib.Path) -> None:
    if name == "fashion_mnist":
        for file, sha256 in archives.FASHION_MNIST.items():
            path = root / f"{file}.gz"
            found = path.exists()
            fetch(FASHION_MNIST_URL.format(name=file), path)
            try:
                archives.read_idx(path, sha256)
            except ValueError:
                if not found:
                    path.unlink()
                raise
    elif importlib.util.find_spec("tensorflow") is not None:
        _by_tfds(name, root)
    else:
        archive = archives.ARCHIVES[name]
        fetch(archive.url, root / archive.file, archive.sha256)


def _by_tfds(name: str, root: pathlib.Path) -> None:
    import tensorflow_datasets as tfds

    try:
        builder = tfds.builder(name, data_dir=str(root), file_format="array_record")
        console.print(f"{name}: {builder.info.download_size} to download, by TFDS")
        builder.download_and_prepare()
        console.print(f"{name}: {builder.info.dataset_size} in {builder.data_dir}")
    except Exception as error:  # the downloader and TensorFlow raise many types
        reason = (str(error).strip() or repr(error)).splitlines()[0]
        raise ValueError(f"data set {name}: TFDS cannot prepare it: {reason}") from None


def fetch(url: str, path: pathlib.Path, sha256: str | None = None) -> None:
    """Downloads a file under a temporary name, verifies it, then renames it."""
    if path.exists():
        console.print(f"{path}: there already")
        return
    temporary = path.with_name(f".{path.name}.part")
    digest, done = hashlib.sha256(), 0
    with urllib.request.urlopen(url, timeout=60) as response, open(temporary, "wb") as file:
        total = int(response.headers.get("Content-Length") or 0)
        console.print(f"{url}: {total / 1e6:,.0f} MB")
        with progress_line(total, path.name) as update:
            while chunk := response.read(1 << 20):
                file.write(chunk)
                digest.update(chunk)
                done += len(chunk)
                update(done, path.name)
        file.flush()
        os.fsync(file.fileno())
    if sha256 not in (None, digest.hexdigest()):
        temporary.unlink()
        raise ValueError(f"{url}: expected SHA-256 {sha256}, got {digest.hexdigest()}")
    temporary.rename(path)
