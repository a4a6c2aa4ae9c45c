"""A user's own folder of images by class."""

import csv

import numpy as np
import pytest
from PIL import Image

from configs import cifar10, own
from experiments import data, main
from experiments.data import folder, image_files, pictures
from experiments.models import networks, sides
from experiments.runs import files
from experiments.tasks import classification
from experiments.training import build
from tests.program.running import reported, train_one

__all__ = ["reported"]  # a fixture

CLASSES = ("ant", "bee", "cat")


def save(path, size=(10, 12), value=0, mode="RGB"):
    """Writes an image of one colour, which tells the file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    colour = value if mode == "L" else (value, 2 * value % 256, 0)
    Image.new(mode, size, colour).save(path)


def filled(root, number=4, **changes):
    for i, name in enumerate(CLASSES):
        for j in range(number):
            save(root / name / f"{j}.png", value=10 * i + j, **changes)
    return root


def loaded(root, **changes):
    config = own.get_config()
    config.data.path = str(root)
    config.data.update(changes)
    return classification.load(config, None)


def test_each_image_has_the_label_of_its_folder(tmp_path):
    filled(tmp_path)
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "ant" / ".DS_Store").write_text("")
    found = folder.read(str(tmp_path))
    assert found.class_names == CLASSES
    assert found.train.inputs.shape == (12, 10, 10, 3)
    np.testing.assert_array_equal(found.train.targets, np.repeat([0, 1, 2], 4))
    assert (found.train.clean_targets == -1).all()  # which are right is not known
    for i, path in enumerate(found.files):
        name, number = path.split("/")
        value = 10 * CLASSES.index(name) + int(number[0])
        assert (found.train.inputs[i] == (value, 2 * value, 0)).all()
    assert found.told == (
        "classes  3: ant 4, bee 4, cat 4",
        "sizes    10x12; now 10x10: 12 cut to their middle",
    )


def test_train_and_test_are_apart_and_may_be_grey(tmp_path):
    filled(tmp_path / "train", mode="L", size=(9, 9))
    save(tmp_path / "test" / "bee" / "deep" / "x.jpg", mode="L", value=200, size=(18, 18))
    (tmp_path / "train" / "cat" / "notes.txt").write_text("")
    found = folder.read(str(tmp_path))
    assert found.train.inputs.shape == (12, 9, 9, 1)
    np.testing.assert_array_equal(found.test.targets, [1])
    assert abs(found.test.inputs.astype(int) - 200).max() <= 2  # a JPEG is not exact
    assert found.told[1:] == (
        "files    train/cat/notes.txt left out: no images",
        "sizes    9x9 to 18x18; now 9x9: 1 resized",
    )


def test_the_middle_is_kept_and_its_side_is_chosen(tmp_path):
    filled(tmp_path, size=(40, 40))
    wide = np.zeros((90, 270, 3), np.uint8)
    wide[:, 90:180] = 255
    Image.fromarray(wide).save(tmp_path / "ant" / "wide.png")
    found = folder.read(str(tmp_path))
    assert found.train.inputs.shape[1:3] == (40, 40)  # the median
    middle = found.train.inputs[list(found.files).index("ant/wide.png")]
    assert (middle[:, 2:-2] == 255).all()
    assert folder.read(str(tmp_path), side=16).train.inputs.shape[1:3] == (16, 16)
    filled(tmp_path / "large", size=(300, 300))
    assert folder.read(str(tmp_path / "large")).train.inputs.shape[1:3] == (64, 64)


def test_each_image_is_opened_once_and_many_are_kept(tmp_path, monkeypatch):
    root = filled(tmp_path / "images", size=(10, 12))
    save(root / "ant" / "large.png", size=(100, 70), value=9)
    opened, square = [], image_files.square
    monkeypatch.setattr(image_files, "square", lambda *all: opened.append(all[0]) or square(*all))
    monkeypatch.setattr(pictures, "MANY", 1)
    monkeypatch.setattr(image_files, "AT_ONCE", 4)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    first, again = (folder.read(str(root)) for _ in range(2))
    assert sorted(opened) == sorted(first.files)
    assert len(opened) == 13
    np.testing.assert_array_equal(again.train.inputs, first.train.inputs)
    assert again.told == first.told
    assert (first.train.inputs[first.files.index("ant/large.png")] == (9, 18, 0)).all()
    folder.read(str(root), side=9)  # at another size they are decoded again
    save(root / "bee" / "0.png", size=(10, 12), value=77)  # so are others, of the same bytes or not
    changed = folder.read(str(root))
    assert len(opened) == 3 * 13
    assert (changed.train.inputs[changed.files.index("bee/0.png")] == (77, 154, 0)).all()


def test_damaged_files_stop_or_are_left_out(tmp_path):
    filled(tmp_path)
    (tmp_path / "bee" / "1.png").write_bytes((tmp_path / "bee" / "2.png").read_bytes()[:50])
    (tmp_path / "cat" / "text.jpg").write_text("no image")
    with pytest.raises(ValueError, match=r"2 files cannot be read: bee/1\.png: .*leave_out"):
        loaded(tmp_path)
    found = folder.read(str(tmp_path), damaged="leave_out")
    assert len(found.files) == len(found.train.index) == 11
    assert "bee/1.png" not in found.files
    np.testing.assert_array_equal(np.bincount(found.train.targets), [4, 3, 4])
    assert "files    2 damaged ones left out" in found.told
    for path in tmp_path.glob("*/*"):
        path.write_text("no image")
    with pytest.raises(ValueError, match=r"config\.data\.path: all 13 files cannot be read: ant/0"):
        folder.read(str(tmp_path), damaged="leave_out")


def test_a_share_of_each_class_is_held_out(tmp_path):
    filled(tmp_path, number=4)
    for j in range(4, 40):
        save(tmp_path / "ant" / f"{j}.png")
    (tmp_path / "cat" / "0.png").rename(tmp_path / "cat" / "a.png")
    for j in (1, 2, 3):
        (tmp_path / "cat" / f"{j}.png").unlink()
    found = loaded(tmp_path)
    # A tenth of 40, at least one of 4, and not the only one.
    np.testing.assert_array_equal(np.bincount(found.validation.targets), [4, 1])
    np.testing.assert_array_equal(np.bincount(found.train.targets), [36, 3, 1])
    assert not {*found.train.index.tolist()} & {*found.validation.index.tolist()}
    with pytest.raises(ValueError, match=r"validation_share: expected 0 beside .*=3, got 0\.1"):
        loaded(tmp_path, validation=3)


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda root: None, "expected a folder of images for each of 2 classes .* got no folder"),
        (lambda root: save(root / "ant" / "a.png"), "2 classes or more, got the folder ant"),
        (
            lambda root: filled(root) and (root / "dog").mkdir(),
            r"the class dog has no image; expected files of \.png",
        ),
        (
            lambda root: filled(root) and save(root / "ant" / "0.bmp"),
            r"two files of one name, 0\.bmp and 0\.png, in .*ant: rename or remove one",
        ),
        (
            lambda root: filled(root / "train") and save(root / "val" / "a.png"),
            "expected folders train and test, or one for each class, got val beside train",
        ),
        (
            lambda root: filled(root / "train") and save(root / "test" / "dog" / "a.png"),
            "the class dog of test is none of train",
        ),
    ],
)
def test_a_folder_that_cannot_be_meant(tmp_path, break_it, message):
    break_it(tmp_path)
    with pytest.raises(ValueError, match=rf"config\.data\.path: .*{message}"):
        loaded(tmp_path)


def test_a_bomb_and_sixteen_bits_are_no_images_here(tmp_path, monkeypatch):
    filled(tmp_path)
    for limit in (50, 100):  # 120 pixels are an error, or a warning
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        with pytest.raises(
            ValueError, match=r"12 files cannot be read: ant/0\.png: expected \d+ pixels"
        ):
            loaded(tmp_path)
    monkeypatch.undo()
    Image.fromarray(np.zeros((9, 9), np.uint16)).save(tmp_path / "ant" / "0.png")
    with pytest.raises(ValueError, match=r"1 files .* ant/0\.png: expected 8 bits per channel"):
        loaded(tmp_path)


def test_other_pixels_are_another_run(tmp_path):
    filled(tmp_path)
    config = own.get_config()
    config.data.path = str(tmp_path)
    hashes = []
    for value in (1, 2):
        save(tmp_path / "ant" / "0.png", value=value)
        files._content.cache_clear()
        files.note_content(config)
        hashes.append(config.data.sha256)
    assert hashes[0] != hashes[1]


def test_a_network_is_chosen_by_the_size_of_the_images():
    fitting = [sides.fitting((side, side, 3)) for side in (8, 16, 17, 64, 65)]
    assert fitting == ["mlp", "mlp", "convnet_small", "convnet_small", "resnet18"]
    with pytest.raises(ValueError, match=r"config\.model\.name: expected one of mlp, .*, auto"):
        networks.check_name("best")
    assert data.DATASETS.keys() >= {"folder", "npz"}


def test_from_a_folder_to_its_suspects(tmp_path, reported):
    filled(tmp_path / "images", number=5, size=(8, 8))
    config = own.get_config()
    config.epochs, config.batch_size = 1, 4
    config.data.path = str(tmp_path / "images")
    files.note_content(config)
    run = tmp_path / "run"
    run.mkdir()
    results = train_one(config, build.build_run(config), run)
    assert main.summary(results).startswith("validation accuracy ")
    files.write_json(run / files.CONFIG, config.to_dict())
    said = reported("suspects", f"--workdir={run}", "--number=4")
    assert "suspects.csv" in said
    rows = list(csv.DictReader((run / "suspects.csv").read_text().splitlines()))
    assert len(rows) == 4
    assert all(row["path"].split("/")[0] == row["given_label"] for row in rows)
    save(tmp_path / "images" / "ant" / "new.png")
    files._content.cache_clear()
    with pytest.raises(SystemExit, match="2"):
        reported("suspects", f"--workdir={run}")


def test_own_labels_get_no_wrong_ones_unasked():
    config = cifar10.get_config()
    config.data.name = "folder"
    asked = {"data.name": "folder"}
    with pytest.raises(ValueError, match=r"would make 40% of your labels wrong: add .*=given"):
        main.check_labels(config, asked)
    main.check_labels(config, asked | {"noise.rate": 0.4})
    main.check_labels(config, {})  # a config of one's own that says so
    config.noise.kind = "given"
    main.check_labels(config, asked)
