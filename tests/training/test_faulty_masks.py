"""Masks with faults: roughly the object, never the same, and of every kind that is asked for."""

import numpy as np
import pytest

from isegm.training.faulty_masks import faulty_mask


def ellipse(height=120, width=150):
    rows, cols = np.indices((height, width))
    return ((rows - 60) / 35) ** 2 + ((cols - 70) / 25) ** 2 < 1


def iou(a, b):
    return (a & b).sum() / (a | b).sum()


def test_they_are_a_function_of_the_generator_and_leave_the_truth_as_it_is():
    truth = ellipse()
    before = truth.copy()
    masks = [faulty_mask(truth, np.random.default_rng(seed)) for seed in (1, 1, 2)]
    assert (truth == before).all()
    assert masks[0].dtype == bool
    assert masks[0].shape == truth.shape
    assert (masks[0] == masks[1]).all()
    assert (masks[0] != masks[2]).any()


def test_they_are_roughly_the_object_with_misses_and_additions():
    truth = ellipse()
    masks = [faulty_mask(truth, np.random.default_rng(seed)) for seed in range(300)]
    likeness = np.array([iou(mask, truth) for mask in masks])
    assert 0.6 < np.median(likeness) < 0.95
    assert (likeness < 0.5).mean() < 0.2
    assert 0 < (likeness == 1).mean() < 0.2
    missed = np.array([(truth & ~mask).sum() for mask in masks]) / truth.sum()
    added = np.array([(mask & ~truth).sum() for mask in masks]) / truth.sum()
    for faults in (missed, added):
        assert (faults > 0.02).mean() > 0.4
        assert faults.max() < 2


@pytest.mark.parametrize("pixels", [1, 5])
def test_tiny_objects_are_fine(pixels):
    truth = np.zeros((40, 30), bool)
    truth[39, :pixels] = True
    for seed in range(50):
        mask = faulty_mask(truth, np.random.default_rng(seed))
        assert mask.shape == truth.shape
        assert mask.sum() < 100
