import dataclasses
import hashlib

import cv2
import numpy as np
import pytest
from scipy import ndimage

from isegm.errors import InputError
from isegm.phantom import slices
from isegm.phantom.anatomy import Body
from isegm.phantom.canvas import Canvas
from isegm.phantom.slices import FAMILIES, random_slice
from isegm.phantom.textures import grains


def digest(drawn):
    return hashlib.sha256(drawn.hu.tobytes() + drawn.labels.tobytes()).hexdigest()


def draw(seed, height=160, width=240, family=None):
    return random_slice(np.random.default_rng(seed), height, width, family)


@pytest.fixture(scope="module")
def draws():
    return [draw(seed, 320, 480) for seed in range(200)]


@pytest.fixture
def threads():
    before = cv2.getNumThreads()
    yield cv2.setNumThreads
    cv2.setNumThreads(before)


def test_types_and_shape():
    drawn = draw(0, 97, 131)
    assert drawn.hu.shape == drawn.labels.shape == (97, 131)
    assert drawn.hu.dtype == np.float32
    assert drawn.labels.dtype == np.int32


def test_same_seed_same_bytes_and_other_seeds_differ():
    digests = [digest(draw(seed)) for seed in range(25)]
    assert len(set(digests)) == 25
    # Another order, and other draws in between
    for seed in (24, 3, 11, 0):
        draw(1000 + seed, 64, 64)
        assert digest(draw(seed)) == digests[seed]


@pytest.mark.parametrize("family", FAMILIES)
def test_threads_do_not_matter(family, threads):
    found = []
    for count in (1, 2, 4):
        threads(count)
        found.append([digest(draw(seed, 320, 480, family)) for seed in range(8)])
    assert found[0] == found[1] == found[2]


def test_the_generator_is_the_only_state(threads):
    np.random.seed(1)  # noqa: NPY002
    cv2.setRNGSeed(1)
    first = digest(draw(5))
    np.random.seed(2)  # noqa: NPY002
    cv2.setRNGSeed(2)
    assert digest(draw(5)) == first
    rng = np.random.default_rng(5)
    assert digest(random_slice(rng, 160, 240)) == first
    assert digest(random_slice(rng, 160, 240)) != first


def test_labels_are_numbered_without_gaps(draws):
    for drawn in draws:
        found = np.unique(drawn.labels)
        assert found[0] >= 0
        assert found[found > 0].tolist() == list(range(1, drawn.labels.max() + 1))
    with_objects = sum(drawn.labels.max() > 0 for drawn in draws)
    assert with_objects >= 196
    assert np.median([drawn.labels.max() for drawn in draws]) >= 6


def test_objects_have_the_least_area_and_no_stray_parts(draws):
    for drawn in draws[:60]:
        areas = np.bincount(drawn.labels.ravel())[1:]
        assert (areas >= 80).all()
        for number, box in enumerate(ndimage.find_objects(drawn.labels), 1):
            parts, _ = ndimage.label(drawn.labels[box] == number)
            sizes = np.bincount(parts.ravel())[1:]
            # borders given back between touching objects may be a pixel or two off their part
            assert sizes[sizes >= 4].min() >= 16
            assert sizes[sizes < 4].sum() <= 0.06 * sizes.sum()


def test_areas_span_tumours_to_livers(draws):
    areas = np.concatenate([np.bincount(drawn.labels.ravel())[1:] for drawn in draws])
    assert np.mean(areas >= 100) > 0.95
    assert np.percentile(areas, 15) < 700
    assert np.percentile(areas, 92) > 8000


def test_hu_are_those_of_ct(draws):
    for drawn in draws:
        assert np.isfinite(drawn.hu).all()
        assert drawn.hu.min() >= -1024
        assert drawn.hu.max() <= 3071


def neighbours(labels):
    """Pairs of different objects that share at least 12 pixel edges."""
    pairs = [
        np.stack((a.ravel(), b.ravel()))[:, ((a > 0) & (b > 0) & (a != b)).ravel()]
        for a, b in ((labels[1:], labels[:-1]), (labels[:, 1:], labels[:, :-1]))
    ]
    found, counts = np.unique(np.sort(np.concatenate(pairs, axis=1), axis=0), axis=1, return_counts=True)
    return found[:, counts >= 12].T


def test_touching_neighbours_some_of_nearly_the_same_hu(draws):
    touching, alike = 0, 0
    for drawn in draws:
        for one, other in neighbours(drawn.labels):
            difference = abs(
                np.median(drawn.hu[drawn.labels == one]) - np.median(drawn.hu[drawn.labels == other])
            )
            touching += 1
            alike += difference < 25
    assert touching > 400
    assert alike > 80


def test_holes_exist(draws):
    holes = 0
    for drawn in draws:
        for number, box in enumerate(ndimage.find_objects(drawn.labels), 1):
            mask = drawn.labels[box] == number
            holes += (ndimage.binary_fill_holes(mask) & ~mask).sum() >= 60
    assert holes > 60


def test_small_contrast_exists_and_most_objects_can_be_seen(draws):
    contrasts = []
    for drawn in draws[:100]:
        smooth = cv2.GaussianBlur(drawn.hu, (0, 0), 2)
        for number in range(1, drawn.labels.max() + 1):
            mask = (drawn.labels == number).astype(np.uint8)
            ring = cv2.dilate(mask, np.ones((9, 9))) > mask
            if ring.any():
                contrasts.append(abs(np.median(smooth[mask > 0]) - np.median(smooth[ring])))
    assert np.mean(np.array(contrasts) < 30) > 0.1
    assert np.mean(np.array(contrasts) > 10) > 0.8


def test_labels_lie_inside_the_body_and_air_around_it():
    pose = slices.Pose(np.eye(2) * 0.6, np.array((150.0, 100.0)))
    for seed in range(20):
        rng = np.random.default_rng(seed)
        body = dataclasses.replace(Body.draw(rng), arms=False)
        canvas = Canvas.blank(200, 300, -1000, grains(rng, 200, 300, 0.6))
        numbers = slices._Names(pairs=False, whole=False)
        parts = body.cut(rng.uniform(-100, 220), 3.0)
        slices.paint_parts(canvas, parts, body.hu, pose, numbers.number, 3.0)
        outside = canvas.regions["body"] == 0
        assert outside.any()
        assert not canvas.labels[outside].any()
        assert np.median(canvas.hu[outside]) < -950


def test_families_come_as_often_as_they_should(monkeypatch):
    for name in FAMILIES:
        monkeypatch.setitem(slices._DRAW, name, lambda *_, name=name: name)
    drawn = [draw(seed) for seed in range(1000)]
    for name, share in FAMILIES.items():
        assert drawn.count(name) / 1000 == pytest.approx(share, abs=0.05)
        assert draw(0, family=name) == name


def test_an_unknown_family_is_refused():
    with pytest.raises(InputError, match="phantom family organs: not one of anatomy, shapes, noise"):
        draw(0, family="organs")


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("height", "width"), [(32, 32), (33, 200), (256, 64)])
def test_odd_sizes(family, height, width):
    for seed in range(4):
        drawn = draw(seed, height, width, family)
        assert drawn.hu.shape == drawn.labels.shape == (height, width)


@pytest.mark.parametrize(("height", "width"), [(31, 100), (100, 0), (-5, 64)])
def test_too_small_is_refused(height, width):
    with pytest.raises(InputError, match="at least 32"):
        draw(0, height, width)


def test_the_slice_beside_has_the_same_objects_a_little_elsewhere():
    overlaps = []
    for seed in range(12):
        alone = draw(seed, 200, 240, "anatomy")
        assert alone.beside is None
        drawn = random_slice(np.random.default_rng(seed), 200, 240, "anatomy", beside=True)
        assert digest(drawn) == digest(alone)
        assert drawn.beside.shape == drawn.labels.shape
        assert drawn.beside.dtype == np.int32
        assert set(np.unique(drawn.beside)) <= set(np.unique(drawn.labels))
        for number in range(1, drawn.labels.max() + 1):
            here, there = drawn.labels == number, drawn.beside == number
            overlaps.append((here & there).sum() / (here | there).sum())
    assert 0.5 < np.median(overlaps) < 0.98
    assert min(overlaps) < 0.3  # ribs run obliquely


def test_what_is_no_body_has_no_slice_beside():
    for family in ("shapes", "noise"):
        drawn = random_slice(np.random.default_rng(0), 64, 64, family, beside=True)
        assert drawn.beside is None
        assert digest(drawn) == digest(draw(0, 64, 64, family))
