"""The points of a sweep: what a config and its sweep() mean."""

import json
import pathlib
import runpy
import sys
from typing import Any, NamedTuple

from experiments import keys
from experiments.progress import console
from experiments.runs import contents, files, identity


class Point(NamedTuple):
    """One run of a sweep: its directory, its config's hash, and the command that trains it.

    Points of one family differ in their seeds alone, and can be trained in one process.
    """

    path: pathlib.Path
    sha256: str
    command: list[str]
    seeds: tuple[tuple[str, int], ...] = ()
    family: str = ""
    label: str = ""  # what tells it from the other points, in short


def expand(
    file: str, config, given: dict[str, Any], root: pathlib.Path, data_dir: str | None = None
) -> list[Point]:
    """The points of the file's sweep(): each is `config` with other values.

    `given`, from the command line, is part of each; of a key that is swept over, it chooses.

    Raises:
      ValueError: if the file has no sweep, a point cannot be meant, or none has the values given.
    """
    try:
        module = runpy.run_path(file)
        swept = [*module["sweep"]()] if "sweep" in module else None
    except Exception as error:  # of the user's own code
        raise ValueError(f"--config: sweep() of {file}: {error!r}") from error
    if swept is None:
        raise ValueError(f"--config: {file} has no sweep()")
    meant = [own for own in swept if all(own.get(k, v) == v for k, v in given.items())]
    if not meant:
        why = f"no point of {file} has {given}" if given else f"sweep() of {file} yields nothing"
        raise ValueError(f"--config: {why}")
    if left_out := len(swept) - len(meant):
        console.print(f"sweep    without {left_out} points of other values than the command line's")
    return points_of(meant, file, config, given, root, data_dir)


def points_of(
    meant: list[dict], file: str, config, given: dict[str, Any], root: pathlib.Path, data_dir
) -> list[Point]:
    """The points of these values by dotted key, each once."""
    points: dict[str, Point] = {}
    owns: dict[str, dict] = {}
    default = identity.settings(config.to_dict())
    there = [*root.glob("*-*")]
    flats = []
    for own in meant:
        full = config.copy_and_resolve_references()
        try:
            for key in own:
                keys.check(config, key)
            full.update_from_flattened_dict(given | own)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"--config: sweep() of {file}: {own}: {error}") from None
        if any(own[key] is None and default.get(key) is not None for key in own):  # no flag says so
            raise ValueError(f"--config: sweep() of {file}: None in {own}: set it in get_config()")
        if full.get("vmap_seeds", 1) != 1:
            raise ValueError("--config: a sweep has one seed a point: vmap_seeds must be 1")
        # Points that differ in an unknown key alone would be taken for one.
        identity.check_complete(full.to_dict())
        flats.append(identity.flattened(full.to_dict()))
        identity.check_known(flats[-1], given | own)
        contents.note(full)
        sha256 = identity.config_sha256(full.to_dict())
        # One place for a point, by whatever sweep it was reached first.
        same = [path for path in there if path.name.endswith(f"-{sha256[:8]}")]
        path = same[0] if len(same) == 1 else root / f"{directory_name(own)[:200]}-{sha256[:8]}"
        owns.setdefault(sha256, own)
        words = [sys.executable, "-m", "experiments.main", f"--config={file}"]
        words += [f"--config.{k}={v}" for k, v in (given | own).items() if v is not None]
        words += [f"--workdir={path}", *([f"--data_dir={data_dir}"] if data_dir else [])]
        points.setdefault(sha256, Point(path, sha256, words, *without_seeds(full)))  # once
    identity.check_asked(flats, given)
    named = names_of([*owns.values()])
    return [one._replace(label=name) for one, name in zip(points.values(), named, strict=True)]


def names_of(swept: list[dict[str, Any]]) -> list[str]:
    """Names points by what differs among them, as shortly as tells them apart.

    Keys of the same values throughout, such as several seeds, are named once.
    """
    values = {key: tuple(repr(own.get(key)) for own in swept) for own in swept for key in own}
    first = {column: key for key, column in reversed(values.items()) if len({*column}) > 1}
    kept = [key for key in values if key in first.values()]
    short = files.short_names(kept)
    told = {key for key in kept if all(isinstance(own.get(key), str) for own in swept)}
    return [
        " ".join(f"{own[key]}" if key in told else f"{short[key]}={own[key]}"
                 for key in kept if key in own)
        for own in swept
    ]  # fmt: skip


def without_seeds(config) -> tuple[tuple[tuple[str, int], ...], str]:
    """Splits a config into its seeds, by name, and a text of all the rest."""
    config = config.copy_and_resolve_references()
    flat = identity.settings(config.to_dict())
    seeds = {key: flat[key] for key in files.SEEDS if key in flat}
    config.update_from_flattened_dict(dict.fromkeys(seeds, 0))
    return tuple(seeds.items()), json.dumps(identity.plain(config.to_dict()), sort_keys=True)


def directory_name(overrides: dict[str, Any]) -> str:
    """Names a directory after overrides, whose keys are as short as tells them apart."""
    short = files.short_names(overrides)
    words = [f"{short[key]}={value}" for key, value in overrides.items()]
    name = ",".join(words) or "run"
    return "".join(c if (c.isascii() and c.isalnum()) or c in "=,.-_" else "_" for c in name)
