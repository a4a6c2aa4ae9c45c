"""Points of a sweep: their configs, their directories, and when they are done."""

import argparse
import io
import json
import os
import runpy
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from rich.console import Console

from configs import digits
from experiments.report import suspects
from experiments.runs import files
from experiments.sweep import local, watch
from experiments.sweep import points as points_of
from experiments.sweep import pool as pools
from tests.program.test_main import ROOT

CONFIG = """
from configs import digits

def get_config():
    config = digits.get_config()
    config.epochs = 1
    config.checkpoint.every_minutes = 0.0
    return config

def sweep():
    for method, seed in (("cross_entropy", 0), ("superloss", 0), ("superloss", 1)):
        yield {"loss.method": method, "seed": seed, "noise.seed": seed}
"""


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "swept.py"
    path.write_text(CONFIG)
    return path


def points(config, root, given=()):
    base = digits.get_config()
    base.epochs = 1
    base.checkpoint.every_minutes = 0.0
    base.update_from_flattened_dict(dict(given))
    return points_of.expand(str(config), base, dict(given), root)


def test_points_are_named_by_what_they_are(config, tmp_path, capsys):
    found = points(config, tmp_path)
    names = [point.path.name.rpartition("-")[0] for point in found]
    assert names[0] == "method=cross_entropy,seed=0,noise.seed=0"
    assert len({point.sha256 for point in found}) == len(set(names)) == 3
    # The same point by another command line has the same directory.
    chosen = points(config, tmp_path, {"loss.method": "superloss"})
    assert [point.path for point in chosen] == [point.path for point in found[1:]]
    # Another config has another directory; settings that do not affect results have no influence.
    assert not {point.path for point in points(config, tmp_path, {"epochs": 2})} & {
        point.path for point in found
    }
    kept = points(config, tmp_path, {"checkpoint.keep": 5})
    assert [point.path for point in kept] == [point.path for point in found]
    # An existing run keeps its directory, even if a sweep would name it differently.
    (tmp_path / f"older-{found[0].sha256[:8]}").mkdir()
    assert points(config, tmp_path)[0].path.name.startswith("older-")
    assert "without 1 points" in capsys.readouterr().err
    with pytest.raises(ValueError, match=r"no point of .* has .*gce"):
        points(config, tmp_path, {"loss.method": "gce"})
    with pytest.raises(ValueError, match=r"digits\.py has no sweep"):
        points_of.expand(f"{ROOT}/configs/digits.py", digits.get_config(), {}, tmp_path)


def test_points_that_no_run_can_be(config, tmp_path):
    config.write_text(CONFIG.replace('"seed": seed,', '"loss.method": None,'))
    with pytest.raises(ValueError, match=r"sweep\(\) of .*: None in"):
        points(config, tmp_path)
    config.write_text(
        CONFIG.replace("(0, 1, 2)", "oops").replace(
            "for method, seed in (", "for method, seed in oops("
        )
    )
    with pytest.raises(ValueError, match=r"sweep\(\) of .*NameError.*oops"):
        points(config, tmp_path)
    name = points_of.directory_name({"data.path": "ä" * 300})
    assert name.isascii()


def run(config, root, *flags):
    command = [sys.executable, "-m", "experiments.sweep", f"--config={config}"]
    command += [f"--workdir={root}", *flags]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_every_config_with_a_sweep_expands(tmp_path):
    """All points have valid values, and no two runs share a directory."""
    for file in sorted((ROOT / "configs").glob("*.py")):
        if "def sweep()" in file.read_text():
            base = runpy.run_path(str(file))["get_config"]()
            found = points_of.expand(str(file), base, {}, tmp_path)
            assert len({point.path for point in found}) == len(found), file


def test_two_sweeps_share_the_work_and_a_torn_result_is_done_again(config, tmp_path):
    root = tmp_path / "runs"
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(run, config, root, "--workers=1") for _ in range(2)]
        both = [one.result() for one in both]
    assert [one.returncode for one in both] == [0, 0], [one.stderr for one in both]
    listed = run(config, root, "--list").stdout
    assert "3 runs: 3 done" in listed
    found = points(config, root)
    for point in found:
        # Each point is trained once, by one of the two sweeps.
        assert (point.path / "log.txt").read_text().count("first step after") == 1
    before = [(point.path / files.RESULTS).read_bytes() for point in found]
    (found[0].path / files.RESULTS).write_bytes(before[0][:-40])
    foreign = json.loads(before[1]) | {"config_sha256": "0" * 64}
    foreign["config"]["seed"] = 9  # differs from config.json in the directory
    (found[1].path / files.RESULTS).write_text(json.dumps(foreign))
    assert [pools.state(point) for point in found] == ["missing", "missing", "done"]
    again = run(config, root)
    assert again.returncode == 0, again.stderr
    assert "3 runs, 1 done" in again.stderr
    assert [(point.path / files.RESULTS).read_bytes() for point in found] == before


def test_seeds_of_a_point_in_one_process(config, tmp_path):
    root, flags = tmp_path / "runs", ("--seeds_at_once=2", "--workers=1", "--config.devices=1")
    found = points(config, root, {"devices": 1})
    assert pools.in_groups(found, 2, range(3)) == [[0], [1, 2]]
    assert pools.in_groups(found[1:] * 2, 2, (0, 2, 3)) == [[0], [2, 3]]
    other = points(config, root, {"devices": 1, "report.losses": True})
    assert other[1].sha256 == found[1].sha256  # same result, different command
    assert pools.in_groups([found[1], other[2]], 2, range(2)) == [[0], [1]]
    printed = run(config, root, *flags, "--backend=print").stdout.splitlines()
    assert [line.count("--beside=") for line in printed] == [0, 1]
    done = run(config, root, *flags, "--config.loss.method=superloss")
    assert done.returncode == 0, done.stdout + done.stderr
    first, second = ((point.path / "log.txt").read_text() for point in found[1:])
    assert "epoch 1/1, 2 runs at once" in first
    assert first.count("in the last epoch; results in") == 2
    assert second == f"trained together: see {found[1].path}/log.txt\n"
    for point, seed in zip(found[1:], (0, 1), strict=True):
        own = json.loads((point.path / files.RESULTS).read_text())["config"]
        assert (own["seed"], own["noise"]["seed"], own["data"]["split_seed"]) == (seed, seed, 0)
    listed = run(config, root, *flags, "--list").stdout
    assert "3 runs: 2 done, 1 missing" in listed


def test_a_failed_point_says_why_and_stops_no_other(config, tmp_path):
    flags = ("--config.optimizer.learning_rate=1e30", "--config.loss.method=cross_entropy")
    done = run(config, tmp_path / "runs", *flags)
    assert done.returncode == 1
    lines = [line for line in done.stdout.splitlines() if line.startswith("failed")]
    assert len(lines) == 1
    assert all("not finite" in line for line in lines)
    printed = run(config, tmp_path / "runs", "--backend=print", *flags).stdout.splitlines()
    assert len(printed) == 1
    assert all("--config.loss.method=cross_entropy" in line for line in printed)


def test_what_is_left_is_estimated_from_finished_and_running_ones(tmp_path):
    def point(name, epochs=0, of=4, seconds=10.0):
        path = tmp_path / name
        path.mkdir()
        if epochs:
            (path / files.CONFIG).write_text(json.dumps({"epochs": of}))
            rows = [files.line({"epoch": i, "seconds": seconds}) for i in range(epochs)]
            (path / files.TIMING).write_text("".join(rows))
            (path / files.METRICS).write_text('{"train_loss": 0.5, "test_accuracy": 0.25}\n')
        return pools.Point(path, "", [])

    def left(*pairs):
        points, states = zip(*pairs, strict=True)
        return watch.remaining(points, dict(enumerate(states)), number=2)

    assert left((point("a"), "missing")) is None
    half = point("b", epochs=2)
    assert left((half, "running"), (point("c"), "missing")) == pytest.approx(40)  # the longest
    more = [(point(name), "missing") for name in "ghi"]
    assert left((half, "running"), *more) == pytest.approx(3.5 * 40 / 2)
    whole = point("d", epochs=4, seconds=5.0)  # a finished run gives a better estimate
    assert left((half, "running"), (whole, "done")) == pytest.approx(0.5 * 20)
    assert left((whole, "done"), (point("e"), "failed")) is None
    (half.path / files.METRICS).write_text('{"train_loss": 0.5, "test_accuracy": 0.25}\n{"tr')
    failed = point("f")
    (failed.path / files.REASON).write_text("exit code 1: not finite\n")
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(watch.view([half, failed], {0: "running", 1: "failed"}, 1))
    lines = console.export_text().splitlines()
    assert lines[0].startswith("2 runs: 1 failed, 1 running, about 20 s left")
    (failed.path / files.CONFIG).write_text("[]")  # not a config of ours
    assert watch.progress(failed) == watch.Progress()
    assert lines[2].split() == ["running", "b", "2/4", "0.500", "25.0%", "10.0"]
    assert [line.split() for line in lines[3:5]] == [
        ["failed", "f"],
        ["exit", "code", "1:", "not", "finite"],
    ]


def test_another_content_of_a_users_file_is_another_run(config, tmp_path):
    images, labels = np.zeros((60, 8, 8), np.uint8), np.arange(60) % 3
    file = tmp_path / "own.npz"
    np.savez(file, images=images, labels=labels, test_images=images, test_labels=labels)
    given = {"data.name": "npz", "data.path": str(file), "data.validation": 9, "batch_size": 16}
    given |= {"noise.kind": "given"}
    found = points(config, tmp_path / "runs", given)
    assert pools.Pool([]).run(found[:1]) == ["done"]  # by the hash that the run computed
    os.utime(file)
    again = points(config, tmp_path / "runs", given)
    assert [point.path for point in again] == [point.path for point in found]
    assert pools.state(again[0]) == "done"
    np.savez(file, images=images, labels=labels[::-1], test_images=images, test_labels=labels)
    cleaned = points(config, tmp_path / "runs", given)
    assert not {point.path for point in cleaned} & {point.path for point in found}
    assert pools.state(cleaned[0]) == "missing"
    with pytest.raises(ValueError, match=r"own\.npz has changed since the run"):
        suspects.suspects(argparse.Namespace(workdir=found[0].path))
    file.unlink()
    assert {point.sha256 for point in points(config, tmp_path / "runs", given)}.isdisjoint(
        point.sha256 for point in found
    )


def test_what_goes_wrong_with_one_point_stops_no_other(tmp_path):
    (tmp_path / "file").write_text("in the way")
    write = 'import pathlib, sys; pathlib.Path(sys.argv[1]).write_text(\'{"config_sha256": "x"}\')'
    points = [pools.Point(tmp_path / "file", "x", ["true"])]
    for name in "abc":
        path = tmp_path / name
        command = [sys.executable, "-c", write, str(path / files.RESULTS)]
        points.append(pools.Point(path, "x", command))
    binary = [sys.executable, "-c", r"import sys; sys.stdout.buffer.write(b'\xff'); sys.exit(3)"]
    points.append(pools.Point(tmp_path / "binary", "x", binary))
    states = dict.fromkeys(range(5), "missing")
    local.local(points, states, pools.Pool([]), 2)
    assert [*states.values()] == ["failed", "done", "done", "done", "failed"]


def test_a_sweep_ends_in_time_and_goes_on(tmp_path):
    """Of runs of half a second, one at a time, a second one is not begun if 0.8 s are given."""
    write = (
        "import pathlib, sys, time; time.sleep(0.5);"
        'pathlib.Path(sys.argv[1]).write_text(\'{"config_sha256": "x"}\')'
    )
    points = []
    for name in "abcd":
        path = tmp_path / name
        command = [sys.executable, "-c", write, str(path / files.RESULTS)]
        points.append(pools.Point(path, "x", command))
    states = dict.fromkeys(range(4), "missing")
    assert local.local(points, states, pools.Pool([]), 1, seconds=0.8)
    assert [*states.values()][1:] == ["missing"] * 3  # a busy machine may not even end the first
    assert not local.local(points, states, pools.Pool([]), 4, seconds=600)
    assert {*states.values()} == {"done"}
    # What does not end in time is asked to save and end.
    states = {0: "missing"}
    slow = [pools.Point(tmp_path / "slow", "x", ["sleep", "60"])]
    assert local.local(slow, states, pools.Pool([]), 1, seconds=0.2)
    assert states == {0: "missing"}
