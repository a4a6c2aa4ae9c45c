"""Builds the sdist and the wheel, checks what is in them, installs each and runs its examples.

    python scripts/check_package.py [--out=dist] [--tag=v1.2.3]

`--out` keeps the two files. With `--tag` the version must be the tag's, and the changelog have it.
"""

import argparse
import email.message
import os
import pathlib
import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator

FOLDER = pathlib.Path(__file__).parent.parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=pathlib.Path)
    parser.add_argument("--tag")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        out = args.out or pathlib.Path(scratch) / "dist"
        if out.exists() and any(out.iterdir()):
            sys.exit(f"error: --out: expected an empty folder, got {out}")
        quiet = {"check": True, "stdout": subprocess.DEVNULL}
        subprocess.run([sys.executable, "-m", "build", "--outdir", out, FOLDER], **quiet)
        (wheel,), (sdist,) = out.glob("*.whl"), out.glob("*.tar.gz")
        with zipfile.ZipFile(wheel) as archive:
            in_wheel = {*archive.namelist()}
            (metadata,) = (name for name in in_wheel if name.endswith(".dist-info/METADATA"))
            known = email.message_from_bytes(archive.read(metadata))
        with tarfile.open(sdist) as archive:
            in_sdist = {name.partition("/")[2] for name in archive.getnames()} - {""}
        faults = [*faults_of(in_wheel, in_sdist, known)]
        if args.tag:
            changelog = (FOLDER / "CHANGELOG.md").read_text()
            faults += tag_faults(args.tag, known["Version"], changelog)
        for file in (wheel, sdist):
            faults += installed_faults(file, pathlib.Path(scratch) / file.name)
    for fault in faults:
        print(f"error: {fault}", file=sys.stderr)
    sys.exit(1 if faults else 0)


def tag_faults(tag: str, version: str, changelog: str) -> Iterator[str]:
    """Yields what a release with this tag lacks."""
    if tag != f"v{version}":
        yield f"--tag: expected v{version}, the version of superloss_jax/__init__.py, got {tag}"
    if not re.search(rf"(?m)^## \[{re.escape(version)}\] - \d{{4}}-\d\d-\d\d$", changelog):
        yield f"CHANGELOG.md: expected a heading '## [{version}] - YEAR-MONTH-DAY'"


def installed_faults(file: pathlib.Path, target: pathlib.Path) -> Iterator[str]:
    """Installs one file into a folder of its own, and runs the examples of its docstrings there."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--no-deps", "--target", target, file], check=True)
    where = target / "superloss_jax"
    code = "import superloss_jax; print(superloss_jax.__file__)"
    environment = os.environ | {"PYTHONPATH": str(target), "JAX_PLATFORMS": "cpu"}
    python = {"cwd": target, "env": environment, "capture_output": True, "text": True}
    imported = subprocess.run([sys.executable, "-c", code], **python)
    if imported.stdout.strip() != str(where / "__init__.py"):
        yield f"{file.name}: cannot be imported as installed: {imported.stderr or imported.stdout}"
        return
    pytest = [sys.executable, "-m", "pytest", "-q", "--doctest-modules", "-p", "no:cacheprovider"]
    ran = subprocess.run([*pytest, where], **python)
    if ran.returncode:
        yield f"{file.name}: its examples fail as installed: {ran.stdout[-2000:]}"


def faults_of(in_wheel: set[str], in_sdist: set[str], known: email.message.Message):
    """Yields what is missing, and what should not be there."""
    modules = {f"superloss_jax/{path.name}" for path in (FOLDER / "superloss_jax").glob("*.py")}
    for needed in sorted({*modules, "superloss_jax/py.typed"}):
        if needed not in in_wheel:
            yield f"the wheel lacks {needed}"
        if needed not in in_sdist:
            yield f"the sdist lacks {needed}"
    for name in sorted(in_wheel):
        if not re.match(r"superloss_jax(-[\d.]+\.dist-info)?/", name):
            yield f"the wheel has {name}"
    for name in sorted(in_sdist):
        if name.partition("/")[0] in ("tests", "experiments", "configs"):
            yield f"the sdist has {name}, which cannot run there"
    for key in ("Author", "License-Expression", "Project-URL", "Description-Content-Type"):
        if not known[key]:
            yield f"the metadata has no {key}"
    for link in re.findall(r"\]\((?!https:|#)[^)]*\)", str(known.get_payload())):
        yield f"the metadata's README has an address that is relative: {link}"


if __name__ == "__main__":
    main()
