"""Files that are whole or not there, and pictures."""

import hashlib
import os
import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from isegm.errors import InputError, InputWarning
from isegm.limits import MOST_PIXELS
from isegm.storage import (
    read_grey,
    read_image,
    read_unchanged,
    sha256,
    warn_of_links,
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
    with pytest.raises(InputError, match="claims more pixels than are read"):
        read_image(path)


def test_a_picture_as_large_as_is_read(tmp_path):
    """The limit is what OpenCV was told, and a picture of so many pixels is not beyond it."""
    assert os.environ["OPENCV_IO_MAX_IMAGE_PIXELS"] == str(MOST_PIXELS)
    write_image(tmp_path / "a.png", np.zeros((8192, MOST_PIXELS // 8192), np.uint8))
    assert read_grey(tmp_path / "a.png").size == MOST_PIXELS
    write_image(tmp_path / "a.png", np.zeros((8192, MOST_PIXELS // 8192 + 1), np.uint8))
    with pytest.raises(InputError, match="claims more pixels than are read"):
        read_grey(tmp_path / "a.png")


@pytest.mark.parametrize("damage", [b"IHDR", b"IDAT", b"IEND"])
def test_damage_in_a_png_is_noticed_without_a_word_of_its_library(tmp_path, damage, capfd):
    write_image(tmp_path / "a.png", np.random.default_rng(0).integers(0, 256, (50, 60, 3), np.uint8))
    content = bytearray((tmp_path / "a.png").read_bytes())
    content[content.index(damage) + 5] ^= 1
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(InputError, match="not a readable picture; is it complete"):
        read_image(tmp_path / "a.png")
    assert capfd.readouterr() == ("", "")


def test_words_in_a_png_may_be_damaged(tmp_path):
    words = PngInfo()
    words.add_text("Comment", "something")
    Image.fromarray(RGB).save(tmp_path / "a.png", pnginfo=words)
    (tmp_path / "a.png").write_bytes((tmp_path / "a.png").read_bytes().replace(b"something", b"some_hing"))
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), RGB)


@pytest.mark.parametrize("suffix", [".webp", ".ppm", ".gif"])
def test_formats_that_pictures_here_do_not_come_in_are_not_tried(tmp_path, suffix):
    done, encoded = cv2.imencode(suffix, RGB)
    assert done
    (tmp_path / "a.png").write_bytes(encoded)
    with pytest.raises(InputError, match="not a readable picture"):
        read_image(tmp_path / "a.png")


def test_a_pipe_is_no_picture(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(InputError, match=r"a\.png: a pipe or device, not a file"):
        read_image(tmp_path / "a.png")
    with pytest.raises(InputError, match="a pipe or device"):
        read_image(Path("/dev/zero"))


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
