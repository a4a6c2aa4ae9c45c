"""A user's own images with boxes: a folder in the form of PASCAL VOC, or files in COCO's form."""

import json
import pathlib
from typing import Any
from xml.etree import ElementTree

from experiments import checks
from experiments.data.boxed import Picture, picture

Parts = dict[str, list[Picture]]
LISTS = {"train": "train", "val": "validation", "test": "test"}  # of ImageSets/Main


def _place(path: str | None, what: str) -> pathlib.Path:
    if not path:
        raise ValueError(f"config.data.path: expected {what}, got none")
    place = checks.path("config.data.path", path)
    if not place.exists():
        raise ValueError(f"config.data.path: there is no {path}")
    return place


# --- PASCAL VOC. ----------------------------------------------------------------------------------


def voc(path: str | None) -> tuple[tuple[str, ...], Parts]:
    """Reads a folder with Annotations/*.xml and JPEGImages.

    If there is ImageSets/Main/train.txt, its lines name the images to train with, and those of
    val.txt and test.txt the others. Otherwise all are for training. Classes are sorted by name.
    """
    folder = _place(path, "a folder with Annotations and JPEGImages")
    found = sorted((folder / "Annotations").glob("*.xml"))
    if not found:
        raise ValueError(f"config.data.path: {folder} has no Annotations/*.xml")
    trees = {file: _annotation(file) for file in found}
    named: dict[str, pathlib.Path] = {}
    for file, (name, _) in trees.items():
        if name in named:
            raise ValueError(f"{file}: {name} has an annotation in {named[name].name} already")
        named[name] = file
    classes = sorted({row[0] for _, rows in trees.values() for row in rows})
    pictures = {}
    for file, (name, rows) in trees.items():
        own = [[*corners, classes.index(kind), crowd] for kind, corners, crowd in rows]
        pictures[file.stem] = picture(folder / "JPEGImages" / name, own, file)
    return tuple(classes), _listed(folder, pictures)


def _annotation(file: pathlib.Path) -> tuple[str, list[tuple[str, list[float], bool]]]:
    """Returns the image's name, and of each object its class, corners, and whether difficult."""
    try:
        root = ElementTree.parse(file).getroot()
        name = _text(root, "filename")
        return name, [_object(one) for one in root.iter("object")]
    except (ElementTree.ParseError, UnicodeDecodeError) as error:
        raise ValueError(f"{file}: no XML: {error}") from None
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from None


def _object(one) -> tuple[str, list[float], bool]:
    corners = []
    for name in ("xmin", "ymin", "xmax", "ymax"):
        text = _text(one, f"bndbox/{name}")
        try:
            corners.append(float(text))
        except ValueError:
            raise ValueError(f"{name} {text!r} is no number") from None
    return _text(one, "name"), corners, (one.findtext("difficult") or "0").strip() == "1"


def _text(parent, name: str) -> str:
    found = (parent.findtext(name) or "").strip()
    if not found:
        raise ValueError(f"expected a {name} in <{parent.tag}>, got none")
    return found


def _listed(folder: pathlib.Path, pictures: dict[str, Picture]) -> Parts:
    lists = folder / "ImageSets" / "Main"
    if not (lists / "train.txt").is_file():
        return {"train": [*pictures.values()]}
    parts: Parts = {}
    for name, part in LISTS.items():
        file = lists / f"{name}.txt"
        stems = file.read_text().split() if file.is_file() else []
        for stem in stems:
            if stem not in pictures:
                raise ValueError(f"{file}: there is no Annotations/{stem}.xml")
        parts[part] = [pictures[stem] for stem in stems]
    return parts


# --- COCO. ----------------------------------------------------------------------------------------


def coco(path: str | None, test_path: str | None) -> tuple[tuple[str, ...], Parts]:
    """Reads a JSON file in COCO's form, and maybe a second one with the test images.

    Names of images are relative to the file's folder, or to `images` in it.
    """
    file = _place(path, "a JSON file in COCO's form")
    classes, pictures = _instances(file, None)
    if not test_path:
        return classes, {"train": pictures}
    _, test = _instances(_place(test_path, "a JSON file in COCO's form"), classes)
    return classes, {"train": pictures, "test": test}


def _instances(file: pathlib.Path, wanted: tuple[str, ...] | None):
    """Returns the classes, by id, and the pictures; `wanted` are the classes that there must be."""
    try:
        content = json.loads(file.read_text())
        names = {one["id"]: one["name"] for one in content["categories"]}
        files = _files(content["images"])
        rows = _rows(content["annotations"], files, [*sorted(names)])
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{file}: no JSON: {error}") from None
    except (KeyError, TypeError, IndexError, OSError) as error:
        raise ValueError(f"{file}: not in COCO's form: {error!r}") from None
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from None
    classes = tuple(str(names[one]) for one in sorted(names))
    if wanted not in (None, classes):
        raise ValueError(f"{file}: other categories than those of config.data.path")
    folder = file.parent / "images" if (file.parent / "images").is_dir() else file.parent
    return classes, [picture(folder / name, rows[one], file) for one, name in files.items()]


def _files(images) -> dict[Any, str]:
    """Returns the file of each image, by its id."""
    files: dict[Any, str] = {}
    names: set[str] = set()
    for one in images:
        if one["id"] in files or one["file_name"] in names:
            raise ValueError(f"the image {one['file_name']}, id {one['id']}, is there twice")
        files[one["id"]] = one["file_name"]
        names.add(one["file_name"])
    return files


def _rows(annotations, files: dict[Any, str], categories: list) -> dict[Any, list]:
    """Returns rows of corners, class and crowd, by the image's id."""
    rows: dict[Any, list] = {one: [] for one in files}
    place = {category: i for i, category in enumerate(categories)}
    ids = set()
    for one in annotations:
        named = f"annotation {one['id']}"
        if one["id"] in ids:
            raise ValueError(f"{named} is there twice")
        ids.add(one["id"])
        if one["image_id"] not in rows:
            raise ValueError(f"{named}: image {one['image_id']} is not in images")
        if one["category_id"] not in place:
            raise ValueError(f"{named}: category {one['category_id']} is not in categories")
        left, top, width, height = map(float, one["bbox"])
        corners = [left, top, left + width, top + height]
        rows[one["image_id"]].append([*corners, place[one["category_id"]], one.get("iscrowd", 0)])
    return rows
