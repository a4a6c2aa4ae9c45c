"""Reads the official archives: checks their SHA-256, then streams them without extracting files."""

import gzip
import hashlib
import pathlib
import tarfile
import zlib
from typing import IO, NamedTuple

import numpy as np

from superloss_jax import noise

Arrays = dict[str, np.ndarray]


class Archive(NamedTuple):
    file: str
    url: str
    sha256: str
    folder: str
    train: tuple[str, ...]
    test: str
    names: str
    records: int  # in each training file
    test_records: int
    label_bytes: int  # before each image; the last one is the (fine) label
    num_classes: int


ARCHIVES = {
    "cifar10": Archive(
        file="cifar-10-binary.tar.gz",
        url="https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
        sha256="c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
        folder="cifar-10-batches-bin",
        train=tuple(f"data_batch_{i}.bin" for i in range(1, 6)),
        test="test_batch.bin",
        names="batches.meta.txt",
        records=10_000,
        test_records=10_000,
        label_bytes=1,
        num_classes=10,
    ),
    "cifar100": Archive(
        file="cifar-100-binary.tar.gz",
        url="https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
        sha256="58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
        folder="cifar-100-binary",
        train=("train.bin",),
        test="test.bin",
        names="fine_label_names.txt",
        records=50_000,
        test_records=10_000,
        label_bytes=2,
        num_classes=100,
    ),
}

# Hashes of the decompressed files, because Debian's package compresses them again.
FASHION_MNIST = {
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}
FASHION_MNIST_NAMES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag",
    "Ankle boot",
)  # fmt: skip


def read_archive(path: pathlib.Path, archive: Archive) -> Arrays:
    """Reads images, labels and class names of a binary CIFAR archive, in the official order."""
    with open(path, "rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != archive.sha256:
            raise ValueError(
                f"{path}: expected SHA-256 {archive.sha256}, got {found}: truncated, altered, or"
                " not the official file"
            )
        file.seek(0)
        try:
            members = _members(path, file, archive)
        except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
            raise ValueError(f"{path}: not a whole archive: {error}") from None
    class_names = members[archive.names].decode("ascii").split()
    if len(class_names) != archive.num_classes:
        raise ValueError(f"{path}: expected {archive.num_classes} names, got {len(class_names)}")
    parts = [_records(path, archive, name, members[name]) for name in archive.train]
    images, labels = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    test_images, test_labels = _records(path, archive, archive.test, members[archive.test])
    return {
        "train_images": images, "train_labels": labels, "test_images": test_images,
        "test_labels": test_labels, "class_names": np.array(class_names),
    }  # fmt: skip


def _members(path, file: IO[bytes], archive: Archive) -> dict[str, bytes]:
    wanted = {f"{archive.folder}/{name}": name for name in (*archive.train, archive.test)}
    wanted[f"{archive.folder}/{archive.names}"] = archive.names
    members: dict[str, bytes] = {}
    with tarfile.open(fileobj=file, mode="r:gz") as tar:
        for member in tar:
            pure = pathlib.PurePosixPath(member.name)
            if pure.is_absolute() or ".." in pure.parts or pure.parts[:1] != (archive.folder,):
                raise ValueError(f"{path}: unexpected member {member.name!r}")
            if str(pure) in wanted:
                stream = tar.extractfile(member) if member.isreg() else None
                if stream is None:
                    raise ValueError(f"{path}: member {member.name!r} is not a plain file")
                members[wanted[str(pure)]] = stream.read()
    missing = set(wanted.values()) - set(members)
    if missing:
        raise ValueError(f"{path}: members are missing: {', '.join(sorted(missing))}")
    return members


def _records(path, archive: Archive, name: str, content: bytes) -> tuple[np.ndarray, np.ndarray]:
    size = archive.label_bytes + 3072
    count = archive.test_records if name == archive.test else archive.records
    if len(content) != count * size:
        raise ValueError(f"{path}: {name}: expected {count * size} bytes, got {len(content)}")
    table = np.frombuffer(content, np.uint8).reshape(count, size)
    labels = table[:, archive.label_bytes - 1].astype(np.int32)
    if labels.max() >= archive.num_classes:
        raise ValueError(
            f"{path}: {name}: expected labels below {archive.num_classes}, got {labels.max()}"
        )
    if archive.label_bytes == 2:
        check_superclasses(f"{path}: {name}", labels, table[:, 0])
    planes = table[:, archive.label_bytes :].reshape(count, 3, 32, 32)
    return np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), labels


def check_superclasses(what: str, labels: np.ndarray, coarse: np.ndarray) -> None:
    """Checks that CIFAR-100's asymmetric flips stay within the data set's own superclasses."""
    superclass = np.full(100, -1)
    superclass[labels] = coarse
    classes = set(labels.tolist())
    present = [(i, j) for i, j in noise.CIFAR100_FLIPS.items() if {i, j} <= classes]
    whole = np.array_equal(superclass[labels], coarse)
    if not whole or any(superclass[i] != superclass[j] for i, j in present):
        raise ValueError(f"{what}: fine and coarse labels that are not CIFAR-100's")


def read_fashion_mnist(files: list[pathlib.Path]) -> Arrays:
    """Reads the four gzipped IDX files, given in the order of FASHION_MNIST."""
    contents = [read_idx(path, FASHION_MNIST[path.name.removesuffix(".gz")]) for path in files]
    images, labels, test_images, test_labels = contents
    return {
        "train_images": images[..., None], "train_labels": labels.astype(np.int32),
        "test_images": test_images[..., None], "test_labels": test_labels.astype(np.int32),
        "class_names": np.array(FASHION_MNIST_NAMES),
    }  # fmt: skip


def read_idx(path: pathlib.Path, sha256: str) -> np.ndarray:
    """Reads an IDX file of bytes: a magic number whose last byte is the rank, the shape, values."""
    try:
        with gzip.open(path) as file:
            content = file.read(100_000_000)  # twice the largest file: guards against zip bombs
    except (zlib.error, EOFError, OSError) as error:
        raise ValueError(f"{path}: not a whole gzip file: {error}") from None
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise ValueError(f"{path}: expected SHA-256 {sha256} when decompressed, got {found}")
    rank = content[3]
    shape = np.frombuffer(content, ">u4", rank, offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * rank).reshape(shape)
