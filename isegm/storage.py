"""Files that exist whole or not at all.

Everything the tools write goes through :func:`whole_file`: a reader, a second run or a crash never sees
half a file under its final name.
"""

import contextlib
import csv
import hashlib
import io
import secrets
import struct
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from isal import isal_zlib

from isegm.errors import InputError, InputWarning
from isegm.limits import MOST_PICTURE_BYTES, read_bytes

_PNG = b"\x89PNG\r\n\x1a\n"
_PICTURES = (_PNG, b"\xff\xd8", b"BM", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""How PNG, JPEG, BMP and TIFF files begin."""

TEMPORARY_PREFIX = ".tmp-"
"""What the names of files begin with that are being written."""


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; it becomes ``path`` when the block ends well.

    The temporary name keeps the suffixes of ``path``, because writers choose the format by them. On an
    exception the temporary file is removed and an existing ``path`` is left as it was.

    Args:
        path: The final name. Missing parent folders are made.

    Raises:
        OSError: The folder cannot be made or written to, or the disk is full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{TEMPORARY_PREFIX}{secrets.token_hex(4)}-{path.name}")
    try:
        yield temporary
        temporary.replace(path)
    except OSError as error:
        if error.filename is None and error.errno is not None:  # a write that fails does not say of which
            error.filename = str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path``, whole or not at all."""
    with whole_file(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, content: str) -> None:
    """Write ``content`` as UTF-8 to ``path``, whole or not at all."""
    write_bytes(path, content.encode("utf-8"))


def write_csv(path: Path, rows: Iterable[Iterable[object]]) -> None:
    """Write rows, the header first, as CSV to ``path``, whole or not at all; NaN becomes ``nan``."""
    content = io.StringIO(newline="")
    csv.writer(content, lineterminator="\n").writerows(rows)
    write_text(path, content.getvalue())


def warn_of_links(folder: Path, links: Sequence[Path]) -> None:
    """Warn of links that lead out of a data set: what is read is then not what lies in its folder.

    A whole folder may be a link: what counts is where its files lie. Links within the folder, and to a folder
    beside it (from ``masks`` to ``images``, say), are no matter.

    Args:
        folder: The listed folder.
        links: Those of its entries that are links.
    """
    if not links:
        return
    home = folder.resolve().parent
    out = [link for link in links if not link.resolve().is_relative_to(home)]
    if out:
        count = f"{len(out)} links lead" if len(out) > 1 else "a link leads"
        warnings.warn(
            InputWarning(
                f"{folder}: {count} out of the data set, {out[0].name!a} to {out[0].resolve()}; copy what "
                "you want to keep with it"
            ),
            stacklevel=2,
        )


def sha256(path: Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal.

    Raises:
        OSError: The file cannot be read.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


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


def read_image(path: Path) -> npt.NDArray[np.uint8]:
    """Read a picture as (H, W, 3) RGB uint8; grey ones are repeated to three channels.

    Raises:
        InputError: The file is missing, empty, or not a picture that can be decoded.
    """
    return np.asarray(cv2.cvtColor(_decode(path, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB), np.uint8)


def read_grey(path: Path) -> npt.NDArray[np.uint8]:
    """Read a picture as (H, W) uint8; colours become their luminance.

    Raises:
        InputError: The file is missing, empty, or not a picture that can be decoded.
    """
    return np.asarray(_decode(path, cv2.IMREAD_GRAYSCALE), np.uint8)


def read_unchanged(path: Path) -> npt.NDArray[Any]:
    """Read a picture with its own channels (RGB order) and depth: (H, W), (H, W, 3) or (H, W, 4).

    Palette pictures come as their colours.

    Raises:
        InputError: The file is missing, empty, or not a picture that can be decoded.
    """
    pixels = _decode(path, cv2.IMREAD_UNCHANGED)
    if pixels.ndim == 3 and pixels.dtype not in (np.uint8, np.uint16, np.float32):
        order = [2, 1, 0, 3][: pixels.shape[2]]
        return pixels[:, :, order]  # OpenCV reads colours of these depths, but cannot turn them round
    if pixels.ndim == 3 and pixels.shape[2] == 3:
        return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
    if pixels.ndim == 3 and pixels.shape[2] == 4:
        return cv2.cvtColor(pixels, cv2.COLOR_BGRA2RGBA)
    return pixels


def _decode(path: Path, flags: int) -> npt.NDArray[Any]:
    try:
        content = read_bytes(path, MOST_PICTURE_BYTES)
    except FileNotFoundError:
        raise InputError(f"{path}: no such picture; check the path") from None
    pixels = None
    # Only formats that pictures here come in: OpenCV's other readers are a stranger's to try.
    if content.startswith(_PICTURES) and _is_whole(content):
        try:
            encoded = np.frombuffer(content, np.uint8)
            # Unless told not to, OpenCV turns JPEGs by their EXIF tag; masks have none and would not match.
            pixels = cv2.imdecode(encoded, flags | cv2.IMREAD_IGNORE_ORIENTATION)
        except (cv2.error, MemoryError) as error:
            if "CV_IO_MAX_IMAGE" in str(error):
                raise InputError(
                    f"{path}: claims more pixels than are read; make it smaller, or set "
                    "OPENCV_IO_MAX_IMAGE_PIXELS"
                ) from None
            if isinstance(error, MemoryError) or error.code == cv2.Error.StsNoMem:
                raise InputError(f"{path}: not enough memory to read it; make it smaller") from None
    if pixels is None:
        raise InputError(f"{path}: not a readable picture; is it complete?")
    return pixels


def _is_whole(content: bytes) -> bool:
    """Tell whether a picture is as it was written, as far as its format can tell.

    OpenCV decodes some of a cut or damaged file and says so, if at all, on stderr past all of Python.
    """
    if content.startswith(_PNG):
        return _is_whole_png(content)
    # A JPEG without the end of its last scan, which OpenCV 4 decodes as grey below the cut.
    start_of_image, start_of_scan, end_of_image = b"\xff\xd8", b"\xff\xda", b"\xff\xd9"
    return not content.startswith(start_of_image) or (
        content.rfind(end_of_image) >= content.rfind(start_of_scan)
    )


def _is_whole_png(content: bytes) -> bool:
    """Tell whether all chunks are there up to the last, and the indispensable ones undamaged."""
    position = len(_PNG)
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
