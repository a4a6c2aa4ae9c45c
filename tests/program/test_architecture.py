"""Checks the architecture: import directions, sizes of files and functions, words per module."""

import ast
import re

import pytest

from tests.program.test_main import ROOT

# From top to bottom, as in docs/architecture.md: a package imports only from packages below it.
ROOMS = (
    "experiments.quickstart", "experiments.figures", "experiments.clean", "experiments.main",
    "experiments.sweep",
    "experiments.report", "experiments.training", "experiments.runs", "experiments.tasks",
    "experiments.models", "experiments.data", "experiments.flags", "experiments.usage",
    "experiments.keys", "experiments.cache", "experiments.progress", "experiments.pictures",
    "experiments.rng", "experiments.checks", "experiments.imported", "experiments.streams",
    "configs", "superloss_jax",
)  # fmt: skip
# These modules of experiments/training must not mention logits, labels, accuracy or classes.
TASKLESS = (
    "loop",
    "evaluation",
    "resume",
    "checkpoint",
    "devices",
    "order",
    "seeds",
    "step",
    "stream",
)


def modules():
    """Returns the path of every module of the project, by its dotted name."""
    found = {}
    for folder in ("superloss_jax", "experiments", "configs"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            found[name] = path
    return found


MODULES = modules()


def imported(path):
    """Yields the modules that a file imports, including imports within functions."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if whole in MODULES else node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def room_of(name):
    found = [room for room in ROOMS if name == room or name.startswith(f"{room}.")]
    return found[0] if found else None


def test_imports_point_down():
    for name, path in MODULES.items():
        own = room_of(name)
        assert own or name == "experiments", f"{name} is in no room"
        for other in imported(path):
            room = room_of(other)
            if room and room != own:
                assert ROOMS.index(room) > ROOMS.index(own), f"{name} imports {other}"
    outside = {"experiments", "configs", "flax", "optax", "absl", "ml_collections"}
    for name, path in MODULES.items():
        if name.startswith("superloss_jax"):
            assert not {one.split(".")[0] for one in imported(path)} & outside, name


def test_modules_import_in_no_circle():
    graph = {name: {one for one in imported(path) if one in MODULES and one != name}
             for name, path in MODULES.items()}  # fmt: skip
    while graph:
        free = {name for name, needs in graph.items() if not needs & graph.keys()}
        assert free, f"a circle among {', '.join(sorted(graph))}"
        graph = {name: needs for name, needs in graph.items() if name not in free}


def test_the_document_has_the_rooms_in_this_order():
    text = (ROOT / "docs/architecture.md").read_text().partition("## Where")[0]
    named = [
        name.rstrip("/").removesuffix(".py") for name in re.findall(r"^\| `(.*?)` \|", text, re.M)
    ]
    assert named == [room.removeprefix("experiments.") for room in ROOMS]


def code_lines(node, source):
    """Counts the lines of a function, without blank lines, comments and its docstring."""
    lines = source.splitlines()[node.lineno - 1 : node.end_lineno]
    doc = ast.get_docstring(node, clean=False)
    first = node.body[0]
    skipped = range(first.lineno, first.end_lineno + 1) if doc else ()
    kept = [line.strip() for i, line in enumerate(lines, node.lineno) if i not in skipped]
    return sum(bool(line) and not line.startswith("#") for line in kept)


@pytest.mark.parametrize("folder", ["superloss_jax", "experiments", "configs", "scripts", "tests"])
def test_files_and_functions_can_be_seen_whole(folder):
    for path in sorted((ROOT / folder).rglob("*.py")):
        source = path.read_text()
        assert source.count("\n") <= 300, path
        for node in ast.walk(ast.parse(source)):
            long = folder == "tests" or getattr(node, "name", "") == "get_config"  # lists of cases
            if isinstance(node, ast.FunctionDef) and not long:
                assert code_lines(node, source) <= 45, f"{path}: {node.name}"


def test_the_loop_names_no_task():
    for name in TASKLESS:
        text = (ROOT / f"experiments/training/{name}.py").read_text()
        found = re.findall(r"\w*(?:logit|label|accura|num_classes)\w*", text, re.IGNORECASE)
        assert not found, f"{name}.py: {found}"
