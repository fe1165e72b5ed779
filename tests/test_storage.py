"""Files that are whole or not there."""

import errno
import hashlib
import warnings
from pathlib import Path

import numpy as np
import pytest

from isegm.errors import InputWarning, describe
from isegm.storage import sha256, warn_of_links, whole_file, write_bytes, write_text


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


# --- whole files


def test_a_file_appears_under_its_name_only_when_the_block_ends(tmp_path):
    path = tmp_path / "new" / "folders" / "a.nii.gz"
    with whole_file(path) as temporary:
        assert temporary.parent == path.parent
        assert temporary.name.endswith("a.nii.gz")
        assert temporary.name != path.name
        temporary.write_bytes(b"half")
        assert not path.exists()
        temporary.write_bytes(b"whole")
    assert path.read_bytes() == b"whole"
    assert names_in(path.parent) == ["a.nii.gz"]


@pytest.mark.parametrize("error", [ValueError, OSError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("there", [True, False])
def test_an_exception_leaves_nothing_behind_and_an_existing_file_as_it_was(tmp_path, error, there):
    path = tmp_path / "a.png"
    if there:
        path.write_bytes(b"old")

    def write():
        with whole_file(path) as temporary:
            temporary.write_bytes(b"half")
            raise error

    with pytest.raises(error):
        write()
    assert names_in(tmp_path) == (["a.png"] if there else [])
    if there:
        assert path.read_bytes() == b"old"


def test_an_existing_file_is_replaced(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("an older and longer text")
    write_text(path, "ä\nß")
    assert path.read_bytes() == "ä\nß".encode()
    write_bytes(path, b"")
    assert path.read_bytes() == b""
    assert names_in(tmp_path) == ["a.txt"]


def test_two_writers_of_one_name_do_not_meet(tmp_path):
    path = tmp_path / "a.txt"
    with whole_file(path) as one, whole_file(path) as other:
        assert one != other
        one.write_text("one")
        other.write_text("other")
    assert path.read_text() == "one"  # who ends last
    assert names_in(tmp_path) == ["a.txt"]


def test_a_block_that_writes_nothing_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError), whole_file(tmp_path / "a.txt"):
        pass
    assert names_in(tmp_path) == []


def test_a_name_that_is_a_folder_is_an_error_that_names_it(tmp_path):
    (tmp_path / "a.txt").mkdir()
    with pytest.raises(OSError, match="directory") as caught:
        write_text(tmp_path / "a.txt", "text")
    assert Path(caught.value.filename2) == tmp_path / "a.txt"
    assert names_in(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, 1 << 20, (1 << 21) + 3])
def test_sha256_of_a_file_is_that_of_its_content(tmp_path, size):
    content = np.random.default_rng(size).bytes(size)
    (tmp_path / "a").write_bytes(content)
    assert sha256(tmp_path / "a") == hashlib.sha256(content).hexdigest()


# --- links


def test_links_out_of_a_data_set_are_named_once(tmp_path):
    data, elsewhere = tmp_path / "data", tmp_path / "elsewhere"
    for folder in (data / "images", data / "masks", elsewhere / "images"):
        folder.mkdir(parents=True)
    for path in (data / "images" / "a.png", elsewhere / "b.png", elsewhere / "c.png"):
        path.write_bytes(b"")
    inside = data / "masks" / "a.png"
    inside.symlink_to("../images/a.png")
    out = [data / "masks" / name for name in ("b.png", "c.png")]
    for link in out:
        link.symlink_to(elsewhere / link.name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_links(data / "masks", [])
        warn_of_links(data / "masks", [inside])
    with pytest.warns(InputWarning) as caught:
        warn_of_links(data / "masks", [inside, *out])
    assert [str(each.message) for each in caught] == [
        f"{data}/masks: 2 links lead out of the data set, 'b.png' to {elsewhere}/b.png; copy what you "
        "want to keep with it"
    ]


def test_a_whole_folder_may_be_a_link(tmp_path):
    (tmp_path / "real" / "images").mkdir(parents=True)
    (tmp_path / "real" / "images" / "a.png").write_bytes(b"")
    (tmp_path / "real" / "images" / "b.png").symlink_to("a.png")
    (tmp_path / "data").symlink_to(tmp_path / "real")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_links(tmp_path / "data" / "images", [tmp_path / "data" / "images" / "b.png"])


def test_a_link_is_replaced_not_written_through(tmp_path):
    (tmp_path / "precious.txt").write_text("precious")
    (tmp_path / "a.txt").symlink_to(tmp_path / "precious.txt")
    write_text(tmp_path / "a.txt", "new")
    assert (tmp_path / "precious.txt").read_text() == "precious"
    assert (tmp_path / "a.txt").read_text() == "new"
    assert not (tmp_path / "a.txt").is_symlink()


def test_what_cannot_be_written_is_named_as_it_was_asked_for(tmp_path, monkeypatch):
    path = tmp_path / "a.png"

    def refuse(temporary, *_):
        raise PermissionError(errno.EACCES, "Permission denied", str(temporary))

    monkeypatch.setattr(Path, "write_bytes", refuse)
    with pytest.raises(PermissionError) as refused:
        write_bytes(path, b"content")
    assert describe(refused.value) == (
        f"{path}: Permission denied; change its permissions, or name another place"
    )
