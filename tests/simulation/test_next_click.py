"""The evaluation's click simulator: by hand, against the original's clicks and a plain reference."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import ndimage

from isegm.geometry import Click
from isegm.simulation.next_click import NextClick


def truth_of(*rows):
    """``#`` object, ``.`` background, ``?`` ignored."""
    return np.array([[{"#": 1, ".": 0, "?": -1}[letter] for letter in row] for row in rows], np.int8)


def mask_of(*rows):
    return np.array([[letter == "#" for letter in row] for row in rows])


def test_clicks_are_the_originals(parity):
    reference = np.load(parity("clicks.npz"))
    for truth, masks, clicks in zip(reference["gt"], reference["pred"], reference["clicks"], strict=True):
        simulator = NextClick(truth)
        for mask, (row, col, positive) in zip(masks, clicks, strict=True):
            assert simulator.click(mask) == Click(row, col, bool(positive))


@pytest.mark.parametrize(
    ("truth", "mask", "click"),
    [
        # the middle of a square that was missed, and of one that is too much
        ([".....", ".###.", ".###.", ".###.", "....."], ["....."] * 5, (2, 2, True)),
        (["....."] * 5, [".....", ".###.", ".###.", ".###.", "....."], (2, 2, False)),
        # the border ends an error: a whole missed picture is clicked in its middle, not in a corner
        (["#####"] * 5, ["....."] * 5, (2, 2, True)),
        # of many widest points the first in row-major order
        (["####"] * 4, ["...."] * 4, (1, 1, True)),
        (["#######"] * 3, ["......."] * 3, (1, 1, True)),
        # the wider error is clicked
        (["###....", "###....", "###...."], ["......#", "......#", "......#"], (1, 1, True)),
        (["#......", "#......", "#......"], ["....###", "....###", "....###"], (1, 5, False)),
        # a tie goes to the false positives, wherever they are
        (["#...."], ["....#"], (0, 4, False)),
        (["....#"], ["#...."], (0, 0, False)),
        # a square of 2 and a line of 6 are equally narrow: the first pixel of all
        (["##.....", "##.....", ".......", ".######"], ["......."] * 4, (0, 0, True)),
        # ignored pixels are no error and end one, as correct pixels do
        (["?????", "?????", "?????", "....#"], ["#####", "#####", "#####", "....."], (3, 4, True)),
        (["?####", "#####", "#####"], ["....."] * 3, (1, 2, True)),
        # distances are Euclidean: (2, 1) is the square root of 2 away from the hole, (1, 1) is 1 away
        (["#####", "##?##", "#####", "#####"], ["....."] * 4, (2, 1, True)),
    ],
)
def test_by_hand(truth, mask, click):
    assert NextClick(truth_of(*truth)).click(mask_of(*mask)) == Click(*click)


def test_no_pixel_is_clicked_twice_and_the_next_best_is_taken():
    simulator = NextClick(truth_of("#####", "#####", "#####"))
    nothing = mask_of(".....", ".....", ".....")
    clicks = [simulator.click(nothing) for _ in range(16)]
    expected = [(1, 1), (1, 2), (1, 3)]  # 2 pixels from the end; all others 1
    expected += [(row, col) for row in range(3) for col in range(5) if (row, col) not in expected]
    assert clicks == [Click(row, col, True) for row, col in expected] + [None]


def test_a_clicked_pixel_still_counts_as_error_for_its_neighbours():
    """Only its own place is excluded: the distances of the others stay what they were."""
    simulator = NextClick(truth_of(*["#" * 7] * 7))
    nothing = np.zeros((7, 7), np.bool_)
    assert simulator.click(nothing) == Click(3, 3, True)  # 4 away
    assert simulator.click(nothing) == Click(2, 2, True)  # 3 away: were (3, 3) no error, (2, 2) would be 1.4


def test_clicks_of_one_simulator_do_not_bind_another():
    truth, nothing = truth_of("###"), mask_of("...")
    assert NextClick(truth).click(nothing) == NextClick(truth).click(nothing) == Click(0, 0, True)


def test_where_all_that_is_wrong_was_clicked_there_is_no_click():
    simulator = NextClick(truth_of("#..#"))
    assert simulator.click(mask_of("#...")) == Click(0, 3, True)
    assert simulator.click(mask_of("#...")) is None
    assert simulator.click(mask_of("....")) == Click(0, 0, True)
    assert simulator.click(mask_of("#.##")) == Click(0, 2, False)


@pytest.mark.parametrize("truth", [["##..", "##.."], ["??..", "##??"], ["????"], ["####"], ["...."]])
def test_on_a_perfect_mask_there_is_no_click(truth):
    truth = truth_of(*truth)
    assert NextClick(truth).click(truth == 1) is None
    assert NextClick(truth).click(truth != 0) is None


def test_truth_may_be_of_any_type_and_memory_layout():
    truth, mask = truth_of("###..", "###..", "###..", "....."), np.zeros((4, 5), np.bool_)
    mask[3] = True
    expected = NextClick(truth).click(mask)
    for other in (truth.astype(np.float32), np.asfortranarray(truth), np.repeat(truth, 2, 1)[:, ::2]):
        assert NextClick(other).click(mask) == expected
        assert NextClick(other).click(np.asfortranarray(mask)) == expected
        assert NextClick(other).click(mask[::-1].copy()[::-1]) == expected


def test_neither_truth_nor_mask_is_changed():
    truth, mask = truth_of("###", "#?#"), mask_of("..#", "...")
    before = truth.copy(), mask.copy()
    NextClick(truth).click(mask)
    np.testing.assert_array_equal(truth, before[0])
    np.testing.assert_array_equal(mask, before[1])


@pytest.mark.parametrize("shape", [(4,), (4, 4, 1), ()])
def test_a_truth_that_is_no_picture_is_refused(shape):
    with pytest.raises(ValueError, match=r"the truth must be \(H, W\)"):
        NextClick(np.zeros(shape, np.int8))


@pytest.mark.parametrize(
    "mask", [np.zeros((3, 5), np.bool_), np.zeros((4, 4), np.bool_), np.zeros((4, 5), np.uint8)]
)
def test_a_mask_of_the_wrong_kind_is_refused_and_costs_no_pixel(mask):
    simulator = NextClick(np.ones((4, 5), np.int8))
    with pytest.raises(ValueError, match=r"the mask must be \(4, 5\) bool"):
        simulator.click(mask)
    assert simulator.click(np.zeros((4, 5), np.bool_)) == Click(1, 1, True)


def reference_clicks(truth, masks):
    """The protocol written down plainly, in whole squared pixels."""
    unclicked = np.ones(truth.shape, np.bool_)
    for mask in masks:
        widest = []
        for error in ((truth == 1) & ~mask, (truth == 0) & mask):
            distance = ndimage.distance_transform_edt(np.pad(error, 1))[1:-1, 1:-1]
            squared = np.rint(distance**2).astype(int) * unclicked
            widest.append((squared.max(), np.argwhere(squared == squared.max())[0]))
        (missed, missed_at), (extra, extra_at) = widest
        if missed == extra == 0:
            yield None
            continue
        row, col = missed_at if missed > extra else extra_at
        unclicked[row, col] = False
        yield Click(row, col, bool(missed > extra))


@st.composite
def sessions(draw):
    shape = draw(st.tuples(st.integers(1, 12), st.integers(1, 12)))
    truth = draw(arrays.arrays(np.int8, shape, elements=st.sampled_from([-1, 0, 1, 1, 1])))
    if draw(st.booleans()):  # large flat areas, where distances are long
        truth[:] = draw(st.sampled_from([0, 1]))
    masks = draw(st.lists(arrays.arrays(np.bool_, shape), min_size=1, max_size=5))
    return truth, masks


@settings(max_examples=300, deadline=None)
@given(sessions())
def test_it_is_the_plain_reference(session):
    truth, masks = session
    simulator = NextClick(truth)
    assert [simulator.click(mask) for mask in masks] == list(reference_clicks(truth, masks))


@pytest.mark.parametrize("seed", range(4))
def test_it_is_the_plain_reference_on_pictures_of_a_real_size(seed):
    rng = np.random.default_rng(seed)
    smooth = [ndimage.gaussian_filter(rng.standard_normal((300, 420)), 12 + 4 * seed) for _ in range(5)]
    truth = (smooth[0] > 0).astype(np.int8)
    truth[np.abs(smooth[0]) < 0.001] = -1
    masks = [field > 0 for field in smooth[1:]] + [np.zeros_like(truth, np.bool_)] * 3
    simulator = NextClick(truth)
    assert [simulator.click(mask) for mask in masks] == list(reference_clicks(truth, masks))


def bad_masks():
    """Truths of a real size, and masks that are as wrong as they get."""
    rows, cols = np.indices((512, 512))
    ellipse = ((rows - 256) / 224) ** 2 + ((cols - 256) / 224) ** 2 < 1
    small = (rows - 200) ** 2 + (cols - 300) ** 2 < 25**2
    noise = np.random.default_rng(0).standard_normal(rows.shape)
    yield ellipse, np.zeros_like(ellipse)
    yield ellipse, ~ellipse
    yield ellipse, np.roll(ellipse, (3, 3), (0, 1))
    yield small, np.ones_like(small)
    yield ellipse, ellipse ^ (ndimage.gaussian_filter(noise, 1.5) > 0.1)
    yield small, noise > 0


@pytest.mark.parametrize(("truth", "mask"), list(bad_masks()))
@pytest.mark.parametrize("ignored", [0, 0.001])
def test_it_is_the_plain_reference_on_bad_masks(truth, mask, ignored):
    truth = truth.astype(np.int8)
    truth[np.random.default_rng(1).random(truth.shape) < ignored] = -1
    masks = [mask] * 3
    simulator = NextClick(truth)
    assert [simulator.click(mask) for mask in masks] == list(reference_clicks(truth, masks))


def test_it_starts_without_torch():
    code = "import isegm.simulation.next_click, sys; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
