"""The samples of a recipe: its settings, and crops that grow with the pictures seen."""

from dataclasses import replace

import numpy as np

from isegm.training.crops import TrainingSample
from isegm.training.recipe import Recipe
from isegm.training.samples import GrowingSamples, samples_of

RECIPE = Recipe(
    preset="segb0",
    sources=("phantom",),
    crop_height=64,
    crop_width=96,
    shorter_side=80,
    min_scale=1.0,
    max_scale=1.0,
    min_object_pixels=400,
    merge_probability=0.0,
    batch_size=4,
    loss_after="some",
    first_crops=("0.5:6", "0.75:9"),
)


WHOLE = replace(RECIPE, first_crops=(), crop_width=120, crop_height=80)


class Numbered:
    def __init__(self, side):
        self.side = side

    def __getitem__(self, index):
        image = np.zeros((self.side, self.side, 3), np.uint8)
        return TrainingSample(image, np.zeros((1, 1), np.int8), (index, 0))


def test_a_stage_ends_with_a_whole_batch():
    samples = GrowingSamples([(Numbered(1), 6), (Numbered(2), 9)], Numbered(3), batch_size=4)
    assert [len(samples[index].image) for index in range(14)] == [1] * 8 + [2] * 4 + [3] * 2
    assert [samples[index].first_click[0] for index in range(14)] == list(range(14))


def test_smaller_crops_show_as_much_of_the_picture(given_scenes, scene_of):
    labels = np.zeros((160, 240), int)
    labels[60:100, 90:150] = 1  # 40 x 60 pixels at twice the evaluation's size
    samples = samples_of(RECIPE, given_scenes(scene_of(labels)))
    sizes = [samples[index].image.shape[:2] for index in (0, 8, 12)]
    assert sizes == [(32, 48), (48, 72), (64, 96)]
    areas = [(samples[index].label == 1).sum() for index in (0, 8, 12)]
    np.testing.assert_allclose(areas, [600 * part**2 for part in (0.5, 0.75, 1)], rtol=0.15)


def test_the_least_object_shrinks_with_the_crop(given_scenes, scene_of):
    labels = np.zeros((80, 120), int)
    labels[30:51, 50:70] = 1  # 420 pixels
    small = samples_of(replace(RECIPE, crop_width=64), given_scenes(scene_of(labels)))
    assert [(small[index].label == 1).any() for index in (0, 8, 12)] == [True] * 3


def test_the_recipes_settings_reach_the_samples(given_scenes, scene_of):
    labels = np.zeros((80, 120), int)
    labels[20:60, 30:90] = 1
    scenes = given_scenes(scene_of(labels))

    def clicks(probability):
        samples = samples_of(replace(WHOLE, off_centre_probability=probability), scenes)
        rows = [samples[index].first_click[0] for index in range(60)]
        return min(rows), max(rows)

    inner, anywhere = clicks(0.0), clicks(1.0)
    assert inner[0] > 20 + 20 / 1.7 - 1
    assert inner[1] < 60 - 20 / 1.7
    assert anywhere[0] < inner[0] - 4
    assert anywhere[1] > inner[1] + 4
