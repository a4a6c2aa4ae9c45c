"""Builds the sdist and the wheel, and checks what is in them: python scripts/check_package.py"""

import email.message
import pathlib
import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile

FOLDER = pathlib.Path(__file__).parent.parent


def main() -> None:
    with tempfile.TemporaryDirectory() as out:
        subprocess.run([sys.executable, "-m", "build", "--outdir", out, FOLDER], check=True,
                       stdout=subprocess.DEVNULL)  # fmt: skip
        (wheel,), (sdist,) = pathlib.Path(out).glob("*.whl"), pathlib.Path(out).glob("*.tar.gz")
        with zipfile.ZipFile(wheel) as archive:
            in_wheel = {*archive.namelist()}
            (metadata,) = (name for name in in_wheel if name.endswith(".dist-info/METADATA"))
            known = email.message_from_bytes(archive.read(metadata))
        with tarfile.open(sdist) as archive:
            in_sdist = {name.partition("/")[2] for name in archive.getnames()} - {""}
        faults = [*faults_of(in_wheel, in_sdist, known)]
    for fault in faults:
        print(f"error: {fault}", file=sys.stderr)
    sys.exit(1 if faults else 0)


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
