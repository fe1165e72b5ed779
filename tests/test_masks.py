"""Which pixels of a mask picture are object."""

import cv2
import numpy as np
import pytest
from PIL import Image

from isegm.errors import InputError
from isegm.masks import read_mask


def save(path, pixels):
    assert cv2.imwrite(str(path), pixels[..., ::-1] if pixels.ndim == 3 and pixels.shape[2] == 3 else pixels)
    return path


def row(*levels, dtype=np.uint8):
    return np.array([levels], dtype)


@pytest.mark.parametrize(
    ("pixels", "objects"),
    [
        (row(0, 127, 128, 255), [0, 0, 1, 1]),
        (row(0, 1, 2, 255), [0, 0, 0, 1]),
        (row(0, 1, 1, 0), [0, 1, 1, 0]),  # a label map
        (row(0, 1, 2, 127), [0, 1, 1, 1]),
        (row(0, 0, 0, 0), [0, 0, 0, 0]),
        (row(255, 255), [1, 1]),
        (row(1, 1), [1, 1]),
        (row(0, 1, 1, 0, dtype=np.uint16), [0, 1, 1, 0]),
        (row(0, 127, 128, 65535, dtype=np.uint16), [0, 0, 1, 1]),
    ],
    ids=str,
)
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_grey_levels_of_a_lossless_picture(tmp_path, pixels, objects, suffix):
    mask = read_mask(save(tmp_path / f"a{suffix}", pixels))
    assert mask.dtype == np.bool_
    assert mask.tolist() == [[bool(level) for level in objects]]


@pytest.mark.parametrize("name", ["a.jpg", "a.JPG", "a.jpeg", "a.JpEg"])
def test_of_a_jpeg_only_what_is_above_127_is_object(tmp_path, name):
    pixels = np.full((16, 48), 100, np.uint8)
    pixels[:, :16] = 3
    pixels[:, 32:] = 90
    assert not read_mask(save(tmp_path / name, pixels)).any()
    pixels[:, 32:] = 255
    mask = read_mask(save(tmp_path / name, pixels))
    assert mask[:, 40:].all()
    assert not mask[:, :24].any()


def test_of_colours_the_largest_channel_counts(tmp_path):
    pixels = np.array([[[0, 0, 0], [200, 0, 0], [0, 130, 0], [0, 0, 128], [127, 127, 127]]], np.uint8)
    mask = read_mask(save(tmp_path / "a.png", pixels))
    assert mask.tolist() == [[False, True, True, True, False]]
    labels = np.array([[[0, 0, 0], [1, 0, 0], [0, 0, 2]]], np.uint8)
    assert read_mask(save(tmp_path / "b.png", labels)).tolist() == [[False, True, True]]


def test_alpha_does_not_count(tmp_path):
    pixels = np.array([[[0, 0, 0, 255], [255, 255, 255, 255], [0, 0, 0, 0], [255, 0, 0, 0]]], np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert read_mask(tmp_path / "a.png").tolist() == [[False, True, False, True]]
    grey = Image.fromarray(pixels[..., [0, 3]])
    assert grey.mode == "LA"
    grey.save(tmp_path / "b.png")
    assert read_mask(tmp_path / "b.png").tolist() == [[False, True, False, True]]


def test_black_and_white_of_one_bit(tmp_path):
    Image.fromarray(np.array([[True, False, True]])).save(tmp_path / "a.png")
    assert read_mask(tmp_path / "a.png").tolist() == [[True, False, True]]


def test_floats_are_refused_in_one_line(tmp_path):
    path = save(tmp_path / "a.tif", np.ones((2, 2), np.float32))
    with pytest.raises(InputError) as caught:
        read_mask(path)
    assert str(caught.value) == f"{path}: a mask must be an 8- or 16-bit picture, not float32"


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"none\.png: no such picture; check the path"):
        read_mask(tmp_path / "none.png")
