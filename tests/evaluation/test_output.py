import csv
import json
import math
from dataclasses import replace

import cv2
import numpy as np
import pytest

from isegm.datasets import Sample
from isegm.evaluation.click_loop import SamplePictures
from isegm.evaluation.figures import clicks_sha256, figures_of, format_table
from isegm.evaluation.output import PictureRunFolder, Wanted
from isegm.evaluation.protocol import Protocol
from isegm.evaluation.record import FinalScores, Job, SampleFailure, SampleRecord
from tests.evaluation.by_hand import result_of

PROTOCOL = Protocol(n_clicks=4)
NOTHING_MORE = Wanted()
BROKEN = SampleFailure("b", "b.png: not a readable picture; is it complete?")


@pytest.fixture
def save(tmp_path):
    """Saves results of data set after data set in one folder, as a run does."""

    def save(*parts, wanted=NOTHING_MORE, by_checkpoint=False, protocol=PROTOCOL):
        folder = PictureRunFolder(tmp_path / "run", wanted, by_checkpoint=by_checkpoint)
        rows = []
        for model, dataset, results in parts:
            numbered = dict(enumerate(results))
            rows.append(figures_of(model, "hr18s", dataset, numbered, protocol, 7.0))
            folder.save_results(Job(model, dataset), rows, numbered, protocol, {"started": "now"})
        return tmp_path / "run", rows

    return save


def read_lines(folder):
    return [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]


def test_a_samples_line_says_what_was_clicked_and_what_came_of_it():
    result = result_of([0.25, 0.5, 0.5], clicks=2, seconds=0.12345678)
    record = SampleRecord(Job("hr32", "liver"), 3, result)
    assert record.to_json() == {
        "model": "hr32",
        "dataset": "liver",
        "index": 3,
        "name": "a",
        "clicks": [[0.0, 0.0, True], [1.0, 2.0, False]],
        "ious": [0.25, 0.5, 0.5],
        "seconds": [0.123457, 0.123457],
        "dice": 0.75,
        "hd95": 3.0,
        "nsd": 0.5,
    }
    record = SampleRecord(Job("hr32", "liver", 1), 3, replace(result, metric="dice"))
    assert (record.to_json()["dices"], record.to_json()["seed"]) == ([0.25, 0.5, 0.5], 1)


def test_what_is_undefined_is_null_as_json_has_no_nan(save):
    missed = result_of([0.0] * 4, final=FinalScores(0.0, math.nan, 0.0))
    folder, _ = save(("hr32", "lung", [missed]), ("hr32", "liver", [BROKEN]))
    (line,) = read_lines(folder)
    assert (line["dice"], line["hd95"], line["nsd"]) == (0.0, None, 0.0)
    text = (folder / "results.json").read_text()
    assert "NaN" not in text
    lung, liver = json.loads(text)["results"]
    undefined = {"dice": 0, "hd95": 1, "nsd": 0}
    assert lung["final"] == {"dice": 0, "hd95": None, "nsd": 0, "undefined": undefined, "nsd_tolerance_px": 2}
    assert (liver["auc_iou"], liver["auc_dice"], liver["dice_at"]) == (None, None, {})


def test_samples_are_in_the_order_of_the_data_sets_and_those_without_a_result_are_left_out(save):
    folder, _ = save(
        ("hr32", "lung", [result_of([0.9], "l0"), BROKEN, result_of([0.8], "l2")]),
        ("hr32", "liver", [result_of([0.7], "v0")]),
    )
    assert [(line["dataset"], line["index"], line["name"]) for line in read_lines(folder)] == [
        ("lung", 0, "l0"),
        ("lung", 2, "l2"),
        ("liver", 0, "v0"),
    ]


def test_the_table_and_every_figure_are_kept(save):
    folder, rows = save(
        ("hr32", "lung", [result_of([0.5, 0.82, 0.9]), BROKEN]), ("hr32", "liver", [result_of([0.1] * 4)])
    )
    assert (folder / "results.txt").read_text() == format_table(rows, PROTOCOL) + "\n"
    document = json.loads((folder / "results.json").read_text())
    assert document["started"] == "now"
    lung, liver = document["results"]
    assert lung == {
        "model": "hr32",
        "preset": "hr18s",
        "dataset": "lung",
        "metric": "iou",
        "samples": 1,
        "noc": [
            {"threshold": t, "max_clicks": 4, "samples": 1, "mean": noc, "at_limit": 0, "failures": 0}
            for t, noc in ((0.8, 2.0), (0.85, 3.0), (0.9, 3.0))
        ],
        "mean_iou_by_click": [0.5, 0.82, 0.9, 0.9],
        "auc_iou": pytest.approx((0.25 + 0.82 + 0.9 + 0.45) / 3),
        "auc_dice": pytest.approx((0.5 / 1.5 + 1.64 / 1.82 + 1.8 / 1.9 + 0.9 / 1.9) / 3),
        "dice_at": {"1": pytest.approx(1 / 1.5), "3": pytest.approx(1.8 / 1.9)},
        "final": {
            "dice": 0.75,
            "hd95": 3.0,
            "nsd": 0.5,
            "undefined": {"dice": 0, "hd95": 0, "nsd": 0},
            "nsd_tolerance_px": 2.0,
        },
        "seconds_a_click": 0.5,
        "seconds": 7.0,
        "problems": [BROKEN.problem],
        "clicks_sha256": clicks_sha256([result_of([0.5, 0.82, 0.9])]),
    }
    assert [summary["failures"] for summary in liver["noc"]] == [1, 1, 1]


def test_samples_are_counted_whatever_the_target(save):
    folder, _ = save(("hr32", "lung", [result_of([0.6])] * 2), protocol=Protocol(n_clicks=4, target_iou=0.5))
    (lung,) = json.loads((folder / "results.json").read_text())["results"]
    assert (lung["samples"], lung["noc"]) == (2, [])


def test_only_what_is_wanted_is_written(save):
    folder, _ = save(("hr32", "lung", [result_of([0.9])]))
    assert sorted(path.name for path in folder.iterdir()) == ["results.json", "results.txt", "samples.jsonl"]


def test_the_iou_after_every_click_is_a_row_a_sample(save):
    results = [result_of([0.5, 0.82, 0.9], 'comma, "quote"'), BROKEN, result_of([0.1] * 4, "d")]
    folder, _ = save(("hr32", "lung", results), wanted=Wanted(ious=True))
    with (folder / "ious" / "lung.csv").open(newline="") as file:
        assert list(csv.reader(file)) == [
            ["name", "1", "2", "3", "4"],
            ['comma, "quote"', "0.5", "0.82", "0.9", "0.9"],
            ["d", "0.1", "0.1", "0.1", "0.1"],
        ]


def test_the_mean_iou_by_click_is_kept_and_plotted(save):
    results = [result_of([0.5, 1.0]), result_of([0.0] * 4)]
    folder, _ = save(("hr32", "lung", results), wanted=Wanted(iou_analysis=True))
    assert (folder / "iou_analysis" / "lung.csv").read_text() == (
        "clicks,mean IoU\n1,0.25\n2,0.5\n3,0.5\n4,0.5\n"
    )
    plot = cv2.imread(str(folder / "iou_analysis" / "lung.png"))
    assert plot.shape == (465, 720, 3)
    assert len(np.unique(plot.reshape(-1, 3), axis=0)) > 10


def test_nothing_is_analysed_where_no_sample_has_a_result(save):
    folder, _ = save(("hr32", "lung", [BROKEN]), wanted=Wanted(iou_analysis=True, ious=True))
    assert not (folder / "iou_analysis").exists()
    assert not (folder / "ious").exists()
    assert read_lines(folder) == []
    (lung,) = json.loads((folder / "results.json").read_text())["results"]
    assert (lung["samples"], lung["noc"], lung["problems"]) == (0, [], [BROKEN.problem])


def test_dice_is_called_dice_in_every_file(save):
    protocol = Protocol(n_clicks=4, metric="dice")
    wanted = Wanted(iou_analysis=True)
    result = replace(result_of([0.9]), metric="dice")
    folder, _ = save(("hr32", "lung", [result]), wanted=wanted, protocol=protocol)
    assert read_lines(folder)[0]["dices"] == [0.9]
    (lung,) = json.loads((folder / "results.json").read_text())["results"]
    assert (lung["metric"], lung["mean_dice_by_click"]) == ("dice", [0.9] * 4)
    assert (folder / "iou_analysis" / "lung.csv").read_text().startswith("clicks,mean Dice\n")


def test_files_of_several_checkpoints_are_kept_apart(save):
    results = [result_of([0.9])]
    folder, _ = save(
        ("hr32", "lung", results),
        ("a.b", "lung", results),
        wanted=Wanted(ious=True, iou_analysis=True),
        by_checkpoint=True,
    )
    for kind, suffix in (("ious", "csv"), ("iou_analysis", "csv"), ("iou_analysis", "png")):
        for model in ("hr32", "a.b"):
            assert (folder / kind / model / f"lung.{suffix}").is_file()
    assert [line["model"] for line in read_lines(folder)] == ["hr32", "a.b"]


@pytest.fixture
def pictures():
    mask = np.zeros((20, 30), np.bool_)
    mask[5:15, 10:20] = True
    probability = np.where(mask, 0.8, 0.2).astype(np.float32)
    image = np.full((20, 30, 3), 90, np.uint8)
    return Sample("x.y", image, mask.astype(np.int8), None), SamplePictures(mask, probability)


@pytest.mark.parametrize(("by_checkpoint", "place"), [(False, "lung"), (True, "hr32/lung")])
def test_the_mask_is_a_png_of_0_and_255_named_after_its_image(tmp_path, pictures, by_checkpoint, place):
    sample, drawn = pictures
    folder = PictureRunFolder(tmp_path, Wanted(), by_checkpoint=by_checkpoint)
    folder.save_masks(Job("hr32", "lung"), sample, result_of([0.9]), drawn)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [
        tmp_path / "predictions" / place / "x.y.png"
    ]
    mask = cv2.imread(str(tmp_path / "predictions" / place / "x.y.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(mask, drawn.mask * 255)


@pytest.mark.parametrize(("by_checkpoint", "place"), [(False, "lung"), (True, "hr32/lung")])
def test_overlays_and_probabilities_go_where_they_are_wanted(tmp_path, pictures, by_checkpoint, place):
    sample, drawn = pictures
    folder = PictureRunFolder(tmp_path / "run", Wanted(vis=tmp_path / "vis"), by_checkpoint=by_checkpoint)
    folder.save_masks(Job("hr32", "lung"), sample, result_of([0.9]), drawn)
    vis = tmp_path / "vis" / place
    assert sorted(path.name for path in vis.iterdir()) == ["x.y.jpg", "x.y_probability.png"]
    height, width, _ = cv2.imread(str(vis / "x.y.jpg")).shape
    assert height / width == 20 / 30
    grey = cv2.imread(str(vis / "x.y_probability.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(grey, np.where(drawn.mask, 204, 51))


def test_a_folder_with_results_or_a_journal_is_in_use(save):
    folder, _ = save(("hr32", "lung", [result_of([0.9])]))
    run = PictureRunFolder(folder, Wanted(), by_checkpoint=False)
    assert run.holds_results()
    (folder / "results.json").unlink()
    assert not run.holds_results()
    run.journal.folder.mkdir()
    run.journal.begin({}, {})
    assert run.holds_results()
    assert not PictureRunFolder(folder / "new", Wanted(), by_checkpoint=False).holds_results()


def test_masks_of_several_users_are_kept_apart(tmp_path, pictures):
    sample, drawn = pictures
    folder = PictureRunFolder(tmp_path, Wanted(), by_checkpoint=False)
    for seed in (0, 1):
        folder.save_masks(Job("hr32", "lung", seed), sample, result_of([0.9]), drawn)
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.png")) == [
        "predictions/lung/seed_0/x.y.png",
        "predictions/lung/seed_1/x.y.png",
    ]


def test_what_a_killed_process_left_half_written_is_removed(tmp_path):
    left = [tmp_path / "predictions/lung/.tmp-0a1b2c3d-x.png", tmp_path / "vis/lung/.tmp-ffffffff-x.jpg"]
    kept = [tmp_path / "predictions/lung/x.png", tmp_path / ".tmp", tmp_path / "vis/.tmp-notes"]
    for path in left + kept:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    PictureRunFolder(tmp_path, Wanted(vis=tmp_path / "vis"), by_checkpoint=False).remove_unfinished()
    assert not any(path.exists() for path in left)
    assert all(path.exists() for path in kept)


@pytest.mark.parametrize(("by_checkpoint", "place"), [(False, "lung"), (True, "hr32/lung")])
def test_what_is_replaced_is_removed_and_nothing_else(tmp_path, pictures, by_checkpoint, place):
    kept = [
        "notes.txt",
        "journal/notes.txt",
        "predictions/spleen/x.png",
        f"predictions/{place}/notes.txt",
        "vis/lung/x.png",
    ]
    replaced = ["results.json", "results.txt", "samples.jsonl", f"predictions/{place}/x.png"]
    replaced += ["journal/run.json", "journal/data.json", "journal/1/process_0.jsonl"]
    for name in kept + replaced:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    folder = PictureRunFolder(tmp_path, Wanted(), by_checkpoint=by_checkpoint)
    folder.remove_earlier([Job("hr32", "lung")])
    left = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    assert left == sorted(kept)
    folder.remove_earlier([Job("hr32", "lung"), Job("hr32", "never there")])


def test_nothing_half_written_is_left(save, monkeypatch):
    folder, _ = save(("hr32", "lung", [result_of([0.9])]))
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def full(self, content):
        raise OSError(28, "No space left on device", str(self))

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        save(("hr32", "lung", [result_of([0.1])]))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
