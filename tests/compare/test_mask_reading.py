import gzip

import nibabel
import numpy as np
import pytest

from isegm.compare.mask_pairs import Pair
from isegm.compare.mask_reading import read_mask_pair, read_spacings
from isegm.compare.scores import score
from isegm.errors import FileWarning, InputError
from isegm.volumes.files import open_volume

CUBE = np.zeros((6, 5, 4), np.uint8)
CUBE[1:4, 1:4, 1:3] = 1
CUBE[2, 2, 2] = 2
AFFINE = np.diag([0.5, 0.75, 3.0, 1.0])


def volume(path, values=CUBE, affine=AFFINE, unit="mm"):
    image = nibabel.Nifti1Image(values, affine)
    image.header.set_xyzt_units(unit)
    nibabel.save(image, path)
    return path


@pytest.fixture
def pair(tmp_path):
    return Pair("c", volume(tmp_path / "truth.nii.gz"), volume(tmp_path / "prediction.nii"))


def refusal(pair, **options):
    with pytest.raises(InputError) as caught:
        read_mask_pair(pair, {}, **options)
    line = str(caught.value)
    assert "\n" not in line
    return line


def test_volumes_come_with_their_spacing(pair):
    masks = read_mask_pair(pair, {})
    np.testing.assert_array_equal(masks.truth, CUBE > 0)
    np.testing.assert_array_equal(masks.prediction, CUBE > 0)
    assert masks.spacing.tolist() == [0.5, 0.75, 3.0]


def test_labels_choose_the_object(pair):
    np.testing.assert_array_equal(read_mask_pair(pair, {}, labels=(2,)).truth, CUBE == 2)
    np.testing.assert_array_equal(read_mask_pair(pair, {}, labels=(1, 2)).truth, CUBE > 0)


def test_a_volume_of_one_slice_is_a_picture(pair):
    for path in (pair.truth, pair.prediction):
        volume(path, CUBE[:, :, 1:2])
    masks = read_mask_pair(pair, {})
    np.testing.assert_array_equal(masks.truth, CUBE[:, :, 1] > 0)
    assert masks.spacing.tolist() == [0.5, 0.75]


@pytest.mark.parametrize(("part", "spacing"), [(np.s_[2:3], [0.75, 3]), (np.s_[:, 2:3], [0.5, 3])])
def test_so_is_one_slice_along_another_axis(pair, part, spacing):
    for path in (pair.truth, pair.prediction):
        volume(path, CUBE[part])
    masks = read_mask_pair(pair, {})
    np.testing.assert_array_equal(masks.truth, CUBE[part].squeeze() > 0)
    assert masks.spacing.tolist() == spacing


def test_axes_not_at_right_angles_are_measured_as_they_lie(pair):
    """A tilted gantry's: 4 slices up lie 4 * 3 mm higher and 4 * 2.5 mm to the front."""
    tilted = AFFINE.copy()
    tilted[1, 2] = 2.5
    truth, prediction = np.zeros((2, 9, 9, 9), np.uint8)
    truth[2, 3, 1] = prediction[2, 3, 5] = 1
    volume(pair.truth, truth, tilted)
    volume(pair.prediction, prediction, tilted)
    row = score("c", read_mask_pair(pair, {}), 2)
    assert row.hd95 == pytest.approx(4 * np.hypot(3, 2.5))
    assert row.truth_area_mm == pytest.approx(0.5 * 0.75 * 3)  # the parallelepiped's base times its height


def test_a_turned_volume_has_the_spacing_of_its_axes(pair):
    angle = np.deg2rad(30)
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    for path in (pair.truth, pair.prediction):
        volume(path, affine=turn @ AFFINE)
    assert read_mask_pair(pair, {}).spacing == pytest.approx([0.5, 0.75, 3])


def test_the_truth_s_affine_holds_for_a_prediction_without_one(pair):
    nibabel.save(nibabel.Nifti1Image(CUBE, None), pair.prediction)
    with pytest.warns(FileWarning, match=r"prediction\.nii: does not say how it lies in the patient"):
        assert read_mask_pair(pair, {}).spacing.tolist() == [0.5, 0.75, 3]


def test_given_spacing_goes_before_the_header(pair):
    assert read_mask_pair(pair, {}, spacing=(1, 2, 3)).spacing.tolist() == [1, 2, 3]
    assert "has 3 axes, but 2 spacings are given" in refusal(pair, spacing=(1.0, 1.0))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (np.repeat(CUBE[..., None], 2, axis=3), "4D"),
        (CUBE * np.float32(0.5), "no label"),
        (CUBE[:, :4], "has 6 x 4 x 4 voxels, but"),
    ],
)
def test_what_is_no_mask_of_the_truth_s_size_is_refused(pair, values, said):
    volume(pair.prediction, values)
    assert said in refusal(pair)


def test_another_grid_is_refused(pair):
    volume(pair.prediction, affine=np.diag([-0.5, 0.75, 3.0, 1.0]))
    assert "lies elsewhere than" in refusal(pair)


@pytest.mark.parametrize(
    "damage",
    [
        lambda whole: b"",
        lambda whole: whole[: len(whole) // 2],
        lambda whole: gzip.compress(gzip.decompress(whole)[:400]),
        lambda whole: b"\x1f\x8bnonsense",
        lambda whole: whole[:-6] + b"xx" + whole[-4:],  # the checksum
        lambda whole: whole + whole[:20],
    ],
)
def test_what_extraction_calls_damaged_is_damaged(pair, damage):
    pair.truth.write_bytes(damage(pair.truth.read_bytes()))
    with pytest.raises(InputError) as caught:
        for _ in open_volume(pair.truth).slabs():
            pass
    assert refusal(pair) == str(caught.value)


def test_what_is_missing_is_named(pair):
    assert "absent.nii is missing" in refusal(Pair("c", pair.truth.with_name("absent.nii"), pair.prediction))


def test_a_picture_is_not_compared_with_a_volume(pair, tmp_path):
    assert "give both in one format" in refusal(Pair("c", tmp_path / "c.png", pair.prediction))


MANIFEST = "name,volume,spacing_row_mm,spacing_col_mm\n"


@pytest.fixture
def masks(tmp_path):
    folder = tmp_path / "liver" / "masks"
    folder.mkdir(parents=True)
    return folder


@pytest.mark.parametrize("place", [".", ".."])
def test_the_manifest_lies_beside_or_above_the_masks(masks, place):
    (masks / place / "manifest.csv").write_text(MANIFEST + "a,v.nii,0.7,0.8\nb,w.nii,,\n\n")
    assert read_spacings(masks) == {"a": (0.7, 0.8)}
    (masks / "a.png").touch()
    assert read_spacings(masks / "a.png") == {"a": (0.7, 0.8)}


def test_no_manifest_or_another_tool_s_says_nothing(masks):
    assert read_spacings(masks) == {}
    (masks / "manifest.csv").write_text("file,licence\na.png,CC0\n")
    assert read_spacings(masks) == {}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (MANIFEST + "a,v.nii,0.7,0.8\nb,v.nii,0.7,x\n", "line 3: 'b' needs one positive spacing"),
        (MANIFEST + "a,v.nii,0.7,\n", "line 2: 'a'"),
        (MANIFEST + "a,v.nii,0.7\n", "line 2: 'a'"),
        (MANIFEST + "a,v.nii,0,0.7\n", "line 2: 'a'"),
        (MANIFEST + "a,v.nii,nan,0.7\n", "line 2: 'a'"),
        (MANIFEST + "a,v.nii,1,1\na,w.nii,1,2\n", "line 3: 'a'"),
        ("name,spacing_row_mm\na,1\n", "no column spacing_col_mm"),
        ("name,spacing_row_mm,spacing_col_mm\n\xff\n", "not a CSV file in UTF-8"),
    ],
)
def test_a_malformed_manifest_is_refused_with_its_line(masks, content, said):
    (masks / "manifest.csv").write_bytes(content.encode("latin-1"))
    with pytest.raises(InputError) as caught:
        read_spacings(masks)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
