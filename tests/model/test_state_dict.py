"""Names and shapes of the tensors: what makes a network's file readable elsewhere."""

import json

import pytest
import torch

from isegm.model import PUBLISHED
from isegm.model.build import PRESETS, build_model

TENSORS = {"hr18s": 1122, "hr18": 2088, "hr32": 2088, "segb0": 391, "segb3": 787}


@pytest.mark.parametrize("name", PUBLISHED)
def test_tensors_are_those_of_the_released_file(name, parity):
    manifest = json.loads(parity(f"manifest_{name}.json").read_text())["tensors"]
    with torch.device("meta"):
        state = build_model(PRESETS[name]).state_dict()
    assert {key: list(tensor.shape) for key, tensor in state.items()} == manifest


@pytest.mark.parametrize("name", PUBLISHED)
def test_number_of_tensors(name):
    with torch.device("meta"):
        model = build_model(PRESETS[name])
    assert len(model.state_dict()) == TENSORS[name]
    assert model.name == name


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_correlation_block_of_both_polarities_is_one_module_under_three_names(name):
    with torch.device("meta"):
        head = build_model(PRESETS[name]).refiner
    assert head.corr_conv is head.corr_conv_pos
    assert head.corr_conv is head.corr_conv_neg
    names = set(head.state_dict())
    own = {key.removeprefix("corr_conv.") for key in names if key.startswith("corr_conv.")}
    assert len(own) == 16
    for copy in ("corr_conv_pos", "corr_conv_neg"):
        assert {f"{copy}.{key}" for key in own} <= names
    once = [key for key, _ in head.named_parameters() if key.startswith("corr_conv")]
    assert once
    assert all(key.startswith("corr_conv.") for key in once)


@pytest.mark.parametrize("name", ["hr18s", "segb0"])
def test_frozen_parameters_are_exactly_those_that_no_output_depends_on(name, picture):
    """Whatever training would leave without a gradient is frozen from the start, and nothing else is."""
    torch.manual_seed(0)
    model = build_model(PRESETS[name]).double().eval().requires_grad_(True)
    points = torch.tensor([[[8.0, 9, 0], [20, 30, 1]]], dtype=torch.float64)
    output = model(picture(1, 32, 36), points)
    auxiliary = 0 if output.auxiliary is None else output.auxiliary.sum()
    (output.coarse.sum() + output.corrected.sum() + auxiliary).backward()
    untouched = {key for key, parameter in model.named_parameters() if parameter.grad is None}
    fresh = build_model(PRESETS[name])
    assert untouched == {key for key, parameter in fresh.named_parameters() if not parameter.requires_grad}
    rooms = ("f_pixel", "f_object") if name == "hr18s" else ("norm_add",)
    assert {next(room for room in rooms if room in key) for key in untouched} == set(rooms)
