"""The Slurm backend with fake commands; scripts/slurm_test.py tests it with a real Slurm."""

import json
import os
import pathlib
import pickle
import signal
import subprocess
import sys
import threading
import time

import pytest
from submitit.core import utils

from experiments.runs import files
from experiments.sweep import pool as pools
from experiments.sweep import slurm, slurm_options
from tests.program.test_main import ROOT


def test_options_are_numbers_or_for_sbatch():
    text = "partition=gpu,cpu,gres=gpu:1,time=30,mem_gb=16,cpus-per-task=4"
    numbers, others = slurm_options.parse(text)
    assert others == {"partition": "gpu,cpu", "gres": "gpu:1", "mem": "16G"}
    assert numbers == slurm_options.NUMBERS | {"time": 30, "cpus_per_task": 4}
    assert slurm_options.parse("") == (slurm_options.NUMBERS, {})


@pytest.mark.parametrize(("text", "message"), [
    ("gpu", r"expected key=value,key=value, got 'gpu'"),
    ("partition=", r"expected key=value,key=value, got 'partition='"),
    ("a b=1", r"expected key=value,key=value, got 'a b=1'"),
    ("time=2:00:00", r"time: expected a whole number from 1, got '2:00:00'"),
    ("mem_gb=0", r"mem_gb: expected a whole number from 1, got '0'"),
    ("cpus_per_task=-1", r"cpus_per_task: expected a whole number from 1, got '-1'"),
    ("partition=gpu,open-mode=truncate", r"open_mode is set by the sweep"),
    ("time=1", r"time: expected more than signal_delay_s, 90 s, got 1 min"),
])  # fmt: skip
def test_a_wrong_option_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        slurm_options.parse(text)


@pytest.mark.parametrize(("text", "asked"), [
    ("", False), ("gres=gpu:1", True), ("gres=nvme:1", False), ("gpus=1", True),
    ("gpus_per_node=2", True), ("constraint=gpu", False),
])  # fmt: skip
def test_which_options_ask_for_gpus(text, asked):
    assert slurm_options.asks_for_gpus(slurm_options.parse(text)) == asked


FAKES = {
    # Reads the number of tasks from the array option, and answers like sbatch.
    "sbatch": """
grep -q -- '--wrong=' "$1" && echo "sbatch: unrecognized option" >&2 && exit 1
cp "$1" {folder}/script
n=$(($(cat {folder}/count) + 1)); echo $n > {folder}/count
last=$(sed -n 's/^#SBATCH --array=0-\\([0-9]*\\)%.*/\\1/p' "$1")
for i in $(seq 0 "${{last:--1}}"); do echo "${{n}}_$i|PENDING|Resources"; done >> {folder}/queue
[ "$last" ] || echo "$n|PENDING|Resources" >> {folder}/queue
echo "Submitted batch job $n"
""",
    "squeue": "echo x >> {folder}/asked\ncat {folder}/queue\n",
    "srun": "",
    "scontrol": 'echo "$@" >> {folder}/calls\n',
}


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """A directory with a queue file, which a fake sbatch fills and a fake squeue prints."""
    folder = tmp_path / "cluster"
    folder.mkdir()
    (folder / "count").write_text("6\n")
    (folder / "queue").write_text("")
    (folder / "asked").write_text("")
    for name, text in FAKES.items():
        (folder / name).write_text(f"#!/bin/bash\n{text.format(folder=folder)}")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


def point(root, name, code="pass"):
    return pools.Point(root / name, name, [sys.executable, "-c", code])


def finish(one):
    one.path.mkdir(parents=True, exist_ok=True)
    (one.path / files.RESULTS).write_text(json.dumps({"config_sha256": one.sha256}))


def rewrite(cluster, old, new):
    queue = cluster / "queue"
    assert old in queue.read_text()
    (whole := cluster / "whole").write_text(queue.read_text().replace(old, new))
    whole.replace(queue)


def wait_for_a_look(cluster):
    """Waits until squeue has shown the current queue. The next call may have started earlier."""
    before, deadline = len((cluster / "asked").read_text()), time.monotonic() + 20
    while len((cluster / "asked").read_text()) < before + 4 and time.monotonic() < deadline:
        time.sleep(0.01)


def test_nothing_is_submitted_twice(cluster, tmp_path):
    points = [point(tmp_path, name) for name in "abcd"]
    finish(points[1])
    options = slurm_options.parse("partition=p,cpus_per_task=2")
    assert slurm.submit(points, options, 2, tmp_path) == ["7_0", "7_1", "7_2"]
    assert [slurm.number_of(one) for one in points] == ["7_0", "", "7_1", "7_2"]
    script = (cluster / "script").read_text()
    for line in ("--array=0-2%2", "--partition=p", "--requeue", "--cpus-per-task=2", "--time=120"):
        assert f"#SBATCH {line}\n" in script
    assert "srun" in script.splitlines()[-1]
    assert "--cpus-per-task=2" in script.splitlines()[-1]
    assert [*slurm.states(points).values()] == ["queued", "done", "queued", "queued"]
    assert slurm.submit(points, options, 2, tmp_path) == []
    # One runs. Slurm has forgotten one without a result, and one failed: resubmit these two.
    rewrite(cluster, "7_0|PENDING", "7_0|RUNNING")
    rewrite(cluster, "7_1|PENDING|Resources\n", "")
    rewrite(cluster, "7_2|PENDING", "7_2|FAILED")
    (points[3].path / files.REASON).write_text("why\n")
    assert [*slurm.states(points).values()] == ["running", "done", "missing", "failed"]
    asked = (cluster / "asked").read_text().count("x")
    assert slurm.submit(points, options, 2, tmp_path) == ["8_0", "8_1"]
    assert (cluster / "asked").read_text().count("x") == asked + 1  # one call for all
    assert [slurm.number_of(one) for one in points] == ["7_0", "", "8_0", "8_1"]
    assert not (points[3].path / files.REASON).exists()
    # A single point is not submitted as an array.
    assert slurm.submit([point(tmp_path, "e")], options, 2, tmp_path) == ["9"]
    assert [*slurm.states([point(tmp_path, "e")]).values()] == ["queued"]


def test_seeds_of_a_point_are_one_task(cluster, tmp_path):
    points = [point(tmp_path, name)._replace(family=name[0]) for name in ("a0", "b0", "a1", "a2")]
    options = slurm_options.parse("")
    assert slurm.submit(points, options, 4, tmp_path, at_once=2) == ["7_0", "7_1", "7_2"]
    assert [slurm.number_of(one) for one in points] == ["7_0", "7_1", "7_0", "7_2"]
    assert {*slurm.states(points).values()} == {"queued"}
    assert slurm.submit(points, options, 4, tmp_path, at_once=2) == []
    tasks = [utils.DelayedSubmission.load(path) for path in (tmp_path / slurm.LOGS).glob("*.pkl")]
    assert {tuple(one.sha256 for one in task.function.points) for task in tasks} == {
        ("a0", "a1"), ("b0",), ("a2",)
    }  # fmt: skip


def test_sbatch_says_what_is_wrong(cluster, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"^--slurm: unrecognized option$"):
        slurm.submit([point(tmp_path, "a")], slurm_options.parse("wrong=1"), 1, tmp_path)
    assert slurm.number_of(point(tmp_path, "a")) == ""
    (cluster / "sbatch").unlink()
    monkeypatch.setenv("PATH", str(cluster))
    with pytest.raises(ValueError, match="expected sbatch on the PATH"):
        slurm.submit([point(tmp_path, "a")], slurm_options.parse(""), 1, tmp_path)


def test_squeue_without_an_answer(cluster, tmp_path):
    one = point(tmp_path, "a")
    slurm.submit([one], slurm_options.parse(""), 1, tmp_path)
    squeue = cluster / "squeue"
    squeue.write_text(
        "#!/bin/bash\necho 'slurm_load_jobs error: Invalid job id specified' >&2\nexit 1"
    )
    assert slurm.states([one]) == {0: "missing"}  # Slurm has forgotten it
    squeue.write_text("#!/bin/bash\necho 'slurm_load_jobs error: Unable to contact' >&2\nexit 1")
    with pytest.raises(OSError, match="Unable to contact"):
        slurm.states([one])
    with pytest.raises(OSError, match="Unable to contact"):  # nothing is submitted then
        slurm.submit([one], slurm_options.parse(""), 1, tmp_path)


def test_the_queue_is_followed_to_its_end(cluster, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(slurm, "SECONDS_BETWEEN_LOOKS", 0.05)
    points = [point(tmp_path, name) for name in "abcdef"]
    finish(points[5])

    def changes():
        try:
            change(cluster, points, tmp_path)
        except BaseException:
            (cluster / "queue").write_text("")  # ends the loop that watches it
            raise

    thread = threading.Thread(target=changes)
    thread.start()
    states = slurm.run(points, slurm_options.parse(""), 0, tmp_path)
    thread.join()
    assert [*states.values()] == ["done", "failed", "missing", "failed", "missing", "done"]
    assert "6 runs, 5 submitted; new jobs: 7" in (said := capsys.readouterr().err)
    assert "some runs wait: launch failed requeued held" in said
    assert "Resources" not in said
    reasons = [(points[i].path / files.REASON).read_text() for i in (1, 3)]
    assert reasons == ["Slurm: OUT_OF_MEMORY: it was killed\n", "exit code 1: its own\n"]


def change(cluster, points, root):
    """Changes the states of the five tasks while the sweep watches them."""
    deadline = time.monotonic() + 20
    while not (points[4].path / slurm.TASK).exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    rewrite(cluster, "7_0|PENDING", "7_0|RUNNING")
    rewrite(cluster, "7_3|PENDING|Resources", "7_3|PENDING|launch failed requeued held")
    wait_for_a_look(cluster)
    finish(points[0])
    rewrite(cluster, "7_0|RUNNING", "7_0|COMPLETED")
    (root / slurm.LOGS / "7_1_0_log.err").write_text("first\nit was killed\n")
    rewrite(cluster, "7_1|PENDING", "7_1|OUT_OF_MEMORY")
    rewrite(cluster, "7_2|PENDING", "7_2|CANCELLED")
    (points[3].path / files.REASON).write_text("exit code 1: its own\n")
    rewrite(cluster, "7_3|PENDING|launch failed requeued held", "7_3|FAILED|NonZeroExitCode")
    rewrite(cluster, "7_4|PENDING|Resources\n", "")  # Slurm has forgotten it


# On SIGTERM, saves and exits like a run; any other signal kills it.
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
