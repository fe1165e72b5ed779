"""What a network is shown of the mask before a click."""

import numpy as np
import pytest
import torch

from isegm.geometry import Click
from isegm.inference.network_input import previous_input
from isegm.inference.predictor import Predictor

SIZE = (31, 47)
"""Of the network's input; the logits have 16 x 24, corners aligned: every other pixel."""

OBJECT = np.zeros((16, 24), np.bool_)
OBJECT[4:12, 2:12] = True


def logits_of(mask):
    """Logits that are far from certain, and vary."""
    noise = np.random.default_rng(0).uniform(0.1, 2, mask.shape)
    return torch.from_numpy(np.where(mask, noise, -noise))[None, None]


def on_input(row, col, positive):
    """A click on a pixel of the logits, in pixels of the input."""
    return Click(2 * row, 2 * col, positive)


def levels(mask, undecided):
    return np.where(undecided, 0.0, np.where(mask, 5.0, -5.0))


@pytest.mark.parametrize("name", ["hr18s", "hr18", "hr32", "segb0", "segb3"])
def test_the_published_networks_see_the_logits_themselves(name, untrained):
    logits = logits_of(OBJECT)
    assert previous_input(untrained(name), logits, [on_input(7, 5, positive=True)], SIZE, SIZE) is logits


def test_lite0_sees_the_mask_and_not_what_the_new_click_may_change(untrained):
    rows, cols = np.indices(OBJECT.shape)
    first, missed = on_input(7, 5, positive=True), on_input(8, 14, positive=True)
    shown = previous_input(untrained("lite0"), logits_of(OBJECT), [first, missed], SIZE, SIZE)
    # The nearest pixel of the mask is 3 columns away: 6 pixels around, without what is right.
    undecided = ~OBJECT & ((rows - 8) ** 2 + (cols - 14) ** 2 <= 6**2)
    np.testing.assert_array_equal(shown[0, 0], levels(OBJECT, undecided))
    assert shown.dtype == torch.float64
    too_much = on_input(7, 9, positive=False)  # 3 columns from the edge, 4 from the first click
    shown = previous_input(untrained("lite0"), logits_of(OBJECT), [first, missed, too_much], SIZE, SIZE)
    distance = (rows - 7) ** 2 + (cols - 9) ** 2
    undecided = OBJECT & (distance <= 6**2)
    undecided &= distance < (rows - 7) ** 2 + (cols - 5) ** 2  # the first click has its own half
    undecided &= distance < (rows - 8) ** 2 + (cols - 14) ** 2
    np.testing.assert_array_equal(shown[0, 0], levels(OBJECT, undecided))


def test_a_click_on_an_error_that_the_logits_do_not_show_frees_two_pixels(untrained):
    rows, cols = np.indices(OBJECT.shape)
    click = on_input(7, 11, positive=True)  # the last column of the mask
    shown = previous_input(untrained("lite0"), logits_of(OBJECT), [click], SIZE, SIZE)
    undecided = ~OBJECT & ((rows - 7) ** 2 + (cols - 11) ** 2 <= 2**2)
    assert undecided.any()
    np.testing.assert_array_equal(shown[0, 0], levels(OBJECT, undecided))


def test_both_views_see_the_mask_that_they_make_together(untrained):
    click = on_input(0, 23, positive=False)
    logits = logits_of(OBJECT)
    other = logits.flip(3).clone()
    other[..., 6, 23 - 5] -= 10  # the other view is sure of the contrary there
    shown = previous_input(untrained("lite0"), torch.cat([logits, other]), [click], SIZE, SIZE)
    mask = OBJECT.copy()
    mask[6, 5] = False
    np.testing.assert_array_equal(shown[0, 0], levels(mask, np.zeros_like(mask)))
    np.testing.assert_array_equal(shown[1, 0], shown[0, 0].flip(1))


def test_a_predictor_shows_the_head_its_mask_and_again_after_an_undo(untrained, shown):
    predictor = Predictor(untrained("lite0"), size=32)
    predictor.set_image(np.random.default_rng(0).integers(0, 256, (32, 40, 3), np.uint8))
    predictor.click(12, 9, positive=True)
    probability = predictor.click(3, 30, positive=False)
    assert set(shown[1].unique().tolist()) <= {-5.0, 0.0, 5.0}
    assert (shown[1] > 0).any() or (shown[1] < 0).any()
    predictor.undo()
    np.testing.assert_array_equal(predictor.click(3, 30, positive=False), probability)
    torch.testing.assert_close(shown[2], shown[1], rtol=0, atol=0)
