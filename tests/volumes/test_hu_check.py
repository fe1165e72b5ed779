"""Real and generated CT passes, whatever was cropped, clipped or padded; other scales never pass."""

import numpy as np
import pytest

from isegm.errors import FileWarning
from isegm.volumes.files import open_volume
from isegm.volumes.hu_check import HuCheck, why_not_hu
from isegm.volumes.windows import WINDOWS

SHAPE = (64, 64, 8)


def scanned():
    """A body with fat, lung, liver and bone in air, with a scanner's noise."""
    x, y, _ = np.mgrid[-1 : 1 : SHAPE[0] * 1j, -1 : 1 : SHAPE[1] * 1j, : SHAPE[2]]
    hu = np.full(SHAPE, -1000.0)
    for centre, radius, value in (
        ((0, 0), 0.85, -100),
        ((0, 0), 0.78, 45),
        ((0.3, 0.3), 0.3, -850),
        ((-0.3, 0.2), 0.4, 110),
        ((0, -0.5), 0.15, 700),
    ):
        hu[(x - centre[0]) ** 2 + (y - centre[1]) ** 2 < radius**2] = value
    return np.round(hu + np.random.default_rng(0).normal(0, 12, SHAPE)).clip(-1024, None)


HU = scanned()
LIVER = HU[16:28, 32:44]  # inside it
IN_HU = {
    "as scanned": HU,
    "an organ without air or fat": LIVER,
    "an organ with its surroundings": HU[12:48, 40:60].clip(-120, None),
    "clipped at -200 and 300": HU.clip(-200, 300),
    "clipped at -160 and 240": HU.clip(-160, 240),
    "clipped at -1000 and 1000": HU.clip(-1000, 1000),
    "padded with -3024": np.where(np.arange(64)[:, None, None] < 9, -3024, HU),
    "padded with -2000": np.where(np.arange(64)[:, None, None] < 9, -2000, HU),
    "an organ in nothing": np.where(HU > 60, HU, -1024),
    "in steps of 8": np.round(HU / 8) * 8,
    "resampled": (HU[1:] + HU[:-1]) / 2,
    "with NaN": np.where(HU < -1010, np.nan, HU),
    "of one value": np.full(SHAPE, 40.0),
    "without a value": np.full(SHAPE, np.nan),
    "padding alone": np.full(SHAPE, -2048.0),
}
NOT_IN_HU = {
    "HU + 1024": HU + 1024,
    "HU + 1000": HU + 1000,
    "HU + 1024 of an organ": LIVER + 1024,
    "HU + 1024, padded": np.where(np.arange(64)[:, None, None] < 9, -2000, HU + 1024),
    "HU - 1024": HU - 1024,
    "12 bits": (HU + 1024).clip(0, 4095),
    "16 bits": np.round((HU - HU.min()) / np.ptp(HU) * 65535),
    "0 to 1": (HU - HU.min()) / np.ptp(HU),
    "0 to 1 of a window": ((HU + 135) / 350).clip(0, 1),
    "-1 to 1": ((HU + 1000) / 700 - 1).clip(-1, 1),
    "0 to 255 of the abdomen's window": np.round(((HU + 135) / 350 * 255).clip(0, 255)),
    "0 to 255 of the lung's window": np.round(((HU + 1200) / 1400 * 255).clip(0, 255)),
    "0 to 255": np.round((HU - HU.min()) / np.ptp(HU) * 255),
    "0 to 255, in fractions": (HU - HU.min()) / np.ptp(HU) * 255,
    "standardised": (HU - HU.mean()) / HU.std(),
    "standardised by the organ": (HU.clip(-17, 201) - 99) / 40,
    "HU / 1000": HU / 1000,
    "magnetic resonance": np.abs(np.random.default_rng(1).normal(0, 6, SHAPE)) + 300 * (HU > -200),
}


@pytest.mark.parametrize("case", IN_HU)
def test_hu_pass(case):
    assert why_not_hu(IN_HU[case].ravel()) == ""


@pytest.mark.parametrize("case", NOT_IN_HU)
def test_other_scales_do_not(case):
    assert why_not_hu(NOT_IN_HU[case].ravel())


def check(path):
    checked = HuCheck(path)
    for _, slab in open_volume(path).slabs():
        checked.add(slab)
    checked.warn()


def test_the_warning_names_the_volume_and_the_reason(save_nifti, tmp_path):
    path = save_nifti(tmp_path / "a.nii", (HU + 1024).astype(np.uint16))
    with pytest.warns(
        FileWarning, match=r"a\.nii: its values are not like HU.*as in HU \+ 1024.*convert them"
    ):
        check(path)


@pytest.mark.filterwarnings("error")
def test_scaling_is_applied_before(save_nifti, set_scaling, tmp_path):
    check(set_scaling(save_nifti(tmp_path / "a.nii", (HU + 1024).astype(np.uint16)), 1, -1024))


def test_what_is_kept_of_a_large_volume_is_bounded(save_nifti, tmp_path):
    path = save_nifti(tmp_path / "a.nii", np.zeros((50, 1000, 200), np.int8))
    checked = HuCheck(path)
    for _, slab in open_volume(path).slabs():
        checked.add(slab)
        assert len(checked._values) <= 1 << 17
    assert len(checked._values) > 1 << 15


@pytest.mark.filterwarnings("error")
def test_real_ct_passes(shared):
    paths = sorted(shared.glob("data/*/*/imagesTr/*.nii.gz"))
    assert len(paths) > 100
    for path in paths:
        check(path)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_values_that_no_scan_has_are_no_matter(dtype, save_nifti, tmp_path):
    values = HU.astype(dtype)
    values[0, 0] = np.finfo(dtype).max
    path = save_nifti(tmp_path / "a.nii", values)
    check(path)
    ((_, slab),) = open_volume(path).slabs()
    assert (slab.windowed(WINDOWS["abdomen"])[0, 0] == 255).all()
