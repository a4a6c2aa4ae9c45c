"""Checkpoints: one directory a step, there whole or not at all, verified before it is trusted.

Orbax writes the arrays. Around it: a manifest of SHA-256 hashes, since Orbax reads a flipped bit
without complaint, and a fall back to the newest step that is whole.
"""

import concurrent.futures
import hashlib
import json
import logging
import os
import pathlib
import shutil
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.progress import console
from experiments.runs import files
from experiments.training import devices

FOLDER, MANIFEST, ARRAYS, ROWS = "checkpoints", "manifest.json", "arrays", "metrics.jsonl"


class Saver(NamedTuple):
    """Writes in one background thread, in order, while training goes on."""

    folder: pathlib.Path
    keep: int
    pool: concurrent.futures.ThreadPoolExecutor
    pending: list


def saver(path: pathlib.Path, keep: int) -> Saver:
    return Saver(path / FOLDER, keep, concurrent.futures.ThreadPoolExecutor(1), [])


def save(saver: Saver, step: int, tree: Any, rows: str) -> None:
    """Copies `tree` to the host, then returns; raises the OSError of the save before this one."""
    wait(saver)
    arrays = jax.tree.map(np.asarray, named(tree))
    if jax.process_index() == 0:  # all processes hold the same; one writes
        job = saver.pool.submit(_write, saver.folder, step, arrays, rows, saver.keep)
        saver.pending.append(job)


def wait(saver: Saver) -> None:
    """Until all is written; what went wrong, every process says."""

    def finish():
        while saver.pending:
            saver.pending.pop().result()

    devices.by_the_first(finish)


def named(tree) -> dict[str, Any]:
    """By path, so that what a file holds can be told and compared."""
    return {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree.leaves_with_path(tree)}


def _checkpointer():
    import orbax.checkpoint as ocp  # slow to import, and only here

    # One process writes, and each reads for itself.
    alone = ocp.options.MultiprocessingOptions(
        primary_host=jax.process_index(),
        active_processes={jax.process_index()},
        barrier_sync_key_prefix=f"process_{jax.process_index()}",
    )
    handler = ocp.PyTreeCheckpointHandler(multiprocessing_options=alone)
    return ocp.Checkpointer(handler, multiprocessing_options=alone)


def _write(folder: pathlib.Path, step: int, arrays, rows: str, keep: int) -> None:
    temporary, final = folder / f".{step:010d}.tmp", folder / f"{step:010d}"
    for path in folder.glob(".*.tmp"):  # of a run that was killed
        shutil.rmtree(path)
    if final.exists() and _is_whole(final):
        return
    temporary.mkdir(parents=True)
    # Asked first, since Orbax's writers, once they meet a full disk, say so in their own ways.
    needed = 1.1 * sum(array.nbytes for array in arrays.values()) + 2**17
    if shutil.disk_usage(temporary).free < needed:
        raise OSError(f"cannot write checkpoint {final}: No space left on device")
    # Orbax logs at length what it also raises, and what here becomes one line.
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with _checkpointer() as checkpointer:
            checkpointer.save(temporary / ARRAYS, arrays)
    except Exception as error:  # Orbax and TensorStore say ValueError for a full disk, at length
        full = "No space left on device" if "No space left" in str(error) else ""
        reason = full or (str(error).strip() or repr(error)).splitlines()[0]
        raise OSError(f"cannot write checkpoint {final}: {reason}") from None
    finally:
        logger.setLevel(level)
    (temporary / ROWS).write_text(rows)
    manifest = {"step": step, "made_by": made_by(), "sha256": _hashes(temporary)}
    (temporary / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n")
    for path in [temporary, *temporary.rglob("*")]:
        _fsync(path)
    shutil.rmtree(final, ignore_errors=True)  # not whole, or it would have been resumed from
    os.replace(temporary, final)
    _fsync(folder)
    # Newer ones were not whole, or training had gone on from there.
    others = [path for path in steps(folder) if path.name < final.name][keep - 1 :]
    for path in [*others, *(path for path in steps(folder) if path.name > final.name)]:
        shutil.rmtree(path)


def made_by() -> dict:
    """That on which the last bits of arithmetic depend."""
    device = jax.devices()[0]
    return files.versions() | {"device": device.device_kind, "count": jax.device_count()}


def _fsync(path: pathlib.Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _hashes(folder: pathlib.Path) -> dict[str, str]:
    hashes = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != MANIFEST:
            with open(path, "rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            hashes[path.relative_to(folder).as_posix()] = digest
    return hashes


def steps(folder: pathlib.Path) -> list[pathlib.Path]:
    """The directories of a run's checkpoints, the newest first."""
    return sorted((path for path in folder.glob("[0-9]*") if path.is_dir()), reverse=True)


def check_config(run: pathlib.Path, config) -> None:
    """Raises ValueError unless a run of this config can begin or go on there."""
    own = (run, *run.glob("seed_*"))  # of vmap_seeds
    files.check_unchanged(run, config.to_dict(), any(steps(one / FOLDER) for one in own))


def newest_common(folders: list[pathlib.Path], templates: list) -> list[tuple[Any, str]] | None:
    """What `save` was given in each folder, of the newest step that is whole in all; or None.

    Raises:
      ValueError: if there is one folder, which has steps, but not one of them is whole.
    """
    found = [{path.name for path in steps(folder)} for folder in folders]
    for name in sorted(set.intersection(*found), reverse=True):
        pairs = zip(folders, templates, strict=True)
        whole = [content for folder, own in pairs if (content := read_step(folder / name, own))]
        if len(whole) == len(folders):
            return whole
    if found[0] and len(folders) == 1:
        raise ValueError(f"{folders[0]}: no checkpoint is whole; delete it to start anew")
    return None


def read_step(path: pathlib.Path, template: Any) -> tuple[Any, str] | None:
    """What `save` was given for one step; None, and why, if that is not whole."""
    try:
        return _read(path, template), (path / ROWS).read_text()
    except Exception as error:  # whatever a damaged file makes of the readers
        reason = (str(error).strip() or repr(error)).splitlines()[0]
        console.print(f"resume   {path} is not whole: {reason}")
        return None


def _verified(path: pathlib.Path) -> dict:
    """The manifest, if all is as it says."""
    manifest = json.loads((path / MANIFEST).read_text())
    expected, hashes = manifest["sha256"], _hashes(path)
    for name in sorted(expected.keys() | hashes.keys()):
        if expected.get(name) != hashes.get(name):
            raise ValueError(f"{name} is {'altered' if name in hashes else 'missing'}")
    return manifest


def _is_whole(path: pathlib.Path) -> bool:
    try:
        return bool(_verified(path))
    except (OSError, ValueError, KeyError):
        return False


def _read(path: pathlib.Path, template: Any) -> Any:
    manifest = _verified(path)
    with _checkpointer() as checkpointer:
        arrays = checkpointer.restore(path / ARRAYS)
    wanted = named(template)
    if arrays.keys() != wanted.keys():
        differing = ", ".join(sorted(arrays.keys() ^ wanted.keys())[:3])
        raise ValueError(f"arrays other than this program's: {differing}")
    for name, leaf in wanted.items():
        if (arrays[name].shape, arrays[name].dtype) != (leaf.shape, leaf.dtype):
            raise ValueError(f"{name}: expected {leaf.dtype} of {leaf.shape}")
    if manifest["made_by"] != made_by():
        console.print(f"resume   {path} was made by {manifest['made_by']}, this is {made_by()}")
    leaves = [arrays[name] for name in wanted]
    return jax.tree.unflatten(jax.tree.structure(template), leaves)
