"""The table of docs/data.md: what each mistake in a user's own data says, word by word."""

import re

import pytest
from PIL import Image

from configs import own
from experiments.tasks import classification
from tests.program.test_main import ROOT

TEXT = (
    (ROOT / "docs/data.md").read_text().partition("\n## Your own data\n")[2].partition("\n## ")[0]
)
SAID = dict(re.findall(r"^\| ([^|`]+) \| `([^`]+)` \|$", TEXT, re.M))


def save(path, size=(8, 8)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("1", size).save(path)


def listed(root, *rows):
    """Writes a table of these rows, and images a to d beside it."""
    for name in "abcd":
        save(root / f"{name}.png")
    (root / "mine.csv").write_text("".join(f"{row}\n" for row in rows))


def bomb(root):
    listed(root, "path,label", "a.png,x", "large.png,y")
    save(root / "large.png", (10_000, 10_000))


def no_images(root):
    for name in ("ant/1.png", "bee/1.png"):
        (root / "mine" / name).parent.mkdir(parents=True)
        (root / "mine" / name).write_text("text")


def two_of_a_name(root):
    for name in ("ant/1.png", "ant/1.jpg", "bee/1.png"):
        save(root / "mine" / name)


CASES = {
    "an empty folder": lambda root: (root / "mine").mkdir(),
    "one class": lambda root: save(root / "mine" / "ant" / "1.png"),
    "no file is an image": no_images,
    "two files of one name": two_of_a_name,
    "one class in a table": lambda root: listed(root, "path,label", "a.png,x", "b.png,x"),
    "an empty CSV file": lambda root: listed(root),
    "a CSV file without rows": lambda root: listed(root, "path,label"),
    "other separators": lambda root: listed(root, "path;label", "a.png;x", "b.png;y"),
    "no column for the labels": lambda root: listed(root, "size,weight", "1,2", "3,4"),
    "10,000 different labels": lambda root: listed(
        root, "size,label", *(f"{i % 9},n{i}" for i in range(10_000))
    ),
    "a number to predict as the label": lambda root: listed(root, "size,label", "1,0.5", "2,0.7"),
    "a damaged Parquet file": lambda root: (root / "mine.parquet").write_bytes(b"PAR1 and no more"),
    "a path outside the folder": lambda root: listed(root, "path,label", "a.png,x", "../b.png,y"),
    "an absolute path": lambda root: listed(root, "path,label", "a.png,x", "/data/b.png,y"),
    "an image that is not there": lambda root: listed(root, "path,label", "a.png,x", "e.png,y"),
    "a path in two rows": lambda root: listed(root, "path,label", "a.png,x", "b.png,y", "a.png,y"),
    "an image of 10,000 x 10,000 pixels": bomb,
}


def test_the_document_has_all_of_them():
    assert SAID.keys() == CASES.keys()


@pytest.mark.parametrize("name", CASES)
def test_a_mistake_is_told_in_this_line(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    CASES[name](tmp_path)
    [path] = tmp_path.glob("mine*")
    config = own.get_config()
    config.data.name, config.data.path = "folder" if path.is_dir() else "table", path.name
    with pytest.raises(ValueError, match=f"^{re.escape(SAID[name])}$"):
        classification.load(config, None)
