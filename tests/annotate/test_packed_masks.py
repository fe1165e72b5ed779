"""Masks a bit a voxel: pictures of every view, and changes that undo themselves."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isegm.annotate.packed_masks import PackedMasks, Patch
from isegm.errors import InputError
from isegm.json_object import JsonObject
from isegm.volumes.orientation import SlicePlan

PLANS = [
    SlicePlan(axis, row, 3 - axis - row, flip_rows, flip_cols)
    for axis in range(3)
    for row in range(3)
    if row != axis
    for flip_rows in (False, True)
    for flip_cols in (False, True)
]


def put(masks, number, plan, index, mask, protected=(), yielding=()):
    patches = masks.patches(masks.edit(number, plan, index, mask), protected, yielding)
    for patch in patches:
        masks.apply(patch)
    return patches


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(PLANS),
    st.tuples(st.integers(1, 6), st.integers(1, 12), st.integers(1, 19)),
    st.integers(0, 2**32 - 1),
)
def test_a_picture_put_in_is_the_picture_seen_and_the_voxels_saved(plan, shape, seed):
    random = np.random.default_rng(seed)
    masks, expected = PackedMasks(shape), np.zeros(shape, bool)
    for _ in range(3):
        index = int(random.integers(shape[plan.axis]))
        picture = random.random((shape[plan.row_axis], shape[plan.col_axis])) < 0.4
        put(masks, 1, plan, index, picture)
        plan.pictures(expected)[index] = picture
        np.testing.assert_array_equal(masks.stack(1), expected)
        for other in PLANS:
            at = int(random.integers(shape[other.axis]))
            np.testing.assert_array_equal(masks.picture(1, other, at), other.pictures(expected)[at])


def test_patches_undo_themselves_and_survive_json():
    shape, plan = (3, 10, 21), SlicePlan(0, 1, 2)
    masks = PackedMasks(shape)
    random = np.random.default_rng(0)
    first = random.random(shape[1:]) < 0.5
    put(masks, 7, plan, 1, first)
    second = random.random(shape[1:]) < 0.5
    (patch,) = put(masks, 7, plan, 1, second)
    entry = JsonObject("test", json.loads(json.dumps(patch.as_json())), "")
    again = Patch.from_json(entry, masks.packed_shape)
    assert again == Patch(patch.object, tuple(patch.start), tuple(patch.shape), patch.flipped)
    masks.apply(again)
    np.testing.assert_array_equal(masks.picture(7, plan, 1), first)
    masks.apply(again)
    np.testing.assert_array_equal(masks.picture(7, plan, 1), second)
    assert put(masks, 7, plan, 1, second) == []


def test_objects_yield_to_the_one_edited_later_unless_they_are_protected():
    plan = SlicePlan(0, 1, 2)
    masks = PackedMasks((1, 2, 4))
    row = lambda *bits: np.array([bits, (0, 0, 0, 0)], bool)  # noqa: E731
    put(masks, 1, plan, 0, row(1, 1, 0, 0))
    put(masks, 2, plan, 0, row(0, 0, 1, 0))
    put(masks, 3, plan, 0, row(0, 1, 1, 1), protected=[2], yielding=[1])
    assert [masks.picture(n, plan, 0)[0].tolist() for n in (1, 2, 3)] == [
        [True, False, False, False],
        [False, False, True, False],
        [False, True, False, True],
    ]


@pytest.mark.parametrize(
    "change",
    [
        {"start": [0, 0, 5]},
        {"shape": [1, 1, 0]},
        {"shape": [1, 1]},
        {"flipped": "no base64!"},
        {"flipped": "AAAA"},
        {"object": 0},
        {"object": 300},
        {"start": [-1, 0, 0]},
    ],
)
def test_a_patch_that_does_not_fit_is_refused(change):
    masks = PackedMasks((1, 4, 9))
    (patch,) = put(masks, 1, SlicePlan(0, 1, 2), 0, np.ones((4, 9), bool))
    with pytest.raises(InputError, match="journal"):
        Patch.from_json(JsonObject("journal", {**patch.as_json(), **change}, ""), masks.packed_shape)
