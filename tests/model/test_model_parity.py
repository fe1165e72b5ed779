"""The networks against outputs of the original implementation, in float64."""

import numpy as np
import pytest
import torch

from isegm.model import PUBLISHED


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_output_is_the_originals(name, parity, reference_model):
    model, reference = reference_model(name), np.load(parity(f"model_{name}.npz"))
    images = torch.from_numpy(reference["images"]).permute(0, 3, 1, 2).double() / 255
    images = torch.cat([images, torch.zeros_like(images[:, :1])], dim=1)  # and no previous mask
    points = torch.from_numpy(reference["points"])
    with torch.no_grad():
        first = model(images, points)
        second = model(images, points, first.state)
    features = first.state.features
    ours = {
        "coarse": first.coarse,
        "refined": first.corrected,
        "second": second.corrected,
        "feature_mean": features.mean((2, 3)),
        "feature_corner": features[:, :, :4, :4],
    }
    assert ours.keys() == set(reference.files) - {"images", "points"}
    for key, value in ours.items():
        np.testing.assert_allclose(value.numpy(), reference[key], rtol=0, atol=1e-5, err_msg=key)
    assert (first.auxiliary is None) == name.startswith("seg")
    assert second.auxiliary is None
