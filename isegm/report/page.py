"""What every page has in common: one file of hand-written HTML, with style, script and pictures in it."""

from collections.abc import Mapping, Sequence
from importlib import resources

from isegm.evaluation.overview import LEGEND
from isegm.report.tables import Table, as_html, text

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
"""What the page may do: nothing is ever fetched, whatever a name in it might try."""


def page(title: str, body: Sequence[str]) -> str:
    """A whole page.

    Args:
        title: Of the window.
        body: Its parts, as HTML.
    """
    style, script = (
        resources.files(__package__).joinpath(f"page.{kind}").read_text("utf-8") for kind in ("css", "js")
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<title>{text(title)}</title>
<link rel="icon" href="data:,">
<style>
{style}</style>
</head>
<body>
{chr(10).join(part for part in body if part)}
<script>
{script}</script>
</body>
</html>
"""


def header(title: str, under: Sequence[str]) -> str:
    """The title, and lines below it."""
    lines = "".join(f'<p class="under">{text(line)}</p>' for line in under)
    return f"<header><h1>{text(title)}</h1>{lines}</header>"


def warnings(lines: Sequence[str]) -> str:
    """What a reader has to know before any figure; nothing where there is nothing."""
    if not lines:
        return ""
    items = "".join(f"<li>{text(line)}</li>" for line in lines)
    return f'<section class="warnings" aria-label="Warnings"><ul>{items}</ul></section>'


def contents(sections: Mapping[str, str]) -> str:
    """Links to sections: their names by their ids."""
    links = "".join(f'<a href="#{key}">{text(name)}</a>' for key, name in sections.items())
    return f"<nav>{links}</nav>"


def section(key: str, name: str, parts: Sequence[str]) -> str:
    """A part of the page with a heading of its own."""
    inner = "\n".join(part for part in parts if part)
    return f'<section id="{key}"><h2>{text(name)}</h2>\n{inner}\n</section>'


def heading(name: str) -> str:
    """A heading within a section."""
    return f"<h3>{text(name)}</h3>"


def titled(table: Table) -> str:
    """A table with its title."""
    return heading(table.title) + as_html(table)


def note(words: str) -> str:
    """A remark."""
    return f'<p class="note">{text(words)}</p>'


def figures(plots: Sequence[tuple[str, str]]) -> str:
    """Plots side by side.

    Args:
        plots: What each shows, and its SVG.
    """
    found = "".join(f"<figure><figcaption>{text(words)}</figcaption>{svg}</figure>" for words, svg in plots)
    return f'<div class="plots">{found}</div>'


def facts(values: Mapping[str, str]) -> str:
    """Names and values."""
    return (
        '<dl class="facts">'
        + "".join(f"<dt>{text(k)}</dt><dd>{text(v)}</dd>" for k, v in values.items())
        + "</dl>"
    )


def legend() -> str:
    """What the colours in the pictures mean."""
    marks = "".join(
        f'<li style="--mark: rgb{colour}">{text(meaning)}</li>' for meaning, colour in LEGEND.items()
    )
    return f'<ul class="legend">{marks}</ul>'
