"""The segmentation without weights: by hand on flat regions, and against shortest paths found by others."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import ndimage, sparse
from scipy.sparse import csgraph

from isegm.geometry import Click
from isegm.inference.geodesic import GeodesicSegmenter

HEIGHT, WIDTH = 40, 64
LEFT = (slice(10, 30), slice(12, 32))
RIGHT = (slice(10, 30), slice(32, 52))


def picture(left=200, right=200, ground=0):
    """Two squares of 20 x 20 side by side on a flat ground, (H, W)."""
    grey = np.full((HEIGHT, WIDTH), ground, np.uint8)
    grey[LEFT] = left
    grey[RIGHT] = right
    return grey


def mask_of(*parts):
    """These parts of the picture; given as (row, col), a pixel is left out again."""
    mask = np.zeros((HEIGHT, WIDTH), np.bool_)
    for part in parts:
        mask[part] = isinstance(part[0], slice)
    return mask


# Smoothed, a pixel beside an edge is 0.66 of the way up (0.70 of a Gaussian's mass is on its side; a gradient
# over three pixels smooths once more), so a straight edge divides the pixels as they are. A pixel in a corner
# is 0.66 * 0.66 = 0.44 of the way up: nearer to the outside.
OUTER_CORNERS = [(10, 12), (29, 12), (10, 51), (29, 51)]
LEFT_CORNERS = [(10, 12), (29, 12), (10, 31), (29, 31)]


def start(image, *clicks, initial=None, threshold=0.5):
    segmenter = GeodesicSegmenter(threshold=threshold)
    segmenter.set_image(image, initial)
    for click in clicks:
        segmenter.click(*click)
    return segmenter


# --- regions divided by edges


@pytest.mark.parametrize("at", [(20, 22), (13, 15), (26, 28)])
@pytest.mark.parametrize(("square", "ground"), [(200, 0), (50, 250), (140, 120)])
def test_a_positive_click_takes_exactly_the_region_that_edges_enclose(square, ground, at):
    # Inside, a path crosses no edge; from the border it crosses one.
    segmenter = start(picture(square, ground, ground), (*at, True))
    np.testing.assert_array_equal(segmenter.mask, mask_of(LEFT, *LEFT_CORNERS))


def test_a_region_behind_a_lower_edge_is_taken_too():
    # Into the right square it is 20 grey levels from the left one, and 180 from the border.
    segmenter = start(picture(left=200, right=180), (20, 22, True))
    np.testing.assert_array_equal(segmenter.mask, mask_of(LEFT, RIGHT, *OUTER_CORNERS))


def test_a_negative_click_takes_back_its_region_and_no_other():
    segmenter = start(picture(left=200, right=180), (20, 22, True), (20, 42, False))
    np.testing.assert_array_equal(segmenter.mask, mask_of(LEFT, *OUTER_CORNERS[:2]))


def test_within_a_flat_region_the_nearer_click_decides():
    segmenter = start(picture(), (20, 22, True), (20, 42, False))
    nearer = np.zeros((20, 40), np.bool_)
    nearer[:, :20] = True  # columns 12 to 31; column 32 is as far from both, and so no object
    inside = (slice(13, 27), slice(15, 49))
    np.testing.assert_array_equal(segmenter.mask[inside], nearer[3:17, 3:37])
    segmenter.click(20, 40)
    nearer[:, :29] = True  # to column 40; from column 41 it is as far to both, or farther to the positive one
    np.testing.assert_array_equal(segmenter.mask[inside], nearer[3:17, 3:37])


def test_a_click_on_the_ground_takes_what_is_nearer_to_it_than_to_the_border():
    # From (n, n) it is n - 1 diagonal steps to the click, 1.41 each, and n steps to the border.
    segmenter = start(picture(), (1, 1, True))
    np.testing.assert_array_equal(np.argwhere(segmenter.mask), [[1, 1], [2, 2], [3, 3]])


def test_a_negative_click_alone_makes_no_object():
    segmenter = start(picture(), (20, 22, False), threshold=0)
    assert (segmenter.probability == 0).all()
    assert not segmenter.mask.any()


# --- distances by hand


def test_on_a_flat_picture_nearness_decides():
    # Of 5 x 5 pixels the ring around the middle is one step from the border, and 1 or sqrt(2) from the click.
    segmenter = start(np.full((5, 5), 90, np.uint8), (2, 2, True))
    corner = 1 / (1 + np.sqrt(2))
    expected = np.zeros((5, 5))
    expected[1:4, 1:4] = [[corner, 0.5, corner], [0.5, 1, 0.5], [corner, 0.5, corner]]
    np.testing.assert_allclose(segmenter.probability, expected, rtol=0, atol=1e-6)
    middle = np.zeros((5, 5), np.bool_)
    middle[2, 2] = True
    np.testing.assert_array_equal(segmenter.mask, middle)  # as near to both is no object


@pytest.mark.parametrize("step", [3, 30])
@pytest.mark.parametrize("falls", [False, True])
def test_a_path_is_as_long_as_the_grey_values_change_and_a_tenth_a_pixel(step, falls):
    grey = picture(left=step, right=step)
    segmenter = start(100 - grey if falls else grey, (20, 22, True))
    # On the way in from the left border the grey values change by `step` in all.
    for col in (16, 17, 18):
        to_background = step + 0.1 * col
        to_object = 0.1 * (22 - col)
        expected = to_background / (to_background + to_object)
        assert segmenter.probability[20, col] == pytest.approx(expected, abs=2e-4), col


@pytest.mark.parametrize("channel", [0, 1, 2])
def test_an_edge_in_any_channel_is_an_edge(channel):
    colour = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    colour[..., channel] = picture(left=30, right=30)
    grey = start(picture(left=30, right=30), (20, 22, True))
    np.testing.assert_array_equal(start(colour, (20, 22, True)).probability, grey.probability)


def test_of_several_channels_the_one_that_changes_most_counts():
    colour = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    for channel, step in enumerate((10, 60, 20)):
        colour[..., channel] = picture(left=step, right=step)
    grey = start(picture(left=60, right=60), (20, 22, True))
    np.testing.assert_allclose(start(colour, (20, 22, True)).probability, grey.probability, rtol=0, atol=1e-6)


# --- against Dijkstra's algorithm


def by_the_book(image, clicks):
    """The probability after these clicks, float64, by shortest paths in the graph of the 8-neighbours.

    A step's length is the mean of both pixels' costs times 1 or sqrt(2); the costs are computed by scipy.
    """
    values = np.atleast_3d(image).astype(float)
    smooth = ndimage.gaussian_filter(values, (1, 1, 0), mode="mirror", truncate=4)
    sobel = np.outer([1, 2, 1], [-1, 0, 1])[..., None] / 8
    across, down = (
        abs(ndimage.correlate(smooth, kernel, mode="mirror")).max(axis=2)
        for kernel in (sobel, sobel.transpose(1, 0, 2))
    )
    cost = np.hypot(across, down) + 0.1
    height, width = cost.shape
    graph = sparse.lil_array((cost.size, cost.size))
    for row, col in np.ndindex(height, width):
        for r, c in ((row, col + 1), (row + 1, col), (row + 1, col + 1), (row + 1, col - 1)):
            if 0 <= r < height and 0 <= c < width:
                length = np.hypot(r - row, c - col) * (cost[row, col] + cost[r, c]) / 2
                graph[row * width + col, r * width + c] = length
    border = [
        row * width + col
        for row, col in np.ndindex(height, width)
        if row in (0, height - 1) or col in (0, width - 1)
    ]
    seeds = {
        polarity: [round(row) * width + round(col) for row, col, positive in clicks if positive == polarity]
        for polarity in (True, False)
    }
    seeds[False] += border
    to = {
        polarity: csgraph.dijkstra(graph.tocsr(), directed=False, indices=start, min_only=True)
        if start
        else np.full(cost.size, np.inf)
        for polarity, start in seeds.items()
    }
    both = (to[True] + to[False]).reshape(height, width)
    with np.errstate(invalid="ignore"):
        probability = np.where(both > 0, to[False].reshape(height, width) / both, 0.5)
    probability[round(clicks[-1][0]), round(clicks[-1][1])] = clicks[-1][2]
    return probability


@st.composite
def images(draw, smallest=1, largest=7):
    shape = draw(st.tuples(st.integers(smallest, largest), st.integers(smallest, largest)))
    channels = draw(st.sampled_from([(), (3,)]))
    # Few different values make flat parts; many, rough ones.
    values = draw(st.sampled_from([st.integers(0, 255), st.sampled_from([0, 100, 255])]))
    return draw(arrays.arrays(np.uint8, (*shape, *channels), elements=values))


@st.composite
def clicked(draw, most=4):
    """An image, and clicks anywhere on it."""
    image = draw(images())
    at = st.tuples(st.integers(0, image.shape[0] - 1), st.integers(0, image.shape[1] - 1), st.booleans())
    return image, draw(st.lists(at, min_size=1, max_size=most))


@settings(max_examples=60, deadline=None)
@given(clicked())
def test_distances_are_those_of_dijkstras_algorithm(case):
    image, clicks = case
    segmenter = start(image, *clicks)
    np.testing.assert_allclose(segmenter.probability, by_the_book(image, clicks), rtol=0, atol=1e-4)


def test_distances_on_a_larger_picture_are_those_of_dijkstras_algorithm():
    rng = np.random.default_rng(0)
    image = ndimage.gaussian_filter(rng.uniform(0, 255, (24, 31, 3)), (2, 2, 0)) * 3 % 256
    clicks = [(9, 12, True), (15.4, 20.6, False), (17, 6, True), (5, 25, False)]
    probability = start(image.astype(np.uint8), *clicks).probability
    expected = by_the_book(image.astype(np.uint8), clicks)
    np.testing.assert_allclose(probability, expected, rtol=0, atol=1e-4)
    assert 0.05 < (probability > 0.5).mean() < 0.6


# --- what holds on any picture


@settings(max_examples=60, deadline=None)
@given(clicked(), st.sampled_from([0, 0.3, 0.49, 0.5, 0.9]))
def test_probabilities_masks_and_the_clicks_own_pixels(case, threshold):
    image, clicks = case
    segmenter = start(image, threshold=threshold)
    for number, (row, col, positive) in enumerate(clicks, start=1):
        probability = segmenter.click(row, col, positive)
        assert probability.dtype == np.float32
        assert probability.shape == image.shape[:2]
        assert (probability >= 0).all()
        assert (probability <= 1).all()
        assert probability[row, col] == positive
        np.testing.assert_array_equal(segmenter.probability, probability)
        assert segmenter.mask.dtype == np.bool_
        np.testing.assert_array_equal(segmenter.mask, probability > np.float32(threshold))
        assert segmenter.clicks == tuple(Click(*click) for click in clicks[:number])


@st.composite
def reordered(draw):
    """An image, clicks on different pixels of it, positive ones within, and these in another order."""
    image = draw(images(smallest=3))
    height, width = image.shape[:2]
    anywhere = st.tuples(st.integers(0, height - 1), st.integers(0, width - 1))
    clicks = [
        (row, col, draw(st.booleans()) and 0 < row < height - 1 and 0 < col < width - 1)
        for row, col in draw(st.lists(anywhere, min_size=2, max_size=6, unique=True))
    ]
    return image, clicks, draw(st.permutations(clicks))


@settings(max_examples=60, deadline=None)
@given(reordered())
def test_the_order_of_clicks_does_not_matter(case):
    image, clicks, others = case
    first, second = start(image, *clicks), start(image, *others)
    np.testing.assert_array_equal(first.probability, second.probability)
    np.testing.assert_array_equal(first.mask, second.mask)


@settings(max_examples=30, deadline=None)
@given(clicked(), clicked())
def test_a_new_image_forgets_the_clicks_on_the_last(case, last):
    image, clicks = case
    segmenter = start(*[last[0], *last[1]], initial=np.ones(last[0].shape[:2], np.bool_))
    segmenter.set_image(image)
    assert segmenter.clicks == ()
    assert segmenter.probability is None
    assert segmenter.mask.shape == image.shape[:2]
    assert not segmenter.mask.any()
    for click in clicks:
        segmenter.click(*click)
    fresh = start(image, *clicks)
    np.testing.assert_array_equal(segmenter.probability, fresh.probability)
    np.testing.assert_array_equal(segmenter.mask, fresh.mask)
    assert segmenter.clicks == fresh.clicks


def test_a_grey_image_is_its_own_three_channels():
    grey = np.random.default_rng(1).integers(0, 256, (12, 17), np.uint8)
    clicks = [(5, 6, True), (8, 12, False)]
    colour = start(np.dstack([grey] * 3), *clicks)
    np.testing.assert_array_equal(start(grey, *clicks).probability, colour.probability)


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (7, 1), (2, 2), (2, 9), (1, 1, 3), (1, 5, 3), (2, 2, 3)])
def test_a_picture_that_is_all_border_has_the_last_click_as_its_object(shape):
    image = np.random.default_rng(2).integers(0, 256, shape, np.uint8)
    segmenter = start(image)
    for at in ((0, 0), (shape[0] - 1, shape[1] - 1)):
        segmenter.click(*at)
        own = np.zeros(shape[:2], np.bool_)
        own[at] = True
        np.testing.assert_array_equal(segmenter.mask, own)
    segmenter.click(0, 0, positive=False)
    assert not segmenter.mask[0, 0]


# --- clicks on the other side's seeds


def test_the_border_is_background_but_for_a_click_on_it():
    segmenter = start(picture(), (0, 30, True), threshold=0)
    border = np.ones((HEIGHT, WIDTH), np.bool_)
    border[1:-1, 1:-1] = False
    border[0, 30] = False
    assert (segmenter.probability[border] == 0).all()
    assert segmenter.probability[0, 30] == 1


def test_only_the_last_click_decides_a_pixel_that_both_sides_were_clicked_on():
    segmenter = start(picture(), (0, 30, True), (20, 22, True))
    assert segmenter.probability[0, 30] == 0.5  # it is the border's as much as the click's
    for positive in (False, True, False):
        segmenter.click(20, 42, positive)
        assert segmenter.probability[20, 42] == positive
    segmenter.click(20, 22)
    assert segmenter.probability[20, 42] == 0.5


def test_a_fraction_counts_to_the_nearest_pixel_and_is_kept():
    fraction = start(picture(), (19.6, 22.4, True))
    np.testing.assert_array_equal(fraction.probability, start(picture(), (20, 22, True)).probability)
    assert fraction.clicks == (Click(19.6, 22.4, True),)


# --- previous masks

EXTRA = (slice(2, 6), slice(40, 44))  # on the ground, away from the squares
OTHER = (slice(15, 25), slice(54, 58))


def test_a_previous_mask_is_the_mask_until_a_click():
    segmenter = start(picture(), initial=mask_of(EXTRA))
    np.testing.assert_array_equal(segmenter.mask, mask_of(EXTRA))
    assert segmenter.probability is None
    assert segmenter.clicks == ()


def test_a_click_changes_only_the_connected_region_of_change_that_holds_it():
    # The proposal is the left square: what is elsewhere in the initial mask would go, but it has no click.
    grey = picture(left=200, right=0)
    segmenter = start(grey, (20, 22, True), initial=mask_of(EXTRA, OTHER))
    np.testing.assert_array_equal(segmenter.mask, mask_of(LEFT, EXTRA, OTHER, *LEFT_CORNERS))
    np.testing.assert_array_equal(segmenter.probability, start(grey, (20, 22, True)).probability)
    segmenter.click(3, 41, positive=False)
    np.testing.assert_array_equal(segmenter.mask, mask_of(LEFT, OTHER, *LEFT_CORNERS))
    segmenter.click(20, 22)  # nothing changes at the click: nothing changes at all
    np.testing.assert_array_equal(segmenter.mask, mask_of(LEFT, OTHER, *LEFT_CORNERS))


def test_a_negative_click_takes_back_the_part_of_a_previous_mask_that_holds_it():
    segmenter = start(picture(), (3, 41, False), initial=mask_of(EXTRA, OTHER))
    np.testing.assert_array_equal(segmenter.mask, mask_of(OTHER))


@settings(max_examples=30, deadline=None)
@given(clicked())
def test_from_an_empty_previous_mask_the_last_click_still_decides_its_pixel(case):
    image, clicks = case
    segmenter = start(image, initial=np.zeros(image.shape[:2], np.bool_))
    for row, col, positive in clicks:
        before = segmenter.mask
        proposed = segmenter.click(row, col, positive) > 0.5
        assert segmenter.mask[row, col] == positive
        changed = segmenter.mask != before
        np.testing.assert_array_equal(segmenter.mask[changed], proposed[changed])


# --- what is handed in and out is the caller's


def test_what_is_given_in_and_handed_out_may_be_changed():
    image, initial = picture(), mask_of(EXTRA)
    expected = start(picture(), initial=mask_of(EXTRA))
    segmenter = start(image, initial=initial)
    image[:] = 0
    initial[:] = True
    segmenter.mask[:] = True
    for click in ((20, 22, True), (20, 42, False)):
        segmenter.click(*click)[:] = 7
        segmenter.probability[:] = 7
        segmenter.mask[:] = True
        expected.click(*click)
        np.testing.assert_array_equal(segmenter.probability, expected.probability)
        np.testing.assert_array_equal(segmenter.mask, expected.mask)


def test_read_only_pictures_of_any_memory_layout_are_taken():
    image = np.random.default_rng(3).integers(0, 256, (12, 17, 3), np.uint8)
    expected = start(image, (5, 6, True)).probability
    frozen = image.copy()
    frozen.setflags(write=False)
    for given_image in (np.asfortranarray(image), image[::-1].copy()[::-1], frozen):
        np.testing.assert_array_equal(start(given_image, (5, 6, True)).probability, expected)


@pytest.mark.parametrize("threshold", [-0.1, 1, float("nan")])
def test_a_threshold_out_of_range_is_refused(threshold):
    with pytest.raises(ValueError, match=f"threshold must be at least 0 and below 1, not {threshold}"):
        GeodesicSegmenter(threshold=threshold)
