"""Caches decoded data sets, so that later starts skip the decoding; verifies them when read.

The entries used longest ago are removed when all of them are larger than MOST_BYTES. Any number of
processes may do so at once: an entry that is gone is decoded again.
"""

import contextlib
import hashlib
import os
import pathlib
import re
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from experiments import checks
from experiments.progress import console

Arrays = dict[str, np.ndarray]

MOST_BYTES = 2 * 2**30
ENTRY = re.compile(r"\w+-[0-9a-f]{16}\.npz")
UNFINISHED = ".part"  # ends the name of an entry while it is written
STALE = 24 * 3600.0  # seconds after which nobody writes it any more


def folder() -> pathlib.Path:
    root = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    try:
        return checks.path("XDG_CACHE_HOME", root) / "superloss_jax"
    except ValueError:  # a user without a home
        return _temporary()


def writable_folder() -> pathlib.Path:
    """Makes and returns the folder, or one in /tmp if it cannot be written.

    Raises:
      OSError: if neither can be used.
    """
    own = folder()
    try:
        own.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=own):  # root ignores mode bits, so try it
            return own
    except OSError as error:
        other = _temporary()
        other.mkdir(mode=0o700, exist_ok=True)
        if other.is_symlink() or other.stat().st_uid != os.getuid():
            said = f"cannot write to {own}: {error.strerror}; {other} is another user's"
            raise OSError(f"{said}: set XDG_CACHE_HOME to a directory of yours") from None
        return other


def _temporary() -> pathlib.Path:
    return pathlib.Path(tempfile.gettempdir()) / f"superloss_jax_{os.getuid()}"


def fingerprint(files: Sequence[pathlib.Path]) -> str:
    """Hashes the names and contents of files: copies are the same, another version is not."""
    digest = hashlib.sha256()
    for path in files:
        with open(path, "rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        digest.update(f"{path.name} {content}\n".encode())
    return digest.hexdigest()[:16]


def stamps(files: Sequence[pathlib.Path], which: str = "") -> str:
    """Hashes names, sizes and times, since reading many files takes long; and `which` part."""
    digest = hashlib.sha256(which.encode())
    for path in files:
        status = path.stat()
        times = status.st_mtime_ns, status.st_ctime_ns  # the second changes with every write
        digest.update(f"{path.absolute()} {status.st_size} {times}\n".encode())
    return digest.hexdigest()[:16]


def cached(
    name: str,
    files: Sequence[pathlib.Path],
    decode: Callable[[], Arrays],
    known_by: Callable[[Sequence[pathlib.Path]], str] = fingerprint,
) -> Arrays:
    """Returns `decode()` of these files, from the cache if it has an intact copy.

    If the cache cannot be written (full disk, say), only a message is printed.
    """
    path = folder() / f"{name}-{known_by(files)}.npz"
    try:
        arrays = _read(path)
        with contextlib.suppress(OSError):  # it may be read-only, or removed by now
            os.utime(path)  # used now; few file systems note when a file is read
        return arrays
    except FileNotFoundError:
        pass
    except Exception as error:  # for a damaged file, NumPy raises many types
        console.print(f"cache    {path} is not intact ({error}): decoding again")
    arrays = decode()
    try:
        _write(path, arrays)
        _make_room(path)
    except OSError as error:
        console.print(f"cache    cannot write {path}: {error.strerror}")
    return arrays


def _digest(arrays: Arrays) -> str:
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(f"{name} {arrays[name].dtype.str} {arrays[name].shape}\n".encode())
        digest.update(np.ascontiguousarray(arrays[name]).data)
    return digest.hexdigest()


def _read(path: pathlib.Path) -> Arrays:
    with open(path, "rb") as file, np.load(file, allow_pickle=False) as content:
        arrays = {name: content[name] for name in content.files}
    if str(arrays.pop("sha256", None)) != _digest(arrays):
        raise ValueError("its SHA-256 differs")
    return arrays


def _write(path: pathlib.Path, arrays: Arrays) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    content: dict[str, Any] = {"sha256": np.array(_digest(arrays)), **arrays}
    descriptor, name = tempfile.mkstemp(prefix=".", suffix=UNFINISHED, dir=path.parent)
    temporary = pathlib.Path(name)
    try:
        with open(descriptor, "wb") as file:
            np.savez(file, **content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _make_room(kept: pathlib.Path) -> None:
    """Removes the entries used longest ago, except `kept`, and what killed processes left."""
    entries = []
    for path in kept.parent.iterdir():
        with contextlib.suppress(OSError):  # another process may have removed it
            status = path.lstat()
            if ENTRY.fullmatch(path.name):
                entries.append((status.st_mtime_ns, path, status.st_size))
            elif path.suffix == UNFINISHED and time.time() - status.st_mtime > STALE:
                path.unlink()
    total = sum(size for *_, size in entries)
    for _, path, size in sorted(entries):
        if total > MOST_BYTES and path != kept:
            with contextlib.suppress(OSError):
                path.unlink()
            total -= size
