"""What is timed of a volume by clicks, on a network that takes no time."""

import nibabel as nib
import numpy as np
import pytest

from isegm.benchmark import volume_speed
from tests.inference.thresholding import Thresholding

pytestmark = pytest.mark.filterwarnings("ignore:.*not like HU")


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(volume_speed, "_SIDE", 64)
    monkeypatch.setattr(volume_speed, "load_network", lambda _: Thresholding())


def test_the_liver_is_in_every_slice_of_the_volume(small, tmp_path):
    liver = volume_speed.write_liver_volume(tmp_path / "a.nii", 26)
    image = nib.load(tmp_path / "a.nii")
    assert image.shape == liver.shape == (256, 256, 26)
    assert liver.any(axis=(0, 1)).all()
    hu = np.asarray(image.dataobj)
    assert 20 < np.median(hu[liver]) < 200


def test_everything_is_timed_as_often_as_asked(small, tmp_path):
    result = volume_speed.measure_volumes(tmp_path / "x.pth", slices=24, repeats=2, threads=1)
    times = result["milliseconds"]
    assert list(times) == ["open", "first click", "further click", "volume", "cancelling", "correction"]
    assert all(spread["count"] == 2 and spread["median"] >= 0 for spread in times.values())
    assert 0 < result["slices_done"] <= 23
    text = volume_speed.format_volumes_speed(result)
    assert "| first click" in text
    assert f"slices done: {result['slices_done']}" in text
