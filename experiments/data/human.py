"""CIFAR-N: labels that people gave to the training images of CIFAR-10 and CIFAR-100.

Jiaheng Wei et al., "Learning with Noisy Labels Revisited: A Study Using Real-World Human
Annotations", ICLR 2022. The files, from the authors' repository, lie in the data directory: the
official `CIFAR-10_human.pt` or `.npy`, or its arrays as `cifar10_n_labels.npz`.
"""

import io
import pathlib
import pickle
import zipfile

import numpy as np

FILES = {
    "cifar10n": ("cifar10_n_labels.npz", "CIFAR-10_human.pt", "CIFAR-10_human.npy"),
    "cifar100n": ("cifar100_n_labels.npz", "CIFAR-100_human.pt", "CIFAR-100_human.npy"),
}
# Our name of each set of labels, and the official file's.
VARIANTS = {
    "cifar10n": {
        "aggre": "aggre_label", "random1": "random_label1", "random2": "random_label2",
        "random3": "random_label3", "worse": "worse_label",
    },
    "cifar100n": {"noisy": "noisy_label"},
}  # fmt: skip

# All that a pickle of NumPy arrays names, in NumPy 1 and 2. Anything else is refused by name
# before it is called, so that a file can give arrays and do nothing.
_ADMITTED = {
    ("numpy", "dtype"), ("numpy", "ndarray"), ("_codecs", "encode"),
    ("numpy.core.multiarray", "_reconstruct"), ("numpy._core.multiarray", "_reconstruct"),
    ("numpy.core.multiarray", "scalar"), ("numpy._core.multiarray", "scalar"),
}  # fmt: skip
_TORCH_MAGIC = 0x1950A86A20F9469CFC6C


class _ArraysOnly(pickle.Unpickler):
    def find_class(self, module, name):
        if (module, name) not in _ADMITTED:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which label files do not need")
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


def _unpickle(path: pathlib.Path):
    content = path.read_bytes()
    if content.startswith(b"PK"):  # torch.save since 1.6
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
        return _ArraysOnly(stream).load().item()
    value = _ArraysOnly(stream).load()
    if value == _TORCH_MAGIC:  # torch.save before 1.6: protocol and system come first
        for _ in range(3):
            value = _ArraysOnly(stream).load()
    return value


def find(name: str, roots: list[pathlib.Path]) -> pathlib.Path:
    for file in FILES[name]:
        for root in roots:
            if (root / file).is_file():
                return root / file
    raise ValueError(
        f"data set {name}: expected one of {', '.join(FILES[name])} in {roots[0]}; the files are in"
        " the repository UCSC-REAL/cifar-10-100n on GitHub, under data"
    )


def read(path: pathlib.Path, name: str, variant: str) -> tuple[np.ndarray, np.ndarray]:
    """Clean labels and those of `variant`, as the file has them."""
    official = VARIANTS[name]
    try:
        if path.suffix == ".npz":
            with open(path, "rb") as file, np.load(file, allow_pickle=False) as content:
                clean, human = content["clean"], content[variant]
        else:
            content = _unpickle(path)
            clean, human = content["clean_label"], content[official[variant]]
        arrays = np.asarray(clean), np.asarray(human)
        if any(array.ndim != 1 or array.dtype.kind not in "iu" for array in arrays):
            raise ValueError("its labels are not rows of integers")
        return arrays
    except Exception as error:  # whatever pickle, zipfile and NumPy make of a foreign file
        raise ValueError(f"{path}: not the label file of {name}: {error}") from None


def checked(path: pathlib.Path, name: str, variant: str, clean_labels: np.ndarray) -> np.ndarray:
    """The labels of `variant`, whose file's clean labels must be the data set's, one by one."""
    clean, human = read(path, name, variant)
    if len(human) != len(clean_labels) or not np.array_equal(clean, clean_labels):
        raise ValueError(
            f"{path}: its clean labels are not those of the images, index by index: TFDS and the"
            " official python files order the images differently, and this needs the latter's"
        )
    return human
