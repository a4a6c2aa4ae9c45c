"""The command line: a run, and one line with exit code 2 for each mistake."""

import json
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).parent.parent.parent


def main(*args):
    command = [sys.executable, "-m", "experiments.main", *args]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_a_run_from_the_command_line(tmp_path):
    path = tmp_path / "deep" / "run"
    relative = os.path.relpath(path, ROOT)  # as people type it
    command = [
        sys.executable, "-m", "experiments.main", "--config=configs/digits.py",
        "--config.epochs=1", "--config.noise.rate=0", "--config.loss.threshold=constant",
        "--config.loss.tau=2.3", f"--workdir={relative}",
    ]  # fmt: skip
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stderr is not None
    said = ""
    while "of the training labels, 0.00% are wrong" not in said and process.poll() is None:
        said += process.stderr.readline()
    process.stderr.close()  # nobody looks any longer, but the run goes on
    out = process.stdout.read()
    process.stdout.close()
    assert process.wait() == 0, said
    assert "device   " in said
    results = json.loads((path / "results.json").read_text())
    assert f"test accuracy {results['test_accuracy']['last']:.2%}" in out
    assert json.loads((path / "config.json").read_text())["loss"]["tau"] == 2.3


def test_mistakes(tmp_path):
    file = tmp_path / "file"
    file.touch()
    digits, good = "--config=configs/digits.py", f"--workdir={tmp_path / 'unused'}"
    piecewise = "--config.optimizer.schedule=piecewise"
    lacking = tmp_path / "lacking.py"
    lacking.write_text(
        "from configs import digits\n"
        "def get_config():\n    config = digits.get_config()\n    del config.vmap_seeds\n"
        "    return config\n"
    )
    cases = {
        (digits, good, "--config.nois.rate=0.4"): "got 'nois'; did you mean noise?",
        (digits, good, "--config.noise.rat=0.4"): "one of exact, kind, rate, seed, got 'rat'",
        (digits, good, "--config.epochs=many"): "many",
        (digits, good, "--config.loss.method=superlos"): "did you mean superloss?",
        (digits, f"--workdir={file}"): "expected a directory, got a file",
        (digits, "--workdir=/proc/run"): "cannot write to /proc/run",
        (digits, good, "extra"): "extra",
        (digits, good, "--config.vmap_seeds=2", "--config.seed=2147483647"): "the last of vmap_",
        (digits, good, piecewise, "--config.optimizer.boundaries=(1e308,)"): "from 0 to 100000,",
        ("--config=configs/cifar10.py", good, "--data_dir=~nouser/x"): "--data_dir: the home",
        (f"--config={lacking}", good): "config.vmap_seeds: the config lacks it",
        (
            digits,
            good,
            '--beside={"epochs": 2}',
        ): "--beside: expected a JSON object of workdir,",
        (digits,): "Flag --workdir must have a value",
        ("--config=configs/none.py", good): "configs/none.py",
    }
    outcomes = forked([[*args] for args in cases])
    for (args, expected), (code, out, said) in zip(cases.items(), outcomes, strict=True):
        assert code == 2, (args, said)
        assert expected in said, (args, said)
        assert said.count("\n") == 1, (args, said)
        assert out == ""
    assert {path.name for path in tmp_path.iterdir()} == {"file", "lacking.py"}  # nothing is left


FORKED = """
import json, os, sys, tempfile
import flax, jax, optax  # once, and not in each of the processes below
from absl import app
from experiments import main
from experiments.training import build, loop, seeds

outcomes = []
for args in json.loads(sys.argv[1]):
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as said:
        child = os.fork()
        if not child:
            os.dup2(out.fileno(), 1), os.dup2(said.fileno(), 2)
            sys.argv[:] = ["main", *args]
            app.run(main.main, flags_parser=main.parse)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        texts = [file.seek(0) or file.read() for file in (out, said)]
    outcomes.append([code, *texts])
print(json.dumps(outcomes))
"""


def forked(cases):
    """Exit code, stdout and stderr of the command with each list of arguments."""
    command = [sys.executable, "-c", FORKED, json.dumps(cases)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])
