"""Data sets with splits: any directory that TFDS prepared, and those of Hugging Face."""

import importlib.util
import io
import json
import pathlib

import numpy as np
import pytest
from PIL import Image

from configs import own
from experiments import data, main
from experiments.data import huggingface, image_files, pictures, prepared
from experiments.runs import identity
from experiments.tasks import classification

SIZES = [(10, 12), (30, 20), (10, 10)]


def image(i):
    return Image.new("RGB", SIZES[i % 3], (i, 0, 0))


def encoded(i):
    stream = io.BytesIO()
    image(i).save(stream, "PNG")
    stream.seek(0)
    return stream


def config_of(name, path=None, **changes):
    config = own.get_config()
    config.data.name, config.data.path, config.data.validation_share = name, path, 0.0
    config.data.update(changes)
    return config


def test_splits_for_training_and_for_the_test():
    assert prepared.splits_of(["test", "train", "validation"]) == ["train", "test"]
    assert prepared.splits_of(["validation", "train"]) == ["train", "validation"]
    assert prepared.splits_of(["train", "extra"]) == ["train"]
    with pytest.raises(ValueError, match="expected a split train, got test"):
        prepared.splits_of(["test"])
    said = prepared.told("1.0.0", ["train", "test"], ["train", "test", "extra"])
    assert said == ("splits   1.0.0: train, test as the test set; left out: extra",)


@pytest.mark.parametrize(
    "name", ["tfds:", "tfds:../cifar10", "tfds:/etc", "tfds:a/b/c", "tfds:a/.."]
)
def test_a_name_that_is_no_tfds_directory(tmp_path, name):
    with pytest.raises(ValueError, match="expected tfds:NAME or tfds:NAME/CONFIG, got tfds:"):
        data.load(name, data_dir=str(tmp_path))


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """A prepared directory with images of three sizes, labels, and what else may be."""
    tfds = pytest.importorskip("tensorflow_datasets")
    root = tmp_path_factory.mktemp("tfds")

    class Small(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        name = "small"
        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            box = {"box": tfds.features.BBoxFeature(), "area": np.int64}
            return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict({
                "image": tfds.features.Image(), "file_name": tfds.features.Text(),
                "label": tfds.features.ClassLabel(names=["ant", "bee", "cat"]),
                "coarse": tfds.features.ClassLabel(num_classes=2),
                "objects": tfds.features.Sequence(box),
            }))  # fmt: skip

        def _split_generators(self, dl_manager):
            return {
                "train": self._generate_examples(range(9)),
                "validation": self._generate_examples(range(9, 12)),
            }

        def _generate_examples(self, rows):
            for i in rows:
                yield i, {"image": encoded(i), "file_name": f"{i}.png", "label": i % 3,
                          "coarse": i % 2, "objects": []}  # fmt: skip

    Small(data_dir=str(root), file_format="array_record").download_and_prepare()
    return root


def check_files(memory, encoded):
    """Checks that images that are decoded from records when they are asked for are the same."""
    assert encoded.train.is_encoded()
    for part in ("train", "test"):
        pair = getattr(memory, part).inputs, getattr(encoded, part).inputs
        np.testing.assert_array_equal(*pair)
    assert (encoded.mean, encoded.std, encoded.told) == (memory.mean, memory.std, memory.told)


def test_any_tfds_directory_with_images_and_labels(directory, monkeypatch, tmp_path):
    monkeypatch.setattr(pictures, "MANY", 1)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    found = data.load("tfds:small", data_dir=str(directory))
    monkeypatch.setattr(image_files, "square", None)  # from now on, images come from the cache
    again = data.load("tfds:small", data_dir=str(directory))
    coarse = data.load("tfds:small", data_dir=str(directory), label_column="coarse")
    assert found.class_names == ("ant", "bee", "cat")
    numbers = [int(name.removesuffix(".png")) for name in found.files]
    assert sorted(numbers) == [*range(9)]  # TFDS shuffles
    np.testing.assert_array_equal(found.train.targets, np.array(numbers) % 3)
    np.testing.assert_array_equal(coarse.train.targets, np.array(numbers) % 2)
    assert found.train.inputs.shape == (9, 10, 10, 3)
    np.testing.assert_array_equal(found.train.inputs[:, 5, 5, 0], numbers)
    np.testing.assert_array_equal(found.test.inputs[:, 5, 5, 0] % 3, found.test.targets)
    np.testing.assert_array_equal(again.train.inputs, found.train.inputs)
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    check_files(found, data.load("tfds:small", data_dir=str(directory), decode="files"))
    assert found.told == (
        "classes  3: ant 3, bee 3, cat 3",
        "splits   1.0.0: train, validation as the test set",
        "sizes    10x10 to 30x20; now 10x10: 4 resized, 8 cut to their middle",
    )


def test_tfds_directories_that_cannot_be_read(directory, tmp_path):
    for changes, message in (
        ({"label_column": "size"}, "label_column: .* one of coarse, label, got 'size'"),
        ({"path_column": "mask"}, "path_column: .*the feature with the image, one of image, got"),
    ):
        with pytest.raises(ValueError, match=message):
            data.load("tfds:small", data_dir=str(directory), **changes)
    for name in ("small", "other"):
        with pytest.raises(ValueError, match=rf"expected a directory {name} in .*, as tfds build"):
            data.load(f"tfds:{name}", data_dir=str(tmp_path))
    for folder in (tmp_path / "many" / "one" / "1.0.0", tmp_path / "evil" / "1.0.0"):
        folder.mkdir(parents=True)
        (folder / "dataset_info.json").write_text("{}")
    (folder / "features.json").write_text(json.dumps({"pythonClassName": "evil.Features"}))
    with pytest.raises(ValueError, match=r"tfds:evil: .* features\.json names 'evil\.Features'"):
        data.load("tfds:evil", data_dir=str(tmp_path))
    with pytest.raises(ValueError, match="expected one of tfds:many/one, got tfds:many"):
        data.load("tfds:many", data_dir=str(tmp_path))


def test_columns_and_sizes_are_part_of_the_runs_that_read_them():
    keys = {"data.label_column", "data.path_column", "data.side", "data.damaged"}
    for name, read in (
        ("tfds:small", keys), ("huggingface", keys), ("table", keys),
        ("folder", {"data.side", "data.damaged"}), ("npz", set()), ("cifar10", set()),
    ):  # fmt: skip
        flat = identity.flattened(config_of(name).to_dict())
        assert {key for key in keys if identity.is_read(key, flat)} == read, name


# --- Hugging Face. --------------------------------------------------------------------------------


def test_without_the_library_it_says_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"huggingface needs: pip install -e '\.\[huggingface\]'"):
        data.load("huggingface", path=str(tmp_path))
    with pytest.raises(ValueError, match=r"path: expected a directory of save_to_disk, or a name"):
        data.load("huggingface")


def test_images_of_hugging_face_lie_in_the_directory(tmp_path):
    rows = [{"bytes": b"png", "path": "a.png"}, None,
            {"bytes": None, "path": str(tmp_path / "a.png")}]  # fmt: skip
    found = [huggingface._content("where", row, tmp_path) for row in rows]
    assert found == [b"png", b"", pathlib.Path(tmp_path / "a.png")]
    outside = {"bytes": None, "path": str(tmp_path / ".." / "b.png")}
    with pytest.raises(
        ValueError, match=r"where: expected images in it, got the path of one, .*b\.p"
    ):
        huggingface._content("where", outside, tmp_path)


@pytest.fixture
def datasets():
    return pytest.importorskip("datasets", reason="needs the extra huggingface")


def of(datasets, numbers, **columns):
    """A data set with images that tell their number, and labels."""
    table = {"image": [image(i) for i in numbers]} | columns
    found = datasets.Dataset.from_dict(table | columns)
    return found.cast_column("image", datasets.Image())


def test_from_hugging_face(datasets, tmp_path, monkeypatch):
    label = datasets.ClassLabel(names=["ant", "bee"])
    parts = {"train": range(6), "validation": range(20, 22), "test": range(10, 14)}
    saved = datasets.DatasetDict({
        part: of(datasets, numbers, fine=[i % 2 for i in numbers], source=["web"] * len(numbers))
        .cast_column("fine", label) for part, numbers in parts.items()
    })  # fmt: skip
    saved["train"] = saved["train"].select([5, 2, 0, 1])
    saved.save_to_disk(str(tmp_path / "saved"))
    config = config_of("huggingface", str(tmp_path / "saved"))
    main.check_labels(config, {"data.name": "huggingface"})
    found = classification.load(config, None)
    assert found.class_names == ("ant", "bee")
    np.testing.assert_array_equal(found.train.inputs[:, 5, 5, 0], [5, 2, 0, 1])
    np.testing.assert_array_equal(found.train.targets, [1, 0, 0, 1])
    np.testing.assert_array_equal(found.test.inputs[:, 5, 5, 0], [10, 11, 12, 13])
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    config.data.decode = "files"
    check_files(found, classification.load(config, None))
    np.testing.assert_array_equal(found.test.targets, [0, 1, 0, 1])
    assert found.told == (
        "classes  2: ant 2, bee 2",
        "splits   train, test as the test set; left out: validation",
        "sizes    10x10 to 30x20; now 10x10: 3 resized, 5 cut to their middle",
    )


@pytest.mark.parametrize(
    ("columns", "changes", "message"),
    [
        ({"a": [*"xyx"], "b": [*"xyx"]}, {}, "label_column: expected the column .*, one of a, b"),
        ({"label": [0.1, 0.2, 0.3]}, {}, "train label: expected whole numbers or names, got 0.1"),
        ({"label": [0, 0, 0]}, {}, "expected labels of at least 2 classes, got only 0"),
        ({"label": [0, 1, 0]}, {"label_column": "no"}, "label_column: expected one of label, got"),
        ({"label": [0, 1, 0]}, {"path_column": "label"}, "path_column: expected one of image, got"),
    ],
)
def test_hugging_face_that_cannot_be_meant(datasets, tmp_path, columns, changes, message):
    of(datasets, range(3), **columns).save_to_disk(str(tmp_path / "saved"))
    with pytest.raises(ValueError, match=rf"^config\.data\..*{message}"):
        data.load("huggingface", path=str(tmp_path / "saved"), **changes)


def test_a_directory_of_something_else(datasets, tmp_path):
    with pytest.raises(ValueError, match=r"config\.data\.path: cannot load .*neither a `Dataset`"):
        data.load("huggingface", path=str(tmp_path))
    datasets.Dataset.from_dict({"a": [1, 2], "label": [0, 1]}).save_to_disk(str(tmp_path / "a"))
    with pytest.raises(ValueError, match="the column with the images, got columns a, label"):
        data.load("huggingface", path=str(tmp_path / "a"))
    [torn] = (tmp_path / "a").glob("*.arrow")
    torn.write_bytes(torn.read_bytes()[:-200])
    with pytest.raises(ValueError, match=r"config\.data\.path: cannot load .*/a: "):
        data.load("huggingface", path=str(tmp_path / "a"))
    saved = datasets.DatasetDict(test=of(datasets, range(2), label=[0, 1]))
    saved.save_to_disk(tmp_path / "c")
    with pytest.raises(ValueError, match="expected a split train, got test"):
        data.load("huggingface", path=str(tmp_path / "c"))
