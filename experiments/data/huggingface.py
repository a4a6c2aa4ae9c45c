"""Images and labels of the library `datasets` of Hugging Face: a saved directory, or a hub name."""

import importlib.util
import pathlib

import numpy as np

from experiments import checks
from experiments.data import own_labels, pictures, prepared
from experiments.data.base import Dataset, some


def read(
    path: str | None,
    label_column: str | None,
    path_column: str | None,
    side: int,
    damaged: str,
    decode: str = "memory",
) -> Dataset:
    """Reads the splits train and, if there is one, test or validation.

    Args:
      path: a directory that `save_to_disk` wrote, or a name for `load_dataset`.
      label_column: its name; None for `label`, or for the only one that can be meant.
      path_column: the column with the images; None for the only one.
      side: as in `pictures.read`.
      damaged: as in `pictures.read`.
      decode: as in `pictures.read`.
    """
    if not path:
        raise ValueError("config.data.path: expected a directory of save_to_disk, or a name")
    pictures.check_options(side, damaged, decode)
    if importlib.util.find_spec("datasets") is None:
        raise ValueError("config.data.name: huggingface needs: pip install -e '.[huggingface]'")
    import datasets

    place = checks.path("config.data.path", path)
    where = f"config.data.path: {path}"
    whole = _loaded(path, place)
    try:
        splits = prepared.splits_of([*whole])
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    image, label = _columns(whole["train"].features, label_column, path_column)
    parts = [whole[split] for split in splits]
    found = {
        f"{split} {label}": _labels(f"{where}: {split}", part, image, label)
        for split, part in zip(splits, parts, strict=True)
    }
    names = getattr(whole["train"].features[label], "names", None)
    mapped, class_names = own_labels.as_classes(where, found, names)
    encoded = [part.select_columns(image).cast_column(image, datasets.Image(decode=False))
               for part in parts]  # fmt: skip
    images = pictures.Pictures(
        names=[f"{split} {i}" for split, part in zip(splits, parts, strict=True)
               for i in range(len(part))],
        content=pictures.joined(encoded, lambda part, i: _content(where, part[i][image], place)),
        labels=np.concatenate([*mapped.values()]).astype(np.int32),
        is_test=np.repeat([False, True][: len(parts)], [len(part) for part in parts]),
        class_names=list(class_names),
        files=[pathlib.Path(one["filename"]) for part in parts for one in part.cache_files],
        column=image,
        told=prepared.told("", splits, [*whole]),
    )  # fmt: skip
    return pictures.read("huggingface", images, side, damaged, decode)._replace(files=())


def _loaded(path: str, place: pathlib.Path) -> dict:
    """Returns the data set of each split."""
    import datasets

    try:
        if place.exists():
            found = datasets.load_from_disk(str(place))
        else:
            found = datasets.load_dataset(path)
        parts = {"train": found} if isinstance(found, datasets.Dataset) else dict(found)
        for part in parts.values():
            part.data.validate(full=True)  # a torn file could crash Python later
    except Exception as error:  # it raises many types
        reason = (str(error).strip() or repr(error)).splitlines()[0]
        raise ValueError(f"config.data.path: cannot load {path}: {reason[:300]}") from None
    return parts


def _columns(features, label: str | None, image: str | None) -> tuple[str, str]:
    """Returns the names of the columns with images and labels."""
    import datasets

    images = [name for name, kind in features.items() if isinstance(kind, datasets.Image)]
    if image:
        checks.choose("config.data.path_column", image, dict.fromkeys(images))
    elif len(images) != 1:
        said = f"one of {some(images)}" if images else f"got columns {some([*features], 20)}"
        raise ValueError(f"config.data.path_column: expected the column with the images, {said}")
    image = image or images[0]
    others = [name for name in features if name not in images]
    classes = [name for name in others if isinstance(features[name], datasets.ClassLabel)]
    label = label or ("label" if "label" in others else None)
    for several in (classes, others):
        label = label or (several[0] if len(several) == 1 else None)
    if not label:
        said = f"expected the column with the labels, one of {some(others, 20) or 'none'}"
        raise ValueError(f"config.data.label_column: {said}")
    checks.choose("config.data.label_column", label, dict.fromkeys(others))
    return image, label


def _labels(where: str, part, image: str, label: str) -> np.ndarray:
    """Returns the labels of a split."""
    from experiments.data import columns

    for name in (image, label):
        if name not in part.column_names:
            raise ValueError(f"{where}: expected a column {name}, got {some(part.column_names)}")
    table = part.select_columns(label).with_format("arrow")[:]
    return columns.labels(table[label], f"{where} {label}")


def _content(where: str, found, place: pathlib.Path) -> bytes | pathlib.Path:
    """Returns the file of an image, or what is in it; nothing for none."""
    one = found or {"bytes": b"", "path": None}
    if one["bytes"] is not None:
        return one["bytes"]
    path = pathlib.Path(one["path"] or "")
    if place.exists() and place.resolve() not in path.resolve().parents:
        raise ValueError(f"{where}: expected images in it, got the path of one, {path}")
    return path
