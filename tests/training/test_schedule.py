"""The learning rate by hand, and which layers learn slowly."""

import math
from dataclasses import replace

import pytest
import torch

from isegm.model.build import PRESETS, build_model
from isegm.training.recipe import Recipe
from isegm.training.recipes import RECIPES
from isegm.training.schedule import learning_rate, parameter_groups

# Ten steps an epoch, 230 epochs.
PLAIN = Recipe(preset="hr18s", sources=("phantom",), batch_size=2, epoch_samples=20, learning_rate=1e-3)


@pytest.mark.parametrize(
    ("step", "rate"), [(0, 1e-3), (1999, 1e-3), (2000, 1e-4), (2199, 1e-4), (2200, 1e-5), (2299, 1e-5)]
)
def test_milestones_divide_the_rate_by_ten(step, rate):
    assert learning_rate(PLAIN, step) == pytest.approx(rate, rel=1e-12)


def test_the_order_of_milestones_does_not_matter():
    assert learning_rate(replace(PLAIN, milestones=(220, 1, 200)), 2000) == pytest.approx(1e-5)


def test_cosine_falls_from_the_whole_rate_to_none():
    recipe = replace(PLAIN, schedule="cosine", epochs=4)
    rates = [learning_rate(recipe, step) for step in range(40)]
    assert rates[0] == 1e-3
    assert rates[10] == pytest.approx(1e-3 * (1 + math.sqrt(0.5)) / 2)
    assert rates[20] == pytest.approx(5e-4)
    assert 0 < rates[39] < 2e-6
    assert rates == sorted(rates, reverse=True)


def test_a_constant_rate_stays():
    recipe = replace(PLAIN, schedule="constant", epochs=4)
    assert {learning_rate(recipe, step) for step in range(40)} == {1e-3}


@pytest.mark.parametrize("schedule", ["milestones", "cosine", "constant"])
def test_the_warm_up_rises_linearly_to_the_whole_rate(schedule):
    recipe = replace(PLAIN, schedule=schedule, warmup_steps=4)
    assert [learning_rate(recipe, step) for step in range(5)] == pytest.approx(
        [2.5e-4, 5e-4, 7.5e-4, 1e-3, 1e-3]
    )


def test_cosine_begins_behind_the_warm_up():
    recipe = replace(PLAIN, schedule="cosine", epochs=4, warmup_steps=20)
    assert learning_rate(recipe, 30) == pytest.approx(5e-4)


def test_a_warm_up_longer_than_the_run_is_all_there_is():
    recipe = replace(PLAIN, schedule="cosine", epochs=1, warmup_steps=100)
    assert learning_rate(recipe, 9) == pytest.approx(1e-4)


def groups_of(name):
    with torch.device("meta"):
        model = build_model(PRESETS[name])
    slow, full = parameter_groups(model, replace(RECIPES[name](), backbone_multiplier=0.25))
    assert (slow["multiplier"], full["multiplier"]) == (0.25, 1.0)
    names = {id(parameter): key for key, parameter in model.named_parameters()}
    groups = [[names[id(parameter)] for parameter in group["params"]] for group in (slow, full)]
    trained = [key for key, parameter in model.named_parameters() if parameter.requires_grad]
    assert sorted(groups[0] + groups[1]) == sorted(trained)
    return groups


def rooms(names, depth):
    return {".".join(name.split(".")[:depth]) for name in names}


@pytest.mark.parametrize("name", ["hr18s", "hr32"])
def test_of_hrnet_all_but_the_ocr_layers_is_slow(name):
    slow, full = groups_of(name)
    stages = {"layer1", "transition1", "stage2", "transition2", "stage3", "transition3", "stage4"}
    stem = {"conv1", "bn1", "conv2", "bn2"}
    assert rooms(slow, 2) == {
        f"feature_extractor.{room}" for room in stem | stages | {"aux_head", "cls_head"}
    }
    assert rooms(full, 1) == {"maps_transform", "feature_extractor", "refiner"}
    ocr = [key for key in full if key.startswith("feature_extractor.")]
    assert rooms(ocr, 2) == {"feature_extractor.conv3x3_ocr", "feature_extractor.ocr_distri_head"}


@pytest.mark.parametrize("name", ["segb0", "segb3"])
def test_of_segformer_the_whole_first_stage_is_slow(name):
    slow, full = groups_of(name)
    assert rooms(slow, 2) == {"feature_extractor.backbone", "feature_extractor.decode_head"}
    assert rooms(full, 1) == {"refiner"}


def test_of_lite0_the_backbone_is_slow():
    slow, full = groups_of("lite0")
    assert rooms(slow, 2) == {"feature_extractor.backbone"}
    assert rooms(full, 2) >= {"feature_extractor.decoder", "refiner.fusion1"}
