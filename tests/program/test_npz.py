"""A user's own npz file: with and without clean labels, and files that cannot be meant."""

import hashlib

import numpy as np
import pytest

from configs import digits
from experiments import data
from experiments.data import labels

pytestmark = pytest.mark.x64

ABC = np.array(["a", "b", "c"])


def arrays_of(count=30, **changes):
    rng = np.random.default_rng(0)
    arrays = {
        "images": rng.integers(0, 256, (count, 6, 5, 3), np.uint8), "labels": np.arange(count) % 3,
        "test_images": np.zeros((9, 6, 5, 3), np.uint8), "test_labels": np.arange(9) % 3,
    }  # fmt: skip
    return {key: value for key, value in (arrays | changes).items() if value is not None}


def npz_config(path):
    config = digits.get_config()
    config.data.name, config.data.path = "npz", str(path)
    return config


def test_npz_with_and_without_clean_labels(tmp_path):
    path = tmp_path / "own.npz"
    noisy = np.where(np.arange(30) < 6, 0, np.arange(30) % 3)
    for clean, rate in ((np.arange(30) % 3, 4 / 30), (None, None)):
        np.savez(path, **arrays_of(labels=noisy, clean_labels=clean))
        config = npz_config(path)
        config.noise.kind = "given"
        dataset = data.build(config.data, config.noise)
        np.testing.assert_array_equal(dataset.train.targets, noisy)
        assert data.realised_rate(dataset.train) == rate
        expected = hashlib.sha256(noisy.astype("<i4").tobytes()).hexdigest()
        assert dataset.labels_sha256 == expected
        assert dataset.class_names == ("0", "1", "2")
    # Without clean labels, the given ones count as clean when noise is drawn.
    config.noise.kind, config.noise.rate = "symmetric_exclusive", 1.0
    dataset = data.build(config.data, config.noise)
    assert (dataset.train.targets != noisy).all()
    config.data.validation, config.data.validation_labels = 5, "clean"
    config.noise.kind = "given"
    with pytest.raises(ValueError, match="no clean labels are known: use noisy"):
        data.build(config.data, config.noise)


def test_noise_is_not_drawn_over_wrong_labels(tmp_path):
    clean, given = np.arange(30) % 3, np.arange(30) // 10
    np.savez(tmp_path / "own.npz", **arrays_of(labels=given, clean_labels=clean))
    config = npz_config(tmp_path / "own.npz")
    with pytest.raises(ValueError, match="the labels are not the clean ones: choose given"):
        data.build(config.data, config.noise)
    for kind in labels.KINDS[:-1]:
        with pytest.raises(ValueError, match="cifar10n brings its own wrong labels"):
            labels.check_noise("cifar10n", kind, 0.4, False, 0)
    config.data.name = "digits"
    with pytest.raises(ValueError, match="digits reads no file; choose"):
        data.build(config.data, config.noise)
    config.data.path, config.data.variant = None, "worse"
    with pytest.raises(ValueError, match="digits has none, got 'worse'"):
        data.build(config.data, config.noise)


def test_npz_in_grey_without_a_test_set(tmp_path):
    grey = np.zeros((30, 6, 5), np.uint8)
    np.savez(tmp_path / "own.npz", **arrays_of(images=grey, test_images=None, test_labels=None))
    dataset = data.load("npz", path=str(tmp_path / "own.npz"))
    assert dataset.train.inputs.shape == (30, 6, 5, 1)
    assert len(dataset.test.targets) == 0
    assert dataset.std == (1.0,)  # constant images must not be divided by zero


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"images": np.zeros((30, 6, 5, 3)) - 1, "test_images": None, "test_labels": None},
            "expected float images from 0 to 1, or to 255, got -1 to",
        ),
        ({"images": np.zeros((30, 6, 5, 4), np.uint8)}, r"or 3\), got uint8 of \(30, 6, 5, 4\)"),
        ({"images": None}, "lacks array images"),
        ({"labels": np.arange(29) % 3}, r"shape \(30,\), got int64 of \(29,\)"),
        ({"labels": np.arange(30) / 3}, "whole numbers or names, got 0.333333; .*task=regression"),
        ({"labels": np.arange(30) % 5 - 2}, "expected labels from 0 on, or -1 if unknown, got -2"),
        ({"labels": np.arange(30) % 3 + 1}, "test_labels: 0 is none of the classes 1, 2, 3"),
        (
            {"labels": np.arange(30)},
            "30 different labels of 30 examples are no classes; .*regression",
        ),
        ({"labels": np.full(30, "a")}, "at least 2 classes, got only 'a'"),
        ({"test_labels": np.full(9, 7)}, "test_labels: 7 is none of the classes 0, 1, 2"),
        (
            {"clean_labels": np.full(30, 255, np.uint8)},
            "clean_labels: 255 is none of the classes 0, 1, 2",
        ),
        ({"clean_labels": np.full((30, 2), 3)}, "a label each, or rows with a single 1"),
        ({"clean_labels": np.full(30, -2)}, "clean_labels: -2 is none of the classes 0, 1, 2"),
        (
            {"clean_labels": np.full(30, 3), "class_names": ABC},
            "clean_labels: 3 is none of the classes 0, 1, 2",
        ),
        (
            {"test_labels": np.full(9, 7), "class_names": ABC},
            "test_labels: 7 is none of the classes 0, 1, 2",
        ),
        ({"test_labels": None}, "lacks array test_labels"),
        ({"test_images": None}, "lacks array test_images"),
        ({"labels": np.array(3)}, r"a whole number or a name for each image, got int64 of \(\)"),
        ({"labels": np.full(30, 10**9)}, "at least 2 classes, got only 1000000000"),
        ({"labels": np.full(30, 2**64 - 1)}, "at least 2 classes, got only 18446744073709551615"),
        (
            {"class_names": np.arange(100_001).astype(str)},
            "expected at most 100000 classes, got 100001",
        ),
        ({"images": np.uint8(3), "test_images": None, "test_labels": None}, r"uint8 of \(\)"),
        ({"images": np.uint8(3)}, r"uint8 of \(\)"),
        ({"test_images": np.uint8(3)}, r"npz test: expected uint8 images .* got uint8 of \(\)"),
        ({"clean_labels": np.int8(3)}, r"clean_labels: expected a whole .* got int8 of \(\)"),
        ({"test_labels": np.int8(2)}, r"test_labels: expected a whole .* got int8 of \(\)"),
        ({"class_names": np.array("a")}, r"as a row of strings, got <U1 of \(\)"),
        ({"labels": np.zeros(0, int)}, "at least 2 classes, got none"),
        ({"images": np.zeros((30, 0, 5, 3), np.uint8)}, "expected uint8 images"),
        ({"class_names": np.array([b"a", b"b"])}, "class_names as a row of strings"),
        (
            {
                "class_names": np.array(["a"]),
                "labels": np.zeros(30, int),
                "test_labels": np.zeros(9, int),
            },
            "at least 2 classes",
        ),
        ({"test_images": np.zeros((9, 6, 6, 3), np.uint8)}, "differ in shape"),
        ({"label": np.zeros(3)}, "has an unknown array label; expected images, labels"),
        ({"labels": np.array([{}] * 30)}, "cannot read .* allow_pickle=False"),
    ],
)
def test_npz_that_cannot_be_meant(tmp_path, changes, message):
    np.savez(tmp_path / "own.npz", **arrays_of(**changes))
    with pytest.raises(ValueError, match=message) as error:
        data.load("npz", path=str(tmp_path / "own.npz"))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("values", "names"),
    [
        (np.array(["cat", "ant", "bee"]), ("ant", "bee", "cat")),
        (np.array([b"cat", b"ant", b"bee"]), ("ant", "bee", "cat")),
        (np.array([30, 1, 7]), ("1", "7", "30")),
        (np.array([3.0, 1.0, 2.0]), ("1", "2", "3")),
        (np.eye(3)[[2, 0, 1]], ("0", "1", "2")),
        (np.array([[2], [0], [1]]), ("0", "1", "2")),
    ],
)
def test_labels_as_people_have_them(tmp_path, values, names):
    order = np.arange(30) % 3
    np.savez(
        tmp_path / "own.npz",
        **arrays_of(labels=values[order], test_labels=values[:2], clean_labels=values[order[::-1]],
                    test_images=np.zeros((2, 6, 5, 3), np.uint8)),
    )  # fmt: skip
    found = data.load("npz", path=str(tmp_path / "own.npz"))
    assert found.class_names == names
    expected = np.array([2, 0, 1])
    np.testing.assert_array_equal(found.train.targets, expected[order])
    np.testing.assert_array_equal(found.train.clean_targets, expected[order[::-1]])
    np.testing.assert_array_equal(found.test.targets, expected[:2])
    assert found.told == (f"classes  3: {', '.join(f'{name} 10' for name in names)}",)


def test_an_unknown_label_and_a_class_of_one(tmp_path):
    labels = np.array(["", "x", "y", *["a", "b"] * 13, "x"])
    labels[2] = "y"
    np.savez(tmp_path / "own.npz", **arrays_of(labels=labels, test_images=None, test_labels=None))
    found = data.load("npz", path=str(tmp_path / "own.npz"))
    np.testing.assert_array_equal(found.train.targets[:5], [-1, 2, 3, 0, 1])
    assert found.told[1] == "alone    y: one example each; an unknown label is -1, or an empty name"


def test_images_as_people_have_them(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (30, 6, 5, 3), np.uint8)
    path = str(tmp_path / "own.npz")
    last, in_file = (
        "images   channels first in the file, now last",
        "images   from 0 to {} in the file, now 8 bits",
    )
    for images, told in (
        (pixels / 255, [in_file.format(1)]),
        (pixels.astype(np.float16), [in_file.format(255)]),
        (np.moveaxis(pixels, -1, 1), [last]),
        (np.moveaxis(pixels / np.float32(255), -1, 1), [in_file.format(1), last]),
    ):
        np.savez(path, **arrays_of(images=images, test_images=images[:9]))
        found = data.load("npz", path=path)
        np.testing.assert_array_equal(found.train.inputs, pixels)
        np.testing.assert_array_equal(found.test.inputs, pixels[:9])
        assert list(found.told[1:]) == told


def test_classes_without_an_example_have_names(tmp_path):
    labels = np.arange(30) % 2 + 1
    path = tmp_path / "own.npz"
    np.savez(path, **arrays_of(labels=labels, class_names=np.array(["none", "cat", "dog", "owl"])))
    dataset = data.load("npz", path=str(path))
    np.testing.assert_array_equal(dataset.train.targets, labels)
    assert len(dataset.class_names) == 4


def test_npz_that_is_no_npz(tmp_path):
    with open(tmp_path / "array.npz", "wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(ValueError, match="holds one array without a name"):
        data.load("npz", path=str(tmp_path / "array.npz"))
    for name, content in (("none.npz", None), ("torn.npz", b"PK\3\4 torn")):
        if content:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=r"config\.data\.path: cannot read"):
            data.load("npz", path=str(tmp_path / name))
