"""The layouts of ImageNet, WebVision and Clothing1M, made small."""

import numpy as np
import pytest
from PIL import Image

from configs import clothing1m, imagenet, webvision
from experiments import data
from experiments.data import large
from experiments.runs import reads


def save(root, *names):
    """Writes an image of one grey level, the number of its place in `names`."""
    for value, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (12, 10), (value, value, value)).save(path, format="PNG")


def write(root, name, *lines):
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text("".join(f"{line}\n" for line in lines))


def levels(examples):
    """The grey level of each image."""
    pixels = np.asarray(examples.inputs)
    assert pixels.shape[1:] == (8, 8, 3)
    assert (pixels == pixels[:, :1, :1, :1]).all()
    return pixels[:, 0, 0, 0].tolist()


def loaded(config, root, name=None, **changes):
    config.data.path, config.data.side = str(root), 8
    config.data.update({"name": name or config.data.name, **changes})
    return data.build(config.data, config.noise)


def test_webvision_is_its_lists(tmp_path):
    images = ["google/q0001/a.jpg", "flickr/q0001/b.jpg", "google/q0002/c.jpg"]
    save(tmp_path, *images, "val_images_256/val1.jpg", "val_images_256/val2.jpg")
    write(tmp_path, "info/train_filelist_google.txt", f"{images[2]} 51", f"{images[0]} 1")
    write(tmp_path, "info/train_filelist_flickr.txt", f"{images[1]} 0")
    write(tmp_path, "info/val_filelist.txt", "val2.jpg 0", "val1.jpg 51")
    write(tmp_path, "info/synsets.txt", *(f"n{i:08d} name {i}, other" for i in range(52)))
    whole = loaded(webvision.get_config(), tmp_path, "webvision", decode="files")
    assert whole.train.is_encoded()
    assert (levels(whole.train), whole.train.targets.tolist()) == ([2, 0, 1], [51, 1, 0])
    assert (levels(whole.test), whole.test.targets.tolist()) == ([4, 3], [0, 51])
    assert (whole.train.clean_targets == -1).all()
    assert whole.class_names[51] == "name 51"
    mini = loaded(webvision.get_config(), tmp_path)
    assert not mini.train.is_encoded()
    assert (levels(mini.train), mini.train.targets.tolist()) == ([0], [1])
    assert (levels(mini.test), mini.test.targets.tolist()) == ([4], [0])
    assert (len(mini.class_names), mini.files) == (50, (images[0],))


def test_clothing1m_has_clean_labels_of_some_and_two_held_out_parts(tmp_path):
    images = [f"images/{i}/{i},{i}.jpg" for i in range(5)]
    save(tmp_path, *images)
    write(tmp_path, "category_names_eng.txt", "T-Shirt", "Shirt", "Knitwear")
    noisy = [f"{images[i]} {label}" for i, label in ((0, 2), (1, 0), (2, 1))]
    write(tmp_path, "noisy_label_kv.txt", *noisy)
    clean = [f"{images[i]} {label}" for i, label in ((1, 1), (3, 0), (4, 2))]
    write(tmp_path, "clean_label_kv.txt", *clean)
    write(tmp_path, "noisy_train_key_list.txt", images[1], images[0])
    write(tmp_path, "clean_val_key_list.txt", images[4])
    write(tmp_path, "clean_test_key_list.txt", images[3])
    found = loaded(clothing1m.get_config(), tmp_path)
    assert (levels(found.train), found.train.targets.tolist()) == ([1, 0], [0, 2])
    assert found.train.clean_targets.tolist() == [1, -1]
    assert (levels(found.validation), found.validation.targets.tolist()) == ([4], [2])
    assert (levels(found.test), found.test.targets.tolist()) == ([3], [0])
    indices = [*found.train.index, *found.validation.index]
    assert indices == [0, 1, 2]
    write(tmp_path, "clean_test_key_list.txt", images[2])
    with pytest.raises(ValueError, match=r"clean_test_key_list\.txt: images/2/2,2\.jpg has no"):
        loaded(clothing1m.get_config(), tmp_path)


@pytest.mark.parametrize("by_class", [True, False])
def test_imagenet_s_validation_is_by_class_or_by_its_solution(tmp_path, by_class):
    train = ["train/n02/n02_1.JPEG", "train/n01/n01_7.JPEG", "train/n01/n01_10.JPEG"]
    val = "val/n02/ILSVRC2012_val_1.JPEG" if by_class else "val/ILSVRC2012_val_1.JPEG"
    save(tmp_path, *train, val)
    if not by_class:
        with pytest.raises(ValueError, match=r"expected val/WNID/\*\.JPEG, or LOC_val_solution"):
            loaded(imagenet.get_config(), tmp_path)
        write(tmp_path, "LOC_val_solution.csv", "ImageId,PredictionString",
              "ILSVRC2012_val_1,n02 1 2 3 4 n02 5 6 7 8 ")  # fmt: skip
    config = imagenet.get_config()
    config.noise.rate = 0.0
    found = loaded(config, tmp_path, validation=1)
    drawn = {}
    for part in (found.train, found.validation):
        drawn |= dict(zip(levels(part), part.targets.tolist(), strict=True))
    assert drawn == {0: 1, 1: 0, 2: 0}
    assert (levels(found.test), found.test.targets.tolist()) == ([3], [1])
    assert found.class_names == ("n01", "n02")


@pytest.mark.parametrize(
    ("name", "line", "message"),
    [
        ("val_filelist.txt", "val1.jpg", "line 1: expected a file and one of 2 classes, got 'val1"),
        ("val_filelist.txt", "val1.jpg 2", r"val_filelist\.txt, line 1: .*got 'val1\.jpg 2'"),
        ("val_filelist.txt", "gone.jpg 1", r"expected the listed file val_images_256/gone\.jpg"),
        ("train_filelist_google.txt", None, r"expected .*google\.txt: No such file"),
    ],
)
def test_lists_that_cannot_be_meant(tmp_path, name, line, message):
    save(tmp_path, "a.jpg", "val_images_256/val1.jpg")
    write(tmp_path, "info/synsets.txt", "n1 one", "n2 two")
    write(tmp_path, "info/train_filelist_google.txt", "a.jpg 0")
    write(tmp_path, "info/val_filelist.txt", "val1.jpg 0")
    if line:
        write(tmp_path, f"info/{name}", line)
    else:
        (tmp_path / "info" / name).unlink()
    with pytest.raises(ValueError, match=rf"config\.data\.path: .*{message}"):
        large.read("mini_webvision", str(tmp_path), 8)


def test_a_folder_is_needed_and_every_name_is_declared(tmp_path):
    with pytest.raises(ValueError, match=r"config\.data\.path: expected the folder of imagenet"):
        large.read("imagenet", str(tmp_path / "no"))
    assert {*reads.LARGE} == {*large.LARGE}
