"""DICOM series as volumes, held against what dcm2niix makes of the same files."""

import itertools
import math
import pickle
import re
import shutil
import subprocess
import sys

import dcm2niix
import nibabel as nib
import numpy as np
import pytest
from nibabel.orientations import apply_orientation, inv_ornt_aff
from pydicom import DataElement
from pydicom.fileset import FileSet
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from isegm.errors import FileWarning, InputError
from isegm.volumes.dicom import tilt_degrees
from isegm.volumes.files import open_volume
from isegm.volumes.grid import align, common_grid
from tests.dicom_files import dataset, enhanced, places, stored_values, write, write_series

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
        JPEGLosslessSV1,
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


def refusal(folder, **options):
    with pytest.raises(InputError) as caught:
        open_volume(folder, **options)
    return str(caught.value)


@pytest.mark.parametrize(
    ("bits_allocated", "bits_stored", "is_signed"),
    [
        (8, 8, False),
        (16, 9, False),  # pydicom compresses 8 in 16 by RLE as 8 in 8
        (16, 10, True),
        (16, 12, False),
        (16, 12, True),
        (16, 16, False),
        (16, 16, True),
    ],
)
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, JPEGLSLossless, JPEG2000Lossless, RLELossless])
def test_depths_and_signs(bits_allocated, bits_stored, is_signed, syntax, tmp_path):
    low = -(1 << (bits_stored - 1)) if is_signed else 0
    dtype = np.dtype(f"{'i' if is_signed else 'u'}{bits_allocated // 8}")
    stored = stored_values((3, 64, 40), low, low + (1 << bits_stored), dtype=dtype)
    stored[0, 0, :2] = low, low + (1 << bits_stored) - 1
    write_series(
        tmp_path / "series",
        stored,
        syntax=syntax,
        BitsStored=bits_stored,
        HighBit=bits_stored - 1,
        RescaleSlope=1.5,
    )
    expected = stored.transpose(2, 1, 0)[:, ::-1] * 1.5 - 1024
    np.testing.assert_array_equal(values_of(open_volume(tmp_path / "series")), expected)
    if syntax == ExplicitVRLittleEndian:
        compare(tmp_path / "series", tmp_path)


@pytest.mark.parametrize("syntax", [JPEGBaseline8Bit, JPEGLossless, JPEGLosslessSV1, HTJ2KLossless])
def test_decoders_of_other_syntaxes_are_there(syntax):
    assert get_decoder(syntax).is_available


def test_bits_above_the_stored_ones_do_not_count(tmp_path):
    """Overlays used to be kept there."""
    stored = stored_values(low=0, high=4096, dtype=np.uint16)
    write_series(tmp_path, stored | 0x5000, BitsStored=12, HighBit=11)
    np.testing.assert_array_equal(
        values_of(open_volume(tmp_path)), stored.transpose(2, 1, 0)[:, ::-1] - 1024.0
    )
    write_series(tmp_path, stored << 4, BitsStored=12, HighBit=15)
    np.testing.assert_array_equal(
        values_of(open_volume(tmp_path)), stored.transpose(2, 1, 0)[:, ::-1] - 1024.0
    )


def test_every_slice_has_a_scale_of_its_own(tmp_path):
    scales = [(1, -1024), (2, -1000), (0.5, 0), (1.25, 7)]
    write_series(
        tmp_path / "series",
        each=lambda number: dict(zip(("RescaleSlope", "RescaleIntercept"), scales[number], strict=True)),
    )
    stored = stored_values().transpose(2, 1, 0)[:, ::-1]
    slopes, inters = np.array(scales).T
    np.testing.assert_array_equal(values_of(open_volume(tmp_path / "series")), stored * slopes + inters)
    compare(tmp_path / "series", tmp_path)


def test_monochrome1_is_a_matter_of_display_not_of_hu(tmp_path):
    write_series(tmp_path / "series", PhotometricInterpretation="MONOCHROME1")
    compare(tmp_path / "series", tmp_path)
    np.testing.assert_array_equal(
        values_of(open_volume(tmp_path / "series")), stored_values().transpose(2, 1, 0)[:, ::-1] - 1024.0
    )


@pytest.mark.parametrize(
    ("dtype", "tags", "padding"),
    [
        (np.int16, {"PixelPaddingValue": -2000}, [-2000]),
        (np.int16, {"PixelPaddingValue": DataElement(0x00280120, "US", 63536)}, [-2000]),
        (np.uint16, {"PixelPaddingValue": 63536, "BitsStored": 12, "HighBit": 11}, [63536]),
        (np.uint16, {"PixelPaddingValue": 3000, "PixelPaddingRangeLimit": 3005}, [3000, 3003, 3005]),
        (np.int16, {"PixelPaddingValue": -2000, "RescaleSlope": 0.3}, [-2000]),
    ],
)
def test_padding_becomes_air_before_it_is_scaled(dtype, tags, padding, tmp_path):
    stored = stored_values(dtype=dtype)
    is_padding = stored % 7 == 0
    stored[is_padding] = np.resize(padding, is_padding.sum()).astype(dtype)
    write_series(tmp_path, stored, **tags)
    expected = np.where(is_padding, -1024, stored * tags.get("RescaleSlope", 1.0) - 1024)
    np.testing.assert_allclose(values_of(open_volume(tmp_path)), expected.transpose(2, 1, 0)[:, ::-1])


def test_thickness_and_spacing_tags_count_for_nothing(tmp_path):
    write_series(tmp_path / "series", SliceThickness=1, SpacingBetweenSlices=9.5)
    assert compare(tmp_path / "series", tmp_path).spacing_mm[2] == pytest.approx(2.5)


def test_distances_that_dcm2niix_takes_for_even_are(tmp_path):
    write_series(tmp_path / "series", positions=places(4, step=(0, 2.5, 5.1, 7.6)))
    assert open_volume(tmp_path / "series").spacing_mm[2] == pytest.approx(7.6 / 3)
    ((values, _),) = converted(tmp_path / "series", tmp_path / "converted")
    assert values.shape == (10, 12, 4)  # whose affine has the first distance


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        (
            (0, 2, 6, 8),
            r"1 slice missing, .* slice001\.dcm and slice002\.dcm \(102\.00 and 106\.00 mm\)",
        ),
        ((0, 6, 8, 10), r"2 slices missing, the first between slice000\.dcm and slice001\.dcm"),
        ((0, 2, 4, 7), r"between 2\.00 and 3\.00 mm apart; resample"),
        (
            (0, 2, 2, 4),
            r"1 slice at the place of another, slice002\.dcm and slice001\.dcm first \(102",
        ),
    ],
)
def test_slices_that_make_no_volume_are_named(steps, said, tmp_path):
    write_series(tmp_path, positions=places(4, step=steps))
    assert re.search(said, refusal(tmp_path))


def test_uneven_slices_are_uneven_to_dcm2niix_too(tmp_path):
    """It resamples them, so that what it makes has another number of slices."""
    write_series(tmp_path / "series", positions=places(4, step=(0, 2.5, 5.25, 7.5)))
    assert "between 2.25 and 2.75 mm apart" in refusal(tmp_path / "series")
    assert len(converted(tmp_path / "series", tmp_path / "converted")) > 1


def test_slices_off_the_line_are_named(tmp_path):
    positions = places(4)
    positions[2][0] += 5
    write_series(tmp_path, positions=positions)
    assert re.search(r"slice slice002\.dcm is .* mm away", refusal(tmp_path))


def test_a_file_that_is_there_twice_counts_once(tmp_path):
    paths = write_series(tmp_path / "series")
    shutil.copy(paths[1], tmp_path / "series" / "copy.dcm")
    with pytest.warns(FileWarning, match="1 file that are there twice"):
        volume = open_volume(tmp_path / "series")
    assert volume.shape == (10, 12, 4)


def test_one_uid_for_all_files_does_not_lose_slices(tmp_path):
    """Some anonymisers do that."""
    write_series(tmp_path, SOPInstanceUID="1.2.3")
    assert open_volume(tmp_path).shape == (10, 12, 4)


# --- tilt


@pytest.mark.parametrize("angle", [-25, 12])
@pytest.mark.filterwarnings("ignore::isegm.errors.FileWarning")
def test_a_tilted_gantry(angle, tmp_path):
    """Smooth slices, so that it does not matter which way one interpolates."""
    turned = math.radians(angle)
    orientation = (1, 0, 0, 0, math.cos(turned), -math.sin(turned))
    count, rows, columns, step = 12, 40, 24, 2.0
    positions = [np.array([-30.0, -40.0, 100 + number * step]) for number in range(count)]
    x, y, z = np.meshgrid(np.arange(columns), np.arange(rows), np.arange(count), indexing="ij")
    affine = np.eye(4)
    affine[:3, :2] = 0.9 * np.array([orientation[:3], orientation[3:]]).T
    affine[:3, 2:] = np.array([[0, 0, step], positions[0]]).T

    def density(places):
        return 300 + 3 * places[0] + 4 * places[1] - 2 * places[2]

    where = np.einsum("ij,j...->i...", affine, np.stack([x, y, z, np.ones_like(x)]))
    stored = np.rint(8 * density(where)).astype(np.int16).transpose(2, 1, 0)
    write_series(
        tmp_path / "series",
        stored,
        positions,
        ImageOrientationPatient=list(orientation),
        PixelSpacing=[0.9, 0.9],
        GantryDetectorTilt=angle,
        RescaleSlope=0.125,
        RescaleIntercept=0,
    )
    with pytest.warns(FileWarning, match=f"tilted by {abs(angle):.1f} degrees"):
        sheared = open_volume(tmp_path / "series")
    assert tilt_degrees(sheared) == pytest.approx(abs(angle), abs=0.01)
    np.testing.assert_allclose(sheared.affine[:3, 2], [0, 0, step], atol=1e-6)

    volume = open_volume(tmp_path / "series", untilt=True)
    steps = volume.affine[:3, :3]
    np.testing.assert_allclose(steps.T @ steps, np.diag(np.square(volume.spacing_mm)), atol=1e-6)
    assert volume.spacing_mm[2] == pytest.approx(step * math.cos(turned))
    values = values_of(volume)
    inside = values != -1024
    lps = np.diag([-1, -1, 1, 1]) @ volume.affine
    where = np.einsum("ij,j...->i...", lps, np.stack([*np.indices(volume.shape), np.ones(volume.shape)]))
    np.testing.assert_allclose(values[inside], density(where)[inside], atol=0.1)
    assert inside.sum() >= count * columns * (rows - 1)  # a slice that comes between rows loses one
    made = converted(tmp_path / "series", tmp_path / "converted")
    (steps,) = [affine[:3, :3] for values, affine in made if values.shape[1] > rows]  # that is untilted, too
    np.testing.assert_allclose(np.linalg.norm(steps, axis=0), volume.spacing_mm, rtol=1e-4)


# --- multi-frame


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, JPEG2000Lossless, RLELossless])
def test_enhanced_multi_frame(syntax, tmp_path):
    stored, order = stored_values((4, 64, 40)), [2, 0, 3, 1]
    positions = places(4)
    slopes = [1, 2, 3, 4]
    many = enhanced(
        stored[order], [positions[number] for number in order], [slopes[number] for number in order]
    )
    write(tmp_path / "series" / "many", many, syntax)
    volume = open_volume(tmp_path / "series")
    np.testing.assert_array_equal(
        values_of(volume), (stored * np.reshape(slopes, (4, 1, 1)) - 1000.0).transpose(2, 1, 0)[:, ::-1]
    )
    one = values_of(open_volume(tmp_path / "series" / "many"))
    np.testing.assert_array_equal(one, values_of(volume))
    some = dict(volume.slabs([1, 3]))
    np.testing.assert_array_equal(some[3].hu()[:, :, 0], one[:, :, 3])


def test_enhanced_multi_frame_lies_where_dcm2niix_puts_it(tmp_path):
    write(
        tmp_path / "series" / "many.dcm", enhanced(stored_values(), places(4, OBLIQUE), orientation=OBLIQUE)
    )
    compare(tmp_path / "series", tmp_path)


def test_a_volume_travels_to_other_processes(tmp_path):
    write_series(tmp_path / "classic")
    write(tmp_path / "many" / "many.dcm", enhanced(stored_values(), places(4)))
    for folder in ("classic", "many"):
        volume = open_volume(tmp_path / folder)
        there = pickle.loads(pickle.dumps(volume))
        np.testing.assert_array_equal(values_of(there), values_of(volume))
        np.testing.assert_array_equal(there.affine, volume.affine)


# --- which series


def nested(folder):
    """Two CT series, a localizer and a PET one, without extensions, and other files between."""
    write_series(folder / "A" / "1", names=list("abcd"))
    write_series(
        folder / "A" / "2",
        stored_values((3, 12, 10), seed=1),
        names=list("efg"),
        SeriesInstanceUID="1.2.3.4",
        SeriesNumber=4,
        SeriesDescription="lung kernel",
    )
    write_series(
        folder / "A",
        stored_values((1, 30, 20), seed=2),
        names=["h"],
        SeriesInstanceUID="1.2.3.5",
        SeriesNumber=1,
        SeriesDescription="topogram",
        ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"],
    )
    write_series(
        folder / "PET",
        stored_values((3, 12, 10), seed=3),
        SeriesInstanceUID="1.2.3.6",
        SeriesNumber=5,
        SeriesDescription="AC",
        Modality="PT",
        Units="BQML",
        RescaleIntercept=0,
        each=lambda number: {"RescaleSlope": number + 0.5},
    )
    (folder / "A" / "readme.txt").write_text("nothing of that kind")
    (folder / "A" / "picture.png").write_bytes(b"\x89PNG" + bytes(300))


def test_the_series_are_listed_and_the_wanted_one_is_read(tmp_path):
    nested(tmp_path)
    listed = (
        "1 (topogram, CT localizer, 20 x 30 x 1); 3 (abdomen, CT, 10 x 12 x 4); "
        "4 (lung kernel, CT, 10 x 12 x 3); 5 (AC, PT, 10 x 12 x 3)"
    )
    said = "holds several CT volumes; name one of its series by `series`"
    assert refusal(tmp_path) == f"{tmp_path}: {said}: {listed}"
    assert refusal(tmp_path, series=7).endswith(listed)
    for wanted in (4, "4", "lung kernel", "Lung Kernel", "1.2.3.4"):
        values = values_of(open_volume(tmp_path, wanted))
        np.testing.assert_array_equal(values[0, -1], stored_values((3, 12, 10), seed=1)[:, 0, 0] - 1024.0)


def test_the_only_ct_volume_is_taken_without_asking(tmp_path):
    nested(tmp_path)
    shutil.rmtree(tmp_path / "A" / "2")
    np.testing.assert_array_equal(values_of(open_volume(tmp_path))[0, -1], stored_values()[:, 0, 0] - 1024.0)


def test_pet_is_read_when_asked_for_and_named(tmp_path):
    nested(tmp_path)
    with pytest.warns(FileWarning, match="PT, not CT: its values are in BQML, not HU"):
        volume = open_volume(tmp_path, 5)
    stored = stored_values((3, 12, 10), seed=3).transpose(2, 1, 0)[:, ::-1]
    np.testing.assert_array_equal(values_of(volume), stored * np.array([0.5, 1.5, 2.5]))
    assert "no CT volume" in refusal(tmp_path / "PET")


def test_a_mr_series_is_not_taken_for_ct(tmp_path):
    write_series(tmp_path, Modality="MR", RescaleSlope=None, RescaleIntercept=None)
    assert "holds no CT volume" in refusal(tmp_path)
    with pytest.warns(FileWarning, match="MR, not CT: its values are of no known unit, not HU"):
        open_volume(tmp_path, 3)


def test_a_dicomdir_is_no_series_and_stands_for_its_folder(tmp_path):
    paths = write_series(tmp_path / "disk" / "DICOM", names=[f"IM{number}" for number in range(4)])
    directory = FileSet()
    for path in paths:
        directory.add(path)
    directory.write(tmp_path / "set")
    for place in (tmp_path / "set", tmp_path / "set" / "DICOMDIR"):
        assert open_volume(place).shape == (10, 12, 4)


def test_localizers_among_the_slices_are_left_out(tmp_path):
    write_series(tmp_path)
    write_series(
        tmp_path,
        stored_values((2, 12, 10), seed=1),
        names=["x", "y"],
        positions=places(2, CORONAL),
        ImageOrientationPatient=list(CORONAL),
        ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"],
    )
    with pytest.warns(FileWarning, match="left out: 2 localizers of 10 x 12"):
        assert open_volume(tmp_path).shape == (10, 12, 4)


@pytest.mark.parametrize(
    "tags", [{"ImageOrientationPatient": list(OBLIQUE)}, {"PixelSpacing": [1, 1]}, {"AcquisitionNumber": 2}]
)
def test_what_does_not_fit_together_is_in_parts(tags, tmp_path):
    orientation = tags.get("ImageOrientationPatient", (1, 0, 0, 0, 1, 0))
    write_series(tmp_path)
    write_series(
        tmp_path, stored_values((3, 12, 10), seed=1), places(3, orientation), names=list("xyz"), **tags
    )
    assert "3/1 (abdomen, CT, 10 x 12 x 4); 3/2 (abdomen, CT, 10 x 12 x 3)" in refusal(tmp_path)
    with pytest.warns(FileWarning, match="left out: 4 slices of 10 x 12"):
        second = open_volume(tmp_path, "3/2")
    np.testing.assert_array_equal(
        values_of(second)[0, -1], stored_values((3, 12, 10), seed=1)[:, 0, 0] - 1024.0
    )


def test_sizes_that_differ_are_in_parts(tmp_path):
    write_series(tmp_path)
    write_series(tmp_path, stored_values((2, 20, 20)), names=["x", "y"])
    assert "3/1 (abdomen, CT, 10 x 12 x 4); 3/2 (abdomen, CT, 20 x 20 x 2)" in refusal(tmp_path)


def test_acquisitions_at_other_places_are_one_volume(tmp_path):
    """As of a scan in two breaths."""
    write_series(tmp_path, each=lambda number: {"AcquisitionNumber": 1 + number // 2})
    assert open_volume(tmp_path).shape == (10, 12, 4)


def test_two_series_of_one_number_are_told_by_their_uids(tmp_path):
    write_series(tmp_path / "a")
    write_series(tmp_path / "b", SeriesInstanceUID="1.2.3")
    assert "UID 1.2.3;" in refusal(tmp_path, series=3)
    assert open_volume(tmp_path, "1.2.3").shape == (10, 12, 4)


# --- bad files


def test_a_cut_file_is_named(tmp_path):
    path = write_series(tmp_path)[2]
    content = path.read_bytes()
    path.write_bytes(content[:-50])
    assert refusal(tmp_path) == f"{path}: cut off: has 190 of 240 bytes of pixels; fetch it again"
    path.write_bytes(content[: content.index(b"\x28\0\x02\0")])  # before the size
    with pytest.warns(FileWarning, match=r"slice002\.dcm"):
        assert "1 slice missing" in refusal(tmp_path)


@pytest.mark.parametrize(
    "tags",
    [{"ImagePositionPatient": None}, {"ImagePositionPatient": ["nan", "0", "0"]}, {"PixelSpacing": ""}],
    ids=str,
)
def test_a_slice_that_does_not_say_where_it_lies_is_never_left_out_unsaid(tags, tmp_path):
    write_series(tmp_path / "last", each=lambda number: tags if number == 3 else {})
    write(  # a picture of another series, as of a dose report, is no slice that is missed
        tmp_path / "last" / "dose.dcm",
        dataset(stored_values()[0], (0, 0, 0), SeriesInstanceUID="1.2.3", ImagePositionPatient=None),
    )
    with pytest.warns(FileWarning) as said:
        assert open_volume(tmp_path / "last").shape == (10, 12, 3)
    (line,) = (str(one.message) for one in said)
    assert line == f"{tmp_path / 'last'}: slice003.dcm does not say where it lies, and is left out"
    write_series(tmp_path / "middle", each=lambda number: tags if number == 2 else {})
    with pytest.warns(FileWarning, match=r"middle: slice002\.dcm does not say where it lies"):
        assert "1 slice missing" in refusal(tmp_path / "middle")


def test_files_of_one_name_are_told_apart_by_their_folders(tmp_path):
    write_series(tmp_path / "a")
    write_series(tmp_path / "b", stored_values(seed=1))
    assert "4 slices at the place of another, b/slice000.dcm and a/slice000.dcm first" in refusal(tmp_path)


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGLSLossless, JPEGLosslessSV1, RLELossless])
def test_a_cut_compressed_file_is_named(syntax, tmp_path):
    path = write_series(tmp_path, stored_values((4, 64, 40)), syntax=syntax)[2]
    path.write_bytes(path.read_bytes()[:-1500])
    volume = open_volume(tmp_path)
    with pytest.raises(InputError, match=r"slice002\.dcm: "):
        values_of(volume)


@pytest.mark.parametrize(
    ("tags", "said"),
    [
        ({"PixelData": None}, "has no pixel data; is it cut off?"),
        ({"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}, "in colours (RGB), not HU"),
        ({"BitsAllocated": 12}, "claims values of 16 bits up to bit 15 in 12, which are not read"),
        ({"Rows": 0}, "claims 1 frames of 10 x 0 pixels"),
        ({"RescaleSlope": 0}, "RescaleSlope 0.0 and RescaleIntercept -1024.0 are no scale"),
        ({"PixelSpacing": [0.7, -0.7]}, "are no picture's; correct its header"),
        ({"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]}, "are no picture's; correct its header"),
        ({"ImagePositionPatient": None}, "holds no DICOM pictures that say where they lie"),
        ({"Rows": 30000, "Columns": 30000}, "claims 1 x 30000 x 30000 voxels, more than"),
    ],
    ids=str,
)
def test_headers_that_cannot_be_used(tags, said, tmp_path):
    write_series(tmp_path, **tags)
    assert said in refusal(tmp_path)


def test_without_a_preamble(tmp_path):
    for path in write_series(tmp_path, syntax=ImplicitVRLittleEndian):
        content = path.read_bytes()
        path.write_bytes(content[content.index(b"\x08\0\x08\0") :])
    assert open_volume(tmp_path).shape == (10, 12, 4)


def test_a_codestream_of_another_size_is_refused_before_it_is_decoded(tmp_path):
    path = write_series(tmp_path, stored_values((4, 64, 40)), syntax=JPEG2000Lossless)[0]
    content = bytearray(path.read_bytes())
    at = content.index(b"\xff\x4f\xff\x51") + 8
    content[at : at + 4] = (60000).to_bytes(4, "big")
    path.write_bytes(content)
    with pytest.raises(InputError, match="compressed as 60000 x 64 pixels, but its header has 40 x 64"):
        values_of(open_volume(tmp_path))


def test_a_bomb_is_not_inflated(tmp_path, monkeypatch):
    monkeypatch.setattr("isegm.volumes.dicom_file._MOST_INFLATED", 10_000)
    write_series(tmp_path, stored_values((1, 200, 200), 0, 2), syntax=DeflatedExplicitVRLittleEndian)
    assert "inflates to more than 10000 bytes" in refusal(tmp_path)


def test_without_pydicom_a_line_says_what_to_install(tmp_path):
    write_series(tmp_path)
    code = (
        "import sys; sys.modules['pydicom'] = None\n"
        f"from isegm import open_volume; open_volume({str(tmp_path)!r})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr.splitlines()[-1] == (
        "isegm.errors.InputError: pydicom is not installed, which DICOM needs; "
        "pip install '.[dicom]' brings it"
    )


# --- on another volume's grid


@pytest.mark.parametrize("flips", list(itertools.product([1, -1], repeat=3)), ids=str)
def test_a_series_is_turned_round_as_its_labels_are(flips, tmp_path):
    write_series(tmp_path / "series")
    volume = open_volume(tmp_path / "series")
    turned = np.stack([np.arange(3), flips], axis=1)
    values = apply_orientation(values_of(volume), turned)
    affine = volume.affine @ inv_ornt_aff(turned, volume.shape)
    nib.save(nib.Nifti1Image(values, affine), tmp_path / "label.nii")
    first, second = align(open_volume(tmp_path / "label.nii"), volume)
    common_grid(first, second)
    np.testing.assert_array_equal(values_of(second), values)
    np.testing.assert_allclose(second.affine, first.affine, atol=1e-4)
