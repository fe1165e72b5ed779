"""Objects that nobody labelled."""

from functools import partial

import numpy as np

from isegm.training.regions import find_region, take_region
from isegm.training.scenes import Altered


def squares():
    """A picture of 6 x 6 squares of 50 pixels, whose neighbours differ by 80; and the squares' numbers."""
    numbers = np.kron(np.arange(36).reshape(6, 6), np.ones((50, 50), int))
    row, col = numbers // 6, numbers % 6
    grey = (30 + 80 * ((row + col) % 3)).astype(np.uint8)
    return np.dstack([grey] * 3), numbers


def test_a_region_is_bounded_by_the_pictures_edges():
    image, numbers = squares()
    before, seen = image.copy(), set()
    found = whole = 0
    for seed in range(150):
        region = find_region(image, np.random.default_rng(seed))
        again = find_region(image, np.random.default_rng(seed))
        assert (region is None) == (again is None)
        if region is None:
            continue
        np.testing.assert_array_equal(region, again)
        assert (region.shape, region.dtype) == (numbers.shape, np.bool_)
        assert 0.003 * 0.9 < region.mean() < 0.25 * 1.1
        found += 1
        # Squares are in it or out of it, but for a few pixels along the outline: many places fell into each.
        covered = np.bincount(numbers[region], minlength=36) / 2500
        whole += ((covered < 0.15) | (covered > 0.85)).all()
        seen |= set(np.flatnonzero(covered > 0.5))
    np.testing.assert_array_equal(image, before)
    assert found > 60
    assert whole > found / 2
    assert len(seen) > 25


def test_in_black_and_in_one_grey_there_is_no_region():
    rng = np.random.default_rng(0)
    assert all(find_region(np.zeros((90, 70, 3), np.uint8), rng) is None for _ in range(20))
    assert all(find_region(np.full((90, 70, 3), 120, np.uint8), rng) is None for _ in range(20))
    half = np.zeros((120, 120, 3), np.uint8)
    half[:, 60:] = 150
    regions = [region for _ in range(60) if (region := find_region(half, rng)) is not None]
    assert regions
    assert all(half[region].mean() > 8 for region in regions)


def test_pictures_of_any_shape_are_taken():
    rng = np.random.default_rng(1)
    for shape in ((1, 1), (1, 300), (300, 1), (2, 2), (700, 31)):
        for _ in range(20):
            find_region(rng.integers(0, 256, (*shape, 3)).astype(np.uint8), rng)


def test_a_share_of_a_sources_scenes_gets_one_in_place_of_their_objects(given_scenes, scene_of):
    image, numbers = squares()
    scene = scene_of(np.where(numbers < 3, numbers, 0))
    scene.image[:] = image
    source = Altered(given_scenes(scene), partial(take_region, 0.5))
    assert source.name == "given"
    drawn = [source.draw(np.random.default_rng(seed)) for seed in range(200)]
    others = [other for other in drawn if other is not scene]
    assert 60 < len(others) < 120
    for other in others:
        assert set(np.unique(other.labels)) == {0, 1}
        assert (other.image is scene.image, other.is_ct, other.beside) == (True, True, None)
