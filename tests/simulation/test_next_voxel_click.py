"""Simulated clicks in volumes, held against clicks found by hand and by SciPy's distance transform."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from isegm.geometry import VoxelClick
from isegm.simulation.next_voxel_click import NextVoxelClick, deepest_voxels


def empty(shape=(9, 8, 7)):
    return np.zeros(shape, np.bool_)


def test_first_click_is_in_the_middle_of_the_object():
    truth = empty()
    truth[2:7, 1:6, 1:6] = True  # 5 x 5 x 5: one voxel is 3 deep

    assert NextVoxelClick(truth).click(empty()) == VoxelClick(4, 3, 3, positive=True)


def test_perfect_mask_is_not_clicked():
    truth = empty()
    truth[2:7, 1:6, 1:6] = True

    assert NextVoxelClick(truth).click(truth.copy()) is None


def test_error_with_most_voxels_is_clicked_even_where_another_is_deeper():
    truth, mask = empty((20, 9, 5)), empty((20, 9, 5))
    truth[1:4, 1:4, 1:4] = True  # 27 voxels, missed, 2 deep
    mask[6:20, 6:8, 1] = True  # 28 voxels too many, 1 deep

    click = NextVoxelClick(truth).click(mask)

    assert not click.positive
    assert click.i >= 6
    assert click.j in (6, 7)
    assert click.k == 1


def test_click_on_background_is_negative_and_in_the_middle_of_what_is_too_much():
    truth = empty()
    truth[1, 1, 1] = True
    mask = truth.copy()
    mask[4:7, 3:6, 3:6] = True

    assert NextVoxelClick(truth).click(mask) == VoxelClick(5, 4, 4, positive=False)


def test_parts_that_touch_at_a_corner_are_one_error():
    truth = empty((12, 6, 6))
    truth[0:2, 0:2, 0:2] = True  # 8 voxels
    truth[2:4, 2:4, 2:4] = True  # touches at a corner: 16 together
    truth[6:9, 3, 0:5] = True  # 15 voxels, apart
    truth[9, 5, 5] = True  # apart

    click = NextVoxelClick(truth).click(empty((12, 6, 6)))

    assert click.i < 4


def test_missed_and_superfluous_voxels_that_touch_are_one_error():
    truth, mask = empty((12, 4, 4)), empty((12, 4, 4))
    truth[0:3, 0, 0] = True  # 3 missed ...
    mask[3:6, 0, 0] = True  # ... and 3 too many beside them: 6 together
    truth[7:12, 3, 3] = True  # 5 missed

    assert NextVoxelClick(truth).click(mask).i < 6


def test_of_equally_deep_voxels_the_challenges_choice_is_taken():
    truth = empty((5, 4, 3))
    truth[:, 0, 0] = True  # five voxels in a row, each 1 deep

    # numpy.random.seed(42); numpy.random.choice(5) gives 3.
    assert NextVoxelClick(truth).click(empty((5, 4, 3))) == VoxelClick(3, 0, 0, positive=True)


def test_ties_are_counted_in_the_order_of_z_y_x():
    truth = empty((2, 1, 3))
    truth[:] = True
    # All six are 1 deep. choice(6) after seed(42) is 3, and in z, y, x order the fourth is k=1, i=1.

    assert NextVoxelClick(truth).click(empty((2, 1, 3))) == VoxelClick(1, 0, 1, positive=True)


def test_the_volumes_border_is_outside():
    truth = np.ones((5, 5, 5), np.bool_)

    assert NextVoxelClick(truth).click(empty((5, 5, 5))) == VoxelClick(2, 2, 2, positive=True)


def test_click_that_changes_nothing_is_placed_once_more():
    truth = empty()
    truth[2:7, 1:6, 1:6] = True
    simulator = NextVoxelClick(truth)

    assert simulator.click(empty()) == simulator.click(empty())


@pytest.mark.parametrize("mask", [np.zeros((9, 8, 6), np.bool_), np.zeros((9, 8, 7), np.uint8)])
def test_other_masks_are_refused(mask):
    with pytest.raises(ValueError, match="the mask must be"):
        NextVoxelClick(empty()).click(mask)


@pytest.mark.parametrize("truth", [np.zeros((9, 8), np.bool_), np.zeros((9, 8, 7), np.uint8)])
def test_other_truths_are_refused(truth):
    with pytest.raises(ValueError, match="the truth must be"):
        NextVoxelClick(truth)


@settings(max_examples=200, deadline=None)
@given(hnp.arrays(np.bool_, hnp.array_shapes(min_dims=3, max_dims=3, max_side=9), elements=st.booleans()))
def test_deepest_voxels_are_those_of_the_whole_distance_transform(region):
    if not region.any():
        region[0, 0, 0] = True
    depth = ndimage.distance_transform_edt(np.pad(region, 1))[1:-1, 1:-1, 1:-1]

    np.testing.assert_array_equal(deepest_voxels(region), np.argwhere(depth == depth.max()))


@pytest.mark.parametrize("spread", [(6, 6, 6), (2, 9, 9), (12, 4, 4)])
def test_deepest_voxels_of_smooth_regions(spread):
    noise = np.random.default_rng(0).normal(size=(40, 48, 44))
    smooth = ndimage.gaussian_filter(noise, spread)
    region = smooth > np.quantile(smooth, 0.4)
    depth = ndimage.distance_transform_edt(np.pad(region, 1))[1:-1, 1:-1, 1:-1]

    np.testing.assert_array_equal(deepest_voxels(region), np.argwhere(depth == depth.max()))
