import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from isegm.metrics import boundary
from isegm.metrics.boundary import boundary_pixels, hd95, nsd, surface_distances

masks = arrays(bool, (6, 7))
volumes = arrays(bool, (3, 4, 5))
spacings = st.tuples(*[st.sampled_from([0.25, 0.7, 1.0, 3.0])] * 2)


def points(*positions, shape=(8, 30)):
    mask = np.zeros(shape, bool)
    mask[tuple(np.transpose(positions))] = True
    return mask


def test_the_middle_of_a_square_is_not_boundary():
    mask = np.zeros((5, 5), bool)
    mask[1:4, 1:4] = True
    expected = np.argwhere(mask)
    assert boundary_pixels(mask).tolist() == [p for p in expected.tolist() if p != [2, 2]]


def test_only_neighbours_that_share_an_edge_make_a_pixel_inner():
    mask = np.ones((3, 3), bool)
    mask[[0, 0, 2, 2], [0, 2, 0, 2]] = False
    assert boundary_pixels(mask).tolist() == [[0, 1], [1, 0], [1, 2], [2, 1]]


def test_beyond_the_border_of_the_picture_everything_is_outside():
    assert len(boundary_pixels(np.ones((4, 4), bool))) == 12
    assert len(boundary_pixels(np.ones((3, 3, 3), bool))) == 26


def test_a_hole_has_a_boundary_too():
    mask = np.ones((5, 5), bool)
    mask[2, 2] = False
    assert len(boundary_pixels(mask)) == 16 + 4


def test_an_empty_mask_has_no_boundary():
    assert boundary_pixels(np.zeros((3, 3), bool)).shape == (0, 2)


def test_distances_follow_the_spacing_of_each_axis():
    a, b = points((0, 0)), points((3, 4))
    assert hd95(surface_distances(a, b)) == 5
    assert hd95(surface_distances(a, b, (2.0, 0.5))) == math.sqrt(36 + 4)


def test_distances_in_a_volume():
    a, b = points((0, 0, 0), shape=(4, 4, 8)), points((1, 2, 6), shape=(4, 4, 8))
    assert hd95(surface_distances(a, b, (3.0, 2.0, 1.0))) == math.sqrt(9 + 16 + 36)


def test_the_nearest_pixel_is_the_nearest_in_mm():
    truth = points((0, 3), (2, 0))
    distances = surface_distances(points((0, 0)), truth, (5.0, 1.0))
    assert distances.from_prediction.tolist() == [3.0]
    assert distances.from_truth.tolist() == [3.0, 10.0]


def test_hd95_is_the_larger_of_two_interpolated_percentiles():
    prediction, truth = points(*[(0, col) for col in range(21)]), points((0, 0))
    distances = surface_distances(prediction, truth)
    assert distances.from_prediction.tolist() == list(range(21))
    assert distances.from_truth.tolist() == [0]
    assert hd95(distances) == 19
    pooled = np.concatenate([distances.from_prediction, distances.from_truth])
    assert np.percentile(pooled, 95) == pytest.approx(18.95)


def test_nsd_is_the_share_of_both_boundaries_within_the_tolerance():
    distances = surface_distances(points(*[(0, col) for col in range(21)]), points((0, 0)))
    assert nsd(distances, 2) == (3 + 1) / 22
    assert nsd(distances, 1.99) == (2 + 1) / 22
    assert nsd(distances, 0) == (1 + 1) / 22
    assert nsd(distances, 20) == 1


def test_a_distance_equal_to_the_tolerance_is_within_it_whatever_the_rounding():
    spacing = float(np.float32(0.4))
    distances = surface_distances(points((0, 0)), points((0, 5)), (spacing, spacing))
    assert distances.from_truth[0] > 2
    assert nsd(distances, 2) == 1


def test_the_convention_for_empty_masks():
    empty, some = np.zeros((8, 30), bool), points((1, 1))
    np.testing.assert_equal(
        [hd95(surface_distances(*pair)) for pair in ((empty, some), (some, empty))], [math.nan] * 2
    )
    assert nsd(surface_distances(empty, some), 100) == 0
    assert nsd(surface_distances(some, empty), 100) == 0
    assert math.isnan(hd95(surface_distances(empty, empty)))
    assert math.isnan(nsd(surface_distances(empty, empty), 1))


@pytest.mark.parametrize("tolerance", [-1, math.inf, math.nan])
def test_a_tolerance_must_be_a_length(tolerance):
    with pytest.raises(ValueError, match="tolerance"):
        nsd(surface_distances(points((0, 0)), points((0, 0))), tolerance)


@pytest.mark.parametrize("spacing", [(1.0,), (1.0, 1.0, 1.0), (1.0, 0.0), (1.0, -1.0), (1.0, math.nan)])
def test_a_spacing_must_be_one_positive_number_an_axis(spacing):
    with pytest.raises(ValueError, match="spacing"):
        surface_distances(points((0, 0)), points((0, 0)), spacing)


def test_masks_must_be_bool_and_of_one_shape():
    with pytest.raises(ValueError, match="truth is"):
        surface_distances(np.zeros((2, 2), bool), np.zeros((2, 3), bool))
    with pytest.raises(ValueError, match="bool"):
        surface_distances(np.zeros((2, 2), bool), np.zeros((2, 2), np.uint8))


@given(masks, masks, spacings)
def test_exchanging_the_masks_changes_nothing(a, b, spacing):
    one, other = surface_distances(a, b, spacing), surface_distances(b, a, spacing)
    np.testing.assert_equal(hd95(one), hd95(other))
    np.testing.assert_equal(nsd(one, 1), nsd(other, 1))


@given(masks, masks, st.floats(0, 10))
def test_nsd_is_a_share(a, b, tolerance):
    value = nsd(surface_distances(a, b), tolerance)
    assert math.isnan(value) if not (a.any() or b.any()) else 0 <= value <= 1


@given(masks)
def test_a_mask_is_at_no_distance_from_itself(mask):
    distances = surface_distances(mask, mask)
    assert not distances.from_truth.any()
    np.testing.assert_equal(nsd(distances, 0), 1.0 if mask.any() else math.nan)


@given(volumes, volumes, st.tuples(*[st.integers(0, 3)] * 6))
def test_room_around_the_masks_changes_nothing(a, b, room):
    padding = list(zip(room[:3], room[3:], strict=True))
    near = surface_distances(a, b, (3.0, 0.7, 0.7))
    far = surface_distances(np.pad(a, padding), np.pad(b, padding), (3.0, 0.7, 0.7))
    np.testing.assert_array_equal(near.from_truth, far.from_truth)
    np.testing.assert_array_equal(near.from_prediction, far.from_prediction)


@given(volumes, volumes)
def test_turning_the_volume_turns_the_spacing(a, b):
    upright = surface_distances(a, b, (3.0, 0.7, 0.5))
    lying = surface_distances(a.transpose(2, 0, 1), b.transpose(2, 0, 1), (0.5, 3.0, 0.7))
    np.testing.assert_allclose(np.sort(upright.from_truth), np.sort(lying.from_truth), rtol=1e-12)


@given(volumes, volumes)
def test_trying_all_pairs_and_the_tree_agree(a, b):
    tried = surface_distances(a, b, (3.0, 0.7, 0.5))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(boundary, "PAIRS_TRIED_ALL", 0)
        looked_up = surface_distances(a, b, (3.0, 0.7, 0.5))
    np.testing.assert_allclose(tried.from_truth, looked_up.from_truth, rtol=1e-12)
    np.testing.assert_allclose(tried.from_prediction, looked_up.from_prediction, rtol=1e-12)
