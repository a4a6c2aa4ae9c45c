"""Packed runs unpack to the same values, and runs that cannot be packed stay."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

from configs import digits
from experiments.runs import files, identity, lock, packed, packing, stored
from tests.program.test_main import ROOT

EPOCHS = 3
OWN = (files.CONFIG, files.RESULTS, files.METRICS, files.TIMING)


def make(path, method="superloss", seed=0, losses=False, **changes):
    """Writes a finished run of random numbers in the program's format."""
    config = digits.get_config()
    config.update_from_flattened_dict({"loss.method": method, "seed": seed} | changes)
    config = identity.plain(config.to_dict())
    rng = np.random.default_rng([seed, len(method)])
    rows = [
        {"epoch": i + 1, "train_loss": rng.random() * 10.0 ** rng.integers(-30, 30),
         "tau": None if method == "gce" else rng.random(), "test_accuracy": rng.random(),
         "count": int(rng.integers(9)), "name": "nan"}
        for i in range(EPOCHS)
    ]  # fmt: skip
    if seed:
        del rows[0]["tau"]
        rows[-1] |= {"only_here": 1.0, "mask": [True, None, "a,b"]}
    timing = [{"epoch": i + 1, "seconds": rng.random(), "images_per_second": 1e5 / 3}
              for i in range(EPOCHS)]  # fmt: skip
    results = {
        "config": config, "config_sha256": identity.config_sha256(config), "versions": {"jax": "1"},
        "platform": "cpu", "devices": 1, "x64": False, "noise": {"realised_rate": 0.4 + seed},
        "test_accuracy": {"last": rows[-1]["test_accuracy"]}, "last_epoch": rows[-1],
        "detectors": {"weight": {"auroc": 0.5}, "loss": {"auroc": rng.random()}},
    }  # fmt: skip
    path.mkdir(parents=True)
    files.write_json(path / files.CONFIG, config)
    (path / files.METRICS).write_text("".join(map(files.line, rows)))
    (path / files.TIMING).write_text("".join(map(files.line, timing)))
    if losses:
        (path / files.LOSSES).write_text(f"run,split,q\n.,5,{seed}.10\n.,5,0.0\n")
    files.write_json(path / files.RESULTS, results)
    return path


def values(root):
    """Returns everything that is known about the finished runs below a directory."""
    found = {}
    for run in stored.finished_below(root):
        timing = (
            stored.record_of(run).timing if run.pack else files.read_rows(run.path / files.TIMING)
        )
        one = run.results, stored.metrics_of(run), timing, stored.losses_of(run)
        text = packed.text(one)
        assert found.setdefault(run.path.relative_to(root).as_posix(), text) == text
    return found


def sweep(root, number=3):
    for seed in range(number):
        make(root / f"superloss-{seed}", seed=seed, losses=seed == 1)
    make(root / "several" / "seed_0", "gce")
    return root


def files_below(root):
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


def test_what_is_packed_comes_back_and_its_files_are_few(tmp_path):
    root = sweep(tmp_path / "runs")
    before, config = values(root), (root / "superloss-1" / files.CONFIG).read_bytes()
    done = packing.pack(root)
    assert (len(done.records), done.left) == (4, {})
    assert files_below(root) == [
        lock.LOCK, files.CONFIG, files.LOSSES, packed.METRICS, packed.RUNS,
    ]  # fmt: skip
    assert [path.name for path in root.iterdir() if path.is_dir()] == []
    assert values(root) == before
    whole = json.loads((root / files.CONFIG).read_text())
    assert whole["common"]["config"]["epochs"] == 60
    assert "config_sha256" not in (root / packed.RUNS).read_text() + json.dumps(whole)
    # Packing again changes nothing; unpacked, every file has its values.
    content = {name: (root / name).read_bytes() for name in files_below(root)}
    packing.pack(root)
    assert {name: (root / name).read_bytes() for name in files_below(root)} == content
    packing.unpack(root, tmp_path / "out")
    assert values(tmp_path / "out") == before
    assert (tmp_path / "out" / "superloss-1" / files.CONFIG).read_bytes() == config
    assert len(files_below(tmp_path / "out")) == 4 * (len(OWN) + 1) + 1  # with each one's lock
    again = shutil.copytree(tmp_path / "out", tmp_path / "again")
    packing.pack(again)
    del content[lock.LOCK]
    assert {name: (again / name).read_bytes() for name in content} == content
    with pytest.raises(ValueError, match="--workdir: expected a packed sweep"):
        packing.unpack(tmp_path / "out", tmp_path)  # it contains only loose runs
    make(tmp_path / "other" / "superloss-0", seed=5)
    with pytest.raises(ValueError, match="--output: expected a directory without a run"):
        packing.unpack(root, tmp_path / "other")


def test_loose_runs_are_packed_beside_those_that_are(tmp_path):
    root = sweep(tmp_path / "runs")
    packing.pack(root)
    make(root / "more", "elr")
    before = values(root)
    assert len(before) == 5
    packing.pack(root)
    assert values(root) == before
    assert not (root / "more").exists()
    # A run that is both packed and loose counts once, and keeps what packing does not replace.
    packing.unpack(root, root)
    assert values(root) == before
    (root / "more" / files.SAMPLES).touch()
    (root / "several" / "note.txt").touch()
    assert packing.pack(root).left == {}
    assert values(root) == before
    assert [name for name in files_below(root) if "/" in name] == [
        "more/.lock", f"more/{files.SAMPLES}", "several/note.txt",
    ]  # fmt: skip
    # Loss summaries that are written later are added to the pack.
    packing.unpack(root, root)
    (root / "more" / files.LOSSES).write_text("run,split,q\n.,5,7.0\n")
    packing.pack(root)
    assert packed.records_of(root)["more"].losses == [["run", "split", "q"], [".", "5", "7.0"]]


def test_a_run_alone_in_its_directory(tmp_path):
    root = make(tmp_path / "run", losses=True)
    before = values(root)
    packing.pack(root)
    assert values(root) == before
    assert files_below(root) == [
        lock.LOCK, files.CONFIG, files.LOSSES, packed.METRICS, packed.RUNS,
    ]  # fmt: skip
    with pytest.raises(ValueError, match="--output: expected a directory without a run"):
        packing.unpack(root, root)
    assert stored.config_of(root) == json.loads(before["."])[0]["config"]


def test_what_cannot_be_packed_stays_and_says_why(tmp_path):
    root = sweep(tmp_path / "runs", 1)
    reasons = {"torn": "is torn", "foreign": "not the one of its results", "twice": "give back",
               "gone": "No such file"}  # fmt: skip
    for seed, name in enumerate(reasons, 10):
        make(root / name, seed=seed)
    (root / "torn" / files.RESULTS).write_text("{")
    files.write_json(root / "foreign" / files.CONFIG, {"epochs": 3})
    rows = (root / "twice" / files.TIMING).read_text()
    (root / "twice" / files.TIMING).write_text(rows + rows)
    (root / "gone" / files.METRICS).unlink()
    begun = make(root / "begun", seed=20)
    (begun / files.RESULTS).unlink()
    before = files_below(root)
    done = packing.pack(root)
    assert done.left.keys() == reasons.keys()
    for name, reason in reasons.items():
        assert reason in done.left[name]
    kept = [name for name in before if name.partition("/")[0] in (*reasons, "begun")]
    found = [name for name in files_below(root) if "/" in name]
    assert [name for name in found if lock.LOCK not in name] == kept
    # A different run in the directory of a packed one, and a run that is in use.
    make(root / "superloss-0", seed=30)
    for name in reasons:
        shutil.rmtree(root / name)
    assert packing.pack(root).left == {"superloss-0": packing.ANOTHER}
    assert len(stored.finished_below(root)) == 3
    make(root / "used", seed=31)
    with lock.locked(root / "used"):
        assert "is in use by" in packing.pack(root).left["used"]
    assert (root / "used" / files.RESULTS).exists()
    with lock.locked(root), pytest.raises(ValueError, match="is in use by"):
        packing.pack(root)
    # A run that was started again in the directory of a packed one.
    shutil.rmtree(root / "superloss-0")
    make(root / "superloss-0")
    (root / "superloss-0" / files.RESULTS).unlink()
    (root / "superloss-0" / files.METRICS).write_text('{"epoch": 1}\n')
    assert packing.pack(root).left["superloss-0"] == packing.ANOTHER
    assert (root / "superloss-0" / files.CONFIG).exists()


def test_a_runs_own_config_is_not_taken_for_a_sweeps(tmp_path):
    several = tmp_path / "several"
    make(several / "seed_0")
    files.write_json(several / files.CONFIG, {"vmap_seeds": 1})
    files.write_json(several / files.RESULTS, {"seeds": [0], "number": 1})
    with pytest.raises(ValueError, match=r"one with a run's own config\.json"):
        packing.pack(several)
    assert len(values(several)) == 1
    assert packing.pack(tmp_path).left == {}  # called on a parent directory
    assert (several / files.RESULTS).exists()
    assert list(values(tmp_path)) == ["several/seed_0"]


def test_a_set_that_is_torn_says_so_in_a_line(tmp_path):
    root = sweep(tmp_path / "runs", 2)
    packing.pack(root)
    for name in (packed.RUNS, packed.METRICS, files.LOSSES, files.CONFIG):
        content = (root / name).read_bytes()
        (root / name).write_bytes(content[:-10])
        for read in (stored.finished_below, packing.pack):
            with pytest.raises(ValueError, match=r"--workdir: .*torn") as caught:
                read(root)
            assert "\n" not in str(caught.value)
        (root / name).write_bytes(content)
    (root / packed.METRICS).unlink()
    with pytest.raises(ValueError, match=r"metrics\.csv is torn or was changed: .* got none"):
        stored.finished_below(root)


def test_the_hash_of_a_packed_config_is_computed_when_it_is_read(tmp_path, monkeypatch):
    root = sweep(tmp_path / "runs", 2)
    sha256 = json.loads((root / "superloss-1" / files.RESULTS).read_text())["config_sha256"]
    packing.pack(root)
    assert stored.of_config(root, sha256).path == root / "superloss-1"
    assert stored.of_config(root, "0" * 64) is None
    assert stored.of_config(tmp_path, sha256) is None
    monkeypatch.setattr(identity, "config_sha256", lambda config: f"new {config['seed']}")
    packed._results_of.cache_clear()
    assert stored.of_config(root, "new 1").path == root / "superloss-1"


def test_who_reads_while_another_packs_gets_one_packing(tmp_path, monkeypatch):
    root = sweep(tmp_path / "runs", 1)
    packing.pack(root)
    settle = packed.settle

    def settle_late(folder):
        monkeypatch.setattr(packed, "settle", settle)
        make(root / "more", "elr")
        packing.pack(root)
        settle(folder)

    monkeypatch.setattr(packed, "settle", settle_late)
    found = packed.decode(packed.contents(root))
    assert [one.directory for one in found] == ["more", "several/seed_0", "superloss-0"]
    assert {one.results["config"]["loss"]["method"] for one in found} == {
        "elr", "gce", "superloss",
    }  # fmt: skip


def test_a_run_that_goes_on_is_not_written_over(tmp_path):
    make(tmp_path / "a", "superloss")
    packing.pack(tmp_path)
    (path := tmp_path / "a").mkdir()
    with lock.locked(path), pytest.raises(ValueError, match="in use"):
        packing.unpack(tmp_path, tmp_path)
    (path / files.METRICS).write_text('{"epoch": 1}\n')
    with pytest.raises(ValueError, match="expected a directory without a run"):
        packing.unpack(tmp_path, tmp_path)


def test_no_run_is_trained_over_packed_ones(tmp_path):
    make(tmp_path / "a", "superloss")
    config = json.loads((tmp_path / "a" / files.CONFIG).read_text())
    packing.pack(tmp_path)
    names = (files.CONFIG, packed.RUNS, packed.METRICS)
    before = {name: (tmp_path / name).read_bytes() for name in names}
    with pytest.raises(ValueError, match="holds a packed sweep; choose another directory"):
        files.check_unchanged(tmp_path, config, resumable=False)
    command = [sys.executable, "-m", "experiments.main", "--config=configs/digits.py"]
    seed = "--config.seed=1"
    cases = (
        ([f"--workdir={tmp_path}"], 2, f"{tmp_path} holds a packed sweep"),
        ([f"--workdir={tmp_path / 'a'}", seed], 2, f"unpack --workdir={tmp_path} gives its"),
        ([f"--workdir={tmp_path / 'a'}"], 0, "done     this run has finished before"),
    )
    for given, code, said in cases:
        done = subprocess.run(
            [*command, *given], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr.count("\n")) == (code, 1), done.stderr
        assert said in done.stderr
    now = {name: (tmp_path / name).read_bytes() for name in before}
    assert now == before
