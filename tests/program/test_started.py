"""Starts that are refused leave nothing; a run whose directory is gone leaves it gone."""

import contextlib
import errno
import fcntl
import os
import shutil
import signal
import subprocess
import sys

import jax
import pytest

from configs import digits
from experiments import cache
from experiments.runs import files, identity, lock
from experiments.training import build, devices, optimizers, seeds, step
from tests.program.running import train_one
from tests.program.test_main import ROOT


def config_of(**overrides):
    config = digits.get_config()
    config.devices, config.epochs, config.batch_size = 1, 3, 512
    config.checkpoint.every_epochs = 1
    config.update_from_flattened_dict(overrides)
    return config


@pytest.fixture(scope="module")
def run():
    return build.build_run(config_of())


# --- The directory. -------------------------------------------------------------------------------


def test_a_refused_start_leaves_nothing(tmp_path):
    deep = tmp_path / "a" / "b"
    with pytest.raises(ValueError, match="no"), lock.claimed(deep):
        raise ValueError("no")
    assert not [*tmp_path.iterdir()]
    deep.mkdir(parents=True)
    (deep / "mine").touch()
    with lock.claimed(deep):  # nothing began
        pass
    assert [path.name for path in deep.iterdir()] == ["mine"]
    with lock.claimed(deep / "run") as path:
        files.write_json(path / files.CONFIG, {})
    assert {one.name for one in path.iterdir()} == {files.CONFIG, lock.LOCK}
    with lock.claimed(path):
        pass
    assert {one.name for one in path.iterdir()} == {files.CONFIG, lock.LOCK}
    for name in ("x" * 300, "~no_such_user/x", "a\0b"):
        with pytest.raises(ValueError, match=r"^--workdir: "):
            lock.claimed(tmp_path / name if name[0] == "x" else name).__enter__()


@pytest.mark.parametrize("when", ["at a save", "between saves", "by another run"])
def test_a_directory_that_is_removed_stays_removed(run, tmp_path, when):
    path, seen = tmp_path / "run", []
    path.mkdir()

    def signal_of_a_step():
        seen.append(1)
        if len(seen) == 4:  # after the second epoch has begun
            shutil.rmtree(path)
            if when == "by another run":
                path.mkdir()
                for name in (files.CONFIG, files.METRICS):
                    (path / name).write_text("other")
                (path / lock.LOCK).write_text('{"host": "other", "pid": 1}')
        return signal.SIGTERM if when == "at a save" and len(seen) == 5 else None

    with lock.locked(path), pytest.raises(OSError, match="was removed during training"):
        train_one(config_of(**{"checkpoint.every_epochs": 0}), run, path, signal_of_a_step)
    if when == "by another run":
        names = {one.name for one in path.iterdir()}
        assert names == {files.CONFIG, files.METRICS, lock.LOCK}
        assert (path / files.METRICS).read_text() == "other"
    else:
        assert not path.exists()


def test_a_lock_whose_directory_is_gone_is_none(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "taken", lambda file: not os.unlink(file.name))
    with pytest.raises(OSError, match="was removed by another process"):
        lock.locked(tmp_path).__enter__()


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EIO])
def test_a_file_system_without_locks_is_named(tmp_path, monkeypatch, number):
    def flock(file, how):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    expected = rf"cannot lock .*{lock.LOCK}: {os.strerror(number)}; .* choose a directory on"
    with pytest.raises(OSError, match=expected):
        lock.claimed(tmp_path / "a" / "b").__enter__()
    assert not [*tmp_path.iterdir()]


# --- Signals. -------------------------------------------------------------------------------------


def test_a_closed_terminal_saves_unless_it_is_to_be_ignored():
    for number in (signal.SIGHUP, signal.SIGINT):
        before = signal.getsignal(number)
        try:
            signal.signal(number, signal.SIG_IGN)
            with lock.signals() as received:  # nohup, or a shell's &
                os.kill(os.getpid(), number)
                assert received() is None
            assert signal.getsignal(number) == signal.SIG_IGN
            signal.signal(number, signal.SIG_DFL)
            with lock.signals() as received:
                os.kill(os.getpid(), number)
                assert received() == number
            assert signal.getsignal(number) == signal.SIG_DFL
        finally:
            signal.signal(number, before)
    assert lock.Stopped(signal.SIGHUP).code == 128 + signal.SIGHUP


# --- Sizes. ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [1e308, -1, float("nan"), float("inf"), "a", None, True, 100_001])
@pytest.mark.parametrize("schedule", ["piecewise", "cyclic"])
def test_boundaries(schedule, value):
    config = config_of(**{"optimizer.schedule": schedule}).optimizer
    with config.unlocked():
        config.boundaries = (value,)
    with pytest.raises(ValueError, match=r"config\.optimizer\.boundaries"):
        optimizers.make(config, 3, 10)


TRENDS = "loss.trend_superloss.window"
SIZES = [("task", 3), ("model.name", ["mlp"]), ("loss.method", None),
         ("epochs", 10**9), ("epochs", 2.5), ("epochs", None), ("epochs", True), ("devices", 0.5),
         ("batch_size", 0), ("batch_size", "64"), ("checkpoint.keep", 2.5), ("seed", 2**31),
         ("seed", 0.0), ("vmap_seeds", 1.5), ("model.bn_groups", 1.5), (TRENDS, 10**8),
         ("loss.window", 0.5), ("checkpoint.every_minutes", None), ("report.selection", 3),
         ("optimizer.learning_rate", None), ("optimizer.weight_decay", "0")]  # fmt: skip


@pytest.mark.parametrize(("key", "value"), SIZES)
def test_sizes_that_cannot_be_meant(key, value):
    method = "trend_superloss" if key == TRENDS else "superloss"
    config = config_of(**{"loss.method": method, "loss.threshold": "windowed"})
    section, _, name = key.rpartition(".")
    at = config
    for part in filter(None, section.split(".")):
        at = at[part]
    with config.unlocked():
        if name in at:
            del at[name]
        at[name] = value
    with pytest.raises(ValueError, match=rf"^config\.{key}: expected "):
        build.build_run(config)


def test_the_last_of_several_seeds_is_one():
    build.check_values(config_of(seed=2**31 - 2, vmap_seeds=2))
    with pytest.raises(ValueError, match=r"the last of vmap_seeds.* got 2147483648"):
        build.check_values(config_of(seed=2**31 - 1, vmap_seeds=2))


def test_more_memory_than_there_is_is_one_line(run, tmp_path, monkeypatch):
    huge = config_of(**{"loss.method": "trend_superloss", TRENDS: 100_000})
    run_of_it = build.build_run(huge)  # without any of it
    monkeypatch.setattr(os, "sysconf", lambda name: 2**12 if name == "SC_PAGE_SIZE" else 2**16)
    expected = r"the state of training takes 1 GB, most of it .*history; cpu has 0 GB"
    with pytest.raises(MemoryError, match=expected):
        train_one(huge, run_of_it, tmp_path)
    with pytest.raises(MemoryError, match=r"the state of training takes"):
        seeds.train_seeds(config_of(vmap_seeds=10_000), run, tmp_path)
    assert not [*tmp_path.iterdir()]
    step.check_memory(run)

    def full(*unused):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory\nmore")

    said = "^too little memory on cpu: Out of memory$"
    with pytest.raises(MemoryError, match=said), devices.memory_errors():
        full()
    other = jax.errors.JaxRuntimeError("INTERNAL: our own error")
    with pytest.raises(jax.errors.JaxRuntimeError), devices.memory_errors():
        raise other


# --- Keys. ----------------------------------------------------------------------------------------


def test_a_config_that_lacks_a_key_is_told_which():
    """Whatever key is left out, the run is built without it, or the message names the key."""
    whole = identity.flattened(config_of().to_dict())
    needed = set()
    for key in whole:
        rest = {name: value for name, value in whole.items() if name != key}
        with contextlib.suppress(ValueError):
            identity.check_complete(rest)
            continue
        needed.add(key)
        with pytest.raises(ValueError, match=rf"^config\.{key}: the config lacks it"):
            identity.check_complete(rest)
    assert {"vmap_seeds", "epochs", "checkpoint.keep", "report.selection", "loss.lam"} <= needed
    config = config_of()
    for key in whole.keys() - needed:
        section, _, name = key.rpartition(".")
        at = config
        for part in filter(None, section.split(".")):
            at = at[part]
        with config.unlocked():
            del at[name]
    build.build_run(config)  # without any that is not needed


# --- Machines. ------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [AssertionError(), RuntimeError("Unable to initialize\nmore")])
def test_no_device_is_one_line(monkeypatch, error):
    def none():
        raise error

    monkeypatch.setenv("JAX_PLATFORMS", "cuda")
    monkeypatch.setattr(jax, "devices", none)
    with pytest.raises(OSError, match=r"^JAX finds no device: (JAX_PLATFORMS=cuda|Unable)[^\n]*$"):
        devices.start_processes(None, None, None)


@pytest.mark.parametrize(("step", "procid", "joined"), [("4", "0", 4), ("", "0", 0), ("1", "0", 0),
                                                        ("4", "", 0), ("x", "0", 0)])  # fmt: skip
def test_only_what_srun_started_is_waited_for(monkeypatch, capsys, step, procid, joined):
    monkeypatch.setenv("SLURM_NTASKS", "4")
    for name, value in (("SLURM_STEP_NUM_TASKS", step), ("SLURM_PROCID", procid)):
        monkeypatch.setenv(name, value) if value else monkeypatch.delenv(name, raising=False)
    called = []

    def initialize(**given):
        called.append(given)
        raise jax.errors.JaxRuntimeError("DEADLINE_EXCEEDED: not all came")

    monkeypatch.setattr(jax.distributed, "initialize", initialize)
    if joined:
        with pytest.raises(OSError, match="cannot connect to the 4 tasks of this step of Slurm: "):
            devices.start_processes(None, None, None)
        assert "waiting for the 4 tasks" in capsys.readouterr().err
    else:
        devices.start_processes(None, None, None)
        assert "alone, in a job of 4 tasks" in capsys.readouterr().err
    assert len(called) == bool(joined)


def test_a_home_that_cannot_be_written_has_a_substitute(tmp_path, monkeypatch):
    own = tmp_path / f"superloss_jax_{os.getuid()}"
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    for home in ("/proc/none", "~no_such_user", str(tmp_path / "home")):
        monkeypatch.setenv("XDG_CACHE_HOME", home)
        expected = tmp_path / "home" / "superloss_jax" if "home" in home else own
        assert cache.writable_folder() == expected
        assert expected.is_dir()
    own.rmdir()
    own.symlink_to(tmp_path / "home")  # of somebody who waits for what is written there
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/none")
    with pytest.raises(OSError, match="set XDG_CACHE_HOME to"):
        cache.writable_folder()


def test_who_waits_in_vain_ends_with_a_line():
    code = "from experiments.training import devices; devices.PATIENCE = 1\n"
    code += "devices.start_processes('localhost:1', 2, 1)"  # where nobody is
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True,
                          check=False)  # fmt: skip
    assert done.returncode == 1
    said = "start    waiting for 2 processes at localhost:1\n"
    assert done.stderr == said + (
        "error: cannot connect to 2 processes at localhost:1: not all came in 1 s\n"
    )
