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

LOCK = ".lock"


class Stopped(Exception):  # noqa: N818 (requested, so not an error)
    """Raised when a signal was received and everything has been saved."""

    def __init__(self, number: int):
        super().__init__(signal.Signals(number).name)
        # 128 + signal, as in shells. SIGUSR1, Slurm's warning of a time limit, counts as SIGTERM.
        self.code = 130 if number == signal.SIGINT else 143


@contextlib.contextmanager
def locked(workdir: pathlib.Path) -> Iterator[None]:
    """Locks the work directory. The kernel releases the lock when the process ends, even if killed.

    Raises:
      ValueError: if another process holds the lock; the message has its host and process id.
    """
    with open(workdir / LOCK, "a+") as file:
        for left in range(5, -1, -1):  # a mere check holds it only briefly
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not left:
                    file.seek(0)
                    holder = file.read().strip() or "unknown"
                    raise ValueError(f"--workdir: {workdir} is in use by {holder}") from None
                time.sleep(0.1)
        file.truncate(0)
        file.write(json.dumps({"host": socket.gethostname(), "pid": os.getpid()}))
        file.flush()
        yield


@contextlib.contextmanager
def signals() -> Iterator[Callable[[], int | None]]:
    """Yields a function that returns the first signal received, or None.

    A second Ctrl-C ends the process at once, because the first one restores the default handler.
    """
    received: list[int] = []

    def note(number, frame):
        received.append(number)
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.SIG_DFL)

    numbers = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
    previous = {number: signal.signal(number, note) for number in numbers}
    try:
        yield lambda: received[0] if received else None
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
