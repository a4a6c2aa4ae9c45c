"""Every table in a document equals the output of the command that the document names."""

import itertools
import re
import shlex
import sys
from typing import NamedTuple

import pytest

from experiments.report import __main__ as report
from tests.program.drawn import closing
from tests.program.test_main import ROOT

closed = pytest.fixture(autouse=True)(closing)
DOCUMENTS = ("README.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")))
COMMAND = (
    r"`python -m experiments\.report "
    r"((?:table|choose|detectors|classes|stops) --workdir=results/[^`]*)`"
)
CAPTIONS = (
    "Test accuracy in %; ",
    "Mean test accuracy in %. ",
    "Test recall at 1 in %; ",
    "Recall at 1 in % ",
    "Test mean absolute error; ",
    "Test mAP at IoU 0.5; ",
    "Test average precision at IoU 0.5 ",
    "Accuracy in % ",
    "Mean absolute error on ",
    "Wrong labels found ",
    "Ours less ",
)


class Case(NamedTuple):
    """Tables and captions of a document, and the commands that print them."""

    document: str
    commands: tuple[str, ...]
    blocks: tuple[str, ...]
    excerpt: bool  # whether the document shows only some lines


def is_table(block):
    return block.startswith("|")


def cases_of(document, text):
    """Finds tables and captions between a heading or "Made by" and the next "Made by `...`"."""
    found, blocks = [], []
    for block in re.split(r"\n\n+", text):
        if block.startswith("#"):
            blocks = []
        elif is_table(block) or block.startswith(CAPTIONS):
            blocks.append(block.rstrip("\n"))
        elif block.startswith("Made by"):
            said = " ".join(block.split())
            commands = re.findall(COMMAND, said)
            if commands and blocks:
                excerpt = "which prints all" in said
                found.append(Case(document, tuple(commands), tuple(blocks), excerpt))
            blocks = []
    return found


def first_difference(block, printed, excerpt=False):
    """Returns the first line of a document's block that differs from the output; None if equal.

    The block is compared with the printed block that starts in the same way.
    """
    lines = block.splitlines()
    start = lines[0] if is_table(block) else next(one for one in CAPTIONS if block.startswith(one))
    same = [one for one in printed if one.startswith(start)]
    if not same:
        return f"no command prints: {lines[0]}"
    theirs = same[0].splitlines()
    if excerpt:
        theirs = [line for line in theirs if line in lines]
    for ours, their in itertools.zip_longest(lines, theirs):
        if ours != their:
            return f"the document has: {ours}\nthe command prints: {their}"
    return None


CASES = [case for name in DOCUMENTS for case in cases_of(name, (ROOT / name).read_text())]


def names():
    return [f"{case.document}-{case.commands[0].split()[1].split('/')[-1]}" for case in CASES]


@pytest.mark.parametrize("case", CASES, ids=names())
def test_tables_are_what_their_commands_print(case, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    printed = []
    for command in case.commands:
        words = shlex.split(re.sub(r"--output=\S+", f"--output={tmp_path}/picture.png", command))
        monkeypatch.setattr(sys, "argv", ["report", *words])
        report.main()
        out = re.sub(r"\npicture.*", "", capsys.readouterr().out)
        own = [block.rstrip("\n") for block in re.split(r"\n\n+", out.strip())]
        printed += own
        if words[0] != "choose":  # the document need not show its table
            whole = {block.splitlines()[0] for block in own if is_table(block)}
            missing = whole - {block.splitlines()[0] for block in case.blocks}
            assert not missing, f"{case.document} lacks a table of: {command}"
    for block in case.blocks:
        difference = first_difference(block, printed, case.excerpt)
        assert difference is None, f"{case.document}: {' and '.join(case.commands)}\n{difference}"


def test_every_document_with_such_a_command_is_checked():
    checked = {command for case in CASES for command in case.commands}
    assert len(CASES) >= 10
    named = {"docs/sweeps.md", "docs/methods.md", "docs/when_it_helps.md"}
    assert {case.document for case in CASES} >= named
    for name in DOCUMENTS:
        for paragraph in re.split(r"\n\n+", (ROOT / name).read_text()):
            if paragraph.startswith("Made by"):
                assert {*re.findall(COMMAND, " ".join(paragraph.split()))} <= checked, name


def test_results_that_a_document_names_are_there():
    texts = [(ROOT / name).read_text() for name in DOCUMENTS]
    named = {one for text in texts for one in re.findall(r"results/\w+", text)}
    assert len(named) > 20
    missing = {one for one in named if not any((ROOT / one).glob("*.json*"))}
    assert missing <= {"results/NAME"}


def test_a_line_that_differs_is_found():
    table = "| method | x |\n| --- | --- |\n| a | 1.0 |\n| b | 2.0 |"
    caption = "Test accuracy in %; n = 3."
    assert first_difference(table, ["| other |", caption, table]) is None
    assert first_difference(caption, [table, caption]) is None
    wrong = table.replace("2.0", "2.1")
    said = "the document has: | b | 2.1 |\nthe command prints: | b | 2.0 |"
    assert first_difference(wrong, [table]) == said
    short = table.rpartition("\n")[0]
    assert "the document has: None" in first_difference(short, [table])
    assert first_difference(short, [table], excerpt=True) is None
    assert "| b | 2.1 |" in first_difference(wrong, [table], excerpt=True)
    assert first_difference("| else |", [table]) == "no command prints: | else |"
    text = f"# A\n\n{table}\n\n{caption}\n\nMade by `python -m experiments.report table\n"
    text += "--workdir=results/x --paired`.\n"
    assert cases_of("d", text) == [
        Case("d", ("table --workdir=results/x --paired",), (table, caption), False)
    ]
