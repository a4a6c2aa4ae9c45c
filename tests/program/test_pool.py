"""Processes of a sweep: who failed, which results stay, who has a GPU or TPU, and signals."""

import functools
import itertools
import json
import os
import queue
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from experiments.runs import files, lock
from experiments.sweep import forkserver, local
from experiments.sweep import pool as pools


def test_a_finished_result_is_never_set_aside(tmp_path):
    """Neither a later sweep nor one that lost the race for the directory replaces a result."""
    code = (
        "import json, pathlib, sys; path = pathlib.Path(sys.argv[1]);"
        "path.write_text(json.dumps({'config_sha256': sys.argv[2], 'by': 'first'}));"
        "sys.exit('holds a finished run')"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "run" / files.RESULTS), "abc"]
    point = pools.Point(tmp_path / "run", "abc", command)
    pool = pools.Pool([])
    assert pool.run([point]) == ["done"]  # although the process failed
    before = (point.path / files.RESULTS).read_text()
    never = point._replace(command=["/no/such/command"])
    assert pools.attempt([never], {}, lambda p: None, lambda: False) == "done"
    assert (point.path / files.RESULTS).read_text() == before
    foreign = point._replace(sha256="other", command=[sys.executable, "-c", "pass"])
    assert pool.run([foreign]) == ["failed"]
    assert "was the config's file changed?" in (point.path / files.REASON).read_text()


def test_who_failed_is_told_by_locks_and_last_lines_not_by_anothers_words(tmp_path):
    """Two sweeps may write to one log, and one of the points may be held by the other sweep."""
    say = "import sys; print('x is in use by y', flush=True); sys.exit({!r})"
    mine, other = (
        pools.Point(tmp_path / name, "x", [sys.executable, "-c", say.format("not finite")])
        for name in ("mine", "other")
    )
    assert pools.Pool([]).run([mine]) == ["failed"]  # despite the words in the log
    assert (mine.path / files.REASON).read_text() == "exit code 1: not finite\n"
    other.path.mkdir()
    with lock.locked(other.path):
        args = dict(os.environ), lambda process: None, lambda: False
        assert pools.attempt([other], *args) == "running"
        assert pools.attempt([mine, other], *args) == "failed"
        assert pools.Pool([]).run([mine, other]) == ["failed", "running"]
        assert not (other.path / files.REASON).exists()
    refused = other._replace(
        command=[sys.executable, "-c", "import sys; sys.exit('is in use by y')"]
    )
    assert pools.Pool([]).run([refused]) == ["running"]  # and the lock is free by now


def run_all(gpus, root, number):
    """Runs points in two pools; returns each run's environment, start and end."""
    code = (
        "import json, os, pathlib, sys, time; begin = time.monotonic(); time.sleep(0.2);"
        "path = pathlib.Path(sys.argv[1]); seen = {**os.environ, 'config_sha256': 'x'};"
        "path.write_text(json.dumps(seen | {'begin': begin, 'end': time.monotonic()}))"
    )
    points = []
    for i in range(number):
        command = [sys.executable, "-c", code, str(root / str(i) / files.RESULTS)]
        points.append(pools.Point(root / str(i), "x", command))
    with ThreadPoolExecutor(number) as threads:
        two = pools.Pool(gpus), pools.Pool(gpus)
        futures = [threads.submit(two[i % 2].run, [point]) for i, point in enumerate(points)]
        assert [future.result() for future in futures] == [["done"]] * number
    return [json.loads((point.path / files.RESULTS).read_text()) for point in points]


def test_a_gpu_for_each_and_never_one_for_two(monkeypatch, tmp_path):
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(pools, "POLL", 0.05)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2, GPU-a/b")
    gpus = pools.visible_gpus()
    assert gpus == ["2", "GPU-a/b"]
    monkeypatch.setenv("SLURM_NTASKS", "4")  # a run must not see these tasks
    seen = run_all(gpus, tmp_path / "runs", 6)
    assert all("SLURM_NTASKS" not in one for one in seen)
    for gpu in gpus:
        times = sorted((e["begin"], e["end"]) for e in seen if e["CUDA_VISIBLE_DEVICES"] == gpu)
        assert times
        assert all(end <= begin for (_, end), (begin, _) in itertools.pairwise(times))
    # A run that outlives its sweep keeps its GPU.
    point = pools.Point(tmp_path / "outlives", "x", ["sleep", "60"])
    begun: queue.Queue = queue.Queue()
    with pools.one_of(["2"], lambda: False) as (_, file):
        start = functools.partial(forkserver.start, held=(file,))
        args = [point], dict(os.environ), begun.put, lambda: True, start
        thread = threading.Thread(target=pools.attempt, args=args)
        thread.start()
        process = begun.get()
    with pools.one_of(gpus, lambda: False) as (gpu, _):
        assert gpu == "GPU-a/b"
    asked = iter((False, True))
    with pools.one_of(["2"], lambda: next(asked)) as (gpu, _):
        assert gpu is None
    process.kill()
    thread.join()
    with pools.one_of(["2"], lambda: False) as (gpu, _):
        assert gpu == "2"
    # A sweep with many points gives one with few a turn.
    code = 'import pathlib, sys; pathlib.Path(sys.argv[1]).write_text(\'{"config_sha256": "x"}\')'
    order: list[str] = []

    def run(name):
        pool = pools.Pool(["2"])
        for i in range(8 if name == "many" else 1):
            path = tmp_path / f"{name}{i}"
            command = [sys.executable, "-c", code, str(path / files.RESULTS)]
            point = pools.Point(path, "x", command)
            assert pool.run([point], lambda: order.append(name)) == ["done"]

    with ThreadPoolExecutor(2) as threads:
        [*threads.map(run, ("many", "few"))]
    assert order.index("few") < 4
    for none in ("", "-1"):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", none)
        assert pools.visible_gpus() == []
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=2")
    (seen,) = run_all([], tmp_path / "cpu", 1)
    flags = ["--xla_force_host_platform_device_count=2", pools.ONE_THREAD["XLA_FLAGS"]]
    assert seen["XLA_FLAGS"].split() == flags
    assert seen["OMP_NUM_THREADS"] == "1"


def test_a_tpu_is_for_one_run_at_a_time(monkeypatch, tmp_path):
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(pools.importlib.util, "find_spec", lambda name: name == "libtpu")
    monkeypatch.setattr(pools, "DEVICES", tmp_path)
    assert not pools.has_tpu()  # only the package is installed
    (tmp_path / "vfio").mkdir()
    (tmp_path / "vfio" / "0").touch()
    assert pools.has_tpu()
    (seen,) = run_all([], tmp_path / "runs", 1)
    assert "OMP_NUM_THREADS" not in seen
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    assert not pools.has_tpu()


def test_a_first_signal_lets_runs_save_and_a_second_ends_them(tmp_path):
    """Two runs that do not end by themselves: one reacts to SIGTERM, one ignores it."""
    code = "import signal, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    code += "time.sleep(60); open(sys.argv[1], 'w')"
    outlived = tmp_path / "outlived"
    points = [
        pools.Point(tmp_path / "heeds", "x", ["sleep", "60"]),
        pools.Point(tmp_path / "deaf", "x", [sys.executable, "-c", code, str(outlived)]),
        pools.Point(tmp_path / "waits", "x", ["sleep", "60"]),
    ]
    pool, states = pools.Pool([]), dict.fromkeys(range(3), "missing")

    def signals():
        while len(pool.running) < 2:
            time.sleep(0.01)
        time.sleep(0.5)  # until it ignores SIGTERM
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)  # some tools send both

    thread = threading.Thread(target=signals)
    thread.start()
    with local.stopped_by_signals(pool):
        local.local(points, states, pool, 2)
    thread.join()
    assert not outlived.exists()
    assert pool.stopped.is_set()
    assert not pool.running
    assert [*states.values()] == ["missing"] * 3
    assert not points[2].path.exists()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_signal_within_the_handler_of_the_first_is_the_second():
    done, pool = [], pools.Pool([])

    class Process:
        def terminate(self):
            done.append("terminate")

        def kill(self):
            done.append("kill")

    class Interrupted(threading.Event):
        def set(self):
            if not done:
                done.append("again")
                pool.stop()
            super().set()

    pool.running, pool.stopped = {Process()}, Interrupted()
    pool.stop()
    assert done == ["again", "kill", "terminate"]
