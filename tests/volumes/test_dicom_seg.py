"""DICOM SEG, held against dcmqi, which shares no code with what writes and reads here."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest

from isegm.errors import InputError
from isegm.volumes.files import open_volume
from isegm.volumes.grid import align, common_grid
from isegm.volumes.mask_writing import write_mask
from tests.dicom_files import enhanced, places, stored_values, write, write_series

OBLIQUE = (0.8, 0.6, 0.0, -0.36, 0.48, 0.8)


def dcmqi(tool, *arguments):
    program = shutil.which(tool, path=Path(sys.executable).parent)
    subprocess.run([program, *map(str, arguments)], check=True, capture_output=True)


def labels_of(volume):
    labels = np.empty(volume.shape, np.uint16)
    for start, slab in volume.slabs():
        labels[:, :, start : start + slab.stored.shape[2]] = slab.labels()
    return labels


def read_by_dcmqi(path, folder):
    """The voxels of each segment, as their places in the patient, {number: (n, 3) sorted}."""
    folder.mkdir()
    dcmqi("segimage2itkimage", "--inputDICOM", path, "--outputDirectory", folder, "--outputType", "nii")
    found = {}
    for file in folder.glob("*.nii.gz"):
        image = nib.load(file)
        found[int(file.name.split(".")[0])] = places_of(np.asanyarray(image.dataobj) > 0, image.affine)
    return found


def places_of(mask, affine):
    """Where the voxels of a mask lie, (n, 3) in 0.01 mm, in order."""
    where = nib.affines.apply_affine(affine, np.argwhere(mask))
    return np.unique(np.rint(where * 100).astype(int), axis=0)


def drawn(shape, seed=0):
    """Labels 2 and 5 on some slices, none on the first and last."""
    labels = np.random.default_rng(seed).choice([0, 2, 5], shape).astype(np.uint8)
    labels[:, :, [0, -1]] = 0
    return labels


@pytest.fixture(params=["axial", "oblique", "sheared", "multi-frame"])
def series(request, tmp_path):
    """A series of five slices, and its volume."""
    stored = stored_values((5, 12, 10))
    if request.param == "multi-frame":
        order = [3, 0, 4, 1, 2]
        write(tmp_path / "ct" / "many.dcm", enhanced(stored[order], [places(5)[z] for z in order]))
    elif request.param == "oblique":
        write_series(tmp_path / "ct", stored, places(5, OBLIQUE), ImageOrientationPatient=list(OBLIQUE))
    elif request.param == "sheared":
        write_series(tmp_path / "ct", stored, places(5, shift=(0, 0.4, 0)))
        with pytest.warns(UserWarning, match="tilted"):
            return open_volume(tmp_path / "ct")
    else:
        write_series(tmp_path / "ct", stored, names=[f"{9 - z}.dcm" for z in range(5)])
    return open_volume(tmp_path / "ct")


@pytest.mark.parametrize("series", ["axial", "oblique", "multi-frame"], indirect=True)  # dcmqi shears nothing
def test_dcmqi_finds_every_segment_where_it_is(series, tmp_path):
    labels = drawn(series.shape)
    write_mask(tmp_path / "seg.dcm", series, labels)
    found = read_by_dcmqi(tmp_path / "seg.dcm", tmp_path / "read")
    assert set(found) == {1, 2}
    for number, value in ((1, 2), (2, 5)):
        np.testing.assert_array_equal(found[number], places_of(labels == value, series.affine))


def test_every_frame_says_where_it_lies_and_what_it_is(series, tmp_path):
    labels = drawn(series.shape)
    write_mask(tmp_path / "seg.dcm", series, labels, {2: "liver", 5: "lung nodule"})
    content = pydicom.dcmread(tmp_path / "seg.dcm")
    assert [segment.SegmentLabel for segment in content.SegmentSequence] == ["liver", "lung nodule"]
    assert content.SegmentSequence[0].SegmentedPropertyTypeCodeSequence[0].CodeValue == "10200004"
    assert content.StudyInstanceUID == series.frames[0].file.study
    referred = {
        item.ReferencedSOPInstanceUID
        for item in content.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    }
    assert referred == {frame.file.instance for frame in series.frames}
    shared = content.SharedFunctionalGroupsSequence[0]
    directions = np.reshape(shared.PlaneOrientationSequence[0].ImageOrientationPatient, (2, 3))
    steps = np.array(shared.PixelMeasuresSequence[0].PixelSpacing)[::-1, None] * directions
    found = {1: [], 2: []}
    for frame, bits in zip(content.PerFrameFunctionalGroupsSequence, content.pixel_array, strict=True):
        affine = np.eye(4)
        affine[:3, :2] = steps.T
        affine[:3, 3] = frame.PlanePositionSequence[0].ImagePositionPatient
        number = frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        found[number].append(places_of(bits.T[:, :, None], np.diag([-1, -1, 1, 1]) @ affine))
    for number, value in ((1, 2), (2, 5)):
        expected = places_of(labels == value, series.affine)
        np.testing.assert_array_equal(np.unique(np.concatenate(found[number]), axis=0), expected)


def test_it_is_read_again_on_the_grid_of_its_series(series, tmp_path):
    labels = drawn(series.shape)
    write_mask(tmp_path / "seg.dcm", series, labels)
    alone = open_volume(tmp_path / "seg.dcm")
    assert alone.shape == (10, 12, 3)  # empty slices are not in it
    seg, same = align(alone, series)
    common_grid(seg, same)
    np.testing.assert_array_equal(labels_of(seg), np.select([labels == 2, labels == 5], [1, 2]))
    (_, one), (_, other) = seg.slabs([2, 1])
    np.testing.assert_array_equal(np.concatenate([one.stored, other.stored], 2), labels_of(seg)[:, :, 1:3])


@pytest.mark.parametrize("flips", [(1, -1, 1), (-1, 1, -1)])
def test_it_is_put_on_the_grid_of_a_nifti_file(flips, tmp_path):
    write_series(tmp_path / "ct", stored_values((5, 12, 10)))
    volume = open_volume(tmp_path / "ct")
    mask = drawn(volume.shape) > 0
    write_mask(tmp_path / "seg.dcm", volume, mask)
    turned = np.stack([np.arange(3), flips], axis=1)
    affine = volume.affine @ nib.orientations.inv_ornt_aff(turned, volume.shape)
    expected = nib.orientations.apply_orientation(mask.astype(np.uint8), turned)
    nib.save(nib.Nifti1Image(expected, affine), tmp_path / "mask.nii")
    seg, nifti = align(open_volume(tmp_path / "seg.dcm"), open_volume(tmp_path / "mask.nii"))
    common_grid(seg, nifti)
    np.testing.assert_array_equal(labels_of(seg), expected)


def test_a_seg_of_one_slice_lies_on_its_series(tmp_path):
    write_series(tmp_path / "ct", stored_values((5, 12, 10)))
    volume = open_volume(tmp_path / "ct")
    mask = np.zeros(volume.shape, np.bool_)
    mask[2:5, 3:9, 3] = True
    write_mask(tmp_path / "seg.dcm", volume, mask)
    seg, _ = align(open_volume(tmp_path / "seg.dcm"), volume)
    np.testing.assert_array_equal(labels_of(seg), mask)


def test_a_seg_of_another_place_stays_where_it_is(tmp_path):
    write_series(tmp_path / "ct")
    write_series(tmp_path / "other", positions=places(4, first=(-30, -40, 101)), SeriesInstanceUID="1.2.3")
    volume, other = open_volume(tmp_path / "ct"), open_volume(tmp_path / "other")
    write_mask(tmp_path / "seg.dcm", volume, np.ones(volume.shape, np.bool_))
    seg, _ = align(open_volume(tmp_path / "seg.dcm"), other)
    with pytest.raises(InputError, match="lies elsewhere"):
        common_grid(seg, other)


def test_what_dcmqi_writes_is_read(tmp_path):
    write_series(tmp_path / "ct", stored_values((5, 12, 10)))
    volume = open_volume(tmp_path / "ct")
    labels = np.minimum(drawn(volume.shape), 1)
    write_mask(tmp_path / "labels.nii.gz", volume, labels)
    code = {"CodeValue": "10200004", "CodingSchemeDesignator": "SCT", "CodeMeaning": "Liver"}
    segment = {
        "labelID": 1,
        "SegmentLabel": "liver",
        "SegmentAlgorithmType": "MANUAL",
        "SegmentedPropertyCategoryCodeSequence": code,
        "SegmentedPropertyTypeCodeSequence": code,
    }
    meta = {
        "ContentCreatorName": "x",
        "SeriesNumber": "9",
        "InstanceNumber": "1",
        "segmentAttributes": [[segment]],
    }
    (tmp_path / "meta.json").write_text(json.dumps(meta))
    dcmqi(
        "itkimage2segimage",
        "--inputImageList", tmp_path / "labels.nii.gz",
        "--inputDICOMDirectory", tmp_path / "ct",
        "--outputDICOM", tmp_path / "seg.dcm",
        "--inputMetadata", tmp_path / "meta.json",
    )  # fmt: skip
    seg, same = align(open_volume(tmp_path / "seg.dcm"), volume)
    common_grid(seg, same)
    np.testing.assert_array_equal(labels_of(seg), labels)


def test_what_no_seg_can_be_is_refused(tmp_path):
    write_series(tmp_path / "ct", positions=places(4, shift=(0, 0.5, 0)))
    with pytest.warns(UserWarning, match="tilted"):
        volume = open_volume(tmp_path / "ct")
    with pytest.raises(InputError, match="must have a segment, but the mask is empty"):
        write_mask(tmp_path / "seg.dcm", volume, np.zeros(volume.shape, np.bool_))
    straight = open_volume(tmp_path / "ct", untilt=True)
    with pytest.raises(InputError, match="is none as it is stored"):
        write_mask(tmp_path / "seg.dcm", straight, np.ones(straight.shape, np.bool_))
    assert not list(tmp_path.glob("*.dcm"))


def test_a_series_in_no_frame_of_reference_is_named(tmp_path):
    write_series(tmp_path / "ct", FrameOfReferenceUID=None)
    volume = open_volume(tmp_path / "ct")
    with pytest.raises(
        InputError, match=r"slice000\.dcm: has no FrameOfReferenceUID, which a SEG needs; write NIfTI"
    ):
        write_mask(tmp_path / "seg.dcm", volume, np.ones(volume.shape, np.bool_))
    assert not list(tmp_path.glob("*.dcm"))


def assert_seg_comes_back(folder):
    """Write a SEG of the series in a folder's ``ct``, and read the same mask on the same grid."""
    volume = open_volume(folder / "ct")
    mask = np.random.default_rng(0).random(volume.shape) > 0.5
    write_mask(folder / "seg.dcm", volume, mask)
    seg, same = align(open_volume(folder / "seg.dcm"), volume)
    common_grid(seg, same)
    np.testing.assert_array_equal(labels_of(seg), mask)


@pytest.mark.parametrize("value", [None, ""])
@pytest.mark.parametrize("keyword", ["StudyInstanceUID", "SeriesInstanceUID"])
def test_an_anonymised_series_gets_its_seg(keyword, value, tmp_path):
    write_series(tmp_path / "ct", **{keyword: value})
    assert_seg_comes_back(tmp_path)


def test_orientations_that_differ_in_the_last_digits_are_one(tmp_path):
    write_series(
        tmp_path / "ct",
        each=lambda number: {
            "ImageOrientationPatient": [1, 0, 0.00005 * number, 0, 1, 0],
            "PixelSpacing": [0.7 + 0.00001 * number, 0.9],
        },
    )
    assert_seg_comes_back(tmp_path)


def test_a_seg_is_no_ct_volume(tmp_path):
    write_series(tmp_path / "ct")
    volume = open_volume(tmp_path / "ct")
    write_mask(tmp_path / "ct" / "seg.dcm", volume, np.ones(volume.shape, np.bool_))
    assert type(open_volume(tmp_path / "ct")) is type(volume)
    assert open_volume(tmp_path / "ct", 1003).shape == volume.shape


def test_fractions_are_refused(tmp_path):
    write_series(tmp_path / "ct")
    volume = open_volume(tmp_path / "ct")
    write_mask(tmp_path / "seg.dcm", volume, np.ones(volume.shape, np.bool_))
    content = pydicom.dcmread(tmp_path / "seg.dcm")
    content.SegmentationType = "FRACTIONAL"
    content.save_as(tmp_path / "seg.dcm")
    with pytest.raises(InputError, match=r"seg\.dcm: holds fractions, no labels"):
        open_volume(tmp_path / "seg.dcm")
