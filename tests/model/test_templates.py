"""Template selection on maps small enough to derive the scores by hand."""

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from isegm.model.click_maps import NO_CLICK, squared_distances
from isegm.model.correction.templates import (
    click_similarity,
    first_largest,
    gather_templates,
    relative_distance,
    select_templates,
)

UNUSED = [-1.0, -1, -1]


def tensor(rows):
    return torch.tensor([rows], dtype=torch.float64)


def one_row_of_features(*vectors):
    """(1, M, 1, w) from one vector a pixel."""
    return torch.tensor(vectors, dtype=torch.float64).T[None, :, None, :]


def test_similarity_is_the_cosine_with_the_click_it_is_most_like():
    features = one_row_of_features((2, 0), (0, 3), (-1, 0), (5, 5))
    half = 0.5**0.5
    points = tensor([[0, 0, 0], [0, 4, 1], [0, 8, 2], UNUSED])  # at pixels 0 and 1; at pixel 2
    positive, negative = click_similarity(features, points)[0]
    torch.testing.assert_close(positive, tensor([1, 1, 0, half])[0][None])
    torch.testing.assert_close(negative, tensor([0, 0, 1, 0])[0][None])  # the unused row's 0 beats -1


def test_without_an_unused_row_a_similarity_can_be_negative():
    features = one_row_of_features((1, 0), (-1, 0))
    points = tensor([[0, 0, 0], [0, 4, 1]])
    assert click_similarity(features, points)[0, :, 0].tolist() == [[1, -1], [-1, 1]]


@pytest.mark.parametrize(
    ("row", "col", "pixel"),
    [
        (0, 2, (0, 0)),  # 0.5 rounds to 0
        (0, 2.1, (0, 1)),
        (0, 6, (0, 2)),  # 1.5 rounds to 2
        (0, 10, (0, 2)),  # 2.5 rounds to 2
        (6, 0, (2, 0)),
        (11, 15, (2, 3)),  # 2.75 and 3.75 round beyond the map and are clamped to it
        (0, -0.9, (0, 0)),
        (-3, 14, (0, 3)),  # -0.75 is clamped; 3.5 rounds to 4, which is clamped too
    ],
)
def test_a_click_is_at_a_quarter_of_its_place_rounded_to_even_and_clamped(row, col, pixel):
    features = torch.eye(12, dtype=torch.float64).reshape(1, 12, 3, 4)  # every pixel is like itself only
    similarity = click_similarity(features, tensor([[row, col, 0], UNUSED]))[0, 0]
    assert similarity.nonzero().tolist() == [list(pixel)]


def test_distance_is_a_fraction_of_the_diagonal_with_corners_aligned():
    distances = squared_distances(tensor([[0, 0, 0], UNUSED]), 5, 12)  # a diagonal of 13
    near, far = relative_distance(distances, (1, 3))[0]
    torch.testing.assert_close(near * 13, torch.tensor([[0, 5.5, 11]], dtype=torch.float64))
    torch.testing.assert_close(far * 13, torch.ones(1, 3, dtype=torch.float64))  # no click: one pixel away


def test_only_a_distance_of_exactly_a_million_means_no_click():
    distances = torch.tensor([999_999.0, NO_CLICK, 1_000_001]).double().view(1, 1, 1, 3)
    relative = relative_distance(distances, (1, 3)) * 10**0.5
    torch.testing.assert_close(relative.flatten(), torch.tensor([999_999.0, 1, 1_000_001]).double().sqrt())


@pytest.mark.parametrize(
    ("vectors", "positive", "negative"),
    [
        # positive click on pixel 0, none negative: S- = 0, 1 - D+ = 1, 7.5/13, 2/13; 1 - D- = 12/13.
        # S+ = 1, 0, 1: scores 2, .58, .31 and 0, .92, 0
        (((1, 0), (0, 1), (1, 0)), [0, 1, 2], [1]),
        # S+ = 1, 0, .8 (the unused row lifts -1 to 0): 2, .58, .28 and 0, .92, .18
        (((1, 0), (-1, 0), (0.8, 0.6)), [0, 1, 2], [1, 2, 0]),
        # S+ = 1, .6, 1: 2, .92, .31 and 0, .37, 0
        (((1, 0), (0.6, 0.8), (1, 0)), [0, 1, 2], [1]),
    ],
)
def test_the_best_scores_come_first(vectors, positive, negative):
    points = tensor([[0, 0, 0], UNUSED, UNUSED, UNUSED])
    chosen = select_templates(one_row_of_features(*vectors), points, squared_distances(points, 5, 12), 3)
    assert chosen.dtype == torch.int64
    assert chosen[0, 0].tolist() == positive
    assert chosen[0, 1].tolist()[: len(negative)] == negative


def test_likeness_to_the_other_polarity_counts_against_and_distance_too():
    # Positive click on pixel 0, negative on pixel 3 of four; 5 x 12 input, so D = 0, 11/3, 22/3, 11 of 13.
    features = one_row_of_features((1, 0), (0.6, 0.8), (0.8, 0.6), (0, 1))
    points = tensor([[0, 0, 0], [0, 11, 1]])
    # S+ = 1, .6, .8, 0 and S- = 0, .8, .6, 1
    # positive: 2 * 1, .8 * .718, 1.2 * .436, 0 -> 2, .574, .523, 0
    # negative: 0, 1.2 * .436, .8 * .718, 2 * 1 -> 0, .523, .574, 2
    chosen = select_templates(features, points, squared_distances(points, 5, 12), 4)
    assert chosen.tolist() == [[[0, 1, 2, 3], [3, 2, 1, 0]]]
    # With every distance equal, likeness alone decides.
    level = torch.ones(1, 2, 5, 12, dtype=torch.float64)
    assert select_templates(features, points, level, 4).tolist() == [[[0, 2, 1, 3], [3, 1, 2, 0]]]


def test_only_so_many_are_chosen():
    features = one_row_of_features((1, 0), (0.6, 0.8), (0.8, 0.6), (0, 1))
    points = tensor([[0, 0, 0], [0, 11, 1]])
    chosen = select_templates(features, points, squared_distances(points, 5, 12), 2)
    assert chosen.tolist() == [[[0, 1], [3, 2]]]


def test_on_a_map_with_too_few_pixels_the_list_begins_again():
    features = one_row_of_features((1, 0), (0.6, 0.8), (0, 1))
    points = tensor([[0, 0, 0], [0, 11, 1]])
    chosen = select_templates(features, points, squared_distances(points, 5, 12), 7)
    assert chosen.tolist() == [[[0, 1, 2, 0, 1, 2, 0], [2, 1, 0, 2, 1, 0, 2]]]


def test_no_gradient_flows_through_the_choice():
    features = one_row_of_features((1, 0), (0.6, 0.8), (0, 1)).requires_grad_()
    points = tensor([[0, 0, 0], [0, 11, 1]]).requires_grad_()
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(kept.append, lambda tensor: tensor):
        chosen = select_templates(features, points, squared_distances(points.detach(), 5, 12), 3)
    assert kept == []  # nor is anything kept for one
    gathered = gather_templates(features, chosen.flatten(1))
    gathered.sum().backward()
    assert points.grad is None
    torch.testing.assert_close(features.grad, torch.full_like(features, 2))  # each pixel was read twice


def test_templates_are_read_row_by_row():
    features = torch.arange(12.0).reshape(1, 2, 2, 3)
    assert gather_templates(features, torch.tensor([[5, 0, 4]])).tolist() == [[[5, 11], [0, 6], [4, 10]]]


values = st.integers(-3, 3).map(float)  # many are equal


@given(
    hnp.arrays(np.float32, st.tuples(st.integers(1, 3), st.integers(1, 30)), elements=values),
    st.data(),
)
def test_of_equal_values_the_first_is_taken(rows, data):
    count = data.draw(st.integers(1, rows.shape[1]))
    wanted = np.argsort(-rows, axis=1, kind="stable")[:, :count]
    np.testing.assert_array_equal(first_largest(torch.from_numpy(rows), count), wanted)


def test_values_that_are_no_numbers_do_not_lead_out_of_the_picture():
    rows = torch.full((2, 9), torch.nan)
    rows[1, 4] = 1.0
    for count in (1, 5, 9):
        chosen = first_largest(rows, count)
        assert chosen.shape == (2, count)
        assert 0 <= chosen.min() <= chosen.max() < 9
