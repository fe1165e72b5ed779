"""Clicks as points, disks and distances, derived by hand."""

import pytest
import torch

from isegm.geometry import Click
from isegm.model.click_maps import disks, encode_clicks, first_click_disk, is_click, squared_distances

UNUSED = [-1.0, -1, -1]


def tensor(rows):
    return torch.tensor([rows], dtype=torch.float64)


@pytest.mark.parametrize(
    ("clicks", "rows"),
    [
        ([], [UNUSED, UNUSED]),
        ([(1, 2, True)], [[1, 2, 0], UNUSED]),
        ([(1.25, 2.5, False)], [UNUSED, [1.25, 2.5, 0]]),
        ([(1, 2, False), (3, 4, True)], [[3, 4, 1], [1, 2, 0]]),
        (
            [(1, 2, True), (3, 4, False), (5, 6, True), (7, 8, True)],
            [[1, 2, 0], [5, 6, 2], [7, 8, 3], [3, 4, 1], UNUSED, UNUSED],
        ),
        ([(1, 2, False), (3, 4, False)], [UNUSED, UNUSED, [1, 2, 0], [3, 4, 1]]),
    ],
)
def test_points_are_positive_rows_then_negative_rows_with_the_order_over_both(clicks, rows):
    points = encode_clicks([Click(*click) for click in clicks])
    assert points.dtype == torch.float64
    assert points.tolist() == rows
    assert is_click(points).tolist() == [row != UNUSED for row in rows]


def test_coordinates_are_not_rounded():
    exact = 1 / 3
    assert encode_clicks([Click(exact, exact, True)])[0].tolist() == [exact, exact, 0]


def test_a_click_beyond_the_border_is_a_click():
    """A mirrored click on the last column of a picture made smaller lies a fraction left of column 0."""
    points = tensor([[0.0, -0.5, 0], UNUSED])
    assert squared_distances(points, 1, 2)[0, 0].tolist() == [[0.25, 2.25]]


def test_squared_distance_to_the_nearest_click_of_each_polarity():
    points = tensor([[0, 0, 0], [0, 3, 2], [1, 1.5, 1], UNUSED])
    assert squared_distances(points, 2, 4).tolist() == [
        [
            [[0, 1, 1, 0], [1, 2, 2, 1]],
            [[3.25, 1.25, 1.25, 3.25], [2.25, 0.25, 0.25, 2.25]],
        ]
    ]


def test_a_polarity_without_clicks_is_a_million_away_everywhere():
    distances = squared_distances(tensor([UNUSED, [0, 0, 0]]), 2, 2)
    assert distances.tolist() == [[[[1e6, 1e6], [1e6, 1e6]], [[0, 1], [1, 2]]]]


def test_an_unused_row_counts_as_a_million_beyond_a_thousand_pixels():
    used, with_unused = tensor([[0, 0, 0], UNUSED]), tensor([[0, 0, 0], UNUSED, UNUSED, UNUSED])
    assert squared_distances(used, 1, 1003)[0, 0, 0, -3:].tolist() == [1e6, 1001**2, 1002**2]
    assert squared_distances(with_unused, 1, 1003)[0, 0, 0, -3:].tolist() == [1e6, 1e6, 1e6]


def test_pictures_of_a_batch_have_their_own_clicks():
    points = torch.cat([tensor([[0, 0, 0], UNUSED]), tensor([UNUSED, [0, 1, 0]])])
    assert squared_distances(points, 1, 2).tolist() == [
        [[[0, 1]], [[1e6, 1e6]]],
        [[[1e6, 1e6]], [[1, 0]]],
    ]


def test_a_disk_has_a_radius_of_five_inclusive():
    disk = disks(squared_distances(tensor([[6, 6, 0], UNUSED]), 13, 13))[0, 0]
    # 81 lattice points lie within 5: 11 in the middle row, and twice 9, 9, 9, 7 and 1
    widths = [0, 1, 7, 9, 9, 9, 11, 9, 9, 9, 7, 1, 0]
    expected = [[float(2 * abs(col - 6) < width) for col in range(13)] for width in widths]
    assert disk.tolist() == expected
    assert disk.sum() == 81


def test_disk_of_a_fractional_click():
    disk = disks(squared_distances(tensor([[0, 0.5, 0], UNUSED]), 1, 8))[0, 0]
    assert disk.tolist() == [[1, 1, 1, 1, 1, 1, 0, 0]]  # 5 is 4.5 away, 6 is 5.5 away


def test_clicks_beyond_a_disk_of_no_click_leave_nothing():
    assert disks(torch.tensor([0.0, 25.0, 25.000001, 1e6])).tolist() == [1, 1, 0, 0]


@pytest.mark.parametrize(
    ("rows", "at"),
    [
        ([[0, 2, 0], [0, 30, 2], [0, 15, 1], UNUSED], 2),
        ([[0, 30, 2], [0, 2, 0], [0, 15, 1], UNUSED], 2),  # the rows' places do not matter, the order does
        ([[0, 30, 1], UNUSED, [0, 2, 0], UNUSED], None),  # the first click is negative
        ([UNUSED, [0, 2, 0]], None),
        ([UNUSED, UNUSED], None),
    ],
)
def test_the_first_stage_sees_the_disk_of_a_positive_click_of_order_zero_only(rows, at):
    disk = first_click_disk(tensor(rows), 1, 40)
    assert disk.shape == (1, 1, 1, 40)
    expected = [float(at is not None and abs(col - at) <= 5) for col in range(40)]
    assert disk.flatten().tolist() == expected
