import hashlib
import json

import cv2
import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from isegm.errors import InputError
from isegm.extract.slices import Extraction, extract
from isegm.phantom.patients import LABELS, random_patient, write_decathlon
from isegm.pictures import read_grey
from isegm.storage import sha256
from isegm.volumes.organs import find_organ
from isegm.volumes.windows import WINDOWS

SHAPE, SPACING = (96, 80, 40), (4.2, 4.2, 8.5)


@pytest.fixture(scope="module")
def patient():
    return random_patient(np.random.default_rng(0), SHAPE, SPACING)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("decathlon")
    return folder, write_decathlon(folder, 7, 2, shape=SHAPE, spacing_mm=SPACING)


@pytest.fixture(scope="module")
def small_patients():
    return [random_patient(np.random.default_rng(seed), (80, 64, 24), (5, 5, 14)) for seed in range(3)]


def test_types_affine_and_determinism(patient):
    assert (patient.hu.dtype, patient.labels.dtype) == (np.int16, np.uint8)
    assert patient.hu.shape == patient.labels.shape == SHAPE
    assert nib.aff2axcodes(patient.affine) == ("R", "A", "S")
    assert np.diag(patient.affine)[:3] == pytest.approx(SPACING)
    middle = patient.affine @ (*((np.array(SHAPE) - 1) / 2), 1)
    assert middle[:3] == pytest.approx(0)
    again = random_patient(np.random.default_rng(0), SHAPE, SPACING)
    assert (again.hu == patient.hu).all()
    assert (again.labels == patient.labels).all()
    other = random_patient(np.random.default_rng(1), SHAPE, SPACING)
    assert (other.labels != patient.labels).any()


@pytest.mark.skipif(
    (np.__version__[:4], cv2.__version__[:4]) != ("2.4.", "5.0."),
    reason="bytes are the same on the same versions of numpy and OpenCV",
)
def test_a_patient_is_the_one_that_the_published_results_were_measured_on():
    drawn = random_patient(np.random.default_rng((1, 0)), (64, 56, 12), (6.0, 6.0, 28.0))
    content = drawn.hu.tobytes() + drawn.labels.tobytes()
    assert hashlib.sha256(content).hexdigest().startswith("2841d5f66da80dfd54c2e425")


def test_all_organs_are_there(patient):
    assert set(np.unique(patient.labels)) <= set(LABELS.values())
    for name in set(LABELS) - {"lung tumour", "gallbladder"}:
        assert (patient.labels == LABELS[name]).any(), name


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("lung right", -900, -650),
        ("lung left", -900, -650),
        ("liver", -20, 145),
        ("spleen", 30, 180),
        ("kidney left", 20, 240),
        ("aorta", 25, 410),
        ("heart", 25, 360),
        ("psoas", 25, 80),
        ("spine", 100, 1100),
    ],
)
def test_organs_have_their_hu(small_patients, name, low, high):
    for drawn in small_patients:
        assert low < np.median(drawn.hu[drawn.labels == LABELS[name]]) < high


def test_organs_lie_inside_the_body(patient):
    soft = ndimage.binary_fill_holes((patient.hu > -200).any(axis=2))
    assert soft[patient.labels.any(axis=2)].mean() > 0.99
    assert not patient.labels[[0, -1]].any()
    assert not patient.labels[:, [0, -1]].any()


def centre(patient, name):
    return np.argwhere(patient.labels == LABELS[name]).mean(axis=0)


@pytest.mark.parametrize(
    ("first", "second", "axis"),
    [
        ("liver", "spleen", 0),  # further right
        ("lung right", "lung left", 0),
        ("kidney right", "kidney left", 0),
        ("vena cava", "aorta", 0),
        ("liver", "spine", 1),  # further front
        ("stomach", "kidney left", 1),
        ("heart", "liver", 2),  # further up
        ("lung right", "kidney right", 2),
    ],
)
def test_organs_lie_where_they_belong(small_patients, first, second, axis):
    for drawn in small_patients:
        assert centre(drawn, first)[axis] > centre(drawn, second)[axis]


@pytest.mark.parametrize(
    ("shape", "spacing"),
    [((31, 80, 4), SPACING), ((80, 80, 0), SPACING), (SHAPE, (1, 0, 1)), (SHAPE, (1, 1, float("nan")))],
)
def test_wrong_arguments(shape, spacing):
    with pytest.raises(InputError, match="must be"):
        random_patient(np.random.default_rng(0), shape, spacing)


@pytest.mark.parametrize("name", ["liver", "spleen", "kidney right", "heart", "spine", "aorta"])
def test_pictures_of_every_organ_are_upright(patient, save_nifti, tmp_path, name):
    save_nifti(tmp_path / "imagesTr" / "p_0.nii.gz", patient.hu, patient.affine)
    save_nifti(tmp_path / "labelsTr" / "p_0.nii.gz", patient.labels, patient.affine)
    organ = find_organ(name, (LABELS[name],), WINDOWS["abdomen"])
    report = extract(tmp_path / "labelsTr", None, Extraction(organ=organ, folder=tmp_path / name), 1)
    assert (report.pictures, report.problems) == (1, [])
    mask = read_grey(next((tmp_path / name / "masks").iterdir())) > 0
    rows, cols = np.nonzero(mask)
    middle = (mask.shape[1] - 1) / 2
    if name in ("liver", "kidney right"):
        assert cols.mean() < middle - 4  # the patient's right is on the picture's left
    if name in ("spleen", "heart"):
        assert cols.mean() > middle
    if name == "spine":
        assert rows.mean() > (mask.shape[0] - 1) / 2  # the back is down


def test_decathlon_layout(written):
    folder, tasks = written
    assert {organ: task.name for organ, task in tasks.items()} == {
        "liver": "Task03_Liver",
        "lung": "Task06_Lung",
        "spleen": "Task09_Spleen",
    }
    for organ, task in tasks.items():
        names = [f"{organ}_000.nii.gz", f"{organ}_001.nii.gz"]
        assert sorted(path.name for path in (task / "imagesTr").iterdir()) == names
        assert sorted(path.name for path in (task / "labelsTr").iterdir()) == names
        described = json.loads((task / "dataset.json").read_text())
        assert described["numTraining"] == 2
        for pair in described["training"]:
            image, label = (nib.load(task / pair[kind]) for kind in ("image", "label"))
            assert image.shape == label.shape == SHAPE
            assert (image.get_data_dtype(), label.get_data_dtype()) == (np.int16, np.uint8)
            assert image.header.get_xyzt_units()[0] == "mm"
            assert set(np.unique(np.asarray(label.dataobj))) == set(map(int, described["labels"]))
    assert not list(folder.rglob(".tmp-*"))


def test_decathlon_bytes_are_the_same_again(written, tmp_path):
    folder, _ = written
    write_decathlon(tmp_path, 7, 1, shape=SHAPE, spacing_mm=SPACING)
    for path in tmp_path.rglob("*.nii.gz"):
        assert sha256(path) == sha256(folder / path.relative_to(tmp_path))


def test_decathlon_lung_tumour(tmp_path, written):
    tasks = write_decathlon(tmp_path, 7, 1, shape=SHAPE, spacing_mm=SPACING, lung="tumour")
    described = json.loads((tasks["lung"] / "dataset.json").read_text())
    assert described["labels"] == {"0": "background", "1": "cancer"}
    tumour, tissue = (
        np.asarray(nib.load(task / "labelsTr" / "lung_000.nii.gz").dataobj) > 0
        for task in (tasks["lung"], written[1]["lung"])
    )
    assert tumour.sum() < 0.2 * tissue.sum()
    assert (tissue | ~tumour).all()


def test_decathlon_is_extracted_end_to_end(written, extraer_imagenes, tmp_path, capsys):
    for organ, task in written[1].items():
        assert extraer_imagenes.main([str(task / "labelsTr"), str(tmp_path), organ]) == 0
        masks = sorted((tmp_path / organ / "masks").iterdir())
        assert len(masks) == 2
        for path in masks:
            assert (read_grey(path) > 0).sum() > 60
            assert read_grey(tmp_path / organ / "images" / path.name).std() > 10


def test_nothing_is_overwritten(written, tmp_path):
    folder, _ = written
    with pytest.raises(InputError, match="exists already"):
        write_decathlon(folder, 8, 1, shape=SHAPE, spacing_mm=SPACING)
    (tmp_path / "Task09_Spleen").mkdir()
    with pytest.raises(InputError, match="Task09_Spleen"):
        write_decathlon(tmp_path, 8, 1, shape=SHAPE, spacing_mm=SPACING)
    assert [path.name for path in tmp_path.iterdir()] == ["Task09_Spleen"]


@pytest.mark.parametrize(
    ("seed", "patients", "options"), [(0, 0, {}), (-1, 1, {}), (0, 1, {"lung": "nodule"})]
)
def test_decathlon_wrong_arguments(tmp_path, seed, patients, options):
    with pytest.raises(InputError):
        write_decathlon(tmp_path, seed, patients, shape=SHAPE, spacing_mm=SPACING, **options)
    assert not list(tmp_path.iterdir())
