"""Reports and sweeps read packed runs like loose ones."""

import json
import re
import shutil
import sys

import pytest

from experiments.report import __main__ as report
from experiments.report import runs
from experiments.report.unfinished import unfinished
from experiments.runs import files, identity, packed, packing, samples, stored
from experiments.sweep import local, watch
from experiments.sweep import pool as pools
from tests.program.drawn import NEEDING_MORE, closing, make_run, swept
from tests.program.test_packing import make
from tests.program.test_sweep import CONFIG, points

closed = pytest.fixture(autouse=True)(closing)


def said(capsys, monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["report", *words])
    report.main()
    return capsys.readouterr().out


def test_every_report_says_the_same_of_packed_runs(tmp_path, capsys, monkeypatch):
    root, out = swept(tmp_path / "swept"), tmp_path / "out"
    for path in sorted(root.glob("*/seed_0"))[::3]:
        areas = {"auroc": 0.75, "average_precision": 0.5, "precision_at_rate": 0.25}
        results = json.loads((path / files.RESULTS).read_text())
        files.write_json(path / files.RESULTS, results | {"detectors": {"loss": areas}})
        rows = [row | {"auroc_loss": 0.75} for row in files.read_rows(path / files.METRICS)]
        (path / files.METRICS).write_text("".join(map(files.line, rows)))
    begun = make_run(root, "gce", 0.4, 0)
    (begun / files.RESULTS).unlink()
    flag = f"--workdir={root}"
    said(capsys, monkeypatch, "figures", flag, f"--output={out}")
    for path in root.rglob(samples.LOSSES):  # so that losses.csv is read
        shutil.rmtree(path)

    def all_reports():
        texts = [
            said(capsys, monkeypatch, *words, flag)
            for words in (
                ("table", "--select=last,best_test", "--paired"), ("table", "--format=csv"),
                ("detectors", f"--output={out}/areas.png"), ("figures", f"--output={out}"),
                ("html", f"--output={out}/report.html"),
            )
        ]  # fmt: skip
        drawn = [path.read_bytes() for path in sorted(out.iterdir())]
        return texts, drawn

    before = all_reports()
    assert before[0][3].count("not drawn") == len(NEEDING_MORE)
    packs = said(capsys, monkeypatch, "pack", flag)
    assert packs.splitlines()[0].startswith(f"8 runs packed in {root}: config.json, runs.jsonl, ")
    assert packs.splitlines()[1:] == [
        f"left loose: {begun.relative_to(root)}: not finished: 7 epochs"
    ]
    assert packed.records_of(root)
    assert all_reports() == before
    # Drawing a figure next to the packed files does not change their losses.csv.
    content = (root / files.LOSSES).read_bytes()
    assert "stays as it is" in said(capsys, monkeypatch, "figures", flag, f"--output={root}")
    assert (root / files.LOSSES).read_bytes() == content
    back = said(capsys, monkeypatch, "unpack", flag)
    assert back == f"8 runs unpacked in {root}\n"
    assert all_reports() == before


def test_a_mistake_is_one_line_and_exit_2(tmp_path, capsys, monkeypatch):
    root = tmp_path / "runs"
    make(root / "a")
    packing.pack(root)
    (root / packed.METRICS).write_text("")
    wrong = {
        ("pack", "--workdir=/no/such"): "--workdir: expected a directory, got /no/such",
        ("unpack", f"--workdir={tmp_path}"): "--workdir: expected a packed sweep, got",
        ("table", f"--workdir={root}"): r"metrics\.csv is torn or was changed: expected a file of",
        ("table", f"--workdir={tmp_path / 'none'}"): "--workdir: no finished run in",
    }
    for words, expected in wrong.items():
        with pytest.raises(SystemExit) as caught:
            said(capsys, monkeypatch, *words)
        error = capsys.readouterr().err
        assert caught.value.code == 2
        assert re.fullmatch(rf"error: .*{expected}.*\n", error), error


def swept_points(tmp_path):
    """A sweep of three points; the first two are done."""
    config = tmp_path / "swept.py"
    config.write_text(CONFIG)
    root = tmp_path / "runs"
    found = points(config, root)
    both = {"epochs": 1, "checkpoint.every_minutes": 0.0}
    for point, method in zip(found[:2], ("cross_entropy", "superloss"), strict=True):
        make(point.path, method, **both)
    return config, root, found


def test_a_sweep_goes_on_beside_packed_runs(tmp_path):
    config, root, found = swept_points(tmp_path)
    assert [pools.state(point) for point in found] == ["done", "done", "missing"]
    states = dict(enumerate(("done", "done", "missing")))
    before = [watch.progress(point) for point in found], watch.remaining(found, states, 1)
    packing.pack(root)
    assert not found[0].path.exists()
    again = points(config, root)
    assert [point.path for point in again] == [point.path for point in found]
    assert [pools.state(point) for point in again] == ["done", "done", "missing"]
    after = [watch.progress(point) for point in again], watch.remaining(again, states, 1)
    assert after == before
    assert after[1] > 0
    assert after[0][0].test.endswith("%")
    # Only the missing point is trained, as a loose run.
    code = f"import json, pathlib; pathlib.Path({str(again[2].path)!r}, 'results.json').write_text"
    code += f"(json.dumps({{'config_sha256': {again[2].sha256!r}}}))"
    never = [again[0]._replace(command=["/no/such"]), again[1]._replace(command=["/no/such"])]
    whole = [*never, again[2]._replace(command=[sys.executable, "-c", code])]
    local.local(whole, states, pools.Pool([]), 2)
    assert [*states.values()] == ["done"] * 3
    assert [path.name for path in root.glob("*-*")] == [again[2].path.name]


def test_points_are_found_by_config_whatever_their_packed_directory_is_called(tmp_path):
    config, root, found = swept_points(tmp_path)
    found[0].path.rename(root / "some-name")
    packing.pack(root)
    assert pools.has_result(points(config, root)[0])
    (root / packed.RUNS).unlink()
    with pytest.raises(ValueError, match=r"runs\.jsonl is torn or was changed"):
        stored.finished_below(root)


def test_a_run_both_packed_and_loose_counts_once(tmp_path):
    _, root, _ = swept_points(tmp_path)
    packing.pack(root)
    assert len(runs.finished_runs(root)) == 2
    packing.unpack(root, root)
    found = runs.finished_runs(root)
    assert len(found) == 2
    assert all(run.pack == root for run in found)
    shutil.rmtree(found[0].path)
    assert len(runs.finished_runs(root)) == 2
    assert len(runs.finished_runs(tmp_path)) == 2  # read from a parent directory


def test_what_is_left_of_packed_runs_is_not_unfinished(tmp_path):
    _, root, found = swept_points(tmp_path)
    packing.pack(root)
    for point in found[:2]:
        point.path.mkdir()
        (point.path / files.SAMPLES).touch()
    config = stored.config_of(found[0].path)
    assert identity.config_sha256(config) == found[0].sha256
    files.write_json(found[0].path / files.CONFIG, config)  # a killed pack may leave it
    assert unfinished(root) == []
    files.write_json(found[0].path / files.CONFIG, config | {"epochs": 9})  # a different run
    assert unfinished(root) == [(found[0].path.name, "not finished: 0 epochs")]
    assert stored.config_of(found[0].path)["epochs"] == 9
    with pytest.raises(OSError, match="No such file"):
        stored.config_of(root / "nothing")
