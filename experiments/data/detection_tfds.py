"""PASCAL VOC and COCO in directories that TFDS prepared, read without TensorFlow."""

import functools
import importlib.util
import io
import pathlib
from typing import Any

import numpy as np

from experiments.data import prepared, sources
from experiments.data.base import NotThere
from experiments.data.boxed import Picture
from experiments.progress import track

# Of each data set the builders and splits that its parts are made of.
VOC07 = {"train": ["voc/2007:train", "voc/2007:validation"], "test": ["voc/2007:test"]}
VOC12 = {"train": ["voc/2012:train"], "test": ["voc/2012:validation"]}
BOTH = {"train": [*VOC07["train"], *VOC12["train"], *VOC12["test"]], "test": VOC07["test"]}
COCO = {"train": ["coco/2017:train"], "test": ["coco/2017:validation"]}
SETS = {"voc2007": VOC07, "voc2012": VOC12, "voc0712": BOTH, "coco2017": COCO}


def load(name: str, data_dir: str | None) -> tuple[tuple[str, ...], dict[str, list[Picture]]]:
    """Returns the class names, and the pictures of each part. Boxes without area are left out.

    Raises:
      ValueError: if a directory is missing or cannot be read.
    """
    names: tuple[str, ...] = ()
    parts: dict[str, list[Picture]] = {}
    for part, wanted in SETS[name].items():
        parts[part] = []
        for one in wanted:
            builder, _, split = one.partition(":")
            names, pictures = _read(_folder(builder, data_dir), split)
            parts[part] += pictures
    return names, parts


def _folder(builder: str, data_dir: str | None) -> pathlib.Path:
    roots = sources.roots(data_dir)
    for root in roots:
        if versions := sorted((root / builder).glob("*/dataset_info.json")):
            return versions[-1].parent
    said = f"expected a directory {builder} in {roots[0]}, as tfds build {builder}"
    raise NotThere(f"--data_dir: {said} --file_format=array_record makes it")


def _read(folder: pathlib.Path, split: str) -> tuple[tuple[str, ...], list[Picture]]:
    if importlib.util.find_spec("tensorflow_datasets") is None:
        raise ValueError("TFDS directories need: pip install -e '.[experiments]'")
    try:
        prepared.check_features(folder, prepared.MORE)
        import tensorflow_datasets as tfds

        builder = tfds.builder_from_directory(str(folder))
        encoded = {"image": tfds.decode.SkipDecoding()}
        source = builder.as_data_source(split, decoders=encoded)
        names = tuple(builder.info.features["objects"]["label"].names)
        records = track(source, f"reading {builder.name} {split}")
        pictures = [_picture(source, i, record, folder) for i, record in enumerate(records)]
    except Exception as error:  # TFDS raises many types
        reason = (str(error).strip() or repr(error)).splitlines()[0]
        raise ValueError(f"cannot read {folder}: {reason}") from None
    return names, sorted(pictures, key=lambda one: one.file.name)  # TFDS shuffles


def _picture(source, i: int, record: dict[str, Any], folder: pathlib.Path) -> Picture:
    objects = record["objects"]
    top, left, bottom, right = np.asarray(objects["bbox"], np.float64).reshape(-1, 4).T
    aside = objects["is_crowd"] if "is_crowd" in objects else objects["is_difficult"]
    there = (right > left) & (bottom > top)
    return Picture(
        file=pathlib.Path(record["image/filename"].decode()),
        boxes=np.stack([left, top, right, bottom], axis=1)[there],
        labels=np.asarray(objects["label"], np.int32)[there],
        crowd=np.asarray(aside, bool)[there],
        source=folder,
        encoded=functools.partial(_bytes, source, i),
    )


def _bytes(source, i: int) -> io.BytesIO:
    return io.BytesIO(source[i]["image"])
