"""Files that are whole or not there, and pictures."""

import hashlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from isegm.errors import InputError
from isegm.storage import (
    read_grey,
    read_image,
    read_unchanged,
    sha256,
    whole_file,
    write_bytes,
    write_image,
    write_text,
)

GREY = np.array([[0, 1, 64, 127], [128, 129, 200, 255]], np.uint8)
RGB = np.stack([GREY, GREY[::-1], GREY[:, ::-1]], axis=2)


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


# --- pictures


@settings(max_examples=50, deadline=None)
@given(
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    colour=st.booleans(),
    suffix=st.sampled_from([".png", ".bmp", ".tif", ".PNG"]),
    seed=st.integers(0, 99),
)
def test_pictures_are_read_as_they_were_written(tmp_path_factory, height, width, colour, suffix, seed):
    shape = (height, width, 3) if colour else (height, width)
    pixels = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
    path = tmp_path_factory.getbasetemp() / f"picture{suffix}"
    write_image(path, pixels)
    np.testing.assert_array_equal(read_unchanged(path), pixels)
    np.testing.assert_array_equal(read_image(path), pixels if colour else np.dstack([pixels] * 3))
    if not colour:
        np.testing.assert_array_equal(read_grey(path), pixels)


def test_other_programs_see_the_same_colours(tmp_path):
    write_image(tmp_path / "a.png", RGB)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "a.png")), RGB)
    Image.fromarray(RGB).save(tmp_path / "b.png")
    np.testing.assert_array_equal(read_image(tmp_path / "b.png"), RGB)
    np.testing.assert_array_equal(read_unchanged(tmp_path / "b.png"), RGB)


def test_alpha_palette_and_depth_are_kept_unless_colours_are_asked_for(tmp_path):
    alpha = np.dstack([RGB, 255 - GREY])
    Image.fromarray(alpha).save(tmp_path / "alpha.png")
    np.testing.assert_array_equal(read_unchanged(tmp_path / "alpha.png"), alpha)
    np.testing.assert_array_equal(read_image(tmp_path / "alpha.png"), RGB)

    palette = Image.fromarray(np.array([[0, 1, 2]], np.uint8), mode="P")
    palette.putpalette([0, 0, 0, 255, 0, 10, 0, 128, 255])
    palette.save(tmp_path / "palette.png")
    np.testing.assert_array_equal(
        read_unchanged(tmp_path / "palette.png")[..., :3], [[[0, 0, 0], [255, 0, 10], [0, 128, 255]]]
    )

    deep = GREY.astype(np.uint16) * 257
    assert cv2.imwrite(str(tmp_path / "deep.png"), deep)
    assert read_unchanged(tmp_path / "deep.png").dtype == np.uint16
    np.testing.assert_array_equal(read_unchanged(tmp_path / "deep.png"), deep)
    np.testing.assert_array_equal(read_grey(tmp_path / "deep.png"), GREY)


def test_grey_is_the_luminance(tmp_path):
    write_image(tmp_path / "a.png", np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]]], np.uint8))
    np.testing.assert_allclose(read_grey(tmp_path / "a.png"), [[76, 150, 29]], atol=1)


@pytest.mark.parametrize("read", [read_image, read_grey, read_unchanged])
def test_a_picture_is_not_turned_by_its_orientation_tag(tmp_path, read):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.zeros((4, 9), np.uint8)).save(tmp_path / "a.jpg", exif=exif)
    assert read(tmp_path / "a.jpg").shape[:2] == (4, 9)


def test_names_beyond_ascii(tmp_path):
    write_image(tmp_path / "слой ä語.png", RGB)
    np.testing.assert_array_equal(read_image(tmp_path / "слой ä語.png"), RGB)


@pytest.mark.parametrize("read", [read_image, read_grey, read_unchanged])
@pytest.mark.parametrize("content", [b"", b"text", b"\x89PNG\r\n\x1a\n", bytes(1000)])
def test_what_is_no_picture_is_named_in_one_line(tmp_path, read, content):
    path = tmp_path / "a.png"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read(path)
    assert str(caught.value) == f"{path}: not a readable picture; is it complete?"
    with pytest.raises(InputError) as caught:
        read(tmp_path / "none.png")
    assert str(caught.value) == f"{tmp_path}/none.png: no such picture; check the path"


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif"])
@pytest.mark.parametrize("part", [0.1, 0.5, 0.9])
def test_a_truncated_picture_is_refused(tmp_path, suffix, part):
    path = tmp_path / f"a{suffix}"
    write_image(path, np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8))
    path.write_bytes(path.read_bytes()[: int(part * path.stat().st_size)])
    with pytest.raises(InputError, match="not a readable picture; is it complete"):
        read_unchanged(path)


def test_a_picture_that_claims_to_be_enormous_is_refused(tmp_path):
    path = tmp_path / "a.bmp"
    write_image(path, RGB)
    content = bytearray(path.read_bytes())
    content[18:26] = (2**20).to_bytes(4, "little") * 2
    path.write_bytes(content)
    with pytest.raises(InputError, match="not a readable picture"):
        read_image(path)


@pytest.mark.parametrize(
    ("name", "pixels"),
    [
        ("a.xyz", RGB),
        ("a", GREY),
        ("a.png", GREY[:0]),
        ("a.png", RGB[:0]),
        ("a.png", RGB[..., :2]),
        ("a.png", GREY > 3),  # OpenCV would round these to 8 bits
        ("a.png", GREY / np.float32(255)),
    ],
)
def test_a_picture_that_cannot_be_written_is_named_in_one_line_and_leaves_nothing(tmp_path, name, pixels):
    with pytest.raises(InputError) as caught:
        write_image(tmp_path / name, pixels)
    assert str(caught.value) == (
        f"{tmp_path / name}: OpenCV cannot write a {pixels.shape} {pixels.dtype} picture in this format"
    )
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("kept", [0.05, 0.5, 0.9, 0.999])
def test_a_jpeg_that_was_cut_short_is_refused_by_every_opencv(tmp_path, kept):
    pixels = np.random.default_rng(0).integers(0, 255, (60, 80, 3)).astype(np.uint8)
    write_image(tmp_path / "whole.jpg", pixels)
    content = (tmp_path / "whole.jpg").read_bytes()
    read_image(tmp_path / "whole.jpg")
    cut = tmp_path / "cut.jpg"
    cut.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(InputError, match=r"cut\.jpg: not a readable picture"):
        read_image(cut)
