"""For the site: Markdown tables, written and read."""

import re

MOST_ROWS = 35  # of a table of results that a page shows unasked
CAPTION = re.compile(
    r"(?m)^(?:Test|Recall|Accuracy|Mean|Wrong|Ours) [^\n]*; mean ± [^\n]*(?=\n\n|\Z)"
)
RESULTS = re.compile(r"(?m)^\| method\b[^\n]*\n(?:\|[^\n]*(?:\n|\Z))+")


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    cells = [[cell.replace("|", "\\|") for cell in line] for line in lines]
    return "".join(f"| {' | '.join(line)} |\n" for line in cells)


def rows_of(text: str, start: str) -> dict[str, list[str]]:
    """The cells of a Markdown table by the first of each row."""
    lines = text[text.index(start) :].split("\n\n")[0].splitlines()[2:]
    cells = [re.split(r"\s*(?<!\\)\|\s*", line.strip()) for line in lines]
    return {first: rest for _, first, *rest, _ in cells}


def fold(text: str) -> str:
    """Captions of results, and very long tables of them, behind a line to click."""

    def long(found: re.Match) -> str:
        number = found[0].rstrip().count("\n") - 1
        return dropdown(f"{number} rows", found[0]) if number > MOST_ROWS else found[0]

    text = RESULTS.sub(long, text)
    return CAPTION.sub(lambda found: dropdown("How these numbers were made", found[0]), text)


def dropdown(title: str, text: str) -> str:
    return f":::{{dropdown}} {title}\n{text.rstrip()}\n:::\n"
