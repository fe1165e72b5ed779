"""What a slice's neighbour is told of it, by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from isegm.geometry import Click
from isegm.inference.propagation import (
    MOST_ANCHORS,
    Appearance,
    anchors,
    bulk_of,
    denied,
    freed,
    has_ended,
    parts_meeting,
    parts_mostly_in,
    stamped,
    widened,
)


def mask_of(*boxes, shape=(40, 60)):
    mask = np.zeros(shape, np.bool_)
    for rows, cols in boxes:
        mask[slice(*rows), slice(*cols)] = True
    return mask


LARGE, SMALL = ((4, 25), (4, 25)), ((5, 14), (40, 49))


def inside(row, col):
    return Click(row, col, positive=True)


def test_an_object_is_seen_where_it_is_as_bright_as_it_was_and_specks_are_not():
    rng = np.random.default_rng(0)
    mask = mask_of(LARGE)
    picture = rng.normal(np.where(mask, 130, 60), 4).clip(0, 255).astype(np.uint8)
    appearance = Appearance.of(picture, mask)
    assert appearance.middle == pytest.approx(130, abs=1.5)
    assert appearance.spread == 3.0  # the noise is smoothed away
    half = picture.copy()
    half[:, 15:] = 60
    seen = appearance.seen_in(half, mask)
    assert not seen[:, 15:].any()
    assert seen[6:23, 6:13].mean() > 0.98
    speck = np.full_like(picture, 60)
    speck[10:12, 10:12] = 255
    assert not appearance.seen_in(speck, mask).any()


def test_how_an_object_looks_is_taken_within_its_rim_unless_it_is_all_rim():
    picture = np.full((40, 60), 20, np.uint8)
    picture[6:23, 6:23] = 200
    assert Appearance.of(picture, mask_of(LARGE)).middle > 199  # its outer two pixels are dark
    thin = mask_of(((10, 12), (4, 40)))
    picture[9:13, 3:41] = 90
    assert Appearance.of(picture, thin).middle == pytest.approx(90, abs=25)


@pytest.mark.parametrize(("left", "ended"), [(0, True), (5, True), (6, False), (40, False)])
def test_the_object_has_ended_where_under_15_percent_are_left(left, ended):
    before = np.arange(40) < 40
    assert has_ended(before, np.arange(40) < left) == ended


def test_parts_are_clicked_in_their_middles_the_largest_first():
    mask = mask_of(LARGE, SMALL, ((30, 33), (50, 53)))  # of 441, 81 and 9 pixels, which are too few
    assert anchors(mask, []) == [inside(14, 14), inside(9, 44)]
    assert anchors(np.zeros((8, 8), np.bool_), []) == []
    many = mask_of(*(((2, 7), (6 * k, 6 * k + 5)) for k in range(8)))
    assert len(anchors(many, [])) == MOST_ANCHORS


def test_places_that_a_person_clicked_go_before_the_middle_if_they_are_deep_enough():
    mask = mask_of(LARGE, SMALL)
    rim, deep, other = inside(5, 14), inside(10, 20), inside(8, 43)
    assert anchors(mask, [rim, deep, other]) == [deep, other]
    assert anchors(mask, [rim, inside(35, 35)]) == [inside(14, 14), inside(9, 44)]
    assert anchors(mask, [inside(14, 16), deep])[0] == inside(14, 16)  # the nearest slice's


def test_a_negative_click_in_the_middle_of_a_part_means_all_of_it():
    mask = mask_of(LARGE, SMALL)
    middle, rim = Click(13, 15, positive=False), Click(6, 8, positive=False)
    np.testing.assert_array_equal(denied(mask, middle, []), mask_of(LARGE))
    assert not denied(mask, rim, []).any()
    assert not denied(mask, Click(35, 35, positive=False), []).any()
    # Where a person has said that it is the object, a piece of it is meant.
    assert not denied(mask, middle, [inside(20, 20)]).any()
    np.testing.assert_array_equal(denied(mask, middle, [inside(9, 44)]), mask_of(LARGE))


def test_a_click_frees_what_lies_nearer_to_it_than_to_a_click_of_the_other_kind():
    mask = mask_of(LARGE)
    click, other = Click(14, 20, positive=False), inside(14, 10)
    rows, cols = np.indices(mask.shape)
    # 5 pixels from the mask's edge: 10 pixels around.
    around = mask & ((rows - 14) ** 2 + (cols - 20) ** 2 <= 10**2)
    expected = np.where(around, np.float32(0.5), mask.astype(np.float32))
    np.testing.assert_array_equal(freed(mask, click, [click], 2.0), expected)
    expected[:, :16] = mask[:, :16]  # column 15 is as near to the other one
    np.testing.assert_array_equal(freed(mask, click, [other, click], 2.0), expected)


def test_a_positive_click_frees_what_is_no_object_around_it():
    mask = mask_of(LARGE)
    rows, cols = np.indices(mask.shape)
    around = ~mask & ((rows - 14) ** 2 + (cols - 28) ** 2 <= 8**2)  # 4 pixels from the mask
    expected = np.where(around, np.float32(0.5), mask.astype(np.float32))
    np.testing.assert_array_equal(freed(mask, inside(14, 28), [inside(14, 14)], 2.0), expected)


@settings(max_examples=200, deadline=None)
@given(
    mask=arrays.arrays(np.bool_, st.tuples(st.integers(1, 14), st.integers(1, 14))),
    place=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    positive=st.booleans(),
    reach=st.sampled_from([2.0, 3.0]),
)
def test_any_click_on_any_mask_frees_wrong_pixels_by_its_distance_from_a_right_one(
    mask, place, positive, reach
):
    click = Click(*(share * (side - 1) for share, side in zip(place, mask.shape, strict=True)), positive)
    # What lies beyond the border is right. The distance is that of the click's pixel.
    wrong = np.pad(mask != positive, 1)
    row, col = round(click.row) + 1, round(click.col) + 1
    nearest = min((row - r) ** 2 + (col - c) ** 2 for r, c in np.argwhere(~wrong))
    rows, cols = np.indices(mask.shape)
    around = (rows - click.row) ** 2 + (cols - click.col) ** 2 <= max(reach**2 * nearest, 4)
    expected = np.where((mask != positive) & around, np.float32(0.5), mask.astype(np.float32))
    np.testing.assert_array_equal(freed(mask, click, [click], reach), expected)


def test_only_parts_that_meet_the_other_mask_are_taken():
    mask = mask_of(LARGE, SMALL)
    np.testing.assert_array_equal(parts_meeting(mask, mask_of(((24, 30), (24, 30)))), mask_of(LARGE))
    assert not parts_meeting(mask, mask_of(((25, 30), (25, 30)))).any()  # beside it is not in it
    assert not parts_meeting(mask, ~mask).any()
    np.testing.assert_array_equal(parts_meeting(mask, mask), mask)


def test_only_parts_with_more_than_half_in_the_other_mask_are_mostly_in_it():
    mask = mask_of(LARGE, SMALL)
    found = parts_mostly_in(mask, mask_of(((4, 14), (4, 25)), ((5, 10), (40, 49))))
    np.testing.assert_array_equal(found, mask_of(SMALL))  # 10 of 21 rows of one, 5 of 9 of the other
    assert not parts_mostly_in(mask, ~mask).any()
    np.testing.assert_array_equal(parts_mostly_in(~np.zeros_like(mask), mask), np.zeros_like(mask))


def test_a_click_s_disk_is_put_in_or_taken_away():
    mask = mask_of(LARGE)
    rows, cols = np.indices(mask.shape)
    disk = ((rows - 20) / 6) ** 2 + ((cols - 24) / 3) ** 2 <= 1
    np.testing.assert_array_equal(stamped(mask, inside(20, 24), (6, 3)), mask | disk)
    np.testing.assert_array_equal(stamped(mask, Click(20, 24, positive=False), (6, 3)), mask & ~disk)


def test_what_a_change_means_is_without_the_outlines_that_come_along():
    rim = mask_of(((10, 12), (25, 58)))  # two pixels wide, from the square's side on
    bulk, depth = bulk_of(mask_of(LARGE) | rim)
    assert depth == 11
    assert not (bulk & rim)[:, 30:].any()
    np.testing.assert_array_equal(bulk & mask_of(LARGE), mask_of(LARGE))
    assert not (bulk & ~(mask_of(LARGE) | rim)).any()


def test_a_mask_is_widened_by_whole_pixels():
    mask = mask_of(((10, 11), (20, 21)))
    rows, cols = np.nonzero(widened(mask, 2))
    assert (rows.min(), rows.max(), cols.min(), cols.max()) == (8, 12, 18, 22)
    assert not widened(np.zeros_like(mask), 2).any()
