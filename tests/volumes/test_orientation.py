"""A patient, stored in every way that NIfTI allows, gives one picture."""

import itertools

import numpy as np
import pytest

from isegm.extract.slices import Extraction, ExtractionJob, extract_volume
from isegm.extract.volume_pairs import VolumePair
from isegm.pictures import read_grey
from isegm.volumes.organs import find_organ
from isegm.volumes.orientation import RAW, upright

# Pictures equal the stored bytes where these are taken for grey values.
pytestmark = pytest.mark.filterwarnings("ignore:.*8-bit already")

# The patient, by (x to the left-hand side's opposite = right, y anterior, z superior); no two sizes alike.
RIGHT, ANTERIOR, SUPERIOR = 5, 7, 4
PATIENT_AFFINE = np.array([[2.0, 0, 0, -10], [0, 3, 0, -20], [0, 0, 4, -30], [0, 0, 0, 1]])
SPACINGS = (2, 3, 4)

ORDERS = list(itertools.product(itertools.permutations(range(3)), itertools.product([False, True], repeat=3)))


def stored(patient, order, flips):
    """The patient's array in another storage order, and the affine that goes with it, by hand."""
    array = patient.transpose(order)
    to_patient = np.zeros((4, 4))
    to_patient[3, 3] = 1
    for axis, (source, flipped) in enumerate(zip(order, flips, strict=True)):
        to_patient[source, axis] = -1 if flipped else 1
        if flipped:
            array = np.flip(array, axis)
            to_patient[source, 3] = patient.shape[source] - 1
    return np.ascontiguousarray(array), PATIENT_AFFINE @ to_patient


@pytest.mark.parametrize(("order", "flips"), ORDERS)
def test_48_storage_orders(order, flips, save_nifti, tmp_path):
    rng = np.random.default_rng(3)
    patient = rng.integers(0, 256, (RIGHT, ANTERIOR, SUPERIOR)).astype(np.uint8)
    organ = np.zeros(patient.shape, np.uint8)
    organ[1:3, 2:6, 2] = 1
    organ[4, 0, 2] = 1
    # Rows from anterior (large y) down, columns from the patient's right (large x).
    picture, mask = patient[::-1, ::-1, 2].T, organ[::-1, ::-1, 2].T

    array, affine = stored(patient, order, flips)
    label = save_nifti(tmp_path / "l" / "p.nii", stored(organ, order, flips)[0], affine)
    image = save_nifti(tmp_path / "i" / "p.nii.gz", array, affine)
    extraction = Extraction(organ=find_organ("spleen"), folder=tmp_path / "out")
    (row,) = extract_volume(ExtractionJob(VolumePair(label, image, "p"), extraction))

    axis = order.index(2)
    assert row["axis"] == str(axis)
    assert row["slice"] == str(SUPERIOR - 1 - 2 if flips[axis] else 2)
    assert (row["spacing_row_mm"], row["spacing_col_mm"]) == ("3", "2")
    assert (row["height"], row["width"], row["organ_pixels"]) == (str(ANTERIOR), str(RIGHT), "9")
    image_path, mask_path = extraction.picture_paths(row["name"])
    assert (read_grey(image_path) == picture).all()
    assert (read_grey(mask_path) == mask * 255).all()


@pytest.mark.parametrize(("order", "flips"), ORDERS[::7])
def test_raw_keeps_the_array(order, flips, save_nifti, tmp_path):
    rng = np.random.default_rng(4)
    patient = rng.integers(0, 256, (RIGHT, ANTERIOR, SUPERIOR)).astype(np.uint8)
    array, affine = stored(patient, order, flips)
    organ = np.zeros(array.shape, np.uint8)
    organ[:2, :3, 1] = 1
    label = save_nifti(tmp_path / "l" / "p.nii", organ, affine)
    image = save_nifti(tmp_path / "i" / "p.nii", array, affine)
    extraction = Extraction(organ=find_organ("spleen"), folder=tmp_path / "out", raw=True)
    (row,) = extract_volume(ExtractionJob(VolumePair(label, image, "p"), extraction))

    assert (row["axis"], row["slice"], row["orientation"]) == ("2", "1", "raw")
    assert float(row["spacing_row_mm"]) == SPACINGS[order[0]]
    assert float(row["spacing_col_mm"]) == SPACINGS[order[1]]
    image_path, mask_path = extraction.picture_paths("p_001")
    assert (read_grey(image_path) == array[:, :, 1]).all()
    assert (read_grey(mask_path) == organ[:, :, 1] * 255).all()


def test_an_oblique_volume_takes_the_nearest_axes():
    angle = np.deg2rad(20)
    tilt = np.eye(4)
    tilt[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    for order, flips in ORDERS:
        affine = stored(np.zeros((2, 3, 4)), order, flips)[1]
        assert upright(tilt @ affine) == upright(affine)


def test_a_prone_patient_scanned_lps_is_turned_by_the_affine_alone():
    plan = upright(np.diag([-1.0, -1, 1, 1]))
    assert (plan.flip_rows, plan.flip_cols) == (False, False)
    assert (plan.axis, plan.row_axis, plan.col_axis) == (2, 1, 0)


def test_raw_plan():
    part = np.arange(6).reshape(2, 3)
    assert (RAW.picture(part) == part).all()


@pytest.mark.parametrize(("order", "flips"), ORDERS)
def test_pictures_go_back_where_they_came_from(order, flips):
    patient = np.arange(RIGHT * ANTERIOR * SUPERIOR).reshape(RIGHT, ANTERIOR, SUPERIOR)
    array, affine = stored(patient, order, flips)
    plan = upright(affine)
    pictures = plan.pictures(array)
    # Rows from anterior down, columns from the patient's right; slices as the array has them.
    expected = patient[::-1, ::-1].transpose(2, 1, 0)
    np.testing.assert_array_equal(pictures, expected[::-1] if flips[order.index(2)] else expected)
    np.testing.assert_array_equal(plan.array(pictures), array)
    for index, picture in enumerate(pictures):
        np.testing.assert_array_equal(plan.picture(array.take(index, plan.axis)), picture)
    for place in np.ndindex(pictures.shape):
        voxel = plan.voxel(place, array.shape)
        assert array[voxel] == pictures[place]
        assert plan.place(voxel, array.shape) == place
    # The same memory: what is drawn into the volume's pictures is drawn into the volume.
    empty = np.zeros(pictures.shape, bool)
    plan.array(empty)[...] = array % 7 == 3
    np.testing.assert_array_equal(empty, pictures % 7 == 3)
