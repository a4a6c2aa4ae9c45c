"""Data for detection: sources, sizes, wrong boxes, and what is refused."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from configs import detection as defaults
from experiments.data import detection as data
from experiments.data.boxed import NONE
from experiments.runs import contents, identity
from tests.program.test_main import main

NOISES = ("rate", "box", "missing", "bogus")


def config_of(name, **overrides):
    config = defaults.get_config()
    config.data.name, config.data.height, config.data.width = name, 32, 64
    with config.unlocked():
        config.update_from_flattened_dict(overrides)
    return config


def loaded(config, data_dir=None):
    return data.load(config.data, config.noise, data_dir)


def voc_folder(folder, number=6):
    """Writes images of 80x40 pixels, each with a box of class a; the last has none."""
    (folder / "Annotations").mkdir(parents=True)
    (folder / "JPEGImages").mkdir()
    for i in range(number):
        Image.fromarray(np.full((40, 80, 3), 10 * i, np.uint8)).save(folder / f"JPEGImages/{i}.png")
        (folder / f"Annotations/{i}.xml").write_text(
            xml(i, [("a", 10, 4, 30, 24, i % 2)] * (i < 5))
        )
    return folder


def xml(name, rows):
    objects = "".join(
        f"<object><name>{kind}</name><difficult>{difficult}</difficult><bndbox><xmin>{left}</xmin>"
        f"<ymin>{top}</ymin><xmax>{right}</xmax><ymax>{bottom}</ymax></bndbox></object>"
        for kind, left, top, right, bottom, difficult in rows
    )
    return f"<annotation><filename>{name}.png</filename>{objects}</annotation>"


def test_a_folder_in_the_form_of_voc(tmp_path):
    folder = voc_folder(tmp_path / "mine")
    config = config_of("voc_folder", **{"data.path": str(folder), "data.validation": 2})
    found = loaded(config)
    assert [len(part.index) for part in (found.train, found.validation, found.test)] == [3, 2, 1]
    lists = folder / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    for name, stems in (("train", "0 1 2 5"), ("val", "3"), ("test", "4")):
        (lists / f"{name}.txt").write_text("\n".join(stems.split()))
    found = loaded(config_of("voc_folder", **{"data.path": str(folder)}))
    assert [len(part.index) for part in (found.train, found.validation, found.test)] == [4, 1, 1]
    targets, pixels = found.train.targets, found.train.inputs.pixels
    assert found.train.inputs.scale.tolist() == pytest.approx([0.8] * 4)
    assert targets.box[:3, 0].tolist() == [pytest.approx([8, 3.2, 24, 19.2])] * 3
    assert targets.label[:, 0].tolist() == [0, 0, 0, NONE]
    assert targets.crowd[:, 0].tolist() == [False, True, False, False]
    assert pixels[2].tolist() == np.full((32, 64, 3), 20).tolist()
    [said, _] = data.described(found, config.noise)
    assert "3 boxes in the training images, of which 1 have none and are all background" in said


def test_an_image_of_another_form_is_not_distorted(tmp_path):
    folder = voc_folder(tmp_path)
    Image.fromarray(np.full((80, 40, 3), 200, np.uint8)).save(folder / "JPEGImages/0.png")
    (folder / "Annotations/0.xml").write_text(xml(0, [("a", 0, 0, 40, 80, 0)]))
    config = config_of("voc_folder", **{"data.path": str(folder)})
    whole = [*loaded(config).train.inputs.pixels, *loaded(config).test.inputs.pixels]
    [tall] = [one for one in whole if one.max() == 200]
    assert (tall[:, :16] == 200).all()
    assert not tall[:, 16:].any()
    boxes = np.concatenate([part.targets.box for part in loaded(config)[2:5]])
    assert [0, 0, 16, 32] in boxes.reshape(-1, 4).tolist()


def coco_file(folder, **changes):
    """Writes a JSON file of two images, of which the first has a box and a crowd."""
    for name in ("x.png", "y.png"):
        Image.new("RGB", (80, 40)).save(folder / name)
    box = {"id": 7, "image_id": 5, "category_id": 3, "bbox": [10, 4, 20, 20], "iscrowd": 0}
    content = {
        "images": [{"id": 5, "file_name": "x.png"}, {"id": 6, "file_name": "y.png"}],
        "annotations": [box, box | {"id": 8, "category_id": 9, "iscrowd": 1}],
        "categories": [{"id": 9, "name": "b"}, {"id": 3, "name": "a"}],
    }
    (folder / "boxes.json").write_text(json.dumps(content | changes))
    return folder / "boxes.json"


def test_files_in_the_form_of_coco(tmp_path):
    file = coco_file(tmp_path)
    paths = {"data.path": str(file), "data.test_path": str(file)}
    config = config_of("coco_json", **paths)
    found = loaded(config)
    assert found.class_names == ("a", "b")
    for part in (found.train, found.test):
        assert part.targets.label[:, :2].tolist() == [[0, 1], [NONE, NONE]]
        assert part.targets.crowd[0, :2].tolist() == [False, True]
        assert part.targets.box[0, 0].tolist() == pytest.approx([8, 3.2, 24, 19.2])
    before = identity.config_sha256(noted(config).to_dict())
    coco_file(tmp_path, info={})
    contents.content.cache_clear()
    assert identity.config_sha256(noted(config).to_dict()) != before


def noted(config):
    contents.note(config)
    return config


def broken_voc(folder, text):
    (voc_folder(folder) / "Annotations/3.xml").write_text(text)
    return {"data.name": "voc_folder", "data.path": str(folder)}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<annotation>", "3.xml: no XML: no element found"),
        ("no XML", "3.xml: no XML: syntax error"),
        ("<annotation></annotation>", "3.xml: expected a filename in <annotation>, got none"),
        (xml(3, [("a", 1, "x", 9, 9, 0)]), "3.xml: ymin 'x' is no number"),
        (
            xml(3, [("a", 5, 5, 5, 9, 0)]),
            "3.xml: the box 5, 5, 5, 9 of 3.png, 80x40 pixels, has no",
        ),
        (xml(3, [("a", 5, 9, 9, 5, 0)]), "has no area"),
        (xml(3, [("a", 5, 5, 5, "nan", 0)]), "has no area"),
        (xml(3, [("a", 5, 5, 90, 9, 0)]), "3.xml: the box 5, 5, 90, 9 of 3.png, .* reaches out of"),
        (xml(3, [("a", -5, 5, 9, 9, 0)]), "reaches out of the image"),
        (xml(2, []), "3.xml: 2.png has an annotation in 2.xml already"),
        (xml("gone", []), "3.xml: there is no image .*gone.png"),
    ],
)
def test_bad_annotations_of_voc(tmp_path, text, message):
    with pytest.raises(ValueError, match=message) as error:
        loaded(config_of("voc_folder", **broken_voc(tmp_path / "mine", text)))
    assert "\n" not in str(error.value)


ROW = {"id": 7, "image_id": 5, "category_id": 3, "bbox": [10, 4, 20, 20]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"annotations": [ROW | {"category_id": 4}]}, "annotation 7: category 4 is not in categor"),
        ({"annotations": [ROW | {"image_id": 4}]}, "annotation 7: image 4 is not in images"),
        ({"annotations": [ROW, ROW]}, "annotation 7 is there twice"),
        (
            {"annotations": [ROW | {"bbox": [1, 1, 0, 4]}]},
            "the box 1, 1, 1, 5 of x.png, .* no area",
        ),
        ({"annotations": [ROW | {"bbox": [1, 1, 90, 4]}]}, "reaches out of the image"),
        ({"annotations": [ROW | {"bbox": [1, 1]}]}, "boxes.json: not enough values"),
        ({"annotations": [{}]}, "boxes.json: not in COCO's form: KeyError"),
        (
            {"images": [{"id": 5, "file_name": "x.png"}] * 2},
            "the image x.png, id 5, is there twice",
        ),
        ({"images": [{"id": 5, "file_name": "gone.png"}]}, "there is no image .*gone.png"),
        ({"categories": None}, "boxes.json: not in COCO's form"),
    ],
)
def test_bad_files_of_coco(tmp_path, changes, message):
    path = str(coco_file(tmp_path, **changes))
    with pytest.raises(ValueError, match=message) as error:
        loaded(config_of("coco_json", **{"data.path": path, "data.test_path": path}))
    assert "\n" not in str(error.value)


def test_mistakes(tmp_path):
    (tmp_path / "text.json").write_text("{")
    (tmp_path / "empty").mkdir()
    for overrides, message in (
        ({"data.name": "bcdc"}, "config.data.name: expected one of .*did you mean bccd"),
        ({"data.name": "bccd"}, "--data_dir: expected bccd/boxes.csv"),
        ({"data.name": "voc2007"}, "expected a directory voc/2007 in .*, as tfds build voc/2007"),
        ({"data.name": "voc_folder"}, "config.data.path: expected a folder with Annotations"),
        ({"data.name": "coco_json", "data.path": "/no/such"}, "config.data.path: there is no /no"),
        ({"data.name": "voc_folder", "data.path": str(tmp_path / "empty")}, "no Annotations/.*xml"),
        ({"data.name": "coco_json", "data.path": str(tmp_path / "text.json")}, "no JSON"),
        ({"data.height": 3}, "config.data.height: expected an integer from 32"),
        ({"data.boxes": 0}, "config.data.boxes: expected an integer from 1"),
        ({"noise.kind": "permute"}, "expected one of symmetric_exclusive, symmetric_inclusive, gi"),
        *(({f"noise.{name}": 1.5}, f"config.noise.{name}: expected a number from 0 to 1")
          for name in NOISES),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message) as error:
            loaded(config_of("bccd", **overrides), str(tmp_path))
        assert "\n" not in str(error.value)


def test_an_image_with_too_many_boxes_is_named(tmp_path):
    folder = voc_folder(tmp_path)
    (folder / "Annotations/0.xml").write_text(xml(0, [("a", 1, 1, 9, 9, 0)] * 3))
    with pytest.raises(ValueError, match=r"data.boxes: 0.png has 3 boxes: expected 3 or more"):
        loaded(config_of("voc_folder", **{"data.path": str(folder), "data.boxes": 2}))


def test_a_bad_folder_ends_the_program_with_a_line(tmp_path):
    folder = broken_voc(tmp_path / "mine", "no XML")["data.path"]
    done = main("--config=configs/detection.py", f"--workdir={tmp_path / 'run'}",
                "--config.data.name=voc_folder", f"--config.data.path={folder}")  # fmt: skip
    assert (done.returncode, done.stderr.strip().count("\n")) == (2, 0)
    if "faster-coco-eval" not in done.stderr:
        assert "3.xml: no XML: syntax error" in done.stderr
    assert not (tmp_path / "run").exists()


# --- TFDS. ----------------------------------------------------------------------------------------


def encoded(shade, size):
    stream = io.BytesIO()
    Image.new("RGB", size, (shade,) * 3).save(stream, "PNG")
    stream.seek(0)
    return stream


def test_voc_and_coco_as_tfds_prepares_them(tmp_path):
    pytest.importorskip("tensorflow_datasets")
    import tensorflow_datasets as tfds

    def prepare(name, config, features, splits, example):
        class Small(tfds.core.GeneratorBasedBuilder, skip_registration=True):
            VERSION = tfds.core.Version("1.0.0")
            BUILDER_CONFIGS = [tfds.core.BuilderConfig(name=config)]  # noqa: RUF012

            def _info(self):
                return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(
                    {"image": tfds.features.Image(), "image/filename": tfds.features.Text(),
                     **features}))  # fmt: skip

            def _split_generators(self, dl_manager):
                return {split: self._generate_examples(rows) for split, rows in splits.items()}

            def _generate_examples(self, rows):
                for i in rows:
                    yield (
                        i,
                        {"image": encoded(i, (80, 40)), "image/filename": f"{i:03d}.png"}
                        | (example(i)),
                    )

        Small.name = name
        Small(data_dir=str(tmp_path), config=config,
              file_format="array_record").download_and_prepare()  # fmt: skip

    box = tfds.features.BBox(0.1, 0.125, 0.6, 0.375)
    flat = tfds.features.BBox(0.5, 0.5, 0.5, 0.9)
    label = tfds.features.ClassLabel(names=["cat", "dog"])
    of_voc = {"label": label, "bbox": tfds.features.BBoxFeature(), "is_difficult": np.bool_}
    prepare("voc", "2007", {"objects": tfds.features.Sequence(of_voc),
                            "labels": tfds.features.Sequence(label)},
            {"train": range(3), "validation": range(3, 5), "test": range(5, 7)},
            lambda i: {"labels": [1], "objects": [
                {"label": 1, "bbox": box, "is_difficult": bool(i % 2)}]})  # fmt: skip
    found = loaded(config_of("voc2007"), str(tmp_path))
    assert found.class_names == ("cat", "dog")
    assert found.train.inputs.pixels[:, 0, 0, 0].tolist() == [0, 1, 2, 3, 4]
    assert found.test.inputs.pixels[:, 0, 0, 0].tolist() == [5, 6]
    np.testing.assert_allclose(found.train.targets.box[:, 0], [[8, 3.2, 24, 19.2]] * 5, rtol=1e-5)
    assert found.train.targets.crowd[:, 0].tolist() == [False, True, False, True, False]
    of_coco = {"label": label, "bbox": tfds.features.BBoxFeature(), "is_crowd": np.bool_,
               "id": np.int64, "area": np.int64}  # fmt: skip
    prepare("coco", "2017", {"objects": tfds.features.Sequence(of_coco), "image/id": np.int64},
            {"train": range(3), "validation": range(3, 5)},
            lambda i: {"image/id": i, "objects": [
                {"label": 0, "bbox": one, "is_crowd": False, "id": i, "area": 9}
                for one in (flat, box)][: 2 * (i != 1)]})  # fmt: skip
    found = loaded(config_of("coco2017"), str(tmp_path))
    assert found.train.targets.label[:, :2].tolist() == [[0, NONE], [NONE, NONE], [0, NONE]]
    assert len(found.test.index) == 2
