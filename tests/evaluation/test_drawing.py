import numpy as np
import pytest

from isegm.datasets import Sample
from isegm.evaluation import drawing
from isegm.evaluation.drawing import (
    MASK_COLOUR,
    NEGATIVE_COLOUR,
    POSITIVE_COLOUR,
    TRUTH_COLOUR,
    draw_areas,
    draw_contours,
    draw_probability,
    draw_result,
    enlargement,
    view,
)
from isegm.evaluation.record import SampleResult
from isegm.geometry import Click
from tests.evaluation.by_hand import FINAL

GREY = (90, 90, 90)
RADIUS = 6
"""Of a click's disk with its ring, in a picture of 520 x 600."""


def result_with(*clicks):
    return SampleResult("a", clicks, (0.5,) * len(clicks), (0.1,) * len(clicks), FINAL)


def area(rows, columns, shape=(520, 600)):
    pixels = np.zeros(shape, np.bool_)
    pixels[rows, columns] = True
    return pixels


NOTHING = area(0, np.s_[:0])


def sample_with(truth):
    return Sample("a", np.full((*truth.shape, 3), 90, np.uint8), truth.astype(np.int8), None)


def away_from(*centres):
    """Where no click's disk is, and so only numbers are drawn."""
    rows, columns = np.indices((520, 600))
    return np.all([np.hypot(rows - row, columns - col) > RADIUS + 1 for row, col in centres], axis=0)


def test_the_truth_and_the_mask_are_outlined_and_only_the_mask_is_tinted():
    truth = area(np.s_[20:100], np.s_[20:60]).astype(np.int8)
    truth[:, 150:] = -1
    picture = draw_result(sample_with(truth), area(np.s_[30:90], np.s_[80:140]), result_with())
    assert picture.shape == (520, 600, 3)
    assert picture.dtype == np.uint8
    assert tuple(picture[20, 40]) == tuple(picture[99, 40]) == tuple(picture[60, 20]) == TRUTH_COLOUR
    assert tuple(picture[30, 100]) == tuple(picture[89, 100]) == tuple(picture[60, 139]) == MASK_COLOUR
    for row, col in ((60, 40), (110, 155), (10, 10)):
        assert tuple(picture[row, col]) == GREY
    red, _, blue = picture[60, 110].tolist()
    assert blue > 90 > red


@pytest.mark.parametrize("width", [1, 5, 9])
def test_outlines_are_as_wide_as_asked_for_about_the_areas_border(width):
    picture = draw_areas(sample_with(area(np.s_[20:100], np.s_[20:60])), NOTHING, width)
    rows = np.flatnonzero((picture[:, 40] == TRUTH_COLOUR).all(axis=1))
    for border, found in ((20, rows[rows < 60]), (99, rows[rows > 60])):
        assert width <= len(found) <= width + (2 if width > 1 else 0)  # OpenCV's smooth lines are wider
        assert found[0] + found[-1] == 2 * border


def test_the_image_itself_is_not_drawn_on():
    sample = sample_with(NOTHING)
    draw_result(sample, area(np.s_[30:90], np.s_[80:140]), result_with(Click(5, 5, True)))
    assert (sample.image == 90).all()


def test_clicks_are_where_they_were_placed_in_the_colour_of_their_polarity():
    clicks = Click(60, 100, True), Click(200.0, 90.0, False)
    picture = draw_result(sample_with(NOTHING), NOTHING, result_with(*clicks))
    assert tuple(picture[60, 100]) == POSITIVE_COLOUR
    assert tuple(picture[200, 90]) == NEGATIVE_COLOUR
    assert (picture[60, 100 - RADIUS : 100] > 200).all(axis=1).any()  # a white ring


@pytest.mark.parametrize("row", [0, 260, 519])
@pytest.mark.parametrize("col", [0, 300, 599])
def test_the_number_of_a_click_is_whole_wherever_the_click_is(row, col):
    def pixels_of_number(row, col):
        picture = draw_result(sample_with(NOTHING), NOTHING, result_with(Click(row, col, True)))
        return (picture > 200).all(axis=2)[away_from((row, col))].sum()  # white, at its edge nearly

    assert pixels_of_number(row, col) == pixels_of_number(100, 100) > 0


def test_numbers_of_close_clicks_are_whole_and_cover_no_other_click():
    places = [(200, 300), (200, 314), (214, 300), (214, 314)]
    clicks = [Click(row, col, True) for row, col in places]
    alone = 0
    for order, (row, col) in enumerate(places):
        far = [Click(40.0 * i, 40, True) for i in range(1, order + 1)]
        picture = draw_result(sample_with(NOTHING), NOTHING, result_with(*far, Click(row, col, True)))
        alone += (picture == 255).all(axis=2)[:, 200:][away_from((row, col))[:, 200:]].sum()
    together = draw_result(sample_with(NOTHING), NOTHING, result_with(*clicks))
    for row, col in places:
        assert tuple(together[row, col]) == POSITIVE_COLOUR
    assert (together == 255).all(axis=2)[away_from(*places)].sum() == alone


def test_small_images_are_drawn_larger_with_clicks_in_the_middle_of_their_pixel():
    truth = area(np.s_[5:15], np.s_[10:30], (50, 80))
    click = Click(20, 40, False)
    picture = draw_result(sample_with(truth), np.zeros((50, 80), np.bool_), result_with(click))
    assert picture.shape == (500, 800, 3)
    assert tuple(picture[50, 200]) == tuple(picture[149, 299]) == TRUTH_COLOUR
    assert tuple(picture[49, 200]) == tuple(picture[150, 300]) == GREY
    red = np.argwhere((picture == NEGATIVE_COLOUR).all(axis=2))
    np.testing.assert_allclose(red.mean(axis=0), [204.5, 404.5], atol=0.6)


@pytest.mark.parametrize(
    ("height", "width", "factor"),
    [(500, 500, 1), (512, 512, 1), (499, 600, 2), (122, 101, 5), (40, 56, 13), (1, 10, 200), (1, 5000, 1)],
)
def test_what_is_legible_already_or_very_long_stays_as_large_as_it_is(height, width, factor):
    assert enlargement(height, width) == enlargement(width, height) == factor


def test_very_narrow_pictures_can_be_drawn():
    truth = area(np.s_[:], np.s_[:100], (3, 3000))
    clicks = [Click(1, col, True) for col in range(0, 100, 7)]
    assert draw_result(sample_with(truth), truth, result_with(*clicks)).shape == (3, 3000, 3)


def test_probabilities_are_grey_levels_to_the_nearest():
    grey = draw_probability(np.array([[0.0, 0.5, 1.0], [0.4 / 255, 0.6 / 255, 254.4 / 255]], np.float32))
    assert grey.dtype == np.uint8
    np.testing.assert_array_equal(grey, [[0, 128, 255], [0, 1, 254]])


def near(picture, colour):
    """Where a picture with smooth edges has a colour, nearly."""
    return (abs(picture.astype(int) - colour) < 70).all(axis=-1)


def test_outlines_leave_the_image_visible_and_the_masks_lies_on_the_truths():
    truth, mask = area(np.s_[10:30], np.s_[10:30], (40, 50)), area(np.s_[10:30], np.s_[20:40], (40, 50))
    picture = draw_contours(sample_with(truth), mask, [], 400, 600)
    assert picture.shape == (400, 500, 3)
    assert near(picture[200, 90:110], TRUTH_COLOUR).any()
    assert near(picture[200, 390:410], MASK_COLOUR).any()
    assert near(picture[95:105, 250], MASK_COLOUR).any()  # both outlines run here
    assert near(picture[95:105, 250], TRUTH_COLOUR).any()  # the truth's is wider
    for row, col in ((50, 50), (200, 150), (200, 250), (200, 350)):
        assert tuple(picture[row, col]) == GREY


@pytest.mark.parametrize(
    ("shape", "drawn"),
    [((40, 50), (360, 450)), ((40, 100), (192, 480)), ((720, 480), (360, 240)), ((1, 960), (1, 480))],
)
def test_a_picture_of_outlines_is_as_large_as_its_box_holds_in_the_images_proportions(shape, drawn):
    truth = area(np.s_[:], np.s_[:3], shape)
    assert draw_contours(sample_with(truth), truth, [Click(0, 1, True)], 360, 480).shape == (*drawn, 3)


@pytest.mark.parametrize("scale", [10, 0.5])
def test_clicks_among_outlines_are_in_the_middle_of_their_pixel(scale):
    shape = (round(400 / scale), round(600 / scale))
    row, col = round(shape[0] * 0.25), round(shape[1] * 0.75)
    nothing = area(0, np.s_[:0], shape)
    picture = draw_contours(sample_with(nothing), nothing, [Click(row, col, False)], 400, 600)
    red = np.argwhere(near(picture, NEGATIVE_COLOUR))
    np.testing.assert_allclose(
        red.mean(axis=0), [scale * (row + 0.5) - 0.5, scale * (col + 0.5) - 0.5], atol=0.8
    )


@pytest.mark.parametrize(
    ("shape", "rows", "cols", "shown"),
    [
        # 20 marked rows and a quarter of that on each side are 30; the shape is twice as wide as it is high.
        ((90, 90), (40, 60), (40, 60), ((35, 65), (20, 80))),
        # 20 rows and 80 columns: the width decides, 120 by 60.
        ((200, 200), (90, 110), (60, 140), ((70, 130), (40, 160))),
        # At the border it is moved, not cut ...
        ((90, 90), (0, 20), (70, 90), ((0, 30), (30, 90))),
        # ... and it is cut where the slice is too small.
        ((25, 50), (2, 22), (2, 22), ((0, 25), (0, 50))),
    ],
)
def test_the_view_holds_what_is_marked_in_a_shape(monkeypatch, shape, rows, cols, shown):
    monkeypatch.setattr(drawing, "SURROUNDINGS", 0.25)
    marked = np.zeros(shape, bool)
    marked[slice(*rows), slice(*cols)] = True
    assert view(marked, 2) == (slice(*shown[0]), slice(*shown[1]))
