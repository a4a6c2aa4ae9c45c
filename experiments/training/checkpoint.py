"""Checkpoints: one directory per step, written atomically and verified before it is read.

Orbax writes the arrays, but does not notice a flipped bit. Hence this module adds a manifest of
SHA-256 hashes, and falls back to the newest intact step.
"""

import concurrent.futures
import contextlib
import hashlib
import itertools
import json
import logging
import os
import pathlib
import re
import shutil
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.progress import console
from experiments.runs import files, lock
from experiments.runs.reading import json_object
from experiments.training import devices
from superloss_jax import memory

FOLDER, MANIFEST, ARRAYS, ROWS = "checkpoints", "manifest.json", "arrays", "metrics.jsonl"


class Saver(NamedTuple):
    """Writes checkpoints in order, in one background thread, while training continues."""

    folder: pathlib.Path
    keep: int
    pool: concurrent.futures.ThreadPoolExecutor
    pending: list


def saver(path: pathlib.Path, keep: int) -> Saver:
    return Saver(path / FOLDER, keep, concurrent.futures.ThreadPoolExecutor(1), [])


def save(saver: Saver, step: int, tree: Any, rows: str) -> None:
    """Copies `tree` to the host and writes it in the background.

    Raises:
      OSError: if the previous save failed.
    """
    wait(saver)
    arrays = jax.tree.map(np.asarray, named(tree))
    if jax.process_index() == 0:  # all processes hold the same arrays, so one writes
        job = saver.pool.submit(_write, saver.folder, step, arrays, rows, saver.keep)
        saver.pending.append(job)


def wait(saver: Saver) -> None:
    """Waits until everything is written; raises a failure in every process."""

    def finish():
        while saver.pending:
            saver.pending.pop().result()

    devices.by_the_first(finish)


def named(tree) -> dict[str, Any]:
    """Returns the leaves by path, so that a file's content can be compared by name."""
    return {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree.leaves_with_path(tree)}


def _checkpointer():
    import orbax.checkpoint as ocp  # here, because it is slow to import

    # Orbax must not synchronise processes: only one writes, and each reads on its own.
    alone = ocp.options.MultiprocessingOptions(
        primary_host=jax.process_index(),
        active_processes={jax.process_index()},
        barrier_sync_key_prefix=f"process_{jax.process_index()}",
    )
    handler = ocp.PyTreeCheckpointHandler(multiprocessing_options=alone)
    return ocp.Checkpointer(handler, multiprocessing_options=alone)


def _write(folder: pathlib.Path, step: int, arrays, rows: str, keep: int) -> None:
    run = folder.parent
    lock.check_held(run)
    try:
        _write_step(folder, step, arrays, rows)
        _prune(folder, step, keep)
    except OSError:
        if (run / files.CONFIG).exists():
            raise
    if not (run / files.CONFIG).exists():  # Orbax makes anew what was removed meanwhile
        shutil.rmtree(folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            run.rmdir()
    lock.check_held(run)


def _write_step(folder: pathlib.Path, step: int, arrays, rows: str) -> None:
    temporary, final = folder / f".{step:010d}.tmp", folder / f"{step:010d}"
    for path in _own(folder, r"\.\d{10}\.tmp"):  # left by a killed run
        shutil.rmtree(path)
    if final in steps(folder) and _is_whole(final):
        return
    folder.mkdir(exist_ok=True)  # without parents: a run that was removed stays removed
    _clear(temporary)
    temporary.mkdir()
    # Checked first, because Orbax reports a full disk in several unclear ways.
    needed = 1.1 * sum(array.nbytes for array in arrays.values()) + 2**17
    if shutil.disk_usage(temporary).free < needed:
        raise OSError(f"cannot write checkpoint {final}: No space left on device")
    # Orbax logs long messages for errors that it also raises; here they become one line.
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with _checkpointer() as checkpointer:
            checkpointer.save(temporary / ARRAYS, arrays)
    except Exception as error:  # Orbax and TensorStore raise a long ValueError for a full disk
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
    _clear(final)
    os.replace(temporary, final)
    _fsync(folder)


def _prune(folder: pathlib.Path, step: int, keep: int) -> None:
    """Removes all but the newest `keep` steps up to this one."""
    name = f"{step:010d}"
    # Newer steps are stale: they were damaged, or the run resumed from an older step.
    others = [path for path in steps(folder) if path.name < name][keep - 1 :]
    for path in [*others, *(path for path in steps(folder) if path.name > name)]:
        shutil.rmtree(path)


def _clear(path: pathlib.Path) -> None:
    """Frees a checkpoint's name: removes a damaged one, and renames what is none."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    elif os.path.lexists(path):
        names = (path.with_name(f"{path.name}.{i}.bak") for i in itertools.count(1))
        os.rename(path, next(name for name in names if not os.path.lexists(name)))


def made_by() -> dict:
    """Returns what rounding depends on: versions, the kind of device, and their number."""
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
    """Returns the directories of a run's checkpoints, newest first."""
    return sorted(_own(folder, r"\d{10}"), reverse=True)


def _own(folder: pathlib.Path, pattern: str) -> list[pathlib.Path]:
    """Returns the directories that a run has made; copies, links and notes are not its own."""
    found = (path for path in folder.glob("*") if re.fullmatch(pattern, path.name))
    return [path for path in found if path.is_dir() and not path.is_symlink()]


def check_config(run: pathlib.Path, config) -> None:
    """Raises ValueError unless a run of this config can start or resume in this directory."""
    own = (run, *run.glob("seed_*"))  # the seeds of vmap_seeds
    files.check_unchanged(run, config.to_dict(), any(steps(one / FOLDER) for one in own))


def newest_common(folders: list[pathlib.Path], templates: list) -> list[tuple[Any, str]] | None:
    """Reads the newest step that is intact in all folders: (tree, rows) for each; None if none is.

    Raises:
      ValueError: if there is only one folder, and all of its checkpoints are damaged.
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
    """Reads the (tree, rows) of one step; if it is damaged, prints why and returns None."""
    try:
        return _read(path, template), (path / ROWS).read_text()
    except Exception as error:  # damaged files make readers raise many types
        reason = (str(error).strip() or repr(error)).splitlines()[0]
        console.print(f"resume   {path} is not whole: {reason}")
        return None


def _verified(path: pathlib.Path) -> dict:
    """Returns the manifest if it names this step and all hashes match.

    Raises:
      ValueError: otherwise.
      OSError: if a file cannot be read.
    """
    manifest = json_object(path / MANIFEST)
    expected, hashes = manifest.get("sha256"), _hashes(path)
    if not isinstance(expected, dict) or "made_by" not in manifest:
        raise ValueError(f"{MANIFEST} is not that of a checkpoint")
    if manifest.get("step") != int(path.name):
        raise ValueError(f"it is a copy of step {manifest.get('step')}")
    for name in sorted(expected.keys() | hashes.keys()):
        if expected.get(name) != hashes.get(name):
            raise ValueError(f"{name} is {'altered' if name in hashes else 'missing'}")
    return manifest


def _is_whole(path: pathlib.Path) -> bool:
    try:
        return bool(_verified(path))
    except (OSError, ValueError):
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
    tree = jax.tree.unflatten(jax.tree.structure(template), leaves)
    memory.check_memory(tree)
    return tree
