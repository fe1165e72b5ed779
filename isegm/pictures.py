"""Reading and writing pictures: which files are decoded, which way up they are, and what depth they have.

Every tool reads pictures here, so that all see the same pixels:

- A picture is turned upright by its EXIF orientation, as viewers do.
- Grey values have 8 bits. A picture of another depth is given as it is stored, or refused: nobody can tell
  what its values mean.
- Grey PNGs of 1, 2 and 4 bits are spread over 0 to 255, and palettes become their colours.
- Transparency does not count.
- A TIFF of several pictures is refused: nobody can tell which of them is meant.
"""

import io
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from isal import isal_zlib
from PIL import Image
from PIL.ExifTags import Base as ExifTag

from isegm.errors import InputError
from isegm.limits import MOST_PICTURE_BYTES, MOST_PIXELS, check_bytes, read_bytes
from isegm.storage import write_bytes

JPEG_SUFFIXES = frozenset({".jpg", ".jpeg"})
PICTURE_SUFFIXES = JPEG_SUFFIXES | {".png", ".bmp", ".tif", ".tiff"}
"""What files of pictures are called, in lower case."""

PNG = b"\x89PNG\r\n\x1a\n"
"""How a PNG begins."""

_JPEG = b"\xff\xd8"
_TIFF = {b"II*\0": "<", b"MM\0*": ">", b"II+\0": "<", b"MM\0+": ">"}
"""How TIFFs begin, the last two large ones, and their byte order."""

_FORMATS = (PNG, _JPEG, b"BM", *_TIFF)
"""How PNG, JPEG, BMP and TIFF files begin."""

_OTHER_FORMATS = {
    "WebP": (b"RIFF", b"WEBP"),
    "GIF": (b"GIF8", b""),
    "HEIF": (b"", b"ftyp"),
    "JPEG 2000": (b"\0\0\0\x0cjP", b""),
}
"""What is often called .jpg or .png: how it begins, and what is in its first 12 bytes. AVIF is HEIF."""

_SUBFILE_TYPE = 254
"""A TIFF's first tag, if it has it: 2 is a page of many; other bits say what it is to another page."""

_TO_RGB = {3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGBA}
"""How OpenCV turns colours round, by the number of channels."""

_PILLOW_ERRORS = (
    OSError,
    ValueError,
    SyntaxError,
    struct.error,
    KeyError,
    TypeError,
    Image.DecompressionBombError,
)
"""What Pillow raises on malformed files."""

_TURNS: dict[int, Callable[[npt.NDArray[Any]], npt.NDArray[Any]]] = {
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: pixels[::-1].swapaxes(0, 1),
    7: lambda pixels: pixels[::-1, ::-1].swapaxes(0, 1),
    8: lambda pixels: pixels[:, ::-1].swapaxes(0, 1),
}
"""How stored pixels become upright ones, by EXIF orientation; all others are upright."""


def read_image(path: Path) -> npt.NDArray[np.uint8]:
    """Read a picture as (H, W, 3) RGB; grey ones are repeated to three channels.

    Raises:
        InputError: The file is missing, empty, not a picture that can be decoded, or not of 8 bits.
    """
    return _as_image(path, read_stored(path))


def read_values(path: Path) -> npt.NDArray[Any]:
    """Read a picture of any depth: one of 8 bits as :func:`read_image` does, a grey one as stored, (H, W).

    Raises:
        InputError: The file is missing, empty, or not a picture that can be decoded; its colours have more
            than 8 bits; or its values are NaN or infinite.
    """
    pixels = read_stored(path)
    if pixels.dtype == np.uint8 or pixels.ndim == 3:
        return _as_image(path, pixels)
    if not np.isfinite(pixels).all():
        raise InputError(f"{path}: holds NaN or infinite values; write it again without them")
    return pixels


def read_grey(path: Path) -> npt.NDArray[np.uint8]:
    """Read a picture as (H, W); colours become their luminance.

    Raises:
        InputError: The file is missing, empty, not a picture that can be decoded, or not of 8 bits.
    """
    pixels = read_stored(path)
    _check_depth(path, pixels)
    if pixels.ndim == 2:
        return pixels
    return np.asarray(cv2.cvtColor(np.ascontiguousarray(pixels[:, :, :3]), cv2.COLOR_RGB2GRAY), np.uint8)


def read_stored(path: Path) -> npt.NDArray[Any]:
    """Read a picture upright with its own channels (RGB order) and depth: (H, W), (H, W, 3) or (H, W, 4).

    Raises:
        InputError: The file is missing, empty, not a picture that can be decoded, or several of them.
    """
    content = _read_picture_bytes(path)
    pixels = _decode(path, content)
    if content[:4] in _TIFF and _has_second_page(content):
        raise InputError(f"{path}: holds several pictures; save the one that is meant as a file of its own")
    if pixels.ndim == 3 and pixels.dtype in (np.uint8, np.uint16, np.float32):
        pixels = cv2.cvtColor(pixels, _TO_RGB[pixels.shape[2]])
    elif pixels.ndim == 3:
        pixels = pixels[:, :, [2, 1, 0, 3][: pixels.shape[2]]]
    return np.ascontiguousarray(_turn(pixels, _orientation(content)))


def read_palette(path: Path) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]] | None:
    """Read the palette indexes of a PNG, upright, which decoding replaces by their colours.

    Returns:
        The indexes, (H, W), and the palette's colours, (n, 3) RGB; an index may be beyond them. None for any
        other picture.

    Raises:
        InputError: The file is missing, or a PNG with a palette that cannot be decoded or claims too many
            pixels.
    """
    head = _head(path)
    if not head.startswith(PNG) or head[25:] != b"\x03":
        return None
    content = _read_picture_bytes(path)
    width, height = (int.from_bytes(content[start : start + 4], "big") for start in (16, 20))
    if width * height > MOST_PIXELS:  # Pillow only warns
        raise InputError(
            f"{path}: claims {width} x {height} pixels, more than {MOST_PIXELS}; make it smaller"
        )
    try:
        with Image.open(io.BytesIO(content), formats=["PNG"]) as picture:
            colours = np.array(picture.getpalette("RGB") or [], np.uint8).reshape(-1, 3)
            indexes = np.asarray(picture, np.uint8)
    except _PILLOW_ERRORS:
        raise _unreadable(path, content) from None
    return np.ascontiguousarray(_turn(indexes, _orientation(content))), colours


def is_turned(path: Path) -> bool:
    """Whether a picture's EXIF orientation swaps its height and width."""
    return _orientation(_read_picture_bytes(path)) > 4


def is_jpeg(path: Path) -> bool:
    """Whether a file is a JPEG, whatever its name says."""
    return _head(path).startswith(_JPEG)


def grey_depth(path: Path) -> int:
    """The bits a pixel of a grey PNG, before decoding spreads them over 0 to 255; 8 for other pictures."""
    head = _head(path)
    return head[24] if head.startswith(PNG) and head[25:] == b"\0" and head[24] < 8 else 8


def write_image(path: Path, image: npt.NDArray[np.uint8]) -> None:
    """Write a picture, whole or not at all; the format follows the suffix (PNG is lossless).

    Args:
        path: Where to.
        image: (H, W) grey or (H, W, 3) RGB, uint8.

    Raises:
        InputError: The suffix is no picture format's, or the picture is empty, too large or not uint8.
    """
    try:
        pixels = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
        done, encoded = cv2.imencode(path.suffix, pixels)
    except cv2.error:
        done = False
    if not done or image.dtype != np.uint8:  # OpenCV would round other kinds to it
        raise InputError(f"{path}: OpenCV cannot write a {image.shape} {image.dtype} picture in this format")
    write_bytes(path, encoded.tobytes())


def depth_of(pixels: npt.NDArray[Any]) -> str:
    """A picture's depth in words: ``16-bit``, ``signed 16-bit``, ``32-bit float``."""
    bits = f"{8 * pixels.dtype.itemsize}-bit"
    return {"i": f"signed {bits}", "f": f"{bits} float"}.get(pixels.dtype.kind, bits)


def _as_image(path: Path, pixels: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    _check_depth(path, pixels)
    if pixels.ndim == 2:
        return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB), np.uint8)
    return np.ascontiguousarray(pixels[:, :, :3])


def _check_depth(path: Path, pixels: npt.NDArray[Any]) -> None:
    if pixels.dtype == np.uint8:
        return
    window = "give a window in reading.yml beside the pictures' folder (docs/datasets.md), or "
    raise InputError(
        f"{path}: a {depth_of(pixels)} picture with values from {pixels.min():g} to {pixels.max():g}, not of "
        f"8 bits; {window if pixels.ndim == 2 else ''}convert it to 8 bits"
    )


def _unreadable(path: Path, content: bytes) -> InputError:
    for name, (beginning, within) in _OTHER_FORMATS.items():
        if content.startswith(beginning) and within in content[4:12]:
            return InputError(f"{path}: not a readable picture but a {name} file; save it as PNG or JPEG")
    return InputError(f"{path}: not a readable picture; is it complete?")


def _head(path: Path) -> bytes:
    """The beginning of a picture, up to the depth and kind of a PNG."""
    try:
        check_bytes(path, MOST_PICTURE_BYTES)
        with path.open("rb") as file:
            return file.read(26)
    except FileNotFoundError:
        raise InputError(f"{path}: no such picture; check the path") from None


def _read_picture_bytes(path: Path) -> bytes:
    try:
        return read_bytes(path, MOST_PICTURE_BYTES)
    except FileNotFoundError:
        raise InputError(f"{path}: no such picture; check the path") from None


def _decode(path: Path, content: bytes) -> npt.NDArray[Any]:
    """The pixels of a file as OpenCV gives them, in BGR order; of these formats it turns TIFFs upright."""
    pixels = None
    # Only formats that pictures here come in: OpenCV's other readers are a stranger's to try.
    if content.startswith(_FORMATS) and _is_whole(content):
        try:
            encoded = np.frombuffer(content, np.uint8)
            pixels = cv2.imdecode(encoded, cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION)
        except (cv2.error, MemoryError) as error:
            if "CV_IO_MAX_IMAGE" in str(error):
                raise InputError(
                    f"{path}: claims more pixels than are read; make it smaller, or set "
                    "OPENCV_IO_MAX_IMAGE_PIXELS"
                ) from None
            if isinstance(error, MemoryError) or error.code == cv2.Error.StsNoMem:
                raise InputError(f"{path}: not enough memory to read it; make it smaller") from None
    if pixels is None or pixels.shape[2:] not in ((), (3,), (4,)):
        raise _unreadable(path, content)
    return pixels


def _has_second_page(content: bytes) -> bool:
    """Whether a TIFF's second directory is there, and not of the first page made smaller or its mask."""
    order, is_large = _TIFF[content[:4]], b"+" in content[2:4]
    start, pointer, number, entry, value = (8, "Q", "Q", 20, 12) if is_large else (4, "I", "H", 12, 8)
    try:
        (first,) = struct.unpack_from(order + pointer, content, start)
        (entries,) = struct.unpack_from(order + number, content, first)
        (second,) = struct.unpack_from(
            order + pointer, content, first + struct.calcsize(number) + entries * entry
        )
        place = second + struct.calcsize(number)
        (tag,) = struct.unpack_from(f"{order}H", content, place)
        (kind,) = struct.unpack_from(f"{order}I", content, place + value)
    except struct.error:  # cut off, or pointing elsewhere: the first page was decoded all the same
        return False
    return second > 0 and not (tag == _SUBFILE_TYPE and kind & ~2)


def _orientation(content: bytes) -> int:
    """The EXIF orientation by which a decoded JPEG or PNG must still be turned: 1 to 8."""
    mark = b"eXIf" if content.startswith(PNG) else b"Exif" if content.startswith(_JPEG) else b""
    if not mark or mark not in content:
        return 1
    try:
        with Image.open(io.BytesIO(content), formats=["PNG", "JPEG"]) as picture:
            orientation = picture.getexif().get(ExifTag.Orientation, 1)
    except _PILLOW_ERRORS:
        return 1  # what can be decoded is not refused for its metadata
    return orientation if orientation in _TURNS else 1


def _turn(pixels: npt.NDArray[Any], orientation: int) -> npt.NDArray[Any]:
    return _TURNS[orientation](pixels) if orientation in _TURNS else pixels


def _is_whole(content: bytes) -> bool:
    """Tell whether a picture is as it was written, as far as its format can tell.

    OpenCV decodes some of a cut or damaged file and says so, if at all, on stderr past all of Python.
    """
    if content.startswith(PNG):
        return _is_whole_png(content)
    return not content.startswith(_JPEG) or _is_whole_jpeg(content)


def _is_whole_jpeg(content: bytes) -> bool:
    """Tell whether there is an end behind the first scan: OpenCV 4 makes what is cut off grey.

    What follows the end (the film that a phone's camera appends, say) may be anything.
    """
    start_of_scan, end_of_image = b"\xff\xda", b"\xff\xd9"
    at = len(_JPEG)
    while content[at : at + 1] == b"\xff":  # from segment to segment: a thumbnail within one has scans, too
        if content[at : at + 2] == start_of_scan:
            return end_of_image in content[at:]
        at += (
            2 + int.from_bytes(content[at + 2 : at + 4], "big") if content[at + 1 : at + 2] != b"\xff" else 1
        )
    return content.rfind(end_of_image) >= content.rfind(start_of_scan)


def _is_whole_png(content: bytes) -> bool:
    """Tell whether all chunks are there up to the last, and the indispensable ones undamaged."""
    position = len(PNG)
    while position + 12 <= len(content):
        length, name = struct.unpack_from(">I4s", content, position)
        end = position + 8 + length
        if end + 4 > len(content):
            return False
        if name[:1].isupper():
            checksum = isal_zlib.crc32(memoryview(content)[position + 4 : end])
            if checksum != int.from_bytes(content[end : end + 4], "big"):
                return False
        if name == b"IEND":
            return True
        position = end + 4
    return False
