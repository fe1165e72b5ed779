"""scripts/generate_phantoms.py: what it writes, says and refuses."""

import json
import shlex

import nibabel as nib
import numpy as np
import pytest

from isegm.commands import phantoms

TASKS = ["Task03_Liver", "Task06_Lung", "Task09_Spleen"]


@pytest.fixture
def script(monkeypatch, tmp_path):
    """The script with small patients, and a current folder of the test's own."""
    monkeypatch.setattr(phantoms, "SHAPE", (40, 36, 9))
    monkeypatch.setattr(phantoms, "SPACING_MM", (10.0, 10.0, 30.5))
    monkeypatch.chdir(tmp_path)
    return phantoms


def contents(folder):
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_patients_are_written_and_told(script, tmp_path, capsys):
    assert script.main(["made/here", "--patients=2"]) == 0
    assert capsys.readouterr() == (
        "2 generated patients in made/here: Task03_Liver, Task06_Lung, Task09_Spleen\n"
        "40x36x9 voxels of 10x10x30.5 mm, in HU\n",
        "",
    )
    folder = tmp_path / "made" / "here"
    assert sorted(path.name for path in folder.iterdir()) == TASKS
    for task, organ in zip(TASKS, ("liver", "lung", "spleen"), strict=True):
        for part in ("imagesTr", "labelsTr"):
            files = sorted((folder / task / part).iterdir())
            assert [file.name for file in files] == [f"{organ}_000.nii.gz", f"{organ}_001.nii.gz"]
            volume = nib.load(files[0])
            assert volume.shape == (40, 36, 9)
            assert volume.header.get_zooms() == (10.0, 10.0, 30.5)
        assert np.asanyarray(volume.dataobj).any()  # somebody has the organ


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(script, tmp_path):
    for folder, seed in (("a", []), ("b", ["--seed=0"]), ("c", ["--seed=1"])):
        assert script.main([folder, "--patients=1", *seed]) == 0
    first, same, other = (contents(tmp_path / folder) for folder in "abc")
    assert first == same
    assert first.keys() == other.keys()
    different = {name for name in first if first[name] != other[name]}
    assert different == {name for name in first if name.endswith(".nii.gz")}


def test_lung_is_tissue_or_tumour(script, tmp_path):
    for lung, label in (("tissue", "lung"), ("tumour", "cancer")):
        assert script.main([lung, "--patients=1", f"--lung={lung}"]) == 0
        document = json.loads((tmp_path / lung / "Task06_Lung" / "dataset.json").read_text())
        assert document["labels"] == {"0": "background", "1": label}


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("", "the following arguments are required: folder"),
        ("new --patients=0", "0 patients with seed 0: give at least 1 patient, and a seed from 0"),
        ("new --seed=-1", "3 patients with seed -1: give at least 1 patient, and a seed from 0"),
        ("new --patients=few", "argument --patients: invalid int value: 'few'"),
        ("new --lung=air", "argument --lung: invalid choice: 'air'"),
        ("taken", "taken/Task09_Spleen: exists already; remove it or give another folder"),
        ("file --patients=1", "file"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line(script, tmp_path, capsys, line, complaint):
    (tmp_path / "taken" / "Task09_Spleen").mkdir(parents=True)
    (tmp_path / "file").write_text("mine")
    assert script.main(shlex.split(line)) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert f": error: {complaint}" in err
    assert {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")} == {
        "file",
        "taken",
        "taken/Task09_Spleen",
    }
