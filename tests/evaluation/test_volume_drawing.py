"""Pictures of volumes in three planes, looked at pixel by pixel."""

import numpy as np
import pytest

from isegm.evaluation.drawing import MASK_COLOUR, POSITIVE_COLOUR, TRUTH_COLOUR
from isegm.evaluation.volume_drawing import SIDE, draw_volume
from isegm.geometry import VoxelClick
from isegm.volumes.orientation import AXES, upright
from tests.evaluation.volumes_by_hand import box, volume_sample

RAS, LAS = np.diag((1.0, 1, 2, 1)), np.diag((-1.0, 1, 2, 1))


def corner(affine, at):
    """Where a voxel of a 2 x 2 x 2 volume is in each plane, (row, col)."""
    volume = np.zeros((2, 2, 2))
    volume[at] = 1
    found = []
    for axis in AXES:
        pictures = upright(affine, axis).pictures(volume)
        found.append(tuple(int(place) for place in np.argwhere(pictures)[0][1:]))
    return found


@pytest.mark.parametrize(
    ("affine", "right_front_top"),
    [(RAS, (1, 1, 1)), (LAS, (0, 1, 1)), (RAS @ np.diag((1, -1, -1, 1)), (1, 0, 0))],
)
def test_right_and_front_are_on_the_left_and_the_head_is_on_top(affine, right_front_top):
    assert corner(affine, right_front_top) == [(0, 0), (0, 0), (0, 0)]


def has(picture, colour):
    """Whether a colour is in a picture, give or take what smooth lines take from it."""
    return bool((np.abs(picture.astype(int) - colour).sum(axis=2) < 60).any())


def test_each_plane_is_where_the_mask_is_worst(tmp_path):
    truth = box((30, 40, 20), (5, 15), (10, 30), (4, 16))
    mask = truth.copy()
    mask[12, 12, 8] = False  # the only error
    picture = draw_volume(volume_sample(tmp_path, truth), mask, [VoxelClick(12, 12, 8, positive=True)])

    assert picture.shape == (SIDE, SIDE + SIDE // 2, 3)
    for panel in (picture[:, :SIDE], *np.split(picture[:, SIDE:], 2)):
        assert has(panel, TRUTH_COLOUR)
        assert has(panel, MASK_COLOUR)
        assert has(panel, POSITIVE_COLOUR)  # the click lies in all planes


def test_an_empty_mask_and_a_perfect_one_are_drawn_too(tmp_path):
    truth = box((30, 40, 20), (5, 15), (10, 30), (4, 16))
    sample = volume_sample(tmp_path, truth)

    empty = draw_volume(sample, np.zeros_like(truth))
    assert not has(empty, MASK_COLOUR)
    assert has(draw_volume(sample, truth), MASK_COLOUR)
