"""The training's clicks, held against an independent reference: SciPy's distances, the rule read plainly."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from isegm.simulation.distance import measure_depth
from isegm.simulation.train_clicks import first_click, next_click, number_of_clicks

SHAPES = hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=24)
REGIONS = hnp.arrays(np.bool_, SHAPES)


def depth_of(region):
    return ndimage.distance_transform_edt(np.pad(region, 1))[1:-1, 1:-1]


def disks(*spots, shape=(60, 80)):
    rows, cols = np.indices(shape)
    return np.logical_or.reduce(
        [(rows - row) ** 2 + (cols - col) ** 2 < radius**2 for row, col, radius in spots]
    )


@given(REGIONS)
def test_depth_is_the_exact_distance(region):
    depth = measure_depth(region)
    whole = np.zeros(region.shape)
    height, width = depth.squared.shape
    whole[depth.top : depth.top + height, depth.left : depth.left + width] = depth.squared
    np.testing.assert_array_equal(whole, np.rint(depth_of(region) ** 2))
    assert depth.greatest == whole.max()


@given(REGIONS.filter(np.any), st.integers(0, 2**32))
def test_first_click_lies_in_the_inner_part(region, seed):
    click = first_click(region, np.random.default_rng(seed))
    depth = depth_of(region)
    assert depth[click.row, click.col] > depth.max() / 1.7
    assert click.positive
    assert (type(click.row), type(click.col)) == (int, int)


def test_first_click_reaches_the_whole_inner_part_evenly():
    # Of a 7 x 7 square the depths are 1 to 4: the inner part is above 4 / 1.7 = 2.35, the middle 3 x 3.
    region = np.zeros((20, 30), bool)
    region[5:12, 8:15] = True
    rng = np.random.default_rng(0)
    counts = np.zeros(region.shape, int)
    for _ in range(900):
        click = first_click(region, rng)
        counts[click.row, click.col] += 1
    assert counts[7:10, 10:13].sum() == 900
    assert counts[7:10, 10:13].min() > 60


@given(REGIONS.filter(np.any), st.integers(0, 2**32))
def test_a_first_click_off_the_centre_is_anywhere_in_the_object(region, seed):
    click = first_click(region, np.random.default_rng(seed), anywhere=True)
    assert region[click.row, click.col]


def test_a_first_click_off_the_centre_reaches_the_whole_object_evenly():
    region = np.zeros((10, 12), bool)
    region[3:7, 2:8] = True
    rng = np.random.default_rng(0)
    counts = np.zeros(region.shape, int)
    for _ in range(2400):
        click = first_click(region, rng, anywhere=True)
        counts[click.row, click.col] += 1
    assert counts[~region].sum() == 0
    assert counts[region].min() > 60


def test_the_pictures_border_is_outside():
    # A region all over a 5 x 5 picture is deepest in its middle only, 3; 3 / 1.7 leaves the depths 2 and 3.
    clicks = [first_click(np.ones((5, 5), bool), np.random.default_rng(i)) for i in range(200)]
    assert {(click.row, click.col) for click in clicks} == {(r, c) for r in (1, 2, 3) for c in (1, 2, 3)}


def test_an_empty_object_cannot_be_clicked():
    with pytest.raises(ValueError, match="without a pixel"):
        first_click(np.zeros((4, 4), bool), np.random.default_rng(0))


@settings(max_examples=200)
@given(st.data(), SHAPES, st.integers(0, 2**32))
def test_next_click_follows_the_rule(data, shape, seed):
    mask = data.draw(hnp.arrays(np.bool_, shape))
    truth = data.draw(hnp.arrays(np.int8, shape, elements=st.integers(-1, 1)))
    missed, extra = depth_of((truth == 1) & ~mask), depth_of((truth == 0) & mask)
    click = next_click(mask, truth, np.random.default_rng(seed))
    deepest = max(missed.max(), extra.max())
    if click is not None:
        chosen = missed if click.positive else extra
        assert chosen[click.row, click.col] > deepest / 2
    elif deepest > 0:  # the chosen error was the thin one
        assert 0 < min(missed.max(), extra.max()) <= deepest / 2


def test_a_perfect_mask_gets_no_click():
    truth = np.array([[1, 1, 0], [-1, 0, 0]], np.int8)
    for mask in (truth == 1, truth != 0):  # whatever it says of the ignored pixel
        assert next_click(mask, truth, np.random.default_rng(0)) is None


def test_one_kind_of_error_decides_the_polarity():
    truth = disks((30, 30, 15)).astype(np.int8)
    for mask, positive in ((np.zeros_like(truth, bool), True), (np.ones_like(truth, bool), False)):
        clicks = [next_click(mask, truth, np.random.default_rng(i)) for i in range(30)]
        assert {click.positive for click in clicks} == {positive}


def test_polarity_goes_by_the_greatest_depths():
    # False negatives are a disk of depth 15, false positives one of depth 10: 3 to 2.
    truth = disks((30, 20, 15)).astype(np.int8)
    mask = disks((30, 60, 10))
    rng = np.random.default_rng(0)
    clicks = [next_click(mask, truth, rng) for _ in range(2000)]
    assert abs(np.mean([click.positive for click in clicks]) - 0.6) < 0.035
    rows = np.array([(c.row, c.col) for c in clicks if not c.positive])
    # Half of the *larger* maximum, 7.5, is left of the smaller disk: its innermost part only.
    assert (((rows - (30, 60)) ** 2).sum(axis=1) < 3.5**2).all()


def test_the_thin_error_gets_no_click():
    truth = disks((30, 20, 15)).astype(np.int8)
    mask = disks((30, 60, 5))
    rng = np.random.default_rng(0)
    clicks = [next_click(mask, truth, rng) for _ in range(1000)]
    nothing = np.mean([click is None for click in clicks])
    assert abs(nothing - 5 / 20) < 0.05
    assert all(click is None or click.positive for click in clicks)


def test_the_same_generator_gives_the_same_clicks():
    truth = disks((30, 20, 15)).astype(np.int8)
    first, second = (
        [next_click(disks((30, 50, 12)), truth, np.random.default_rng([7, i])) for i in range(20)]
        for _ in "ab"
    )
    assert first == second
    assert len(set(first)) > 10


def test_number_of_clicks():
    rng = np.random.default_rng(0)
    counts = np.bincount([number_of_clicks(rng) for _ in range(20_000)], minlength=24)
    assert len(counts) == 24
    expected = 0.8 ** np.arange(24) / (0.8 ** np.arange(24)).sum()
    np.testing.assert_allclose(counts[:10] / 20_000, expected[:10], atol=0.012)
    assert {number_of_clicks(rng, 0) for _ in range(5)} == {0}
    assert {number_of_clicks(rng, 2, 1.0) for _ in range(50)} == {0, 1, 2}
