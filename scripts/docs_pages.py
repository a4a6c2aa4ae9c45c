"""For the site: pages made from the library, the configs and results/, below docs/generated.

    python -m scripts.docs_pages

docs/conf.py calls it at each build. A page that did not change is not written, so that Sphinx need
not read it again.
"""

import ast
import contextlib
import importlib
import inspect
import io
import pathlib
import re
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator

import superloss_jax
from experiments import keys, streams
from experiments.report import __main__ as report
from experiments.runs import packed
from scripts import docs_formulas, docs_ranking
from scripts.docs_tables import rows_of, table
from superloss_jax import confidence, curricula, memory, noise, pairs, robust

PUBLIC = (robust, curricula, memory, pairs, confidence, noise, superloss_jax)
METHODS = (robust, curricula, memory, pairs)
ROOT = pathlib.Path(__file__).parent.parent
COMMAND = r"python -m experiments\.report table --workdir=results/(\w+)([^`]*)`"


# --- Keys of a config. ----------------------------------------------------------------------------


def config_page(root: pathlib.Path) -> str:
    """Every key of configs/base.py and of the tasks' configs that add some."""
    text = [
        "# Config keys\n",
        "`--config.KEY=VALUE` sets another value. `python -m experiments.main --config=FILE"
        " --config.help` prints the keys of any config, and `--config.help=SECTION` of a part.\n",
        "## All tasks\n",
        f"From {linked('configs/base.py')}, from which the other configs start.\n",
    ]
    known = described(root, "base")
    text += sections(known, "###")
    for name in ("regression", "detection", "retrieval", "semi_supervised", "divide_mix"):
        own = {key: told for key, told in described(root, name).items()
               if key not in known or known[key][1] != told[1]}  # fmt: skip
        if own:
            title = name.replace("_", "-").capitalize()
            text += [f"## {title}\n", f"What {linked(f'configs/{name}.py')} adds, or says anew.\n"]
            text.append(key_table(own))
    return "\n".join(text)


def linked(path: str) -> str:
    return f"[`{path}`](../{path})"


def described(root: pathlib.Path, name: str) -> dict[str, tuple[str, str]]:
    """The value and the comment of each key of a config; sections have no value."""
    config = importlib.import_module(f"configs.{name}").get_config().to_dict()
    told = keys.comments(root / "configs" / f"{name}.py")
    return {
        key: ("" if isinstance(value, dict) else f"`{value!r}`", told.get(key, ""))
        for key, value in keys.values(config)
    }


def sections(known: dict[str, tuple[str, str]], level: str) -> Iterator[str]:
    """A heading and a table for each section of a config; the keys outside come first."""
    yield key_table({key: told for key, told in known.items() if told[0] and "." not in key})
    for name in (key for key, (value, _) in known.items() if not value and "." not in key):
        own = {key: told for key, told in known.items() if key.startswith(f"{name}.")}
        yield f"{level} {name}\n"
        if known[name][1]:
            yield f"{known[name][1]}\n"
        yield key_table(own)


def key_table(known: dict[str, tuple[str, str]]) -> str:
    rows = [[f"`{key}`", value, comment] for key, (value, comment) in known.items()
            if value or comment]  # fmt: skip
    return table(["key", "default", "meaning"], rows)


# --- Methods. -------------------------------------------------------------------------------------


def methods_page(root: pathlib.Path) -> str:
    """Each method with formula, source, cost, and its row of the table on digits."""
    known = (root / "docs/methods.md").read_text()
    costs = rows_of(known, "| method | LeNet step")
    command = "table --workdir=results/rivals_digits --select=last,best_validation"
    scores = rows_of(printed(root, command), "| method |")
    ranked = docs_ranking.rankings(root)
    text = [
        "# Each method\n",
        "`l` is the loss of an example, `p` its label's probability. The cost is that of a"
        " training step and of the losses alone, in multiples of cross entropy"
        " ([how it was measured](../methods.md#cost)). The accuracy is on digits with 40 % wrong"
        " labels, after the last epoch and at the best epoch on noisy validation labels, nothing"
        f" tuned (`python -m experiments.report {command}`). Nothing stands where nothing was"
        " measured. [Methods ranked](ranking.md) has them side by side.\n",
    ]
    for module in (superloss_jax, *METHODS):
        named = ["superloss"] if module is superloss_jax else methods_of(module)
        text.append(f"## {module.__name__}\n")
        for name in named:
            places = docs_ranking.places(ranked, name)
            text += one_method(module, name, costs.get(name), scores, places)
    return "\n".join(text)


def methods_of(module) -> list[str]:
    """The factories of transforms in a module: what returns a LossTransform."""
    return [name for name in module.__all__ if "LossTransform" in str(
        getattr(getattr(module, name), "__annotations__", {}).get("return", ""))]  # fmt: skip


def one_method(
    module, name: str, cost, scores: dict[str, list[str]], places: Iterable[str]
) -> Iterator[str]:
    doc = getattr(module, name).__doc__
    whole = f"{module.__name__}.{name}"
    yield f"### {name}\n"
    lines = [one.strip() for one in doc.strip().split("\n\n")[0].splitlines()]
    yield " ".join(lines) + "\n"
    for formula in filter(None, docs_formulas.formula_parts(inspect.cleandoc(doc))):
        yield f"```{{math}}\n{formula}\n```\n"
    if source := docs_formulas.reference(inspect.cleandoc(doc)):
        yield f"Source: {source}\n"
    facts = [f"Reference: {{py:func}}`{whole}`"]
    if cost:
        facts.append(f"Cost: step {cost[0]}, losses {cost[1]}")
    own = sorted((row for row in scores if row.split(",")[0] == name), key=len)
    for row in own:  # the method alone comes first
        last, best = (cell.strip("*") for cell in scores[row][:2])
        setting = row.partition(", ")[2]
        said = f"Accuracy with {setting}" if setting else "Accuracy"
        facts.append(f"{said}: {last} % last, {best} % best")
    yield "".join(f"- {fact}\n" for fact in [*facts, *places])


# --- Results. -------------------------------------------------------------------------------------


def printed(root: pathlib.Path, command: str) -> str:
    """What a command of experiments.report prints."""
    out, arguments = io.StringIO(), sys.argv
    words = [re.sub(r"^--workdir=", f"--workdir={root}/", one) for one in shlex.split(command)]
    sys.argv = ["report", *words]
    try:
        with contextlib.redirect_stdout(out):
            report.main()
    finally:
        sys.argv = arguments
    return out.getvalue()


def commands(root: pathlib.Path) -> dict[str, str]:
    """For each directory of results/ the command of its table, as a document has it if one does."""
    found = {path.name: f"table --workdir=results/{path.name}"
             for path in sorted((root / "results").iterdir())
             if (path / packed.RUNS).exists()}  # fmt: skip
    for document in sorted((root / "docs").glob("*.md"), reverse=True):
        text = " ".join(document.read_text().split())
        for name, options in re.findall(COMMAND, text):
            if name in found:
                found[name] = f"table --workdir=results/{name}{options}"
    return found


def results_page(root: pathlib.Path) -> str:
    rows, text = [], []
    for name, command in commands(root).items():
        shown = printed(root, command)
        read_in = quoted_by(root, rf"results/{name}\b")
        runs = re.search(r"\d+ runs?; [^;]*; [^;]*", shown)
        rows.append([f"[{name}](#{name})", runs[0] if runs else "", read_in])
        text += [f"## {name}\n", f"```sh\npython -m experiments.report {command}\n```\n", shown]
        text += [f"What it means: {read_in}.\n"] * bool(read_in)
    head = [
        "# All results\n",
        "Each directory of [`results/`](../results) holds the packed runs of a sweep. Its table is"
        " made from them at each build of this site, by the command above it.\n",
        table(["directory", "runs; data; model", "read in"], rows),
    ]
    return "\n".join(head + text)


def quoted_by(root: pathlib.Path, pattern: str) -> str:
    """Links to the documents in which a pattern occurs."""
    names = [one.stem for one in sorted((root / "docs").glob("*.md"))
             if re.search(pattern, one.read_text())]  # fmt: skip
    return ", ".join(f"[{name}](../{name}.md)" for name in names)


# --- Benchmarks. ----------------------------------------------------------------------------------


def benchmarks_page(root: pathlib.Path) -> str:
    """What each scripts/bench_*.py measures, and the documents that quote it."""
    rows = []
    for path in sorted((root / "scripts").glob("bench_*.py")):
        doc = ast.get_docstring(ast.parse(path.read_text())) or ""
        said = " ".join(doc.split("\n\n")[0].split())
        places = quoted_by(root, rf"scripts[./]{path.stem}\b")
        rows.append([f"`python -m scripts.{path.stem}`", said, places])
    text = [
        "# Benchmarks\n",
        "Each is a command, and the documents that quote it say what it was measured on.\n",
        table(["command", "what", "quoted by"], rows),
    ]
    return "\n".join(text)


MADE: dict[str, Callable[[pathlib.Path], str]] = {
    "config.md": config_page, "methods.md": methods_page, "results.md": results_page,
    "benchmarks.md": benchmarks_page, "ranking.md": docs_ranking.ranking_page,
}  # fmt: skip


def write(root: pathlib.Path, out: pathlib.Path) -> None:
    """Writes all pages that are made."""
    out.mkdir(exist_ok=True)
    for name, make in MADE.items():
        text, file = make(root), out / name
        if not file.exists() or file.read_text() != text:
            file.write_text(text)


if __name__ == "__main__":
    streams.keep()
    write(ROOT, ROOT / "docs" / "generated")
