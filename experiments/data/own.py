"""A user's own images and tables, which `config.data.path` names."""

from experiments.data import folder, huggingface, npz, prepared, table
from experiments.data.base import Dataset


def _npz(path, **unused) -> Dataset:
    return npz.read(path)


def _folder(path, side, damaged, **unused) -> Dataset:
    return folder.read(path, side, damaged)


def _table(path, label_column, path_column, side, damaged, **unused) -> Dataset:
    return table.read(path, label_column, path_column, side, damaged)


def _huggingface(path, label_column, path_column, side, damaged, **unused) -> Dataset:
    return huggingface.read(path, label_column, path_column, side, damaged)


READERS = {"npz": _npz, "folder": _folder, "table": _table, "huggingface": _huggingface}
# Keys of `config.data` that they read besides the path.
PICTURES = ("side", "damaged")
COLUMNS = ("label_column", "path_column")
BOTH = (*PICTURES, *COLUMNS)
OPTIONS = {"folder": PICTURES, "table": BOTH, "huggingface": BOTH, prepared.PREFIX: BOTH}
