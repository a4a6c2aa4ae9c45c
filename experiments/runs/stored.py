"""Finished runs, whether each has its own files or many are packed into a few."""

import contextlib
import csv
import os
import pathlib
from typing import Any, NamedTuple

from experiments.runs import files, packed
from experiments.runs.reading import check_results, json_object


class Stored(NamedTuple):
    """A finished run: its directory, which a packed one need not have, and its results."""

    path: pathlib.Path
    results: dict[str, Any]
    pack: pathlib.Path | None = None  # the directory of the packed sweep that it belongs to


def finished_below(root: pathlib.Path) -> list[Stored]:
    """All finished runs below a directory, by path; a run may be both packed and loose.

    Raises:
      ValueError: if a file is torn.
    """
    loose, packs = places(root)
    found = [Stored(path, results) for path in loose if (results := loose_results(path))]
    for pack in packs:
        results_of = packed.results_of(pack).items()
        found += [Stored(pack / name, results, pack) for name, results in results_of]
    return sorted(found, key=lambda one: (one.path / files.RESULTS, one.pack is None))


def places(root: pathlib.Path) -> tuple[list[pathlib.Path], list[pathlib.Path]]:
    """The directories that hold a results.json, and those that hold a packed sweep."""
    loose, packs = [], []
    for folder, _, names in os.walk(root):
        path = pathlib.Path(folder)
        if files.RESULTS in names:
            loose.append(path)
        if files.CONFIG in names and packed.is_packed(path):
            packs.append(path)
        elif packed.RUNS in names:
            said = f"expected the {files.CONFIG} of a packed sweep beside {packed.RUNS}"
            raise ValueError(f"--workdir: {path} is torn: {said}")
    return loose, packs


def loose_results(path: pathlib.Path) -> dict | None:
    """A run's results.json; None of several seeds, which have files of their own.

    Raises:
      ValueError: if it is torn.
    """
    try:
        results = json_object(path / files.RESULTS)
        if "seeds" in results and "config" not in results:
            return None
        check_results(results)
    except ValueError as error:
        said = str(error).removeprefix(f"{path / files.RESULTS} is torn: ")
        raise ValueError(f"--workdir: {path / files.RESULTS} is torn: {said}") from None
    return results


def record_of(run: Stored) -> packed.Record:
    """All that is kept of a packed run."""
    assert run.pack is not None
    return packed.records_of(run.pack)[run.path.relative_to(run.pack).as_posix()]


def metrics_of(run: Stored) -> list[dict]:
    """The metrics of a run, a row an epoch.

    Raises:
      ValueError: if they are not there, or torn.
    """
    if run.pack is not None:
        return record_of(run).metrics
    path = run.path / files.METRICS
    try:
        return files.read_rows(path)
    except OSError as error:
        raise ValueError(f"--workdir: {path}: {error.strerror}") from None
    except ValueError as error:
        raise ValueError(f"--workdir: {error}") from None


def losses_of(run: Stored) -> list[list[str]]:
    """The lines of losses.csv, the head among them; [] where there is none."""
    path = run.path / files.LOSSES
    if packed.is_packed(run.path):  # the table of all, where a run by itself has its own
        run = run._replace(pack=run.path)
    elif path.is_file():
        with open(path, newline="") as file:
            return [*csv.reader(file)]
    return record_of(run).losses if run.pack is not None else []


def config_of(path: pathlib.Path) -> dict:
    """The config of a run by its directory, from its own config.json or a packed sweep's files.

    Raises:
      OSError, ValueError: if there is none, or it is torn.
    """
    own = path / files.CONFIG
    if not own.exists() or packed.is_packed(path):
        config = config_of_packed(path)
        if config is not None:
            return config
    return files.read_config(own)


def config_of_packed(path: pathlib.Path) -> dict | None:
    """The config of a run by its directory, if it is packed there or further up."""
    run = packed_at(path)
    return None if run is None else run.results["config"]


def packed_at(path: pathlib.Path) -> Stored | None:
    """The packed run of a directory, whose files lie there or further up."""
    here = path.absolute()
    for pack in (here, *here.parents):
        if packed.is_packed(pack):
            results = packed.results_of(pack).get(here.relative_to(pack).as_posix())
            return None if results is None else Stored(here, results, pack)
    return None


def at(path: pathlib.Path) -> Stored | None:
    """The finished run of a directory, with files of its own or packed.

    Raises:
      ValueError: if a file is torn.
    """
    if (path / files.RESULTS).exists():
        results = loose_results(path)
        return None if results is None else Stored(path, results)
    return packed_at(path)


def finished(path: pathlib.Path, config: dict) -> Stored | None:
    """The finished run of a directory if it is whole and of this config."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        run = at(path)
        if run is not None and files.is_same(run.results["config"], config):
            return run
    return None


def of_config(folder: pathlib.Path, sha256: str) -> Stored | None:
    """The run with this hash among those that are packed in a directory."""
    if not packed.is_packed(folder):
        return None
    for name, results in packed.results_of(folder).items():
        if results[packed.HASH] == sha256:
            return Stored(folder / name, results, folder)
    return None
