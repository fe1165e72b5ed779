"""The deepest pixel, held against SciPy's distances of all pixels, whichever way it is found."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from isegm.simulation import deepest
from isegm.simulation.deepest import deepest_pixel


def plainly(region, allowed, at_least):
    distance = ndimage.distance_transform_edt(np.pad(region, 1))[1:-1, 1:-1]
    squared = np.rint(distance**2).astype(int) * allowed
    row, col = np.argwhere(squared == squared.max())[0].tolist()
    return (int(squared.max()), row, col) if squared.max() >= max(1, at_least) else (0, 0, 0)


@st.composite
def regions(draw):
    """Noise of any density, disks and stripes, with holes; most or all pixels allowed."""
    shape = draw(st.tuples(st.integers(1, 45), st.integers(1, 45)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    rows, cols = np.indices(shape)
    region = rng.random(shape) < draw(st.sampled_from([0, 0.3, 0.7, 0.95, 0.995, 1]))
    for _ in range(draw(st.integers(0, 3))):
        row, col, radius = [*rng.integers(-5, 50, 2).tolist(), draw(st.integers(1, 25))]
        inside = (rows - row) ** 2 + (cols - col) ** 2 < radius**2
        region = region | inside if draw(st.booleans()) else region & ~inside
    if draw(st.booleans()):
        region = region & (rows // draw(st.integers(1, 20)) % 2 == 0)
    allowed = rng.random(shape) >= draw(st.sampled_from([0, 0.01, 0.5, 1]))
    if draw(st.booleans()):  # of a large region only a part, and not its deepest
        allowed &= cols < draw(st.integers(0, 45))
    return region, allowed


# The usual numbers; smaller ones, so that small pictures have thick regions; and those that give it up
WAYS = [(8, 8, 1 << 20), (1, 2, 1 << 20), (2, 4, 1 << 20), (1, 4, 3000), (8, 8, 3000), (8, 8, 0), (1, 2, 0)]


@pytest.mark.parametrize(("thin", "cell", "worthwhile"), WAYS)
def test_it_is_the_deepest_pixel(thin, cell, worthwhile):
    @settings(max_examples=150, deadline=None)
    @given(regions(), st.integers(-3, 3))
    def check(case, over):
        region, allowed = case
        squared = plainly(region, allowed, 0)[0]
        for at_least in (0, max(0, squared + over)):
            assert deepest_pixel(region, allowed, at_least) == plainly(region, allowed, at_least)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(deepest, "_THIN", thin)
        patch.setattr(deepest, "_CELL", cell)
        patch.setattr(deepest, "_WORTHWHILE", worthwhile)
        check()


def disk(shape, row, col, radius):
    rows, cols = np.indices(shape)
    return (rows - row) ** 2 + (cols - col) ** 2 <= radius**2


def test_by_hand():
    region = np.zeros((60, 80), np.bool_)
    region[10:31, 20:61] = True  # 21 rows: the 11th is 11 away from what is outside
    everywhere = np.ones_like(region)
    assert deepest_pixel(region, everywhere, 0) == (121, 20, 30)
    assert deepest_pixel(region, everywhere, 121) == (121, 20, 30)
    assert deepest_pixel(region, everywhere, 122) == (0, 0, 0)
    allowed = everywhere.copy()
    allowed[20, :45] = False
    assert deepest_pixel(region, allowed, 0) == (121, 20, 45)
    allowed[20] = False
    assert deepest_pixel(region, allowed, 0) == (100, 19, 29)
    allowed = everywhere.copy()
    allowed[:, 29:] = False
    allowed[:18] = False
    assert deepest_pixel(region, allowed, 0) == (81, 18, 28)
    assert deepest_pixel(region, ~region, 0) == (0, 0, 0)
    assert deepest_pixel(~everywhere, everywhere, 0) == (0, 0, 0)
    assert deepest_pixel(everywhere, everywhere, 0) == (900, 29, 29)  # the picture's border ends it


@pytest.mark.parametrize("radius", [3, 7, 8, 9, 10, 11, 12, 40, 150])
def test_many_equal_disks_are_won_by_the_first_that_is_allowed(radius):
    shape = (330, 650)
    region = disk(shape, 160, 160, radius) | disk(shape, 165, 490, radius)
    allowed = np.ones(shape, np.bool_)
    squared = plainly(region, allowed, 0)[0]
    assert deepest_pixel(region, allowed, 0) == (squared, 160, 160)
    allowed[160, 160] = False
    assert deepest_pixel(region, allowed, 0) == (squared, 165, 490)
    allowed[165, 490] = False
    assert deepest_pixel(region, allowed, 0) == plainly(region, allowed, 0)


def test_neither_array_is_changed():
    region, allowed = disk((40, 50), 20, 20, 12), ~disk((40, 50), 20, 20, 2)
    before = region.copy(), allowed.copy()
    deepest_pixel(region, allowed, 0)
    np.testing.assert_array_equal(region, before[0])
    np.testing.assert_array_equal(allowed, before[1])
