import html
import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from jinja2 import UndefinedError

from isegm import plots
from isegm.plots import Histogram, plot_histograms
from isegm.report import page
from isegm.tables import Cell, Table
from tests.report.by_hand import HOSTILE, Reader

words = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


def grid(*arguments, **options):
    """A table as the pages have it."""
    return str(page._environment().get_template("parts.html").module.grid(Table(*arguments, **options)))


def test_a_table_by_hand():
    rows = [[Cell("a_b"), Cell("5.50", "4.40 to 7.20")], [Cell("c|d"), Cell("-")]]
    content = grid("Clicks", ["Model", "NoC@90"], rows, names=1, note="Fewer is better.")
    reader = Reader(content)
    assert [cell.strip() for cell in reader.cells[:4]] == ["Model", "NoC@90", "a_b", "5.50 4.40 to 7.20"]
    assert len(re.findall('<t[hd][^>]* class="name"', content)) == 3
    assert '<p class="note">Fewer is better.</p>' in content
    assert "note" not in grid("Clicks", ["Model"], [])


@given(words, words)
@example("\N{RIGHT-TO-LEFT OVERRIDE}a\0b\n", "\N{HEBREW LETTER ALEF}\N{LEFT-TO-RIGHT ISOLATE}")
def test_any_name_is_shown_as_it_is_and_adds_no_element(name, figure):
    plain = Reader(grid("t", ["h"], [[Cell("x", "y")]], names=1))
    reader = Reader(grid(name, ["h"], [[Cell(name, figure or "y")]], names=1))
    assert reader.elements == plain.elements
    assert reader.attributes == plain.attributes
    shown = re.sub(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", "\ufffd", name + " " + (figure or "y"))
    assert reader.cells[1].rstrip("\n") == shown


def test_a_hostile_name_by_hand():
    content = grid(HOSTILE, [HOSTILE], [[Cell(HOSTILE)]])
    escaped = "&lt;script&gt;alert(&#34;1&#34;)&lt;/script&gt; &amp; \\$_{}%|*~^`"
    assert html.unescape(escaped) == HOSTILE
    assert content.count(escaped) == 3


def test_a_template_that_is_given_too_little_fails():
    with pytest.raises(UndefinedError):
        page.render("run.html", title="x")


def test_within_a_page_the_page_decides_on_width_font_and_the_colours_of_ink_and_paper():
    plot = plot_histograms([Histogram("a", np.array([1, 2]), 1)], "samples")
    inline = page.inline(plot)
    root = ElementTree.fromstring(inline)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert root.get("viewBox")
    assert root.get("width") is None
    assert root.get("height") is None
    for variable in ("var(--ink)", "var(--rule)", "var(--paper)"):
        assert variable in inline
        assert variable not in plot.svg
    for colour in (plots.INK, plots.RULE, plots.PAPER):
        assert colour not in inline
    assert "metadata" not in inline
    texts = [
        [element.text for element in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]
        for svg in (inline, plot.svg)
    ]
    assert texts[0] == texts[1] != []
