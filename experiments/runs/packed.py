"""The files of a packed sweep: all its finished runs in three files, or four.

config.json   what the results of all runs have in common, and the other files' sha256
runs.jsonl    a line a run: its number, its directory, and what is its own of its results
metrics.csv   a line an epoch: the run's number, its metrics and its times
losses.csv    the lines of the runs' own losses.csv, where they have one

Packing writes all files under temporary names, then renames config.json, then the others. Before
the first renaming the old files are intact. After it, a reader that finds another file still under
its temporary name knows it by its hash, and renames it.
"""

import contextlib
import csv
import functools
import hashlib
import io
import json
import pathlib
from collections.abc import Iterable
from typing import Any, NamedTuple

from experiments.runs import files, identity
from experiments.runs.reading import as_object, check_results, json_object, torn

RUNS, METRICS = "runs.jsonl", "metrics.csv"
HASH = "config_sha256"  # of results: computed when read, since what it covers may change


class Record(NamedTuple):
    """All that is kept of a finished run."""

    directory: str  # below the sweep's, with slashes
    results: dict[str, Any]
    metrics: list[dict]
    timing: list[dict]
    losses: list[list[str]]  # the lines of its losses.csv, the head among them; or none


def encode(records: list[Record]) -> dict[str, bytes]:
    """The contents of the files by name, config.json last.

    Raises:
      ValueError: if two runs cannot be in one table.
    """
    own = [{k: v for k, v in sorted(one.results.items()) if k != HASH} for one in records]
    common = in_common(own, deep=False) | {"config": in_common([one["config"] for one in own])}
    lines = [
        {"run": i, "directory": record.directory, "results": remainder(one, common)}
        for i, (record, one) in enumerate(zip(records, own, strict=True))
    ]
    times = keys_of(row for one in records for row in one.timing)
    content = {RUNS: "".join(json.dumps(line) + "\n" for line in lines).encode()}
    content[METRICS] = epochs_table(records, times)
    if any(one.losses for one in records):
        content[files.LOSSES] = losses_table(records)
    sha256 = {name: hashlib.sha256(one).hexdigest() for name, one in content.items()}
    whole = {"common": common, "timing": times, "sha256": sha256}
    return content | {files.CONFIG: (json.dumps(whole, indent=2) + "\n").encode()}


def text(value) -> str:
    """A text to compare values by: Python holds 1, 1.0 and True to be equal."""
    return json.dumps(value, sort_keys=True)


def in_common(values: list[dict], deep: bool = True) -> dict:
    """The items that all dicts share; if `deep`, those of differing dicts inside them, too."""
    shared: dict[str, Any] = {}
    for key, first in values[0].items():
        if not all(key in one for one in values):
            continue
        if len({text(one[key]) for one in values}) == 1:
            shared[key] = first
        elif deep and all(isinstance(one[key], dict) for one in values):
            shared[key] = in_common([one[key] for one in values])
    return shared


def remainder(value: dict, common: dict) -> dict:
    """The rest of a value, which `merged` puts together with `common` again."""
    own = {}
    for key, one in value.items():
        if key not in common:
            own[key] = one
        elif text(one) != text(common[key]):  # both are dicts
            own[key] = remainder(one, common[key])
    return own


def merged(common: dict, own: dict) -> dict:
    whole = dict(common)
    for key, value in own.items():
        whole[key] = merged(common[key], value) if key in common else value
    return dict(sorted(whole.items()))


def keys_of(rows: Iterable[dict]) -> list[str]:
    """All keys of rows but the epoch, in their order."""
    return [key for key in dict.fromkeys(key for row in rows for key in row) if key != "epoch"]


def epochs_table(records: list[Record], times: list[str]) -> bytes:
    """Writes floats as repr does, null as nan, and an empty cell for a key that a row lacks."""
    measured = keys_of(row for one in records for row in one.metrics)
    if both := {*measured, "epoch"} & {*times, "run"}:
        raise ValueError(f"expected other names of metrics, got {', '.join(sorted(both))}")
    lines = [["run", "epoch", *measured, *times]]
    for i, one in enumerate(records):
        timing = {row["epoch"]: row for row in one.timing}
        for row in one.metrics:
            whole = timing.get(row["epoch"], {}) | row
            lines.append([str(i), *(cell(whole, key) for key in lines[0][1:])])
    return csv_bytes(lines)


def cell(row: dict, key: str) -> str:
    if key not in row:
        return ""
    return "nan" if row[key] is None else json.dumps(row[key])


def losses_table(records: list[Record]) -> bytes:
    heads = {tuple(one.losses[0]) for one in records if one.losses}
    if len(heads) > 1:
        raise ValueError(f"expected the same columns in every {files.LOSSES}, got {heads}")
    lines = [[*heads.pop()]]
    for i, one in enumerate(records):
        lines += [[str(i), *rest] for _, *rest in one.losses[1:]]
    return csv_bytes(lines)


def csv_bytes(lines: list[list[str]]) -> bytes:
    content = io.StringIO()
    csv.writer(content, lineterminator="\n").writerows(lines)
    return content.getvalue().encode()


def csv_lines(content: bytes) -> list[list[str]]:
    return [*csv.reader(io.StringIO(content.decode(), newline=""))]


class Epochs(NamedTuple):
    """A run's rows, as its own metrics.jsonl and timing.jsonl have them."""

    metrics: list[dict]
    timing: list[dict]


def decode_results(config: bytes, lines: bytes) -> dict[str, dict]:
    """Results by directory, in the order of the runs' numbers."""
    common = json.loads(config)["common"]
    found = {}
    for line in map(json.loads, lines.decode().splitlines()):
        results = merged(common, line["results"])
        check_results(results)
        results[HASH] = identity.config_sha256(results["config"])
        found[line["directory"]] = results
    return found


def decode_epochs(config: bytes, table: bytes) -> list[Epochs]:
    """The rows of each run, by its number."""
    times = {*json.loads(config)["timing"]}
    (_, *head), *lines = csv_lines(table)
    found: dict[int, Epochs] = {}
    for number, *cells in lines:
        there = [(k, "null" if c == "nan" else c) for k, c in zip(head, cells, strict=True) if c]
        values = json.loads(f"[{','.join(c for _, c in there)}]")
        row = dict(zip((k for k, _ in there), values, strict=True))
        own = found.setdefault(int(number), Epochs([], []))
        own.metrics.append({key: value for key, value in row.items() if key not in times})
        if timed := {key: value for key, value in row.items() if key in times}:
            own.timing.append({"epoch": row["epoch"]} | timed)
    return [found.get(i, Epochs([], [])) for i in range(max(found, default=-1) + 1)]


def decode_losses(table: bytes) -> dict[int, list[list[str]]]:
    """The lines of each run's losses.csv, the head among them, by the runs' numbers."""
    head, *lines = csv_lines(table)
    found: dict[int, list[list[str]]] = {}
    for number, *rest in lines:
        found.setdefault(int(number), [head]).append([".", *rest])
    return found


def decode(content: dict[str, bytes]) -> list[Record]:
    """What `encode` was given, with hashes of the configs."""
    results = decode_results(content[files.CONFIG], content[RUNS])
    epochs = decode_epochs(content[files.CONFIG], content[METRICS])
    losses = decode_losses(content[files.LOSSES]) if files.LOSSES in content else {}
    epochs += [Epochs([], [])] * (len(results) - len(epochs))
    return [
        Record(directory, own, *epochs[i], losses.get(i, []))
        for i, (directory, own) in enumerate(results.items())
    ]


def is_packed(folder: pathlib.Path) -> bool:
    """Whether a directory's config.json is that of a packed sweep."""
    try:
        return {"sha256", "common", "timing"} <= {*json_object(folder / files.CONFIG)}
    except (OSError, ValueError):
        return False


def sha256s(folder: pathlib.Path, config: bytes) -> dict[str, str]:
    """The hashes of the other files, by name, as config.json has them."""
    with torn(folder):
        hashes = as_object(config, files.CONFIG)["sha256"]
        return {name: hashes[name] for name in (RUNS, METRICS, files.LOSSES) if name in hashes}


def settle(folder: pathlib.Path) -> None:
    """Checks the files of a packed sweep, and renames those that a killed `pack` left unnamed.

    Raises:
      ValueError: if a file is not the one that config.json names.
    """
    for name, expected in sha256s(folder, (folder / files.CONFIG).read_bytes()).items():
        path = folder / name
        if sha256_of(path) == expected:
            continue
        if sha256_of(files.aside(path)) == expected:
            with contextlib.suppress(FileNotFoundError):  # another reader was first
                files.put_in_place(path)
        if (got := sha256_of(path)) != expected:
            said = f"expected a file of sha256 {expected[:8]}, got {got[:8] or 'none'}"
            raise ValueError(f"--workdir: {path} is torn or was changed: {said}")


def sha256_of(path: pathlib.Path) -> str:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return ""


Stamp = tuple[tuple[int, int, int], ...]


def contents(folder: pathlib.Path) -> dict[str, bytes]:
    """Reads the files of a packed sweep, all of one packing even if another ends meanwhile.

    Raises:
      ValueError: if a file is torn.
    """
    while True:
        config = (folder / files.CONFIG).read_bytes()
        try:
            settle(folder)
            found = {name: (folder / name).read_bytes() for name in sha256s(folder, config)}
        except (OSError, ValueError):
            if (folder / files.CONFIG).read_bytes() == config:
                raise
            continue
        if (folder / files.CONFIG).read_bytes() == config:  # the last of a packing to be renamed
            return found | {files.CONFIG: config}


def stamp(folder: pathlib.Path) -> Stamp:
    """Identifies the state of the files: while it stays the same, nothing is read again."""
    found = []
    for name in (files.CONFIG, RUNS, METRICS, files.LOSSES):
        with contextlib.suppress(FileNotFoundError):
            found.append((folder / name).stat())
    return tuple((one.st_mtime_ns, one.st_size, one.st_ino) for one in found)


def results_of(folder: pathlib.Path) -> dict[str, dict]:
    """Results by directory."""
    return _results_of(folder, stamp(folder))


@functools.lru_cache(maxsize=64)
def _results_of(folder: pathlib.Path, stamp: Stamp) -> dict[str, dict]:
    found = contents(folder)
    with torn(folder):
        return decode_results(found[files.CONFIG], found[RUNS])


def records_of(folder: pathlib.Path) -> dict[str, Record]:
    """All that is kept of a packed sweep's runs, by directory."""
    return _records_of(folder, stamp(folder))


@functools.lru_cache(maxsize=64)
def _records_of(folder: pathlib.Path, stamp: Stamp) -> dict[str, Record]:
    found = contents(folder)
    with torn(folder):
        return {one.directory: one for one in decode(found)}
