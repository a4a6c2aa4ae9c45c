"""Tasks of a Slurm array: saved and queued again, limited, done already."""

import os
import pathlib
import pickle
import signal
import subprocess
import sys
import time

import pytest
from submitit.core import utils

from experiments.runs import files
from experiments.sweep import slurm
from tests.program import fake_slurm
from tests.program.fake_slurm import finish, point
from tests.program.test_main import ROOT

cluster = pytest.fixture(fake_slurm.cluster)


RUN = """
import json, pathlib, signal, sys, time
here = pathlib.Path({path!r})
def save(number, frame):
    (here / "saved").write_text("yes")
    print("error: SIGTERM: saved")
    sys.exit(143)
signal.signal(signal.SIGTERM, save)
(here / "began").write_text("yes")
time.sleep(20)
"""
TASK = """
import pathlib, sys
from experiments.sweep import pool, slurm
from submitit.core import job_environment, utils
import submitit
path = pathlib.Path({path!r})
delayed = utils.DelayedSubmission(
    slurm.SlurmTask([pool.Point(path, "a", [sys.executable, "-c", {run!r}])], True))
delayed.set_timeout(120, {timeouts})
env = submitit.JobEnvironment()
env._handle_signals(env.paths, delayed)
print(delayed.result())
"""


def task(path, cluster, run=RUN, timeouts=3):
    """Starts a task in a separate process, as submitit does, and waits for its run to begin."""
    path.mkdir()
    env = os.environ | {
        "SUBMITIT_EXECUTOR": "slurm", "SLURM_JOB_ID": "8", "SLURM_ARRAY_JOB_ID": "7",
        "SLURM_ARRAY_TASK_ID": "0", "SUBMITIT_FOLDER": str(cluster),
    }  # fmt: skip
    code = TASK.format(path=str(path), run=run.format(path=str(path)), timeouts=timeouts)
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, env=env, text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip
    deadline = time.monotonic() + 20
    while not (path / "began").exists() and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return process


@pytest.mark.parametrize(("number", "known", "again"), [
    (signal.SIGUSR2, "RUNNING", True),  # time limit, or preemption in some clusters
    (signal.SIGTERM, "RUNNING", True),  # start of a preemption's grace period
    (signal.SIGTERM, "COMPLETING", False),  # cancelled, or Slurm requeues it itself
])  # fmt: skip
def test_a_signalled_task_saves_and_is_queued_again(cluster, tmp_path, number, known, again):
    (cluster / "queue").write_text(f"7_0|{known}|None\n")
    process = task(tmp_path / "run", cluster)
    process.send_signal(number)
    said = process.communicate(timeout=20)
    assert (tmp_path / "run" / "saved").exists(), said
    assert "SIGTERM: saved" in (tmp_path / "run" / "log.txt").read_text()
    assert not (tmp_path / "run" / files.REASON).exists()
    assert process.returncode == (255 if again else 143)
    calls = cluster / "calls"
    assert (calls.read_text() if calls.exists() else "") == ("requeue 7_0\n" if again else "")
    if again:  # submitit then starts the same point
        delayed = utils.DelayedSubmission.load(cluster / "7_0_submitted.pkl")
        assert [one.path for one in delayed.function.points] == [tmp_path / "run"]
        assert delayed._timeout_countdown == 3


def test_slurms_warning_to_the_run_itself_does_not_end_it(cluster, tmp_path):
    """Slurm sends the warning to every process of a step."""
    process = task(tmp_path / "run", cluster)
    children = f"/proc/{process.pid}/task/{process.pid}/children"
    child = int(pathlib.Path(children).read_text().split()[0])
    for number in slurm.WARNINGS:
        os.kill(child, number)
    time.sleep(0.2)
    process.send_signal(signal.SIGUSR2)
    process.communicate(timeout=20)
    assert (tmp_path / "run" / "saved").exists()


def test_a_task_that_fails_or_was_limited_too_often_says_why(cluster, tmp_path):
    run = "import pathlib\npathlib.Path({path!r}, 'began').touch()\nraise SystemExit('what it was')"
    process = task(tmp_path / "fails", cluster, run)
    process.communicate(timeout=20)
    assert process.returncode == 1
    assert (tmp_path / "fails" / files.REASON).read_text() == "exit code 1: what it was\n"
    # By submitit's clock, the 120 minutes are over, and no restart is left.
    process = task(tmp_path / "limited", cluster, timeouts=-1)
    process.send_signal(signal.SIGUSR2)
    process.communicate(timeout=20)
    assert process.returncode == 1
    assert "too many times" in (tmp_path / "limited" / files.REASON).read_text()
    assert (tmp_path / "limited" / "saved").exists()


def test_a_done_point_is_not_run_and_one_in_use_is_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr(slurm, "SECONDS_BETWEEN_TRIES", 0.01)
    one = point(tmp_path, "a", "raise SystemExit('must not run')")
    finish(one)
    before = {n: signal.getsignal(n) for n in (signal.SIGTERM, *slurm.WARNINGS)}
    try:
        assert slurm.SlurmTask([one], True)() == "done"
        code = ("import pathlib as p; c = p.Path({count!r}); c.write_text(c.read_text() + 'x')\n"
                "if len(c.read_text()) < 3: raise SystemExit('error: is in use by another')\n"
                "p.Path({result!r}).write_text('{{\"config_sha256\": \"b\"}}')")  # fmt: skip
        (count := tmp_path / "count").write_text("")
        result = tmp_path / "b" / files.RESULTS
        other = point(tmp_path, "b", code.format(count=str(count), result=str(result)))
        assert slurm.SlurmTask([other], True)() == "done"
        assert count.read_text() == "xxx"
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_tasks_can_be_pickled_and_one_core_has_one_thread(tmp_path, monkeypatch):
    code = (
        "import os, pathlib; pathlib.Path({!r}).write_text(os.environ.get('OMP_NUM_THREADS', ''))"
    )
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    before = {n: signal.getsignal(n) for n in (signal.SIGTERM, *slurm.WARNINGS)}
    try:
        for narrow, expected in ((True, "1"), (False, "")):
            place = tmp_path / f"threads{narrow}"
            one = slurm.SlurmTask([point(tmp_path, "a", code.format(str(place)))], narrow)
            with pytest.raises(RuntimeError, match="exit code 0"):  # the run has no result
                pickle.loads(pickle.dumps(one))()
            assert place.read_text() == expected
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_a_login_node_needs_no_jax():
    code = "import sys, experiments.sweep; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
