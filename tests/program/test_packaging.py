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
    urls = setup["urls"]("https://github.com/Some-One/a_b")
    assert urls.pop("Documentation") == "https://some-one.github.io/a_b/"
    assert all(url.startswith("https://github.com/Some-One/a_b") for url in urls.values())
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


def test_a_tag_is_the_version_and_the_changelog_has_it():
    changelog = "# Changelog\n\n## [Unreleased]\n\n## [1.2.3] - 2026-01-31\n\n### Added\n"
    assert [*check_package.tag_faults("v1.2.3", "1.2.3", changelog)] == []
    assert [*check_package.tag_faults("v1.2", "1.2.30", changelog)] == [
        "--tag: expected v1.2.30, the version of superloss_jax/__init__.py, got v1.2",
        "CHANGELOG.md: expected a heading '## [1.2.30] - YEAR-MONTH-DAY'",
    ]


def test_actions_of_workflows_are_pinned():
    for path in sorted((ROOT / ".github/workflows").glob("*.yml")):
        for action in re.findall(r"uses: (\S+)", path.read_text()):
            assert re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", action), action


def test_the_changelog_has_sections_by_version():
    text = (ROOT / "CHANGELOG.md").read_text()
    heads = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert heads[0] == "[Unreleased]"
    dated = r"\[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d"
    assert all(re.fullmatch(dated, head) for head in heads[1:])
    kinds = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert {*re.findall(r"^### (.*)$", text, re.MULTILINE)} <= kinds
