"""The files of a run. JSON files are written atomically; the others grow by whole lines."""

import contextlib
import importlib.metadata
import json
import os
import pathlib
import tempfile
from collections.abc import Iterable
from typing import Any

from experiments import cache, checks
from experiments.runs import identity, reads
from experiments.runs.reading import json_object
from experiments.runs.reading import read_rows as read_rows
from experiments.runs.reading import whole_rows as whole_rows

CONFIG, METRICS, TIMING, RESULTS = "config.json", "metrics.jsonl", "timing.jsonl", "results.json"
SAMPLES = "samples.npz"
BEST = "best.npz"  # the samples of the best validation epoch
TEST = "test.npz"  # what a task keeps of the test set after an epoch
HELD_OUT = "held_out.npz"  # what it keeps of the validation split after its best epoch
LOSSES = "losses.csv"  # quantiles of each example's losses, from `report figures`
FAILED = "FAILED.json"
AT_ONCE = "at_once.json"  # the runs that were started together, including this one
REASON = "failed.txt"  # written by sweeps


def make_workdir(path: str | os.PathLike) -> pathlib.Path:
    """Makes the work directory, or says in one line why it cannot be used."""
    if not os.fspath(path):
        raise ValueError("--workdir: expected a directory, got an empty name")
    workdir = checks.path("--workdir", path).absolute()  # Orbax needs an absolute path
    try:
        if workdir.exists() and not workdir.is_dir():
            raise ValueError(f"--workdir: expected a directory, got a file: {workdir}")
        workdir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=workdir):  # root ignores mode bits, so try it
            pass
    except OSError as error:
        raise ValueError(f"--workdir: cannot write to {path}: {error.strerror}") from None
    return workdir


# A config's seeds, and what each one determines.
SEEDS = {
    "seed": "training", "noise.seed": "noise", "data.split_seed": "split",
    "data.labelled_seed": "hiding",
}  # fmt: skip
# Of a teacher, of which each seed may have its own.
OF_SEEDS = ("curriculum.difficulty_sha256",)
# Shares of a run, in a method's section.
SHARES = {"start", "every", "end", "burn_in", "second_from", "warmup"}


def is_done(path: pathlib.Path, sha256: str) -> bool:
    """Whether there is an intact result of a config with this hash."""
    try:
        return json_object(path / RESULTS).get("config_sha256") == sha256
    except (OSError, ValueError):
        return False


def at_once(path: pathlib.Path) -> dict:
    """Returns how many runs were trained together, and their names; {} if not decided yet."""
    try:
        found = json_object(path / AT_ONCE)
    except FileNotFoundError:
        return {}
    if type(found.get("number")) is not int:
        raise ValueError(f"{path / AT_ONCE} is torn: expected a number of runs")
    return found


def read_config(path: pathlib.Path) -> dict[str, Any]:
    """Reads the config.json of a run.

    Raises:
      ValueError: if it is torn, or another program's.
      OSError: if it cannot be read.
    """
    config = json_object(path)
    if not identity.is_config(config):
        raise ValueError(f"{path} is not the config of a run")
    return config


def reason(path: pathlib.Path) -> str:
    """Why a run failed, in the words of a sweep."""
    return (path / REASON).read_text(errors="replace").strip()


def write_reason(path: pathlib.Path, text: str) -> None:
    path.mkdir(parents=True, exist_ok=True)
    (path / REASON).write_text(f"{text}\n")


def short_names(keys: Iterable[str]) -> dict[str, str]:
    """Shortens dotted keys to as much of their ends as tells them apart."""
    keys = [*keys]
    short = {}
    for key in keys:
        parts = key.split(".")
        tails = [".".join(parts[-n:]) for n in range(1, len(parts) + 1)]
        number = [sum(f".{k}".endswith(f".{tail}") for k in keys) for tail in tails]
        short[key] = tails[number.index(1)] if 1 in number else key
    return short


def check_unchanged(path: pathlib.Path, config: dict, resumable: bool) -> None:
    """Checks that a run of this config may start, resume, or add epochs to a finished one here.

    Raises:
      ValueError: if the run is finished, or has another config (the message says how they differ),
        or has lost its config.
    """
    try:
        old = json_object(path / CONFIG)
    except FileNotFoundError:
        if resumable or (path / RESULTS).exists():
            said = f"holds a run without a whole {CONFIG}; choose another directory"
            raise ValueError(f"--workdir: {path} {said}") from None
        return
    except ValueError:
        old = {}
    if {"common", "sha256"} <= {*old}:
        raise ValueError(f"--workdir: {path} holds a packed sweep; choose another directory")
    if not identity.is_config(old):
        said = f"holds a {CONFIG} that is torn or not a run's; choose another directory"
        raise ValueError(f"--workdir: {path} {said}")
    finished = (path / RESULTS).exists()
    if finished and not _is_of(path / RESULTS, old):  # damaged, or of another run
        os.replace(path / RESULTS, (path / RESULTS).with_suffix(".bad"))
        finished = False
    if not (finished or resumable):
        return
    new = identity.plain(config)
    before, now = _fixed(old), _fixed(new)
    keys = [key for key in sorted({*before, *now}) if before.get(key) != now.get(key)]
    differing = {key: (before.get(key), now.get(key)) for key in keys if key != "epochs"}
    scaled = any(key.split(".")[-1] in SHARES for key in now if key.startswith("loss."))
    ordered = now.get("curriculum.classes", "balanced") != "balanced" or "curriculum.end" in now
    scheduled = now.get("optimizer.schedule") == "cosine" or "easy_anchors.end" in now
    by_length = scaled or ordered or scheduled
    fewer = now["epochs"] < before["epochs"]
    if fewer or (by_length and now["epochs"] != before["epochs"]):
        differing["epochs"] = before["epochs"], now["epochs"]
    if differing:
        changes = ", ".join(f"{key}: {old!r} -> {new!r}" for key, (old, new) in differing.items())
        raise ValueError(f"--workdir: {path} holds a run of another config: {changes}")
    same = now["epochs"] == before["epochs"]
    if finished and (same or not resumable):
        why = "" if same else " without checkpoints, from which more epochs would go on"
        raise ValueError(f"--workdir: {path} holds a finished run{why}; choose another directory")


def _is_of(path: pathlib.Path, config: dict) -> bool:
    """Whether a result is intact and belongs to this config."""
    try:
        results = json_object(path)
    except ValueError:
        return False
    return "seeds" in results or results.get("config") == config  # "seeds": of several runs


def is_same(before: dict, now: dict) -> bool:
    """Whether two configs mean one run; the hash of a file that is gone cannot differ."""
    old, new = _fixed(before), _fixed(identity.plain(now))
    gone = {*reads.HASHES} - {*new}
    return {key: value for key, value in old.items() if key not in gone} == new


def _fixed(config: dict) -> dict[str, Any]:
    """Returns what a resumed run must not change: the keys that it reads, and what it reports."""
    declared = identity.flattened(config.get("report", {}), "report.")
    declared.pop("report.logger", None)
    return identity.meaning(config) | declared | {"vmap_seeds": config.get("vmap_seeds", 1)}


SHORTEST = "jax_persistent_cache_min_compile_time_secs"


def compilation_cache() -> None:
    """Keeps compiled programs, unless JAX_COMPILATION_CACHE_DIR names another place."""
    import jax  # not above: a sweep is submitted to Slurm without it

    if not jax.config.values["jax_compilation_cache_dir"]:
        with contextlib.suppress(OSError):  # nowhere to keep them
            own = cache.writable_folder() / "compiled"
            jax.config.update("jax_compilation_cache_dir", str(own))
    if jax.config.values[SHORTEST] == 1.0:  # JAX's own leaves out most of what a start compiles
        jax.config.update(SHORTEST, 0.05)


def versions() -> dict[str, str]:
    """The versions of the packages that a result depends on."""
    packages = ("superloss_jax", "jax", "jaxlib", "flax", "optax", "numpy")
    return {name: importlib.metadata.version(name) for name in packages}


def write_json(path: pathlib.Path, value) -> None:
    replace(path, json_bytes(value))


def json_bytes(value) -> bytes:
    return (json.dumps(identity.plain(value), indent=2, allow_nan=False) + "\n").encode()


def first_process() -> bool:
    """Whether this process is the one that writes, of several that train together."""
    import jax

    return jax.process_index() == 0


def replace(path: pathlib.Path, content: bytes) -> None:
    """Writes a file atomically: first under a temporary name, which it then renames."""
    if first_process():
        write_aside(path, content)
        put_in_place(path)


def aside(path: pathlib.Path) -> pathlib.Path:
    """The temporary name of a file that is being written."""
    return path.with_name(f".{path.name}.tmp")


def write_aside(path: pathlib.Path, content: bytes) -> None:
    with open(aside(path), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def put_in_place(path: pathlib.Path) -> None:
    """Renames the temporary file that `write_aside` wrote to its final name."""
    os.replace(aside(path), path)
    folder = os.open(path.parent, os.O_RDONLY)  # the new name, too, is to outlive a power failure
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def line(row: dict) -> str:
    return json.dumps(identity.plain(row), allow_nan=False) + "\n"


def append_row(path: pathlib.Path, row: dict) -> None:
    if first_process():
        with open(path, "a") as file:
            file.write(line(row))


def begin(path: pathlib.Path, config: dict, epochs: int, metrics: str, alone: bool = False) -> None:
    """Restores the files of a run to their state after the given number of epochs.

    `alone`: whether a single run starts from scratch.
    """
    if alone and at_once(path).get("number", 1) > 1:
        (path / AT_ONCE).unlink()
    for name in (RESULTS, SAMPLES, *[BEST] * (not epochs)):  # left by an earlier run
        (path / name).unlink(missing_ok=True)
    write_json(path / CONFIG, config)
    replace(path / METRICS, metrics.encode())
    timing = whole_rows(path / TIMING) if (path / TIMING).exists() else []
    kept = "".join(line(row) for row in timing if row.get("epoch", epochs + 1) <= epochs)
    replace(path / TIMING, kept.encode())
    for name in (FAILED, REASON):  # an earlier attempt
        (path / name).unlink(missing_ok=True)
