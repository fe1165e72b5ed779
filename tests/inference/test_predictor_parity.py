"""The predictor and the click simulator against outputs of the original implementation, in float64."""

import numpy as np
import pytest

from isegm.inference.predictor import Predictor
from isegm.model import PUBLISHED
from isegm.simulation.next_click import NextClick


def set_up(reference, model):
    predictor = Predictor(model, size=int(reference["size"]), flip=bool(reference["flip"]))
    predictor.set_image(reference["image"])
    return predictor


@pytest.mark.parametrize("name", PUBLISHED)
def test_simulated_clicks_and_probabilities_are_the_originals(name, parity, reference_model):
    reference = np.load(parity(f"predictor_{name}.npz"))
    predictor = set_up(reference, reference_model(name))
    truth = reference["mask"].astype(np.int8)
    simulator = NextClick(truth)
    ious = []
    for index, (row, col, positive) in enumerate(reference["clicks"]):
        click = simulator.click(predictor.mask)
        assert (click.row, click.col, click.positive) == (row, col, bool(positive)), index
        probability = predictor.click(click.row, click.col, click.positive)
        np.testing.assert_allclose(
            probability, reference["probabilities"][index], rtol=0, atol=1e-5, err_msg=f"click {index}"
        )
        mask = predictor.mask
        ious.append((mask & (truth == 1)).sum() / (mask | (truth == 1)).sum())
    np.testing.assert_allclose(ious, reference["ious"], rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["hr18s", "segb0"])
def test_odd_sizes_negative_first_click_and_clicks_on_the_border(name, parity, reference_model):
    reference = np.load(parity(f"predictor_odd_{name}.npz"))
    predictor = set_up(reference, reference_model(name))
    for index, (row, col, positive) in enumerate(reference["clicks"]):
        probability = predictor.click(row, col, bool(positive))
        np.testing.assert_allclose(
            probability, reference["probabilities"][index], rtol=0, atol=1e-5, err_msg=f"click {index}"
        )
