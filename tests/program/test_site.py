"""The site: its pages, what is generated, formulas; Sphinx itself is not run here."""

import inspect
import json
import re
import types

import numpy as np
import pytest

import superloss_jax
from configs import base
from experiments.keys import values
from scripts import docs_formulas, docs_pages, docs_ranking, docs_tables
from tests.program.test_main import ROOT

DOCS = ROOT / "docs"
PAGES = {module.__name__.removeprefix("superloss_jax."): module for module in docs_pages.PUBLIC}
PAGES["superloss"] = PAGES.pop("superloss_jax")


@pytest.mark.parametrize("page", PAGES)
def test_the_reference_has_every_public_name_once(page):
    module, text = PAGES[page], (DOCS / "api" / f"{page}.md").read_text()
    assert re.findall(r"currentmodule:: (.*)", text)[0] == module.__name__
    listed = re.findall(r"^\.\. auto\w+:: (\w+)$", text, re.MULTILINE)
    modules = {one.__name__.rpartition(".")[2] for one in docs_pages.PUBLIC}
    assert sorted(listed) == sorted({*module.__all__} - modules)


def test_every_public_name_has_a_documentation_of_its_own():
    without = []
    for module in docs_pages.PUBLIC:
        without += [module.__name__] * (not module.__doc__)
        for name in {*module.__all__} - {"Schedule"}:  # an alias of a type
            value = getattr(module, name)
            doc = value.__doc__ or ""
            if doc.startswith(f"{name}("):  # which NamedTuple writes by itself
                doc = ""
            fields = getattr(value, "_fields", ())
            without += [name] * (not doc) + [one for one in fields if f"{one}: " not in doc]
    assert without == []


def test_every_public_module_has_a_page():
    modules = {name for name in superloss_jax.__all__
               if isinstance(getattr(superloss_jax, name), types.ModuleType)}  # fmt: skip
    assert {*PAGES} == modules | {"superloss"}
    assert {path.stem for path in (DOCS / "api").glob("*.md")} == {*PAGES, "index"}


def entries(page):
    """The documents that a page's tables of contents name, as paths below docs/."""
    folder = page.parent
    for block in re.findall(r"```\{toctree\}\n(.*?)```", page.read_text(), re.DOTALL):
        for line in block.splitlines():
            if line and not line.startswith(":"):
                yield (folder / line).relative_to(DOCS).as_posix()


def test_the_contents_reach_every_page_once():
    found = [*entries(DOCS / "index.md"), *entries(DOCS / "api" / "index.md")]
    assert len(found) == len(set(found))
    pages = {path.relative_to(DOCS).with_suffix("").as_posix() for path in DOCS.rglob("*.md")}
    written = {page for page in pages if not page.startswith("generated/")} - {"index"}
    made = {f"generated/{name.removesuffix('.md')}" for name in docs_pages.MADE}
    assert {*found} == written | made


def anchors(text):
    """The anchors of a page's headings, as GitHub and the site make them."""
    text = re.sub(r"(?ms)^```.*?^```", "", text)
    for title in re.findall(r"(?m)^#+ (.*)$", text):
        yield re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def test_links_between_pages_lead_somewhere():
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *DOCS.rglob("*.md")]
    pages = [page for page in pages if page.parent.name != "generated"]
    number = 0
    for page in pages:
        text = re.sub(r"(?ms)^```.*?^```", "", page.read_text())
        for link in re.findall(r"\]\((?!https?:)([^)\s]+)\)", text):
            name, _, anchor = link.partition("#")
            target = page.parent / name if name else page
            if target.parent.name == "generated":
                assert target.name in docs_pages.MADE, f"{page.name}: {link}"
            else:
                assert target.exists(), f"{page.name}: {link}"
                known = {*anchors(target.read_text())} if anchor else {anchor}
                assert anchor in known, f"{page.name}: {link}"
                number += 1
    assert number > 150


@pytest.mark.parametrize("path", sorted((DOCS / "tutorials").glob("*.md")), ids=lambda p: p.stem)
def test_code_of_tutorials_is_python(path):
    cells = re.findall(r"```\{code-cell\} ipython3\n(.*?)```", path.read_text(), re.DOTALL)
    assert cells
    for cell in cells:
        lines = [line for line in cell.splitlines() if not line.startswith(":tags:")]
        if not lines[0].startswith(("!", "%")):
            compile("\n".join(lines), path.name, "exec")
    assert "\\$" not in path.read_text()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("    lam * log(sigma)**2", r"\lambda \,\log (\sigma )^{2}"),
        ("    min over 0 < sigma <= e of x", r"\min_{0<\sigma \le e } x "),
        ("    e^(1 - g)", r"e ^{1-g }"),
        ("    tau   <-  threshold(losses)     detached",
         r"\tau \leftarrow \text{threshold}(\text{losses})\qquad \text{detached}"),
        ("    V_(y_n) if p_min < 1e-4", r"V _{y_{n}}\text{ if }p_{\text{min}}<10^{-4}"),
        ("    P(noisy j | clean i)", r"P (\text{noisy }j \mid \text{clean }i )"),
    ],
)  # fmt: skip
def test_formulas(text, expected):
    assert docs_formulas.row(text) == expected


def test_every_formula_has_its_brackets():
    number = 0
    for module in docs_pages.PUBLIC:
        for name in module.__all__:
            doc = getattr(module, name).__doc__ or ""
            if not isinstance(getattr(module, name), types.ModuleType):
                for formula in docs_formulas.formula_parts(inspect.cleandoc(doc)):
                    number += 1
                    inside = formula.replace(r"\{", "").replace(r"\}", "")
                    assert inside.count("{") == inside.count("}"), name
    assert number > 35


def test_a_docstring_for_sphinx():
    doc = ["Some `lam`s, x_ and y*, `a` or `b`.", "", "    a^2", "", "Args:", "  *x: one.", "",
           ">>> f(`x`)", "    1", "", "Reference: A. Author, \"T\", 2020."]  # fmt: skip
    told = docs_formulas.prepare(doc)
    assert told[0] == r"Some ``lam``\ s, x\_ and y\*, ``a`` or ``b``."
    assert {".. math::", r"    & a ^{2} \\", ">>> f(`x`)", r"  \*x: one."} <= {*told}
    assert told[-1] == '**Reference:** A. Author, "T", 2020.'
    assert docs_formulas.reference("\n".join(doc)) == 'A. Author, "T", 2020.'


def test_config_keys_have_value_and_meaning():
    text = docs_pages.config_page(ROOT)
    assert "| `batch_size` | `64` | examples of a step, over all devices |" in text
    assert "| `noise.rate` | `0.4` | share of the training labels that are made wrong |" in text
    assert "| `residual.loss` | `'huber'` | or l1 or l2, of standardised residuals |" in text
    keys = re.findall(r"^\| `([\w.]+)` \|", text, re.MULTILINE)
    config = dict(values(base.get_config().to_dict()))
    assert {key for key, value in config.items() if not isinstance(value, dict)} <= {*keys}


def test_each_directory_of_results_has_the_command_of_its_document():
    commands = docs_pages.commands(ROOT)
    assert {*commands} == {path.parent.name for path in ROOT.glob("results/*/runs.jsonl")}
    assert commands["digits_table"] == "table --workdir=results/digits_table"
    assert commands["rivals_digits"].endswith("--select=last,best_validation")
    printed = docs_pages.printed(ROOT, commands["digits_table"])
    assert printed in (DOCS / "sweeps.md").read_text()


def test_methods_have_formula_source_cost_score_and_place(monkeypatch):
    monkeypatch.setattr(docs_ranking, "RANKED", {"Digits": "rivals_digits"})
    text = docs_pages.methods_page(ROOT)
    own = text[text.index("### early_learning\n") :].split("\n### ")[0]
    assert r"\langle t_{i},p \rangle" in own
    assert "Early-Learning Regularization" in own
    assert "step 1.29, losses 16.45" in own
    assert "96.5 ± 0.8 % last, 95.8 ± 1.2 % best" in own
    assert "- [Place](ranking.md) in the last epoch: Digits 1 of 26\n" in own
    names = re.findall(r"^### (\w+)$", text, re.MULTILINE)
    assert len(names) == len(set(names)) > 30
    assert {"superloss", "co_teaching", "remembered_superloss"} <= {*names}


def test_benchmarks_are_all_listed():
    text = docs_pages.benchmarks_page(ROOT)
    for path in (ROOT / "scripts").glob("bench_*.py"):
        assert f"`python -m scripts.{path.stem}`" in text


def test_places_are_those_of_the_means_by_a_plain_loop():
    scores, clean = {}, {}
    for line in (ROOT / "results/remembered_cifar10/runs.jsonl").read_text().splitlines():
        run = json.loads(line)["results"]
        data, noise = run["config"]["data"]["name"], run["noise"]["realised_rate"]
        method = run["config"]["loss"]["method"]
        if data == "cifar10" and method not in ("remembered_superloss",):
            for_rate = scores if noise else clean
            for_rate.setdefault(method, []).append(100 * run["test_accuracy"]["last"])
    made = [*docs_ranking.of_sweep(ROOT, "A", "remembered_cifar10")]
    assert [one.title for one in made] == ["A, cifar10", "A, cifar10n worse"]
    lines = [line for line in made[0].lines if "remembered" not in line.row]
    assert [line.row for line in lines] == sorted(scores, key=lambda one: -np.mean(scores[one]))
    for line in lines:
        np.testing.assert_allclose(sorted(line.scores["last"]), sorted(scores[line.row]))
        np.testing.assert_allclose(sorted(line.clean), sorted(clean[line.row]))
    assert sorted(line.places["best_validation"] for line in made[0].lines) == [*range(1, 8)]
    text = docs_ranking.of_data(made[0])
    assert "| 7 | cross_entropy | 38.4 ± 0.7 | 7 | 55.2 ± 0.1 | 66.5 ± 0.4 |" in text
    assert "`python -m experiments.report table --workdir=results/remembered_cifar10 " in text


def cells(*columns):
    return [docs_ranking.Cell([], {(seed,): value for seed, value in column.items()})
            for column in columns]  # fmt: skip


def test_scores_are_means_over_noises_for_each_seed():
    both = cells({0: 1.0, 1: 2.0, 2: 9.0}, {1: 4.0, 0: 5.0})
    assert docs_ranking.by_seed(both) == [3.0, 3.0]
    assert docs_ranking.by_seed(cells({0: 1.0}, {})) == docs_ranking.by_seed([]) == []
    assert docs_ranking.text([], 1) == "-"


def test_ahead_is_an_interval_above_zero():
    plain = cells({0: 1.0, 1: 2.0, 2: 3.0})[0]
    above, below, near, single = cells({0: 2.0, 1: 3.1, 2: 4.0}, {0: 0.0, 1: 0.9, 2: 2.0},
                                       {0: 9.0, 1: 2.1, 2: 3.1}, {0: 9.0})  # fmt: skip
    given = [above, below, near, single]
    assert [*docs_ranking.signs(1, given, [plain] * 4)] == [1, -1, 0]
    assert [*docs_ranking.signs(-1, given, [plain] * 4)] == [-1, 1, 0]


@pytest.mark.parametrize(
    ("last", "best", "said"),
    [
        ([1, 0], [0, 0], "try it"),
        ([1, 0], [0, -1], "try it beside the plain loss"),
        ([1, -1], [1, 1], "try it beside the plain loss"),
        ([0], [1], "try it"),
        ([0], [0], "not told from the plain loss"),
        ([0], [-1], "rather not"),
        ([-1], [1], "try it beside the plain loss"),
        ([], [], "not compared here"),
    ],
)
def test_advice(last, best, said):
    assert docs_ranking.advice(last, best) == said
    assert docs_ranking.counted([1, 0, 1, -1]) == "2 / 1 of 4"
    assert docs_ranking.counted([]) == ""


def test_a_state_has_the_size_of_its_arrays():
    assert docs_ranking.state_size("early_learning") == 50_000 * 10 * 4
    assert docs_ranking.state_size("focal") == 0
    assert docs_ranking.state_size("superloss") == 8  # tau and the number of losses
    shown = [docs_ranking.size_text(size) for size in (0, 12, 16_000, 400_012, 2_000_000)]
    assert [one.replace("\u00a0", " ") for one in shown] == [
        "",
        "12 B",
        "16 kB",
        "0.4 MB",
        "2.0 MB",
    ]


def test_captions_and_long_tables_are_folded():
    head, row = "| method | x |\n| --- | --- |\n", "| a | 1.0 ± 0.1 |\n"
    caption = "Test accuracy in %; mean ± sample standard deviation; n = 3."
    opened = f"# A\n\n{head}{row * 35}\nTest and see.\n"
    assert docs_tables.fold(opened) == opened
    folded = docs_tables.fold(f"{head}{row * 36}\n{caption}\n\nMade by `x`.\n")
    assert folded == (
        f":::{{dropdown}} 36 rows\n{head}{row * 36}:::\n\n"
        f":::{{dropdown}} How these numbers were made\n{caption}\n:::\n\n\nMade by `x`.\n"
    )


def test_every_method_is_ranked_with_its_needs():
    found = [*docs_ranking.of_sweep(ROOT, "Digits", "suspects_digits")]
    text = docs_ranking.overview(ROOT, found)
    rows = docs_tables.rows_of(text, "| method | needs")
    methods = {*docs_ranking.METHODS} - {*docs_ranking.PLAIN}
    assert {name[1:].partition("]")[0] for name in rows} == methods
    assert methods <= docs_ranking.needs(ROOT).keys()
    own = rows["[early_learning](methods.md#early-learning)"]
    assert own[:3] == ["`logits`, `index`", "2.0\u00a0MB", "1.29"]
    for name in docs_ranking.RANKED.values():
        assert (ROOT / "results" / name / "runs.jsonl").exists()
