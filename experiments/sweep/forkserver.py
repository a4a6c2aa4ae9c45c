"""Starts runs as forks of a process that has imported what they need, which takes a second.

That process has one thread and no device, so that it can fork safely. Each run is a process and a
session of its own, as one that `subprocess` starts, and outlives a sweep that is killed.
"""

import contextlib
import gc
import importlib
import json
import os
import pathlib
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import IO, Any, NamedTuple, NoReturn, Protocol

from experiments import streams

MODULES = (  # what a run imports late; the third imports Flax, Optax and Orbax
    "experiments.data",
    "experiments.tasks.classification",
    "experiments.training.seeds",
)
LENGTH = 4  # bytes that tell a request's length


class Process(Protocol):
    """What a sweep needs of a run's process."""

    def wait(self) -> int: ...
    def terminate(self) -> None: ...
    def kill(self) -> None: ...


Start = Callable[[list[str], dict[str, str], IO[str]], Process]


def start(
    command: list[str],
    environment: dict[str, str],
    log: IO[str],
    own_session: bool = True,
    held: Sequence[int] = (),
) -> Process:
    """Starts a command by itself; it keeps the files `held` open.

    Its own session keeps it from Ctrl-C, which is for the sweep, and which that passes on once.
    """
    return subprocess.Popen(
        command, env=environment, stdout=log, stderr=log,
        start_new_session=own_session, pass_fds=held,
    )  # fmt: skip


class Fork(NamedTuple):
    """A run that was forked; `told` is the pipe by which its exit code comes."""

    pid: int
    told: IO[str]

    def wait(self) -> int:
        code = self.told.readline()
        self.told.close()
        return int(code) if code else -9  # nobody was left to tell it

    def terminate(self) -> None:
        os.kill(self.pid, 15)

    def kill(self) -> None:
        os.kill(self.pid, 9)


@contextlib.contextmanager
def forks(environment: dict[str, str]) -> Iterator[Start]:
    """Yields a `start` for commands `python -m experiments.main ...` in this environment.

    It must ask libraries for one thread. What cannot be forked is started by itself.
    """
    if not sys.platform.startswith("linux"):  # other systems' own libraries do not bear a fork
        yield start
        return
    channel, theirs = socket.socketpair()
    one_at_a_time = threading.Lock()
    server = [sys.executable, "-m", "experiments.sweep.forkserver", str(theirs.fileno())]
    with channel, theirs:
        process = subprocess.Popen(
            server, env=environment, pass_fds=[theirs.fileno()], start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        theirs.close()

        def forked(command: list[str], environment: dict[str, str], log: IO[str]) -> Process:
            told, tell = os.pipe()
            request = json.dumps([command, environment]).encode()
            length = len(request).to_bytes(LENGTH, "big")
            with contextlib.suppress(OSError), one_at_a_time:  # the server may have ended
                socket.send_fds(channel, [length], [log.fileno(), tell])
                channel.sendall(request)
            os.close(tell)
            answer = os.fdopen(told)  # closed by `wait`
            if number := answer.readline():
                return Fork(int(number), answer)
            answer.close()
            return start(command, environment, log)

        yield forked
    process.wait()


# --- The process that forks. ----------------------------------------------------------------------


def serve(channel: socket.socket) -> None:
    """Forks a run for each request, until the channel is closed at the other end."""
    while True:
        length, files, _, _ = socket.recv_fds(channel, LENGTH, maxfds=2)
        if not length:
            return
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:  # whose runs have ended
                pass
        request = channel.recv(int.from_bytes(length, "big"), socket.MSG_WAITALL)
        if not os.fork():
            channel.close()
            tell_the_end(*files)
            train(*json.loads(request))
        for number in files:
            os.close(number)


def tell_the_end(log: int, tell: int) -> None:
    """Returns in a new process, which tells its number; this one tells its exit code at its end."""
    if pid := os.fork():
        with contextlib.suppress(BrokenPipeError):  # of a sweep that was killed
            os.write(tell, b"%d\n" % os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        os._exit(0)
    os.setsid()
    os.write(tell, b"%d\n" % os.getpid())
    os.close(tell)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)


def train(command: list[str], environment: dict[str, str]) -> NoReturn:
    """Does what `python -m experiments.main ...` does, and exits as that does."""
    from absl import app

    os.environ.clear()
    os.environ.update(environment)
    module: Any = importlib.import_module(command[2])
    sys.argv = [module.__file__, *command[3:]]
    app.run(module.main, flags_parser=module.parse)
    raise AssertionError("app.run ends the process")


def main(number: int) -> None:
    streams.keep()
    for name in ("experiments.main", *MODULES):
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # or each run would look through all that was imported
    threads = len([*pathlib.Path("/proc/self/task").iterdir()])
    if threads > 1:
        raise RuntimeError(f"expected one thread, got {threads}: a fork would lack the others")
    with socket.socket(fileno=number) as channel:
        serve(channel)


if __name__ == "__main__":
    main(int(sys.argv[1]))
