"""A mask goes back into its volume's own geometry."""

import gzip
import itertools
from dataclasses import dataclass

import nibabel as nib
import numpy as np
import pytest

from isegm.volumes.files import open_volume
from isegm.volumes.nifti import write_nifti
from isegm.volumes.orientation import upright
from isegm.volumes.volume import Volume, Voxels

SHAPE = (5, 7, 4)
ORDERS = list(itertools.product(itertools.permutations(range(3)), itertools.product([1, -1], repeat=3)))


def placed(order, signs, degrees=0.0):
    """An affine whose axes run along the patient's in this order and sense, turned by an angle."""
    steps = np.zeros((3, 3))
    steps[list(order), range(3)] = np.array(signs) * (0.75, 1.25, 3)
    angle = np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = turn @ steps, (-100, 80, 30)
    return affine


def drawn_upright(volume):
    """A mask drawn into the volume's upright pictures, as the array that was written."""
    plan = upright(volume.affine)
    pictures = np.zeros([volume.shape[axis] for axis in (plan.axis, plan.row_axis, plan.col_axis)], np.uint8)
    pictures[1, 0, 2:] = 1
    pictures[2, 1:3] = 7
    return pictures, plan.array(pictures)


@pytest.mark.parametrize(("order", "signs"), ORDERS)
@pytest.mark.parametrize("degrees", [0, 20])
def test_a_mask_of_slices_goes_back_where_it_came_from(order, signs, degrees, save_nifti, tmp_path):
    affine = placed(order, signs, degrees)
    path = save_nifti(tmp_path / "ct.nii.gz", np.zeros(SHAPE, np.int16), affine, (2, 1))
    volume = open_volume(path)
    pictures, mask = drawn_upright(volume)
    write_nifti(tmp_path / "mask.nii.gz", volume, (mask[:, :, k : k + 2] for k in (0, 2)))

    ct, written = nib.load(path), nib.load(tmp_path / "mask.nii.gz")
    np.testing.assert_array_equal(written.affine, ct.affine)
    np.testing.assert_array_equal(np.asanyarray(written.dataobj), mask)
    again = open_volume(tmp_path / "mask.nii.gz")
    read = np.concatenate([slab.labels() for _, slab in again.slabs()], axis=2)
    np.testing.assert_array_equal(upright(again.affine).pictures(read), pictures)


@pytest.mark.parametrize("codes", [(0, 0), (0, 3), (4, 0), (2, 1)])
@pytest.mark.parametrize("image", [nib.Nifti1Image, nib.Nifti2Image, nib.Nifti1Pair])
@pytest.mark.parametrize(("endianness", "unit"), [("<", "mm"), (">", "micron")])
def test_the_header_says_the_same_of_the_geometry(codes, image, endianness, unit, save_nifti, tmp_path):
    name = "ct.hdr" if image is nib.Nifti1Pair else "ct.nii"
    affine = placed((1, 0, 2), (-1, 1, 1), 20)
    array = np.zeros(SHAPE, f"{endianness}i2")
    path = save_nifti(tmp_path / name, array, affine, codes, unit, image, endianness)
    write_nifti(tmp_path / "mask.nii", open_volume(path), [np.ones(SHAPE, np.uint8)])
    ct, mask = nib.load(path).header, nib.load(tmp_path / "mask.nii").header
    assert mask.get_data_dtype() == np.uint8
    assert mask.endianness == endianness
    assert mask.sizeof_hdr == ct.sizeof_hdr
    fields = ("dim", "pixdim", "xyzt_units", "sform_code", "qform_code", "srow_x", "srow_y", "srow_z")
    for field in (*fields, "quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z"):
        np.testing.assert_array_equal(mask[field], ct[field])


@dataclass(frozen=True, kw_only=True, eq=False)
class Kept(Volume):
    """A volume of no file format."""

    array: np.ndarray

    def slabs(self, wanted=None):
        for index in range(self.shape[2]) if wanted is None else sorted(wanted):
            yield index, Voxels(self.path, self.array[:, :, index : index + 1])


@pytest.mark.parametrize(("order", "signs"), ORDERS[::7])
@pytest.mark.parametrize("has_orientation", [True, False])
def test_a_volume_of_another_format_is_written_as_well(order, signs, has_orientation, tmp_path):
    affine = placed(order, signs, 20)
    array = np.random.default_rng(0).integers(0, 9, SHAPE).astype(np.uint8)
    volume = Kept(
        path=tmp_path / "series", shape=SHAPE, affine=affine, has_orientation=has_orientation, array=array
    )
    assert volume.spacing_mm == pytest.approx((0.75, 1.25, 3))
    write_nifti(tmp_path / "a.nii.gz", volume, (slab.stored for _, slab in volume.slabs()))
    again = open_volume(tmp_path / "a.nii.gz")
    assert again.has_orientation is has_orientation
    assert again.spacing_mm == pytest.approx(volume.spacing_mm)
    if has_orientation:
        np.testing.assert_allclose(again.affine, affine, atol=1e-5)
    read = np.concatenate([slab.stored for _, slab in again.slabs()], axis=2)
    np.testing.assert_array_equal(read, array)


def test_what_fails_leaves_nothing_half_written(save_nifti, tmp_path):
    volume = open_volume(save_nifti(tmp_path / "ct.nii", np.zeros(SHAPE, np.int16)))

    def slabs():
        yield np.zeros((5, 7, 2), np.uint8)
        raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        write_nifti(tmp_path / "mask.nii.gz", volume, slabs())
    with pytest.raises(ValueError, match="slabs of 70 voxels"):
        write_nifti(tmp_path / "mask.nii.gz", volume, [np.zeros((5, 7, 2), np.uint8)])
    assert [path.name for path in tmp_path.iterdir()] == ["ct.nii"]


def test_the_same_voxels_give_the_same_file(save_nifti, tmp_path):
    volume = open_volume(save_nifti(tmp_path / "ct.nii", np.zeros(SHAPE, np.int16)))
    for name in ("a.nii.gz", "b.nii.gz"):
        write_nifti(tmp_path / name, volume, [np.ones(SHAPE, np.uint8)], description="a mask", shown=(0, 1))
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()
    header = nib.load(tmp_path / "a.nii.gz").header
    assert (header["descrip"].item(), header["cal_min"], header["cal_max"]) == (b"a mask", 0, 1)
    assert gzip.decompress((tmp_path / "a.nii.gz").read_bytes()).endswith(bytes([1] * 140))
