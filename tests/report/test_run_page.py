import math
import re

import numpy as np
import pytest

from isegm.compare.summary import summarise
from isegm.evaluation.record import FinalScores
from isegm.pictures import write_image
from isegm.report.page import file_names
from isegm.report.run_page import histogram, make_report, window_text
from isegm.report.stored_run import read_run
from isegm.report.write import write_report
from tests.evaluation.by_hand import result_of
from tests.report.by_hand import HOSTILE, Reader, small_run, square, write_dataset, write_run

SCORES = [[0.5, 0.82, 0.9], [0.1, 0.2, 0.3, 0.9], [0.1, 0.84, 0.6, 0.7]]
FINALS = [FinalScores(0.9, 2.0, 1.0), FinalScores(0.8, 4.0, 0.5), FinalScores(0.0, math.nan, 0.0)]


@pytest.fixture
def report_of(tmp_path):
    def report_of(results, datasets=(), **options):
        return make_report(
            read_run(write_run(tmp_path / "run", {("hr32", "liver"): results}, **options)), datasets
        )

    return report_of


@pytest.fixture
def three():
    return [
        result_of(scores, name=f"s{number}", final=final, seconds=0.5)
        for number, (scores, final) in enumerate(zip(SCORES, FINALS, strict=True))
    ]


def row_of(report, title, row=0):
    """A row of a table by column: text and what stands beside it."""
    (table,) = [table for table in report.tables if table.title == title]
    return dict(zip(table.header, table.rows[row], strict=True))


def test_the_table_of_clicks_by_hand(report_of, three):
    row = row_of(report_of(three), "Number of clicks")
    nocs = {"NoC@80": "2.67", "NoC@85": "3.67", "NoC@90": "3.67"}
    counts = {">=4@85": "2", ">=4@90": "2", "failed@85": "1", "failed@90": "1"}
    names = {"Model": "hr32", "Data set": "liver", "Samples": "3"}
    assert {name: cell.text for name, cell in row.items()} == names | nocs | counts
    assert row["NoC@80"].note == "2.00 to 4.00"


def test_an_interval_is_the_one_that_metricas_gives_of_the_same_numbers(report_of):
    dices = np.random.default_rng(5).uniform(0.5, 1, 30)
    results = [result_of([d / (2 - d)], name=str(number)) for number, d in enumerate(dices)]
    low, high = summarise(dices).ci95
    assert row_of(report_of(results), "Quality by clicks")["Dice@1"].note == f"{low:.3f} to {high:.3f}"


def test_the_tables_of_masks_and_time_by_hand(report_of, three):
    report = report_of(three)
    quality = row_of(report, "Quality by clicks")
    assert list(quality) == ["Model", "Data set", "Dice@1", "Dice@3", "AUC IoU", "AUC Dice"]
    assert quality["Dice@1"].text == f"{(1 / 1.5 + 2 * 0.2 / 1.1) / 3:.3f}"
    assert quality["AUC IoU"].text == f"{(0.7 / 6 + 1.86 / 3 + 0.6 + 2.5 / 6) / 3:.3f}"
    final = row_of(report, "Final masks")
    assert (final["Dice"].text, final["Dice"].note) == ("0.800", "0.400 to 0.850")
    assert (final["HD95, px"].text, final["HD95, px"].note) == ("3.00", "2.50 to 3.50")
    assert final["HD95 undefined"].text == "1"
    time = row_of(report, "Time")
    assert [time[name].text for name in ("First click, s", "SPC, s", "Clicks placed", "Time")] == [
        "0.500", "0.500", "3.67", "0:00:07"
    ]  # fmt: skip


def test_the_first_click_is_timed_apart_from_the_others(report_of):
    results = [result_of([0.5, 0.6, 0.9], name=name) for name in "ab"]
    for result, seconds in zip(results, ((2.0, 0.1, 0.3), (4.0, 0.2, 0.2)), strict=True):
        object.__setattr__(result, "seconds", seconds)
    time = row_of(report_of(results), "Time")
    assert [time[f"{kind} click, s"].text for kind in ("First", "Further")] == ["3.000", "0.200"]
    assert time["SPC, s"].text == f"{6.8 / 6:.3f}"


def test_samples_without_a_click_have_no_time(report_of):
    time = row_of(report_of([result_of([1.0], clicks=0)]), "Time")
    assert [time[name].text for name in ("First click, s", "Further click, s", "SPC, s")] == ["-"] * 3


def test_several_seeds_show_their_mean_and_spread_and_are_counted_once_a_sample(report_of):
    first = [result_of([0.5, 0.9], name=name) for name in "ab"]  # NoC@90 2
    second = [result_of([0.9], name=name) for name in "ab"]  # 1
    report = report_of([first, second])
    assert row_of(report, "Number of clicks")["Samples"].text == "2"
    assert row_of(report, "Number of clicks")["NoC@90"].text == "1.50"
    robust = row_of(report, "Robustness to the click model's seed")
    assert robust["Seeds"].text == "2"
    assert (robust["NoC@90"].text, robust["NoC@90"].note) == ("1.50", "± 0.71")
    assert "2 samples, at most 4 clicks, until IoU 0.9, 2 seeds" in report.html
    assert report_of(first).html.count("Robustness") == 0


def test_thresholds_that_clicking_did_not_go_up_to_are_not_known(report_of, three):
    row = row_of(report_of(three, target_iou=0.85), "Number of clicks")
    assert [row[name].text for name in ("NoC@85", "NoC@90", ">=4@90", "failed@90")] == ["3.67", "?", "?", "?"]
    report = report_of(three, target_iou=0.5)
    assert row_of(report, "Number of clicks")["NoC@80"].text == "?"
    assert "clicks to IoU 0.5" in report.html


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {},
            "Clicking stopped at IoU 0.9 and the last value is carried on: curves, areas, Dice after clicks",
        ),
        ({"metric": "dice"}, "NoC counts clicks to a Dice, not to an IoU"),
        (
            {"about": {"warnings": ["liver: looks like another window"]}},
            "<li>liver: looks like another window</li>",
        ),
    ],
)
def test_what_a_reader_has_to_know_stands_above_all_figures(report_of, three, settings, said):
    page = report_of(three, **settings).html
    warnings = page[page.index('<section class="warnings"') : page.index("<nav>")]
    assert said in warnings
    assert page.index("<nav>") < page.index("<table>")


def test_where_all_clicks_were_used_and_all_pictures_are_there_nobody_is_warned(tmp_path, three):
    folder = write_run(tmp_path / "run", {("hr32", "liver"): three}, target_iou=1.01)
    truth = square(slice(20, 40), slice(30, 50))
    dataset = write_dataset(tmp_path, "liver", dict.fromkeys(("s0", "s1", "s2"), truth))
    for name in dataset.names:
        write_image(folder / "predictions" / "liver" / f"{name}.png", truth.astype(np.uint8) * 255)
    page = make_report(read_run(folder), [dataset]).html
    assert 'class="warnings"' not in page
    assert page.count('src="data:image/webp;base64,') == 3
    assert "Without pictures of liver" in make_report(read_run(folder), []).html


def test_a_data_set_without_any_result_is_still_reported(report_of):
    report = report_of([])
    assert row_of(report, "Number of clicks")["Samples"].text == "0"
    assert "hr32: no sample has a result" in report.html
    assert report.plots == {}


def test_samples_without_a_result_are_counted_above_and_listed_with_their_reasons(report_of):
    problems = [f"s{number}.png: not a readable picture" for number in range(5)]
    page = report_of([result_of([0.9])], problems=problems).html
    assert (
        "hr32 on liver: 5 samples could not be evaluated: s0.png: not a readable picture; s1.png: not a "
        "readable picture; s2.png: not a readable picture; and 2 more" in page
    )
    # Among the samples each stands with its reason.
    section = page[page.index('<section id="samples-0">') : page.index('<section id="about">')]
    assert "<h3>5 samples without a result</h3>" in section
    assert re.findall("<li>(.*?)</li>", section) == problems
    page = report_of([], problems=[f"{HOSTILE}{number}" for number in range(1000)]).html
    assert page.count("<li>&lt;script&gt;") == 50
    assert "<li>and 950 more</li>" in page


def test_everything_the_figures_depend_on_stands_at_the_end(report_of, three):
    about = {
        "started": "2026-01-02T03:04:05+00:00",
        "checkpoints": [{"name": "hr32", "path": "weights/hr32.pth", "sha256": "ab12", "windows": ["liver"]}],
        "datasets": [
            {"name": "liver", "samples": 3, "sha256": "cd34", "window": {"level": 40, "width": 400}}
        ],
        "versions": {"isegm": "1.2.3"},
        "device": {"type": "cpu", "compiled": False},
    }
    page = report_of(three, about=about, thresh=0.25).html
    last = re.sub(r"<[^>]*>", "|", page[page.index('<section id="about">') :])
    for fact in (
        "thresh||0.25",
        "sha256||ab12",
        "CT windows||liver",
        "sha256||cd34",
        "isegm||1.2.3",
        "compiled||no",
    ):
        assert fact in last
    assert "CT window||level 40, width 400 HU" in last
    assert "2026-01-02 03:04:05 UTC" in page
    assert "CT window||not known" in re.sub(
        r"<[^>]*>", "|", report_of(three, about={"datasets": [{"name": "liver", "window": None}]}).html
    )


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "not known"),
        ({"level": 40, "width": 400.0}, "level 40, width 400 HU"),
        (
            {"liver": {"level": 40, "width": 400}, "lung": None},
            "liver: level 40, width 400 HU; lung: not known",
        ),
        ([["a", 3], "b"], "a; 3; b"),
        ({"a": {"b": {"c": {"d": 1}}}}, "a: b: -"),
    ],
)
def test_windows_are_told_in_words_whatever_form_they_have(value, words):
    assert window_text(value) == words


def test_hostile_names_are_shown_and_do_nothing(tmp_path):
    about = {"warnings": [HOSTILE], "checkpoints": [{HOSTILE: HOSTILE}], "started": HOSTILE}
    plain = write_run(tmp_path / "a", {("m", "d"): [result_of([0.5, 0.9], name="n")]}, about={
        "warnings": ["w"], "checkpoints": [{"k": "v"}], "started": "s"})  # fmt: skip
    hostile = write_run(
        tmp_path / "b", {(HOSTILE, HOSTILE): [result_of([0.5, 0.9], name=HOSTILE)]}, about=about
    )
    pages = [make_report(read_run(folder), []).html for folder in (plain, hostile)]
    readers = [Reader(page) for page in pages]
    assert readers[0].elements == readers[1].elements
    assert readers[0].attributes == readers[1].attributes
    assert readers[1].elements.count("script") == 1
    assert "<script>alert" not in pages[1]
    assert pages[1].count("&lt;script&gt;alert(&#34;1&#34;)") >= 8


def test_a_page_asks_nothing_of_any_network(tmp_path):
    page = make_report(read_run(small_run(tmp_path)), []).html
    assert not re.findall(r'(?:src|href|action)="(?!#|data:)', page)
    assert not re.findall(r"url\((?!#|&quot;#)|@import|fetch\(|XMLHttpRequest", page)
    assert "default-src 'none'" in page


def test_a_histogram_counts_what_was_needed_and_what_never_came(tmp_path):
    results = [result_of(scores, name=str(number)) for number, scores in enumerate(SCORES)]
    run = read_run(write_run(tmp_path, {("m", "d"): [results, results]}))
    found = histogram(run.groups[0], 0.9, 4)
    np.testing.assert_array_equal(found.counts, [0, 0, 2, 2])
    assert found.failures == 2


def test_names_of_files_are_plain_and_different():
    names = ["liver", "Liver", "a/b", "a b", "", "ä", "x" * 300]
    found = file_names(names)
    assert list(found) == names
    assert found["liver"] == "liver"
    assert len({name.lower() for name in found.values()}) == len(names)
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,70}", name) for name in found.values())


def test_plots_and_tables_lie_beside_the_page_as_files(tmp_path):
    folder = small_run(tmp_path)
    write_report(folder, [])
    kinds = [f"{kind}_{name}" for kind in ("clicks_needed", "iou_by_click") for name in ("liver", "lung")]
    wanted = {f"{kind}.{suffix}" for kind in kinds for suffix in ("png", "svg")} | {"table.md", "table.tex"}
    assert {path.name for path in (folder / "report").iterdir()} == wanted
    assert (folder / "report" / "table.md").read_text().count("| hr32 | liver |") == 4
    assert (folder / "report.html").read_text().startswith("<!DOCTYPE html>")
