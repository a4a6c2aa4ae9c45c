"""Files of a run that are damaged in any way: passed over, or one line that names them."""

import json
import shutil

import numpy as np
import pytest

from configs import digits
from experiments import quickstart
from experiments.report import runs, unfinished
from experiments.runs import files, packed, packing, reading, stored
from experiments.sweep import watch
from experiments.sweep.points import Point
from experiments.training import checkpoint
from tests.program.test_packing import make

DEEP = b"[" * 100_000
DAMAGE = [b"", b"{", b"null", b"[]", b"3", b'"x"', b"{}", b'{"sha256": []}', b"\xff\xfe\x00", DEEP,
          b"9" * 5000, b'{"config": 3, "epochs": "x", "number": []}']  # fmt: skip
by_content = pytest.mark.parametrize("content", DAMAGE, ids=lambda content: repr(content[:20]))


def one_line(caught, name):
    assert name in str(caught.value)
    assert len(str(caught.value)) < 500
    assert "\n" not in str(caught.value)


@by_content
@pytest.mark.parametrize("name", [files.RESULTS, files.CONFIG, files.METRICS, files.TIMING,
                                  files.FAILED, files.REASON])  # fmt: skip
def test_reports_and_sweeps(tmp_path, name, content):
    whole, path = make(tmp_path / "whole", "cross_entropy"), make(tmp_path / "damaged")
    (path / name).write_bytes(content)
    if name == files.RESULTS:
        with pytest.raises(ValueError, match=r"^--workdir: .* is torn") as caught:
            runs.finished_runs(tmp_path)
        one_line(caught, "damaged/results.json")
        assert not files.is_done(path, "abc")
        path.joinpath(name).unlink()
    found = {run.path: run for run in runs.finished_runs(tmp_path)}
    assert whole in found
    if name == files.METRICS and content:
        with pytest.raises(ValueError, match=r"^--workdir: .* is torn") as caught:
            runs.metrics(found[path])
        one_line(caught, "damaged/metrics.jsonl: line 1 is torn: ")
    (path / files.RESULTS).unlink(missing_ok=True)
    states = dict(unfinished.unfinished(tmp_path))
    assert {*states} <= {"damaged"}
    assert all("\n" not in said for said in states.values())
    point = Point(path, "abc", [])
    assert watch.progress(point).epochs <= 12
    assert isinstance(watch.reason(point), str)


@by_content
def test_a_start(tmp_path, content):
    """A config that is no run's is never written over; other files are repaired or named."""
    config = digits.get_config().to_dict()
    (tmp_path / files.CONFIG).write_bytes(content)
    for resumable in (False, True):
        with pytest.raises(ValueError, match="is torn or not a run's; choose another") as caught:
            files.check_unchanged(tmp_path, config, resumable)
        one_line(caught, str(tmp_path))
    files.write_json(tmp_path / files.CONFIG, config)
    (tmp_path / files.RESULTS).write_bytes(content)
    files.check_unchanged(tmp_path, config, resumable=True)
    assert not (tmp_path / files.RESULTS).exists()
    foreign = content + b'\n{"epoch": 2, "seconds": 1.0}\n{"epoch": "1"}\n'
    (tmp_path / files.TIMING).write_bytes(foreign)
    files.begin(tmp_path, config, 2, "")
    assert files.read_rows(tmp_path / files.TIMING) == [{"epoch": 2, "seconds": 1.0}]
    (tmp_path / files.AT_ONCE).write_bytes(content)
    with pytest.raises(ValueError, match="is torn") as caught:
        files.at_once(tmp_path)
    one_line(caught, "at_once.json")


@by_content
@pytest.mark.parametrize("name", [files.CONFIG, packed.RUNS, packed.METRICS])
def test_a_packed_sweep(tmp_path, name, content):
    make(tmp_path / "a")
    packing.pack(tmp_path)
    whole = json.loads((tmp_path / files.CONFIG).read_bytes())
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=r"^--workdir: .* is torn") as caught:
        runs.finished_runs(tmp_path)
    one_line(caught, str(tmp_path))
    for part, other in (("sha256", []), ("sha256", {}), ("common", {"config": 3}), ("timing", 3)):
        (tmp_path / files.CONFIG).write_text(json.dumps(whole | {part: other}))
        with pytest.raises(ValueError, match=r"^--workdir: .* is torn"):
            packed.records_of(tmp_path)


@by_content
def test_the_quickstart(tmp_path, content):
    (tmp_path / files.RESULTS).write_bytes(content)
    with pytest.raises(ValueError, match=r"is torn|another configuration"):
        quickstart.is_finished(tmp_path, {"epochs": 2})


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A run's directory with the checkpoints of steps 1 and 2."""
    path = tmp_path_factory.mktemp("run")
    for name in (files.CONFIG, files.METRICS):
        (path / name).touch()
    save(path, 1)
    save(path, 2)
    return path


def save(path, step, keep=2):
    saver = checkpoint.saver(path, keep)
    checkpoint.save(saver, step, {"a": np.full(3, step)}, "")
    checkpoint.wait(saver)


def names(path):
    return [int(one.name) for one in checkpoint.steps(path / checkpoint.FOLDER)]


def newest(path):
    [(tree, _)] = checkpoint.newest_common([path / checkpoint.FOLDER], [{"a": np.zeros(3, int)}])
    return int(tree["a"][0])


@by_content
@pytest.mark.parametrize("name", [checkpoint.MANIFEST, checkpoint.ROWS])
def test_a_checkpoint(saved, tmp_path, name, content, capsys):
    shutil.copytree(saved, tmp_path, dirs_exist_ok=True)
    if name == checkpoint.ROWS and not content:
        content = b"\n"  # it was empty
    folder = tmp_path / checkpoint.FOLDER / f"{2:010d}"
    (folder / name).write_bytes(content)
    assert newest(tmp_path) == 1
    assert f"{folder} is not whole: " in capsys.readouterr().err.replace("\n", " ")
    save(tmp_path, 2)  # in its place
    assert newest(tmp_path) == 2
    (folder / name).write_bytes(content)
    save(tmp_path, 3)  # and beside it
    assert newest(tmp_path) == 3


@pytest.mark.parametrize("kind", ["list", "other step", "folder", "link"])
def test_a_manifest_that_is_none(saved, tmp_path, kind):
    shutil.copytree(saved, tmp_path, dirs_exist_ok=True)
    manifest = tmp_path / checkpoint.FOLDER / f"{2:010d}" / checkpoint.MANIFEST
    content = json.loads(manifest.read_text())
    manifest.unlink()
    if kind == "list":
        manifest.write_text(json.dumps(content | {"sha256": [*content["sha256"]]}))
    elif kind == "other step":
        manifest.write_text(json.dumps(content | {"step": 1}))
    elif kind == "folder":
        manifest.mkdir()
    else:
        manifest.symlink_to(manifest)
    assert newest(tmp_path) == 1
    save(tmp_path, 2)
    assert newest(tmp_path) == 2


def test_what_is_not_the_runs_own_is_left_alone(saved, tmp_path):
    shutil.copytree(saved, tmp_path, dirs_exist_ok=True)
    folder = tmp_path / checkpoint.FOLDER
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(folder / f"{2:010d}", elsewhere)
    foreign = ["99_notes", f"{9:010d}.bak", "9", f"{9:09d}", ".x.tmp", ".notes.tmp", f"{9:011d}"]
    for name in foreign:
        shutil.copytree(elsewhere, folder / name)
    for name in (f"{9:010d}", f".{9:010d}.tmp", f"{3:010d}", f".{3:010d}.tmp"):
        (folder / name).symlink_to(elsewhere)
    (folder / ".file.tmp").write_text("mine")
    (folder / f"{4:010d}").write_text("mine")
    assert names(tmp_path) == [2, 1]
    assert newest(tmp_path) == 2
    save(tmp_path, 3)
    save(tmp_path, 4)
    assert names(tmp_path) == [4, 3]
    assert newest(tmp_path) == 4
    left = {path.name for path in folder.iterdir()}
    moved = {f"{3:010d}.1.bak", f".{3:010d}.tmp.1.bak", f"{4:010d}.1.bak"}
    assert {*foreign, ".file.tmp", f"{9:010d}", f".{9:010d}.tmp", *moved} <= left
    assert (folder / f"{4:010d}.1.bak").read_text() == "mine"
    assert (elsewhere / checkpoint.MANIFEST).exists()


def test_a_number_of_epoch_is_needed_and_numbers_where_they_are_measured():
    rows = reading.rows_of(b'{"epoch": 1, "test_a": null, "what": "x"}\n{"epoch": 2}', "x")
    assert rows == [{"epoch": 1, "test_a": None, "what": "x"}, {"epoch": 2}]
    for line in (
        b'{"epoch": true}',
        b'{"a": 1}',
        b'{"epoch": 1.0}',
        b'{"epoch": 1, "test_a": "0.5"}',
    ):
        with pytest.raises(ValueError, match="x: line 2 is torn"):
            reading.rows_of(b'{"epoch": 1}\n' + line, "x")


def test_a_run_below_a_packed_sweep_that_is_torn_has_a_config_of_its_own(tmp_path):
    make(tmp_path / "a")
    (tmp_path / "a" / files.CONFIG).write_text("[]")
    with pytest.raises(ValueError, match="a JSON object, got"):
        stored.config_of(tmp_path / "a")
