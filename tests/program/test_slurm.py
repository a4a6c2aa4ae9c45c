"""The Slurm backend with fake commands; scripts/slurm_test.py tests it with a real Slurm."""

import threading
import time

import pytest
from submitit.core import utils

from experiments.runs import files
from experiments.sweep import slurm, slurm_options
from tests.program import fake_slurm
from tests.program.fake_slurm import finish, point, rewrite, wait_for_a_look

cluster = pytest.fixture(fake_slurm.cluster)


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
