"""The tools on DICOM series: what they make is what they make of dcm2niix's NIfTI files."""

import subprocess

import cv2
import dcm2niix
import nibabel as nib
import numpy as np
import pytest

import extraer_imagenes
import metricas
import normalize_ct_images
from isegm.datasets.volume_slices import find_slices
from isegm.volumes.files import dicom_in, open_volume
from isegm.volumes.mask_writing import write_mask
from isegm.volumes.windows import WINDOWS
from tests.dicom_files import places, stored_values, write_series

SHAPE = (6, 40, 32)


@pytest.fixture
def patient(tmp_path):
    """``patient(name)``: a series; dcm2niix's NIfTI file of it, and labels on its grid."""

    def make(name, seed=0, study="1.2.3"):
        stored = stored_values(SHAPE, 900, 1300, seed)
        write_series(
            tmp_path / "dicom" / name,
            stored,
            names=[f"IM{9 - z}" for z in range(SHAPE[0])],
            StudyInstanceUID=study,
            SeriesInstanceUID=f"{study}.{seed}",
        )
        for folder in ("imagesTr", "labelsTr"):
            (tmp_path / folder).mkdir(exist_ok=True)
        command = [dcm2niix.bin, "-b", "n", "-z", "y", "-f", name, "-o", tmp_path / "imagesTr"]
        subprocess.run([*command, tmp_path / "dicom" / name], check=True, capture_output=True)
        image = nib.load(tmp_path / "imagesTr" / f"{name}.nii.gz")
        labels = np.zeros(image.shape, np.uint8)
        labels[4:20, 6:30, 2:5] = 1
        labels[4:8, 6:10, 3] = 2
        nib.save(nib.Nifti1Image(labels, image.affine), tmp_path / "labelsTr" / f"{name}.nii.gz")
        return tmp_path / "dicom" / name

    return make


def pictures(folder):
    found = {path.relative_to(folder): cv2.imread(str(path), -1) for path in sorted(folder.rglob("*.png"))}
    assert found
    return found


def same(one, other):
    assert one.keys() == other.keys()
    return all(np.array_equal(one[name], other[name]) for name in one)


def extract(tmp_path, images, to, *options):
    labels = str(tmp_path / "labelsTr")
    options = ["--images", str(images), "--every=1", "--workers=1", *map(str, options)]
    assert extraer_imagenes.main([labels, str(tmp_path / to), "liver", *options]) == 0
    return pictures(tmp_path / to)


def test_extraction_of_several_patients(patient, tmp_path):
    patient("a", 1, "1.2.3")
    patient("b", 2, "1.2.4")
    assert [folder.name for folder in dicom_in(tmp_path / "dicom")] == ["a", "b"]
    of_nifti = extract(tmp_path, tmp_path / "imagesTr", "of_nifti")
    assert len(of_nifti) == 12
    assert same(extract(tmp_path, tmp_path / "dicom", "of_dicom"), of_nifti)


def test_extraction_with_labels_in_another_order_of_axes(patient, tmp_path):
    folder = patient("a")
    of_nifti = extract(tmp_path, tmp_path / "imagesTr", "of_nifti")
    label = tmp_path / "labelsTr" / "a.nii.gz"
    nib.save(nib.as_closest_canonical(nib.load(label)), label)
    assert same(extract(tmp_path, folder, "of_dicom"), of_nifti)


def test_extraction_with_a_seg_for_a_label(patient, tmp_path):
    folder = patient("a")
    of_nifti = extract(tmp_path, tmp_path / "imagesTr", "of_nifti")
    volume = open_volume(folder)
    labels = np.asanyarray(nib.load(tmp_path / "labelsTr" / "a.nii.gz").dataobj)
    (tmp_path / "labelsTr" / "a.nii.gz").unlink()
    write_mask(tmp_path / "labelsTr" / "a.dcm", volume, labels)
    assert same(extract(tmp_path, folder, "of_seg"), of_nifti)


def test_the_folder_of_a_patient(patient, tmp_path):
    folder = patient("a")
    (tmp_path / "labelsTr" / "a.nii.gz").rename(folder / "segmentation.nii.gz")
    assert (
        extraer_imagenes.main([str(tmp_path / "dicom"), str(tmp_path / "out"), "liver", "--workers=1"]) == 0
    )
    assert [path.name for path in pictures(tmp_path / "out" / "liver" / "images")] == [
        "a_segmentation_002.png"
    ]


def test_windowing(patient, tmp_path):
    folder = patient("a")
    assert normalize_ct_images.main([str(folder), str(tmp_path / "w"), "liver"]) == 0
    assert normalize_ct_images.main([str(tmp_path / "imagesTr"), str(tmp_path / "w2"), "liver"]) == 0
    of_dicom, of_nifti = (nib.load(tmp_path / w / "a.nii.gz") for w in ("w", "w2"))
    np.testing.assert_array_equal(np.asanyarray(of_dicom.dataobj), np.asanyarray(of_nifti.dataobj))
    np.testing.assert_allclose(of_dicom.affine, of_nifti.affine, atol=1e-4)
    assert normalize_ct_images.main([str(folder), str(tmp_path / "one.nii.gz"), "liver"]) == 0
    assert (tmp_path / "one.nii.gz").read_bytes() == (tmp_path / "w" / "a.nii.gz").read_bytes()


def test_a_series_is_chosen_among_others_and_among_nifti_files(patient, tmp_path, capsys):
    folder = patient("a")
    write_series(
        folder / "2",
        stored_values((3, 8, 6)),
        SeriesInstanceUID="1.5",
        StudyInstanceUID="1.2.3",
        SeriesNumber=5,
    )
    nib.save(nib.Nifti1Image(np.zeros((3, 3, 3), np.int16), np.eye(4)), folder / "other.nii.gz")
    arguments = [str(folder), str(tmp_path / "one.nii"), "liver"]
    assert normalize_ct_images.main([*arguments, "--series=5"]) == 0
    assert nib.load(tmp_path / "one.nii").shape == (6, 8, 3)
    (folder / "other.nii.gz").unlink()
    assert normalize_ct_images.main([*arguments, "--force"]) == 1
    assert "holds several CT volumes; name one of its series by --series: 3 (" in capsys.readouterr().err


def test_untilt(tmp_path):
    write_series(tmp_path / "series", stored_values(SHAPE), places(6, shift=(0, 0.6, 0)))
    arguments = [str(tmp_path / "series"), "liver"]
    for name, options in (("sheared.nii", []), ("straight.nii", ["--untilt"])):
        assert normalize_ct_images.main([arguments[0], str(tmp_path / name), arguments[1], *options]) == 0
    sheared, straight = (nib.load(tmp_path / name) for name in ("sheared.nii", "straight.nii"))
    assert sheared.shape == SHAPE[::-1]
    assert straight.shape == (32, 45, 6)
    steps = straight.affine[:3, :3]
    np.testing.assert_allclose(steps.T @ steps, np.diag(np.diag(steps.T @ steps)), atol=1e-5)


def test_metrics_of_segs(patient, tmp_path, capsys):
    volume = open_volume(patient("a"))
    labels = np.asanyarray(nib.load(tmp_path / "labelsTr" / "a.nii.gz").dataobj)
    predicted = np.roll(labels, 1, axis=0)
    (tmp_path / "segs").mkdir()
    write_mask(tmp_path / "segs" / "a.dcm", volume, predicted)
    (tmp_path / "niftis").mkdir()
    write_mask(tmp_path / "niftis" / "a.nii.gz", volume, predicted)
    tables = []
    for folder in ("segs", "niftis"):
        assert metricas.main([str(tmp_path / "labelsTr"), str(tmp_path / folder), "liver"]) == 0
        tables.append((tmp_path / f"{folder}_metrics" / "metrics_liver.csv").read_text())
    assert tables[0] == tables[1]
    assert "mm" in tables[0]


def test_training_slices(patient, tmp_path):
    patient("a", 1, "1.2.3")
    patient("b", 2, "1.2.4")

    def slices(images, **options):
        found, _ = find_slices(
            tmp_path / "labelsTr",
            images,
            cache=tmp_path / "cache",
            objects=None,
            window=WINDOWS["abdomen"],
            workers=1,
            **options,
        )
        return [one.read() for one in found]

    of_nifti = slices(tmp_path / "imagesTr")
    assert len(of_nifti) == 6
    for series in (None, "3"):
        of_dicom = slices(tmp_path / "dicom", series=series)
        for one, other in zip(of_dicom, of_nifti, strict=True):
            np.testing.assert_array_equal(one.pixels, other.pixels)
            np.testing.assert_array_equal(one.labels, other.labels)


def test_a_changed_slice_makes_the_cache_anew(patient, tmp_path):
    folder = patient("a")
    options = {"cache": tmp_path / "cache", "objects": None, "window": WINDOWS["abdomen"], "workers": 1}
    (one, *_), _ = find_slices(tmp_path / "labelsTr", folder, **options)
    write_series(folder, stored_values(SHAPE, seed=9), names=[f"IM{9 - z}" for z in range(SHAPE[0])])
    (other, *_), _ = find_slices(tmp_path / "labelsTr", folder, **options)
    assert one.volume.prefix != other.volume.prefix
