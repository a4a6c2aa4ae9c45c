"""Runs as forks: each is a process like any other, with its own log, session and exit code."""

import os
import sys
import time

import pytest

from experiments.sweep import forkserver
from experiments.sweep.pool import one_thread

MAIN = [sys.executable, "-m", "experiments.main", "--config=configs/digits.py"]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems fork no run")
def test_a_fork_is_a_process_like_any_other(tmp_path):
    environment = one_thread()
    with forkserver.forks(environment) as start:
        with open(tmp_path / "mistake", "w+") as log:
            mistake = start([*MAIN, f"--workdir={tmp_path}", "--config.epochs=0"], environment, log)
            assert isinstance(mistake, forkserver.Fork)
            assert mistake.wait() == 2
            log.seek(0)
            assert (
                log.read() == "error: config.epochs: expected an integer from 1 to 100000, got 0\n"
            )
        with open(tmp_path / "killed", "w") as log:
            killed = start([*MAIN, f"--workdir={tmp_path / 'run'}"], environment, log)
            assert os.getsid(killed.pid) == killed.pid
            while not (tmp_path / "run").exists():
                time.sleep(0.01)
            killed.kill()
            assert killed.wait() == -9
            with pytest.raises(ProcessLookupError):
                killed.terminate()


def test_without_a_server_a_run_is_started_by_itself(tmp_path, monkeypatch):
    monkeypatch.setattr(forkserver.sys, "executable", "false")
    with forkserver.forks(dict(os.environ)) as start, open(tmp_path / "log", "w+") as log:
        time.sleep(0.2)  # ends in any case: before, while or after it is asked
        assert start(["sh", "-c", "echo said; exit 3"], dict(os.environ), log).wait() == 3
        log.seek(0)
        assert log.read() == "said\n"
