"""Pages made from templates: one file each, with style, script, plots and pictures in it."""

import re
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from isegm.plots import INK, PAPER, RULE, Plot
from isegm.tables import visible

_VARIABLES = {INK: "var(--ink)", RULE: "var(--rule)", PAPER: "var(--paper)"}
"""The colours of plots that a page replaces by its own."""


def render(template: str, **values: Any) -> str:  # noqa: ANN401 - whatever the template shows
    """A page.

    Args:
        template: The name of a file in ``templates``.
        values: What it shows. Every text is escaped and shown as it is, control characters as a sign.
    """
    return _environment().get_template(template).render(values)


def inline(plot: Plot) -> Markup:
    """A plot for a page: as wide as its place, in the page's font and its colours for ink and paper."""
    svg = plot.svg[plot.svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' (width|height)="[^"]*pt"', "", svg, count=2)
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, variable)
    return Markup(svg.replace("<svg", '<svg role="img"', 1).strip())  # noqa: S704 - matplotlib has escaped it


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
    """What is written for a value of a template: of a text that is not markup already, what can be seen."""
    return visible(value) if type(value) is str else value
