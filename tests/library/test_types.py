"""What a type checker, `help` and the TAB key say of the library."""

import importlib
import inspect
import json
import os
import pathlib
import subprocess
import sys

import pytest

import superloss_jax
from superloss_jax import constant, superloss
from tests.library.battery import once

ROOT = pathlib.Path(superloss_jax.__file__).parents[1]
SCRIPT = pathlib.Path(__file__).parent / "typed" / "user_script.py"
ROOMS = ("", ".confidence", ".curricula", ".memory", ".noise", ".pairs", ".robust")


def run(*command, folder):
    # As in another project: the package is found, and its own code is not checked.
    environment = os.environ | {"MYPYPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-m", *command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )


@once
def test_strict_mypy_accepts_a_users_script(tmp_path):
    found = run(
        "mypy", "--strict", "--follow-imports=silent", "--config-file=", str(SCRIPT),
        f"--cache-dir={ROOT / '.mypy_cache' / 'user'}", folder=tmp_path,
    )  # fmt: skip
    assert found.returncode == 0, found.stdout


@once
def test_strict_pyright_accepts_a_users_script(tmp_path):
    settings = {
        "typeCheckingMode": "strict",
        "include": [str(SCRIPT)],
        "extraPaths": [str(ROOT)],
        "enableTypeIgnoreComments": False,
        "reportUnnecessaryTypeIgnoreComment": "error",
        # JAX's own functions, and what jax.grad returns.
        "reportUnknownMemberType": False,
        "reportUnknownVariableType": False,
    }
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings))
    found = run(
        "basedpyright", "--project", str(tmp_path), "--pythonpath", sys.executable, folder=tmp_path
    )
    assert found.returncode == 0, found.stdout
    assert "0 errors, 0 warnings" in found.stdout


@pytest.mark.parametrize("room", ROOMS)
def test_a_module_shows_its_public_names_and_no_others(room):
    module = importlib.import_module(f"superloss_jax{room}")
    assert {name for name in dir(module) if not name.startswith("_")} == set(module.__all__)
    for name in module.__all__:
        public = getattr(module, name)
        if inspect.isfunction(public):
            assert inspect.getdoc(public), name
            # Annotations are shown as they are written, not as what they stand for.
            assert "ndarray[" not in str(inspect.signature(public)), name
            assert " at 0x" not in str(inspect.signature(public)), name


def test_the_package_names_every_public_symbol_in_its_docstring():
    for name in superloss_jax.__all__:
        assert name in superloss_jax.__doc__, name


def test_help_on_init_and_update_says_what_they_take():
    for pair in (superloss(), constant(1.0), superloss_jax.chain(superloss())):
        assert "of a batch" in pair.update.__doc__ or "after a batch" in pair.update.__doc__
        assert "no arguments" in pair.init.__doc__
    for name in ("losses", "state", "where", "logits", "labels", "index"):
        assert f"{name}:" in superloss().update.__doc__
        assert name in inspect.signature(superloss().update).parameters


def test_the_package_is_marked_as_typed():
    assert (pathlib.Path(superloss_jax.__file__).parent / "py.typed").exists()
