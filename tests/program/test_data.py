"""Data sets, noise and splits, compared with their known properties."""

import hashlib
import os
import pathlib

import numpy as np
import pytest

from experiments import data
from experiments.data import base, human, labels, sources
from superloss_jax import noise

pytestmark = pytest.mark.x64

DATA_DIR = os.environ.get("SUPERLOSS_DATA_DIR")
needs_cifar10 = pytest.mark.skipif(DATA_DIR is None, reason="needs a prepared CIFAR-10")
FASHION_MNIST = pathlib.Path(sources.FASHION_MNIST_FOLDERS[-1])


def test_digits():
    dataset = data.load("digits", split_seed=0)
    assert dataset.train.inputs.shape == (1297, 8, 8, 1)
    assert dataset.train.inputs.max() == 16
    assert len(dataset.test.targets) == 500
    assert set(dataset.train.targets) == set(range(10))
    both = np.concatenate([dataset.train.inputs, dataset.test.inputs]).reshape(1797, 64)
    from sklearn.datasets import load_digits

    # All 1,797 images occur, and none is in both training and test set.
    np.testing.assert_array_equal(
        np.unique(both, axis=0), np.unique(load_digits().data.astype(np.uint8), axis=0)
    )


@needs_cifar10
def test_cifar10_and_its_human_labels():
    dataset = data.load("cifar10n", variant="worse", data_dir=DATA_DIR)
    np.testing.assert_array_equal(np.bincount(dataset.test.targets), [1000] * 10)
    # The official files start with a frog and two trucks; a cat, two ships and an airplane.
    names = np.array(dataset.class_names)
    assert names[dataset.train.clean_targets[:3]].tolist() == ["frog", "truck", "truck"]
    assert names[dataset.test.targets[:4]].tolist() == ["cat", "ship", "ship", "airplane"]
    np.testing.assert_allclose(base.moments(dataset.train.inputs), sources.MOMENTS["cifar10"], 1e-5)
    assert round(labels.realised_rate(dataset.train), 4) == 0.4021


@pytest.mark.skipif(not FASHION_MNIST.is_dir(), reason="needs Debian's dataset-fashion-mnist")
def test_fashion_mnist(tmp_path):
    dataset = data.load("fashion_mnist", data_dir=str(tmp_path))
    assert dataset.train.inputs.shape == (60_000, 28, 28, 1)
    np.testing.assert_array_equal(np.bincount(dataset.test.targets), [1000] * 10)
    expected = 255 * np.array([[0.2860], [0.3530]])
    np.testing.assert_allclose(base.moments(dataset.train.inputs), expected, atol=0.02)


def test_moments():
    images = np.random.default_rng(0).integers(0, 256, (50, 4, 5, 3), np.uint8)
    mean, std = base.moments(images)
    np.testing.assert_allclose(mean, images.mean((0, 1, 2)))
    np.testing.assert_allclose(std, images.std((0, 1, 2)))


# --- Noise and splits. ----------------------------------------------------------------------------


def toy(count=9000, num_classes=10):
    """Makes images that contain their own index, so that a split can be checked."""
    number = np.arange(count, dtype="<u4")
    images = number.view(np.uint8).reshape(count, 2, 2, 1)
    arrays = {"train_images": images, "train_labels": number % num_classes}
    arrays |= {"test_images": images[:50], "test_labels": number[:50] % num_classes}
    return base.dataset("cifar10", [str(i) for i in range(num_classes)], arrays)


NOISE = {"kind": "symmetric_exclusive", "rate": 0.4, "exact": False, "seed": 0}
SPLIT = {
    "split_seed": 0, "validation": 900, "validation_labels": "noisy", "imbalance": 1.0,
    "imbalance_exact": False,
}  # fmt: skip


@pytest.mark.parametrize("kind", labels.KINDS)
def test_noise_of_the_program(kind):
    dataset = toy()._replace(class_names=("",) * 100) if kind == "asymmetric_blocks" else toy()
    dataset = dataset._replace(name="cifar100" if kind == "asymmetric_blocks" else "cifar10")
    noisy = data.corrupt(dataset, **(NOISE | {"kind": kind})).train
    np.testing.assert_array_equal(noisy.clean_targets, np.arange(9000) % 10)
    share = {"symmetric_inclusive": 0.9, "permuted": 0.9, "asymmetric": 0.5, "given": 0}
    expected = 0.4 * share.get(kind, 1)
    assert abs(data.realised_rate(noisy) - expected) <= 5 * np.sqrt(expected / 9000)
    if kind == "asymmetric":
        flipped = noisy.targets != noisy.clean_targets
        assert set(noisy.targets[flipped & (noisy.clean_targets == 9)]) == {1}
    if kind == "asymmetric_blocks":
        flipped = noisy.targets != noisy.clean_targets
        assert set(noisy.targets[flipped & (noisy.clean_targets == 9)]) == {5}


@pytest.mark.parametrize("kind", labels.KINDS)
def test_at_rate_0_no_label_is_wrong_and_there_is_no_matrix(kind):
    """A matrix of so many classes would fill 74 GiB."""
    dataset = toy()._replace(class_names=("",) * 100_000)
    noisy = data.corrupt(dataset, **(NOISE | {"kind": kind, "rate": 0.0})).train
    np.testing.assert_array_equal(noisy.targets, dataset.train.targets)
    assert data.realised_rate(noisy) == 0
    if kind in (*labels.OF_MATRIX, "instance_dependent"):
        dataset = dataset._replace(name=next(iter(labels.FLIPS.get(kind, ["cifar10"]))))
        with pytest.raises(
            ValueError, match=f"{kind} noise needs a table of the classes, .* got 100000"
        ):
            data.corrupt(dataset, **(NOISE | {"kind": kind}))


def test_flips_of_cifar100_by_name():
    of = {kind: data.noise_matrix("cifar100", kind, 0.4, 100) for kind in labels.FLIPS}
    rows = np.arange(100)
    blocks = 5 * (rows // 5) + (rows % 5 + 1) % 5
    np.testing.assert_allclose(of["asymmetric_blocks"][rows, blocks], 0.4)
    assert (of["asymmetric"][rows, blocks] > 0).sum() < 10
    with pytest.raises(ValueError, match="no published map for cifar10, only for cifar100"):
        labels.check_noise("cifar10", "asymmetric_blocks", 0.4)


def test_noise_is_drawn_before_the_split():
    """An example has the same label for every split."""
    whole = data.corrupt(toy(), **NOISE)
    for changes in ({}, {"split_seed": 1}, {"validation": 0}, {"imbalance": 10.0}):
        parts = data.split(whole, **(SPLIT | changes))
        for part in (parts.train, parts.validation):
            np.testing.assert_array_equal(part.targets, whole.train.targets[part.index])
            np.testing.assert_array_equal(part.inputs, whole.train.inputs[part.index])
        everything = np.concatenate([parts.train.index, parts.validation.index])
        assert len(set(everything)) == len(everything)
        if "imbalance" not in changes:
            assert len(everything) == 9000


def test_a_clean_validation_reads_the_clean_labels_of_its_examples():
    whole = data.corrupt(toy(), **NOISE)
    noisy, clean = (
        data.split(whole, **(SPLIT | {"validation_labels": kind})) for kind in ("noisy", "clean")
    )
    np.testing.assert_array_equal(noisy.validation.index, clean.validation.index)
    np.testing.assert_array_equal(clean.validation.targets, clean.validation.index % 10)
    assert 0.3 < (noisy.validation.targets != clean.validation.targets).mean() < 0.5
    np.testing.assert_array_equal(noisy.train.targets, clean.train.targets)


def test_splits_are_the_same_everywhere():
    parts = data.split(data.corrupt(toy(), **NOISE), **(SPLIT | {"imbalance": 20.0}))
    content = parts.train.index.tobytes() + parts.validation.index.tobytes()
    assert hashlib.sha256(content).hexdigest()[:16] == "bc219d8fb158b350"


@pytest.mark.parametrize("exact", [False, True])
def test_imbalance(exact):
    whole = data.corrupt(toy(), **(NOISE | {"rate": 0.0}))
    parts = data.split(whole, **(SPLIT | {"imbalance": 50.0, "imbalance_exact": exact}))
    before = 900 - np.bincount(parts.validation.targets, minlength=10)
    assert abs(before - 810).max() < 50  # validation keeps its balance
    expected = before * 50.0 ** (-np.arange(10) / 9)
    counts = np.bincount(parts.train.targets, minlength=10)
    assert counts[0] == before[0]
    tolerance = 0.5 if exact else 4 * np.sqrt(expected)
    assert (abs(counts - expected) <= tolerance).all()
    # Examples are removed by their true class, not by their label.
    noisy = data.split(data.corrupt(toy(), **NOISE), **(SPLIT | {"imbalance": 50.0}))
    counts = np.bincount(noisy.train.clean_targets, minlength=10)
    assert (abs(counts - expected) <= 4 * np.sqrt(expected)).all()


# --- Human labels. --------------------------------------------------------------------------------


def write_human(path, clean, noisy):
    official = {"clean_label": clean, "worse_label": noisy, "aggre_label": noisy}
    if path.suffix == ".npy":
        np.save(path, np.array(official, object))
    elif path.suffix == ".npz":
        np.savez(path, clean=clean, worse=noisy, aggre=noisy)
    return path


@pytest.mark.parametrize("name", human.FILES["cifar10n"])
def test_human_labels(tmp_path, name, monkeypatch):
    clean = np.arange(200) % 10
    noisy = (clean + (np.arange(200) % 5 == 0)) % 10
    path = tmp_path / name
    if path.suffix == ".pt":
        write_torch(path, {"clean_label": clean, "worse_label": noisy})
    else:
        write_human(path, clean, noisy)
    monkeypatch.setitem(data.DATASETS, "cifar10", lambda **unused: toy(200))
    dataset = data.load("cifar10n", variant="worse", data_dir=str(tmp_path))
    np.testing.assert_array_equal(dataset.train.targets, noisy)
    np.testing.assert_array_equal(dataset.train.clean_targets, clean)
    assert data.realised_rate(dataset.train) == 0.2
    with pytest.raises(ValueError, match=r"variant: expected one of aggre, .* got 'best'"):
        data.load("cifar10n", variant="best", data_dir=str(tmp_path))


def write_torch(path, content):
    """Writes a dictionary of NumPy arrays as torch.save does since version 1.6."""
    import pickle
    import zipfile

    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(content, protocol=2))
        archive.writestr("archive/version", "3\n")


def test_labels_do_not_depend_on_the_order_of_a_sweep():
    points = [(kind, rate, seed) for kind in noise.KINDS for rate in (0.1, 0.5) for seed in (0, 1)]

    def hashes(order):
        drawn = {}
        for kind, rate, seed in order:
            values = {"kind": kind, "rate": rate, "seed": seed}
            drawn[kind, rate, seed] = labels.labels_sha256(
                data.corrupt(toy(500), **(NOISE | values))
            )
        return drawn

    assert hashes(points) == hashes(points[::-1])
    assert len(set(hashes(points).values())) == len(points)
