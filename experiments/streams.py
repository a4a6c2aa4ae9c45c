"""Standard output and error that never end a program: what cannot be written is dropped."""

import errno
import io
import os
import sys


class Lasting(io.FileIO):
    """A stream whose writes do not fail; `failed` is the first error that it kept to itself."""

    failed: OSError | None = None

    def write(self, data, /) -> int:
        try:
            return super().write(data) or len(data)  # None: a non-blocking stream that is full
        except OSError as error:
            self.failed = self.failed or error
            return len(data)


def keep() -> None:
    """Makes both streams outlast their reader, and take any text. To be called first in a program.

    A reader may leave (`| head`, a dead ssh connection), a disk may be full, an encoding may lack
    a character: a display is never worth a run.
    """
    for number in range(3):  # else the next file to be opened would get a closed stream's number
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    for name, number in (("stdout", 1), ("stderr", 2)):
        old = getattr(sys, name)
        if old is not getattr(sys, f"__{name}__"):  # it is replaced already, by a test for example
            continue
        raw = Lasting(number, "w", closefd=False)
        lasting = io.TextIOWrapper(
            io.BufferedWriter(raw), encoding=old.encoding if old else "utf-8",
            errors="backslashreplace", line_buffering=number == 2 or raw.isatty(),
        )  # fmt: skip
        setattr(sys, name, lasting)


def check_output() -> None:
    """Ends a program whose product is what it prints, if that could not be written.

    A reader that left, as head does, has seen enough.
    """
    sys.stdout.flush()
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    if isinstance(raw, Lasting) and raw.failed and raw.failed.errno != errno.EPIPE:
        print(f"error: standard output: {raw.failed.strerror}", file=sys.stderr)
        sys.exit(1)
