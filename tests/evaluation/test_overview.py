import json
from dataclasses import asdict

import numpy as np
import pytest
import torch

from isegm.config import Config
from isegm.datasets import Sample
from isegm.evaluation import drawing, overview
from isegm.evaluation.drawing import LEGEND, MASK_COLOUR, NEGATIVE_COLOUR, POSITIVE_COLOUR, TRUTH_COLOUR
from isegm.evaluation.overview import (
    BACKGROUND,
    CAPTION_HEIGHT,
    GAP,
    PANEL_HEIGHT,
    PANEL_WIDTH,
    Panel,
    arrange,
    draw_overview,
    fit,
    panels,
    replay,
)
from isegm.evaluation.protocol import Protocol
from isegm.evaluation.record import Job, SampleRecord, SampleResult
from isegm.geometry import Click
from isegm.inference.predictor import Predictor
from isegm.metrics.overlap import mask_iou
from isegm.storage import write_text
from tests.commands.workspace import bright_network, easy_sample, save_sample
from tests.evaluation.by_hand import FINAL, ScriptedPredictor, row_of, sample_of


def box(shape, rows, cols):
    mask = np.zeros(shape, bool)
    mask[slice(*rows), slice(*cols)] = True
    return mask


@pytest.mark.parametrize(
    ("clicks", "captions"),
    [
        (0, ["liver, CT slice"]),
        (1, ["liver, CT slice", "1 click: IoU 0.50"]),
        (2, ["liver, CT slice", "1 click: IoU 0.50", "2 clicks: IoU 0.61"]),
        (3, ["liver, CT slice", "1 click: IoU 0.50", "2 clicks: IoU 0.61", "3 clicks: IoU 0.62"]),
        (20, ["liver, CT slice", "1 click: IoU 0.50", "2 clicks: IoU 0.61", "20 clicks: IoU 0.79"]),
    ],
)
def test_a_row_has_the_slice_and_the_masks_of_one_two_and_all_clicks(clicks, captions):
    truth = box((60, 80), (20, 40), (30, 50))
    sample = Sample("a", np.zeros((60, 80, 3), np.uint8), truth.astype(np.int8), None)
    ious = [0.5, *(0.6 + number / 100 for number in range(1, 20))]  # more of them than clicks: carried on
    row = panels("liver", sample, [Click(30.0, 40.0, True)] * clicks, [truth] * clicks, ious)
    assert [panel.caption for panel in row] == captions
    assert {panel.picture.shape for panel in row} == {(PANEL_HEIGHT, PANEL_WIDTH, 3)}


def close(pixels, colour, tolerance=40):
    return (abs(pixels.astype(int) - colour) <= tolerance).all(axis=-1)


def test_panels_show_the_mask_the_truth_and_the_clicks_so_far(monkeypatch):
    # What is marked spans 50 columns; with 25 on each side they are all of the slice, at 4 pixels a pixel.
    monkeypatch.setattr(drawing, "SURROUNDINGS", 0.5)
    monkeypatch.setattr(overview, "PANEL_WIDTH", 400)
    monkeypatch.setattr(overview, "PANEL_HEIGHT", 400)
    truth = box((100, 100), (30, 70), (30, 70))
    half, spilt = box((100, 100), (30, 70), (30, 50)), box((100, 100), (30, 70), (30, 80))
    sample = Sample("a", np.full((100, 100, 3), 100, np.uint8), truth.astype(np.int8), None)
    clicks = [Click(50.0, 40.0, True), Click(60.0, 60.0, True), Click(50.0, 75.0, False)]
    row = panels("liver", sample, clicks, [half, spilt, truth], [0.5, 0.8, 1.0])
    plain, first, second, last = (panel.picture for panel in row)
    assert (plain == 100).all()

    def at(picture, row, col, down=0, right=0):  # the middle of one of the slice's pixels, or beside it
        return picture[int(4 * (row + 0.5)) + down, int(4 * (col + 0.5)) + right]

    tint = 100 * (1 - 0.35) + np.array(MASK_COLOUR) * 0.35
    for picture, inside, outside in ((first, (35, 45), (35, 55)), (second, (35, 75), (35, 90))):
        assert close(at(picture, *inside), tint, 3)
        assert close(at(picture, *outside), 100, 3)
    assert close(at(last, 35, 75), 100, 3)
    lower_edge = first[4 * 70 - 4 : 4 * 70 + 1]
    assert close(lower_edge[:, 4 * 60], TRUTH_COLOUR).any()
    assert close(lower_edge[:, 4 * 40], MASK_COLOUR).any()

    for picture, shown in ((first, 1), (second, 2), (last, 3)):
        for number, click in enumerate(clicks):
            colour = POSITIVE_COLOUR if click.positive else NEGATIVE_COLOUR
            assert close(at(picture, click.row, click.col, 3, 3), colour) == (number < shown)
    for click in clicks:  # a plus or a minus
        assert close(at(last, click.row, click.col, 0, 2), 255, 80)
        assert close(at(last, click.row, click.col, 2, 0), 255, 80) == click.positive


def test_clicks_beyond_all_masks_shown_are_in_view_where_they_belong():
    truth = box((100, 140), (40, 60), (50, 70))
    sample = Sample("a", np.zeros((100, 140, 3), np.uint8), truth.astype(np.int8), None)
    clicks = [Click(50.0, 60.0, True), Click(50.0, 60.0, True), Click(50.0, 130.0, False)]
    last = panels("liver", sample, clicks, [truth] * 3, [0.9] * 3)[-1].picture
    rows, cols = np.nonzero(close(last, NEGATIVE_COLOUR))
    # The last 106 columns are in view, about column 87, and 80 rows about the object's middle.
    assert rows.mean() == pytest.approx(PANEL_HEIGHT / 2, abs=3)
    assert cols.mean() == pytest.approx(PANEL_WIDTH / 2 + (130.5 - 87) * PANEL_HEIGHT / 80, abs=3)


@pytest.mark.parametrize("shape", [(214, 285), (100, 1000), (1000, 100), (3000, 4000), (1, 1)])
def test_a_picture_of_any_shape_fits_a_panel_undistorted(shape):
    panel = fit(np.full((*shape, 3), 200, np.uint8))
    assert panel.shape == (PANEL_HEIGHT, PANEL_WIDTH, 3)
    rows, cols = (np.flatnonzero((panel == 200).all(axis=2).any(axis=axis)) for axis in (1, 0))
    assert len(rows) == PANEL_HEIGHT or len(cols) == PANEL_WIDTH
    assert len(rows) / len(cols) == pytest.approx(shape[0] / shape[1], rel=0.03)
    for extent, limit in ((rows, PANEL_HEIGHT), (cols, PANEL_WIDTH)):
        assert abs(extent[0] - (limit - 1 - extent[-1])) <= 1


def test_the_grid_is_aligned_and_no_text_overlaps():
    def panel(grey, caption):
        return Panel(np.full((PANEL_HEIGHT, PANEL_WIDTH, 3), grey, np.uint8), caption)

    rows = [
        [
            panel(100 + number, "spleen, CT slice" if number == 0 else "20 clicks: IoU 0.88")
            for number in range(4)
        ],
        [panel(200, "lung, CT slice"), panel(201, "1 click: IoU 0.95")],
    ]
    picture = arrange(rows)
    assert picture.dtype == np.uint8
    assert picture.shape == (578, 1200, 3)
    blank = (picture == BACKGROUND).all(axis=2)
    step = PANEL_HEIGHT + CAPTION_HEIGHT + GAP
    for row in range(2):
        top = GAP + row * step
        for column in range(4):
            left = GAP + column * (PANEL_WIDTH + GAP)
            cell = picture[top : top + PANEL_HEIGHT, left : left + PANEL_WIDTH]
            caption = blank[top + PANEL_HEIGHT : top + step - GAP, left : left + PANEL_WIDTH]
            if column < len(rows[row]):
                assert (cell == rows[row][column].picture).all()
                assert 300 < (~caption).sum() < 0.5 * caption.size
                assert caption[0].all()  # clear of the picture above ...
                assert caption[:, 0].all()
                assert caption[:, -1].all()
            else:
                assert (cell == BACKGROUND).all()
                assert caption.all()
            assert blank[top : top + step - GAP, left - GAP : left].all()
        assert blank[top - GAP : top].all()  # ... and of the next row
    foot = picture[2 * step :]
    for colour in LEGEND.values():
        assert (foot == colour).all(axis=2).any()
    assert blank[2 * step :, -GAP:].all()  # the legend is not cut


def test_a_replay_begins_with_the_mask_that_the_evaluation_began_with():
    first, *masks = ([[True, False, False]], [[True, True, False]], [[True, True, True]])
    predictor = ScriptedPredictor(masks)
    found = replay(predictor, sample_of(row_of(3, 3), initial=first), [Click(0.0, 1.0, True)] * 2)
    np.testing.assert_array_equal(found, masks)
    np.testing.assert_array_equal(predictor.first, first)


def test_the_overview_replays_the_first_networks_first_samples(tmp_path, monkeypatch):
    """Each data set's own clicks, not the baseline's nor another sample's, computed as the evaluation did."""
    names = ("lung", "liver")
    for name in names:
        for number in range(3):
            image, truth = easy_sample(40 + 4 * number)
            save_sample(tmp_path / name, f"{name}_{number}", image, truth)
    torch.save({"state_dict": bright_network().state_dict()}, tmp_path / "net.pth")
    protocol = Protocol(eval_mode="fixed64", thresh=0.5, flip=False, initial_masks="corrected")
    checkpoints = [{"name": "net", "path": str(tmp_path / "net.pth")}, {"name": "other", "path": "other.pth"}]
    about = {"settings": asdict(protocol), "checkpoints": checkpoints}
    lines = []
    for model, shift in (("other", -3.0), ("net", 0.0)):
        for name, iou, indices in (("lung", 0.25, (0, 1)), ("liver", 0.75, (1, 2))):  # liver_0 has no result
            for index in indices:
                clicks = (Click(19.0 + shift, 29.0, True), Click(2.0, 3.0, False))[
                    : 2 - (index != indices[0])
                ]
                scores = (iou, 0.9)[: len(clicks)]
                result = SampleResult(f"{name}_{index}", clicks, scores, (0.1,) * len(clicks), FINAL)
                lines.append(json.dumps(SampleRecord(Job(model, name), index, result).to_json()) + "\n")
    results = tmp_path / "results"
    write_text(results / "results.json", json.dumps(about))
    write_text(results / "samples.jsonl", "".join(lines))
    threads = torch.get_num_threads()
    seen = []

    class Watched(Predictor):
        def click(self, *click):
            assert torch.get_num_threads() == 1
            return super().click(*click)

    def observed(predictor, sample, clicks):
        torch.set_num_threads(2)
        predictor.__class__ = Watched
        masks = replay(predictor, sample, clicks)
        assert torch.get_num_threads() == 2
        torch.set_num_threads(threads)
        seen.append((predictor.size, predictor.flip, predictor.threshold, sample.name, clicks))
        assert all(mask_iou(mask, sample.truth) > 0.85 for mask in masks)
        return masks

    monkeypatch.setattr(overview, "replay", observed)
    monkeypatch.setattr(overview, "arrange", lambda rows: rows)
    places = {f"{name.upper()}_PATH": tmp_path / name for name in names}
    rows = draw_overview(results, Config(tmp_path / "config.yml", places))
    clicks = (Click(19.0, 29.0, True), Click(2.0, 3.0, False))
    assert seen == [(64, False, 0.5, name, clicks) for name in ("lung_0", "liver_1")]
    assert [[panel.caption for panel in row] for row in rows] == [
        ["lung, CT slice", "1 click: IoU 0.25", "2 clicks: IoU 0.90"],
        ["liver, CT slice", "1 click: IoU 0.75", "2 clicks: IoU 0.90"],
    ]
