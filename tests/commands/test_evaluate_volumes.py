"""The command line of the evaluation of volumes, its files, and runs that are gone on with."""

import json
import shutil
import signal
import subprocess
import sys
import time

import nibabel as nib
import numpy as np
import pytest

from isegm.commands import evaluate_volumes, report
from tests.commands.workspace import REPOSITORY, environment
from tests.evaluation.volumes_by_hand import box, save_pair

pytestmark = pytest.mark.filterwarnings("ignore:.*not like HU")

SHAPE = (48, 40, 7)
OPTIONS = ["--checkpoint=hr32", "--size=64", "--n-clicks=5", "--cpu"]


@pytest.fixture
def volumes(workspace):
    """Two volumes with a box that stands out, and a task of one in which it is cut in two."""
    save_pair(workspace / "liver", "a", box(SHAPE, (10, 30), (8, 28), (1, 6)))
    save_pair(workspace / "liver", "b", box(SHAPE, (15, 35), (12, 30), (2, 5)))
    save_pair(
        workspace / "spleen", "c", box(SHAPE, (5, 15), (5, 15), (0, 3)) | box(SHAPE, (5, 15), (5, 15), (4, 7))
    )
    return workspace


def main(*words):
    return evaluate_volumes.main([*words, *OPTIONS])


def lines_of(run):
    lines = [json.loads(line) for line in (run / "samples.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "seconds"} for line in lines]


def test_a_run_leaves_table_figures_masks_and_pictures(volumes, capsys):
    assert main("liver=liver", "spleen=spleen/labelsTr", "--baseline", "--logs-path=run") == 0
    run = volumes / "run"
    printed = capsys.readouterr().out
    assert printed.startswith((run / "results.txt").read_text())
    assert printed.endswith("Table, figures, masks and pictures are in run\n")

    document = json.loads((run / "results.json").read_text())
    assert document["settings"] == {
        "n_clicks": 5,
        "min_n_clicks": 5,
        "target_dice": 0.9,
        "size": 64,
        "thresh": 0.5,
        "slice_n_clicks": 20,
        "precision": "float32",
        "backend": "torch",
        "baseline_voxels": 400_000,
    }
    assert document["datasets"][0]["labels"] == "1, 2"
    assert document["datasets"][1]["shown_in"] == "level 40, width 350"
    rows = {(row["model"], row["dataset"]): row for row in document["results"]}
    methods = ["hr32", "hr32-slice-by-slice", "geodesic"]
    assert list(rows) == [(method, organ) for method in methods for organ in ("liver", "spleen")]
    assert [row["samples"] for row in rows.values()] == [2, 1] * 3
    assert rows["hr32", "liver"]["final"]["nsd_tolerance_mm"] == 2.0
    assert rows["hr32-slice-by-slice", "liver"]["slices_a_volume"] == (5 + 3) / 2
    assert rows["hr32-slice-by-slice", "liver"]["challenge"]["dice_auc"] is None

    for line in lines_of(run):
        assert line["hd95"] is not None
        place = f"{line['model']}/{line['dataset']}/{line['name']}"
        mask = nib.load(run / "predictions" / f"{place}.nii.gz")
        truth = nib.load(volumes / line["dataset"] / "labelsTr" / f"{line['name']}.nii.gz")
        np.testing.assert_array_equal(mask.affine, truth.affine)
        found, wanted = np.asarray(mask.dataobj) > 0, np.asarray(truth.dataobj) > 0
        assert 2 * (found & wanted).sum() / (found.sum() + wanted.sum()) == pytest.approx(line["dice"])
        assert (run / "pictures" / f"{place}.jpg").is_file()


def test_the_report_has_the_challenges_figures_and_pictures_and_is_made_again(volumes, capsys):
    assert main("liver=liver", "--no-slice-by-slice", "--logs-path=run") == 0
    page = volumes / "run" / "report.html"
    written = page.read_text()
    assert written.count('src="data:image/webp;base64,') == 2
    for words in ("DSC AUC", "NSD AUC", "Slices clicked", "HD95, mm", "2 volumes"):
        assert words in written
    assert "were not at hand" not in written

    page.unlink()
    shutil.rmtree("liver")
    assert report.main(["run"]) == 0
    assert page.read_text() == written


@pytest.mark.slow
def test_volumes_are_compared_with_volumes_only(volumes, evaluate_model, capsys):
    assert main("liver=liver", "--logs-path=one", "--baseline") == 0
    assert main("liver=liver", "--logs-path=other", "--thresh=0.4", "--no-slice-by-slice") == 0
    assert report.main(["one", "other", "--output=compared"]) == 0
    page = (volumes / "compared" / "comparison.html").read_text()
    assert "The protocols differ: thresh is 0.5 in one, 0.4 in other." in page
    assert "one/hr32-slice-by-slice against one/hr32" in page

    slices = ["EMC-Click", "--checkpoint=hr32", "--datasets=spleen", "--eval-mode=fixed64", "--cpu"]
    assert evaluate_model.main([*slices, "--logs-path=slices", "--metric=dice"]) == 0
    assert report.main(["one", "slices", "--output=mixed"]) == 2
    assert "slices: is of pictures, and one of volumes; compare runs of one kind" in capsys.readouterr().err


def test_a_volume_that_cannot_be_used_costs_no_other(volumes, capsys):
    path = volumes / "liver" / "imagesTr" / "a.nii.gz"
    path.write_bytes(path.read_bytes()[:100])
    assert main("liver=liver", "--no-slice-by-slice", "--logs-path=run") == 1
    assert "liver/imagesTr/a.nii.gz" in capsys.readouterr().err
    assert [line["name"] for line in lines_of(volumes / "run")] == ["b"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["liver"], "liver: give an organ and its label volumes, as in liver=Task03_Liver"),
        (
            ["liver=liver", "liver=spleen"],
            "liver=spleen: liver is given twice; evaluate each in a run of its own",
        ),
        (["liver=liver", "spleen=spleen", "--window=lung"], "--window: belongs to one set, but 2 are given"),
        (["bone=liver"], "not one of liver, spleen, lung; give its --labels"),
        (["liver=nowhere"], "nowhere: no such file or folder"),
        (["liver=liver", "--min-n-clicks=2"], "--min-n-clicks: must be 5 to n_clicks, not 2"),
        (["liver=liver", "--target-dice=0"], "--target-dice: must be above 0"),
        (["liver=liver", "--resume"], "--resume: needs --logs-path"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(volumes, words, said, capsys):
    assert main(*words) == 2
    err = capsys.readouterr().err
    assert said in err
    assert len(err.splitlines()) == 1


@pytest.mark.slow
def test_a_killed_run_is_gone_on_with_to_the_same_results(volumes, capsys):
    for number in range(3):
        save_pair(volumes / "liver", f"d{number}", box(SHAPE, (10, 30), (8, 28), (1, 6)))
    words = ["liver=liver", "--no-slice-by-slice"]
    assert main(*words, "--logs-path=plain") == 0

    command = [sys.executable, str(REPOSITORY / "scripts" / "evaluate_volumes.py"), *words, *OPTIONS]
    run = volumes / "killed"
    process = subprocess.Popen([*command, "--logs-path=killed"], env=environment(), stderr=subprocess.DEVNULL)
    end = time.monotonic() + 240
    while not sum(path.read_bytes().count(b"\n") for path in run.glob("journal/1/*.jsonl")):
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = {path: path.read_bytes() for path in run.glob("journal/1/*.jsonl")}
    assert not (run / "report.html").exists()

    assert main(*words, "--logs-path=killed") == 2
    assert "killed: already holds an evaluation; --resume to go on with it" in capsys.readouterr().err
    assert main(*words, "--logs-path=killed", "--thresh=0.4", "--resume") == 2
    assert "settings.thresh: 0.5 then, 0.4 now" in capsys.readouterr().err
    assert main(*words, "--logs-path=killed", "--labels", "1", "--resume") == 2
    assert 'datasets[0].labels: "1, 2" then, "1" now' in capsys.readouterr().err
    assert main(*words, "--logs-path=killed", "--resume") == 0
    assert lines_of(run) == lines_of(volumes / "plain")
    assert {path: path.read_bytes() for path in kept} == kept
    masks = {path.relative_to(run): path.read_bytes() for path in run.glob("predictions/**/*.nii.gz")}
    assert masks == {path: (volumes / "plain" / path).read_bytes() for path in masks}
    assert len(masks) == 5
