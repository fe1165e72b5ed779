import html
import re
from html.parser import HTMLParser

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from isegm.report.tables import Cell, Table, as_html, as_latex, as_markdown, latex_file, markdown_file, text
from tests.report.by_hand import HOSTILE

TABLE = Table(
    "Clicks",
    ["Model", "NoC@90"],
    [[Cell("a_b"), Cell("5.50", "4.40 to 7.20")], [Cell("c|d"), Cell("-")]],
    names=1,
    note="Fewer is better.",
)
words = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


class Reader(HTMLParser):
    """What a browser makes of a page: its elements, and the text in each cell."""

    def __init__(self, content):
        super().__init__()
        self.elements, self.attributes, self.cells = [], [], []
        self.feed(content)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.elements.append(tag)
        self.attributes += [name for name, _ in attributes]
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_data(self, data):
        if self.cells:
            self.cells[-1] += data


def test_a_table_by_hand_in_all_three_forms():
    reader = Reader(as_html(TABLE))
    assert reader.cells[:5] == ["Model", "NoC@90", "a_b", "5.50 4.40 to 7.20", "c|d"]
    assert as_markdown(TABLE).splitlines() == [
        "**Clicks**",
        "",
        "| Model | NoC@90 |",
        "| :-- | --: |",
        "| a\\_b | 5.50 (4.40 to 7.20) |",
        "| c\\|d | - |",
        "",
        "Fewer is better.",
    ]
    assert as_latex(TABLE).splitlines() == [
        r"\begin{table}",
        r"  \caption{Clicks. Fewer is better.}",
        r"  \begin{tabular}{lr}",
        r"    \toprule",
        r"    Model & NoC@90 \\",
        r"    \midrule",
        r"    a\_b & 5.50 (4.40 to 7.20) \\",
        r"    c|d & - \\",
        r"    \bottomrule",
        r"  \end{tabular}",
        r"\end{table}",
    ]


@given(words, words)
def test_any_name_is_shown_as_it_is_and_adds_no_element(name, figure):
    plain = Reader(as_html(Table("t", ["h"], [[Cell("x", "y")]], names=1)))
    reader = Reader(as_html(Table(name, ["h"], [[Cell(name, figure or "y")]], names=1)))
    assert reader.elements == plain.elements
    assert reader.attributes == plain.attributes
    shown = re.sub(r"[\x00-\x1f\x7f-\x9f]", "\ufffd", name + " " + (figure or "y"))
    assert reader.cells[1] == shown


@given(words)
def test_any_name_keeps_a_markdown_row_a_row_of_as_many_cells(name):
    lines = as_markdown(Table("t", ["a", "b"], [[Cell(name), Cell("1")]])).split("\n")
    assert len(lines) == 6  # with the empty one at the end
    assert len(re.findall(r"(?<!\\)(?:\\\\)*\|", lines[4])) == 3
    assert "<" not in lines[4]


@given(words)
@example("± $")
def test_any_name_keeps_latex_balanced(name):
    line = as_latex(Table("t", ["a", "b"], [[Cell(name), Cell("1")]])).splitlines()[6]
    bare = re.sub(r"\\(textbackslash|textasciitilde|textasciicircum|textless|textgreater)\{\}", "", line)
    bare = re.sub(r"\\[&%$#_{}]|\$\\pm\$", "", bare)
    assert bare.endswith(r" & 1 \\")
    assert not set(bare[: -len(r" & 1 \\")]) & set("\\&%$#_{}~^<>")


def test_a_hostile_name_by_hand():
    assert text(HOSTILE) == "&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt; &amp; \\$_{}%|*~^`"
    assert html.unescape(text(HOSTILE)) == HOSTILE
    table = Table(HOSTILE, [HOSTILE], [[Cell(HOSTILE)]])
    assert as_latex(table).splitlines()[6].strip() == (
        r'\textless{}script\textgreater{}alert("1")\textless{}/script\textgreater{} \& '
        r"\textbackslash{}\$\_\{\}\%|*\textasciitilde{}\textasciicircum{}` \\"
    )
    assert as_markdown(table).splitlines()[4] == (
        r'| &lt;script&gt;alert("1")&lt;/script&gt; &amp; \\\$\_\{\}%\|\*\~^\` |'
    )


@pytest.mark.parametrize("name", ["two\nlines", "a\rb", "a\tb", "a\0b"])
def test_control_characters_break_no_line(name):
    table = Table("t", ["a", "b"], [[Cell(name), Cell("1")]])
    assert len(as_markdown(table).splitlines()) == 5
    assert len(as_latex(table).splitlines()) == 10


def test_files_hold_all_tables():
    assert markdown_file([TABLE, TABLE]).count("**Clicks**") == 2
    latex = latex_file([TABLE, TABLE])
    assert latex.startswith("% Needs \\usepackage{booktabs}.\n")
    assert latex.count(r"\begin{tabular}") == 2
