from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from isegm.datasets import Dataset
from isegm.datasets.dataset import single_objects, whole_pictures
from isegm.datasets.volume_slices import find_slices
from isegm.errors import InputError
from isegm.extract.slices import Extraction, extract
from isegm.pictures import read_grey
from isegm.training.crops import SampleSettings, TrainingSamples
from isegm.training.ct_appearance import WindowJitter
from isegm.training.picture_source import PictureSource
from isegm.training.sources import open_mixture
from isegm.volumes.organs import ORGANS
from isegm.volumes.windows import Window, apply_window
from tests.small_files import LAS_3MM

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
WIDE = Window(0, 510)  # grey = (HU + 255) / 2
STILL = WindowJitter(0, 1)


@pytest.fixture
def ct(tmp_path, save_nifti):
    """A volume (8, 6, 5) in LAS with labels 1 and 4 in slices 1, 2 and 4."""
    hu = np.random.default_rng(0).integers(-250, 250, (8, 6, 5)).astype(np.int16)
    label = np.zeros(hu.shape, np.uint8)
    label[1:3, 1:4, 1] = 1
    label[5:, :2, 2] = 4
    label[4, 4, 2] = 1
    label[0, 5, 4] = 4
    save_nifti(tmp_path / "imagesTr" / "case.nii.gz", hu)
    save_nifti(tmp_path / "labelsTr" / "case.nii.gz", label)
    return hu, label


def upright(picture):
    """A slice (X, Y) of a LAS volume as a picture: rows from anterior, columns from the patient's right."""
    return picture.T[::-1]


def open_it(tmp_path, objects=((1,), (4,)), window=WIDE, jitter=STILL):
    slices, _ = find_slices(
        tmp_path / "labelsTr", None, cache=tmp_path / "cache", objects=objects, window=window, workers=1
    )
    return PictureSource("ct", slices, "ct", jitter)


def draws(source, count=40):
    return [source.draw(np.random.default_rng(i)) for i in range(count)]


def which_slice(scene, hu):
    grey = scene.image[..., 0]
    (found,) = [z for z in range(hu.shape[2]) if (grey == apply_window(upright(hu[:, :, z]), WIDE)).all()]
    assert (scene.image == grey[..., None]).all()
    return found


def test_slices_with_the_objects_upright_in_the_window(ct, tmp_path):
    hu, label = ct
    source = open_it(tmp_path)
    assert len(source.pictures) == 3
    seen = set()
    for scene in draws(source):
        z = which_slice(scene, hu)
        np.testing.assert_array_equal(
            scene.labels, upright(np.select([label == 1, label == 4], [1, 2])[:, :, z])
        )
        assert scene.labels.dtype == np.int32
        assert scene.is_ct
        seen.add(z)
    assert seen == {1, 2, 4}


def test_the_slice_beside_is_the_next_one_or_the_one_before_the_last(ct, tmp_path):
    hu, label = ct
    for scene in draws(open_it(tmp_path)):
        other = {1: 2, 2: 4, 4: 2}[which_slice(scene, hu)]
        expected = upright(np.select([label == 1, label == 4], [1, 2])[:, :, other])
        np.testing.assert_array_equal(scene.beside, expected)


def test_a_volume_of_one_slice_has_none_beside(tmp_path, save_nifti):
    save_nifti(tmp_path / "imagesTr" / "a.nii.gz", np.zeros((9, 8, 1), np.int16))
    save_nifti(tmp_path / "labelsTr" / "a.nii.gz", np.ones((9, 8, 1), np.uint8))
    source = open_mixture([f"nifti:{tmp_path}"], tmp_path / "cache")
    assert source.draw(np.random.default_rng(0)).beside is None


@pytest.mark.parametrize(
    ("objects", "slices", "numbers"),
    [
        (None, {1, 2, 4}, {1: 1, 4: 2}),
        ([[1]], {1, 2}, {1: 1, 4: 0}),
        ([[4]], {2, 4}, {1: 0, 4: 1}),
        ([[4], [1]], {1, 2, 4}, {1: 2, 4: 1}),
        ([[1, 4, 9]], {1, 2, 4}, {1: 1, 4: 1}),
    ],
)
def test_labels_become_objects(ct, tmp_path, objects, slices, numbers):
    hu, label = ct
    for scene in draws(open_it(tmp_path, objects)):
        z = which_slice(scene, hu)
        assert z in slices
        expected = np.vectorize(lambda value: numbers.get(value, 0))(label[:, :, z])
        np.testing.assert_array_equal(scene.labels, upright(expected))


# Index directions along which array axes run, as affines' columns
ORIENTATIONS = {
    "RAS": np.diag([1, 1, 1, 1]),
    "LPS": np.diag([-1, -1, 1, 1]),
    "axes turned": np.array([[0, 0, -1, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]]),
    "axes turned otherwise": np.array([[0, 1, 0, 0], [0, 0, -1, 0], [-1, 0, 0, 0], [0, 0, 0, 1]]),
}


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_pictures_are_those_of_the_extraction(tmp_path, save_nifti, orientation):
    hu = np.random.default_rng(0).integers(-250, 250, (7, 6, 5)).astype(np.int16)
    label = (np.random.default_rng(1).random(hu.shape) < 0.05).astype(np.uint8)
    affine = ORIENTATIONS[orientation]
    save_nifti(tmp_path / "imagesTr" / "case.nii.gz", hu, affine)
    save_nifti(tmp_path / "labelsTr" / "case.nii.gz", label, affine)
    organ = ORGANS["spleen"]
    extract(tmp_path / "labelsTr", None, Extraction(organ=organ, folder=tmp_path / "out", every=1), workers=1)
    expected = {
        (read_grey(path).tobytes(), (read_grey(tmp_path / "out" / "masks" / path.name) > 0).tobytes())
        for path in (tmp_path / "out" / "images").iterdir()
    }
    scenes = draws(open_it(tmp_path, [[1]], organ.window), 150)
    found = {(np.ascontiguousarray(s.image[..., 0]).tobytes(), (s.labels > 0).tobytes()) for s in scenes}
    assert found == expected
    assert len(expected) > 3


def test_the_evaluation_sees_the_same_slices(ct, tmp_path):
    hu, label = ct
    slices, _ = find_slices(
        tmp_path / "labelsTr",
        None,
        cache=tmp_path / "cache",
        objects=((1,), (4,)),
        window=WIDE,
        workers=1,
    )
    whole = Dataset("ct", whole_pictures(slices))
    assert whole.names == ("case_000", "case_001", "case_002")
    for sample, z in zip(whole, (1, 2, 4), strict=True):
        grey = apply_window(upright(hu[:, :, z]), WIDE)
        np.testing.assert_array_equal(sample.image, np.dstack([grey] * 3))
        np.testing.assert_array_equal(sample.truth, upright(label[:, :, z] > 0))
    single = Dataset("ct", single_objects(slices, problems := []))
    assert problems == []
    assert single.names == ("case_000_1", "case_001_1", "case_001_2", "case_002_2")
    np.testing.assert_array_equal(single[2].truth, upright(label[:, :, 2] == 4))


def test_scaled_float_volumes_give_their_hu(tmp_path, save_nifti):
    hu = np.linspace(-250, 250, 8 * 6 * 5).reshape(8, 6, 5)
    header = nib.Nifti1Header()
    header.set_slope_inter(0.5, -300)
    image = nib.Nifti1Image(np.rint(hu), LAS_3MM, header)
    image.set_data_dtype(np.int16)
    (tmp_path / "imagesTr").mkdir()
    image.to_filename(tmp_path / "imagesTr" / "case.nii")
    save_nifti(tmp_path / "labelsTr" / "case.nii", np.ones(hu.shape, np.float32))
    assert {which_slice(scene, np.rint(hu)) for scene in draws(open_it(tmp_path))} == {0, 1, 2, 3, 4}


def test_the_window_is_drawn_around_the_one_asked_for(tmp_path, save_nifti):
    # A ramp of HU shows which were black and which white.
    hu = np.tile(np.arange(-1000, 1000, dtype=np.int16)[:, None, None], (1, 2, 1))
    save_nifti(tmp_path / "imagesTr" / "case.nii", hu)
    save_nifti(tmp_path / "labelsTr" / "case.nii", np.ones(hu.shape, np.uint8))
    source = open_it(tmp_path, window=Window(40, 400), jitter=WindowJitter(0.25, 1.6))
    ramps = np.array([scene.image[0, :, 0] for scene in draws(source, 200)]).astype(int)
    black, white = (ramps == 0).sum(axis=1) - 1000, 1000 - (ramps == 255).sum(axis=1)
    widths, levels = (white - black) * 256 / 255, (white + black) / 2
    assert (widths > 400 / 1.6 - 3).all()
    assert (widths < 400 * 1.6 + 3).all()
    assert (np.abs(levels - 40) < 100 + 2).all()
    assert widths.min() < 290
    assert widths.max() > 550
    assert np.ptp(levels) > 150
    assert 0.35 < (widths < 400).mean() < 0.65


def test_8bit_volumes_have_their_tone_varied_instead(tmp_path, save_nifti):
    grey = np.tile(np.arange(256, dtype=np.uint8)[:, None, None], (1, 2, 1))
    save_nifti(tmp_path / "imagesTr" / "case.nii", grey)
    save_nifti(tmp_path / "labelsTr" / "case.nii", np.ones(grey.shape, np.uint8))
    ramps = np.array([scene.image[0, :, 0] for scene in draws(open_it(tmp_path))]).astype(int)
    assert (np.diff(ramps, axis=1) >= 0).all()
    assert np.ptp(ramps[:, 128]) > 20
    assert np.abs(ramps[:, 128] - 128).max() < 50


def test_the_cache_is_made_once_and_again_for_a_changed_volume(ct, tmp_path, save_nifti):
    hu, _ = ct
    open_it(tmp_path)
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").iterdir()}
    assert len(files) == 3
    open_it(tmp_path, objects=None, window=Window(0, 100))
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").iterdir()} == files
    save_nifti(tmp_path / "imagesTr" / "case.nii.gz", (hu + 1).astype(np.int16))
    assert {which_slice(scene, hu + 1) for scene in draws(open_it(tmp_path))} == {1, 2, 4}


def test_a_cache_that_was_cut_off_is_made_again(ct, tmp_path):
    open_it(tmp_path)
    (index,) = (tmp_path / "cache").glob("*.json")
    index.unlink()  # it is written last
    open_it(tmp_path).draw(np.random.default_rng(0))
    for path in (tmp_path / "cache").glob("*.npy"):
        path.write_bytes(b"")
    with pytest.raises(InputError, match="remove the cache folder"):
        open_it(tmp_path).draw(np.random.default_rng(0))
    index.write_text("{")
    with pytest.raises(InputError, match=r"json: damaged; remove it"):
        open_it(tmp_path)


def test_what_is_odd_of_a_volume_is_said_each_time(ct, tmp_path, save_nifti):
    save_nifti(tmp_path / "imagesTr" / "case.nii.gz", (ct[0] + 1300).astype(np.uint16))
    for _ in range(2):  # the second time from the cache
        _, notes = find_slices(tmp_path, None, cache=tmp_path / "cache", objects=None, window=WIDE, workers=1)
        (note,) = notes
        assert "imagesTr/case.nii.gz: its values are not like HU" in note


def test_one_folder_a_patient(tmp_path, save_nifti):
    for number in range(3):
        folder = tmp_path / "set" / f"s{number}"
        save_nifti(folder / "ct.nii.gz", np.full((4, 4, 3), -1000 + 500 * number, np.int16))
        save_nifti(folder / "segmentations" / "liver.nii.gz", np.ones((4, 4, 3), np.uint8))
        save_nifti(folder / "segmentations" / "spleen.nii.gz", np.zeros((4, 4, 3), np.uint8))
    slices, _ = find_slices(
        tmp_path / "set", None, organ="liver", cache=tmp_path / "cache", objects=None, window=WIDE, workers=1
    )
    assert [each.name for each in slices] == [f"s{n}_liver_{k:03d}" for n in range(3) for k in range(3)]
    assert [int(each.read().pixels[0, 0]) for each in slices[::3]] == [-1000, -500, 0]


def test_no_slice_holds_what_is_wanted(ct, tmp_path):
    with pytest.raises(InputError, match=r"no volume holds what is wanted; the labels are \[1, 4\]"):
        open_it(tmp_path, [[2]])


def test_volumes_without_labels(tmp_path, save_nifti):
    for folder in ("imagesTr", "labelsTr"):
        save_nifti(tmp_path / folder / "case.nii.gz", np.zeros((4, 4, 3), np.int16))
    with pytest.raises(InputError, match="the labels are all 0"):
        open_it(tmp_path)


def test_all_unusable_volumes_are_listed(ct, tmp_path, save_nifti):
    save_nifti(tmp_path / "labelsTr" / "alone.nii.gz", np.ones((4, 4, 3), np.uint8))
    save_nifti(tmp_path / "labelsTr" / "other.nii.gz", np.ones((4, 4, 3), np.uint8))
    save_nifti(tmp_path / "imagesTr" / "other.nii.gz", np.ones((4, 4, 2), np.int16))
    save_nifti(tmp_path / "labelsTr" / "nan.nii.gz", np.ones((4, 4, 3), np.uint8))
    save_nifti(tmp_path / "imagesTr" / "nan.nii.gz", np.full((4, 4, 3), np.nan, np.float32))
    broken = tmp_path / "imagesTr" / "case.nii.gz"
    broken.write_bytes(broken.read_bytes()[:-40])
    with pytest.raises(InputError) as raised:
        open_it(tmp_path)
    lines = str(raised.value).splitlines()
    assert len(lines) == 4
    for words in ("alone.nii.gz: no image", "imagesTr/case.nii.gz: ", "4 x 4 x 2", "NaN"):
        assert any(words in line for line in lines), words


def test_a_disk_too_full_for_the_cache_is_said_and_nothing_half_written_stays(
    tmp_path, save_nifti, full_disk
):
    for folder in ("imagesTr", "labelsTr"):
        save_nifti(tmp_path / folder / "case.nii.gz", np.ones((60, 60, 3), np.int16))
    with full_disk(), pytest.raises(InputError, match=r"\.npy: File too large; free some space"):
        open_it(tmp_path)
    assert not list((tmp_path / "cache").iterdir())


def test_the_organ_of_the_command_line(tmp_path, save_nifti):
    label = np.zeros((4, 4, 3), np.uint8)
    label[0, 0], label[1, 1], label[2, 2] = 1, 2, 3
    save_nifti(tmp_path / "imagesTr" / "case.nii.gz", np.full(label.shape, 40, np.int16))
    save_nifti(tmp_path / "labelsTr" / "case.nii.gz", label)
    texts = {
        f"nifti:{tmp_path}:organ=liver:jitter=0,1": [1, 1, 0],
        f"nifti:{tmp_path}:labels=3,1+2:jitter=0,1": [2, 2, 1],
        f"nifti:{tmp_path / 'labelsTr'}:images={tmp_path / 'imagesTr'}:jitter=0,1": [1, 2, 3],
    }
    for text, expected in texts.items():
        scene = open_mixture([text], tmp_path / "cache").draw(np.random.default_rng(0))
        assert scene.labels[::-1][[0, 1, 2], [0, 1, 2]].tolist() == expected
        assert (scene.image == 128).all()  # level 40 is the abdomen's
    lung = open_mixture([f"nifti:{tmp_path}:organ=lung:jitter=0,1"], tmp_path / "cache")
    assert "lung tumour" in lung.notes[0]
    assert (lung.draw(np.random.default_rng(0)).image == 226).all()  # (40 + 1200) / 1400 * 255


@pytest.mark.skipif(not DATA.is_dir(), reason="needs the real data beside the checkout")
def test_real_volumes(tmp_path):
    folder = DATA / "decathlon" / "Task09_Spleen"
    mixture = open_mixture([f"nifti:{folder}:organ=spleen"], tmp_path)
    samples = TrainingSamples(mixture, SampleSettings(scale=(1, 2), min_object_pixels=300), 0)
    for i in range(8):
        sample = samples[i]
        assert sample.problems == ()
        assert (sample.label == 1).sum() >= 300
        # A spleen is soft tissue: neither black nor white in an abdomen window, however it is jittered.
        assert 40 < np.median(sample.image[sample.label == 1]) < 250
