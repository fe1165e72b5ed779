"""Recipes: the published numbers, and one line for every setting that cannot be."""

import dataclasses
import math

import pytest

from isegm.errors import InputError
from isegm.model import PUBLISHED
from isegm.model.build import PRESETS
from isegm.training.recipe import Recipe
from isegm.training.recipes import RECIPES
from isegm.training.sources import parse_source

PLAIN = Recipe(preset="hr18s", sources=("phantom",))


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_is_a_function_of_valid_settings(name):
    recipe = RECIPES[name]()
    assert recipe.total_steps >= recipe.epochs > 0
    for source in recipe.sources:
        assert parse_source(source).weight == 1


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_recipe(name):
    recipe = RECIPES[name]()
    assert recipe.preset == name
    assert [parse_source(source).kind for source in recipe.sources] == ["coco", "lvis"]
    assert (recipe.crop_height, recipe.crop_width) == (320, 480)
    assert (recipe.min_scale, recipe.max_scale) == (0.75, 1.40)
    assert (recipe.min_object_pixels, recipe.merge_probability) == (1000, 0.15)
    assert (recipe.max_extra_clicks, recipe.click_decay) == (23, 0.8)
    assert (recipe.batch_size, recipe.epochs, recipe.epoch_samples) == (32, 230, 30_000)
    assert (recipe.learning_rate, recipe.backbone_multiplier) == (8e-4, 0.1)
    assert (recipe.schedule, recipe.milestones, recipe.warmup_steps) == ("milestones", (200, 220), 0)
    assert (recipe.clip_norm, recipe.ema_decay, recipe.precision) == (0, 0, "float32")
    assert recipe.loss_after == "last"
    assert (recipe.soft_iou_weight, recipe.clicked_weight, recipe.worse_weight) == (0, 0, 0)
    assert (recipe.first_crops, recipe.off_centre_probability, recipe.previous_mask_share) == ((), 0, 0)
    assert (recipe.degraded_share, recipe.faint_share, recipe.deepest_share) == (0, 0, 0)
    assert (recipe.pasted_share, recipe.region_share) == (0, 0)


@pytest.mark.parametrize("name", ["ct", "fine-tune", "lite0", "cool-down"])
def test_our_own_recipes_take_any_network(name):
    recipe = RECIPES[name]()
    assert all(dataclasses.replace(recipe, preset=preset).preset == preset for preset in PRESETS)


def test_an_epoch_has_whole_batches():
    steps = [
        dataclasses.replace(PLAIN, batch_size=8, epoch_samples=n, epochs=3).epoch_steps for n in (5, 8, 23)
    ]
    assert steps == [1, 1, 2]
    assert dataclasses.replace(PLAIN, batch_size=8, epoch_samples=23, epochs=3).total_steps == 6


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("preset", "hr64"),
        ("sources", ()),
        ("seed", -1),
        ("crop_height", 318),
        ("crop_height", 28),
        ("crop_width", 0),
        ("shorter_side", -1),
        ("min_scale", 0.0),
        ("min_scale", 1.5),
        ("min_scale", math.nan),
        ("max_scale", math.inf),
        ("learning_rate", math.inf),
        ("clip_norm", math.inf),
        ("min_object_pixels", 320 * 480 + 1),
        ("min_object_pixels", 0),
        ("merge_probability", 1.1),
        ("merge_probability", -0.1),
        ("max_extra_clicks", -1),
        ("max_extra_clicks", 24),
        ("click_decay", 0.0),
        ("click_decay", 1.1),
        ("batch_size", 0),
        ("accumulate", 0),
        ("epochs", 0),
        ("epoch_samples", 0),
        ("learning_rate", 0.0),
        ("learning_rate", math.nan),
        ("backbone_multiplier", -0.1),
        ("schedule", "linear"),
        ("warmup_steps", -1),
        ("clip_norm", -1.0),
        ("ema_decay", 1.0),
        ("ema_decay", -0.1),
        ("precision", "float16"),
        ("loss_after", "first"),
        ("soft_iou_weight", -0.1),
        ("clicked_weight", math.nan),
        ("worse_weight", -1.0),
        ("off_centre_probability", 1.1),
        ("previous_mask_share", -0.1),
        ("previous_mask_share", 0.1),  # the published pass takes no mask to begin with
        ("degraded_share", 1.5),
        ("faint_share", -0.5),
        ("pasted_share", 1.5),
        ("region_share", -0.1),
        ("deepest_share", math.nan),
        ("deepest_share", 0.5),  # the published pass has published clicks
        ("first_crops", ("0.5",)),
        ("first_crops", ("half:100",)),
        ("first_crops", ("1.0:100",)),
        ("first_crops", ("0:100",)),
        ("first_crops", ("nan:100",)),
        ("first_crops", ("0.5:200", "0.4:300")),
        ("first_crops", ("0.5:200", "0.7:200")),
    ],
)
def test_a_setting_out_of_range_is_one_line_that_names_its_flag(field, value):
    with pytest.raises(InputError) as caught:
        dataclasses.replace(PLAIN, **{field: value})
    message = str(caught.value)
    assert message.startswith(f"{field}: must be ")
    assert "\n" not in message


def test_crops_that_grow():
    recipe = dataclasses.replace(PLAIN, first_crops=("0.5:200", "0.667:1000"), loss_after="some")
    assert recipe.crop_stages == ((0.5, 200), (0.667, 1000))
    assert PLAIN.crop_stages == ()


def test_the_ends_of_the_ranges_are_fine():
    recipe = dataclasses.replace(
        PLAIN, crop_height=32, crop_width=36, max_extra_clicks=0, click_decay=1.0, backbone_multiplier=0.0
    )
    assert recipe.crop_height == 32
