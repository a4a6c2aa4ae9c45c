"""Checkpoints: bit-exact resuming, damaged files, locks, signals, changed configs."""

import json
import os
import shutil
import signal

import jax
import numpy as np
import pytest

from configs import digits
from experiments.runs import files, lock
from experiments.training import build, checkpoint, step
from tests.program.running import train_one


def config_of(**overrides):
    config = digits.get_config()
    config.devices, config.epochs, config.batch_size = 1, 4, 256
    config.checkpoint.every_epochs, config.checkpoint.keep = 1, 3
    config.update_from_flattened_dict(overrides)
    return config


@pytest.fixture(scope="module")
def run():
    return build.build_run(config_of())


@pytest.fixture(scope="module")
def straight(run, tmp_path_factory):
    """The directory of an uninterrupted run."""
    path = tmp_path_factory.mktemp("straight")
    train_one(config_of(), run, path)
    return path


def after(number):
    """Makes a signal function that returns SIGTERM after `number` calls."""
    left = iter(range(number))
    return lambda: None if next(left, None) is not None else signal.SIGTERM


def same_files(a, b):
    return all((a / n).read_bytes() == (b / n).read_bytes()
               for n in (files.METRICS, files.RESULTS, files.CONFIG))  # fmt: skip


@pytest.mark.parametrize("steps", [0, 6, 13])
def test_a_stopped_run_goes_on_bit_by_bit(run, straight, tmp_path, steps):
    """Stops in the middle of an epoch or at its end. An epoch checks for signals 7 times."""
    with pytest.raises(lock.Stopped) as stopped:
        train_one(config_of(), run, tmp_path, after(steps))
    assert stopped.value.code == 143
    assert not (tmp_path / files.RESULTS).exists()
    # A kill may leave an extra row, half a line, and an unfinished checkpoint.
    with open(tmp_path / files.METRICS, "a") as file:
        file.write('{"epoch": 99}\n{"ep')
    (tmp_path / checkpoint.FOLDER / ".0000000099.tmp").mkdir()
    train_one(config_of(), run, tmp_path)
    assert same_files(tmp_path, straight)
    template = step.init_state(run, 0)
    first, second = (newest(path, template)[0] for path in (tmp_path, straight))
    for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True):
        np.testing.assert_array_equal(a, b)
    assert [row["epoch"] for row in files.read_rows(tmp_path / files.TIMING)] == [1, 2, 3, 4]


def newest(path, template):
    """Reads the newest intact checkpoint of a run."""
    [found] = checkpoint.newest_common([path / checkpoint.FOLDER], [template])
    return found


def damage(path, kind):
    arrays = max((p for p in path.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
    content = bytearray(arrays.read_bytes())
    if kind == "flipped":
        content[len(content) // 2] ^= 16
    elif kind == "truncated":
        del content[len(content) // 2 :]
    elif kind == "zeroed":
        content[:] = bytes(len(content))
    elif kind == "lost":
        return arrays.unlink()
    elif kind == "without manifest":
        return (path / checkpoint.MANIFEST).unlink()
    elif kind == "missing":
        return shutil.rmtree(path)
    arrays.write_bytes(content)


DAMAGE = ["flipped", "truncated", "zeroed", "lost", "without manifest", "missing"]


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_checkpoint_is_passed_over(run, straight, tmp_path, kind, capsys):
    shutil.copytree(straight, tmp_path, dirs_exist_ok=True)
    last, *older = checkpoint.steps(tmp_path / checkpoint.FOLDER)
    assert len(older) == 2
    damage(last, kind)
    state, rows = newest(tmp_path, step.init_state(run, 0))
    assert int(state.step) == int(older[0].name) == 18
    assert len(rows.splitlines()) == 3
    said = capsys.readouterr().err.replace("\n", " ")
    assert (f"{last} is not whole: " in said) == (kind != "missing")
    (tmp_path / files.RESULTS).unlink()
    train_one(config_of(), run, tmp_path)
    assert same_files(tmp_path, straight)


def test_more_epochs_interrupted_and_resumed(run, straight, tmp_path):
    """Resuming with more epochs removes the result of the shorter run."""
    train_one(config_of(epochs=2), run, tmp_path)
    longer = config_of()
    files.check_unchanged(tmp_path, longer.to_dict(), resumable=True)
    with pytest.raises(lock.Stopped):
        train_one(longer, run, tmp_path, after(3))
    assert not (tmp_path / files.RESULTS).exists()
    files.check_unchanged(tmp_path, longer.to_dict(), resumable=True)
    train_one(longer, run, tmp_path)
    assert same_files(tmp_path, straight)


def test_what_is_kept(run, straight, tmp_path):
    """Damaged checkpoints do not count towards those to keep, so intact ones stay."""
    shutil.copytree(straight, tmp_path, dirs_exist_ok=True)
    template = step.init_state(run, 0)
    for path in checkpoint.steps(tmp_path / checkpoint.FOLDER)[:2]:
        damage(path, "flipped")
    state, rows = newest(tmp_path, template)
    saver = checkpoint.saver(tmp_path, 2)
    checkpoint.save(saver, 15, state, rows)
    checkpoint.wait(saver)
    names = [int(path.name) for path in checkpoint.steps(tmp_path / checkpoint.FOLDER)]
    assert names == [15, 12]
    assert newest(tmp_path, template)


def test_no_checkpoint_is_whole(run, straight, tmp_path):
    shutil.copytree(straight, tmp_path, dirs_exist_ok=True)
    for path in checkpoint.steps(tmp_path / checkpoint.FOLDER):
        damage(path, "flipped")
    with pytest.raises(ValueError, match="no checkpoint is whole; delete it to start anew"):
        train_one(config_of(), run, tmp_path)


def test_another_program_s_arrays_are_not_taken(straight):
    with pytest.raises(ValueError, match="no checkpoint is whole"):
        newest(straight, {"weights": np.zeros(3)})


def test_a_save_that_fails_is_not_silent(run, tmp_path):
    saver = checkpoint.saver(tmp_path, 2)
    (tmp_path / checkpoint.FOLDER).write_text("in the way")
    for name in (files.CONFIG, files.METRICS):
        (tmp_path / name).touch()
    checkpoint.save(saver, 1, {"a": np.zeros(3)}, "")
    with pytest.raises(OSError, match="checkpoints"):
        checkpoint.wait(saver)


def test_what_is_finished_is_not_begun_anew(straight, tmp_path):
    config = config_of(epochs=9)
    for name in (files.CONFIG, files.RESULTS):
        shutil.copy(straight / name, tmp_path)
    with pytest.raises(ValueError, match="a finished run without checkpoints"):
        checkpoint.check_config(tmp_path, config)
    shutil.copytree(straight / checkpoint.FOLDER, tmp_path / "seed_0" / checkpoint.FOLDER)
    checkpoint.check_config(tmp_path, config)  # several seeds with a checkpoint each
    (tmp_path / files.CONFIG).unlink()
    with pytest.raises(ValueError, match=r"a run without a whole config\.json"):
        checkpoint.check_config(tmp_path, config)
    (tmp_path / files.RESULTS).unlink()
    with pytest.raises(ValueError, match=r"a run without a whole config\.json"):
        checkpoint.check_config(tmp_path, config)
    shutil.copy(straight / files.SAMPLES, tmp_path)
    files.begin(tmp_path, config.to_dict(), 0, "")
    assert not {files.RESULTS, files.SAMPLES} & {file.name for file in tmp_path.iterdir()}


def test_what_may_change_and_what_may_not(straight):
    config = config_of().to_dict()
    with pytest.raises(ValueError, match="holds a finished run"):
        files.check_unchanged(straight, config, resumable=True)
    files.check_unchanged(straight, config | {"epochs": 9}, resumable=True)
    other = config | {"epochs": 9, "checkpoint": {"keep": 5}}
    files.check_unchanged(straight, other, resumable=True)
    changed = config | {"loss": config["loss"] | {"lam": 2.0}, "seed": 1}
    with pytest.raises(ValueError, match=r"another config: loss.lam: 1.0 -> 2.0, seed: 0 -> 1"):
        files.check_unchanged(straight, changed, resumable=True)
    with pytest.raises(ValueError, match="epochs: 4 -> 3"):
        files.check_unchanged(straight, config | {"epochs": 3}, resumable=True)
    with pytest.raises(ValueError, match="another config: vmap_seeds: 1 -> 2"):
        files.check_unchanged(straight, config | {"epochs": 9, "vmap_seeds": 2}, resumable=True)
    # The selection of the epoch must be declared before training.
    report = config["report"] | {"selection": ("best_test",)}
    with pytest.raises(ValueError, match=r"another config: report.selection: "):
        files.check_unchanged(straight, config | {"epochs": 9, "report": report}, resumable=True)
    # A cosine reaches 0 in the last epoch: another last epoch is another run.
    cosine = {"optimizer": config["optimizer"] | {"schedule": "cosine"}}
    (straight / files.CONFIG).write_text(json.dumps(config | cosine))
    with pytest.raises(ValueError, match="epochs: 4 -> 9"):
        files.check_unchanged(straight, config | cosine | {"epochs": 9}, resumable=True)
    (straight / files.CONFIG).write_text(json.dumps(config))


def test_one_process_holds_a_work_directory(tmp_path):
    held = rf'is in use by {{"host": .*"pid": {os.getpid()}}}'
    with lock.locked(tmp_path), pytest.raises(ValueError, match=held):
        lock.locked(tmp_path).__enter__()
    with lock.locked(tmp_path):  # the lock file of an ended process does not block
        pass


def test_signals_are_noted_and_given_back():
    before = signal.getsignal(signal.SIGINT)
    with lock.signals() as received:
        assert received() is None
        os.kill(os.getpid(), signal.SIGINT)
        assert received() == signal.SIGINT
        assert signal.getsignal(signal.SIGINT) == signal.SIG_DFL  # a second one kills
        os.kill(os.getpid(), signal.SIGUSR1)
        assert lock.Stopped(received()).code == 130
    assert signal.getsignal(signal.SIGINT) == before
    assert lock.Stopped(signal.SIGUSR1).code == lock.Stopped(signal.SIGTERM).code == 143
