"""Directories that TFDS prepared, read without TensorFlow: any with images and a label."""

import importlib.util
import json
import pathlib
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from experiments.data import own_labels, pictures
from experiments.data.base import Dataset, NotThere, some
from experiments.progress import track

PREFIX = "tfds:"  # begins `config.data.name`
FEATURES = ("features_dict.FeaturesDict", "text_feature.Text", "image_feature.Image",
            "class_label_feature.ClassLabel")  # fmt: skip
MORE = ("bounding_boxes.BBoxFeature", "sequence_feature.Sequence", "scalar.Scalar",
        "tensor_feature.Tensor")  # fmt: skip
HELD_OUT = ("test", "validation", "valid", "val")  # the first of these splits is the test set
FILE_NAMES = ("file_name", "filename", "image/filename", "id")  # features that tell an image


class Columns(NamedTuple):
    """The names of features."""

    image: str
    label: str
    file: str | None


def check_features(folder: pathlib.Path, more: tuple[str, ...] = ()) -> None:
    """Raises ValueError if features.json names a class outside TFDS, since TFDS would import it."""

    def names(value):
        if isinstance(value, dict):
            for key, item in value.items():
                yield from [item] if key == "pythonClassName" else names(item)

    own = {f"tensorflow_datasets.core.features.{module}" for module in (*FEATURES, *more)}
    for name in names(json.loads((folder / "features.json").read_text())):
        if name not in own:
            raise ValueError(f"features.json names {name!r}, which this data set does not need")


def read(
    name: str,
    roots: list[pathlib.Path],
    label_column: str | None,
    path_column: str | None,
    side: int,
    damaged: str,
    decode: str = "memory",
) -> Dataset:
    """Reads the newest version below one of the roots.

    Args:
      name: "tfds:NAME" or "tfds:NAME/CONFIG".
      roots: folders to search.
      label_column: the feature with the label; None for `label`, or for the only class label.
      path_column: the feature with the image; None for the only one.
      side: as in `pictures.read`.
      damaged: as in `pictures.read`.
      decode: as in `pictures.read`.
    """
    pictures.check_options(side, damaged, decode)
    folder = _found(name.removeprefix(PREFIX), roots)
    if importlib.util.find_spec("tensorflow_datasets") is None:
        raise ValueError("TFDS directories need: pip install -e '.[experiments]'")
    try:
        check_features(folder, MORE)
        import tensorflow_datasets as tfds

        builder = tfds.builder_from_directory(str(folder))
        features = dict(builder.info.features.items())
        splits = splits_of([*builder.info.splits])
    except Exception as error:  # TFDS raises many types
        raise _unreadable(name, folder, error) from None
    columns = _columns(name, features, label_column, path_column)
    try:
        encoded = {columns.image: tfds.decode.SkipDecoding()}
        sources = [builder.as_data_source(split, decoders=encoded) for split in splits]
        rows = [_rows(one, columns, f"{name} {split}") for one, split in
                zip(sources, splits, strict=True)]  # fmt: skip
    except Exception as error:
        raise _unreadable(name, folder, error) from None
    found = {f"{split} {columns.label}": np.array(labels)
             for split, (labels, _) in zip(splits, rows, strict=True)}  # fmt: skip
    names = getattr(features[columns.label], "names", None)
    mapped, class_names = own_labels.as_classes(name, found, names)
    images = pictures.Pictures(
        names=[one for _, texts in rows for one in texts],
        content=pictures.joined(sources, _content(name, folder, columns.image)),
        labels=np.concatenate([*mapped.values()]).astype(np.int32),
        is_test=np.repeat([False, True][: len(rows)], [len(labels) for labels, _ in rows]),
        class_names=list(class_names),
        files=sorted(path for path in folder.iterdir() if path.is_file()),
        column=columns.image,
        told=told(folder.name, splits, [*builder.info.splits]),
    )
    dataset = pictures.read(name, images, side, damaged, decode)
    return dataset if columns.file else dataset._replace(files=())


def _content(name: str, folder: pathlib.Path, image: str) -> Callable[[Any, int], bytes]:
    """Returns a function of a source and a position, which gives the encoded image."""

    def content(source, i: int) -> bytes:
        try:
            return source[i][image]
        except Exception as error:  # TFDS raises many types
            raise _unreadable(name, folder, error) from None

    return content


def splits_of(names: list[str]) -> list[str]:
    """Returns the splits for training and, if there is one, for the test."""
    if "train" not in names:
        raise ValueError(f"expected a split train, got {some(names) or 'none'}")
    return ["train", *[one for one in HELD_OUT if one in names][:1]]


def told(version: str, splits: list[str], names: list[str]) -> tuple[str, ...]:
    """The line that says what was chosen."""
    left = [one for one in names if one not in splits]
    also = f"; left out: {some(left)}" if left else ""
    test = f", {splits[1]} as the test set" if len(splits) > 1 else ""
    return (f"splits   {version}: {splits[0]}{test}{also}".replace(" :", ""),)


def _found(name: str, roots: list[pathlib.Path]) -> pathlib.Path:
    if not re.fullmatch(r"\w+(/\w[\w.+-]*)?", name):
        said = f"expected tfds:NAME or tfds:NAME/CONFIG, got {PREFIX}{name}"
        raise ValueError(f"config.data.name: {said}")
    for root in roots:
        if prepared := sorted((root / name).glob("*/dataset_info.json")):
            return prepared[-1].parent
        if below := sorted({one.parts[-3] for one in (root / name).glob("*/*/dataset_info.json")}):
            said = f"expected one of {some([f'{PREFIX}{name}/{one}' for one in below])}"
            raise ValueError(f"config.data.name: {said}, got {PREFIX}{name}")
    said = f"expected a directory {name} in {roots[0]}, as tfds build {name}"
    raise NotThere(f"--data_dir: {said} --file_format=array_record makes it")


def _unreadable(name: str, folder: pathlib.Path, error: Exception) -> ValueError:
    reason = (str(error).strip() or repr(error)).splitlines()[0]
    return ValueError(f"data set {name}: cannot read {folder}: {reason}")


def _columns(name: str, features: dict[str, Any], label: str | None, image: str | None) -> Columns:
    """Returns the features to read, or says which there are."""
    import tensorflow_datasets as tfds

    kinds = {"image": tfds.features.Image, "label": tfds.features.ClassLabel}
    chosen = {}
    for key, option, given in (("image", "path", image), ("label", "label", label)):
        of_kind = [one for one, kind in features.items() if isinstance(kind, kinds[key])]
        several = [given] if given else [key] if key in of_kind else of_kind
        if len(several) != 1 or several[0] not in features:
            said = f"expected the feature with the {key}, one of {some(sorted(of_kind)) or 'none'}"
            got = f", got {given!r}" if given else ""
            raise ValueError(f"config.data.{option}_column: {name}: {said}{got}")
        chosen[key] = several[0]
    return Columns(**chosen, file=next((one for one in FILE_NAMES if one in features), None))


def _rows(source, columns: Columns, what: str) -> tuple[list, list[str]]:
    """Returns of each record its label, and its name."""
    labels, names = [], []
    for i, record in enumerate(track(source, f"reading {what}")):
        label = record[columns.label]
        labels.append(label.decode() if isinstance(label, bytes) else label)
        named = record[columns.file] if columns.file else f"{what.partition(' ')[2]} {i}"
        names.append(named.decode() if isinstance(named, bytes) else str(named))
    return labels, names
