"""A program outlives its standard output and error, and files are all that it needs."""

import os
import pathlib
import re
import subprocess
import sys

import pytest

from tests.program.test_main import ROOT

TALK = """
import os, pathlib, sys, warnings
from experiments import progress, streams
streams.keep()
for _ in range(3):
    progress.console.print("é " * 40_000)
    print("é ± \\udcff" * 40_000)
    sys.stderr.write("x\\n")
    warnings.warn("x")
with progress.progress_line(2, "text") as update:
    update(2, "text")
place = pathlib.Path(sys.argv[1])
with open(place, "w") as file:
    file.write(f"ended {file.fileno()}")
streams.check_output()
"""


def talk(path, **streams):
    command = [sys.executable, "-W", "always", "-c", TALK, str(path)]
    env = os.environ | {"PYTHONPATH": str(ROOT)} | streams.pop("env", {})
    return subprocess.run(command, cwd=ROOT, env=env, check=False, **streams)


def closed_pipe():
    """The writing end of a pipe that nobody reads."""
    reader, writer = os.pipe()
    os.close(reader)
    return os.fdopen(writer, "wb")


@pytest.mark.parametrize("place", ["full", "left", "full of unread words", "ascii"])
def test_what_cannot_be_shown_is_dropped(tmp_path, place):
    file = tmp_path / "end"
    if place == "full":
        with open("/dev/full", "wb") as full:
            done = talk(file, stdout=full, stderr=full)
        assert done.returncode == 1  # its product is what it prints, and that is lost
    elif place == "left":
        with closed_pipe() as pipe:
            done = talk(file, stdout=pipe, stderr=pipe)
        assert done.returncode == 0  # as after `| head`
    elif place == "full of unread words":
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        done = talk(file, stdout=writer, stderr=writer)
        os.close(reader), os.close(writer)
        assert done.returncode == 0
    else:
        done = talk(file, capture_output=True, env={"PYTHONIOENCODING": "ascii"})
        assert done.returncode == 0
        assert done.stdout.decode("ascii").startswith(r"\xe9 \xb1 \udcff")
    assert file.read_text().startswith("ended")


def test_no_file_gets_the_number_of_a_closed_stream(tmp_path):
    program = tmp_path / "talk.py"
    program.write_text(TALK)
    command = f"exec {sys.executable} {program} {tmp_path / 'end'} <&- >&- 2>&-"
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, env=env, check=False)
    assert done.returncode == 0
    said, _, number = (tmp_path / "end").read_text().rpartition(" ")
    assert said == "ended"
    assert int(number) > 2


PROGRAMS = [
    path
    for folder in ("experiments", "scripts")
    for path in sorted((ROOT / folder).rglob("*.py"))
    if "__main__" in path.name or 'if __name__ == "__main__"' in path.read_text()
]
# Tools that end in minutes or print nothing, and what runs where the program is not installed.
OTHERS = {"check_lambertw", "check_package", "fit_lambertw", "prepare_data", "slurm_test",
          "torch_accelerator", "torch_steps", "torch_train", "torchvision_input"}  # fmt: skip


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_program_keeps_its_streams(path: pathlib.Path):
    text = path.read_text()
    keeps = "streams.keep()" in text or re.search(r"app\.run\(main, .*flags_parser=parse", text)
    assert bool(keeps) == (path.stem not in OTHERS)


def test_pictures_need_no_backend_of_the_users():
    """Matplotlib reads the variable when it is first imported, by whichever module."""
    for folder in ("experiments", "scripts"):
        for path in (ROOT / folder).rglob("*.py"):
            imports = re.search(r"^\s*(import|from) matplotlib", path.read_text(), re.MULTILINE)
            assert bool(imports) == (path == ROOT / "experiments/pictures.py"), path
    env = os.environ | {"MPLBACKEND": "module://no_such.backend", "PYTHONPATH": str(ROOT)}
    code = "from experiments.pictures import plt; plt.figure().savefig('/dev/null', format='png')"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env, check=False)
    assert done.returncode == 0
