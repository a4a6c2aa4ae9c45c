"""Files of a run. JSON files are there whole or not at all; the others grow by whole lines."""

import importlib.metadata
import json
import math
import os
import pathlib
import tempfile

CONFIG, METRICS, TIMING, RESULTS = "config.json", "metrics.jsonl", "timing.jsonl", "results.json"


def prepare(path: str | os.PathLike) -> pathlib.Path:
    """Makes the work directory, or says in one line why it cannot be used."""
    if not os.fspath(path):
        raise ValueError("--workdir: expected a directory, got an empty name")
    try:
        workdir = pathlib.Path(path).expanduser()
        if workdir.exists() and not workdir.is_dir():
            raise ValueError(f"--workdir: expected a directory, got a file: {workdir}")
        if (workdir / RESULTS).exists():
            raise ValueError(f"--workdir: {workdir} holds a finished run; choose another directory")
        workdir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=workdir):  # root ignores mode bits, so try it
            pass
    except (OSError, RuntimeError) as error:  # RuntimeError: no such user, for ~user
        reason = getattr(error, "strerror", None) or error
        raise ValueError(f"--workdir: cannot write to {path}: {reason}") from None
    return workdir


def versions() -> dict[str, str]:
    """Of the packages on which a result depends."""
    packages = ("superloss_jax", "jax", "jaxlib", "flax", "optax", "numpy")
    return {name: importlib.metadata.version(name) for name in packages}


def write_json(path: pathlib.Path, value) -> None:
    """Writes to a temporary name, then renames: the file is there whole, or not at all."""
    temporary = path.with_name(f".{path.name}.tmp")
    with open(temporary, "w") as file:
        json.dump(_plain(value), file, indent=2, allow_nan=False)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def append_row(path: pathlib.Path, row: dict) -> None:
    with open(path, "a") as file:
        file.write(json.dumps(_plain(row), allow_nan=False) + "\n")


def read_rows(path: pathlib.Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def _plain(value):
    """JSON has no NaN or infinity: they become null."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
