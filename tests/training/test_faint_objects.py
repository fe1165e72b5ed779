"""Pictures whose object hardly shows."""

import cv2
import numpy as np

from isegm.training.faint_objects import make_faint


def scene():
    """A grey disk on a darker ground, with a bright bar far from it."""
    image = np.full((96, 128, 3), 70, np.uint8)
    target = np.zeros((96, 128), np.uint8)
    cv2.circle(target, (40, 50), 20, 1, thickness=cv2.FILLED)
    image[target > 0] = 120
    image[10:80, 110:116] = 220
    return image, target > 0


def steepest(image):
    """The largest step of grey between neighbours of a row, left of the bar."""
    return np.abs(np.diff(image[:, :90, 0].astype(int), axis=1)).max()


def test_an_object_loses_its_contrast_in_one_of_three_ways():
    image, target = scene()
    before, flat = image.copy(), []
    kinds = dict.fromkeys(("blurred", "hard", "flat"), 0)
    for seed in range(200):
        faint = make_faint(image, target, np.random.default_rng(seed))
        assert (faint.shape, faint.dtype) == (image.shape, np.uint8)
        np.testing.assert_array_equal(faint, make_faint(image, target, np.random.default_rng(seed)))
        if np.array_equal(faint[:, 100:], image[:, 100:]):  # the bar is as it was
            kinds["blurred"] += 1
            assert steepest(faint) < steepest(image) / 2
        elif set(np.unique(faint[target])) <= {0, 255}:
            kinds["hard"] += 1
        else:
            kinds["flat"] += 1
            flat.append(int(faint[50, 40, 0]) - int(faint[50, 5, 0]))
    np.testing.assert_array_equal(image, before)
    assert 75 < kinds["flat"] < 125
    assert all(25 < kinds[kind] < 75 for kind in ("blurred", "hard"))
    assert (min(flat) < 10, max(flat) > 40) == (True, True)  # from next to nothing to nearly all of 50
    assert all(0 <= step <= 50 for step in flat)


def test_an_object_of_one_pixel_can_be_faint():
    image = np.random.default_rng(1).integers(0, 256, (40, 40, 3)).astype(np.uint8)
    target = np.zeros((40, 40), np.bool_)
    target[0, 39] = True
    for seed in range(20):
        assert make_faint(image, target, np.random.default_rng(seed)).shape == (40, 40, 3)
