"""A lock that reserves a work directory for one process, and signals that stop a run cleanly."""

import contextlib
import fcntl
import json
import os
import pathlib
import signal
import socket
import time
from collections.abc import Callable, Iterator
from typing import IO

from experiments import checks
from experiments.runs import files

LOCK = ".lock"


class Stopped(Exception):  # noqa: N818 (requested, so not an error)
    """Raised when a signal was received and everything has been saved."""

    def __init__(self, number: int):
        super().__init__(signal.Signals(number).name)
        # 128 + signal, as in shells. SIGUSR1, Slurm's warning of a time limit, counts as SIGTERM.
        self.code = 128 + (signal.SIGTERM if number == signal.SIGUSR1 else number)


def taken(file: IO) -> bool:
    """Locks an open file, for as long as it is open; returns whether this was free.

    Raises:
      OSError: if the file system has no locks.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        said = "the file system does not lock files: choose a directory on another one"
        raise OSError(f"cannot lock {file.name}: {error.strerror}; {said}") from None
    return True


@contextlib.contextmanager
def locked(workdir: pathlib.Path) -> Iterator[None]:
    """Locks the work directory. The kernel releases the lock when the process ends, even if killed.

    Raises:
      ValueError: if another process holds the lock; the message has its host and process id.
      OSError: if the file system has no locks.
    """
    with open(workdir / LOCK, "a+", errors="replace") as file:
        for left in range(5, -1, -1):  # a mere check holds it only briefly
            if taken(file):
                break
            if not left:
                file.seek(0)
                holder = file.read().strip() or "unknown"
                raise ValueError(f"--workdir: {workdir} is in use by {holder}")
            time.sleep(0.1)
        if not (workdir / LOCK).exists():
            raise OSError(f"{workdir} was removed by another process: try again")
        file.truncate(0)
        file.write(_holder())
        file.flush()
        yield


@contextlib.contextmanager
def claimed(folder: str | os.PathLike) -> Iterator[pathlib.Path]:
    """Makes and locks a work directory; if no run begins there, removes what it made.

    Raises:
      ValueError, OSError: as `files.make_workdir` and `locked` do.
    """
    path = checks.path("--workdir", folder).absolute()
    made = [one for one in (path, *path.parents) if not os.path.exists(one)]
    path = files.make_workdir(folder)
    found, begun = ((path / name).exists() for name in (LOCK, files.CONFIG))

    def undo():
        if not found and (begun or not (path / files.CONFIG).exists()):
            with contextlib.suppress(OSError):  # others may have put something there
                (path / LOCK).unlink(missing_ok=True)
                for one in made:
                    one.rmdir()

    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(locked(path))
        except OSError:  # a file system without locks
            undo()
            raise
        try:
            yield path
        finally:
            undo()


def _holder() -> str:
    return json.dumps({"host": socket.gethostname(), "pid": os.getpid()})


def check_held(workdir: pathlib.Path) -> None:
    """Checks before anything is written that a run's directory is still the one that it began in.

    Raises:
      OSError: if it was removed; another run may be in its place.
    """
    if not files.first_process():  # it does not write
        return
    try:
        holder = (workdir / LOCK).read_text(errors="replace")
    except FileNotFoundError:  # one of several seeds, say, whose common directory is locked
        holder = ""
    begun = (workdir / name for name in (files.CONFIG, files.METRICS))
    if not all(path.exists() for path in begun) or holder not in ("", _holder()):
        raise OSError(f"{workdir} was removed during training: nothing more is written there")


@contextlib.contextmanager
def signals() -> Iterator[Callable[[], int | None]]:
    """Yields a function that returns the first signal received, or None.

    A second Ctrl-C ends the process at once, because the first one restores the default handler.
    Ctrl-C and a closed terminal stay ignored if they were: by nohup, or a shell's &.
    """
    received: list[int] = []

    def note(number, frame):
        received.append(number)
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.SIG_DFL)

    numbers = [signal.SIGTERM, signal.SIGUSR1]
    for number in (signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:
            numbers.append(number)
    previous = {number: signal.signal(number, note) for number in numbers}
    try:
        yield lambda: received[0] if received else None
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
