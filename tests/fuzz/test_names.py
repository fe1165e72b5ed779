"""Names in files from strangers: nothing is read or written elsewhere than in the folders the user named."""

import csv
import json
import os

import cv2
import nibabel as nib
import numpy as np
import pytest

from isegm.config import Config, read_config
from isegm.datasets import DatasetProblems, open_dataset
from isegm.datasets.coco import find_coco
from isegm.errors import InputError
from isegm.extract.manifest import COLUMNS
from isegm.extract.normalize import normalize
from isegm.extract.slices import Extraction, extract
from isegm.volumes.organs import ORGANS
from isegm.volumes.windows import WINDOWS

ODD = [
    "../a",
    "/etc/passwd",
    "a/../../b",
    "a\nb",
    "a\0b",
    "a\x1b[2Jb",
    "",
    ".",
    "..",
    "a\\b",
    "\udc80",
    "x" * 300,
]


def volume(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    voxels = np.zeros((4, 4, 4), np.int16)
    voxels[1:3, 1:3, 1] = 1
    nib.Nifti1Image(voxels, np.eye(4)).to_filename(path)


def everything_below(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "name",
    ["a_/../../../precious", "a_/../../../../data/imagesTr/precious", "a_\0", "a_\n", "a_x/y", "a_x\\y"],
)
def test_no_name_in_a_manifest_removes_a_file_elsewhere(tmp_path, name):
    for folder in ("imagesTr", "labelsTr"):
        volume(tmp_path / "data" / folder / "a.nii.gz")
    for place in (tmp_path, tmp_path / "data" / "imagesTr"):
        (place / "precious.png").write_text("precious")
    out = tmp_path / "out"
    # What a name leads through must be there for it to lead anywhere.
    (out / "images" / "a_").mkdir(parents=True)
    (out / "masks" / "a_").mkdir(parents=True)
    with (out / "manifest.csv").open("w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, [name, *"abcdefghijklmn"]])
    before = everything_below(tmp_path)
    extraction = Extraction(organ=ORGANS["liver"], folder=out, force=True)
    with pytest.raises(InputError, match=r"manifest\.csv: .*remove its row"):
        extract(tmp_path / "data" / "labelsTr", None, extraction, 1)
    assert everything_below(tmp_path) == before


@pytest.mark.parametrize("name", ["a\nb", "a\x1bb", "\udc80a"])
def test_a_volume_whose_name_cannot_be_printed_is_refused_and_the_others_go_on(tmp_path, name):
    for folder in ("imagesTr", "labelsTr"):
        for each in (name, "good"):
            volume(tmp_path / folder / f"{each}.nii.gz")
    report = extract(
        tmp_path / "labelsTr", None, Extraction(organ=ORGANS["liver"], folder=tmp_path / "out"), 1
    )
    assert report.pictures == 1
    assert [line.partition(": ")[2] for line in report.problems] == ["its name cannot be printed; rename it"]
    report = normalize(tmp_path / "imagesTr", tmp_path / "windowed", WINDOWS["lung"], workers=1)
    assert report.volumes == 1
    assert len(report.problems) == 1


@pytest.mark.parametrize(
    "name", [name for name in ODD if name.strip(".") and "\udc80" not in name and "\n" not in name]
)
def test_names_in_a_list_are_looked_up_and_never_followed(tmp_path, name):
    for folder in ("img", "inst"):
        (tmp_path / folder).mkdir()
    picture = cv2.imencode(".jpg", np.zeros((8, 8), np.uint8))[1].tobytes()
    (tmp_path / "a.jpg").write_bytes(picture)
    (tmp_path / "img" / "b.jpg").write_bytes(picture)
    (tmp_path / "inst" / "b.mat").write_bytes(b"")
    (tmp_path / "val.txt").write_bytes(name.encode() + b"\n")
    with pytest.raises(DatasetProblems) as caught:
        open_dataset("SBD", Config(tmp_path / "config.yml", {"SBD_PATH": tmp_path}))
    assert all(" lists " in line for line in caught.value.lines)
    assert all(line.isprintable() for line in caught.value.lines)


def test_a_sequence_whose_name_cannot_be_printed_is_named(tmp_path):
    (tmp_path / "a\nb").mkdir()
    for name in ("00001.jpg", "object1_00001.png"):
        cv2.imwrite(str(tmp_path / "a\nb" / name), np.full((8, 8), 255, np.uint8))
    with pytest.raises(DatasetProblems) as caught:
        open_dataset("D585_ZERO", Config(tmp_path / "config.yml", {"DAVIS585_PATH": tmp_path}))
    assert caught.value.lines == [f"{tmp_path}: 'a\\nb' is not printable; rename the folder"]


def test_names_that_differ_by_case_only_are_two_samples(tmp_path):
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
        for name in ("a.png", "A.png"):
            cv2.imwrite(str(tmp_path / folder / name), np.full((8, 8), 255, np.uint8))
    assert open_dataset("liver", Config(tmp_path, {"LIVER_PATH": tmp_path})).names == ("A", "a")


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("key", ["file_name", "coco_url"])
def test_no_name_in_an_annotation_file_leads_out_of_the_folder(tmp_path, name, key):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for place in (tmp_path / "a", tmp_path / "b", tmp_path / "passwd"):
        place.write_bytes(cv2.imencode(".png", np.zeros((8, 8), np.uint8))[1].tobytes())
    content = {
        "images": [{"id": 1, key: name, "height": 8, "width": 8}],
        "annotations": [{"image_id": 1, "category_id": 1, "segmentation": [[1, 1, 5, 1, 5, 5]]}],
        "categories": [{"id": 1, "name": "cat"}],
    }
    (tmp_path / "instances.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match="holds no object that can be used; left out of 1: picture not in"):
        find_coco(tmp_path / "instances.json", pictures)


@pytest.mark.parametrize("folder", ["a\0b", "a\nb", "~\0"])
def test_a_folder_in_a_config_file_can_be_printed(tmp_path, folder):
    path = tmp_path / "config.yml"
    path.write_text(f"A_PATH: {json.dumps(folder)}\n")
    with pytest.raises(
        InputError, match=r"config\.yml: line 1: A_PATH has a character that cannot be printed"
    ):
        read_config(path)


def test_folders_in_a_config_file_are_the_users_word(tmp_path):
    (tmp_path / "config.yml").write_text("A_PATH: /data/a\nB_PATH: ../b\n")
    places = read_config(tmp_path / "config.yml").places
    assert [os.fspath(place) for place in places.values()] == ["/data/a", f"{tmp_path}/../b"]
