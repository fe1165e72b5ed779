"""The geodesic segmentation of volumes, on volumes whose answer is plain."""

import pytest

from isegm.geometry import VoxelClick
from isegm.inference.volume_geodesic import GeodesicVolumeSegmenter
from isegm.metrics.overlap import mask_dice
from isegm.volumes.windows import WINDOWS
from tests.evaluation.volumes_by_hand import box, volume_sample

TRUTH = box((40, 44, 16), (12, 28), (10, 30), (4, 13))


@pytest.fixture
def sample(tmp_path):
    return volume_sample(tmp_path, TRUTH)


def begun(sample, **settings):
    segmenter = GeodesicVolumeSegmenter(**settings)
    segmenter.set_volume(sample.volume, WINDOWS["abdomen"])
    return segmenter


def test_one_click_finds_a_box_that_stands_out(sample):
    segmenter = begun(sample)
    assert not segmenter.mask.any()
    segmenter.click((20, 20, 8))

    assert segmenter.mask.shape == TRUTH.shape
    assert mask_dice(segmenter.mask, TRUTH) > 0.9
    assert segmenter.clicks == (VoxelClick(20, 20, 8, positive=True),)


def test_shrunk_it_finds_nearly_the_same(sample):
    segmenter = begun(sample, voxels=4000)
    segmenter.click((20, 20, 8))
    assert mask_dice(segmenter.mask, TRUTH) > 0.75


def test_a_click_on_the_background_takes_away_what_is_nearer_to_it(sample):
    segmenter = begun(sample)
    segmenter.click((20, 20, 8))
    before = segmenter.mask
    segmenter.click((20, 27, 8), positive=False)

    after = segmenter.mask
    assert after.sum() < before.sum()
    assert not (after & ~before).any()
    assert after[20, 20, 8]
    assert not after[20, 27, 8]


def test_a_new_volume_forgets_the_clicks(sample):
    segmenter = begun(sample)
    segmenter.click((20, 20, 8))
    segmenter.set_volume(sample.volume, WINDOWS["abdomen"])
    assert segmenter.clicks == ()
    assert not segmenter.mask.any()


def test_the_first_and_the_last_slice_are_no_sides(tmp_path):
    truth = box((30, 30, 10), (10, 20), (10, 20), (0, 10))  # through all slices
    segmenter = begun(volume_sample(tmp_path, truth))
    segmenter.click((15, 15, 5))
    assert mask_dice(segmenter.mask, truth) > 0.9


@pytest.mark.parametrize("settings", [{"threshold": 1.0}, {"threshold": -0.1}, {"voxels": 7}])
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        GeodesicVolumeSegmenter(**settings)
