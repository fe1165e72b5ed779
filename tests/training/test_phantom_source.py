import numpy as np
import pytest

from isegm.errors import InputError
from isegm.training import phantom_source
from isegm.training.crops import SampleSettings, TrainingSamples
from isegm.training.phantom_source import PhantomSource, only_visible
from isegm.training.sources import open_mixture


def test_what_cannot_be_seen_is_background():
    labels = np.zeros((60, 120), np.int32)
    labels[10:50, 10:30] = 1  # clearly lighter
    labels[10:50, 40:60] = 2  # as its surroundings
    labels[10:50, 70:90] = 4  # its left half as its surroundings
    labels[0:5, 100:110] = -1
    grey = np.full(labels.shape, 100, np.uint8)
    grey[labels == 1] = 110
    grey[10:50, 80:90] = 160
    visible = only_visible(labels, grey)
    np.testing.assert_array_equal(visible, np.where(labels == 2, 0, labels))
    assert (labels == 2).any()  # what was given is as it was


@pytest.mark.parametrize("contrast", [3, 4])
def test_noise_does_not_make_an_object_visible(contrast):
    labels = np.zeros((80, 80), np.int32)
    labels[20:60, 20:60] = 1
    noise = np.random.default_rng(0).normal(0, 2, labels.shape)
    grey = np.rint(100 + (contrast * 2 - 6) * labels + noise).astype(np.uint8)  # 0 or 2: too little
    assert not only_visible(labels, grey).any()
    assert only_visible(labels, np.rint(100 + 8 * labels + noise).astype(np.uint8)).any()


def test_an_object_all_over_the_picture_has_no_outline():
    labels = np.ones((20, 20), np.int32)
    assert not only_visible(labels, np.zeros(labels.shape, np.uint8)).any()


class Slice:
    def __init__(self, hu, labels):
        self.hu, self.labels, self.beside = hu, labels, None


def test_slices_are_windowed(monkeypatch, tmp_path):
    def random_slice(rng, height, width, family, beside):
        assert family is None
        labels = np.zeros((height, width), np.int32)
        labels[: height // 2] = rng.integers(1, 5)
        return Slice(np.where(labels, 60, -1000).astype(np.float32), labels)

    monkeypatch.setattr(phantom_source, "random_slice", random_slice)
    mixture = open_mixture(["phantom:size=64x80"], tmp_path)
    scenes = [mixture.draw(np.random.default_rng(i)) for i in range(30)]
    for scene in scenes:
        assert scene.image.shape == (64, 80, 3)
        assert scene.is_ct
        seen = int(scene.image[0, 0, 0]) - int(scene.image[-1, 0, 0]) >= 4
        assert (scene.labels[:32] > 0).all() == seen
        assert not scene.labels[32:].any()
        assert (scene.image[:32] == scene.image[0, 0]).all()
    assert len({int(scene.image[0, 0, 0]) for scene in scenes}) > 10
    np.testing.assert_array_equal(scenes[3].image, mixture.draw(np.random.default_rng(3)).image)


def test_a_slice_without_objects_is_a_scene_without(monkeypatch):
    def random_slice(rng, height, width, family, beside):
        return Slice(np.zeros((height, width), np.float32), np.zeros((height, width), np.int32))

    monkeypatch.setattr(phantom_source, "random_slice", random_slice)
    scene = PhantomSource("phantom", 40, 40, phantom_source.WindowJitter()).draw(np.random.default_rng(0))
    assert not scene.labels.any()


def test_generated_slices_give_samples(tmp_path):
    settings = SampleSettings(crop=(96, 128), min_object_pixels=100)
    first, second = (
        TrainingSamples(open_mixture(["phantom:size=160"], tmp_path), settings, 1) for _ in range(2)
    )
    for i in range(6):
        sample = first[i]
        assert sample.problems == ()
        assert (sample.label == 1).sum() >= 100
        assert sample.label[sample.first_click] == 1
        np.testing.assert_array_equal(sample.image, second[i].image)


def test_a_source_may_be_of_one_family(monkeypatch, tmp_path):
    asked = []

    def random_slice(rng, height, width, family, beside):
        asked.append(family)
        return Slice(np.zeros((height, width), np.float32), np.zeros((height, width), np.int32))

    monkeypatch.setattr(phantom_source, "random_slice", random_slice)
    open_mixture(["phantom:size=64:family=noise"], tmp_path).draw(np.random.default_rng(0))
    assert asked == ["noise"]
    with pytest.raises(InputError, match="family=organs: must be anatomy or shapes or noise"):
        open_mixture(["phantom:family=organs"], tmp_path)
