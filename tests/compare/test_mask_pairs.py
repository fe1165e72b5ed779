import unicodedata
from pathlib import Path

import pytest

from isegm.compare.mask_pairs import Pair, mask_name, pair_masks
from isegm.errors import InputError


def make(folder, *names):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()
    return folder


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("case_1.png", "case_1"),
        ("case.1.JPG", "case.1"),
        ("case_1.nii.gz", "case_1"),
        ("case_1.NII", "case_1"),
        ("case_1.hdr", "case_1"),
        ("case_1.img", None),
        ("case_1.gz", None),
        ("manifest.csv", None),
        ("notes", None),
    ],
)
def test_the_stem_is_the_name_without_its_whole_suffix(name, expected):
    assert mask_name(Path(name)) == expected


def test_only_equal_stems_are_pairs(tmp_path):
    truth = make(tmp_path / "t", "case_1.png", "case_10.png", "b.nii.gz", ".hidden.png", "manifest.csv")
    prediction = make(tmp_path / "p", "case_1.jpg", "case_100.png", "b.nii", "other.png", ".hidden.png")
    make(prediction / "sub.png")
    (truth / "gone.png").symlink_to("nowhere")
    pairing = pair_masks(truth, prediction)
    assert pairing.pairs == [
        Pair("b", truth / "b.nii.gz", prediction / "b.nii"),
        Pair("case_1", truth / "case_1.png", prediction / "case_1.jpg"),
    ]
    assert pairing.unmatched == [
        *(truth / "case_10.png", prediction / "case_100.png"),
        *(truth / "gone.png", prediction / "other.png"),
    ]


@pytest.mark.parametrize("suffix", [".png", ".nii.gz"])
def test_composed_and_decomposed_characters_are_the_same_name(tmp_path, suffix):
    names = [unicodedata.normalize(form, f"hígado_1{suffix}") for form in ("NFC", "NFD")]
    truth, prediction = make(tmp_path / "t", names[0]), make(tmp_path / "p", names[1])
    assert pair_masks(truth, prediction).pairs == [Pair("hígado_1", truth / names[0], prediction / names[1])]


def test_two_files_are_a_pair_whatever_their_names(tmp_path):
    make(tmp_path, "truth.nii.gz", "mine.nii")
    truth, prediction = tmp_path / "truth.nii.gz", tmp_path / "mine.nii"
    assert pair_masks(truth, prediction).pairs == [Pair("truth", truth, prediction)]


def test_two_files_of_one_stem_are_refused(tmp_path):
    truth = make(tmp_path / "t", "a.png", "a.jpg")
    with pytest.raises(InputError, match=r"a\.png: a\.jpg has the same stem; keep one"):
        pair_masks(truth, make(tmp_path / "p", "a.png"))


def test_no_pair_is_refused(tmp_path):
    with pytest.raises(InputError, match="none of its 1 masks has the name of one of the 0"):
        pair_masks(make(tmp_path / "t"), make(tmp_path / "p", "a.png"))


def test_paths_must_exist_and_be_of_one_kind(tmp_path):
    folder = make(tmp_path / "t", "a.png", "notes.txt")
    with pytest.raises(InputError, match="absent: no such file or folder"):
        pair_masks(folder, tmp_path / "absent")
    with pytest.raises(InputError, match="two folders or two files"):
        pair_masks(folder, folder / "a.png")
    with pytest.raises(InputError, match=r"notes\.txt: not a mask"):
        pair_masks(folder / "notes.txt", folder / "a.png")
