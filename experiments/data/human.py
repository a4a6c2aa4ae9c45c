"""CIFAR-N: human labels for the training images of CIFAR-10 and CIFAR-100.

Jiaheng Wei et al., "Learning with Noisy Labels Revisited: A Study Using Real-World Human
Annotations", ICLR 2022. The label files come from the authors' repository and belong in the data
directory: `CIFAR-10_human.pt` or `.npy`, or the same arrays as `cifar10_n_labels.npz`.
"""

import io
import pathlib
import zipfile

import numpy as np

from experiments.data import pickled
from experiments.data.base import NotThere

FILES = {
    "cifar10n": ("cifar10_n_labels.npz", "CIFAR-10_human.pt", "CIFAR-10_human.npy"),
    "cifar100n": ("cifar100_n_labels.npz", "CIFAR-100_human.pt", "CIFAR-100_human.npy"),
}
# Maps our name of each set of labels to its key in the official file.
VARIANTS = {
    "cifar10n": {
        "aggre": "aggre_label", "random1": "random_label1", "random2": "random_label2",
        "random3": "random_label3", "worse": "worse_label",
    },
    "cifar100n": {"noisy": "noisy_label"},
}  # fmt: skip

_TORCH_MAGIC = 0x1950A86A20F9469CFC6C


def _read(path: pathlib.Path) -> bytes:
    with open(path, "rb") as file:
        content = file.read(pickled.MOST_BYTES + 1)
    if len(content) > pickled.MOST_BYTES:
        raise ValueError(f"it has more than {pickled.MOST_BYTES} bytes")
    return content


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    with archive.open(name) as file:
        content = file.read(pickled.MOST_BYTES + 1)
    if len(content) > pickled.MOST_BYTES:  # packed, it may be far smaller
        raise ValueError(f"its {name} has more than {pickled.MOST_BYTES} bytes")
    return content


def _unpickled(content: bytes) -> dict:
    """Returns the dictionary of a .pt or .npy file."""
    stream = io.BytesIO(content)
    if content.startswith(b"PK"):  # written by torch.save since 1.6
        with zipfile.ZipFile(stream) as archive:
            (name,) = (n for n in archive.namelist() if n.endswith("/data.pkl"))
            value = pickled.load(io.BytesIO(_member(archive, name)))
    elif content.startswith(b"\x93NUMPY"):
        version = np.lib.format.read_magic(stream)
        read = {(1, 0): np.lib.format.read_array_header_1_0}.get(
            version, np.lib.format.read_array_header_2_0
        )
        read(stream)
        value = pickled.contents(pickled.load(stream))
    else:
        value = pickled.load(stream)
        if isinstance(value, int) and value == _TORCH_MAGIC:
            for _ in range(3):  # torch.save before 1.6 writes protocol and system info first
                value = pickled.load(stream)
    if not isinstance(value, dict):
        raise ValueError(f"it holds {type(value).__name__}, not a dictionary")
    return value


def _arrays(content: bytes, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Returns those of the named arrays that an npz file has, and reads no other."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        found = [name for name in names if f"{name}.npy" in archive.namelist()]
        members = {name: _member(archive, f"{name}.npy") for name in found}
    return {name: np.load(io.BytesIO(of), allow_pickle=False) for name, of in members.items()}


def find(name: str, roots: list[pathlib.Path]) -> pathlib.Path:
    for file in FILES[name]:
        for root in roots:
            if (root / file).is_file():
                return root / file
    raise NotThere(
        f"data set {name}: expected one of {', '.join(FILES[name])} in {roots[0]}; the files are in"
        " the repository UCSC-REAL/cifar-10-100n on GitHub, under data"
    )


def read_labels(path: pathlib.Path, name: str, variant: str) -> tuple[np.ndarray, np.ndarray]:
    """Reads the clean labels and the labels of `variant` from the file."""
    own, official = ("clean", variant), ("clean_label", VARIANTS[name][variant])
    try:
        content: dict = {}
        if path.suffix == ".npz":
            content, keys = _arrays(_read(path), own), own
        else:
            content, keys = _unpickled(_read(path)), official
        if lacking := [key for key in keys if key not in content]:
            raise ValueError(f"it has no {' and no '.join(lacking)}")
        clean, human = (content[key] for key in keys)
        if path.suffix != ".npz":
            clean, human = pickled.labels(clean), pickled.labels(human)
        if any(array.ndim != 1 or array.dtype.kind not in "iu" for array in (clean, human)):
            raise ValueError("its labels are not rows of integers")
        return clean, human
    except Exception as error:  # zipfile, NumPy and torn pickles raise many types
        said = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{path}: not the label file of {name}: {said}") from None


def checked(path: pathlib.Path, name: str, variant: str, clean_labels: np.ndarray) -> np.ndarray:
    """Returns the labels of `variant`; the file's clean labels must equal the data set's."""
    clean, human = read_labels(path, name, variant)
    if len(human) != len(clean_labels) or not np.array_equal(clean, clean_labels):
        raise ValueError(
            f"{path}: its clean labels are not those of the images, index by index: TFDS and the"
            " official python files order the images differently, and this needs the latter's"
        )
    return human
