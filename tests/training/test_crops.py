import concurrent.futures
import multiprocessing
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from scipy import ndimage

from isegm.errors import InputError
from isegm.training.crops import SampleSettings, SkippedFiles, TrainingSamples, degrade
from isegm.training.scenes import Scene
from isegm.training.sources import open_mixture

PLAIN = SampleSettings(
    crop=(40, 60),
    scale=(1.0, 1.0),
    min_object_pixels=20,
    merge_probability=0.0,
    flip_probability=0.0,
    colour_probability=0.0,
)


def blocks(height=100, width=120):
    """Three objects of 900, 400 and 100 pixels, and an ignored stripe."""
    labels = np.zeros((height, width), np.int32)
    labels[10:40, 10:40] = 1
    labels[60:80, 50:70] = 2
    labels[20:30, 80:90] = 3
    labels[50:55] = -1
    return labels


def same(a, b):
    return (
        (a.beside is b.beside is None or np.array_equal(a.beside, b.beside))
        and (a.image == b.image).all()
        and (a.label == b.label).all()
        and (a.first_click, a.problems) == (b.first_click, b.problems)
    )


def make(index, folder):
    mixture = open_mixture([f"folder:{folder}"], folder / "cache")
    return TrainingSamples(mixture, replace(PLAIN, scale=(0.8, 1.2), colour_probability=0.75), 5)[index]


def test_a_sample_is_a_function_of_seed_and_index(tmp_path, save):
    for i in range(3):
        save(
            tmp_path / "images" / f"{i}.png", np.random.default_rng(i).integers(0, 256, (90, 90, 3), np.uint8)
        )
        save(tmp_path / "masks" / f"{i}.png", np.roll(blocks(90, 90).clip(0), i * 9, 0).astype(np.uint8))
    (tmp_path / "images" / "2.png").write_bytes(b"broken")
    forwards = [make(i, tmp_path) for i in range(6)]
    backwards = [make(i, tmp_path) for i in reversed(range(6))][::-1]
    assert all(map(same, forwards, backwards))
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, context) as pool:
        elsewhere = list(pool.map(make, [4, 2], [tmp_path] * 2))
    assert same(elsewhere[0], forwards[4])
    assert same(elsewhere[1], forwards[2])
    assert not any(same(forwards[0], other) for other in forwards[1:])


def test_another_seed_gives_other_samples(given_scenes, scene_of):
    source = given_scenes(scene_of(blocks()))
    first, second = (TrainingSamples(source, PLAIN, seed)[0] for seed in (0, 1))
    assert not same(first, second)


@pytest.mark.parametrize("flip", [0.0, 1.0])
def test_image_and_label_stay_together(given_scenes, scene_of, flip):
    samples = TrainingSamples(given_scenes(scene_of(blocks())), replace(PLAIN, flip_probability=flip), 3)
    chosen = set()
    for i in range(40):
        sample = samples[i]
        assert sample.image.shape == (40, 60, 3)
        assert sample.label.shape == (40, 60)
        assert (sample.image.dtype, sample.label.dtype) == (np.uint8, np.int8)
        red = sample.image[..., 0].astype(int)
        (value,) = np.unique(red[sample.label == 1])
        chosen.add(int(value) // 60)
        np.testing.assert_array_equal(sample.label == 1, red == value)
        np.testing.assert_array_equal(sample.label == -1, red == 255)
        # Columns run on by one, mirrored or not, and rows do.
        assert (np.diff(sample.image[..., 2].astype(int), axis=1) == (-1 if flip else 1)).all()
        assert (np.diff(sample.image[..., 1].astype(int), axis=0) == 1).all()
        depth = ndimage.distance_transform_edt(np.pad(sample.label == 1, 1))[1:-1, 1:-1]
        assert depth[sample.first_click] > depth.max() / 1.7
        assert (sample.label == 1).sum() >= PLAIN.min_object_pixels
    assert chosen == {1, 2, 3}


@pytest.mark.parametrize("share", ["degraded_share", "faint_share"])
def test_a_share_of_the_pictures_is_made_worse_and_stays_with_its_label(given_scenes, scene_of, share):
    source = given_scenes(scene_of(blocks(), is_ct=True))
    plain = TrainingSamples(source, PLAIN, 3)
    changed = 0
    for i in range(60):
        sample = TrainingSamples(source, replace(PLAIN, **{share: 0.5}), 3)[i]
        np.testing.assert_array_equal(sample.label, plain[i].label)
        changed += not np.array_equal(sample.image, plain[i].image)
    assert 15 <= changed <= 45


def test_a_degraded_picture_is_still_the_picture():
    rows, cols = np.mgrid[:90, :120]
    grey = (128 + 80 * np.sin(rows / 9) * np.cos(cols / 11)).astype(np.uint8)
    image = np.dstack([grey, 255 - grey, grey // 2])
    before, kinds = image.copy(), set()
    for seed in range(40):
        worse = degrade(image, np.random.default_rng(seed))
        assert (worse.shape, worse.dtype) == (image.shape, np.uint8)
        np.testing.assert_array_equal(worse, degrade(image, np.random.default_rng(seed)))
        difference = worse.astype(int) - image
        kinds.add(round(float(np.abs(difference).mean()), 3))
        for channel in range(3):
            assert np.corrcoef(worse[..., channel].ravel(), image[..., channel].ravel())[0, 1] > 0.7
    assert len(kinds) > 20
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize("turned", [False, True])
def test_a_shorter_side_is_a_scale_that_depends_on_the_picture(given_scenes, scene_of, turned):
    labels = blocks(120, 160)
    source = given_scenes(scene_of(labels.T.copy() if turned else labels, is_ct=True))
    settings = replace(PLAIN, scale=(1.0, 1.5), min_object_pixels=5)
    resized = TrainingSamples(source, replace(settings, shorter_side=60), 0)
    halved = TrainingSamples(source, replace(settings, scale=(0.5, 0.75)), 0)
    assert all(same(resized[i], halved[i]) for i in range(10))
    assert not same(resized[0], TrainingSamples(source, settings, 0)[0])


def test_scaled_image_and_label_stay_together(given_scenes, scene_of):
    settings = replace(PLAIN, scale=(0.7, 1.6), flip_probability=0.5)
    samples = TrainingSamples(given_scenes(scene_of(blocks(), is_ct=True)), settings, 0)
    for i in range(30):
        sample = samples[i]
        inner = ndimage.binary_erosion(sample.label == 1, iterations=2, border_value=1)
        values = np.unique(sample.image[..., 0][inner])
        assert len(values) <= 1
        # The first channel's value fades over two pixels at most where a picture is enlarged bilinearly.
        if len(values):
            outside = ~ndimage.binary_dilation(sample.label == 1, iterations=2)
            outside &= ndimage.minimum_filter(sample.image[..., 0], 5) == sample.image[..., 0]
            assert (sample.image[..., 0][outside & (sample.label == 0)] != values[0]).all()


@pytest.mark.parametrize(
    ("scale", "size", "box"),
    [
        (1.0, (20, 30), (10, 15, 20, 30)),
        (2.0, (10, 20), (10, 10, 20, 40)),
        (0.5, (40, 200), (10, 0, 20, 60)),
    ],
)
def test_small_pictures_have_zeros_around_them(given_scenes, scale, size, box):
    scene = Scene(np.full((*size, 3), 200, np.uint8), np.ones(size, np.int32), is_ct=False)
    settings = replace(PLAIN, scale=(scale, scale))
    sample = TrainingSamples(given_scenes(scene), settings, 0)[0]
    top, left, height, width = box
    expected = np.zeros((40, 60), np.int8)
    expected[top : top + height, left : left + width] = 1
    np.testing.assert_array_equal(sample.label, expected)
    np.testing.assert_array_equal(sample.image, np.repeat(expected[..., None] * np.uint8(200), 3, axis=2))


@pytest.mark.parametrize("scale", [0.7, 1.4, 2.3])
def test_resized_labels_are_not_shifted(given_scenes, scale):
    labels = np.zeros((15, 22), np.int32)
    labels[4:11, 5:17] = 1  # as far from the left as from the right, from the top as from the bottom
    image = np.repeat(labels[..., None] * 200, 3, axis=2).astype(np.uint8)
    settings = replace(PLAIN, scale=(scale, scale), crop=(42, 60), min_object_pixels=1)
    sample = TrainingSamples(given_scenes(Scene(image, labels, is_ct=True)), settings, 0)[0]
    rows, cols = np.nonzero(sample.label)
    seen_rows, seen_cols = np.nonzero(sample.image[..., 0] >= 100)
    for own, seen in ((rows, seen_rows), (cols, seen_cols)):
        assert abs(own.min() - seen.min()) <= 1
        assert abs((own.min() + own.max()) - (seen.min() + seen.max())) <= 1


def test_padding_stays_zero_when_colours_vary(given_scenes):
    scene = Scene(np.full((20, 30, 3), 100, np.uint8), np.ones((20, 30), np.int32), is_ct=False)
    samples = TrainingSamples(given_scenes(scene), replace(PLAIN, colour_probability=1.0), 0)
    inside = [samples[i].image[12:28, 18:42] for i in range(20)]
    assert all((samples[i].image[:10] == 0).all() for i in range(5))
    assert all((part == part[0, 0]).all() for part in inside)
    assert len({tuple(part[0, 0]) for part in inside}) > 15


def test_colours_vary_within_bounds_and_ct_does_not(given_scenes):
    labels = np.ones((40, 60), np.int32)
    photo = Scene(np.full((40, 60, 3), 100, np.uint8), labels, is_ct=False)
    samples = TrainingSamples(given_scenes(photo), replace(PLAIN, colour_probability=0.75), 1)
    colours = np.array([samples[i].image[0, 0].astype(int) for i in range(300)])
    assert colours.min() >= np.floor(100 * 0.85 - 255 * 0.25 - 10)
    assert colours.max() <= np.ceil(100 * 1.4 + 255 * 0.25 + 10)
    assert np.ptp(colours, axis=1).max() > 10  # the channels move apart
    untouched = (colours == 100).all(axis=1).mean()
    assert 0.02 < untouched < 0.12  # 1 in 16
    ct = replace(photo, is_ct=True)
    samples = TrainingSamples(given_scenes(ct), replace(PLAIN, colour_probability=1.0), 1)
    assert all((samples[i].image == 100).all() for i in range(10))


def test_two_objects_are_merged_as_often_as_asked(given_scenes, scene_of):
    labels = np.zeros((40, 60), np.int32)
    labels[:, :20], labels[:, 20:40] = 1, 2
    samples = TrainingSamples(given_scenes(scene_of(labels)), replace(PLAIN, merge_probability=0.15), 0)
    pixels = np.array([(samples[i].label == 1).sum() for i in range(600)])
    assert set(pixels) == {800, 1600}
    assert 0.11 < (pixels == 1600).mean() < 0.19


def test_a_lone_object_is_not_merged(given_scenes, scene_of):
    labels = np.zeros((40, 60), np.int32)
    labels[:, :20], labels[0, 20:30] = 1, 2  # the second is too small
    samples = TrainingSamples(given_scenes(scene_of(labels)), replace(PLAIN, merge_probability=1.0), 0)
    assert all((samples[i].label == 1).sum() == 800 for i in range(10))


def test_unusable_scenes_are_passed_over(given_scenes, scene_of):
    none, small = np.zeros((40, 60), np.int32), np.zeros((40, 60), np.int32)
    small[:4, :4] = 1
    good = scene_of(np.ones((40, 60), np.int32))
    broken, gone = InputError("a.png: broken"), OSError(5, "Input/output error", "b.png")
    samples = TrainingSamples(given_scenes(scene_of(none), scene_of(small), broken, gone, good), PLAIN, 0)
    made = [samples[i] for i in range(30)]
    assert all((sample.label == 1).all() for sample in made)
    lines = {line for sample in made for line in sample.problems}
    assert lines == {"a.png: broken", "b.png: Input/output error"}


def test_nothing_to_train_on_is_an_error_that_says_why(given_scenes, scene_of):
    small = np.zeros((40, 60), np.int32)
    small[:4, :4] = 1
    with pytest.raises(InputError, match=r"given: 100 .* none to train on: 100 have no object of 20 pixels"):
        TrainingSamples(given_scenes(scene_of(small)), PLAIN, 0)[0]
    with pytest.raises(InputError, match=r"100 could not be used, the last because of x.png: broken"):
        TrainingSamples(given_scenes(InputError("x.png: broken")), PLAIN, 0)[0]


def test_each_problem_is_told_once():
    skipped = SkippedFiles()
    assert skipped.note([("a", "b", "a"), ()]) == ["a", "b"]
    assert skipped.note([("b",), ("c",)]) == ["c"]
    assert len(skipped) == 3


def test_many_problems_end_the_run_only_if_they_are_a_large_part():
    skipped = SkippedFiles(most=5, share=0.1)
    for i in range(50):  # 1 in 21 draws
        skipped.note([(f"{i}",)] + [()] * 19)
    skipped = SkippedFiles(most=5, share=0.1)
    skipped.note([tuple("abcde")])
    with pytest.raises(
        InputError, match=r"6 different files .* 75% of all draws, the last because of f; fix"
    ):
        skipped.note([("f",)])


@hypothesis_settings(deadline=None)
@given(st.integers(1, 300), st.integers(1, 300), st.integers(0, 10**6), st.floats(0.1, 4))
def test_any_picture_gives_samples_of_the_crops_size(height, width, index, scale):
    scene = Scene(np.zeros((height, width, 3), np.uint8), np.ones((height, width), np.int32), is_ct=False)

    class One:
        name, notes = "one", ()

        def draw(self, rng):
            return scene

    settings = SampleSettings(crop=(32, 48), scale=(scale, scale), min_object_pixels=1)
    sample = TrainingSamples(One(), settings, 0)[index]
    assert sample.image.shape == (32, 48, 3)
    assert sample.label[sample.first_click] == 1
    assert not np.isin(sample.label, (0, 1), invert=True).any()


def test_the_object_in_the_slice_beside_is_cropped_along(given_scenes, scene_of):
    plain = scene_of(blocks())
    settings = replace(PLAIN, scale=(0.7, 1.6), flip_probability=0.5)
    same_place = TrainingSamples(given_scenes(replace(plain, beside=plain.labels)), settings, 0)
    gone = TrainingSamples(given_scenes(replace(plain, beside=np.zeros_like(plain.labels))), settings, 0)
    unknown = TrainingSamples(given_scenes(plain), settings, 0)
    for i in range(20):
        sample = same_place[i]
        assert sample.beside.dtype == np.bool_
        np.testing.assert_array_equal(sample.beside, sample.label == 1)
        np.testing.assert_array_equal(sample.image, unknown[i].image)
        assert gone[i].beside is unknown[i].beside is None
