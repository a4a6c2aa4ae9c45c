"""Runs that have begun and have no result: what a table leaves out."""

import pathlib

from experiments.runs import files, stored
from experiments.runs.reading import json_object


def unfinished(root: pathlib.Path) -> list[tuple[str, str]]:
    """Directories of runs without a result, and what is known of them."""
    begun = {path.parent for path in root.glob(f"**/{files.CONFIG}") if is_of_a_run(path)}
    begun |= {path.parent for path in root.glob(f"**/{files.REASON}")}
    begun -= {path for path in begun if (path / files.RESULTS).exists() or left_over(path)}
    found = []
    for path in sorted(begun):
        if (path / files.REASON).exists():
            said = "failed: " + files.reason(path)
        elif (path / files.FAILED).exists():
            said = f"failed: {not_finite(path / files.FAILED)}"
        else:
            metrics = path / files.METRICS
            epochs = metrics.read_bytes().count(b"\n") if metrics.exists() else 0
            said = f"not finished: {epochs} epochs"
        found.append((path.relative_to(root).as_posix(), said))
    return found


def is_of_a_run(path: pathlib.Path) -> bool:
    """Whether a config.json is that of one run of this program, not of several seeds."""
    try:
        config = json_object(path)
    except (OSError, ValueError):
        return False
    return {"loss", "epochs"} <= {*config} and not any(path.parent.glob("seed_*"))


def left_over(path: pathlib.Path) -> bool:
    """Whether a directory holds what is left of a packed run, and not another that has begun."""
    try:
        packed_config = stored.config_of_packed(path)
        own = path / files.CONFIG
        return packed_config is not None and (not own.exists() or packed_config == json_object(own))
    except ValueError:
        return False


def not_finite(path: pathlib.Path) -> str:
    try:
        failure = json_object(path)
        return f"step {failure['step']}, not finite: {', '.join(failure['tensors'][:3])}"
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"{path.name} cannot be read: {error!r}"


def counted(root: pathlib.Path) -> str:
    """The sentence of a caption that counts failed and unfinished runs."""
    states = [said.partition(":")[0] for _, said in unfinished(root)]
    parts = [f"{states.count(name)} {name}" for name in sorted({*states})]
    return f"Runs below the directory without a result: {', '.join(parts)}." if parts else ""
