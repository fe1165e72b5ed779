"""Masks of a volume, written in its own geometry."""

import nibabel as nib
import numpy as np
import pytest

from isegm.errors import InputError
from isegm.volumes.files import open_volume
from isegm.volumes.mask_writing import write_mask
from tests.dicom_files import places, write_series


@pytest.fixture
def volume(tmp_path):
    write_series(tmp_path / "series")
    return open_volume(tmp_path / "series")


@pytest.mark.parametrize("kind", [np.bool_, np.uint8, np.uint16, np.int64])
def test_nifti_of_a_series_has_its_grid_and_every_label(kind, volume, tmp_path):
    mask = (np.arange(np.prod(volume.shape)).reshape(volume.shape) * 7 % 300).astype(kind)
    write_mask(tmp_path / "mask.nii.gz", volume, mask)
    image = nib.load(tmp_path / "mask.nii.gz")
    np.testing.assert_allclose(image.affine, volume.affine, atol=1e-5)
    np.testing.assert_array_equal(np.asanyarray(image.dataobj), mask)
    assert (int(image.header["qform_code"]), int(image.header["sform_code"])) == (1, 1)
    np.testing.assert_allclose(image.get_qform(), volume.affine, atol=1e-5)


def test_of_sheared_slices_the_sform_alone_can_tell(tmp_path):
    write_series(tmp_path / "series", positions=places(4, shift=(0, 0.5, 0)))
    with pytest.warns(UserWarning, match="tilted by 11.3 degrees"):
        volume = open_volume(tmp_path / "series")
    write_mask(tmp_path / "mask.nii", volume, np.zeros(volume.shape, np.bool_))
    image = nib.load(tmp_path / "mask.nii")
    assert int(image.header["qform_code"]) == 0
    np.testing.assert_allclose(image.affine, volume.affine, atol=1e-5)


@pytest.mark.parametrize(
    "mask", [np.zeros((10, 12, 3), np.bool_), np.zeros((10, 12, 4)), np.full((10, 12, 4), -1)]
)
def test_what_is_no_mask_of_the_volume_is_refused(mask, volume, tmp_path):
    with pytest.raises(ValueError, match="mask"):
        write_mask(tmp_path / "mask.nii", volume, mask)


def test_a_volume_is_not_replaced_by_its_mask(tmp_path):
    nib.save(nib.Nifti1Image(np.zeros((3, 4, 5), np.int16), np.eye(4)), tmp_path / "ct.nii")
    volume = open_volume(tmp_path / "ct.nii")
    with pytest.raises(InputError, match="is the volume itself"):
        write_mask(tmp_path / "ct.nii", volume, np.zeros(volume.shape, np.bool_))
    with pytest.raises(InputError, match=r"mask\.png: masks are written as NIfTI or DICOM SEG"):
        write_mask(tmp_path / "mask.png", volume, np.zeros(volume.shape, np.bool_))
    with pytest.raises(InputError, match="refers to a DICOM series"):
        write_mask(tmp_path / "mask.dcm", volume, np.ones(volume.shape, np.bool_))
