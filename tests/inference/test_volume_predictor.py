"""Volumes by clicks: on a network that takes what is bright for the object, and on the shipped weights."""

import itertools
import math
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

import isegm
from isegm.errors import InputError
from isegm.geometry import Click, VoxelClick
from isegm.inference.volume_predictor import VolumePredictor
from isegm.phantom.patients import LABELS, random_patient
from isegm.simulation.next_voxel_click import NextVoxelClick
from isegm.volumes.files import open_volume
from tests.inference.thresholding import Thresholding

pytestmark = pytest.mark.filterwarnings("ignore:.*not like HU")

SIDE, SLICES = 48, 12
WEIGHTS = Path(__file__).resolve().parents[2] / "weights" / "emcclick_ct_lite0.pth"


def drawn(*boxes, slices=SLICES):
    """Boxes of 100 HU in air, each (i, j, k) from and to; and the mask (X, Y, Z) of each."""
    hu = np.full((SIDE, SIDE, slices), -1000, np.int16)
    masks = []
    for box in boxes:
        mask = np.zeros(hu.shape, np.bool_)
        mask[tuple(slice(*side) for side in box)] = True
        hu[mask] = 100
        masks.append(mask)
    return hu, masks


ONE = ((10, 24), (20, 40), (3, 9))
OTHER = ((30, 44), (6, 20), (2, 7))


@pytest.fixture
def predictor_of(save_nifti, tmp_path):
    """``predictor_of(hu, affine=..., **settings)``: on the thresholding network, pixel for pixel."""

    def make(hu, affine=None, **settings):
        affine = np.diag([1.0, 1, 2, 1]) if affine is None else affine
        path = save_nifti(tmp_path / "ct.nii.gz", hu, affine)
        network = Thresholding()
        predictor = VolumePredictor(network, open_volume(path), size=SIDE, **settings)
        return predictor, network

    return make


def state_of(predictor):
    return predictor.clicks, predictor.clicked_slices, predictor.labels, predictor.label


def assert_same_state(predictor, state):
    clicks, slices, labels, label = state
    assert (predictor.clicks, predictor.clicked_slices, predictor.label) == (clicks, slices, label)
    np.testing.assert_array_equal(predictor.labels, labels)


# --- clicks and propagation


def test_a_click_changes_its_own_slice_and_propagation_the_others_to_where_the_object_ends(predictor_of):
    hu, (truth,) = drawn(ONE)
    predictor, _ = predictor_of(hu)
    assert not predictor.mask.any()
    predictor.click((15, 30, 5))
    expected = np.zeros_like(truth)
    expected[..., 5] = truth[..., 5]
    np.testing.assert_array_equal(predictor.mask, expected)
    assert predictor.clicked_slices == (5,)
    assert predictor.propagate()
    np.testing.assert_array_equal(predictor.mask, truth)
    assert predictor.clicks == (VoxelClick(15, 30, 5, positive=True),)


def test_each_slice_is_corrected_from_its_neighbours_mask(predictor_of):
    hu, (truth,) = drawn(ONE)
    predictor, network = predictor_of(hu)
    predictor.click((15, 30, 3))
    network.corrected.clear()
    predictor.propagate()
    assert len(network.corrected) == 5  # 4 to 8; in 9 nothing looks like it, and 2 is not asked for either
    picture = truth[::-1, ::-1, 3].T  # upright, of an RAS array
    for previous in network.corrected:
        np.testing.assert_array_equal(previous[0, 0] >= 0, picture)
        assert (previous == 5).sum() > picture.sum() / 2


def test_an_object_that_moves_from_slice_to_slice_is_followed(predictor_of):
    hu = np.full((SIDE, SIDE, SLICES), -1000, np.int16)
    for k in range(SLICES):
        hu[4 + 2 * k : 16 + 2 * k, 10:30, k] = 100
    predictor, _ = predictor_of(hu)
    predictor.click((15, 20, 4))
    predictor.propagate()
    np.testing.assert_array_equal(predictor.mask, hu == 100)


def test_a_slice_that_a_person_has_clicked_is_never_overwritten(predictor_of):
    hu, (one, other) = drawn(ONE, OTHER)
    predictor, _ = predictor_of(hu)
    predictor.click((15, 30, 4))
    predictor.click((35, 10, 6))  # on another object, in this slice alone
    clicked = {k: predictor.mask[..., k] for k in (4, 6)}
    np.testing.assert_array_equal(clicked[6], other[..., 6])
    predictor.propagate()
    for k, mask in clicked.items():
        np.testing.assert_array_equal(predictor.mask[..., k], mask)
    # Between them masks come from both ends and meet in the middle; slice 5 is as near to either.
    np.testing.assert_array_equal(predictor.mask[..., 3], one[..., 3])
    assert not predictor.mask[..., 7:].any()  # where the other one ends
    assert predictor.mask[..., 5].any()


def test_a_mask_that_is_given_is_where_propagation_begins_and_stays_until_it_is_clicked_on(predictor_of):
    hu, (one, _) = drawn(ONE, OTHER)
    predictor, _ = predictor_of(hu)
    half = predictor.plan.pictures(one)[5].copy()
    half[:, : SIDE // 2 + 10] = False
    half[0, 0] = True
    predictor.set_mask(5, half)
    np.testing.assert_array_equal(predictor.slice_mask(5), half)
    assert predictor.clicked_slices == (5,)
    assert predictor.propagate()
    np.testing.assert_array_equal(predictor.slice_mask(5), half)
    np.testing.assert_array_equal(predictor.mask[..., 4], one[..., 4])
    predictor.click((15, 30, 5))
    assert predictor.mask[15, 30, 5]
    assert predictor.slice_mask(5)[0, 0]  # elsewhere it is as it was given
    for index, mask in ((SLICES, half), (5, half[1:]), (5, half.astype(np.uint8))):
        with pytest.raises(ValueError, match=r"slice|mask"):
            predictor.set_mask(index, mask)


def test_between_clicked_slices_each_half_comes_from_its_end(predictor_of):
    hu, (one, other) = drawn(((10, 24), (20, 40), (0, 12)), ((30, 44), (6, 20), (0, 12)))
    predictor, _ = predictor_of(hu)
    predictor.click((15, 30, 1))
    predictor.click((35, 10, 10))
    predictor.propagate()
    expected = np.where(np.arange(12) < 6, one, other)
    np.testing.assert_array_equal(predictor.mask, expected)


def test_what_is_left_where_a_person_has_only_said_what_is_wrong_is_not_propagated_back(predictor_of):
    """In slice 8 the object is said to be wrong; the false rest of its mask must not replace a right one."""
    hu, _ = drawn(((10, 24), (20, 40), (2, 10)), ((30, 44), (20, 40), (7, 10)), ((10, 44), (20, 40), (6, 7)))
    predictor, _ = predictor_of(hu)
    predictor.click((15, 30, 3))
    predictor.propagate()
    before = predictor.mask
    assert before[15, 30, 8]
    assert before[35, 30, 8]
    predictor.click((15, 30, 8), positive=False)
    assert not predictor.mask[15, 30, 8]
    assert predictor.mask[35, 30, 8]
    predictor.propagate()
    np.testing.assert_array_equal(predictor.mask[..., :8], before[..., :8])


def test_the_object_looks_as_it_does_where_it_is_most_uniform(predictor_of):
    """A mask that has run into air does not make air look like the object."""
    hu, (one,) = drawn(ONE)
    predictor, network = predictor_of(hu)
    predictor.click((15, 30, 4))
    too_much = predictor.plan.pictures(one)[6].copy()
    too_much[30:, :] = True
    predictor.set_mask(6, too_much)
    network.corrected.clear()
    predictor.propagate()
    is_air = ~predictor.plan.pictures(one)[6]
    assert network.corrected
    for previous in network.corrected:
        assert (previous[0, 0].numpy()[is_air] <= 0).all()


def test_a_click_that_the_network_ignores_changes_its_own_disk(predictor_of):
    hu, (one,) = drawn(ONE)
    predictor, _ = predictor_of(hu)
    predictor.click((40, 10, 5))  # in air, which this network never takes for the object
    rows, columns = np.indices((SIDE, SIDE))
    disk = (rows - 40) ** 2 + (columns - 10) ** 2 <= 5**2
    np.testing.assert_array_equal(predictor.mask[..., 5], disk)
    predictor.click((15, 30, 5))
    np.testing.assert_array_equal(predictor.mask[..., 5], one[..., 5])


def test_a_correction_recomputes_only_what_depends_on_it(predictor_of):
    hu, _ = drawn(((10, 24), (20, 40), (0, 12)))
    predictor, network = predictor_of(hu)
    for k in (1, 5, 10):
        predictor.click((15, 30, k))
    predictor.propagate()
    network.corrected.clear()
    assert predictor.propagate()
    assert network.corrected == []  # nothing is left to do
    predictor.click((16, 31, 10))
    assert len(network.corrected) == 1
    predictor.propagate()
    assert len(network.corrected) == 1 + 4 + 1  # 6 to 9, and 11
    predictor.click((16, 31, 3))  # in between: 2 and 4
    network.corrected.clear()
    predictor.propagate()
    assert len(network.corrected) == 2


def test_a_negative_click_takes_away_what_was_propagated_and_ends_it_there(predictor_of):
    hu, (truth,) = drawn(ONE)
    predictor, _ = predictor_of(hu)
    predictor.click((15, 30, 4))
    predictor.propagate()
    predictor.click((12, 22, 7), positive=False)
    assert not predictor.mask[..., 7].any()
    predictor.propagate()
    np.testing.assert_array_equal(predictor.mask, truth & (np.arange(SLICES) < 7))


@pytest.mark.parametrize(("k", "goes"), [(5, False), (25, True)])
def test_far_from_positive_clicks_a_click_in_the_middle_denies_the_whole_mask(predictor_of, k, goes):
    """The network goes on with what is bright; nobody has said of the far slices that it is the object."""
    hu, (truth,) = drawn(((10, 24), (20, 40), (0, 30)), slices=30)
    predictor, network = predictor_of(hu)
    predictor.click((16, 30, 2))
    predictor.propagate()
    network.corrected.clear()
    predictor.click((16, 29, k), positive=False)
    assert len(network.corrected) == (0 if goes else 1)
    assert not predictor.mask[..., k].any()
    predictor.propagate()
    np.testing.assert_array_equal(predictor.mask, truth & (np.arange(30) < k))


class Everything(Thresholding):
    """Takes whatever is bright for the object, wherever the clicks are."""

    def correct(self, points, encoded, previous):
        return torch.where(encoded.image > 0, 8.0, -8.0)


def test_what_hangs_together_with_no_click_is_no_part_of_the_object(save_nifti, tmp_path):
    hu, (one, other) = drawn(ONE, OTHER)
    path = save_nifti(tmp_path / "ct.nii.gz", hu, np.diag([1.0, 1, 2, 1]))
    predictor = VolumePredictor(Everything(), open_volume(path), size=SIDE)
    predictor.click((15, 30, 5))
    predictor.propagate()
    np.testing.assert_array_equal(predictor.mask, one)
    predictor.click((35, 10, 5))
    predictor.propagate()
    np.testing.assert_array_equal(predictor.mask, one | other)


def test_a_click_elsewhere_leaves_a_good_slice_as_it_is(predictor_of):
    hu, (one, _) = drawn(ONE, OTHER)
    predictor, _ = predictor_of(hu)
    predictor.click((15, 30, 4))
    predictor.propagate()
    predictor.click((2, 2, 5), positive=False)
    np.testing.assert_array_equal(predictor.mask, one)
    predictor.click((35, 10, 5))  # what is added is connected to the click; the rest stays
    assert predictor.mask[15, 30, 5]
    assert predictor.mask[35, 10, 5]


def test_a_negative_click_speaks_for_slices_within_8_mm(predictor_of):
    hu, _ = drawn(((10, 24), (20, 40), (0, 12)))
    predictor, network = predictor_of(hu)  # slices of 2 mm
    predictor.click((15, 30, 1))
    predictor.click((40, 8, 1), positive=False)
    network.points.clear()
    predictor.propagate()
    below, *above = network.points[:1] + network.points[1:]  # 0, then 2 to 11
    negatives = [int((points[0, points.shape[1] // 2 :, 2] >= 0).sum()) for points in (below, *above)]
    assert sorted(negatives, reverse=True) == [1] * 5 + [0] * 6
    assert negatives[-6:] == [0] * 6


def test_a_slice_is_clicked_by_itself_where_a_person_has_clicked_rather_than_in_the_middle(predictor_of):
    hu, _ = drawn(((10, 24), (20, 40), (0, 12)))
    predictor, network = predictor_of(hu)
    predictor.click((14, 34, 5))
    predictor.propagate()
    row, col = SIDE - 1 - 34, SIDE - 1 - 14
    for points in network.points:
        assert points[0, 0].tolist() == [row, col, 0]


def test_features_of_a_slice_are_computed_once(predictor_of):
    hu, _ = drawn(((10, 24), (20, 40), (0, 12)))
    predictor, network = predictor_of(hu)
    predictor.prepare(5)
    assert network.encoded == 1
    predictor.click((15, 30, 5))
    predictor.click((12, 22, 5))
    assert network.encoded == 1
    predictor.propagate()
    assert network.encoded == SLICES
    predictor.click((16, 31, 8))
    predictor.propagate()
    assert network.encoded == SLICES


# --- another tool's mask of the whole volume


def given(one, other):
    """Another tool's mask: half of one object, in all of its slices, and a false one."""
    mask = one | other
    mask[:, 30:] = False
    return mask


def test_a_correction_of_a_given_mask_goes_on_as_far_as_it_is_found(predictor_of):
    hu, (one, other) = drawn(ONE, OTHER)
    predictor, network = predictor_of(hu)
    mask = given(one, other)
    predictor.start_from(mask)
    np.testing.assert_array_equal(predictor.mask, mask)
    assert predictor.clicked_slices == ()
    assert predictor.propagate()
    np.testing.assert_array_equal(predictor.mask, mask)  # nothing is corrected yet
    assert network.corrected == []
    predictor.click((15, 35, 6))
    expected = mask.copy()
    expected[..., 6] |= one[..., 6]
    np.testing.assert_array_equal(predictor.mask, expected)
    assert predictor.propagate()
    np.testing.assert_array_equal(predictor.mask, mask | one)
    predictor.click((35, 10, 4), positive=False)
    np.testing.assert_array_equal(predictor.mask[..., 4], one[..., 4])
    predictor.propagate()
    left = one.copy()
    left[..., 6] |= mask[..., 6]  # a person has clicked there, and did not say that it is wrong
    np.testing.assert_array_equal(predictor.mask, left)
    network.corrected.clear()
    assert predictor.propagate()
    assert network.corrected == []
    predictor.undo()
    np.testing.assert_array_equal(predictor.mask, mask | one)
    predictor.undo()
    np.testing.assert_array_equal(predictor.mask, mask)


def test_a_correction_of_a_given_mask_ends_at_slices_that_a_person_has_clicked_on(predictor_of):
    hu, (one,) = drawn(ONE)
    predictor, _ = predictor_of(hu)
    half = one.copy()
    half[:, 30:] = False
    predictor.start_from(half)
    predictor.set_mask(7, predictor.plan.pictures(half)[7].copy())
    predictor.click((15, 35, 5))
    predictor.propagate()
    expected = half.copy()
    expected[..., :7] |= one[..., :7]
    np.testing.assert_array_equal(predictor.mask, expected)


def test_a_given_mask_that_is_right_stays_so_whatever_is_clicked_on_elsewhere(predictor_of):
    hu, (one, other) = drawn(ONE, OTHER)
    predictor, _ = predictor_of(hu)
    predictor.start_from(one)
    predictor.click((35, 10, 4))
    predictor.propagate()
    np.testing.assert_array_equal(predictor.mask & one, one)
    np.testing.assert_array_equal(predictor.mask, one | other)


def test_cancelled_a_correction_is_not_lost(predictor_of):
    hu, (one, other) = drawn(ONE, OTHER)
    predictor, _ = predictor_of(hu)
    predictor.start_from(given(one, other))
    predictor.click((15, 35, 6))
    state = state_of(predictor)
    asked = itertools.count()
    assert not predictor.propagate(cancel=lambda: next(asked) == 2)
    assert_same_state(predictor, state)
    seen = []
    assert predictor.propagate(progress=lambda done, total: seen.append((done, total)))
    assert predictor.mask[15, 35, 3:9].all()
    assert seen[-1] == (5, 5)


def test_a_mask_is_given_as_a_file_on_the_volume_s_grid(predictor_of, save_nifti, tmp_path):
    affine = np.array([[-1.0, 0, 0, 40], [0, 1, 0, -7], [0, 0, 2, 3], [0, 0, 0, 1]])
    hu, (one, other) = drawn(ONE, OTHER)
    predictor, _ = predictor_of(hu, affine)
    labels = (5 * one + 1 * other).astype(np.uint8)
    path = save_nifti(tmp_path / "other_tool.nii.gz", labels, affine)
    predictor.start_from(path, labels=[5])
    np.testing.assert_array_equal(predictor.mask, one)
    predictor.start_from(str(path))
    np.testing.assert_array_equal(predictor.mask, one | other)
    shifted = save_nifti(tmp_path / "shifted.nii.gz", labels, affine + np.eye(4)[:, [3, 0, 1, 2]] * 0.9)
    for wrong, message in (
        (lambda: predictor.start_from(path, labels=[7]), "other_tool.nii.gz: no voxel has label 7"),
        (lambda: predictor.start_from(shifted), "shifted.nii.gz: lies elsewhere"),
        (lambda: predictor.start_from(tmp_path / "none.nii.gz"), "none.nii.gz is missing"),
        (lambda: predictor.start_from(one[1:]), "the mask must be"),
        (lambda: predictor.start_from(labels), "the mask must be"),
    ):
        with pytest.raises(ValueError, match=message):
            wrong()
        np.testing.assert_array_equal(predictor.mask, one | other)


# --- there and back


def merging(slices=SLICES):
    """Two boxes of the same size in slices 2 to 6, and in 7 and 8 one box that holds both."""
    hu, _ = drawn(((10, 20), (20, 40), (2, 7)), ((26, 36), (20, 40), (2, 7)), ((10, 36), (20, 40), (7, 9)))
    return hu[..., :slices]


def test_slices_agree_with_what_comes_back_where_nothing_went_wrong(predictor_of):
    hu, (truth,) = drawn(ONE)
    predictor, _ = predictor_of(hu)
    assert predictor.consistency() == {}
    predictor.click((15, 30, 5))
    assert predictor.consistency() == {}  # nothing was propagated
    predictor.propagate()
    assert predictor.consistency() == {4: 1.0, 6: 1.0, 7: 1.0}  # back from the ends, 3 and 8
    np.testing.assert_array_equal(predictor.mask, truth)


def test_what_runs_into_something_else_comes_back_as_something_else(predictor_of):
    predictor, _ = predictor_of(merging())
    predictor.click((15, 30, 4))
    predictor.propagate()
    dices = predictor.consistency()
    # From 8, both come back.
    assert dices == {3: 1.0, 5: pytest.approx(2 / 3), 6: pytest.approx(2 / 3), 7: 1.0}


def test_a_slice_to_which_nothing_comes_back_does_not_agree_at_all(predictor_of):
    hu, (truth,) = drawn(ONE)
    hu[:, :, 5] = -1000
    predictor, _ = predictor_of(hu)
    for index in (3, 8):
        predictor.set_mask(index, predictor.plan.pictures(truth)[index])
    predictor.propagate()
    assert predictor.consistency() == {4: 0.0, 7: 1.0}  # from 6, where it came from 8


def test_between_clicked_slices_each_half_comes_back_from_the_other(predictor_of):
    hu, _ = drawn(((10, 24), (20, 40), (0, 12)), ((30, 44), (6, 20), (0, 12)))
    predictor, _ = predictor_of(hu)
    predictor.click((15, 30, 1))
    predictor.click((35, 10, 10))
    predictor.propagate()
    dices = predictor.consistency()
    assert {index for index, dice in dices.items() if dice == 0} == set(range(2, 10))


def test_only_what_was_propagated_since_is_taken_back(predictor_of):
    hu, _ = drawn(((10, 24), (20, 40), (0, 12)))
    predictor, network = predictor_of(hu)
    predictor.click((15, 30, 2))
    predictor.click((15, 30, 9))
    predictor.propagate()
    network.corrected.clear()
    before = predictor.consistency()
    count = len(network.corrected)
    assert predictor.consistency() == before
    assert len(network.corrected) == count
    predictor.click((15, 30, 5))
    predictor.propagate()
    network.corrected.clear()
    assert predictor.consistency() == dict.fromkeys((1, 3, 4, 6, 7, 8, 10), 1.0)
    assert len(network.corrected) == 5  # between 2 and 9
    predictor.undo()
    network.corrected.clear()
    assert predictor.consistency() == before
    assert not network.corrected


def test_cancelled_it_is_not_known_and_can_be_done_later(predictor_of):
    predictor, _ = predictor_of(merging())
    predictor.click((15, 30, 4))
    predictor.propagate()
    state = state_of(predictor)
    asked = itertools.count()
    assert predictor.consistency(cancel=lambda: next(asked) == 2) is None
    assert_same_state(predictor, state)
    assert predictor.consistency() == {3: 1.0, 5: pytest.approx(2 / 3), 6: pytest.approx(2 / 3), 7: 1.0}


def test_corrections_of_a_given_mask_are_not_taken_back(predictor_of):
    hu, (truth,) = drawn(ONE)
    predictor, _ = predictor_of(hu)
    predictor.start_from(truth)
    predictor.click((15, 30, 5))
    predictor.propagate()
    assert predictor.consistency() == {}


# --- progress, cancelling, undo


def test_progress_counts_every_slice_and_ends_complete(predictor_of):
    hu, _ = drawn(ONE)
    predictor, _ = predictor_of(hu)
    predictor.click((15, 30, 5))
    told = []
    predictor.propagate(progress=lambda done, total: told.append((done, total)))
    assert [done for done, _ in told] == [1, 2, 3, 4, 5, 5]
    assert told[0] == (1, SLICES - 1)
    assert told[-1] == (5, 5)
    assert all(later[1] <= earlier[1] for earlier, later in itertools.pairwise(told))


@pytest.mark.parametrize("after", [0, 1, 4])
def test_cancelled_everything_is_as_before_and_can_be_done_later(predictor_of, after):
    hu, (truth,) = drawn(ONE)
    predictor, _ = predictor_of(hu)
    predictor.click((15, 30, 5))
    state = state_of(predictor)
    asked = itertools.count()
    assert not predictor.propagate(cancel=lambda: next(asked) == after)
    assert_same_state(predictor, state)
    assert predictor.propagate(cancel=lambda: False)
    np.testing.assert_array_equal(predictor.mask, truth)


def test_undo_is_exact_across_slices_objects_and_propagations(predictor_of):
    hu, _ = drawn(ONE, OTHER)
    predictor, _ = predictor_of(hu)
    steps = [
        (1, (15, 30, 4), True),
        (1, (12, 22, 7), False),
        (2, (35, 10, 3), True),
        (1, (16, 33, 6), True),
        (2, (33, 8, 5), False),
    ]
    states = []
    for label, voxel, positive in steps:
        states.append((label, state_of(predictor)))
        predictor.label = label
        predictor.click(voxel, positive)
        predictor.propagate()
    last = state_of(predictor)
    for label, (clicks, _, labels, _) in reversed(states):
        predictor.undo()
        assert predictor.label == label
        assert predictor.clicks == clicks
        np.testing.assert_array_equal(predictor.labels, labels)
    for label, voxel, positive in steps:
        predictor.label = label
        predictor.click(voxel, positive)
        predictor.propagate()
    assert_same_state(predictor, last)
    predictor.reset()
    assert predictor.clicks == ()
    assert not predictor.labels.any()
    with pytest.raises(RuntimeError, match="there is no click to undo"):
        predictor.undo()


# --- the weights that come with the project


@pytest.mark.slow
def test_a_click_finds_most_of_a_generated_liver(save_nifti, tmp_path):
    patient = random_patient(np.random.default_rng(0), (128, 128, 24), (3.0, 3.0, 8.0))
    path = save_nifti(tmp_path / "ct.nii.gz", patient.hu, patient.affine)
    truth = np.isin(patient.labels, [LABELS["liver"], LABELS["liver tumour"]])
    predictor = VolumePredictor(isegm.load_network(WEIGHTS), open_volume(path), size=256)
    click = NextVoxelClick(truth).click(predictor.mask)
    predictor.click(click.voxel, click.positive)
    first = predictor.mask
    assert predictor.propagate()
    mask = predictor.mask
    assert 2 * (mask & truth).sum() / (mask.sum() + truth.sum()) > 0.5
    np.testing.assert_array_equal(mask[..., click.k], first[..., click.k])
    predictor.undo()
    assert not predictor.mask.any()
    predictor.click(click.voxel, click.positive)
    predictor.propagate()
    np.testing.assert_array_equal(predictor.mask, mask)


# --- several objects


@pytest.mark.parametrize(("overlap", "winner"), [("later", 7), ("earlier", 3)])
def test_where_objects_meet_one_wins(predictor_of, overlap, winner):
    hu, (truth,) = drawn(ONE)
    predictor, _ = predictor_of(hu, overlap=overlap)
    predictor.label = 3
    predictor.click((15, 30, 5))
    predictor.propagate()
    predictor.label = 7
    predictor.click((15, 30, 5))
    labels = np.where(truth, 3, 0)
    labels[..., 5] = np.where(truth[..., 5], winner, 0)
    np.testing.assert_array_equal(predictor.labels, labels)
    np.testing.assert_array_equal(predictor.mask, labels == 7)
    np.testing.assert_array_equal(predictor.slice_mask(5), (labels == 7)[::-1, ::-1, 5].T)
    predictor.undo()
    predictor.label = 3
    np.testing.assert_array_equal(predictor.mask, truth)


# --- orientation and saving

ORDERS = list(itertools.product(itertools.permutations(range(3)), itertools.product([False, True], repeat=3)))


@pytest.mark.parametrize(("order", "flips"), ORDERS)
def test_48_axis_orders_give_one_mask_in_their_own_geometry(order, flips, predictor_of, tmp_path):
    ras, (truth,) = drawn(ONE)
    at = np.array([15, 30, 5])
    steps = np.zeros((4, 4))
    steps[3, 3] = 1
    voxel = []
    for axis, (source, flipped) in enumerate(zip(order, flips, strict=True)):
        steps[source, axis] = -1 if flipped else 1
        last = ras.shape[source] - 1
        steps[source, 3] = last if flipped else 0
        voxel.append(int(last - at[source] if flipped else at[source]))

    def stored(array):
        return np.flip(array.transpose(order), [axis for axis in range(3) if flips[axis]])

    predictor, _ = predictor_of(np.ascontiguousarray(stored(ras)), np.diag([1.0, 1, 2, 1]) @ steps)
    assert predictor.plan.axis == order.index(2)
    predictor.click(voxel)
    predictor.propagate()
    np.testing.assert_array_equal(predictor.mask, stored(truth))
    predictor.save(tmp_path / "mask.nii.gz")
    ct, saved = nib.load(tmp_path / "ct.nii.gz"), nib.load(tmp_path / "mask.nii.gz")
    np.testing.assert_array_equal(np.asanyarray(saved.dataobj), stored(truth))
    np.testing.assert_array_equal(saved.affine, ct.affine)
    for name in ("sform_code", "qform_code", "xyzt_units"):
        assert saved.header[name] == ct.header[name]


@pytest.mark.parametrize(("axis", "array_axis"), [("axial", 2), ("coronal", 1), ("sagittal", 0)])
def test_slices_along_any_axis(predictor_of, axis, array_axis):
    hu, (truth,) = drawn(((10, 24), (20, 40), (8, 30)), slices=SIDE)
    predictor, _ = predictor_of(hu, np.diag([1.0, 1, 1, 1]), axis=axis)
    assert predictor.plan.axis == array_axis
    predictor.click((15, 30, 12))
    assert predictor.mask.any(axis=tuple({0, 1, 2} - {array_axis})).sum() == 1
    predictor.propagate()
    np.testing.assert_array_equal(predictor.mask, truth)


def test_awkward_files_get_masks_in_their_own_geometry(shared, tmp_path):
    """Every file that is a usable volume, whatever its byte order, version, header and orientation."""
    saved = 0
    for path in sorted((shared / "data" / "nifti_robustness").rglob("*")):
        try:
            predictor = VolumePredictor(Thresholding(), open_volume(path), size=32, window="0,100")
        except InputError:
            continue
        shape = predictor.volume.shape
        predictor.click([side // 2 for side in shape])
        predictor.save(tmp_path / "mask.nii.gz")
        again = open_volume(tmp_path / "mask.nii.gz")
        assert again.shape == shape
        np.testing.assert_array_equal(again.affine, predictor.volume.affine)
        given, kept = predictor.volume.header, again.header
        for name in ("sform_code", "qform_code", "xyzt_units", "pixdim", "srow_x", "quatern_b", "qoffset_x"):
            np.testing.assert_array_equal(kept[name], given[name], err_msg=f"{path} {name}")
        assert kept.endianness == given.endianness
        saved += 1
    assert saved > 8


# --- bad input


@pytest.mark.parametrize(
    "voxel", [(-1, 0, 0), (SIDE, 0, 0), (0, SIDE, 0), (0, 0, SLICES), (0, 0), (0, 0, 0, 0), (1.5, 0, 0), 7]
)
def test_a_click_outside_the_volume_is_refused_and_nothing_is_lost(predictor_of, voxel):
    predictor, _ = predictor_of(drawn(ONE)[0])
    predictor.click((15, 30, 5))
    state = state_of(predictor)
    with pytest.raises(ValueError, match=r"outside the volume of 48 x 48 x 12 voxels|three whole numbers"):
        predictor.click(voxel)
    assert_same_state(predictor, state)


def test_a_volume_of_one_slice_is_segmented_as_a_picture(predictor_of):
    hu, (truth,) = drawn(((10, 24), (20, 40), (0, 1)), slices=1)
    predictor, _ = predictor_of(hu)
    predictor.click((15, 30, 0))
    assert predictor.propagate()
    np.testing.assert_array_equal(predictor.mask, truth)


@pytest.mark.parametrize(
    ("fill", "message"),
    [(0, "all voxels have one grey value in the window of level 40, width 350"), (np.nan, "NaN or infinite")],
)
def test_a_volume_without_a_picture_is_refused(predictor_of, fill, message):
    hu = np.full((8, 8, 3), fill, np.float32)
    with pytest.raises(InputError, match=rf"ct\.nii\.gz: {message}"):
        predictor_of(hu)


def test_a_singular_affine_is_refused(predictor_of, monkeypatch):
    predictor, _ = predictor_of(drawn(ONE)[0])
    predictor.volume.affine[:3, 1] = predictor.volume.affine[:3, 0]
    with pytest.raises(InputError, match="its affine is singular or NaN"):
        VolumePredictor(Thresholding(), predictor.volume)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"threshold": 1}, "threshold must be at least 0 and below 1, not 1"),
        ({"overlap": "both"}, "overlap must be later or earlier, not both"),
        ({"axis": "z"}, "axis must be axial, coronal, sagittal, not z"),
        ({"window": "belly"}, "window 'belly': give lung"),
    ],
)
def test_other_settings_are_refused(predictor_of, settings, message):
    with pytest.raises(ValueError, match=message):
        predictor_of(drawn(ONE)[0], **settings)


def test_labels_and_slices_that_there_are_not_are_refused(predictor_of):
    predictor, _ = predictor_of(drawn(ONE)[0])
    for label in (0, 256):
        with pytest.raises(ValueError, match=f"label must be 1 to 255, not {label}"):
            predictor.label = label
    for use in (predictor.slice_mask, predictor.picture, predictor.prepare):
        with pytest.raises(ValueError, match="slice 12 is outside the volume, which has 12"):
            use(SLICES)


@pytest.mark.parametrize("index", [1.5, 5.0, np.float32(5), math.nan, "5", None])
def test_a_slice_that_is_no_whole_number_is_refused_and_nothing_is_lost(predictor_of, index):
    predictor, _ = predictor_of(drawn(ONE)[0])
    predictor.click((15, 30, 5))
    state = state_of(predictor)
    mask = np.ones((SIDE, SIDE), np.bool_)
    for use in (
        predictor.slice_mask,
        predictor.picture,
        predictor.prepare,
        lambda index: predictor.set_mask(index, mask),
    ):
        with pytest.raises(ValueError, match=f"a slice is a whole number, not {index}"):
            use(index)
    assert_same_state(predictor, state)
    predictor.set_mask(np.uint8(6), mask)
    assert predictor.slice_mask(6).all()


@pytest.mark.parametrize("place", [(SIDE, 0), (0, SIDE), (-1, 0), (math.nan, 0)])
def test_a_mask_comes_with_clicks_within_it(predictor_of, place):
    predictor, _ = predictor_of(drawn(ONE)[0])
    state = state_of(predictor)
    with pytest.raises(ValueError, match="is outside the slice of 48 x 48 pixels"):
        predictor.set_mask(5, np.ones((SIDE, SIDE), np.bool_), [Click(*place, positive=True)])
    assert_same_state(predictor, state)


def test_a_network_that_fails_leaves_everything_as_it_was(predictor_of, monkeypatch):
    predictor, _ = predictor_of(drawn(ONE)[0])
    predictor.click((15, 30, 5))
    state = state_of(predictor)

    def fail(*_):
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(Thresholding, "correct", fail)
        for use in (lambda: predictor.click((15, 30, 6)), predictor.propagate):
            with pytest.raises(MemoryError):
                use()
            assert_same_state(predictor, state)


def test_what_cannot_be_saved_leaves_the_old_file(predictor_of, tmp_path, monkeypatch):
    predictor, _ = predictor_of(drawn(ONE)[0])
    predictor.click((15, 30, 5))
    volume = tmp_path / "ct.nii.gz"
    content = volume.read_bytes()
    with pytest.raises(InputError, match="is the volume itself"):
        predictor.save(volume)
    with pytest.raises(InputError, match=r"mask\.png: masks are written as NIfTI or DICOM SEG"):
        predictor.save(tmp_path / "mask.png")
    predictor.save(tmp_path / "mask.nii")
    before = (tmp_path / "mask.nii").read_bytes()

    def full(self, target):
        raise OSError(28, "No space left on device")

    predictor.propagate()
    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space left on device"):
        predictor.save(tmp_path / "mask.nii")
    assert (tmp_path / "mask.nii").read_bytes() == before
    assert volume.read_bytes() == content
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ct.nii.gz", "mask.nii"]


def test_it_is_had_from_the_package():
    assert isegm.VolumePredictor is VolumePredictor
