"""The command line: a run, and one line with exit code 2 for each mistake."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

from configs import base
from experiments.runs import identity

ROOT = pathlib.Path(__file__).parent.parent.parent


def main(*args, program="main", **environment):
    command = [sys.executable, "-m", f"experiments.{program}", *args]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False,
                          env=os.environ | environment)  # fmt: skip


def test_a_run_from_the_command_line_and_the_same_command_again(tmp_path):
    path = tmp_path / "deep" / "run"
    relative = os.path.relpath(path, ROOT)  # as people type it
    given = (
        "--config=configs/digits.py", "--config.epochs=1", "--config.noise.rate=0",
        "--config.loss.threshold=constant", "--config.loss.tau=2.3", f"--workdir={relative}",
    )  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-m", "experiments.main", *given],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
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
    before = {file: file.stat().st_mtime_ns for file in path.rglob("*")}
    again = main(*given, "--data_dir=/no/such", JAX_PLATFORMS="cuda")  # needs neither
    assert (again.returncode, again.stdout) == (0, out), again.stderr
    assert again.stderr == "done     this run has finished before; nothing is trained\n"
    assert {file: file.stat().st_mtime_ns for file in path.rglob("*")} == before


def test_mistakes(tmp_path):
    file = tmp_path / "file"
    file.touch()
    own = tmp_path / "own.py"
    own.write_text(
        "from configs import digits\ndef get_config():\n    config = digits.get_config()\n"
        "    config.los.method = 'superloss'\n    return config\n"
    )
    digits, good = "--config=configs/digits.py", f"--workdir={tmp_path / 'unused'}"
    piecewise = "--config.optimizer.schedule=piecewise"
    lacking = tmp_path / "lacking.py"
    lacking.write_text(
        "from configs import digits\n"
        "def get_config():\n    config = digits.get_config()\n    del config.vmap_seeds\n"
        "    return config\n"
    )
    cases = {
        (digits, good, "--config.nois.rate=0.4"): "got 'nois'; did you mean config.noise.rate?",
        (
            "--config",
            "configs/digits.py",
            good,
            "--config.loss.methd",
            "x",
        ): "got 'methd'; did you mean config.loss.method?",
        (digits, good, "--noconfig.augment.flp"): "did you mean config.augment.flip?",
        (digits, good, "--config.loss.method.x=1"): "config.loss.method: it is a value",
        (digits, good, "--confg.epochs=1"): "did you mean --config.epochs?",
        (digits, "--workdri=x"): "unknown flag --workdri; did you mean --workdir?",
        ("--config=configs/digts.py", good): "did you mean configs/digits.py?",
        (f"--config={own}", good): f"{own}, line 4: no key 'los'; did you mean loss?",
        (digits, "--config.los.help"): "did you mean config.loss?",
        ("--config.help",): "expected --config=",
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
        (digits,): "expected --workdir=",
        ("--config=configs/none.py", good): "configs/none.py",
    }
    outcomes = forked([[*args] for args in cases])
    for (args, expected), (code, out, said) in zip(cases.items(), outcomes, strict=True):
        assert code == 2, (args, said)
        assert expected in said, (args, said)
        assert said.count("\n") == 1, (args, said)
        assert out == ""
    assert {path.name for path in tmp_path.iterdir()} == {
        "file",
        "lacking.py",
        "own.py",
    }  # nothing is left


def test_help(tmp_path):
    digits = "--config=configs/digits.py"
    cases = [["--help"], [], [digits, "--config.noise.rate=0.1", "--config.help"],
             [digits, "--config.noise.help"]]  # fmt: skip
    shown, usage, everything, section = forked(cases)
    assert [one[0] for one in (shown, usage, everything, section)] == [0, 2, 0, 0]
    assert usage[2] == shown[1]
    assert {"--config", "--data_dir", "--workdir"} <= {*shown[1].split()}
    assert "--beside" not in shown[1]
    lines = everything[1].splitlines()[2:]
    keys = {line.split(" = ")[0] for line in lines if " = " in line}
    assert keys == {*identity.flattened(base.get_config().to_dict())}
    [rate] = [line.split("  ") for line in lines if line.startswith("noise.rate = ")]
    assert (rate[0], rate[-1].strip()) == (
        "noise.rate = 0.1", "share of the training labels that are made wrong",
    )  # fmt: skip
    assert section[1].splitlines()[2:] == [
        "noise.exact = False               an exact number of wrong labels, instead of an expected"
        " one",
        "noise.kind = symmetric_exclusive  or another: docs/data.md",
        "noise.rate = 0.4                  share of the training labels that are made wrong",
        "noise.seed = 0                    which labels are made wrong",
    ]


@pytest.mark.parametrize("program", ["sweep", "report", "data", "quickstart"])
def test_help_of_the_other_programs(program):
    shown = main("--help", program=program)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert f"python -m experiments.{program}" in shown.stdout
    if program != "quickstart":  # which needs no argument
        usage = main(program=program)
        assert (usage.returncode, usage.stdout, usage.stderr) == (2, "", shown.stdout)


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
