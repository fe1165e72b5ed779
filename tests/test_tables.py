import math
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from isegm.tables import (
    Cell,
    Table,
    as_latex,
    as_markdown,
    format_interval,
    format_number,
    latex_file,
    markdown_file,
    text_table,
)
from tests.report.by_hand import HOSTILE

TABLE = Table(
    "Clicks",
    ["Model", "NoC@90"],
    [[Cell("a_b"), Cell("5.50", "4.40 to 7.20")], [Cell("c|d"), Cell("-")]],
    names=1,
    note="Fewer is better.",
)
words = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


def test_a_table_of_text_by_hand():
    rows = [["a", "liver", "5.5"], ["long", "b", "12.25"], ["two\nlines", "", "-"]]
    assert text_table(["Model", "Set", "NoC"], rows, names=2).splitlines() == [
        "-----------------------------",
        "| Model     | Set   |   NoC |",
        "-----------------------------",
        "| a         | liver |   5.5 |",
        "| long      | b     | 12.25 |",
        "| two\ufffdlines |       |     - |",
        "-----------------------------",
    ]
    assert text_table(["a"], []).splitlines() == ["-----", "| a |", "-----", "-----"]


def test_numbers_and_intervals_that_are_not_there():
    assert [format_number(value, ".2f", "x") for value in (1.0, 0.126, None, math.nan)] == [
        "1.00x", "0.13x", "-", "-"
    ]  # fmt: skip
    assert format_interval(-1.0, 2.0, "+.1f") == "-1.0 to +2.0"
    assert format_interval(math.nan, math.nan, ".1f") == ""


def test_a_table_by_hand_as_markdown_and_latex():
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
    table = Table(HOSTILE, [HOSTILE], [[Cell(HOSTILE)]])
    assert as_latex(table).splitlines()[6].strip() == (
        r'\textless{}script\textgreater{}alert("1")\textless{}/script\textgreater{} \& '
        r"\textbackslash{}\$\_\{\}\%|*\textasciitilde{}\textasciicircum{}` \\"
    )
    assert as_markdown(table).splitlines()[4] == (
        r'| &lt;script&gt;alert("1")&lt;/script&gt; &amp; \\\$\_\{\}%\|\*\~^\` |'
    )


@pytest.mark.parametrize("name", ["two\nlines", "a\rb", "a\tb", "a\0b", "a\u202eb", "a\u2066b"])
def test_what_acts_without_being_seen_is_a_sign_on_its_line(name):
    table = Table("t", ["a", "b"], [[Cell(name), Cell("1")]])
    assert len(as_markdown(table).splitlines()) == 5
    assert len(as_latex(table).splitlines()) == 10
    assert "\N{REPLACEMENT CHARACTER}" in as_markdown(table)
    assert "?" in as_latex(table)
    assert text_table(["a"], [["\N{HEBREW LETTER ALEF}"]]).count("\N{HEBREW LETTER ALEF}") == 1


def test_files_hold_all_tables():
    assert markdown_file([TABLE, TABLE]).count("**Clicks**") == 2
    latex = latex_file([TABLE, TABLE])
    assert latex.startswith("% Needs \\usepackage{booktabs}.\n")
    assert latex.count(r"\begin{tabular}") == 2
