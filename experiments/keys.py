"""Keys of a config: which exist, what their comments say, and what an error about one means."""

import ast
import difflib
import importlib.util
import io
import pathlib
import re
import tokenize
from collections.abc import Collection, Iterator, Mapping
from typing import Any


def section(config, name: str):
    """A section of the config; an empty one if a user's own task has none of this name."""
    found = config.get(name)
    return found if hasattr(found, "get") else {}


def values(section: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every key with its value, dotted; a section comes before its keys, with itself as value."""
    for name, value in section.items():
        yield prefix + name, value
        if isinstance(value, Mapping):
            yield from values(value, f"{prefix}{name}.")


def check(config, dotted: str) -> None:
    """Raises a ValueError that names the close ones unless the config has this dotted key."""
    section, where = config.to_dict(), "config"
    for name in dotted.split("."):
        if not isinstance(section, Mapping):
            raise ValueError(f"{where}: it is a value and has no key {name!r}")
        plain = name.partition("[")[0]
        if plain not in section:
            said = f"{where}: expected one of {', '.join(section)}, got {name!r}"
            raise ValueError(f"{said}{hint(dotted, dict(values(config.to_dict())))}")
        if plain != name:
            raise ValueError(f"{where}.{plain}: it is set as a whole, not by {name!r}")
        section, where = section[name], f"{where}.{name}"


def hint(dotted: str, known: Collection[str]) -> str:
    """Names the keys that may have been meant: of the same last name, or else spelled alike."""
    last = dotted.rpartition(".")[2]
    close = [key for key in known if key.rpartition(".")[2] == last]
    close = close or difflib.get_close_matches(dotted, known, n=1, cutoff=0.75)
    if not close:
        alike = difflib.get_close_matches(last, {key.rpartition(".")[2] for key in known}, n=1)
        close = [key for key in known if key.rpartition(".")[2] in alike]
    return f"; did you mean {' or '.join(f'config.{key}' for key in close[:3])}?" if close else ""


def in_words(error: Exception) -> str:
    """What a file with a config raised, as one sentence; ml_collections puts reprs into reprs."""
    while error.args and isinstance(error.args[0], Exception):
        error = error.args[0]
    if not (isinstance(error, KeyError) and error.args):
        return (str(error).strip().splitlines() or [repr(error)])[-1].strip()
    text = str(error.args[0]).removeprefix("Key ")
    name, meant = re.search(r"[\w.]+", text), re.search(r'Did you mean "(.*?)"', text)
    return f"no key {name[0] if name else text!r}{f'; did you mean {meant[1]}?' if meant else ''}"


# --- Comments. ------------------------------------------------------------------------------------


def comments(file: pathlib.Path, prefix: str = "") -> dict[str, str]:
    """The comments on a config's keys, from its file and from the files that it builds on.

    A comment at the end of a line, with those alone on the next lines, belongs to the first key of
    the line. Where several files comment on a key, that counts which the others build on.
    """
    source = file.read_text()
    tree, said = ast.parse(source), line_comments(source)
    places: list[tuple[str, int, int]] = []
    below: dict[str, str] = {}
    for key, node in parts_of(tree, prefix):
        if not isinstance(node, ast.Call):
            places.append((key, node.lineno, node.col_offset))
        elif (other := file_of(tree, node.func)) is not None:
            below |= comments(other, key)
    first = {line: min((c for _, i, c in places if i == line), default=0) for line in said}
    own = {key: said[line] for key, line, column in places if first.get(line) == column}
    return own | below


def parts_of(tree: ast.Module, prefix: str) -> Iterator[tuple[str, ast.expr]]:
    """What get_config() sets and returns: see `parts`."""
    functions = [one for one in tree.body if getattr(one, "name", "") == "get_config"]
    if not functions:  # imported from another file
        yield prefix, ast.Call(ast.Name("get_config"), [], [])
    for function in functions:
        assigned = [node for node in ast.walk(function) if isinstance(node, ast.Assign)]
        names = {one.id: node.value for node in assigned for one in node.targets
                 if isinstance(one, ast.Name)}  # fmt: skip
        for node in assigned:
            for target in node.targets:
                if isinstance(target, ast.Attribute):
                    key = prefix + ast.unparse(target).partition(".")[2]
                    yield key, target
                    yield from parts(node.value, f"{key}.", names)
        for part in ast.walk(function):
            if isinstance(part, ast.Return) and part.value is not None:
                yield from parts(part.value, prefix, names)


def parts(node: ast.expr, prefix: str, names: dict) -> Iterator[tuple[str, ast.expr]]:
    """The keys of a section with their places, and calls with the prefix of what they return."""
    match node:
        case ast.Name(id=name) if name in names:
            yield from parts(names[name], prefix, {k: v for k, v in names.items() if k != name})
        case ast.BinOp(left=left, right=right):  # a union
            yield from parts(left, prefix, names)
            yield from parts(right, prefix, names)
        case ast.Dict(keys=keys, values=given):
            for key, value in zip(keys, given, strict=True):
                inside = prefix
                if isinstance(key, ast.Constant):  # else it unpacks another section
                    yield f"{prefix}{key.value!s}", key
                    inside = f"{prefix}{key.value!s}."
                yield from parts(value, inside, names)
        case ast.Call(args=arguments):
            yield prefix, node
            for argument in arguments:
                yield from parts(argument, prefix, names)


def file_of(tree: ast.Module, function: ast.expr) -> pathlib.Path | None:
    """The file whose get_config() an expression names, as MODULE.get_config or imported itself."""
    known: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            known |= {one.asname or one.name: f"{node.module}.{one.name}" for one in node.names}
        elif isinstance(node, ast.Import):
            known |= {one.asname or one.name: one.name for one in node.names}
    module, _, last = ast.unparse(function).rpartition(".")
    name = f"{known.get(module, '')}.{last}" if module else known.get(last, "")
    module, _, last = name.rpartition(".")
    spec = importlib.util.find_spec(module) if module and last == "get_config" else None
    return pathlib.Path(spec.origin) if spec and spec.origin else None


def line_comments(source: str) -> dict[int, str]:
    """The comment that begins on each line, with those that stand alone on the next lines."""
    found: dict[int, str] = {}
    owner = last = 0
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type != tokenize.COMMENT:
            continue
        (row, column), text = token.start, token.string.lstrip("#").strip()
        if token.line[:column].strip():
            owner, found[row] = row, text
        elif owner and row == last + 1:
            found[owner] += f" {text}"
        else:
            owner = 0
        last = row
    return found
