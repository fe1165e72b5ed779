import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from isegm.metrics.overlap import Counts, count, dice, iou, mask_dice, mask_iou, precision, recall

SHAPE = (5, 7)
masks = arrays(bool, SHAPE)
labels = arrays(np.int8, SHAPE, elements=st.integers(-1, 1))


def test_counts_of_a_mask_worked_out_by_hand():
    truth = np.array([[1, 1, 0, 0], [1, 1, 0, 0]], bool)
    prediction = np.array([[0, 1, 1, 0], [0, 1, 0, 0]], bool)
    counts = count(prediction, truth)
    assert counts == Counts(true_positive=2, false_positive=1, false_negative=2)
    assert (counts.prediction_area, counts.truth_area) == (3, 4)
    assert dice(counts) == 4 / 7
    assert iou(counts) == 2 / 5
    assert precision(counts) == 2 / 3
    assert recall(counts) == 2 / 4


def test_ignored_pixels_count_neither_way():
    truth = np.array([[1, 1, -1, -1, 0]], np.int8)
    prediction = np.array([[1, 0, 1, 0, 1]], bool)
    assert count(prediction, truth) == Counts(1, 1, 1)
    assert mask_iou(prediction, truth) == 1 / 3
    assert mask_dice(prediction, truth) == 2 / 4


@pytest.mark.parametrize("truth_type", [bool, np.uint8, np.int8, np.int64])
def test_every_way_to_write_a_truth_means_the_same(truth_type):
    prediction = np.array([[1, 1, 0]], bool)
    assert mask_iou(prediction, np.array([[0, 1, 1]], truth_type)) == 1 / 3


EMPTY, FULL = np.zeros((2, 2), bool), np.ones((2, 2), bool)


@pytest.mark.parametrize(
    ("prediction", "truth", "expected"),
    [
        (EMPTY, EMPTY, (math.nan, math.nan, math.nan, math.nan)),
        (EMPTY, FULL, (0, 0, math.nan, 0)),
        (FULL, EMPTY, (0, 0, 0, math.nan)),
        (FULL, FULL, (1, 1, 1, 1)),
    ],
)
def test_the_convention_for_empty_masks(prediction, truth, expected):
    counts = count(prediction, truth)
    got = (dice(counts), iou(counts), precision(counts), recall(counts))
    np.testing.assert_equal(got, expected)
    np.testing.assert_equal((mask_dice(prediction, truth), mask_iou(prediction, truth)), expected[:2])


@pytest.mark.parametrize(
    ("prediction", "truth", "said"),
    [
        (np.zeros((2, 3), bool), np.zeros((3, 2), bool), r"\(2, 3\) but the truth is \(3, 2\)"),
        (np.zeros((2, 2), np.uint8), EMPTY, "prediction must be bool"),
        (EMPTY, np.full((2, 2), 255, np.uint8), "truth must be bool"),
        (EMPTY, np.full((2, 2), -2, np.int8), "truth must be bool"),
        (EMPTY, np.zeros((2, 2), np.float32), "truth must be bool"),
    ],
)
def test_what_is_no_mask_is_refused(prediction, truth, said):
    with pytest.raises(ValueError, match=said):
        count(prediction, truth)


def test_a_mask_without_pixels_is_an_empty_mask():
    assert count(np.zeros((0, 3), bool), np.zeros((0, 3), np.int8)) == Counts(0, 0, 0)


@given(masks, masks)
def test_dice_and_iou_do_not_care_which_mask_is_the_truth(a, b):
    np.testing.assert_equal((mask_dice(a, b), mask_iou(a, b)), (mask_dice(b, a), mask_iou(b, a)))


@given(masks, masks)
def test_precision_is_recall_with_the_masks_exchanged(a, b):
    np.testing.assert_equal(precision(count(a, b)), recall(count(b, a)))


@given(masks, labels)
def test_iou_follows_from_dice(prediction, truth):
    d = mask_dice(prediction, truth)
    assume(not math.isnan(d))
    assert mask_iou(prediction, truth) == pytest.approx(d / (2 - d))
    assert 0 <= mask_iou(prediction, truth) <= d <= 1


@given(masks, labels, masks)
def test_nothing_changes_with_the_prediction_of_ignored_pixels(prediction, truth, other):
    changed = np.where(truth == -1, other, prediction)
    assert count(changed, truth) == count(prediction, truth)


@given(masks, labels)
def test_ignoring_is_the_same_as_cutting_out(prediction, truth):
    kept = truth != -1
    assert count(prediction, truth) == count(prediction[kept], truth[kept] == 1)
