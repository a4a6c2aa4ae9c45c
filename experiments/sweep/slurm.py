"""Points of a sweep as tasks of a Slurm job array, through submitit.

A task that is preempted, or near its time limit, saves and is queued again; so is one whose node
fails, which continues from its newest checkpoint.
"""

import contextlib
import dataclasses
import functools
import io
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time
from typing import NamedTuple

from experiments.progress import console
from experiments.runs import files
from experiments.runs.lock import locked
from experiments.sweep import watch
from experiments.sweep.forkserver import start
from experiments.sweep.points import Point
from experiments.sweep.pool import TO_DO, attempt, has_result, in_groups, one_thread, state
from experiments.sweep.slurm_options import Options, asks_for_gpus, parameters

TASK = "slurm.txt"  # in a run's directory: the number of its task
LOGS = "slurm"  # beside the runs' directories: what submitit writes
ENDED = ("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY",
         "PREEMPTED", "REVOKED", "TIMEOUT")  # fmt: skip
ENDINGS = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
SECONDS_BETWEEN_LOOKS = 5.0
SECONDS_BETWEEN_TRIES = 10.0


class Queued(NamedTuple):
    """Slurm's word for a task's state, and why the task waits."""

    state: str
    reason: str


def queue(tasks: list[str]) -> dict[str, Queued]:
    """What Slurm knows of tasks, which it forgets some minutes after they end.

    Raises:
      OSError: if Slurm does not answer.
    """
    jobs = {task.partition("_")[0] for task in tasks}
    if not jobs:
        return {}
    command = ["squeue", "--noheader", "--array", "--states=all", "--format=%i|%T|%r"]
    done = subprocess.run([*command, f"--jobs={','.join(sorted(jobs))}"], capture_output=True,
                          text=True, check=False)  # fmt: skip
    if "Invalid job id" in done.stderr:  # forgotten, if it is the only one
        return {}
    if done.returncode:
        raise OSError(f"squeue: {done.stderr.strip() or done.returncode}")
    rows = (line.split("|", 2) for line in done.stdout.splitlines())
    return {task: Queued(word, reason) for task, word, reason in rows if task in tasks}


def number_of(point: Point) -> str:
    try:
        return (point.path / TASK).read_text(errors="replace").strip()
    except FileNotFoundError:
        return ""


def states(points: list[Point]) -> dict[int, str]:
    """The states of points, as pool.state has them, or queued: a task waits for its turn."""
    found = {i: state(point) for i, point in enumerate(points)}
    tasks = {i: task for i in found if found[i] != "done" and (task := number_of(points[i]))}
    if shutil.which("squeue"):  # else they are looked at from elsewhere
        known = queue([*tasks.values()])
        for i, task in tasks.items():
            if task in known and known[task].state not in ENDED:
                found[i] = "running" if known[task].state == "RUNNING" else "queued"
    return found


def submit(
    points: list[Point], options: Options, parallel: int, root: pathlib.Path, at_once: int = 1
) -> list[str]:
    """Queues the points that are neither done nor queued, as one array; returns its tasks.

    Raises:
      ValueError: if Slurm is not here or takes no such job, or another process submits.
    """
    try:
        import submitit
    except ImportError:
        text = "expected submitit: pip install -e '.[experiments]'"
        raise ValueError(f"--backend: slurm: {text}") from None
    if not shutil.which("sbatch"):
        raise ValueError("--backend: slurm: expected sbatch on the PATH, found none")
    with locked(root):  # one at a time, so that nothing is queued twice
        found = states(points)
        numbers = in_groups(points, at_once, [i for i in found if found[i] in TO_DO])
        groups = [[points[i] for i in own] for own in numbers]
        if not groups:
            return []
        executor = submitit.SlurmExecutor(root / LOGS, options.numbers["max_num_timeout"])
        executor.update_parameters(**parameters(options, parallel, root.absolute().name))
        narrow = options.numbers["cpus_per_task"] == 1 and not asks_for_gpus(options)
        # What sbatch has taken is written down, whatever signal comes between.
        held = signal.pthread_sigmask(signal.SIG_BLOCK, ENDINGS)
        try:
            with contextlib.redirect_stderr(io.StringIO()) as said:
                jobs = executor.submit_array([SlurmTask(group, narrow) for group in groups])
            for group, job in zip(groups, jobs, strict=True):
                for point in group:
                    point.path.mkdir(parents=True, exist_ok=True)
                    (point.path / files.REASON).unlink(missing_ok=True)
                    (point.path / TASK).write_text(f"{job.job_id}\n")
        except submitit.core.utils.FailedJobError:
            why = [line.removeprefix("sbatch: ") for line in said.getvalue().splitlines()]
            raise ValueError(f"--slurm: {'; '.join(why)}") from None
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, held)
    return [job.job_id for job in jobs]


# Slurm sends its warning to all processes of a task: to the run, too, which would end unsaved.
WARNINGS = {signal.SIGUSR1, signal.SIGUSR2}
in_this_session = functools.partial(start, own_session=False)


@dataclasses.dataclass(frozen=True)
class SlurmTask:
    """What Slurm runs: points that are trained together, to their end or to a signal."""

    points: list[Point]
    narrow: bool  # one core: one thread

    def __call__(self) -> str:
        received: list[int] = []
        processes: list[subprocess.Popen] = []

        def note(number, frame):
            received.append(number)
            for process in processes:
                process.send_signal(signal.SIGTERM)

        def started(process):
            processes[:] = [process]
            signal.pthread_sigmask(signal.SIG_UNBLOCK, WARNINGS)
            if received:  # since it was started
                process.send_signal(signal.SIGTERM)

        self.note_task()
        submitits = {n: signal.signal(n, note) for n in (signal.SIGTERM, *WARNINGS)}
        environment = one_thread() if self.narrow else dict(os.environ)
        found = "done" if all(map(has_result, self.points)) else "running"
        while found == "running" and not received:
            signal.pthread_sigmask(signal.SIG_BLOCK, WARNINGS)  # as the run inherits it
            found = attempt(
                self.points, environment, started, lambda: bool(received), in_this_session
            )
            if found == "running":  # of a node that is gone, say, whose lock is not yet let go
                time.sleep(SECONDS_BETWEEN_TRIES)
        for number, handler in submitits.items():
            signal.signal(number, handler)
        if found == "failed":
            left = next(point for point in self.points if not has_result(point))
            raise RuntimeError(files.reason(left.path))
        if found != "done":
            if self.is_to_go_on(received):
                self.queue_again(submitits)
            sys.exit(143)  # Slurm queues it again, or somebody took it out
        for number in WARNINGS:  # too late to be of use, and the end of a process that ends
            signal.signal(number, signal.SIG_IGN)
        return found

    def note_task(self) -> None:
        """As `submit` does, in case it was killed between sbatch and that."""
        names = ("SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID")
        if numbers := [os.environ[name] for name in names if name in os.environ]:
            for point in self.points:
                point.path.mkdir(parents=True, exist_ok=True)
                (point.path / TASK).write_text(f"{'_'.join(numbers)}\n")

    def checkpoint(self):
        """Tells submitit what to run when the task is restarted."""
        import submitit

        return submitit.helpers.DelayedSubmission(self)

    def is_to_go_on(self, received: list[int]) -> bool:
        """Whether it is left to the task to be queued again.

        SIGTERM alone comes before Slurm cancels a job or queues it again itself, but also at the
        start of a preemption's time of grace, when to end would be taken for the end.
        """
        import submitit

        if WARNINGS & {*received}:
            return True
        task = submitit.JobEnvironment().job_id
        return queue([task]).get(task, Queued("", "")).state == "RUNNING"

    def queue_again(self, submitits) -> None:
        """By submitit, which counts the time limits, says so in its log, and ends the process."""
        number = getattr(signal, f"SIG{os.environ.get('SUBMITIT_PREEMPT_SIGNAL', 'USR2')}")
        try:
            submitits[number](number, None)
        except Exception as error:
            for point in self.points:
                (point.path / files.REASON).write_text(f"{error}\n")
            raise


def run(
    points: list[Point], options: Options, parallel: int, root: pathlib.Path, at_once: int = 1
) -> dict[int, str]:
    """Submits what is missing, and waits; the state of each at the end."""
    tasks = submit(points, options, parallel or len(points), root, at_once)
    jobs = ", ".join(dict.fromkeys(task.partition("_")[0] for task in tasks)) or "none"
    console.print(f"sweep    {len(points)} runs, {len(tasks)} submitted; new jobs: {jobs}")
    return follow(points, parallel or len(points), root)


def follow(points: list[Point], parallel: int, root: pathlib.Path) -> dict[int, str]:
    """Looks at the queue until none of the points is in it; the state of each then."""
    tasks = {i: task for i, point in enumerate(points) if (task := number_of(point))}
    found = {i: "done" if has_result(point) else "queued" for i, point in enumerate(points)}
    left = {i: task for i, task in tasks.items() if found[i] != "done"}
    said = {"None", "Resources", "Priority", "BeginTime", "JobArrayTaskLimit"}  # will pass
    with watch.watching(points, found, parallel) as ended:
        while left:
            try:
                known = queue([*left.values()])
            except OSError as error:  # a busy controller
                console.print(f"{error}: looking again")
                time.sleep(SECONDS_BETWEEN_LOOKS)
                continue
            for i, task in [*left.items()]:
                one = known.get(task)
                if one and one.state not in ENDED:
                    found[i] = "running" if one.state == "RUNNING" else "queued"
                    continue
                del left[i]
                found[i] = outcome(points[i], task, one, root / LOGS)
                ended(i)
            reasons = {known[task].reason for i, task in left.items() if found[i] == "queued"}
            for reason in sorted(reasons - said):  # some never end
                console.print(f"sweep    some runs wait: {reason}")
            said |= reasons
            if left:
                time.sleep(SECONDS_BETWEEN_LOOKS)
    return {i: state(point) for i, point in enumerate(points)}


def outcome(point: Point, task: str, known: Queued | None, logs: pathlib.Path) -> str:
    """The state of a point whose task has ended; why, where the task could not say it."""
    found = state(point)
    if found != "missing" or known is None or known.state in ("CANCELLED", "COMPLETED"):
        return found
    said = logs / f"{task}_0_log.err"
    lines = said.read_text(errors="replace").strip().splitlines() if said.exists() else []
    reason = f"Slurm: {known.state}: {lines[-1] if lines else known.reason}"
    (point.path / files.REASON).write_text(f"{reason}\n")
    return "failed"
