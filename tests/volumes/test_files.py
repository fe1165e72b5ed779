import unicodedata

import numpy as np
import pytest

from isegm.errors import InputError
from isegm.volumes.files import list_volumes, open_volume, stem


def test_stems():
    names = ["liver_0.nii.gz", "liver_0.nii", "liver_0.hdr", "liver_0.img.gz", "liver_0.NII.GZ", "liver_0"]
    assert {stem(name) for name in names} == {"liver_0"}
    assert stem("a.b.nii") == "a.b"
    assert {stem(unicodedata.normalize(form, "hígado.nii")) for form in ("NFC", "NFD")} == {"hígado"}


def test_listing(tmp_path):
    for name in ("b.nii.gz", "a.nii", "._a.nii", "c.NII", "notes.txt", "d.mgz", "e.hdr", "e.img"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "folder.nii").mkdir()
    (tmp_path / "gone.nii").symlink_to("nowhere")  # as git-annex leaves them
    assert [path.name for path in list_volumes(tmp_path)] == [
        *("a.nii", "b.nii.gz", "c.NII", "e.hdr", "gone.nii")
    ]
    assert list_volumes(tmp_path / "d.mgz") == [tmp_path / "d.mgz"]
    with pytest.raises(InputError, match="no such"):
        list_volumes(tmp_path / "nothing")
    with pytest.raises(InputError, match="no NIfTI"):
        list_volumes(tmp_path / "folder.nii")


def test_only_volumes_are_opened(save_nifti, tmp_path):
    assert open_volume(save_nifti(tmp_path / "a.nii", np.zeros((2, 2, 2), np.int16))).shape == (2, 2, 2)
    (tmp_path / "a.mgz").write_bytes(b"x")
    with pytest.raises(InputError, match=r"a\.mgz: not a NIfTI volume"):
        open_volume(tmp_path / "a.mgz")
