"""Data of retrieval: sources, wrong identities, splits, and what cannot be used."""

import re

import numpy as np
import pytest
from PIL import Image

from experiments.data import identities, retrieval
from tests.program.test_retrieval_runs import config_of


def loaded(data_dir=None, **overrides):
    config = config_of(**overrides)
    return retrieval.load(config.data, config.noise, data_dir)


def write(path, shade, mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, (12, 9), shade).save(path)


@pytest.fixture
def folder(tmp_path):
    """Two classes to train and two to test, of 3 images each."""
    for i, name in enumerate(("train/a", "train/b", "test/c", "test/d")):
        for j in range(3):
            write(tmp_path / name / f"{j}.png", (40 * i + 10 * j, 0, 0))
    return tmp_path


def of_folder(folder, **more):
    return {"data.name": "folder", "data.path": str(folder), "data.side": 8,
            "noise.kind": "given", **more}  # fmt: skip


def test_a_folder_by_class(folder):
    found = loaded(**of_folder(folder))
    assert found.class_names == ("a", "b", "c", "d")
    assert found.train.inputs.shape == (6, 8, 8, 3)
    assert found.train.targets.tolist() == [0, 0, 0, 1, 1, 1]
    assert found.test.targets.tolist() == [2, 2, 2, 3, 3, 3]
    assert found.train.inputs[:, 0, 0, 0].tolist() == [0, 10, 20, 40, 50, 60]
    assert found.test.inputs[:, 0, 0, 0].tolist() == [80, 90, 100, 120, 130, 140]


def test_lists_with_a_cleaned_one_beside(folder):
    lists = {
        "x_train.csv": ["/train/a/0.png,5", "/train/a/1.png,5", "train/b/0.png,7",
                        "train/a/2.png,7", "train/b/1.png,7"],
        "x_cleaned_train.csv": ["train/a/0.png,5", "train/a/1.png,5", "train/b/0.png,7",
                                "train/b/1.png,7"],
        "x_test.csv": ["test/c/0.png,0", "test/c/1.png,0", "test/d/0.png,1", "test/d/1.png,1"],
    }  # fmt: skip
    for name, lines in lists.items():
        (folder / name).write_text("\n".join(lines) + "\n")
    wanted = of_folder(folder, **{"data.name": "listed",
                                  "data.train_list": str(folder / "x_train.csv"),
                                  "data.test_list": str(folder / "x_test.csv")})  # fmt: skip
    found = loaded(**wanted)
    assert found.train.targets.tolist() == [0, 0, 1, 1, 1]
    wrong = found.train.targets != found.train.clean_targets
    assert wrong.tolist() == [False, False, False, True, False]
    assert found.train.clean_targets[3] not in found.test.targets
    assert found.test.targets.tolist() == [2, 2, 3, 3]
    with pytest.raises(ValueError, match="choose given"):
        loaded(**wanted | {"noise.kind": "symmetric_exclusive"})
    (folder / "x_cleaned_train.csv").unlink()
    found = loaded(**wanted)
    assert (found.train.targets == found.train.clean_targets).all()


@pytest.mark.parametrize("rate", [0.0, 0.3, 1.0])
def test_symmetric_wrong_identities(rate):
    clean = np.repeat(np.arange(3, 23, dtype=np.int32), 100)
    images = np.zeros((2000, 8, 8, 1), np.uint8)
    noisy = identities.corrupt(images, clean, "symmetric_exclusive", rate, seed=1)
    assert set(noisy) <= set(clean)
    assert (noisy != clean).mean() == pytest.approx(rate, abs=0.03)
    if rate:
        shares = np.bincount((noisy - clean)[noisy != clean] % 20, minlength=20)[1:]
        assert abs(shares / shares.mean() - 1).max() < 0.5
        other = identities.corrupt(images, clean, "symmetric_exclusive", rate, seed=2)
        assert (noisy != other).any()


def test_small_clusters_of_whole_classes():
    clean = np.repeat(np.arange(3, 13, dtype=np.int32), 12)
    shades = np.tile(np.repeat(np.arange(4), 3), 10)  # in each class 4 groups of 3 like images
    images = np.broadcast_to(60 * shades[:, None, None, None], (120, 16, 16, 1)).astype(np.uint8)
    noisy = identities.corrupt(images, clean, "small_cluster", 0.4, seed=0)
    wrong = noisy != clean
    gone = [own for own in range(3, 13) if wrong[clean == own].any()]
    assert len(gone) == 4
    assert wrong[np.isin(clean, gone)].all()  # whole classes
    assert not np.isin(noisy, gone).any()  # which then have no image
    for own in gone:
        for shade in range(4):  # like images stay together
            assert len(set(noisy[(clean == own) & (shades == shade)])) == 1


def test_validation_classes_are_of_the_training_ones():
    found = loaded(**{"data.validation": 2})
    parts = [set(part.clean_targets) for part in (found.train, found.validation, found.test)]
    assert [len(part) for part in parts] == [3, 2, 5]
    assert not set.union(*parts) - set(range(10))
    for part, own in zip((found.train, found.validation), parts, strict=False):
        assert set(part.targets) == own
        assert 0.3 < (part.targets != part.clean_targets).mean() < 0.5
    clean = loaded(**{"data.validation": 2, "data.validation_labels": "clean"})
    assert (clean.validation.targets == clean.validation.clean_targets).all()
    np.testing.assert_array_equal(clean.train.targets, found.train.targets)


def broken(folder, what):
    if what == "lone":
        for name in ("1.png", "2.png"):
            (folder / "train/b" / name).unlink()
    elif what == "torn":
        (folder / "train/b/1.png").write_bytes(b"no image")
    elif what == "empty":
        (folder / "train/e").mkdir()
    elif what == "no test":
        for file in folder.glob("test/*/*.png"):
            file.unlink()
        for one in folder.glob("test/*"):
            one.rmdir()
        (folder / "test").rmdir()


@pytest.mark.parametrize(("what", "said"), [
    ("lone", "training class b has 1 image, and a pair needs 2"),
    ("torn", r"train/b/1\.png: no image that can be read"),
    ("empty", "train/e has no images"),
    ("no test", "expected folders train and test"),
])  # fmt: skip
def test_a_folder_that_cannot_be_used(folder, what, said):
    broken(folder, what)
    with pytest.raises(ValueError, match=said) as caught:
        loaded(**of_folder(folder))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("lines", "said"), [
    (["train/a/0.png"], 'line 1: expected "path,label"'),
    (["train/a/0.png,1", "train/a/0.png,2"], r"line 2: train/a/0\.png occurs twice"),
    (["train/a/7.png,1"], r"train/a/7\.png: No such file"),
    (["test/c/0.png,1"], "is in the training list, too"),
    ([], "has no lines"),
])  # fmt: skip
def test_lists_that_cannot_be_used(folder, lines, said):
    (folder / "train.csv").write_text("\n".join(lines))
    (folder / "test.csv").write_text("test/c/0.png,1\ntest/c/1.png,1\n")
    names = {f"data.{part}_list": str(folder / f"{part}.csv") for part in ("train", "test")}
    with pytest.raises(ValueError, match=said):
        loaded(**of_folder(folder, **{"data.name": "listed", **names}))


@pytest.mark.parametrize(("changes", "said"), [
    ({"data.name": "omniglot"}, "did you mean omniglot_small"),
    ({"data.name": "folder"}, "expected a folder of images, got none"),
    ({"data.name": "omniglot_small"}, "--data_dir: expected omniglot_small/"),
    ({"noise.kind": "permuted"}, "symmetric_exclusive, small_cluster, given"),
    ({"noise.kind": "small_cluster", "noise.rate": 0.9}, "fewer than 2 classes"),
    ({"data.validation": 4}, "in classes,: expected an integer from 2 to 3"),
    ({"data.validation": 2, "noise.kind": "given"}, "expected 0, got 2"),
])  # fmt: skip
def test_values_that_make_no_sense(changes, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        loaded("/no/such", **changes)
