"""Pictures: what is read of which file, which way up, and in what depth."""

import io
import os
import struct
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from isegm.config import read_config
from isegm.errors import InputError, describe
from isegm.limits import MOST_PIXELS
from isegm.pictures import (
    is_turned,
    read_grey,
    read_image,
    read_palette,
    read_stored,
    read_values,
    write_image,
)
from isegm.volumes.files import open_volume

GREY = np.array([[0, 1, 64, 127], [128, 129, 200, 255]], np.uint8)
RGB = np.stack([GREY, GREY[::-1], GREY[:, ::-1]], axis=2)


@settings(max_examples=50)
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
    np.testing.assert_array_equal(read_stored(path), pixels)
    np.testing.assert_array_equal(read_image(path), pixels if colour else np.dstack([pixels] * 3))
    if not colour:
        np.testing.assert_array_equal(read_grey(path), pixels)


def test_other_programs_see_the_same_colours(tmp_path):
    write_image(tmp_path / "a.png", RGB)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "a.png")), RGB)
    Image.fromarray(RGB).save(tmp_path / "b.png")
    np.testing.assert_array_equal(read_image(tmp_path / "b.png"), RGB)
    np.testing.assert_array_equal(read_stored(tmp_path / "b.png"), RGB)


def test_alpha_and_colours_are_kept_unless_an_image_is_asked_for(tmp_path):
    alpha = np.dstack([RGB, 255 - GREY])
    Image.fromarray(alpha).save(tmp_path / "alpha.png")
    np.testing.assert_array_equal(read_stored(tmp_path / "alpha.png"), alpha)
    np.testing.assert_array_equal(read_image(tmp_path / "alpha.png"), RGB)

    palette = Image.fromarray(np.array([[0, 1, 2]], np.uint8), mode="P")
    palette.putpalette([0, 0, 0, 255, 0, 10, 0, 128, 255])
    palette.save(tmp_path / "palette.png")
    np.testing.assert_array_equal(
        read_stored(tmp_path / "palette.png")[..., :3], [[[0, 0, 0], [255, 0, 10], [0, 128, 255]]]
    )


def test_grey_is_the_luminance(tmp_path):
    write_image(tmp_path / "a.png", np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]]], np.uint8))
    np.testing.assert_allclose(read_grey(tmp_path / "a.png"), [[76, 150, 29]], atol=1)


# Where the corners of a stored picture [[1, 2], [3, 4]] are seen, by orientation (EXIF 2.3, tag 274).
UPRIGHT = {
    1: [[1, 2], [3, 4]],
    2: [[2, 1], [4, 3]],
    3: [[4, 3], [2, 1]],
    4: [[3, 4], [1, 2]],
    5: [[1, 3], [2, 4]],
    6: [[3, 1], [4, 2]],
    7: [[4, 2], [3, 1]],
    8: [[2, 4], [1, 3]],
}


def tagged(path, corners, orientation):
    """A picture of 16 x 32 pixels whose quarters have these grey levels, with an EXIF orientation."""
    pixels = np.kron(np.array(corners, np.uint8), np.ones((8, 16), np.uint8))
    exif = Image.Exif()
    exif[0x0112] = orientation
    if path.suffix == ".tif":
        tifffile.imwrite(path, pixels, extratags=[(274, "H", 1, orientation, True)])
    elif path.suffix == ".jpg":
        Image.fromarray(pixels).save(path, exif=exif, quality=100)
    else:
        Image.fromarray(pixels).save(path, exif=exif)
    return path


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
def test_pictures_are_upright_as_viewers_show_them(tmp_path, suffix, orientation):
    path = tagged(tmp_path / f"a{suffix}", [[50, 100], [150, 200]], orientation)
    block = (8, 16) if orientation < 5 else (16, 8)
    expected = np.kron(np.array(UPRIGHT[orientation], np.uint8) * 50, np.ones(block, np.uint8))
    for read in (read_image, read_grey, read_stored):
        pixels = read(path)
        np.testing.assert_array_equal(pixels if pixels.ndim == 2 else pixels[:, :, 1], expected)
    assert is_turned(path) == (orientation > 4 and suffix != ".tif")


def test_an_orientation_that_is_none_turns_nothing(tmp_path):
    for orientation in (0, 9, 65535):
        path = tagged(tmp_path / "a.png", [[1, 2], [3, 4]], orientation)
        assert read_grey(path)[[0, 0, -1, -1], [0, -1, 0, -1]].tolist() == [1, 2, 3, 4]


def test_palette_indexes_are_upright_too(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = Image.fromarray(np.array([[0, 1, 2]], np.uint8), mode="P")
    picture.putpalette([0, 0, 0, 255, 0, 10, 0, 128, 255])
    picture.save(tmp_path / "a.png", exif=exif)
    indexes, colours = read_palette(tmp_path / "a.png")
    assert indexes.tolist() == [[0], [1], [2]]
    assert colours.tolist() == [[0, 0, 0], [255, 0, 10], [0, 128, 255]]
    write_image(tmp_path / "b.png", RGB)
    assert read_palette(tmp_path / "b.png") is None


DEEP = {
    "16-bit": np.array([[31768, 32808], [32768, 33768]], np.uint16),
    "signed 16-bit": np.array([[-1000, 40], [0, 1000]], np.int16),
    "signed 32-bit": np.array([[-1000, 40], [0, 1000]], np.int32),
    "32-bit float": np.array([[-1000, 40], [0, 1000.5]], np.float32),
    "64-bit float": np.array([[0, 0.25], [0.5, 1]], np.float64),
    "signed 8-bit": np.array([[-100, 40], [0, 100]], np.int8),
}


@pytest.mark.parametrize("depth", DEEP)
def test_what_has_not_8_bits_is_never_cut_to_them(tmp_path, depth):
    pixels = DEEP[depth]
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, pixels)
    np.testing.assert_array_equal(read_stored(path), pixels)
    for read in (read_image, read_grey):
        with pytest.raises(InputError) as caught:
            read(path)
        assert str(caught.value) == (
            f"{path}: a {depth} picture with values from {pixels.min():g} to {pixels.max():g}, not of 8 "
            "bits; give a window in reading.yml beside the pictures' folder (docs/datasets.md), or convert "
            "it to 8 bits"
        )
    np.testing.assert_array_equal(read_values(path), pixels)


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_colours_and_alpha_of_16_bits_are_refused_as_well(tmp_path, channels):
    pixels = np.full((4, 5, channels), 700, np.uint16)
    if channels == 2:  # grey and alpha, which OpenCV does not write
        png_of_16_bits(tmp_path / "a.png", pixels, 4)
    else:
        assert cv2.imwrite(str(tmp_path / "a.png"), pixels)
    for read in (read_image, read_values):
        with pytest.raises(InputError, match=r"a 16-bit picture .* not of 8 bits; convert it to 8 bits$"):
            read(tmp_path / "a.png")


def png_of_16_bits(path, pixels, colour_type):
    def chunk(name, content):
        return (
            struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        )

    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    head = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 16, colour_type, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def test_numbers_that_are_none_are_not_windowed(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.array([[0, np.nan]], np.float32))
    with pytest.raises(InputError, match=r"a\.tif: holds NaN or infinite values"):
        read_values(tmp_path / "a.tif")


def test_one_bit_palette_grey_and_alpha_are_of_8_bits(tmp_path):
    bits = np.array([[True, False, True]])
    for suffix in (".png", ".tif", ".bmp"):
        Image.fromarray(bits).save(tmp_path / f"a{suffix}")
        assert read_grey(tmp_path / f"a{suffix}").tolist() == [[255, 0, 255]]
    Image.fromarray(np.dstack([GREY, 255 - GREY])).save(tmp_path / "a.png")  # grey and alpha
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), np.dstack([GREY] * 3))


@pytest.mark.parametrize("is_large", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
def test_of_several_pictures_in_a_tiff_none_is_taken(tmp_path, is_large, order):
    with tifffile.TiffWriter(tmp_path / "a.tif", bigtiff=is_large, byteorder=order) as file:
        file.write(GREY, photometric="minisblack")
        file.write(GREY[::2, ::2], photometric="minisblack", subfiletype=1)  # a thumbnail is no second one
    np.testing.assert_array_equal(read_grey(tmp_path / "a.tif"), GREY)
    for subfiletype in (None, 2):
        with tifffile.TiffWriter(tmp_path / "a.tif", bigtiff=is_large, byteorder=order) as file:
            for pixels in (GREY, 255 - GREY):
                file.write(pixels, photometric="minisblack", subfiletype=subfiletype)
        with pytest.raises(InputError, match=r"a\.tif: holds several pictures; save the one that is meant"):
            read_stored(tmp_path / "a.tif")


def test_names_beyond_ascii(tmp_path):
    write_image(tmp_path / "слой ä語.png", RGB)
    np.testing.assert_array_equal(read_image(tmp_path / "слой ä語.png"), RGB)


@pytest.mark.parametrize("read", [read_image, read_grey, read_stored])
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
        read_stored(path)


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
    assert not list(tmp_path.iterdir())


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


@pytest.mark.parametrize("settings", [{}, {"progressive": True}], ids=["baseline", "progressive"])
@pytest.mark.parametrize(
    "appended",
    [b"\xff\xd9 and a scan \xff\xda" * 3, b"ftypmp42\xff\xda\0", b"\0" * 99],
    ids=["end", "scan", "zeros"],
)
def test_what_a_phone_appends_to_a_jpeg_is_no_cut(tmp_path, appended, settings):
    pixels = np.random.default_rng(0).integers(0, 255, (40, 50, 3), np.uint8)
    thumbnail = io.BytesIO()
    Image.fromarray(pixels[:8, :8]).save(thumbnail, "JPEG")
    path = tmp_path / "a.jpg"
    exif = b"Exif\0\0" + thumbnail.getvalue()
    Image.fromarray(pixels).save(path, exif=exif, **settings)
    whole, expected = path.read_bytes(), read_image(path)
    path.write_bytes(whole + appended)
    np.testing.assert_array_equal(read_image(path), expected)
    path.write_bytes(whole[: len(whole) // 2])  # the thumbnail has an end of its own
    with pytest.raises(InputError, match=r"a\.jpg: not a readable picture"):
        read_image(path)


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"RIFF\x24\0\0\0WEBPVP8 ", "WebP"),
        (b"GIF89a\1\0\1\0", "GIF"),
        (b"\0\0\0\x18ftypheic", "HEIF"),
        (b"\0\0\0\x1cftypavif", "HEIF"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
    ],
)
def test_a_picture_of_another_format_is_told_which_it_is(tmp_path, content, name):
    path = tmp_path / "a.jpg"
    path.write_bytes(content + bytes(40))
    with pytest.raises(InputError) as refused:
        read_image(path)
    assert str(refused.value) == f"{path}: not a readable picture but a {name} file; save it as PNG or JPEG"


@pytest.mark.skipif(sys.platform != "linux", reason="needs a file that opens but cannot be read")
@pytest.mark.parametrize(
    ("read", "name"), [(read_image, "a.png"), (open_volume, "a.nii"), (read_config, "config.yml")]
)
def test_a_read_that_fails_names_the_file(tmp_path, read, name):
    path = tmp_path / name
    path.symlink_to("/proc/self/mem")  # whose first page is not there
    with pytest.raises(OSError, match="Input/output error") as refused:
        read(path)
    assert describe(refused.value).startswith(f"{path}: Input/output error; the disk or the connection")
