"""DICOM series as volumes, held against what dcm2niix makes of the same files."""

import subprocess

import dcm2niix
import nibabel as nib
import numpy as np
import pytest
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from isegm.volumes.files import open_volume
from tests.dicom_files import places, stored_values, write_series

OBLIQUE = (0.8, 0.6, 0.0, -0.36, 0.48, 0.8)
CORONAL = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)
SAGITTAL = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)


def values_of(volume):
    """All of a volume's HU, (X, Y, Z)."""
    values = np.empty(volume.shape)
    for start, slab in volume.slabs():
        values[:, :, start : start + slab.stored.shape[2]] = slab.hu()
    return values


def converted(folder, output):
    """What dcm2niix makes of a folder: values, affines and names of its files."""
    output.mkdir()
    subprocess.run([dcm2niix.bin, "-b", "n", "-o", output, folder], check=True, capture_output=True)
    images = [nib.load(path) for path in sorted(output.glob("*.nii"))]
    return [(image.get_fdata(), image.affine) for image in images]


def compare(folder, tmp_path):
    """Hold a folder's volume against dcm2niix's only one; returns the volume."""
    volume = open_volume(folder)
    ((values, affine),) = converted(folder, tmp_path / "converted")
    np.testing.assert_allclose(volume.affine, affine, atol=2e-5 * max(1, np.abs(affine).max() / 10))
    np.testing.assert_allclose(values_of(volume), values, atol=2e-3)
    return volume


@pytest.mark.parametrize("orientation", [(1, 0, 0, 0, 1, 0), OBLIQUE, CORONAL, SAGITTAL], ids=str)
def test_slices_lie_where_dcm2niix_puts_them(orientation, tmp_path):
    write_series(tmp_path / "series", ImageOrientationPatient=list(orientation))
    assert compare(tmp_path / "series", tmp_path).shape == (10, 12, 4)


@pytest.mark.parametrize(
    "syntax",
    [
        ImplicitVRLittleEndian,
        ExplicitVRLittleEndian,
        ExplicitVRBigEndian,
        DeflatedExplicitVRLittleEndian,
        RLELossless,
        JPEGLSLossless,
        JPEG2000Lossless,
    ],
    ids=lambda syntax: syntax.name,
)
def test_transfer_syntaxes(syntax, tmp_path):
    write_series(tmp_path / "series", stored_values((4, 64, 40)), syntax=syntax)
    values = values_of(open_volume(tmp_path / "series"))
    np.testing.assert_array_equal(values, stored_values((4, 64, 40)).transpose(2, 1, 0)[:, ::-1] - 1024.0)
    if syntax != DeflatedExplicitVRLittleEndian:  # which dcm2niix does not read
        compare(tmp_path / "series", tmp_path)


def test_neither_names_nor_instance_numbers_order_slices(tmp_path):
    shuffled = [2, 0, 3, 1]
    write_series(
        tmp_path / "series",
        names=[f"{number}" for number in shuffled],
        each=lambda number: {"InstanceNumber": 9 - shuffled[number]},
    )
    np.testing.assert_array_equal(
        values_of(open_volume(tmp_path / "series"))[0, -1], stored_values()[:, 0, 0] - 1024.0
    )
    compare(tmp_path / "series", tmp_path)


def test_real_series(shared, tmp_path):
    compare(shared / "data" / "volumes" / "totalsegmentator" / "dicom20", tmp_path)


def test_padding_of_a_real_series_becomes_air(shared, tmp_path):
    folder = shared / "data" / "volumes" / "dcmqi"
    values = values_of(open_volume(folder))
    ((expected, _),) = converted(folder, tmp_path / "converted")
    is_padding = expected == -3024
    assert is_padding.mean() > 0.2
    np.testing.assert_array_equal(values, np.where(is_padding, -1024, expected))


def test_missing_slices_are_named(tmp_path):
    write_series(tmp_path, positions=places(4, step=(0, 2, 6, 8)))
    with pytest.raises(
        ValueError, match=r"1 slice missing, .*slice001\.dcm and slice002\.dcm \(102\.00 and 106"
    ):
        open_volume(tmp_path)
