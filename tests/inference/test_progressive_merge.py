"""Merging a click's change: by hand, and what holds whatever the masks are."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import ndimage

from isegm.inference.predictor import Predictor
from isegm.inference.progressive_merge import MergingSegmenter, merge_change
from isegm.inference.torch_network import InferenceModel


def mask_of(*rows):
    return np.array([[letter == "#" for letter in row] for row in rows])


PREVIOUS = mask_of(
    "##....",
    "##....",
    "......",
    "......",
)
PROPOSED = mask_of(
    "#....#",
    "##..#.",
    "..#...",
    "......",
)
# Changed: (0, 1) went; (0, 5), (1, 4) came, joined by a corner; (2, 2) came, alone.


@pytest.mark.parametrize(
    ("at", "merged"),
    [
        ((0, 1), ("#.....", "##....", "......", "......")),
        ((0, 5), ("##...#", "##..#.", "......", "......")),  # 8-connectivity takes (1, 4) along
        ((1, 4), ("##...#", "##..#.", "......", "......")),
        ((2, 2), ("##....", "##....", "..#...", "......")),
        ((3, 0), ("##....", "##....", "......", "......")),  # its own pixel did not change: nothing does
        ((0, 0), ("##....", "##....", "......", "......")),
    ],
)
def test_only_the_changed_region_that_holds_the_click_changes(at, merged):
    np.testing.assert_array_equal(merge_change(PREVIOUS, PROPOSED, *at), mask_of(*merged))


def test_object_that_came_and_object_that_went_are_one_region_where_they_touch():
    merged = merge_change(mask_of("##...#"), mask_of("#.#..."), 0, 1)
    np.testing.assert_array_equal(merged, mask_of("#.#..#"))


def test_the_masks_given_are_left_alone_and_the_result_is_the_callers():
    previous, proposed = PREVIOUS.copy(), PROPOSED.copy()
    for at in ((0, 1), (3, 0)):
        merged = merge_change(previous, proposed, *at)
        merged[:] = True
        np.testing.assert_array_equal(previous, PREVIOUS)
        np.testing.assert_array_equal(proposed, PROPOSED)


def test_any_memory_layout_will_do():
    expected = merge_change(PREVIOUS, PROPOSED, 0, 5)
    merged = merge_change(np.asfortranarray(PREVIOUS), np.asfortranarray(PROPOSED), 0, 5)
    np.testing.assert_array_equal(merged, expected)
    merged = merge_change(PREVIOUS[::-1, ::-1], PROPOSED[::-1, ::-1], 3, 0)
    np.testing.assert_array_equal(merged[::-1, ::-1], expected)


@st.composite
def merges(draw):
    shape = draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    previous, proposed = (draw(arrays.arrays(np.bool_, shape)) for _ in range(2))
    return previous, proposed, draw(st.integers(0, shape[0] - 1)), draw(st.integers(0, shape[1] - 1))


@settings(max_examples=300, deadline=None)
@given(merges())
def test_the_result_is_the_proposal_in_one_whole_region_and_the_previous_mask_elsewhere(merge):
    previous, proposed, row, col = merge
    merged = merge_change(previous, proposed, row, col)
    assert merged.dtype == np.bool_
    taken = merged != previous
    assert merged[row, col] == proposed[row, col]
    np.testing.assert_array_equal(merged[taken], proposed[taken])
    regions, _ = ndimage.label(previous != proposed, structure=np.ones((3, 3)))
    expected = (regions == regions[row, col]) & (regions > 0)
    np.testing.assert_array_equal(taken, expected)


# --- a segmenter that does not see the mask

CLICKS = [(5, 9, True), (20, 3, False), (11.5, 30.25, True), (0, 0, False), (27, 36, True), (14, 20, True)]


def test_a_mask_that_is_merged_does_not_reach_the_network(untrained):
    model = InferenceModel(untrained("hr18s"))
    image = np.random.default_rng(0).integers(0, 256, (28, 37, 3), np.uint8)
    mask = np.zeros((28, 37), np.bool_)
    mask[3:9, 4:12] = True
    alone, merging = Predictor(model, size=32), MergingSegmenter(Predictor(model, size=32))
    alone.set_image(image)
    merging.set_image(image, mask)
    np.testing.assert_array_equal(merging.mask, mask)
    assert merging.probability is None
    differs = False
    for row, col, positive in CLICKS:
        probability = merging.click(row, col, positive)
        np.testing.assert_array_equal(probability, alone.click(row, col, positive))
        np.testing.assert_array_equal(merging.probability, probability)
        mask = merge_change(mask, alone.mask, round(row), round(col))
        np.testing.assert_array_equal(merging.mask, mask)
        differs = differs or bool((mask != alone.mask).any())
    assert differs
    assert merging.clicks == alone.clicks
    merging.set_image(image)
    alone.set_image(image)
    assert not merging.mask.any()
    alone.click(*CLICKS[0])
    merging.click(*CLICKS[0])
    np.testing.assert_array_equal(merging.mask, alone.mask)


def test_masks_given_to_it_and_had_from_it_may_be_changed(untrained):
    merging = MergingSegmenter(Predictor(untrained("hr18s"), size=32))
    mask = np.zeros((28, 37), np.bool_)
    merging.set_image(np.zeros((28, 37), np.uint8), mask)
    mask[:] = True
    merging.mask[:] = True
    assert not merging.mask.any()
