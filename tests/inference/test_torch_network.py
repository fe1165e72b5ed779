"""The network as it is run against the network as it is published, in float64."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from isegm.geometry import Click
from isegm.inference.torch_network import InferenceModel, draw_disks, fold_batch_norms, relative_distances
from isegm.model.build import PRESETS
from isegm.model.click_maps import disks, encode_clicks, squared_distances
from isegm.model.correction.templates import relative_distance
from isegm.model.emc_click import EMCClickState

HEIGHT, WIDTH = 64, 48


def points_of(*pictures):
    rows = [encode_clicks(clicks) for clicks in pictures]
    return torch.stack(rows)


SOME = [
    Click(20.3, 30.5, True),
    Click(1.0, 2.0, False),
    Click(50.5, 47.0, True),
    Click(63.0, 0.0, True),
]
OTHERS = [Click(10.0, 5.0, True), Click(31.0, 12.0, False), Click(30.0, 40.0, True), Click(0.0, 0.0, True)]


@pytest.mark.parametrize("name", PRESETS)
def test_a_network_that_is_run_gives_what_the_published_one_gives(name, untrained, picture):
    model = untrained(name)
    ready = InferenceModel(model)
    image = model.normalise(picture(2, HEIGHT, WIDTH))
    with torch.no_grad():
        points = points_of(SOME[:1], OTHERS[:1])
        first = model.encode(image, points)
        encoded = ready.encode(image, points)
        torch.testing.assert_close(encoded.coarse, first.coarse, rtol=1e-9, atol=1e-9)
        previous, ours = first.coarse, encoded.coarse
        for count in range(1, 5):
            points = points_of(SOME[:count], OTHERS[:count])
            previous = model.correct(image, points, EMCClickState(first.features, previous))
            ours = ready.correct(points, encoded, ours)
            torch.testing.assert_close(ours, previous, rtol=1e-7, atol=1e-7)


def test_the_network_that_is_made_ready_stays_as_it_was(untrained):
    model = copy.deepcopy(untrained("hr18s")).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    ready = InferenceModel(model)
    assert model.training
    assert not ready.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(parameter.requires_grad for parameter in model.maps_transform.parameters())


@pytest.mark.parametrize("name", PRESETS)
def test_no_batch_norm_is_left(name, untrained):
    model = copy.deepcopy(untrained(name))
    fold_batch_norms(model)
    unused = ("f_pixel", "f_object")
    left = [key for key, module in model.named_modules() if isinstance(module, nn.BatchNorm2d)]
    assert [key for key in left if not any(part in key for part in unused)] == []


positions = st.floats(-3, 140, width=32)
clicks = st.lists(st.builds(Click, positions, positions, st.booleans()), max_size=9)


@settings(deadline=None)
@given(clicks, st.integers(1, 20), st.integers(1, 20))
def test_disks_that_are_drawn_are_those_that_are_measured(placed, rows, cols):
    points, size = encode_clicks(placed)[None], (4 * rows, 4 * cols)
    torch.testing.assert_close(draw_disks(points, *size), disks(squared_distances(points, *size)))


@settings(deadline=None)
@given(clicks, st.integers(1, 20), st.integers(1, 20))
def test_distances_of_the_pixels_between_are_those_of_the_whole_resized(placed, rows, cols):
    points = encode_clicks(placed)[None]
    whole = relative_distance(squared_distances(points, 4 * rows, 4 * cols), (rows, cols))
    torch.testing.assert_close(relative_distances(points, (rows, cols)), whole, rtol=1e-12, atol=1e-12)
