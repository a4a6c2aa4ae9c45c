"""Files of human labels: forged, malicious, in another order, or no such files."""

import io
import pathlib
import pickle
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


@pytest.mark.parametrize("content", [b"", b"PK\3\4", b"\x93NUMPY", b"text", b"\x80\x02}."])
def test_files_that_are_no_label_files(tmp_path, content):
    path = tmp_path / "CIFAR-10_human.pt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="not the label file of cifar10n") as error:
        human.read_labels(path, "cifar10n", "worse")
    assert "\n" not in str(error.value)
