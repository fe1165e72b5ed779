"""Runs of volumes, as an evaluation leaves them, read back and shown."""

import dataclasses
import json

import numpy as np
import pytest

from isegm.errors import InputError
from isegm.evaluation.figures import figures_of
from isegm.evaluation.protocol import VolumeProtocol
from isegm.evaluation.record import Job
from isegm.evaluation.volume_output import VolumeRunFolder
from isegm.pictures import write_image
from isegm.report.comparison_page import make_comparison
from isegm.report.run_page import make_report
from isegm.report.stored_run import read_run
from tests.evaluation.volumes_by_hand import volume_result
from tests.report.by_hand import Reader, small_run

PROTOCOL = VolumeProtocol()
WHOLE = [volume_result([0.5, 0.6, 0.7, 0.8, 0.92], "a"), volume_result([0.95] * 5, "b", nsds=[0.5] * 5)]
BY_SLICE = [volume_result([(n + 1) / 40 for n in range(38)], name, nsds=(), slices=30) for name in "ab"]


@pytest.fixture
def run_of(tmp_path):
    """Writes a run of two volumes, propagated and slice by slice."""

    def write(name, whole=WHOLE):
        folder = VolumeRunFolder(tmp_path / name, by_checkpoint=True)
        rows = []
        for model, results in (("net", whole), ("net-slice-by-slice", BY_SLICE)):
            numbered = dict(enumerate(results))
            rows.append(figures_of(model, "hr18s", "liver", numbered, PROTOCOL, 7.0))
            about = {"settings": dataclasses.asdict(PROTOCOL)}
            folder.save_results(Job(model, "liver"), rows, numbered, PROTOCOL, about)
        return tmp_path / name

    return write


def test_a_run_is_read_back_with_all_clicks_of_every_method(run_of):
    run = read_run(run_of("run"))

    assert (run.is_of_volumes, run.unit, run.metric, run.target, run.tolerance) == (
        True,
        "mm",
        "dice",
        0.9,
        2.0,
    )
    whole, by_slice = run.groups
    assert (run.n_clicks, whole.n_clicks, by_slice.n_clicks) == (20, 20, 38)
    assert [lines[0].scores for lines in by_slice.samples] == [result.scores for result in BY_SLICE]
    assert whole.samples[0][0].scores == (0.5, 0.6, 0.7, 0.8) + (0.92,) * 16
    assert [lines[0].nsds for lines in whole.samples] == [result.nsds for result in WHOLE]


def test_the_page_shows_what_volumes_have_and_pictures_do_not(run_of):
    folder = run_of("run")
    write_image(folder / "pictures" / "net" / "liver" / "a.jpg", np.full((36, 54, 3), 90, np.uint8))
    page = make_report(read_run(folder), [])
    tables = {table.title: table for table in page.tables}

    challenge = [[cell.text for cell in row[2:]] for row in tables["Challenge"].rows]
    # The means of 2.81 and 3.8, of 2.81 and 2.0, of 0.92 and 0.95, of 0.92 and 0.5.
    assert challenge == [["3.305", "2.405", "0.935", "0.710"], ["-"] * 4]
    nocs = [[cell.text for cell in row[3:6]] for row in tables["Number of clicks of Dice"].rows]
    assert nocs == [["2.50", "3.00", "3.00"], ["32.00", "34.00", "36.00"]]
    assert "HD95, mm" in tables["Final masks"].header
    slices = tables["Time"].header.index("Slices clicked")
    assert [row[slices].text for row in tables["Time"].rows] == ["2.0", "30.0"]
    assert page.html.count('src="data:image/webp;base64,') == 1
    assert "there is no such picture" in page.html
    assert "NoC counts clicks to a Dice, not to an IoU" not in page.html
    assert "2 volumes" in page.html
    assert Reader(page.html).elements


def test_slice_by_slice_keeps_all_its_clicks_in_a_comparison(run_of):
    page = make_comparison([read_run(run_of("one")), read_run(run_of("other", WHOLE[::-1]))])
    rows = page.rows["differences.csv"]
    noc = {(row[3], row[4], row[1]): row[5:] for row in rows if row[2] == "NoC@90"}

    assert noc["one/net", "one/net-slice-by-slice", "a"] == [5.0, 36.0]
    assert noc["one/net", "one/net-slice-by-slice", "b"] == [1.0, 36.0]
    assert {row[2] for row in rows[1:]} >= {"NoC@90", "DSC AUC", "Final Dice"}
    assert "AUC IoU" not in {row[2] for row in rows}


def test_volumes_and_pictures_are_not_compared(run_of, tmp_path):
    slices = read_run(small_run(tmp_path / "slices", metric="dice"))
    with pytest.raises(InputError, match=r"slices: is of pictures, and .*run of volumes"):
        make_comparison([read_run(run_of("run")), slices])


def test_a_target_of_nothing_is_refused(run_of):
    path = run_of("run") / "results.json"
    document = json.loads(path.read_text())
    document["settings"]["target_dice"] = 0
    path.write_text(json.dumps(document))
    with pytest.raises(InputError, match="target_dice must be above 0"):
        read_run(path.parent)
