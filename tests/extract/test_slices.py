import shutil
import unicodedata

import numpy as np
import pytest

from isegm.errors import InputError
from isegm.extract.manifest import COLUMNS, read_manifest
from isegm.extract.slices import find_organ_voxels
from isegm.pictures import read_grey
from isegm.volumes.files import open_volume


@pytest.fixture
def extract(extraer_imagenes, tmp_path, capsys):
    """extract(*options) runs the tool on tmp_path/labelsTr; gives (status, stdout, stderr)."""

    def run(*options, labels=tmp_path / "labelsTr", organ="liver"):
        argv = [labels, tmp_path / "out", organ, "--workers", 1, *options]
        status = extraer_imagenes.main([*map(str, argv)])
        return status, *capsys.readouterr()

    return run


def names(folder, organ="liver"):
    images = sorted(path.stem for path in (folder / organ / "images").glob("*"))
    assert images == sorted(path.stem for path in (folder / organ / "masks").glob("*"))
    assert images == [row["name"] for row in read_manifest(folder / organ / "manifest.csv")]
    return images


def test_the_slice_with_the_most_organ(ct, extract, tmp_path):
    hu, label = ct
    assert extract() == (0, f"1 picture from 1 volume in {tmp_path / 'out' / 'liver'}\n", "")
    assert names(tmp_path / "out") == ["case_7_002"]
    # LAS: columns go to the patient's left as stored, rows from posterior up
    greys = np.clip((hu[:, ::-1, 2].T + 135.0) * 255 / 350, 0, 255)
    assert (read_grey(tmp_path / "out/liver/images/case_7_002.png") == np.floor(greys + 0.5)).all()
    assert (read_grey(tmp_path / "out/liver/masks/case_7_002.png") == (label[:, ::-1, 2].T > 0) * 255).all()
    assert (tmp_path / "out/liver/manifest.csv").read_text().splitlines() == [
        ",".join(COLUMNS),
        "case_7_002,case_7.nii.gz,case_7.nii.gz,2,2,5,6,2,3,40,350,upright,1+2,9,../../labelsTr",
    ]


@pytest.mark.parametrize(
    ("options", "slices"),
    [
        (["--min-pixels", 1], [1, 2, 3]),
        (["--min-pixels", 3], [1, 2]),
        (["--every", 1], [1, 2, 3]),
        (["--every", 2], [1, 3]),
        (["--every", 2, "--min-pixels", 3], [1]),
        (["--labels", 2], [3]),
        (["--labels", "1,2", "--min-pixels", 2], [1, 2, 3]),
        (["--labels", 1, 2, "--every", 3], [1]),
    ],
)
def test_selection(ct, options, slices, extract, tmp_path):
    assert extract(*options)[0] == 0
    assert names(tmp_path / "out") == [f"case_7_{k:03d}" for k in slices]


def test_of_equal_slices_the_first_is_taken(save_nifti, extract, tmp_path):
    save_nifti(tmp_path / "imagesTr" / "a.nii", np.zeros((4, 4, 4), np.int16))
    save_nifti(tmp_path / "labelsTr" / "a.nii", np.ones((4, 4, 4), np.uint8))
    assert extract()[0] == 0
    assert names(tmp_path / "out") == ["a_000"]


@pytest.mark.parametrize(
    "options",
    [
        ["--min-pixels", 0],
        ["--every", 0],
        ["--every", -1],
        ["--workers", 0],
        ["--labels", "x"],
        ["--labels", 0],
        ["--window", "40,0"],
        ["--images", "nowhere"],
    ],
)
def test_unusable_arguments(ct, options, extract, tmp_path):
    status, out, err = extract(*options)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert not (tmp_path / "out").exists()


def test_windows(ct, extract, tmp_path):
    hu, _ = ct
    for window, low, width in (("-500,1400", -1200, 1400), ("bone", -100, 1000)):
        assert extract("--force", "--window", window)[0] == 0
        greys = np.floor(np.clip((hu[:, ::-1, 2].T - low) * 255.0 / width, 0, 255) + 0.5)
        assert (read_grey(tmp_path / "out/liver/images/case_7_002.png") == greys).all()
    (row,) = read_manifest(tmp_path / "out/liver/manifest.csv")
    assert (row["window_level"], row["window_width"]) == ("400", "1000")


def test_lung_has_its_window_and_a_note(ct, extract, tmp_path):
    status, _, err = extract(organ="lung")
    assert status == 0
    assert "Task06_Lung" in err
    assert err.count("\n") == 1
    (row,) = read_manifest(tmp_path / "out/lung/manifest.csv")
    assert (row["window_level"], row["window_width"], row["labels"]) == ("-500", "1400", "1")


def test_an_8bit_image_is_taken_as_it_is(ct, save_nifti, extract, tmp_path):
    grey = np.random.default_rng(1).integers(0, 256, (6, 5, 4)).astype(np.uint8)
    save_nifti(tmp_path / "imagesTr" / "case_7.nii.gz", grey)
    status, out, err = extract("--window", "bone")
    assert (status, out) == (0, f"1 picture from 1 volume in {tmp_path / 'out' / 'liver'}\n")
    assert "imagesTr/case_7.nii.gz: 8-bit already, so taken as grey values" in err
    assert err.count("\n") == 1
    assert (read_grey(tmp_path / "out/liver/images/case_7_002.png") == grey[:, ::-1, 2].T).all()
    (row,) = read_manifest(tmp_path / "out/liver/manifest.csv")
    assert row["window_level"] == row["window_width"] == ""


def test_scaled_images_and_labels(ct, save_nifti, set_scaling, extract, tmp_path):
    hu, label = ct
    shutil.rmtree(tmp_path / "imagesTr")
    shutil.rmtree(tmp_path / "labelsTr")
    stored = ((hu + 1024) // 16).astype(np.uint8)  # 8 bits, but scaled: HU
    set_scaling(save_nifti(tmp_path / "imagesTr" / "a.nii", stored), 16, -1024)
    set_scaling(save_nifti(tmp_path / "labelsTr" / "a.nii", label * np.uint8(100)), 0.01, 0)
    assert extract()[0] == 0
    assert names(tmp_path / "out") == ["a_002"]
    greys = np.clip((stored[:, ::-1, 2].T * 16.0 - 1024 + 135) * 255 / 350, 0, 255)
    assert (read_grey(tmp_path / "out/liver/images/a_002.png") == np.floor(greys + 0.5)).all()


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_organ_voxels(axis, save_nifti, tmp_path, monkeypatch):
    monkeypatch.setattr("isegm.volumes.nifti._SLAB_BYTES", 500)
    values = np.random.default_rng(2).integers(0, 4, (21, 9, 10)).astype(np.uint8)
    values[:, :, 4] = 0
    voxels = find_organ_voxels(open_volume(save_nifti(tmp_path / "a.nii.gz", values)), [1, 3])
    organ = (values == 1) | (values == 3)
    assert (voxels.count(axis) == organ.sum(axis=tuple({0, 1, 2} - {axis}))).all()
    for index in range(values.shape[axis]):
        assert (voxels.slice(axis, index) == organ.take(index, axis)).all()


# Pairing


def test_pairing_is_by_the_whole_stem(ct, save_nifti, extract, tmp_path):
    images = tmp_path / "imagesTr"
    (images / "case_7.nii.gz").rename(images / "case_70.nii.gz")
    save_nifti(images / "my_case_7.nii.gz", ct[0])
    save_nifti(images / "case_7_0001.nii.gz", ct[0])
    status, out, err = extract()
    assert (status, out[:10]) == (1, "0 pictures")
    assert "labelsTr/case_7.nii.gz: no image" in err
    assert not (tmp_path / "out").exists()

    (images / "case_70.nii.gz").rename(images / "case_7_0000.nii.gz")
    assert extract()[0] == 0
    assert read_manifest(tmp_path / "out/liver/manifest.csv")[0]["volume"] == "case_7_0000.nii.gz"


def test_ambiguous_names(ct, save_nifti, extract, tmp_path):
    save_nifti(tmp_path / "imagesTr" / "case_7.nii", ct[0])
    assert "may both be its image" in extract()[2]
    (tmp_path / "imagesTr" / "case_7.nii").unlink()
    save_nifti(tmp_path / "labelsTr" / "case_7.nii", ct[1])
    status, _, err = extract()
    assert (status, err.count("another label has the same name, case_7; rename one")) == (1, 2)


@pytest.mark.parametrize("folders", [("a", "a.nii"), ("a", "a_segmentation")])
@pytest.mark.parametrize("options", [(), ("--force",)])
def test_patients_whose_pictures_would_have_one_name(folders, options, ct, save_nifti, extract, tmp_path):
    names_of_labels = [
        "segmentation_seg.nii",
        "seg.nii" if folders[1] == "a_segmentation" else "segmentation_seg.nii",
    ]
    for folder, label in zip(folders, names_of_labels, strict=True):
        save_nifti(tmp_path / "set" / folder / "ct.nii", ct[0])
        save_nifti(tmp_path / "set" / folder / label, ct[1])
    status, _, err = extract(*options, labels=tmp_path / "set")
    assert (status, err.count("another label has the same name, a_segmentation_seg; rename one")) == (1, 2)


def test_a_volume_that_a_link_fails_to_reach_is_missed(ct, extract, tmp_path):
    (tmp_path / "labelsTr" / "case_8.nii.gz").symlink_to(tmp_path / "imagesTr" / "gone.nii.gz")
    (tmp_path / "imagesTr" / "case_8.nii.gz").symlink_to(tmp_path / "imagesTr" / "case_7.nii.gz")
    status, out, err = extract()
    assert (status, out[:10], err.count("\n")) == (1, "1 picture ", 1)
    assert "labelsTr/case_8.nii.gz is missing; check the path" in err


def test_one_file_and_images_elsewhere(ct, extract, tmp_path):
    label = tmp_path / "labelsTr" / "case_7.nii.gz"
    assert extract(labels=label)[0] == 0
    (tmp_path / "labelsTr").rename(tmp_path / "manual")
    shutil.rmtree(tmp_path / "out")
    status, _, err = extract("--force", labels=tmp_path / "manual")
    assert (status, "give the images, too" in err) == (2, True)
    assert extract("--force", "--images", tmp_path / "imagesTr", labels=tmp_path / "manual")[0] == 0
    label, image = tmp_path / "manual" / "case_7.nii.gz", tmp_path / "imagesTr" / "other.nii.gz"
    (tmp_path / "imagesTr" / "case_7.nii.gz").rename(image)
    assert extract("--force", "--images", image, labels=label)[0] == 0
    status, _, err = extract("--force", "--images", label, labels=label)
    assert (status, "its own image" in err) == (1, True)


def test_one_image_for_many_labels_is_refused(ct, extract, tmp_path):
    image = tmp_path / "imagesTr" / "case_7.nii.gz"
    shutil.copy(tmp_path / "labelsTr" / "case_7.nii.gz", tmp_path / "labelsTr" / "case_8.nii.gz")
    status, _, err = extract("--images", image)
    assert status == 1
    assert "case_8.nii.gz: no image" in err
    assert names(tmp_path / "out") == ["case_7_002"]


def test_composed_and_decomposed_characters_are_the_same_name(ct, save_nifti, extract, tmp_path):
    for folder, form in (("imagesTr", "NFC"), ("labelsTr", "NFD")):
        volume = tmp_path / folder / "case_7.nii.gz"
        volume.rename(volume.with_name(unicodedata.normalize(form, "hígado_7.nii.gz")))
    assert extract()[0] == 0
    assert names(tmp_path / "out") == ["hígado_7_002"]


# One folder a patient


def patients(save_nifti, root, segmentations, image_name, label_name, count=3):
    """Patients whose files have the same names, with an organ of 6, 7, ... voxels in slice 1."""
    for number in range(count):
        folder = root / f"s{number}"
        label = np.zeros((6, 5, 4), np.uint8)
        label[:, 0, 1] = label[:number, 1, 1] = 1
        save_nifti(folder / image_name, np.full(label.shape, -100 + 50 * number, np.int16))
        save_nifti(folder / segmentations / label_name, label)
        if segmentations:
            save_nifti(folder / segmentations / "spleen.nii.gz", label)


LAYOUTS = [("segmentations", "ct.nii.gz", "liver.nii.gz"), ("", "imaging.nii.gz", "segmentation.nii.gz")]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_patients_are_told_apart_by_their_folders(layout, save_nifti, extract, tmp_path):
    root = tmp_path / "set"
    patients(save_nifti, root, *layout)
    (root / "notes").mkdir()
    assert extract(labels=root)[:2] == (0, f"3 pictures from 3 volumes in {tmp_path / 'out' / 'liver'}\n")
    rows = read_manifest(tmp_path / "out/liver/manifest.csv")
    stem = layout[2].partition(".")[0]
    assert [(row["name"], row["organ_pixels"]) for row in rows] == [
        (f"s{number}_{stem}_001", str(6 + number)) for number in range(3)
    ]
    for number, row in enumerate(rows):
        grey = (-100 + 50 * number + 135) * 255 / 350
        assert (read_grey(tmp_path / f"out/liver/images/{row['name']}.png") == int(grey + 0.5)).all()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_patients_one_after_the_other_do_not_replace_each_other(layout, save_nifti, extract, tmp_path):
    segmentations, image, label = layout
    patients(save_nifti, tmp_path / "set", *layout)
    for number in range(3):
        folder = tmp_path / "set" / f"s{number}"
        options = ["--images", folder / image]
        assert extract(*options, labels=folder / segmentations / label)[0] == 0
        status, _, err = extract(*options, labels=folder / segmentations / label)
        assert (status, "has its pictures already; --force replaces them" in err) == (1, True)
        assert extract(*options, "--force", labels=folder / segmentations / label)[0] == 0
        assert len(names(tmp_path / "out")) == number + 1
    # The same volumes all at once have the same names.
    status, _, err = extract(labels=tmp_path / "set")
    assert (status, err.count("has its pictures already")) == (1, 3)
    assert extract("--force", labels=tmp_path / "set")[0] == 0
    assert len(names(tmp_path / "out")) == 3


def test_a_patient_with_several_images_or_none_is_a_problem(save_nifti, extract, tmp_path):
    patients(save_nifti, tmp_path / "set", *LAYOUTS[0])
    save_nifti(tmp_path / "set" / "s1" / "pet.nii.gz", np.zeros((6, 5, 4), np.int16))
    (tmp_path / "set" / "s2" / "segmentations" / "liver.nii.gz").unlink()
    status, out, err = extract(labels=tmp_path / "set")
    assert (status, out[:10]) == (1, "1 picture ")
    assert "set/s1: holds 1 label volume of liver and 2 images; one of each is needed" in err
    assert "set/s2: holds 0 label volumes of liver and 1 image; one of each is needed" in err
    status, _, err = extract("--labels", 1, labels=tmp_path / "set", organ="pancreas")
    assert (status, "no folder with one label volume of pancreas and one image" in err) == (2, True)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_one_patient_s_own_folder(layout, save_nifti, extract, tmp_path):
    patients(save_nifti, tmp_path / "set", *layout)
    assert extract(labels=tmp_path / "set" / "s1")[0] == 0
    assert names(tmp_path / "out") == [f"s1_{layout[2].partition('.')[0]}_001"]


def test_links_into_a_store_are_told_apart_by_where_they_lie(save_nifti, extract, tmp_path):
    patients(save_nifti, tmp_path / "set", *LAYOUTS[0])
    (tmp_path / "store").mkdir()
    for number, path in enumerate(sorted((tmp_path / "set").rglob("*.nii.gz"))):
        path.symlink_to(path.rename(tmp_path / "store" / f"{number}.nii.gz"))
    assert extract(labels=tmp_path / "set")[0] == 0
    assert names(tmp_path / "out") == [f"s{number}_liver_001" for number in range(3)]


def test_a_task_s_folder_stands_for_its_labels(ct, extract, tmp_path):
    assert extract(labels=tmp_path)[0] == 0
    assert names(tmp_path / "out") == ["case_7_002"]


# Values that are not HU


def test_other_scales_than_hu_are_said_once_for_all_volumes(
    ct, save_nifti, extract, normalize_ct_images, tmp_path, capsys
):
    hu, label = ct
    for name in "abc":
        save_nifti(tmp_path / "imagesTr" / f"{name}.nii", ((hu + 1000) / 2000).astype(np.float32))
        save_nifti(tmp_path / "labelsTr" / f"{name}.nii", label)
    status, out, err = extract()
    assert (status, out[:10]) == (0, "4 pictures")
    assert err.count("\n") == 1
    assert "imagesTr/a.nii: its values are not like HU" in err
    assert "convert them to HU first (and 2 more)" in err
    assert normalize_ct_images.main([str(tmp_path / "imagesTr"), str(tmp_path / "windowed"), "liver"]) == 0
    assert "imagesTr/a.nii: its values are not like HU" in capsys.readouterr().err


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_check_sees_every_axis(axis, save_nifti, extract, tmp_path):
    affine = np.diag([-3.0, 2, 5, 1])[:, [*np.roll([0, 1, 2], axis + 1), 3]]
    hu = np.random.default_rng(0).integers(-1000, 1000, (9, 8, 7))
    save_nifti(tmp_path / "labelsTr" / "a.nii", (hu > 0).astype(np.uint8), affine)
    for offset, lines in ((0, 0), (1024, 1)):
        save_nifti(tmp_path / "imagesTr" / "a.nii", (hu + offset).astype(np.int16), affine)
        assert extract("--force")[2].count("\n") == lines


# Problems: one line each, and the others go on


@pytest.mark.parametrize(
    ("folder", "spoil", "reason"),
    [
        ("labelsTr", lambda values: values * 9, "holds no liver"),
        ("labelsTr", lambda values: values[:, :, :3], "has 6 x 5 x 3 voxels"),
        ("labelsTr", lambda values: values / np.float32(2), "no label"),
        ("labelsTr", lambda values: np.stack([values, values], 3), "4D"),
        ("imagesTr", lambda values: np.stack([values, values], 3), "4D"),
        ("imagesTr", lambda values: np.where(values, np.nan, 0).astype(np.float32), "slice 2"),
        ("imagesTr", None, "damaged"),
        ("labelsTr", None, "damaged"),
    ],
)
def test_a_problem_is_one_line_and_the_others_go_on(ct, folder, spoil, reason, save_nifti, extract, tmp_path):
    for name, values in zip(("imagesTr", "labelsTr"), ct, strict=True):
        path = save_nifti(
            tmp_path / name / "bad.nii.gz", spoil(values) if spoil and name == folder else values
        )
        if spoil is None and name == folder:
            path.write_bytes(path.read_bytes()[:-12])
    status, out, err = extract()
    assert (status, out[:10], err.count("\n")) == (1, "1 picture ", 1)
    assert err.startswith(str(tmp_path / folder / "bad.nii.gz: "))
    assert reason in err
    assert names(tmp_path / "out") == ["case_7_002"]


def test_nan_elsewhere_than_in_the_chosen_slices_does_not_matter(ct, save_nifti, extract, tmp_path):
    values = ct[0].astype(np.float32)
    values[0, 0, 0] = np.nan
    save_nifti(tmp_path / "imagesTr" / "case_7.nii.gz", values)
    assert extract("--every", 1)[0] == 0


def test_too_few_pixels(ct, extract):
    status, _, err = extract("--min-pixels", 10)
    assert status == 1
    assert "the most are 9 in slice 2" in err


@pytest.mark.parametrize(
    ("image_codes", "label_codes", "said"),
    [
        ((0, 0), (0, 0), "imagesTr/case_7.nii.gz: does not say how it lies in the patient"),
        ((0, 0), (2, 0), "imagesTr/case_7.nii.gz: does not say how it lies in the patient"),
        ((1, 0), (0, 0), "labelsTr/case_7.nii.gz: does not say how it lies in the patient"),
    ],
)
def test_a_header_without_orientation_is_noted(
    ct, image_codes, label_codes, said, save_nifti, extract, tmp_path
):
    save_nifti(tmp_path / "imagesTr" / "case_7.nii.gz", ct[0], codes=image_codes)
    save_nifti(tmp_path / "labelsTr" / "case_7.nii.gz", ct[1], codes=label_codes)
    status, _, err = extract()
    assert status == 0
    assert said in err
    assert err.count("\n") == 1
    mask = (ct[1][:, ::-1, 2].T > 0) * 255
    assert (read_grey(tmp_path / "out/liver/masks/case_7_002.png") == mask).all()


# What is there already


def test_nothing_is_overwritten_unless_forced(ct, save_nifti, extract, tmp_path):
    assert extract()[0] == 0
    picture = tmp_path / "out/liver/images/case_7_002.png"
    before = picture.read_bytes(), (tmp_path / "out/liver/manifest.csv").read_bytes()
    save_nifti(tmp_path / "imagesTr" / "case_7.nii.gz", ct[0] * 0)
    for options in ([], ["--min-pixels", 1]):
        status, out, err = extract(*options)
        assert (status, out[:10], err.count("\n")) == (1, "0 pictures", 1)
        assert "labelsTr/case_7.nii.gz: " in err
        assert "has its pictures already; --force replaces them" in err
    assert before == (picture.read_bytes(), (tmp_path / "out/liver/manifest.csv").read_bytes())
    assert extract("--force")[0] == 0
    assert picture.read_bytes() != before[0]


def test_a_forced_volume_leaves_no_stale_pictures(ct, save_nifti, extract, tmp_path):
    save_nifti(tmp_path / "imagesTr" / "b.nii", ct[0])
    save_nifti(tmp_path / "labelsTr" / "b.nii", ct[1])
    assert extract("--min-pixels", 1)[0] == 0
    assert len(names(tmp_path / "out")) == 6
    assert extract("--force", labels=tmp_path / "labelsTr" / "b.nii")[0] == 0
    assert names(tmp_path / "out") == ["b_002", "case_7_001", "case_7_002", "case_7_003"]


def test_new_volumes_join_a_folder(ct, save_nifti, extract, tmp_path):
    assert extract()[0] == 0
    save_nifti(tmp_path / "imagesTr" / "b.nii", ct[0])
    save_nifti(tmp_path / "labelsTr" / "b.nii", ct[1])
    status, out, err = extract()
    assert (status, out[:10], err.count("\n")) == (1, "1 picture ", 1)
    assert names(tmp_path / "out") == ["b_002", "case_7_002"]


def test_pictures_that_no_manifest_knows_are_not_overwritten(ct, extract, tmp_path):
    mask = tmp_path / "out/liver/masks/case_7_002.png"
    mask.parent.mkdir(parents=True)
    mask.write_bytes(b"mine")
    status, _, err = extract()
    assert status == 1
    assert f"{mask} exists already" in err
    assert mask.read_bytes() == b"mine"
    assert not (tmp_path / "out/liver/images").exists()


def test_force_does_not_replace_another_volume_of_the_same_name(ct, save_nifti, extract, tmp_path):
    assert extract("--every", 1)[0] == 0
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*.*")}
    save_nifti(tmp_path / "other" / "imagesTr" / "case_7.nii.gz", ct[0])
    other = save_nifti(tmp_path / "other" / "labelsTr" / "case_7.nii.gz", ct[1])
    for options in ([], ["--force"]):
        status, out, err = extract(*options, labels=other.parent)
        assert (status, out[:10], err.count("\n")) == (1, "0 pictures", 1)
        assert f"{other}: {tmp_path}/out/liver has pictures of another volume of that name" in err
        assert "../../labelsTr/case_7.nii.gz; extract into another folder, or rename one" in err
    assert before == {path: path.read_bytes() for path in (tmp_path / "out").rglob("*.*")}


def test_deleted_pictures_may_be_made_again(ct, extract, tmp_path):
    assert extract("--min-pixels", 1)[0] == 0
    shutil.rmtree(tmp_path / "out/liver/images")
    shutil.rmtree(tmp_path / "out/liver/masks")
    assert extract()[0] == 0
    assert names(tmp_path / "out") == ["case_7_002"]


@pytest.mark.parametrize("content", ["a,b\n1,2\n", "\xff\xfe", ",".join(COLUMNS) + "\na,b\n"])
def test_a_foreign_manifest_is_left_alone(ct, content, extract, tmp_path):
    manifest = tmp_path / "out/liver/manifest.csv"
    manifest.parent.mkdir(parents=True)
    manifest.write_bytes(content.encode("latin-1"))
    status, _, err = extract("--force")
    assert (status, "not a manifest" in err) == (2, True)
    assert manifest.read_bytes() == content.encode("latin-1")
    with pytest.raises(InputError):
        read_manifest(manifest)


def test_workers_do_not_change_what_is_written(ct, save_nifti, extract, tmp_path):
    for name in "abc":
        save_nifti(tmp_path / "imagesTr" / f"{name}.nii.gz", ct[0] + np.int16(ord(name)))
        save_nifti(tmp_path / "labelsTr" / f"{name}.nii.gz", ct[1])
    for name in "xyb":
        (tmp_path / "labelsTr" / f"{name}.nii.gz").write_bytes(b"damaged")
    results = []
    for workers in (1, 2):
        status, out, err = extract("--every", 1, "--workers", workers)
        assert [line.split(":")[0][-8:] for line in err.splitlines()] == ["b.nii.gz", "x.nii.gz", "y.nii.gz"]
        files = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
        assert len(files) == 2 * 9 + 1
        results.append((status, out, err, files))
        shutil.rmtree(tmp_path / "out")
    assert results[0] == results[1]
