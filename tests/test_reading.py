"""What ``reading.yml`` says of a data set, and that evaluation, training and metrics read the same pixels."""

import warnings
from dataclasses import replace

import cv2
import numpy as np
import pytest
from PIL import Image

from isegm.compare.mask_pairs import Pair
from isegm.compare.mask_reading import read_mask_pair
from isegm.config import Config
from isegm.datasets import open_dataset
from isegm.datasets.picture_pairs import find_folder
from isegm.errors import InputError, InputWarning
from isegm.masks import MaskReading
from isegm.reading import Reading, read_reading
from isegm.training.ct_appearance import WindowJitter
from isegm.training.picture_source import PictureSource
from isegm.volumes.windows import Window


def grid(*values, dtype=np.uint8):
    """A mask of 10 x 10 blocks, one a value."""
    return np.kron(np.array([values]), np.ones((10, 10))).astype(dtype)


@pytest.fixture
def folder(tmp_path):
    """folder(image, mask, reading=...) writes a data set of one picture."""

    def write(image, mask, reading="", suffix=".png"):
        for kind, pixels, name in (("images", image, "a.png"), ("masks", mask, f"a{suffix}")):
            (tmp_path / kind).mkdir(exist_ok=True)
            assert cv2.imwrite(str(tmp_path / kind / name), pixels)
        if reading:
            (tmp_path / "reading.yml").write_text(reading)
        return tmp_path

    return write


def sample_of(folder):
    return open_dataset("mine", Config(folder / "config.yml", {"MINE_PATH": folder}))[0]


def scene_of(folder, content="auto"):
    return PictureSource("f", find_folder(folder), content, WindowJitter(0, 1)).draw(np.random.default_rng(0))


@pytest.mark.parametrize(
    ("text", "reading"),
    [
        ("", Reading()),
        ("window: abdomen\noffset: -32768\n", Reading(window=Window(40, 350), offset=-32768)),
        ("window: -500,1400\n", Reading(window=Window(-500, 1400))),
        ("masks: labels\nignore: 255\n", Reading(MaskReading("labels", 255))),
        ("masks: binary\nignore: none\n", Reading(MaskReading("binary", "none"))),
    ],
)
def test_what_can_be_said(tmp_path, text, reading):
    path = tmp_path / "reading.yml"
    if text:
        path.write_text(text)
    assert read_reading(tmp_path) == replace(reading, path=path if text else None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("window", "must have lines key: value, with the keys window, offset, masks, ignore only"),
        ("windows: lung", "must have lines key: value, with the keys window, offset, masks, ignore only"),
        ("window: belly", "window 'belly': give lung"),
        ("offset: far", "offset must be a number, not 'far'"),
        ("offset: .nan", "offset must be a number, not nan"),
        ("masks: none", "masks must be labels or binary, not 'none'"),
        ("ignore: 0", "ignore must be a whole number from 1 on, or none, not 0"),
        ("ignore: [1]", "ignore must be a whole number"),
        ("ignore: yes", "ignore must be a whole number from 1 on, or none, not True"),
        ("offset: true", "offset must be a number, not True"),
        ("masks: [", "not YAML"),
        ("? {}", "not YAML"),
    ],
)
def test_what_cannot_be_used_is_named_in_one_line(tmp_path, text, message):
    (tmp_path / "reading.yml").write_text(text)
    with pytest.raises(InputError, match=rf"^{tmp_path}/reading\.yml: {message}[^\n]*$"):
        read_reading(tmp_path)


HU = np.array([[-1000, -135], [40, 215]])
GREYS = [[0, 0], [128, 255]]  # at level 40, width 350: 255 * (HU + 135) / 350


@pytest.mark.parametrize(
    ("stored", "offset"),
    [
        (HU + 32768, -32768),  # DeepLesion
        (HU + 1024, -1024),
        (HU + 1000, -1000),  # 12 bits in 16
    ],
)
def test_deep_pictures_are_windowed_alike_for_all(folder, stored, offset):
    mask = np.full((2, 2), 255, np.uint8)
    data = folder(stored.astype(np.uint16), mask)
    for read in (sample_of, scene_of):
        with pytest.raises(
            InputError, match=r"images/a\.png: a 16-bit picture .* give a window in reading.yml"
        ):
            read(data)
    folder(stored.astype(np.uint16), mask, f"window: abdomen\noffset: {offset}\n")
    np.testing.assert_array_equal(sample_of(data).image, np.dstack([GREYS] * 3))
    scene = scene_of(data)
    np.testing.assert_array_equal(scene.image, np.dstack([GREYS] * 3))
    assert scene_of(data).is_ct


def test_the_window_of_values_that_are_no_hu(folder):
    """12 bits of a microscope: from 0 to 4095, white at 4096."""
    data = folder(np.array([[0, 1024, 2048, 4095]], np.uint16), grid(255)[:1, :4], "window: 2048,4096\n")
    assert sample_of(data).image[0, :, 0].tolist() == [0, 64, 128, 255]


def test_pictures_of_8_bits_stay_as_they_are(folder):
    grey = np.array([[0, 40, 215, 255]], np.uint8)
    data = folder(grey, grid(255)[:1, :4], "window: abdomen\noffset: -1024\n")
    np.testing.assert_array_equal(sample_of(data).image[:, :, 0], grey)


SOFT = cv2.GaussianBlur(np.kron(np.eye(2), np.ones((20, 20))).astype(np.uint8) * 255, (0, 0), 2)
MASKS = {
    "0/255": (grid(0, 255, 0), "", grid(0, 1, 0)),
    "0/1": (grid(0, 1, 1), "", grid(0, 1, 1)),
    "0/1/255": (grid(0, 1, 255), "", grid(0, 1, 2)),
    "mostly ignored": (grid(0, 1, 255, 255, 255), "", grid(0, 1, 2, 2, 2)),
    "1/150": (grid(0, 1, 150), "", grid(0, 1, 1)),
    "labels": (grid(0, 3, 7), "", grid(0, 1, 1)),
    "soft": (SOFT, "", (SOFT > 127).astype(np.uint8)),
    "said to be binary": (grid(0, 1, 255), "masks: binary\n", grid(0, 0, 1)),
    "said to be labels": (grid(0, 1, 255), "masks: labels\nignore: none\n", grid(0, 1, 1)),
    "trimap": (grid(0, 128, 255), "masks: binary\nignore: 128\n", grid(0, 2, 1)),
    "16 bits": (grid(0, 1000, 1001, dtype=np.uint16), "", grid(0, 1, 1)),
}
"""Mask, what reading.yml says, and the pixels: 1 object, 2 ignored."""


@pytest.mark.parametrize("case", [*MASKS, "palette", "two bits", "jpeg"])
def test_evaluation_training_and_metrics_agree_on_every_pixel(folder, tmp_path, case):
    if case in MASKS:
        mask, reading, expected = MASKS[case]
        data = folder(np.zeros((*mask.shape, 3), np.uint8), mask, reading)
        path = data / "masks" / "a.png"
    elif case == "jpeg":
        mask = np.kron(grid(0, 255), np.ones((8, 8), np.uint8))
        data = folder(np.zeros((*mask.shape, 3), np.uint8), mask, suffix=".jpg")
        path, expected = data / "masks" / "a.jpg", (mask > 127).astype(np.uint8)
        levels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        expected = (levels > 127).astype(np.uint8)
    else:
        data = folder(np.zeros((10, 40, 3), np.uint8), grid(0))
        path = data / "masks" / "a.png"
        picture = Image.fromarray(grid(0, 1, 2, 255 if case == "palette" else 3), mode="P")
        picture.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0, 9, 9, 9, *range(1, 200)])
        picture.save(path, **({} if case == "palette" else {"bits": 2}))
        expected = grid(0, 1, 1, 2 if case == "palette" else 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InputWarning)
        truth = sample_of(data).truth
        labels = scene_of(data).labels
        everywhere = tmp_path / "prediction.png"
        assert cv2.imwrite(str(everywhere), np.full(expected.shape, 255, np.uint8))
        pair = read_mask_pair(Pair("a", path, everywhere), {})
    np.testing.assert_array_equal(truth == 1, expected == 1)
    np.testing.assert_array_equal(truth == -1, expected == 2)
    np.testing.assert_array_equal(labels > 0, expected == 1)
    np.testing.assert_array_equal(labels == -1, expected == 2)
    np.testing.assert_array_equal(pair.truth, expected == 1)
    np.testing.assert_array_equal(pair.prediction, expected != 2)  # what is ignored is left out


def turned(pixels, orientation):
    """The stored pixels which a viewer shows as ``pixels``, by Pillow's reckoning."""
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # Image.Transpose: 90 and 270 degrees change places
    picture = Image.fromarray(pixels)
    return picture if orientation == 1 else picture.transpose(undo[orientation])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_masks_fit_pictures_as_viewers_show_them(tmp_path, orientation):
    upright = np.arange(16 * 24, dtype=np.uint16).reshape(16, 24).astype(np.uint8)
    mask = np.zeros((16, 24), np.uint8)
    mask[:5, :9] = 255
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
    exif = Image.Exif()
    exif[0x0112] = orientation
    turned(upright, orientation).save(tmp_path / "images" / "a.png", exif=exif)
    Image.fromarray(mask).save(tmp_path / "masks" / "a.png")
    sample = sample_of(tmp_path)
    np.testing.assert_array_equal(sample.image[:, :, 0], upright)
    np.testing.assert_array_equal(sample.truth, mask // 255)
    scene = scene_of(tmp_path, "photo")
    np.testing.assert_array_equal(scene.image[:, :, 0], upright)
    np.testing.assert_array_equal(scene.labels, mask // 255)

    if orientation > 4:  # a mask that was drawn over the pixels as they are stored
        turned(mask, orientation).save(tmp_path / "masks" / "a.png")
        with pytest.raises(InputError) as caught:
            sample_of(tmp_path)
        assert str(caught.value) == (
            f"{tmp_path}/masks/a.png: has 24 rows and 16 columns, but {tmp_path}/images/a.png has 16 and 24 "
            "once turned by its EXIF orientation, as viewers do; they must be of one size"
        )
