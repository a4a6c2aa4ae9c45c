"""The command line: a run, and one line with exit code 2 for each mistake."""

import json
import os
import pathlib
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

ROOT = pathlib.Path(__file__).parent.parent.parent


def main(*args):
    command = [sys.executable, "-m", "experiments.main", *args]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_a_run_from_the_command_line(tmp_path):
    path = tmp_path / "deep" / "run"
    relative = os.path.relpath(path, ROOT)  # as people type it
    done = main(
        "--config=configs/digits.py", "--config.epochs=1", "--config.noise.rate=0",
        "--config.loss.threshold=constant", "--config.loss.tau=2.3", f"--workdir={relative}",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "device   " in done.stderr
    assert "of the training labels, 0.00% are wrong" in done.stderr
    results = json.loads((path / "results.json").read_text())
    assert f"test accuracy {results['test_accuracy']['last']:.2%}" in done.stdout
    assert json.loads((path / "config.json").read_text())["loss"]["tau"] == 2.3


def test_mistakes(tmp_path):
    file = tmp_path / "file"
    file.touch()
    digits, good = "--config=configs/digits.py", f"--workdir={tmp_path / 'unused'}"
    cases = {
        (digits, good, "--config.nois.rate=0.4"): "got 'nois'; did you mean noise?",
        (digits, good, "--config.noise.rat=0.4"): "one of exact, kind, rate, seed, got 'rat'",
        (digits, good, "--config.epochs=many"): "many",
        (digits, good, "--config.loss.method=superlos"): "did you mean superloss?",
        (digits, f"--workdir={file}"): "expected a directory, got a file",
        (digits, "--workdir=/proc/run"): "cannot write to /proc/run",
        (digits, good, "extra"): "extra",
        (
            digits,
            good,
            '--beside={"epochs": 2}',
        ): "--beside: expected a JSON object of workdir,",
        (digits,): "Flag --workdir must have a value",
        ("--config=configs/none.py", good): "configs/none.py",
    }
    with ThreadPoolExecutor(2) as pool:
        outcomes = list(pool.map(lambda args: main(*args), cases))
    for (args, expected), done in zip(cases.items(), outcomes, strict=True):
        assert done.returncode == 2, (args, done.stderr)
        assert expected in done.stderr, (args, done.stderr)
        assert done.stderr.count("\n") == 1, (args, done.stderr)
        assert done.stdout == ""
    assert not os.path.exists(tmp_path / "unused" / "config.json")
