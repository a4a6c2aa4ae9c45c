"""Files of human labels: forged, malicious, in another order, or no such files."""

import io
import pathlib
import pickle
import tracemalloc
import zipfile

import numpy as np
import pytest

from experiments import data
from experiments.data import human
from tests.program.test_data import toy


class Forged:
    """An integer array with a forged object dtype, which NumPy would treat as pointers."""

    def __init__(self, name, shape, content):
        self.parts = name, shape, content

    def __reduce__(self):
        name, shape, content = self.parts
        state = (1, shape, np.dtype(name), False, content)
        return np.ndarray, ((0,), "b"), state


@pytest.mark.parametrize(
    "array",
    [Forged("O", (200,), bytes(1600)), Forged("f8", (200,), bytes(1600)),
     Forged("i8", (10, 20), bytes(1600)), Forged("i8", (200,), bytes(100))],
)  # fmt: skip
def test_forged_arrays_are_refused(tmp_path, array):
    path = tmp_path / "CIFAR-10_human.pt"
    torch_file(path, pickle.dumps({"clean_label": np.arange(200), "worse_label": array}, 2))
    with pytest.raises(ValueError, match="not the label file of cifar10n: "):
        human.read_labels(path, "cifar10n", "worse")


class Evil:
    """Simulates a malicious file, which writes another file while it is read."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return pathlib.Path.write_text, (self.path, "written")


def torch_file(path, content: bytes):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", content)


@pytest.mark.parametrize("form", ["zip", "legacy", "npy"])
def test_a_malicious_pickle_does_nothing(tmp_path, form, monkeypatch):
    monkeypatch.setitem(data.DATASETS, "cifar10", lambda **unused: toy(200))
    target = tmp_path / "written.txt"
    content = {"clean_label": np.arange(200) % 10, "worse_label": Evil(target)}
    path = tmp_path / f"CIFAR-10_human.{'npy' if form == 'npy' else 'pt'}"
    if form == "npy":
        np.save(path, np.array(content, object))
        assert not target.exists()
        np.load(path, allow_pickle=True)  # shows that the file is really malicious
    elif form == "zip":
        torch_file(path, pickle.dumps(content, protocol=2))
        pickle.loads(zipfile.ZipFile(path).read("archive/data.pkl"))
    else:
        parts = (human._TORCH_MAGIC, 1001, {"little_endian": True}, content, [])
        path.write_bytes(b"".join(pickle.dumps(part, protocol=2) for part in parts))
        stream = io.BytesIO(path.read_bytes())
        for _ in parts:
            pickle.load(stream)
    assert target.exists()
    target.unlink()
    with pytest.raises(ValueError, match=r"it names .*, which label files do not need") as error:
        data.load("cifar10n", variant="worse", data_dir=str(tmp_path))
    assert "\n" not in str(error.value)
    assert not target.exists()


def test_legacy_torch_files(tmp_path):
    content = {"clean_label": np.arange(9), "worse_label": np.arange(9)[::-1].copy()}
    parts = (human._TORCH_MAGIC, 1001, {"little_endian": True}, content, [])
    path = tmp_path / "CIFAR-10_human.pt"
    path.write_bytes(b"".join(pickle.dumps(part, protocol=2) for part in parts))
    clean, worse = human.read_labels(path, "cifar10n", "worse")
    np.testing.assert_array_equal(clean, worse[::-1])


def test_labels_in_another_order_are_refused(tmp_path, monkeypatch):
    monkeypatch.setitem(data.DATASETS, "cifar10", lambda **unused: toy(200))
    clean = np.arange(200) % 10
    order = np.random.default_rng(0).permutation(200)
    for shuffled in (clean[order], clean[:-10]):
        np.savez(tmp_path / "cifar10_n_labels.npz", clean=shuffled, worse=shuffled)
        with pytest.raises(ValueError, match="TFDS and the official python files order the images"):
            data.load("cifar10n", variant="worse", data_dir=str(tmp_path))


# Each holds the one before twice: few bytes, but 2^40 paths.
LISTS = b"]q\0" + b"".join(
    b"]q" + bytes([i + 1]) + b"(h" + bytes([i]) + b"h" + bytes([i]) + b"e" for i in range(40)
)
TUPLES = b")" + b"".join(b"q" + bytes([i]) + b"h" + bytes([i]) + b"\x86" for i in range(40))
ENCODE = b"c_codecs\nencode\n"
LONG = b"X" + (10**6).to_bytes(4, "little") + b"a" * 10**6
BOMBS = {
    "encode lists": (ENCODE + b"(" + LISTS + b"tR.", "it holds Record, not a dictionary"),
    "tuples as a key": (b"}" + TUPLES + b"K\1s.", "it has tuple where a short text belongs"),
    "tuples as a name": (TUPLES + TUPLES + b"\x93.", "it has tuple where a short text belongs"),
    "memo": (b"Nr" + (2**30).to_bytes(4, "little") + b".", "it holds NoneType"),
    "buffer": (b"\x96" + (2**32).to_bytes(8, "little") + b".", "not the label file"),
    "copies": (
        LONG + b"q\0" + ENCODE + b"q\1" + b"h\1h\0\x85R" * 50_000 + b".",
        "it holds Record, not a dictionary",
    ),
    "state of a function": (ENCODE + b"}X\1\0\0\0aK\1sb.", "it applies BUILD to Name and dict"),
    "attributes": (b"(cnumpy\ndtype\nN}K\1K\1s\x86b.", "int where a short text belongs"),
    "steps": (b"N" * 500_001 + b".", "it has more than 500000 steps"),
    "bytes": (bytes(2**24 + 1), "it has more than 16777216 bytes"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_small_files_take_little_memory_and_no_attribute_is_set(tmp_path, name):
    content, message = BOMBS[name]
    path = tmp_path / "CIFAR-10_human.pt"
    path.write_bytes(content if name == "bytes" else b"\x80\2" + content)
    tracemalloc.start()
    with pytest.raises(ValueError, match=message):
        human.read_labels(path, "cifar10n", "worse")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100e6


@pytest.mark.parametrize("name", ["CIFAR-10_human.pt", "cifar10_n_labels.npz"])
def test_what_is_packed_is_bounded(tmp_path, name):
    with zipfile.ZipFile(tmp_path / name, "w", zipfile.ZIP_DEFLATED) as archive:
        for member in ("archive/data.pkl", "clean.npy", "worse.npy"):
            archive.writestr(member, bytes(2**24 + 1))
    with pytest.raises(ValueError, match="has more than 16777216 bytes"):
        human.read_labels(tmp_path / name, "cifar10n", "worse")


def test_files_with_further_lists(tmp_path):
    """CIFAR-100's file has its coarse labels as lists of numbers."""
    given = np.arange(300) % 100
    content = {"clean_label": given, "noisy_label": given[::-1].copy()}
    content["clean_coarse_label"] = (given // 5).tolist()
    path = tmp_path / "CIFAR-100_human.pt"
    for protocol in (2, 3, 4):
        torch_file(path, pickle.dumps(content, protocol))
        clean, noisy = human.read_labels(path, "cifar100n", "noisy")
        np.testing.assert_array_equal(clean, given)
        np.testing.assert_array_equal(noisy, given[::-1])
    torch_file(path, pickle.dumps({"clean_label": given, "noisy_label": given.tolist()}, 2))
    with pytest.raises(ValueError, match="its labels are no array, but list"):
        human.read_labels(path, "cifar100n", "noisy")
    torch_file(path, pickle.dumps({"clean_label": given}, 2))
    with pytest.raises(ValueError, match="not the label file of cifar100n: it has no noisy_label"):
        human.read_labels(path, "cifar100n", "noisy")


@pytest.mark.parametrize("dtype", ["<i8", ">i8", "<i4", "u1", "<u2"])
def test_every_integer_dtype_of_a_file(tmp_path, dtype):
    given = (np.arange(300) % 10).astype(dtype)
    path = tmp_path / "CIFAR-10_human.npy"
    np.save(path, np.array({"clean_label": given, "worse_label": given}, object))
    np.testing.assert_array_equal(human.read_labels(path, "cifar10n", "worse"), [given, given])


@pytest.mark.parametrize("content", [b"", b"PK\3\4", b"\x93NUMPY", b"text", b"\x80\x02}."])
def test_files_that_are_no_label_files(tmp_path, content):
    path = tmp_path / "CIFAR-10_human.pt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="not the label file of cifar10n") as error:
        human.read_labels(path, "cifar10n", "worse")
    assert "\n" not in str(error.value)
