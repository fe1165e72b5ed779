"""Tables, once as data and then as HTML, Markdown and LaTeX, with everything in them escaped."""

import html
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


def as_html(table: Table) -> str:
    """The table in a box of its own that scrolls where the page is narrow."""
    head = "".join(
        f'<th scope="col"{_kind(table, i)}>{text(name)}</th>' for i, name in enumerate(table.header)
    )
    lines = []
    for row in table.rows:
        cells = "".join(
            f"<td{_kind(table, i)}>{text(cell.text)}"
            + (f" <small>{text(cell.note)}</small>" * bool(cell.note))
            + "</td>"
            for i, cell in enumerate(row)
        )
        lines.append(f"<tr>{cells}</tr>")
    note = f'<p class="note">{text(table.note)}</p>' if table.note else ""
    return (
        '<div class="scroll" tabindex="0" role="region" '
        f'aria-label="{text(table.title)}"><table><thead><tr>{head}'
        f"</tr></thead><tbody>{''.join(lines)}</tbody></table></div>{note}"
    )


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


def text(words: str) -> str:
    """Any text as HTML: shown as it is, in an element or in an attribute."""
    return html.escape(_visible(words), quote=True)


def _kind(table: Table, column: int) -> str:
    return ' class="name"' if column < table.names else ""


def _flat(cell: Cell) -> str:
    return f"{cell.text} ({cell.note})" if cell.note else cell.text


def _visible(words: str) -> str:
    """Control characters, which none of the formats can hold, as a sign that something was there."""
    return re.sub(r"[\x00-\x1f\x7f-\x9f]", "\N{REPLACEMENT CHARACTER}", words)


def _markdown(words: str) -> str:
    marked = re.sub(r"([\\`*_{}\[\]#|~$])", r"\\\1", _visible(words))
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
    return "".join(_LATEX.get(sign, sign) for sign in _visible(words))
