"""For the site: Markdown tables, written and read."""

import re


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    cells = [[cell.replace("|", "\\|") for cell in line] for line in lines]
    return "".join(f"| {' | '.join(line)} |\n" for line in cells)


def rows_of(text: str, start: str) -> dict[str, list[str]]:
    """The cells of a Markdown table by the first of each row."""
    lines = text[text.index(start) :].split("\n\n")[0].splitlines()[2:]
    cells = [re.split(r"\s*(?<!\\)\|\s*", line.strip()) for line in lines]
    return {first: rest for _, first, *rest, _ in cells}
