"""The less precise simulator: by hand, its chances counted, and what holds whatever the mask."""

import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import ndimage

from isegm.geometry import Click
from isegm.simulation.click_model import ClickModel, parse_click_model
from isegm.simulation.imprecise_click import ImpreciseClick
from isegm.simulation.next_click import NextClick

SQUARE = np.zeros((101, 101), np.int8)
SQUARE[30:71, 30:71] = 1  # its middle is (50, 50)
NOTHING = np.zeros(SQUARE.shape, np.bool_)


def simulator(truth, text, seed=0, name="sample"):
    return ImpreciseClick(truth, parse_click_model(text), seed, name)


def first_clicks(truth, mask, text, count):
    """The first clicks of many users, as (count, 2) rows and columns."""
    clicks = [simulator(truth, text, seed).click(mask) for seed in range(count)]
    return np.array([(click.row, click.col) for click in clicks])


@st.composite
def sessions(draw, tallest=12):
    shape = draw(st.tuples(st.integers(1, tallest), st.integers(1, tallest)))
    truth = draw(arrays.arrays(np.int8, shape, elements=st.sampled_from([-1, 0, 1, 1, 1])))
    if draw(st.booleans()):
        truth[:] = draw(st.sampled_from([0, 1]))
    return truth, draw(st.lists(arrays.arrays(np.bool_, shape), min_size=1, max_size=8))


models = st.builds(
    ClickModel,
    random=st.booleans(),
    jitter=st.sampled_from([0.0, 0.3, 2.0, 50.0, 1e6]),
    wrong=st.sampled_from([0.0, 0.3, 1.0]),
)
names = st.text(st.characters(), max_size=5)  # lone surrogates too, as undecodable names of files have


@settings(max_examples=200, deadline=None)
@given(sessions(), st.integers(0, 1000), names)
def test_with_nothing_left_to_chance_it_is_the_published_simulator(session, seed, name):
    truth, masks = session
    published, imprecise = NextClick(truth), ImpreciseClick(truth, ClickModel(), seed, name)
    assert [imprecise.click(mask) for mask in masks] == [published.click(mask) for mask in masks]


@settings(max_examples=300, deadline=None)
@given(sessions(), models, st.integers(0, 1000), names)
def test_clicks_are_whole_pixels_of_the_picture_none_twice_and_the_same_again(session, model, seed, name):
    truth, masks = session
    one, other = (ImpreciseClick(truth, model, seed, name) for _ in range(2))
    clicks = [one.click(mask) for mask in masks]
    assert clicks == [other.click(mask) for mask in masks]
    places = [(click.row, click.col) for click in clicks if click is not None]
    assert len(set(places)) == len(places)
    for row, col in places:
        assert (row, col) == (int(row), int(col))
        assert 0 <= row < truth.shape[0]
        assert 0 <= col < truth.shape[1]


@settings(max_examples=200, deadline=None)
@given(sessions(tallest=5), models, st.integers(0, 1000))
def test_it_ends_and_only_where_the_published_simulator_would(session, model, seed):
    """Also with the largest slips: as many clicks as the picture has pixels are the most."""
    truth, masks = session
    imprecise = ImpreciseClick(truth, model, seed, "a")
    clicked = np.zeros(truth.shape, np.bool_)
    while click := imprecise.click(masks[0]):
        assert not clicked[click.row, click.col]
        clicked[click.row, click.col] = True
    wrong = ((truth == 1) & ~masks[0]) | ((truth == 0) & masks[0])
    assert clicked[wrong].all()


@settings(max_examples=200, deadline=None)
@given(sessions(), st.integers(0, 1000))
def test_random_stays_in_the_part_of_the_error_that_holds_the_middle(session, seed):
    truth, masks = session
    published, imprecise = NextClick(truth), simulator(truth, "random", seed)
    for mask in masks:
        middle, click = published.aim(mask), imprecise.click(mask)
        if middle is None:
            assert click is None
            continue
        error = (truth == 1) & ~mask if middle.positive else (truth == 0) & mask
        parts, _ = ndimage.label(error, np.ones((3, 3)))
        assert click.positive == middle.positive
        assert parts[click.row, click.col] == parts[middle.row, middle.col] > 0
        published.mark(click.row, click.col)


def test_random_draws_every_pixel_of_that_part_alike_and_no_other():
    truth = np.zeros((9, 12), np.int8)
    truth[1:4, 1:4] = 1  # the widest error
    truth[4, 4] = 1  # touches it by a corner
    truth[7:9, 6:12] = 1  # another error, of more pixels
    drawn = first_clicks(truth, np.zeros(truth.shape, np.bool_), "random", 2000)
    places, counts = np.unique(drawn, axis=0, return_counts=True)
    assert places.tolist() == [[row, col] for row in (1, 2, 3) for col in (1, 2, 3)] + [[4, 4]]
    # 200 a place are expected, give or take 13.4.
    assert counts.min() > 140
    assert counts.max() < 260


def test_the_wider_of_the_two_errors_is_the_one_that_is_meant():
    truth = np.zeros((9, 20), np.int8)
    truth[0:3, 0:3] = 1
    mask = np.zeros(truth.shape, np.bool_)
    mask[2:7, 10:15] = True
    for seed in range(20):
        click = simulator(truth, "random", seed).click(mask)
        assert not click.positive
        assert mask[click.row, click.col]


def test_jitter_is_a_rounded_normal_deviate_of_pixels_along_rows_and_columns():
    slips = first_clicks(SQUARE, NOTHING, "jitter=3", 4000) - 50
    # The standard error of the mean is 0.05, of the deviation 0.03; rounding adds 1/12 to the variance.
    assert np.abs(slips.mean(axis=0)).max() < 0.2
    np.testing.assert_allclose(slips.std(axis=0), math.sqrt(9 + 1 / 12), atol=0.15)
    assert abs(np.corrcoef(slips.T)[0, 1]) < 0.07
    within = (np.abs(slips) <= 3).mean()  # 3.5 pixels are 1.1667 standard deviations
    assert within == pytest.approx(math.erf(3.5 / 3 / math.sqrt(2)), abs=0.02)


def test_a_slip_may_leave_the_error_and_means_the_same():
    truth = np.zeros((61, 61), np.int8)
    truth[30, 30] = 1
    nothing = np.zeros(truth.shape, np.bool_)
    clicks = [simulator(truth, "jitter=4", seed).click(nothing) for seed in range(50)]
    assert all(click.positive for click in clicks)
    assert sum(truth[click.row, click.col] == 0 for click in clicks) > 40


def test_a_slip_ends_at_the_edge_of_the_picture():
    places = {tuple(place) for place in first_clicks(SQUARE, NOTHING, "jitter=1e6", 200).tolist()}
    assert places == {(0, 0), (0, 100), (100, 0), (100, 100)}


def test_where_the_pixel_was_clicked_already_the_nearest_other_one_is_clicked():
    """The tiniest slip hits the middle every time; what was aimed at but not hit stays to be aimed at."""
    truth = np.ones((7, 7), np.int8)
    nothing = np.zeros(truth.shape, np.bool_)
    still = simulator(truth, "jitter=1e-9")
    assert still.click(nothing) == Click(3, 3, True)
    assert still.click(nothing) == Click(2, 2, True)  # the next middle: nothing to evade

    row = simulator(np.ones((1, 2), np.int8), "jitter=1e6", seed=1)
    one, other = (row.click(np.zeros((1, 2), np.bool_)) for _ in range(2))
    assert {one.col, other.col} == {0, 1}
    assert row.click(np.zeros((1, 2), np.bool_)) is None

    far = simulator(SQUARE, "jitter=1e6")
    corners = [far.click(NOTHING) for _ in range(12)]
    # Three clicks a corner on average: the corner itself, then its nearest neighbours, rows first.
    by_corner = {}
    for click in corners:
        by_corner.setdefault((click.row > 50, click.col > 50), []).append((click.row, click.col))
    inwards = {
        (False, False): [(0, 0), (0, 1), (1, 0), (1, 1)],
        (False, True): [(0, 100), (0, 99), (1, 100), (1, 99)],
        (True, False): [(100, 0), (99, 0), (100, 1), (99, 1)],
        (True, True): [(100, 100), (99, 100), (100, 99), (99, 99)],
    }
    assert max(map(len, by_corner.values())) > 2
    for corner, places in by_corner.items():
        assert places[:4] == inwards[corner][: len(places)]


def test_the_polarity_is_wrong_as_often_as_it_should_be_but_never_at_first():
    flips = np.zeros(4)
    for seed in range(1500):
        user = simulator(SQUARE, "wrong=0.2", seed)
        flips += [not user.click(NOTHING).positive for _ in range(4)]
    assert flips[0] == 0
    np.testing.assert_allclose(flips[1:] / 1500, 0.2, atol=0.04)  # four standard errors

    always = simulator(SQUARE, "wrong=1")
    assert [always.click(NOTHING).positive for _ in range(4)] == [True, False, False, False]
    wrong_on_background = simulator(1 - SQUARE, "wrong=1")
    everything = np.ones(SQUARE.shape, np.bool_)
    assert [wrong_on_background.click(everything).positive for _ in range(3)] == [False, True, True]


def test_each_chance_is_the_same_whatever_else_the_model_says():
    def clicks(text):
        user = simulator(SQUARE, text, seed=3)
        return [user.click(NOTHING) for _ in range(6)]

    assert [click.positive for click in clicks("wrong=0.5")] == [
        click.positive for click in clicks("random,jitter=2,wrong=0.5")
    ]
    slips = [first_clicks(SQUARE, NOTHING, text, 20) - 50 for text in ("jitter=5", "jitter=5,wrong=0.9")]
    np.testing.assert_array_equal(*slips)


def test_seed_name_and_number_each_make_a_difference():
    def places(seed, name):
        user = simulator(SQUARE, "random", seed, name)
        return tuple((click.row, click.col) for click in (user.click(NOTHING) for _ in range(3)))

    drawn = [places(seed, name) for seed in range(3) for name in ("a", "b", "1", "1\0a", "")]
    assert len(set(drawn)) == len(drawn)
    assert all(len(set(three)) == 3 for three in drawn)


def test_the_clicks_are_these_in_any_process():
    """Written down once: a change of the chances would make published figures irreproducible."""
    code = (
        "import numpy as np\n"
        "from isegm.simulation.click_model import ClickModel\n"
        "from isegm.simulation.imprecise_click import ImpreciseClick\n"
        "truth = np.zeros((101, 101), np.int8); truth[30:71, 30:71] = 1\n"
        "user = ImpreciseClick(truth, ClickModel(random=True, jitter=3, wrong=0.5), 7, 'liver_000')\n"
        "clicks = [user.click(np.zeros(truth.shape, bool)) for _ in range(4)]\n"
        "print([(click.row, click.col, click.positive) for click in clicks])\n"
        "import sys; sys.exit('torch' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[(58, 67, True), (35, 31, True), (46, 67, True), (58, 46, False)]"


@pytest.mark.parametrize("text", ["random", "jitter=2", "wrong=1"])
def test_a_perfect_mask_gets_no_click_and_bad_masks_are_refused(text):
    user = simulator(SQUARE, text)
    assert user.click(SQUARE == 1) is None
    with pytest.raises(ValueError, match="the mask must be"):
        user.click(SQUARE)
    with pytest.raises(ValueError, match=r"the truth must be \(H, W\)"):
        simulator(SQUARE[0], text)
