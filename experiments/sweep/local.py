"""A sweep on this machine: its runs as processes, a bounded number at a time."""

import concurrent.futures
import contextlib
import functools
import math
import signal
import threading
import time
from collections.abc import Iterator

from experiments.progress import console
from experiments.runs import files
from experiments.sweep import watch
from experiments.sweep.points import Point
from experiments.sweep.pool import Pool, has_result, in_groups

TO_SAVE = 0.9  # of the time of a sweep: what runs then is asked to save


@contextlib.contextmanager
def stopped_after(seconds: float, pool: Pool, late: threading.Event) -> Iterator[None]:
    """After a part of these seconds, asks runs to save and end, and sets `late`; 0: never.

    When all have passed, it ends them.
    """

    def stop() -> None:
        late.set()
        pool.stop()

    timers = [threading.Timer(part * seconds, stop) for part in (TO_SAVE, 1)] if seconds else []
    for timer in timers:
        timer.start()
    try:
        yield
    finally:
        for timer in timers:
            timer.cancel()


def tell(failed: list[Point], error: Exception) -> None:
    """Prints why points failed, and writes it where something can be written."""
    for point in failed:
        console.print(f"{point.path.name}: {error}")
        with contextlib.suppress(OSError):
            files.write_reason(point.path, str(error))


def local(
    points: list[Point],
    states: dict[int, str],
    pool: Pool,
    number: int,
    at_once: int = 1,
    seconds: float = 0.0,
) -> bool:
    """Trains all points that are missing, and keeps `states` up to date.

    With `seconds`, no run is begun that would end too late if it took as long as the longest here.
    Returns whether some were left for that reason.
    """
    end, lasted, late = time.monotonic() + (TO_SAVE * seconds or math.inf), [0.0], threading.Event()
    todo = [i for i, found in states.items() if found not in ("done", "queued")]
    done, queued = ([*states.values()].count(name) for name in ("done", "queued"))
    left_out = f", {queued} queued in Slurm and left to it" if queued else ""
    console.print(f"sweep    {len(points)} runs, {done} done{left_out}, {number} at a time")
    states |= dict.fromkeys(todo, "missing")

    def run(group: list[int]) -> None:
        begun = functools.partial(states.update, dict.fromkeys(group, "running"))
        start = time.monotonic()
        if start + max(lasted) > end:
            return late.set()
        try:
            states.update(zip(group, pool.run([points[i] for i in group], begun), strict=True))
            lasted.append(time.monotonic() - start)
        except (OSError, ValueError) as error:  # e.g. a full disk: the others continue
            states.update((i, "done" if has_result(points[i]) else "failed") for i in group)
            tell([points[i] for i in group if states[i] == "failed"], error)

    with (
        concurrent.futures.ThreadPoolExecutor(number) as threads,
        watch.watching(points, states, number) as ended,
        stopped_after(seconds, pool, late),
    ):
        while todo and not pool.stopped.is_set():
            futures = {threads.submit(run, own): own for own in in_groups(points, at_once, todo)}
            pending = {*futures}
            while pending:  # with a timeout: a signal to another thread does not wake this one
                finished, pending = concurrent.futures.wait(pending, 0.5, "FIRST_COMPLETED")
                for future in finished:
                    future.result()
                    for i in futures[future] if not pool.stopped.is_set() else ():
                        if states[i] not in ("running", "missing"):
                            ended(i)
            # Running elsewhere: waited for, and done here if that fails.
            todo = [i for i in todo if states[i] == "running"]
            time.sleep(1.0 if todo else 0.0)  # no lock that a signal's handler would wait for
    return late.is_set()


@contextlib.contextmanager
def stopped_by_signals(pool: Pool) -> Iterator[None]:
    """The first signal lets runs save and end, a second ends them; nohup and & are heeded."""

    def stop(number, frame):
        text = "ending at once" if pool.stopped.is_set() else "saving; again: at once"
        pool.stop()
        console.print(f"{signal.Signals(number).name}: {text}")

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    previous = {n: signal.getsignal(n) for n in numbers if signal.getsignal(n) != signal.SIG_IGN}
    for number in previous:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
