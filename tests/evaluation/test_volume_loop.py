"""Volumes clicked on by hand: what each click is, when clicking ends, and what is measured."""

import numpy as np
import pytest

from isegm.evaluation.protocol import VolumeProtocol
from isegm.evaluation.volume_loop import evaluate_slice_by_slice, evaluate_volume
from isegm.geometry import Click, VoxelClick
from isegm.volumes.windows import WINDOWS
from tests.evaluation.volumes_by_hand import ScriptedVolumeSegmenter, box, volume_sample

SHAPE = (9, 9, 6)
TRUTH = box(SHAPE, (2, 7), (2, 7), (0, 5))  # 5 x 5 x 5: its middle is (4, 4, 2)


@pytest.fixture
def sample(tmp_path):
    return volume_sample(tmp_path, TRUTH)


def test_an_oracle_needs_one_click_and_has_the_whole_area(sample):
    segmenter = ScriptedVolumeSegmenter([TRUTH])
    result, masks = evaluate_volume(segmenter, sample, VolumeProtocol())

    assert segmenter.begun_on == (sample.volume, WINDOWS["abdomen"])
    assert result.clicks == (VoxelClick(4, 4, 2, positive=True),)
    assert result.scores == (1.0,) * 20  # nothing is left to click: the last Dice is carried on
    assert result.nsds == (1.0,) * 5
    assert len(result.seconds) == result.slices == 1
    assert (result.final.dice, result.final.hd95, result.final.nsd) == (1.0, 0.0, 1.0)
    np.testing.assert_array_equal(masks.mask, TRUTH)


def test_five_clicks_are_placed_whatever_the_dice_and_no_more_once_the_target_is_reached(sample):
    nearly = TRUTH.copy()
    nearly[2, 2, 0] = False  # Dice 248 / 249
    result, _ = evaluate_volume(ScriptedVolumeSegmenter([nearly]), sample, VolumeProtocol())

    assert result.scores == (248 / 249,) * 5
    # The only error is clicked again and again, as in the challenge.
    assert result.clicks[1:] == (VoxelClick(2, 2, 0, positive=True),) * 4
    assert result.slices == 2


def test_clicks_are_used_up_where_the_target_is_not_reached(sample):
    half = box(SHAPE, (2, 7), (2, 7), (0, 2))  # 50 of 125 voxels: Dice 100 / 175
    result, _ = evaluate_volume(ScriptedVolumeSegmenter([half]), sample, VolumeProtocol(n_clicks=7))

    assert result.scores == (100 / 175,) * 7
    # What is missed are 5 x 5 x 3 voxels, slices 2 to 4: its middle is in slice 3, where several are 2 deep.
    assert all(click.k == 3 and click.positive for click in result.clicks[1:])


def test_surface_dice_is_in_millimetres_at_2_mm(sample):
    shifted = np.roll(TRUTH, 1, axis=2)  # by one slice: 2 mm, which is within the tolerance
    result, _ = evaluate_volume(ScriptedVolumeSegmenter([shifted]), sample, VolumeProtocol())

    assert result.final.hd95 == 2.0
    assert result.final.nsd == 1.0
    assert result.final.dice == 200 / 250


class BySlice:
    """Finds all of what is bright; in some slices, by their turn, less than half at the first click."""

    def __init__(self, halves):
        self.halves = halves
        self.begun = 0

    def set_image(self, image, previous_mask=None):
        self.object = image > 100
        self.is_hard = self.begun in self.halves
        self.begun += 1
        self.count = 0

    def click(self, row, col, positive=True):
        assert self.object[int(row), int(col)] == positive
        self.count += 1
        return self.mask.astype(np.float32)

    @property
    def clicks(self):
        return (Click(0, 0, positive=True),) * self.count

    @property
    def mask(self):
        if self.is_hard and self.count == 1:
            rows = np.flatnonzero(self.object.any(axis=1))
            part = np.zeros_like(self.object)
            part[rows[: len(rows) // 2]] = True
            return self.object & part
        return self.object.copy()


def test_slice_by_slice_every_slice_costs_its_clicks(sample):
    result, masks = evaluate_slice_by_slice(BySlice(halves={1}), sample, VolumeProtocol())

    # Five slices of 25 voxels; the second one has 10 of them after its first click.
    found = [25, 35, 50, 75, 100, 125]
    assert result.scores == pytest.approx([2 * n / (n + 125) for n in found])
    assert [click.k for click in result.clicks] == [0, 1, 1, 2, 3, 4]
    assert (result.clicks[0].i, result.clicks[0].j) == (4, 4)
    assert (result.slices, result.nsds, len(result.seconds)) == (5, (), 6)
    np.testing.assert_array_equal(masks.mask, TRUTH)


def test_a_slice_gets_no_more_clicks_than_the_protocol_allows(sample):
    protocol = VolumeProtocol(slice_n_clicks=1)
    result, _ = evaluate_slice_by_slice(BySlice(halves={0, 1, 2, 3, 4}), sample, protocol)

    assert len(result.clicks) == 5
    assert result.scores[-1] == pytest.approx(2 * 50 / (50 + 125))
