"""The package's metadata: one address, links that need no folder, what sdist and wheel have."""

import email.message
import re
import runpy
import subprocess
import sys
import tomllib
import types

import pytest

from scripts import check_package
from tests.program.test_main import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
ADDRESS = PROJECT["tool"]["superloss_jax"]["home"]
LINK = r"(!?)\[[^][]*\]\(([^)]+)\)"


@pytest.fixture
def setup(monkeypatch):
    """The functions of setup.py, without a build."""
    stand_in = types.SimpleNamespace(setup=None)
    monkeypatch.setitem(sys.modules, "setuptools", stand_in)
    return runpy.run_path(str(ROOT / "setup.py"))


def test_every_address_is_the_one_constant(setup):
    assert setup["home"]() == ADDRESS
    assert {"Repository", "Issues"} <= setup["urls"](ADDRESS).keys()
    assert all(url.startswith(ADDRESS) for url in setup["urls"](ADDRESS).values())
    assert {"readme", "urls"} <= {*PROJECT["project"]["dynamic"]}
    assert PROJECT["project"]["authors"] == [{"name": "The superloss_jax authors"}]
    tracked = subprocess.run(
        ["git", "-C", str(ROOT), "grep", "-l", "--untracked", "-I", ADDRESS], capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    if tracked.returncode <= 1:  # not in a folder without git
        assert tracked.stdout.split() == ["pyproject.toml"]


def test_the_readme_elsewhere_differs_in_its_links_alone(setup):
    here, elsewhere = (ROOT / "README.md").read_text(), setup["readme"](ADDRESS)
    links, absolute = re.findall(LINK, here), re.findall(LINK, elsewhere)
    assert len(links) == len(absolute) > 10
    assert sum(kind == "!" for kind, _ in links) >= 1
    for (kind, link), (_, url) in zip(links, absolute, strict=True):
        if link.startswith(("#", "https:")):
            assert url == link
        else:
            assert url == f"{ADDRESS}/{'raw' if kind else 'blob'}/HEAD/{link}"
            assert (ROOT / link.partition("#")[0]).is_file(), link
    assert re.sub(LINK, "", here) == re.sub(LINK, "", elsewhere)


def test_what_is_missing_in_a_package_is_named():
    known = email.message.Message()
    for key in ("Author", "License-Expression", "Project-URL", "Description-Content-Type"):
        known[key] = "x"
    known.set_payload("![a](https://b/c.png) [d](#e)")
    names = {f"superloss_jax/{path.name}" for path in (ROOT / "superloss_jax").glob("*.py")}
    names.add("superloss_jax/py.typed")
    assert (ROOT / "superloss_jax" / "py.typed").is_file()
    assert PROJECT["tool"]["setuptools"]["package-data"] == {"superloss_jax": ["py.typed"]}
    assert [*check_package.faults_of(names, names, known)] == []
    del known["Author"]
    known.set_payload("![a](docs/c.png)")
    faults = check_package.faults_of(
        names - {"superloss_jax/py.typed"} | {"tests/a.py"}, names | {"tests/a.py"}, known
    )
    assert [*faults] == [
        "the wheel lacks superloss_jax/py.typed",
        "the wheel has tests/a.py",
        "the sdist has tests/a.py, which cannot run there",
        "the metadata has no Author",
        "the metadata's README has an address that is relative: ](docs/c.png)",
    ]
