"""CIFAR-N: human labels for the training images of CIFAR-10 and CIFAR-100.

Jiaheng Wei et al., "Learning with Noisy Labels Revisited: A Study Using Real-World Human
Annotations", ICLR 2022. The label files come from the authors' repository and belong in the data
directory: `CIFAR-10_human.pt` or `.npy`, or the same arrays as `cifar10_n_labels.npz`.
"""

import io
import pathlib
import pickle
import zipfile

import numpy as np

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


class _Dtype:
    """Replaces numpy.dtype while a file is read: it only stores the name and the byte order."""

    def __init__(self, name, *unused):
        self.name = str(name)

    def __setstate__(self, state):
        self.order = str(state[1])

    def numpy(self) -> np.dtype:
        if self.name not in ("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"):
            raise ValueError(f"its labels are of type {self.name}, not integers")
        return np.dtype((">" if getattr(self, "order", "<") == ">" else "<") + self.name)


class _Array:
    """Replaces numpy.ndarray while a file is read: it only stores the array's pickled state."""

    def __init__(self, *unused):
        self.state: tuple = ()

    def __setstate__(self, state):
        self.state = state

    def labels(self) -> np.ndarray:
        _, shape, dtype, _, content = self.state
        array = np.frombuffer(bytes(content), dtype.numpy())
        if shape != (len(array),):
            raise ValueError(f"its labels are of shape {shape}")
        return array


def _encode(text, encoding="latin1"):
    return str(text).encode("latin1")


# Every global that a pickle of NumPy arrays refers to (NumPy 1 and 2), and our replacement. Any
# other name is refused before it is called, and no real array is built from forged parts.
_ADMITTED = {
    ("numpy", "dtype"): _Dtype, ("numpy", "ndarray"): _Array, ("_codecs", "encode"): _encode,
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy._core.multiarray", "_reconstruct"): _Array,
}  # fmt: skip


class _ArraysOnly(pickle.Unpickler):
    def find_class(self, module, name):
        if (module, name) not in _ADMITTED:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which label files do not need")
        return _ADMITTED[module, name]


def _unpickle(path: pathlib.Path):
    content = path.read_bytes()
    if content.startswith(b"PK"):  # written by torch.save since 1.6
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            (name,) = (n for n in archive.namelist() if n.endswith("/data.pkl"))
            return _ArraysOnly(io.BytesIO(archive.read(name))).load()
    stream = io.BytesIO(content)
    if content.startswith(b"\x93NUMPY"):
        version = np.lib.format.read_magic(stream)
        read = {(1, 0): np.lib.format.read_array_header_1_0}.get(
            version, np.lib.format.read_array_header_2_0
        )
        read(stream)
        (content,) = _ArraysOnly(stream).load().state[4]  # the array holds a single object
        return content
    value = _ArraysOnly(stream).load()
    if value == _TORCH_MAGIC:  # torch.save before 1.6 writes protocol and system info first
        for _ in range(3):
            value = _ArraysOnly(stream).load()
    return value


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
    official = VARIANTS[name]
    try:
        if path.suffix == ".npz":
            with open(path, "rb") as file, np.load(file, allow_pickle=False) as content:
                clean, human = content["clean"], content[variant]
        else:
            content = _unpickle(path)
            clean, human = (content[key].labels() for key in ("clean_label", official[variant]))
        arrays = clean, human
        if any(array.ndim != 1 or array.dtype.kind not in "iu" for array in arrays):
            raise ValueError("its labels are not rows of integers")
        return arrays
    except Exception as error:  # pickle, zipfile and NumPy raise many types
        raise ValueError(f"{path}: not the label file of {name}: {error}") from None


def checked(path: pathlib.Path, name: str, variant: str, clean_labels: np.ndarray) -> np.ndarray:
    """Returns the labels of `variant`; the file's clean labels must equal the data set's."""
    clean, human = read_labels(path, name, variant)
    if len(human) != len(clean_labels) or not np.array_equal(clean, clean_labels):
        raise ValueError(
            f"{path}: its clean labels are not those of the images, index by index: TFDS and the"
            " official python files order the images differently, and this needs the latter's"
        )
    return human
