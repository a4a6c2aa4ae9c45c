"""A user's own images and tables, which `config.data.path` names."""

from experiments.data import folder, huggingface, npz, prepared, table
from experiments.data.base import Dataset


def _npz(path, **unused) -> Dataset:
    return npz.read(path)


def _folder(path, side, damaged, decode, **unused) -> Dataset:
    return folder.read(path, side, damaged, decode)


def _table(path, label_column, path_column, **pictures) -> Dataset:
    return table.read(path, label_column, path_column, **_options(pictures))


def _huggingface(path, label_column, path_column, **pictures) -> Dataset:
    return huggingface.read(path, label_column, path_column, **_options(pictures))


def _options(given: dict) -> dict:
    return {key: given[key] for key in PICTURES}


READERS = {"npz": _npz, "folder": _folder, "table": _table, "huggingface": _huggingface}
# Keys of `config.data` that they read besides the path.
PICTURES = ("side", "damaged", "decode")
COLUMNS = ("label_column", "path_column")
BOTH = (*PICTURES, *COLUMNS)
OPTIONS = {"folder": PICTURES, "table": BOTH, "huggingface": BOTH, prepared.PREFIX: BOTH}
