"""Small files in the official formats are read completely, or refused without caching anything."""

import gzip
import hashlib
import io
import json
import tarfile

import numpy as np
import pytest
from PIL import Image

from experiments import cache, data
from experiments.data import archives, sources
from superloss_jax import noise

RECORDS = 100  # in each file, instead of 10,000 or 50,000


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def nothing_cached():
    return not cache.folder().exists() or not list(cache.folder().iterdir())


def contents(name, labels=None):
    """Returns the members of a binary archive, and the images and labels of its training files."""
    archive = archives.ARCHIVES[name]
    rng = np.random.default_rng(0)
    # For CIFAR-100, each cycle of its flips gets an arbitrary coarse label.
    leaders = sorted({min(cycle(i)) for i in range(100)})
    superclass = np.array([leaders.index(min(cycle(i))) for i in range(100)], np.uint8)
    members, images, given = {}, [], []
    for file in (*archive.train, archive.test):
        pixels = rng.integers(0, 256, (RECORDS, 3, 32, 32), np.uint8)
        fine = (np.arange(RECORDS) * 7 % archive.num_classes).astype(np.uint8)
        if labels is not None:
            fine = labels(fine)
        columns = [fine[:, None], pixels.reshape(RECORDS, -1)]
        if archive.label_bytes == 2:
            columns.insert(0, superclass[fine][:, None])
        members[f"{archive.folder}/{file}"] = np.concatenate(columns, axis=1).tobytes()
        images.append(pixels.transpose(0, 2, 3, 1))
        given.append(fine)
    names = "".join(f"class{i}\n" for i in range(archive.num_classes)) + "\n"
    members[f"{archive.folder}/{archive.names}"] = names.encode()
    return members, np.concatenate(images[:-1]), np.concatenate(given[:-1])


def cycle(start):
    path = [start]
    while noise.CIFAR100_FLIPS[path[-1]] != start:
        path.append(noise.CIFAR100_FLIPS[path[-1]])
    return path


def write_archive(folder, name, members, monkeypatch, links=()):
    """Writes an archive, and sets the expected hash and counts to its own."""
    archive = archives.ARCHIVES[name]
    path = folder / archive.file
    with tarfile.open(path, "w:gz") as tar:
        for member, content in members.items():
            info = tarfile.TarInfo(member)
            info.size = len(content)
            if member in links:
                info.type, info.linkname, info.size = tarfile.SYMTYPE, "/etc/passwd", 0
            tar.addfile(info, io.BytesIO(content))
    changed = archive._replace(
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(), records=RECORDS, test_records=RECORDS
    )
    monkeypatch.setitem(archives.ARCHIVES, name, changed)
    return path


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_binary_archives(tmp_path, name, monkeypatch):
    members, images, labels = contents(name)
    write_archive(tmp_path, name, members, monkeypatch)
    for _ in range(2):  # decoded, then from the cache
        dataset = data.load(name, data_dir=str(tmp_path))
        np.testing.assert_array_equal(dataset.train.inputs, images)
        np.testing.assert_array_equal(dataset.train.targets, labels)
        assert dataset.class_names[-1] == f"class{len(dataset.class_names) - 1}"
    assert len(list(cache.folder().iterdir())) == 1
    # Intact, but not the official file.
    archive = archives.ARCHIVES[name]
    monkeypatch.setitem(archives.ARCHIVES, name, archive._replace(sha256="0" * 64))
    with pytest.raises(ValueError, match=r"expected SHA-256 0{64}, got [0-9a-f]{64}: "):
        archives.read_archive(tmp_path / archive.file, archives.ARCHIVES[name])


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("hash", "expected SHA-256 .* truncated, altered, or not the official file"),
        ("truncated", "not a whole archive"),
        ("label", "expected labels below 10, got 10"),
        ("parent", r"unexpected member 'cifar-10-batches-bin/\.\./\.\./evil'"),
        ("absolute", "unexpected member '/etc/evil'"),
        ("link", "is not a plain file"),
        ("missing", r"members are missing: data_batch_3\.bin"),
        ("short", r"data_batch_3\.bin: expected 307300 bytes, got 307299"),
        ("names", "expected 10 names, got 0"),
    ],
)
def test_bad_archives(tmp_path, fault, message, monkeypatch):
    folder = "cifar-10-batches-bin"
    members, *_ = contents(
        "cifar10", (lambda fine: fine + (fine == 9)) if fault == "label" else None
    )
    third = f"{folder}/data_batch_3.bin"
    if fault == "missing":
        del members[third]
    elif fault == "short":
        members[third] = members[third][:-1]
    elif fault == "names":
        members[f"{folder}/batches.meta.txt"] = b""
    elif fault in ("parent", "absolute"):
        members["/etc/evil" if fault == "absolute" else f"{folder}/../../evil"] = b"evil"
    links = [third] if fault == "link" else []
    path = write_archive(tmp_path, "cifar10", members, monkeypatch, links)
    if fault in ("hash", "truncated"):
        path.write_bytes(path.read_bytes()[:100_000])
    if fault == "truncated":  # let it pass the hash check
        changed = archives.ARCHIVES["cifar10"]._replace(
            sha256=hashlib.sha256(path.read_bytes()).hexdigest()
        )
        monkeypatch.setitem(archives.ARCHIVES, "cifar10", changed)
    with pytest.raises(ValueError, match=message) as error:
        data.load("cifar10", data_dir=str(tmp_path))
    assert "\n" not in str(error.value)
    assert nothing_cached()
    assert not (tmp_path.parent / "evil").exists()


def test_coarse_labels_must_be_cifar100_s(tmp_path, monkeypatch):
    members, *_ = contents("cifar100")
    train = bytearray(members["cifar-100-binary/train.bin"])
    train[0] ^= 1
    members["cifar-100-binary/train.bin"] = bytes(train)
    write_archive(tmp_path, "cifar100", members, monkeypatch)
    with pytest.raises(ValueError, match="fine and coarse labels that are not CIFAR-100's"):
        data.load("cifar100", data_dir=str(tmp_path))
    assert nothing_cached()


def test_pickled_archives_are_refused(tmp_path):
    (tmp_path / "cifar-10-python.tar.gz").write_bytes(b"")
    with pytest.raises(ValueError, match=r"pickled archives are refused, .* get .*-binary.tar.gz"):
        data.load("cifar10", data_dir=str(tmp_path))


def test_fashion_mnist_files(tmp_path, monkeypatch):
    expected, hashes = [], {}
    rng = np.random.default_rng(0)
    for file in archives.FASHION_MNIST:
        shape = (20, 28, 28) if "images" in file else (20,)
        values = rng.integers(0, 10, shape, np.uint8)
        header = bytes([0, 0, 8, len(shape)]) + b"".join(n.to_bytes(4, "big") for n in shape)
        content = header + values.tobytes()
        (tmp_path / f"{file}.gz").write_bytes(gzip.compress(content))
        hashes[file] = hashlib.sha256(content).hexdigest()
        expected.append(values)
    with pytest.raises(ValueError, match=r"expected SHA-256 .* when decompressed, got"):
        data.load("fashion_mnist", data_dir=str(tmp_path))
    assert nothing_cached()
    for file, sha256 in hashes.items():
        monkeypatch.setitem(archives.FASHION_MNIST, file, sha256)
    dataset = data.load("fashion_mnist", data_dir=str(tmp_path))
    np.testing.assert_array_equal(dataset.train.inputs[..., 0], expected[0])
    np.testing.assert_array_equal(dataset.test.targets, expected[3])
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match="not a whole gzip file"):
        data.load("fashion_mnist", data_dir=str(tmp_path))


def test_a_missing_data_set_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setattr(sources.importlib.util, "find_spec", lambda name: None)
    for name, file in (("cifar10", "cifar-10-binary.tar.gz"), ("cifar100", "cifar-100-binary")):
        with pytest.raises(
            ValueError, match=f"{file}.*--data_dir there, or run: python scripts/prep"
        ):
            data.load(name, data_dir=str(tmp_path))
    monkeypatch.setattr(sources, "FASHION_MNIST_FOLDERS", ("",))
    with pytest.raises(ValueError, match="expected its IDX files in "):
        data.load("fashion_mnist", data_dir=str(tmp_path))
    with pytest.raises(ValueError, match=r"cifar10n: expected one of cifar10_n_labels\.npz"):
        data.load("cifar10n", variant="worse", data_dir=str(tmp_path))


# --- TFDS directories. ----------------------------------------------------------------------------


def test_a_tfds_directory_of_cifar100(tmp_path, monkeypatch):
    """TFDS writes it in its own shuffled order, with fine and coarse labels."""
    cifar = pytest.importorskip("tensorflow_datasets.image_classification.cifar")
    members, images, labels = contents("cifar100")

    def png(pixels):
        stream = io.BytesIO()
        Image.fromarray(pixels.reshape(3, 32, 32).transpose(1, 2, 0)).save(stream, "PNG")
        stream.seek(0)
        return stream

    class Small(cifar.Cifar100, skip_registration=True):
        name = "cifar100"

        def _split_generators(self, dl_manager):
            return {split: self._generate_examples(split) for split in ("train", "test")}

        def _generate_examples(self, split):
            table = np.frombuffer(members[f"cifar-100-binary/{split}.bin"], np.uint8)
            for i, row in enumerate(table.reshape(RECORDS, -1)):
                yield i, {
                    "id": f"{split}_{i:05d}", "image": png(row[2:]), "coarse_label": int(row[0]),
                    "label": int(row[1]),
                }  # fmt: skip

    Small(data_dir=str(tmp_path), file_format="array_record").download_and_prepare()
    monkeypatch.setattr(sources, "COUNTS", {"train": RECORDS, "test": RECORDS})
    dataset = data.load("cifar100", data_dir=str(tmp_path))
    np.testing.assert_array_equal(dataset.train.inputs, images)
    np.testing.assert_array_equal(dataset.train.targets, labels)
    human_labels = (labels + 1) % 100
    np.savez(tmp_path / "cifar100_n_labels.npz", clean=labels, noisy=human_labels)
    dataset = data.load("cifar100n", variant="noisy", data_dir=str(tmp_path))
    np.testing.assert_array_equal(dataset.train.targets, human_labels)
    np.testing.assert_array_equal(dataset.train.clean_targets, labels)
    # A missing record or a repeated index is detected.
    monkeypatch.setattr(sources, "COUNTS", {"train": RECORDS + 1, "test": RECORDS})
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another"))
    with pytest.raises(ValueError, match="train: expected 101 records, got 100"):
        data.load("cifar100", data_dir=str(tmp_path))
    assert nothing_cached()


def test_a_broken_tfds_directory(tmp_path):
    broken = tmp_path / "cifar10" / "3.0.2"
    broken.mkdir(parents=True)
    (broken / "dataset_info.json").write_text("{")
    with pytest.raises(ValueError, match=r"data set cifar10: cannot read .*3\.0\.2: "):
        data.load("cifar10", data_dir=str(tmp_path))


def test_a_tfds_directory_that_names_a_program_of_its_own(tmp_path, monkeypatch):
    """It must be refused, because TFDS would import the class that it names."""
    folder = tmp_path / "cifar10" / "3.0.2"
    folder.mkdir(parents=True)
    (folder / "dataset_info.json").write_text("{}")
    (tmp_path / "evil_program.py").write_text(f"open({str(tmp_path / 'written')!r}, 'w')")
    monkeypatch.syspath_prepend(str(tmp_path))
    features = {"pythonClassName": "evil_program.Features", "featuresDict": {}}
    (folder / "features.json").write_text(json.dumps(features))
    with pytest.raises(ValueError, match=r"features.json names 'evil_program\.Features'"):
        data.load("cifar10", data_dir=str(tmp_path))
    assert not (tmp_path / "written").exists()
