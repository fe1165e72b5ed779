"""Tables as text, Markdown and LaTeX, with everything in them escaped.

The text form is that of EMC-Click's evaluation, for every tool that prints a table. HTML is made by the
templates of pages (``isegm/report/templates``).
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

UNDEFINED = "-"
"""Shown where a figure cannot be computed."""


class Cell(NamedTuple):
    """A figure, and what stands beside it in brackets: its interval or spread."""

    text: str
    note: str = ""


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        title: What it shows.
        header: A name for each column.
        rows: As long as the header.
        names: How many of the first columns are names, set flush left; the others are figures.
        note: How to read it.
    """

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    names: int = 2
    note: str = ""


def format_number(value: float | None, spec: str, unit: str = "") -> str:
    """A number by a format such as ``.2f``, and its unit; ``UNDEFINED`` for None and NaN."""
    return UNDEFINED if value is None or math.isnan(value) else format(value, spec) + unit


def format_interval(low: float, high: float, spec: str) -> str:
    """A range such as ``0.91 to 0.95``; nothing where the lower end is NaN."""
    return "" if math.isnan(low) else f"{low:{spec}} to {high:{spec}}"


def text_table(header: Sequence[str], rows: Sequence[Sequence[str]], names: int = 1) -> str:
    """Lay a table out in columns of fixed width between bars.

    Args:
        header: A name for each column.
        rows: As long as the header.
        names: How many of the first columns are names, set flush left; the others are set flush right.
    """
    lines = [[visible(cell) for cell in line] for line in (header, *rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    sides = "<" * names + ">" * (len(widths) - names)
    row = "| " + " | ".join(f"{{:{side}{width}}}" for side, width in zip(sides, widths, strict=True)) + " |"
    head, *body = (row.format(*line) for line in lines)
    rule = "-" * len(head)
    return "\n".join([rule, head, rule, *body, rule])


def as_markdown(table: Table) -> str:
    """The table with its title above and its note below."""
    rule = [":--" if i < table.names else "--:" for i in range(len(table.header))]
    rows = [[_markdown(name) for name in table.header], rule]
    rows += [[_markdown(_flat(cell)) for cell in row] for row in table.rows]
    lines = [f"**{_markdown(table.title)}**", "", *(f"| {' | '.join(row)} |" for row in rows)]
    return "\n".join([*lines, *(["", _markdown(table.note)] if table.note else [])]) + "\n"


def as_latex(table: Table) -> str:
    """The table as a LaTeX ``table`` with the rules of the package booktabs."""
    columns = "l" * table.names + "r" * (len(table.header) - table.names)
    rows = [" & ".join(_latex(_flat(cell)) for cell in row) + r" \\" for row in table.rows]
    lines = [
        r"\begin{table}",
        rf"  \caption{{{_latex(' '.join([table.title + '.', table.note]).strip())}}}",
        rf"  \begin{{tabular}}{{{columns}}}",
        r"    \toprule",
        "    " + " & ".join(map(_latex, table.header)) + r" \\",
        r"    \midrule",
        *(f"    {row}" for row in rows),
        r"    \bottomrule",
        r"  \end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def markdown_file(tables: Sequence[Table]) -> str:
    """Several tables as a Markdown file."""
    return "\n".join(map(as_markdown, tables))


def latex_file(tables: Sequence[Table]) -> str:
    """Several tables as a file that a LaTeX document takes in."""
    return "% Needs \\usepackage{booktabs}.\n" + "\n".join(map(as_latex, tables))


def visible(words: str) -> str:
    """The text, with a replacement character for each character that acts without being seen.

    These are control characters, which none of the formats can hold, and those that change the direction of
    all text after them. Letters that are written from right to left stay as they are.
    """
    return re.sub(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", "\N{REPLACEMENT CHARACTER}", words)


def _flat(cell: Cell) -> str:
    return f"{cell.text} ({cell.note})" if cell.note else cell.text


def _markdown(words: str) -> str:
    marked = re.sub(r"([\\`*_{}\[\]#|~$])", r"\\\1", visible(words))
    return marked.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "\N{REPLACEMENT CHARACTER}": "?",
    "±": r"$\pm$",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
}


def _latex(words: str) -> str:
    return "".join(_LATEX.get(sign, sign) for sign in visible(words))
