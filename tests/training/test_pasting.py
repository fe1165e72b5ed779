"""Objects of other pictures in a training picture."""

from functools import partial

import numpy as np
import pytest

from isegm.errors import InputError
from isegm.training.pasting import paste, paste_another
from isegm.training.scenes import Altered, Scene


def plain(shape, grey, is_ct=True):
    """A scene without an object, of one grey."""
    return Scene(np.full((*shape, 3), grey, np.uint8), np.zeros(shape, np.int32), is_ct)


def with_box(shape, grey, box, is_ct=True):
    """A scene with object 1, brighter by 90, in a box of rows and columns; object 2 is one pixel."""
    scene = plain(shape, grey, is_ct)
    rows, cols = (slice(*ends) for ends in box)
    scene.labels[rows, cols] = 1
    scene.labels[0, 0] = 2
    scene.image[rows, cols] = grey + 90
    return scene


SCENE = with_box((120, 160), 50, ((40, 80), (60, 90)))
OTHER = with_box((240, 300), 80, ((100, 160), (200, 230)))  # twice as large a picture, 60 x 30 pixels


def test_an_object_comes_from_one_picture_into_another_with_its_grey_and_a_soft_edge():
    before = SCENE.image.copy(), SCENE.labels.copy()
    sizes, middles, tall, greys = [], [], 0, set()
    for seed in range(200):
        pasted = paste(SCENE, OTHER, 1, np.random.default_rng(seed))
        again = paste(SCENE, OTHER, 1, np.random.default_rng(seed))
        np.testing.assert_array_equal(pasted.image, again.image)
        if pasted is SCENE:  # no contrast where it came to lie
            continue
        new = pasted.labels == 3
        np.testing.assert_array_equal(pasted.labels[~new], SCENE.labels[~new])
        rows, cols = np.nonzero(new)
        assert new[rows.min() : rows.max() + 1, cols.min() : cols.max() + 1].mean() > 0.85  # still a box
        inner = pasted.image[new].reshape(-1, 3)
        greys.add(int(np.median(inner)))
        far = np.ones(new.shape, np.bool_)
        far[max(0, rows.min() - 12) : rows.max() + 13, max(0, cols.min() - 12) : cols.max() + 13] = False
        np.testing.assert_array_equal(pasted.image[far], SCENE.image[far])
        middles.append((rows.mean(), cols.mean()))
        if rows.min() > 0 and rows.max() < 119 and cols.min() > 0 and cols.max() < 159:
            sizes.append(new.sum())
            tall += np.ptp(rows) > np.ptp(cols)
    np.testing.assert_array_equal(SCENE.image, before[0])
    np.testing.assert_array_equal(SCENE.labels, before[1])
    assert 170 in greys
    assert min(greys) < 140 < 200 < max(greys)
    # 30 x 15 at the size of the picture, times 0.5 to 1.6 each way.
    assert 450 * 0.2 < min(sizes) < 200 < 800 < max(sizes) < 450 * 2.8
    assert 0.3 < tall / len(sizes) < 0.7
    assert np.std(middles, axis=0).min() > 20


def test_nothing_larger_than_the_picture_nor_smaller_than_can_be_seen_is_pasted():
    huge = with_box((64, 64), 10, ((2, 62), (2, 62)))
    shares = [
        (paste(SCENE, huge, 1, np.random.default_rng(seed)).labels == 3).sum(axis=axis).max() / side
        for seed in range(30)
        for axis, side in ((0, 120), (1, 160))
    ]
    assert 0.5 < max(shares) < 0.72
    assert paste(SCENE, OTHER, 2, np.random.default_rng(0)) is SCENE
    same = Scene(np.full_like(OTHER.image, 50), OTHER.labels, is_ct=False)
    assert all(
        paste(plain((120, 160), 50, False), same, 1, np.random.default_rng(k)).labels.max() == 0
        for k in range(9)
    )


def test_an_object_in_a_picture_that_is_ignored_all_over_is_one_all_the_same():
    scene = plain((120, 160), 20)
    scene.labels[:] = -1
    pasted = [paste(scene, OTHER, 1, np.random.default_rng(seed)) for seed in range(20)]
    assert {int(value) for each in pasted for value in np.unique(each.labels)} == {-1, 1}


def test_places_where_the_picture_is_black_are_left_alone_where_others_are():
    scene = plain((100, 100), 0)
    scene.image[:, 50:] = 100
    columns = []
    for seed in range(60):
        _, cols = np.nonzero(paste(scene, OTHER, 1, np.random.default_rng(seed)).labels)
        columns += [cols.mean()] if len(cols) else []
    assert len(columns) > 30
    assert np.mean(np.array(columns) > 49) > 0.95
    assert any(
        paste(plain((100, 100), 0), OTHER, 1, np.random.default_rng(seed)).labels.any() for seed in range(9)
    )


def test_a_share_of_a_sources_scenes_gets_an_object_of_their_kind(given_scenes):
    photo = with_box((120, 160), 20, ((40, 80), (60, 90)), is_ct=False)
    source = given_scenes(SCENE, photo, InputError("a.png: broken"))
    pasting = Altered(source, partial(paste_another, source, 0.5))
    assert pasting.name == "given"
    pasted = {True: 0, False: 0}
    for seed in range(300):
        try:
            scene = pasting.draw(np.random.default_rng(seed))
        except InputError:
            continue
        given = SCENE if scene.is_ct else photo
        if scene.labels.max() == 3:
            pasted[scene.is_ct] += 1
            # What a photograph brings along is 20 and 110, what CT does 50 and 140, with a shift or none.
            assert not scene.is_ct or (scene.image >= 20).all()
            assert scene.is_ct or scene.image.max() == 110
        else:
            assert scene.labels is given.labels
    assert all(25 <= count <= 75 for count in pasted.values())


@pytest.mark.parametrize("label_pixels", [0, 40])
def test_where_nothing_can_be_pasted_the_scene_stays(given_scenes, label_pixels):
    scene = plain((64, 64), 90)
    scene.labels.ravel()[:label_pixels] = 1
    assert paste_another(given_scenes(scene), 1.0, scene, np.random.default_rng(0)) is scene
