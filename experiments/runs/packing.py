"""Packs the finished runs of a sweep into a few files, and gives their directories back."""

import contextlib
import csv
import pathlib
from typing import NamedTuple

from experiments.runs import files, packed, stored
from experiments.runs.lock import LOCK, locked
from experiments.runs.packed import Record
from experiments.runs.reading import json_object

ANOTHER = "another run of this name is packed already"


class Outcome(NamedTuple):
    """What packing has done."""

    records: list[Record]  # all that are packed now
    left: dict[str, str]  # finished, and left loose: why, by directory


def pack(root: pathlib.Path) -> Outcome:
    """Packs every finished run below a directory, and then removes the files it replaces.

    Raises:
      ValueError: if the directory is in use, or holds a run's own config, or a file is torn.
    """
    with locked(root):
        there = packed.records_of(root) if packed.is_packed(root) else {}
        new, left = loose_records(root)
        for name in {*new} & {*there}:
            old = there[name]
            if not same(new[name]._replace(losses=old.losses), old):
                left[name] = ANOTHER
            if name in left or new[name].losses in ([], old.losses):
                del new[name]
        check_free(root, new)
        if new:
            replace_set(root, sorted((there | new).values(), key=lambda one: one.directory))
        whole = packed.records_of(root) if packed.is_packed(root) else {}
        for name in (files.CONFIG, packed.RUNS, packed.METRICS, files.LOSSES):
            files.aside(root / name).unlink(missing_ok=True)  # of one that was killed
        for name in whole.keys() - left.keys():
            if why := remove_loose(root, whole[name]):
                left[name] = why
    return Outcome([*whole.values()], left)


def check_free(root: pathlib.Path, new: dict[str, Record]) -> None:
    """Refuses to replace a config.json of a run that is not packed."""
    if (root / files.CONFIG).exists() and not packed.is_packed(root) and "." not in new:
        said = f"expected a sweep's directory, got one with a run's own {files.CONFIG}"
        raise ValueError(f"--workdir: {root}: {said}")


def loose_records(root: pathlib.Path) -> tuple[dict[str, Record], dict[str, str]]:
    """Finished runs that can be packed, by directory, and why others cannot."""
    loose, packs = stored.places(root)
    others = {pack for pack in packs if pack != root}
    found, left = {}, {}
    for path in sorted(loose):
        name = path.relative_to(root).as_posix()
        if others & {*path.parents}:
            left[name] = "it lies below another packed sweep"
            continue
        try:
            with held(root, path):  # a running one would change its files meanwhile
                record = loose_record(root, path)
            if record is not None:
                found[name] = record
        except (OSError, ValueError, KeyError, TypeError) as error:
            left[name] = " ".join(str(error).split())
    return found, left


def held(root: pathlib.Path, path: pathlib.Path):
    """Holds a run's directory; the sweep's own is held already."""
    return locked(path) if path != root else contextlib.nullcontext()


def loose_record(root: pathlib.Path, path: pathlib.Path) -> Record | None:
    """A run from its own files; None of several seeds, which have files of their own.

    Raises:
      ValueError: if packing would change a value.
    """
    if (results := stored.loose_results(path)) is None:
        return None
    if not packed.is_packed(path):  # else a pack that was killed has put its own there
        config = json_object(path / files.CONFIG)
        if packed.text(config) != packed.text(results["config"]):
            raise ValueError(f"its {files.CONFIG} is not the one of its {files.RESULTS}")
    timing, losses = path / files.TIMING, path / files.LOSSES
    record = Record(
        path.relative_to(root).as_posix(), results, files.read_rows(path / files.METRICS),
        files.read_rows(timing) if timing.exists() else [],
        read_csv(losses) if losses.exists() and not packed.is_packed(path) else [],
    )  # fmt: skip
    (again,) = packed.decode(packed.encode([record]))
    if not same(again, record):
        raise ValueError("its files hold what the packed ones would not give back the same")
    return record


def read_csv(path: pathlib.Path) -> list[list[str]]:
    with open(path, newline="") as file:
        return [*csv.reader(file)]


def same(one: Record, other: Record) -> bool:
    """Whether two records are equal; the config's hash is left out, as it is computed when read."""
    keys = [
        packed.text(each._replace(results={**each.results, packed.HASH: ""}))
        for each in (one, other)
    ]
    return keys[0] == keys[1]


def replace_set(root: pathlib.Path, records: list[Record]) -> None:
    """Writes the packed files under temporary names, reads them back, then renames them."""
    content = packed.encode(records)
    for name, one in content.items():
        files.write_aside(root / name, one)
    again = packed.decode({name: files.aside(root / name).read_bytes() for name in content})
    if len(again) != len(records) or not all(map(same, again, records)):
        raise ValueError(f"--workdir: {root}: the packed files do not give back the same values")
    files.put_in_place(root / files.CONFIG)
    packed.settle(root)


def remove_loose(root: pathlib.Path, record: Record) -> str:
    """Removes the files of a packed run's directory that hold what is packed; says why not.

    results.json goes first: without it the rest is no finished run, and a next time removes it.
    """
    path = root / record.directory
    names = [files.RESULTS, files.METRICS, files.TIMING]
    names += [files.LOSSES, files.CONFIG] if path != root else []  # there, those of the packed ones
    there = {one.name for one in path.iterdir()} if path.is_dir() else set()
    try:
        if {*names} & there or there == {LOCK}:
            with held(root, path):
                for name in names:
                    if holds(path / name, record):
                        (path / name).unlink()
                    elif (path / name).exists():
                        return ANOTHER
                if {one.name for one in path.iterdir()} == {LOCK} and path != root:
                    (path / LOCK).unlink()
    except ValueError as error:  # in use
        return str(error)
    while path != root and not (path.is_dir() and any(path.iterdir())):
        if path.is_dir():
            path.rmdir()
        path = path.parent
    return ""


def holds(path: pathlib.Path, record: Record) -> bool:
    """Whether a run's own file is there, and holds what is packed of it."""
    try:
        if path.name in (files.METRICS, files.TIMING):
            rows = record.metrics if path.name == files.METRICS else record.timing
            return packed.text(files.read_rows(path)) == packed.text(rows)
        if path.name == files.LOSSES:
            return read_csv(path) == record.losses
        value = json_object(path)
        if path.name == files.CONFIG:
            return packed.text(value) == packed.text(record.results["config"])
        return same(record._replace(results=value), record)
    except (OSError, ValueError, TypeError):
        return False


def unpack(root: pathlib.Path, output: pathlib.Path) -> list[pathlib.Path]:
    """Writes each packed run's own files, results.json last; returns their directories.

    Raises:
      ValueError: if nothing is packed there, or a directory holds a run already.
    """
    if not packed.is_packed(root):
        raise ValueError(f"--workdir: expected a packed sweep, got {root}")
    records = packed.records_of(root)
    paths = {name: output / name for name in records}
    for name, path in paths.items():
        own = (files.CONFIG, files.METRICS, files.TIMING, files.RESULTS)
        there = [path / one for one in own if (path / one).exists()]
        if not all(holds(one, records[name]) for one in there):
            raise ValueError(f"--output: expected a directory without a run, got {path}")
    for name, path in paths.items():
        path.mkdir(parents=True, exist_ok=True)
        with locked(path):
            write_loose(path, records[name])
    return [*paths.values()]


def write_loose(path: pathlib.Path, record: Record) -> None:
    content = {files.CONFIG: files.json_bytes(record.results["config"])}
    content[files.METRICS] = "".join(map(files.line, record.metrics)).encode()
    if record.timing:
        content[files.TIMING] = "".join(map(files.line, record.timing)).encode()
    if record.losses:
        content[files.LOSSES] = packed.csv_bytes(record.losses)
    content[files.RESULTS] = files.json_bytes(record.results)
    for name, one in content.items():
        files.write_aside(path / name, one)
        files.put_in_place(path / name)
