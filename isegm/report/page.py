"""Pages made from templates: one file each, with style, script, plots and pictures in it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from isegm.plots import INK, PAPER, RULE, Plot
from isegm.tables import Table, visible

_VARIABLES = {INK: "var(--ink)", RULE: "var(--rule)", PAPER: "var(--paper)"}
"""The colours of plots that a page replaces by its own."""


@dataclass(frozen=True)
class Page:
    """A page, and what goes beside it.

    Attributes:
        html: The page.
        tables: What stands in it as tables.
        plots: What stands in it as plots, by file name without a suffix.
        rows: What else is written, as CSV, by file name.
    """

    html: str
    tables: tuple[Table, ...]
    plots: Mapping[str, Plot]
    rows: Mapping[str, Sequence[Sequence[object]]] = field(default_factory=dict)


def render(template: str, **values: Any) -> str:  # noqa: ANN401 - whatever the template shows
    """Make a page.

    Args:
        template: The name of a file in ``templates``.
        values: What it shows. Every text is escaped, and what would act without being seen is replaced.
    """
    return _environment().get_template(template).render(values)


def inline(plot: Plot) -> str:
    """Return a plot's SVG for a page: as wide as its place, in the page's font, ink and paper."""
    svg = plot.svg[plot.svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' (width|height)="[^"]*pt"', "", svg, count=2)
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, variable)
    return svg.replace("<svg", '<svg role="img"', 1).strip()


def file_names(names: Sequence[str]) -> dict[str, str]:
    """Return a different name for each that every file system takes."""
    found: dict[str, str] = {}
    for name in names:
        plain = "".join(
            sign if sign.isascii() and (sign.isalnum() or sign in "-_") else "_" for sign in name
        )[:60]
        taken = {other.lower() for other in found.values()}
        choices = [plain or "_", *(f"{plain}_{number}" for number in range(2, len(names) + 2))]
        found[name] = next(choice for choice in choices if choice.lower() not in taken)
    return found


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("isegm.report"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["inline"] = inline
    return environment


def _shown(value: object) -> object:
    """Replace what cannot be seen in a value that a template shows; markup is of our own making."""
    return visible(value) if type(value) is str else value
