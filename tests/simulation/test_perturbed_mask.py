"""Masks to be corrected: how much is wrong with them, and that only superpixels are."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from isegm.metrics.overlap import mask_iou
from isegm.simulation.perturbed_mask import LEAST_IOU, MOST_IOU, perturbed_mask

RNG = np.random.default_rng(0)


def disk(radius=30, side=128):
    rows, columns = np.ogrid[:side, :side]
    truth = ((rows - 60) ** 2 + (columns - 70) ** 2 <= radius**2).astype(np.int8)
    truth[:10] = -1
    return truth


def picture(truth, colours=3):
    noise = RNG.integers(0, 60, (*truth.shape, colours))
    return (noise + 120 * (truth == 1)[..., None]).astype(np.uint8)


@pytest.mark.parametrize("radius", [6, 12, 30, 60])
@pytest.mark.parametrize("name", ["a", "b", "c"])
def test_the_iou_is_that_of_the_benchmark(radius, name):
    truth = disk(radius)
    mask = perturbed_mask(picture(truth), truth, name)
    assert LEAST_IOU <= mask_iou(mask, truth) <= MOST_IOU
    assert not mask[truth == -1].any()


def test_a_name_always_gives_the_same_mask_and_another_one_another():
    truth = disk()
    image = picture(truth)
    first = perturbed_mask(image, truth, "a")
    np.testing.assert_array_equal(perturbed_mask(image.copy(), truth.copy(), "a"), first)
    assert (perturbed_mask(image, truth, "b") != first).any()


def test_masks_have_too_much_and_too_little():
    truth = disk()
    masks = [perturbed_mask(picture(truth), truth, str(number)) for number in range(8)]
    assert sum(bool((mask & (truth == 0)).any()) for mask in masks) > 4
    assert sum(bool((~mask & (truth == 1)).any()) for mask in masks) > 4


def test_what_is_added_ends_where_the_picture_does():
    """A bright stripe lies beside the object: superpixels on it stay on it, pixels of noise apart."""
    truth = np.zeros((96, 96), np.int8)
    truth[20:76, 20:50] = 1
    image = np.zeros((96, 96), np.uint8)
    image[:, 50:62] = 200
    image[truth == 1] = 100
    added = np.zeros(truth.shape, np.bool_)
    for number in range(12):
        added |= perturbed_mask(image, truth, str(number)) & (truth == 0)
    beside = added[24:72, 50:]
    assert beside[:, :11].any()
    assert beside[:, :11].mean() > 3 * beside[:, 14:].mean()


@settings(max_examples=60, deadline=None)
@given(
    truth=arrays.arrays(
        np.int8, st.tuples(st.integers(1, 14), st.integers(1, 14)), elements=st.sampled_from([-1, 0, 1, 1])
    )
)
def test_any_object_gets_a_mask_that_is_no_worse_than_the_benchmark_s(truth):
    truth[0, 0] = 1
    mask = perturbed_mask(picture(truth, 3), truth, "any")
    assert mask.shape == truth.shape
    assert mask.dtype == np.bool_
    assert mask_iou(mask, truth) >= LEAST_IOU
    assert not mask[truth == -1].any()
