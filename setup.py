"""What pyproject.toml cannot say: the project's address, which it has once, in many places."""

import pathlib
import re
import tomllib

from setuptools import setup

FOLDER = pathlib.Path(__file__).parent


def home() -> str:
    """Returns the project's address, the one constant for the owner to fill."""
    return tomllib.loads((FOLDER / "pyproject.toml").read_text())["tool"]["superloss_jax"]["home"]


def site(address: str) -> str:
    """Returns where GitHub shows the site of a repository (.github/workflows/docs.yml)."""
    owner, name = address.rstrip("/").split("/")[-2:]
    return f"https://{owner.lower()}.github.io/{name}/"


def urls(address: str) -> dict[str, str]:
    return {
        "Repository": address,
        "Documentation": site(address),
        "Changelog": f"{address}/blob/HEAD/CHANGELOG.md",
        "Issues": f"{address}/issues",
    }


def readme(address: str) -> str:
    """Returns the README for readers without its folder, with pictures and links by address."""

    def absolute(link: re.Match) -> str:
        kind = "raw" if link[1].startswith("!") else "blob"
        return f"{link[1]}{address}/{kind}/HEAD/{link[2]}"

    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    return re.sub(r"(!?\[[^][]*\]\()(?!\w+:|#)([^)]+)", absolute, text)


if __name__ == "__main__":
    setup(
        long_description=readme(home()),
        long_description_content_type="text/markdown",
        project_urls=urls(home()),
    )
