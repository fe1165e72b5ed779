"""Which pixels of a mask picture are object and which are ignored."""

import io
import warnings
import zlib

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from isegm.errors import InputError, InputWarning
from isegm.masks import MaskReading, read_labels, read_mask

LABELS, BINARY = MaskReading("labels"), MaskReading("binary")


def save(path, pixels):
    assert cv2.imwrite(str(path), pixels[..., ::-1] if pixels.ndim == 3 and pixels.shape[2] == 3 else pixels)
    return path


def save_jpeg(path, pixels):
    path.write_bytes(cv2.imencode(".jpg", pixels)[1].tobytes())
    return path


def row(*levels, dtype=np.uint8):
    return np.array([levels], dtype)


def grid(*values, dtype=np.uint8):
    """A mask of 10 x 10 blocks, one a value."""
    return np.kron(np.array([values]), np.ones((10, 10))).astype(dtype)


def blocks_of(labels):
    return labels[5, 5::10].tolist()


@pytest.fixture(autouse=True)
def _quiet():
    """What is ambiguous is said; only the tests about that look at it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InputWarning)
        yield


@pytest.mark.parametrize(
    ("mask", "expected"),
    [
        (grid(0, 255), [0, 1]),
        (grid(0, 1), [0, 1]),
        (grid(0, 128), [0, 1]),
        (grid(0, 150), [0, 1]),
        (grid(7, 7), [1, 1]),
        (grid(255, 255), [1, 1]),
        (grid(0, 0), [0, 0]),
        (grid(0, 3, 0, 9, 3), [0, 1, 0, 2, 1]),
        (grid(0, 1, 2, 127), [0, 1, 2, 3]),
        (grid(0, 1, 150), [0, 1, 2]),
        (grid(1, 150), [1, 2]),
        (grid(0, 1, 255), [0, 1, -1]),
        (grid(0, 1, 255, 255, 255), [0, 1, -1, -1, -1]),  # however much is ignored
        (grid(0, 1, 2, 255), [0, 1, 2, -1]),
        (grid(0, 63, 150, 255), [0, 1, 2, -1]),
        (grid(0, 1000, 1001, 255, dtype=np.uint16), [0, 2, 3, 1]),
        (grid(0, 65535, dtype=np.uint16), [0, 1]),
        (grid(0, 1, 65535, dtype=np.uint16), [0, 1, 2]),
    ],
    ids=lambda value: str(value if isinstance(value, list) else np.unique(value)),
)
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_values_that_fill_areas_are_objects(tmp_path, mask, expected, suffix):
    path = save(tmp_path / f"m{suffix}", mask)
    labels = read_labels(path)
    assert blocks_of(labels) == expected
    assert (labels.dtype, labels.shape) == (np.int32, mask.shape)
    truth = read_mask(path)
    assert blocks_of(truth) == np.clip(expected, -1, 1).tolist()
    assert (truth.dtype, truth.shape) == (np.int8, mask.shape)


@pytest.mark.parametrize(
    ("pixels", "objects"),
    [
        (row(0, 127, 128, 255), [0, 0, 1, 1]),
        (row(0, 1, 2, 255), [0, 0, 0, 1]),
        (row(0, 1, 1, 0), [0, 1, 1, 0]),
        (row(0, 1, 2, 127), [0, 1, 1, 1]),
        (row(0, 127, 128, 255, dtype=np.uint16), [0, 0, 1, 1]),
        (row(0, 32767, 32768, 65535, dtype=np.uint16), [0, 0, 1, 1]),
    ],
    ids=str,
)
def test_values_that_change_from_pixel_to_pixel_are_the_edges_of_one_object(tmp_path, pixels, objects):
    assert read_mask(save(tmp_path / "a.png", pixels)).tolist() == [objects]


@pytest.mark.parametrize("mask", [grid(0, 128, 255), grid(0, 85, 170, 255), grid(0, 150, 255)])
def test_a_scale_of_greys_up_to_255_is_refused_in_one_line(tmp_path, mask):
    """A trimap, labels made for the eye, or a label with pixels that are ignored: nobody can tell."""
    path = save(tmp_path / "a.png", mask)
    values = ", ".join(str(value) for value in np.unique(mask))
    with pytest.raises(InputError) as caught:
        read_labels(path)
    assert str(caught.value) == (
        f"{path}: has the values {values}; write into reading.yml beside its folder whether 255 is ignored "
        "(ignore: 255) or an object (ignore: none), or, of a trimap, masks: binary and the ignored value "
        "(ignore: 128)"
    )
    last = len(np.unique(mask)) - 1
    assert blocks_of(read_labels(path, MaskReading(ignored="none")))[-1] == last
    assert blocks_of(read_labels(path, MaskReading(ignored=255)))[-1] == -1
    assert blocks_of(read_labels(path, MaskReading("labels")))[-1] == -1


@pytest.mark.parametrize("how", ["blur", "smaller", "larger", "jpeg"])
def test_soft_edges_and_noise_of_compression_make_no_objects(tmp_path, how):
    hard = np.zeros((120, 160), np.uint8)
    cv2.circle(hard, (70, 60), 40, 255, -1)
    cv2.circle(hard, (130, 20), 3, 255, -1)
    soft = {
        "blur": lambda: cv2.GaussianBlur(hard, (0, 0), 2),
        "smaller": lambda: cv2.resize(hard, None, fx=0.7, fy=0.7, interpolation=cv2.INTER_AREA),
        "larger": lambda: cv2.resize(hard, None, fx=3, fy=3, interpolation=cv2.INTER_CUBIC),
        "jpeg": lambda: cv2.imdecode(cv2.imencode(".jpg", hard)[1], cv2.IMREAD_GRAYSCALE),
    }[how]()
    assert len(np.unique(soft)) > 8
    labels = read_labels(save(tmp_path / "a.png", soft))
    np.testing.assert_array_equal(labels, soft > 127)
    colours = Image.fromarray(np.dstack([soft, soft // 2, soft // 4]))
    colours.save(tmp_path / "c.png")
    np.testing.assert_array_equal(read_labels(tmp_path / "c.png"), soft > 127)
    colours.quantize(200).save(tmp_path / "p.png")
    share = (read_labels(tmp_path / "p.png") != (soft > 127)).mean()
    assert share < 0.01


def test_what_is_ambiguous_is_said_once_a_folder(tmp_path):
    cases = [
        (grid(0, 1, 255), "a label map, every value but 0 an object, 255 ignored", "binary"),
        (grid(0, 1, 150), "a label map, every value but 0 an object", "binary"),
        (row(0, 60, 200, 255), "one object with soft edges, above 127", "labels"),
    ]
    for number, (mask, what, other) in enumerate(cases):
        folder = tmp_path / str(number)
        folder.mkdir()
        paths = [save(folder / f"{name}.png", mask) for name in "ab"]
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for path in paths:
                read_labels(path)
                read_mask(path)
        assert [str(each.message) for each in caught] == [
            f"{paths[0]}: has values on both sides of 127 and is read as {what}, as are others like it; if "
            f"that is wrong, write masks: {other} in reading.yml beside their folder"
        ]


@pytest.mark.parametrize(
    "mask", [grid(0, 255), grid(0, 1, 2), grid(0, 7), grid(0, 300, 301, dtype=np.uint16)]
)
def test_what_is_clear_is_not_said(tmp_path, mask):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_labels(save(tmp_path / "a.png", mask))
        for reading in (LABELS, BINARY):
            read_labels(save(tmp_path / "a.png", grid(0, 1, 255)), reading)


@pytest.mark.parametrize(
    ("mask", "reading", "expected"),
    [
        (grid(0, 1, 255), BINARY, [0, 0, 1]),
        (grid(0, 1, 2), BINARY, [0, 1, 1]),
        (grid(0, 1, 128, 200), MaskReading("binary", 128), [0, 0, -1, 1]),  # a trimap
        (row(*[0] * 10, *[60] * 10, *[255] * 10), LABELS, None),
        (grid(0, 1, 255), MaskReading(ignored="none"), [0, 1, 2]),
        (grid(0, 1, 255), MaskReading(ignored=1), [0, -1, 2]),
        (grid(0, 255), MaskReading(ignored=255), [0, -1]),
        (grid(0, 9, 300, dtype=np.uint16), MaskReading(ignored=9), [0, -1, 2]),
    ],
)
def test_what_is_known_better_goes_first(tmp_path, mask, reading, expected):
    labels = read_labels(save(tmp_path / "a.png", mask), reading)
    if expected is None:
        assert labels[0, [0, 10, 20]].tolist() == [0, 1, -1]
    else:
        assert blocks_of(labels) == expected


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_grey_pngs_of_few_bits_have_the_values_that_were_written(tmp_path, bits):
    """OpenCV and Pillow spread them over 0 to 255: 1 of 2 bits becomes 85, and 3 becomes 255."""
    values = grid(*range(2**bits))
    write_grey_png(tmp_path / "a.png", values, bits)
    assert cv2.imread(str(tmp_path / "a.png"), cv2.IMREAD_UNCHANGED).max() == 255
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(read_labels(tmp_path / "a.png"), values)
    assert blocks_of(read_labels(tmp_path / "a.png", MaskReading(ignored=1))) == [0, -1, *range(2, 2**bits)]


def write_grey_png(path, values, bits):
    """Write a grey PNG of 1, 2 or 4 bits a pixel."""
    encoded = io.BytesIO()
    picture = Image.fromarray(values, mode="P")
    picture.putpalette(bytes(3 * 2**bits))
    picture.save(encoded, "PNG", bits=bits)
    content = bytearray(encoded.getvalue())
    content[25] = 0  # from palette indexes to grey
    start = content.index(b"PLTE") - 4
    length = int.from_bytes(content[start : start + 4], "big")
    del content[start : start + 12 + length]
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    path.write_bytes(content)


@pytest.mark.parametrize("name", ["a.jpg", "a.JPG", "a.jpeg", "a.png"])  # its content counts
def test_of_a_jpeg_only_what_is_above_127_is_object(tmp_path, name):
    pixels = np.full((16, 48), 100, np.uint8)
    pixels[:, :16] = 3
    pixels[:, 32:] = 90
    assert not read_mask(save_jpeg(tmp_path / name, pixels)).any()
    pixels[:, 32:] = 255
    for reading in (MaskReading(), LABELS, BINARY):
        labels = read_labels(save_jpeg(tmp_path / name, pixels), reading)
        assert (labels[:, 40:] == 1).all()
        assert not labels[:, :24].any()


def test_colours_are_objects(tmp_path):
    colours = np.zeros((10, 40, 3), np.uint8)
    colours[:, 10:20], colours[:, 20:30], colours[:, 30:] = (255, 0, 0), (0, 255, 0), (0, 0, 1)
    assert blocks_of(read_labels(save(tmp_path / "c.png", colours))) == [0, 3, 2, 1]
    assert blocks_of(read_mask(tmp_path / "c.png")) == [0, 1, 1, 1]
    grey = np.repeat(grid(0, 1, 2, 255)[..., None], 3, axis=2)
    assert blocks_of(read_labels(save(tmp_path / "g.png", grey))) == [0, 1, 2, -1]


def save_palette(path, indexes, colours):
    picture = Image.fromarray(indexes)
    picture.putpalette([channel for colour in colours for channel in colour])
    picture.save(path)
    return path


def test_palette_indexes_are_objects(tmp_path):
    colours = (
        [(0, 0, 0), (128, 0, 0), (0, 128, 0)] + [(9, 9, i % 256) for i in range(3, 255)] + [(224, 224, 192)]
    )
    path = save_palette(tmp_path / "p.png", grid(0, 1, 2, 255), colours)
    assert blocks_of(read_labels(path)) == [0, 1, 2, -1]
    assert blocks_of(read_mask(path)) == [0, 1, 1, -1]
    assert blocks_of(read_labels(path, MaskReading(ignored=2))) == [0, 1, -1, 3]
    # Wherever black is in the palette, it is the background.
    path = save_palette(tmp_path / "q.png", grid(0, 1, 2), [(255, 255, 255), (0, 0, 0), (255, 0, 0)])
    assert blocks_of(read_labels(path)) == [2, 0, 1]


def test_alpha_does_not_count(tmp_path):
    pixels = np.array([[[0, 0, 0, 255], [255, 255, 255, 255], [0, 0, 0, 0], [255, 255, 255, 0]]], np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert read_mask(tmp_path / "a.png").tolist() == [[0, 1, 0, 1]]
    grey = Image.fromarray(pixels[..., [0, 3]])
    assert grey.mode == "LA"
    grey.save(tmp_path / "b.png")
    assert read_mask(tmp_path / "b.png").tolist() == [[0, 1, 0, 1]]


@pytest.mark.parametrize(
    ("dtype", "depth"),
    [(np.float32, "32-bit float"), (np.int16, "signed 16-bit"), (np.int32, "signed 32-bit")],
)
def test_other_depths_are_refused_in_one_line(tmp_path, dtype, depth):
    tifffile.imwrite(tmp_path / "a.tif", np.ones((2, 2), dtype))
    with pytest.raises(InputError) as caught:
        read_mask(tmp_path / "a.tif")
    assert str(caught.value) == f"{tmp_path}/a.tif: a mask must be an 8- or 16-bit picture, not {depth}"


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"none\.png: no such picture; check the path"):
        read_mask(tmp_path / "none.png")
