"""For the site: the formulas of docstrings as LaTeX, and docstrings as Sphinx reads them.

A formula is a paragraph that is indented by four spaces, below plain text. It is read sign by
sign: Greek names, functions and subscripts become mathematics, other words stay words.
"""

import re

GREEK = ("alpha", "beta", "gamma", "delta", "epsilon", "kappa", "lambda", "sigma", "tau")
OPERATORS = {
    "<-": r"\leftarrow ", "<=": r"\le ", ">=": r"\ge ", "!=": r"\ne ", "+-": r"\pm ",
    "||": r"\,\|\,", "*": r"\,", "~": r"\sim ", "¦": r"\mid ", "⊗": r"\times ", "=": "=",
    "⟨": r"\langle ", "⟩": r"\rangle ", "+": "+", "-": "-", "/": "/", "<": "<", ">": ">",
}  # fmt: skip
FUNCTIONS = {
    "lam": r"\lambda ", "log": r"\log ", "exp": r"\exp ", "min": r"\min ", "max": r"\max ",
    "ln": r"\ln ", "sum_k": r"\textstyle\sum_k ", "mod": r"\bmod ", "dl": r"dl", "dL": r"dL",
    "dtau": r"d\tau ", "dlam": r"d\lambda ", "dSL": r"d\mathrm{SL}", "dL_q": r"dL_q",
} | {name: rf"\{name} " for name in GREEK}  # fmt: skip
WORD = r"[A-Za-z]{2,}(?:-[A-Za-z]{2,}|'s)?"
TOKEN = re.compile(
    rf"`[^`]*`|<-|<=|>=|!=|\+-|\|\||\*\*|{WORD}(?:_[A-Za-z0-9]+)*|[A-Za-z](?:_[A-Za-z0-9]+)?"
    r"|\d+e-\d+|\d+(?:\.\d+)?|\S"
)
SECTIONS = ("Args:", "Returns:", "Raises:", "Attributes:")
CODE = ("jnp.", "chain(", "transform", "state =")


def latex(lines: list[str]) -> str:
    """The rows of a formula. Wide gaps between its parts stay, and those around "=" do not."""
    rows = [row(text) for text in lines]
    return "\n".join([r"\begin{aligned}", *(rf"& {one} \\" for one in rows), r"\end{aligned}"])


def row(text: str) -> str:
    indent = r"\qquad " if text[4:5] == " " else ""
    text = re.sub(r"\s+(=|<-)\s+", r" \1 ", text.strip())
    return indent + r"\qquad ".join(part(one) for one in re.split(r" {2,}", text))


def part(text: str) -> str:
    """One formula, or words about one."""
    under = re.match(r"(.*?)min over (.*?) of\b(.*)", text)
    if under and re.search("[<{]", under[2]):
        return rf"{part(under[1])}\min_{{{part(under[2])}}} {part(under[3])}"
    for sign, meant in (
        (r" \| ", " ¦ "), (r"<(\w+, \w+)>", r"⟨\1⟩"), (r"(?<=[A-Z]) x (?=[A-Z])", " ⊗ "),
        (r" in \{", r" ∈ {"), (r"\bt0\b", "t_0"),
    ):  # fmt: skip
        text = re.sub(sign, meant, text)
    return pieces(TOKEN.findall(text))


def pieces(tokens: list[str]) -> str:
    found, place = "", 0
    while place < len(tokens):
        token = tokens[place]
        if token in ("**", "^", "_"):
            end = group_end(tokens, place + 1)
            inner = tokens[place + 1 : end]
            inner = inner[1:-1] if inner[0] == "(" else inner
            found += f"{'_' if token == '_' else '^'}{{{pieces(inner)}}}"
        elif is_word(token):
            end = next(
                (i for i in range(place, len(tokens)) if not is_word(tokens[i])), len(tokens)
            )
            words = " ".join(one.strip("`").replace("_", r"\_") for one in tokens[place:end])
            before = " " * (place > 0 and tokens[place - 1] not in {*OPERATORS, "(", "[", "{"})
            after = " " * (end < len(tokens) and tokens[end] not in {*OPERATORS, *"()[]}:,;^_"})
            found += rf"\text{{{before}{words}{after}}}"
        else:
            end = place + 1
            found += symbol(token)
        place = end
    return found


def group_end(tokens: list[str], place: int) -> int:
    """The place after an exponent or index: a token with its sign, or what is in brackets."""
    if tokens[place] != "(":
        return place + 1 + (tokens[place] == "-")
    depth = 0
    for end in range(place, len(tokens)):
        depth += {"(": 1, ")": -1}.get(tokens[end], 0)
        if not depth:
            return end + 1
    raise ValueError(f"formula: expected a closing bracket in {' '.join(tokens)}")


def is_word(token: str) -> bool:
    """Whether a token is written upright: a word, or the name of an argument."""
    if token in FUNCTIONS or not re.match(f"`|{WORD}", token):
        return False
    base, _, below = token.partition("_")
    return not base.isupper() and base not in FUNCTIONS and len(below) != 1


def symbol(token: str) -> str:
    if token in OPERATORS or token in FUNCTIONS:
        return OPERATORS.get(token) or FUNCTIONS[token]
    if token in ("{", "}", "%", "#", "&"):
        return f"\\{token}"
    if number := re.fullmatch(r"1e-(\d+)", token):
        return rf"10^{{-{number[1]}}}"
    base, _, below = token.partition("_")
    if not (base and base.isalpha()):
        return {"∈": r"\in "}.get(token, token)
    name = FUNCTIONS.get(base) or (base if len(base) == 1 else rf"\mathrm{{{base}}}")
    below = below if len(below) < 2 else rf"\text{{{below}}}"
    return f"{name}_{{{below}}}" if below else f"{name} "


# --- Docstrings. ----------------------------------------------------------------------------------


def blocks(doc: list[str]) -> list[tuple[int, int]]:
    """First and last line (exclusive) of what is indented by four spaces in plain text."""
    found, start, section, example = [], None, False, False
    for number, text in enumerate([*doc, "end"]):
        example = text.startswith(">>>") or (example and bool(text))
        if text and not text.startswith(" "):
            section = text.strip() in SECTIONS
        inside = text.startswith("    ") and not section and not example
        if inside and start is None:
            start = number
        elif start is not None and not inside:
            found.append((start, number))
            start = None
    return found


def prepare(doc: list[str]) -> list[str]:
    """The docstring in Sphinx's own words: formulas, code, and the source in bold."""
    new: list[str] = []
    last = 0
    for start, end in blocks(doc):
        lines = doc[start:end]
        new += plain(doc[last:start])
        if any(mark in one for mark in CODE for one in lines):
            new += [".. code-block:: python", "", *lines, ""]
        else:
            new += [".. math::", "", *(f"    {one}" for one in latex(lines).splitlines()), ""]
        last = end
    return new + plain(doc[last:])


def plain(lines: list[str]) -> list[str]:
    """`name` as code, signs as they are, and "Reference:" in bold."""
    paragraphs = re.split(r"(\n[ ]*\n)", "\n".join(lines))
    return "".join(map(prose, paragraphs)).split("\n")


def prose(text: str) -> str:
    if text.lstrip().startswith(">>>"):
        return text
    # A plural's letter is parted from the code by a backslash.
    text = re.sub(r"(?<![`:\w])`([^`]+)`(?!`)(?=(\w?))",
                  lambda found: f"``{found[1]}``" + "\\ " * bool(found[2]), text)  # fmt: skip
    text = re.sub(r"(?m)^(References?|Sources?): ", r"**\1:** ", text)
    halves = re.split(r"(``[^`]+``|\*\*\w+:\*\*)", text)
    halves[::2] = [re.sub(r"([*|]|_(?=\W|$))", r"\\\1", one) for one in halves[::2]]
    return "".join(halves)


def formula_parts(doc: str) -> list[str]:
    """The formulas of a docstring as LaTeX."""
    lines = doc.splitlines()
    own = [lines[start:end] for start, end in blocks(lines)]
    return [latex(one) for one in own if not any(mark in "".join(one) for mark in CODE)]


def reference(doc: str) -> str:
    """What a docstring gives as its source, without line breaks."""
    paragraphs = [" ".join(one.split()) for one in doc.split("\n\n")]
    said = [re.split(r"(?:References?|Sources?): ", one, maxsplit=1)[1:] for one in paragraphs]
    return " ".join(one[0] for one in said if one)
