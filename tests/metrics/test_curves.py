import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isegm.metrics.curves import area_under_curve, dice_of_iou, iou_of_dice
from isegm.metrics.overlap import Counts, dice, iou

shares = st.floats(0, 1)


@given(*[st.integers(0, 10_000)] * 3)
def test_dice_and_iou_of_two_masks_follow_from_each_other(both, spilt, missed):
    counts = Counts(both, spilt, missed)
    if both + spilt + missed:
        assert dice_of_iou(iou(counts)) == pytest.approx(dice(counts), rel=1e-12)
        assert iou_of_dice(dice(counts)) == pytest.approx(iou(counts), rel=1e-12)


@pytest.mark.parametrize(
    ("curve", "area"),
    [
        ([0.25], 0.25),
        ([0.0, 1.0], 0.5),
        ([0.0, 1.0, 1.0], 0.75),
        ([0.5, 0.75, 0.25, 1.0], (0.625 + 0.5 + 0.625) / 3),
        ([0.9] * 20, 0.9),
    ],
)
def test_the_area_is_that_of_the_trapezoids_over_the_width(curve, area):
    assert area_under_curve(curve) == pytest.approx(area)


def test_of_no_click_there_is_no_area():
    assert math.isnan(area_under_curve([]))


@given(st.lists(st.tuples(shares, shares, shares, shares), min_size=1, max_size=9))
def test_the_area_under_the_mean_curve_is_the_mean_of_the_areas(curves):
    mean = [sum(column) / len(curves) for column in zip(*curves, strict=True)]
    areas = [area_under_curve(curve) for curve in curves]
    assert area_under_curve(mean) == pytest.approx(sum(areas) / len(areas))
    assert all(
        min(curve) - 1e-12 <= area <= max(curve) + 1e-12 for curve, area in zip(curves, areas, strict=True)
    )
