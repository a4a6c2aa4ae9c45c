"""Packs what a machine without a network needs: this version, wheels, and data, in small parts.

    python -m scripts.pack_for_accelerator --output=DIR --data_dir=DIR --data=tfds/cifar10

It writes part.000, part.001, ... and unpack.sh; `bash unpack.sh` beside them makes a folder
superloss_jax with a virtual environment, and the command that it prints trains there in slices. The
wheels are those of this machine's kind and of its Python, for `--extras`; without extras, none are
packed, for a machine that has JAX already.
"""

import argparse
import pathlib
import shlex
import subprocess
import sys
import tarfile
import tempfile

from experiments import checks, streams
from experiments.progress import console
from experiments.usage import refuse

ROOT = pathlib.Path(__file__).parent.parent
NAME = "superloss_jax"
PART = "part.{:03d}"
UNPACK = """#!/usr/bin/env bash
# Joins the parts, and makes the environment from the wheels among them.
set -euo pipefail
cd "$(dirname "$0")"
cat part.* | tar -x
cd {name}
if [ -d wheels ]; then
    python3 -m venv .venv
    .venv/bin/python -m pip install --quiet --no-index --find-links wheels {requirement}
fi
python=$([ -d wheels ] && echo .venv/bin/python || echo python3)
echo "to train a slice:    cd $PWD && $python {command}"
echo "to pack its results: cd $PWD && $python {pack}"
"""
SWEEP = "-m experiments.sweep --config={config} --workdir={workdir} --data_dir=data --seconds=480"
PACK = "-m experiments.report pack --workdir={workdir}"


def versioned(root: pathlib.Path) -> list[str]:
    """The files of this version, as Git lists them."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    done = subprocess.run(command, cwd=root, capture_output=True, check=True)
    return [name for name in done.stdout.decode().split("\0") if name and (root / name).is_file()]


def download(extras: str, folder: pathlib.Path) -> None:
    console.print(f"wheels of superloss_jax[{extras}] ...")
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--wheel-dir", str(folder)]
    done = subprocess.run([*pip, f"{ROOT}[{extras}]"], check=False, capture_output=True, text=True)
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["pip failed"]
        raise ValueError(f"--extras: {said[-1]}")


def split(file: pathlib.Path, folder: pathlib.Path, size: int) -> int:
    """Writes the file's parts; returns how many."""
    number = 0
    with open(file, "rb") as whole:
        while part := whole.read(size):
            (folder / PART.format(number)).write_bytes(part)
            number += 1
    return number


def pack(output: pathlib.Path, data_dir: pathlib.Path, args: argparse.Namespace) -> None:
    missing = [name for name in args.data if not (data_dir / name).exists()]
    if missing:
        raise ValueError(f"--data: expected paths in {data_dir}, got {', '.join(missing)}")
    if not (ROOT / args.config).is_file():
        raise ValueError(f"--config: expected a file of this version, got {args.config}")
    output.mkdir(parents=True, exist_ok=True)
    if [*output.iterdir()]:
        raise ValueError(f"--output: expected an empty folder, got {output}")
    with tempfile.TemporaryDirectory(dir=output) as scratch:
        whole, wheels = pathlib.Path(scratch) / "whole.tar", pathlib.Path(scratch) / "wheels"
        if args.extras:
            download(args.extras, wheels)
        with tarfile.open(whole, "w") as tar:
            for name in versioned(ROOT):
                tar.add(ROOT / name, f"{NAME}/{name}")
            for name in args.data:
                tar.add(data_dir / name, f"{NAME}/data/{name}")
            if args.extras:
                tar.add(wheels, f"{NAME}/wheels")
        number = split(whole, output, args.part_mb * 10**6)
    workdir = f"results/{pathlib.Path(args.config).stem}"
    text = UNPACK.format(
        name=NAME,
        requirement=shlex.quote(f"superloss_jax[{args.extras}]"),
        command=SWEEP.format(config=shlex.quote(args.config), workdir=workdir),
        pack=PACK.format(workdir=workdir),
    )
    (output / "unpack.sh").write_text(text)
    print(f"{number} parts of at most {args.part_mb} MB in {output}; there: bash unpack.sh")


def main() -> None:
    streams.keep()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", required=True, type=pathlib.Path, help="an empty folder")
    parser.add_argument("--data_dir", required=True, type=pathlib.Path)
    parser.add_argument("--data", nargs="*", default=[], help="files and folders in --data_dir")
    parser.add_argument("--extras", default="experiments,cuda12", help="of pyproject.toml, or none")
    parser.add_argument("--part_mb", type=checks.natural, default=60)
    parser.add_argument("--config", default="configs/gpu_table.py", help="what is trained there")
    args = parser.parse_args()
    try:
        pack(args.output.absolute(), args.data_dir.expanduser().absolute(), args)
    except ValueError as error:
        refuse(error)
    except OSError as error:
        refuse(error, 1)
    streams.check_output()


if __name__ == "__main__":
    main()
