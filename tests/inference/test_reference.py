"""The predictor against the published computation, click by click."""

import numpy as np
import pytest
import torch

from isegm.inference.predictor import Predictor
from isegm.inference.reference import ReferencePredictor
from isegm.model.build import PRESETS

CLICKS = [(20, 30, True), (2, 3, False), (33, 39, True), (5, 35, True), (30, 8, False), (17, 21, True)]


@pytest.mark.parametrize("flip", [True, False])
@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("shape", [(40, 51, 3), (47, 40)])
def test_the_predictor_gives_what_the_reference_gives(untrained, name, flip, shape):
    image = np.random.default_rng(4).integers(0, 256, shape, dtype=np.uint8)
    reference, predictor = (
        kind(untrained(name), size=64, flip=flip, threshold=0.4) for kind in (ReferencePredictor, Predictor)
    )
    for segmenter in (reference, predictor):
        segmenter.set_image(image)
    for click in CLICKS:
        np.testing.assert_allclose(predictor.click(*click), reference.click(*click), atol=1e-6)
        near = np.abs(predictor.probability - 0.4) < 1e-6
        np.testing.assert_array_equal(predictor.mask | near, reference.mask | near)
    assert reference.clicks == predictor.clicks


def test_the_reference_forgets_the_last_image(untrained):
    image = np.random.default_rng(5).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    fresh, used = (ReferencePredictor(untrained("hr18s"), size=64) for _ in range(2))
    used.set_image(image[::-1].copy())
    used.click(3, 4, True)
    used.set_image(image)
    fresh.set_image(image)
    assert used.clicks == ()
    assert not used.mask.any()
    assert used.probability is None
    np.testing.assert_array_equal(used.click(10, 20, True), fresh.click(10, 20, True))


def test_a_previous_mask_is_refused(untrained):
    with pytest.raises(ValueError, match="without a mask"):
        ReferencePredictor(untrained("hr18s")).set_image(
            np.zeros((8, 8), np.uint8), np.ones((8, 8), np.bool_)
        )


def test_the_network_it_was_given_stays_as_it_was(untrained):
    model = untrained("hr18s")
    attention = model.refiner.cross_attention
    ReferencePredictor(model)
    assert model.refiner.cross_attention is attention
    assert isinstance(attention, torch.nn.MultiheadAttention)
