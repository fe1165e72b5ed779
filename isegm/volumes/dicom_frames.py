"""The frames of DICOM files as they are stored: uncompressed ones read, compressed ones decoded by pydicom.

What a compressed frame claims for itself is held against its file's header before a decoder sees it.
"""

import contextlib
import struct
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO, cast

import numpy as np
import numpy.typing as npt
from pydicom.encaps import encapsulate, get_frame
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID

from isegm.errors import InputError
from isegm.limits import MOST_BESIDE_VOXELS, MOST_DICOM_BYTES
from isegm.volumes.dicom_file import BIG_ENDIAN, DicomFile, open_content, reading

# By preference: GDCM's own decoders end the process on some damaged files.
_DECODERS = ("pydicom", "pylibjpeg", "pyjpegls", "pillow", "gdcm")
# Of a compressed frame, where its own header must be.
_FRAME_HEADER_BYTES = 1 << 16


def check_pixels(file: DicomFile) -> None:
    """Refuse a file whose pixels are not read, or that ends before them.

    Raises:
        InputError: It is in colour, of an unusual depth or scale, without pixel data, or cut off.
    """
    path, bits, stored, high = file.path, file.bits_allocated, file.bits_stored, file.high_bit
    if file.samples != 1 or not file.photometric.startswith("MONOCHROME"):
        raise InputError(
            f"{path}: in colours ({file.photometric or 'no photometric interpretation'}), not HU; give the "
            "series it was made of"
        )
    depths = (1, 8, 16) if file.is_segmentation else (8, 16, 32)
    if bits not in depths or not (1 <= stored <= high + 1 <= bits):
        raise InputError(
            f"{path}: claims values of {stored} bits up to bit {high} in {bits}, which are not read; "
            "make it again"
        )
    if file.has_table:
        raise InputError(
            f"{path}: its values become HU by a table (Modality LUT), which is not read; rescale it"
        )
    if not file.pixels_at:
        raise InputError(f"{path}: has no pixel data; is it cut off?")
    if file.pixel_bytes is not None:
        needed = -(-file.rows * file.columns * bits * file.frame_count // 8)
        if file.pixel_bytes < needed:
            raise InputError(
                f"{path}: cut off: has {file.pixel_bytes} of {needed} bytes of pixels; fetch it again"
            )
    elif path.stat().st_size > file.frame_count * _most_compressed(file) + MOST_BESIDE_VOXELS:
        raise InputError(
            f"{path}: holds more than its {file.frame_count} compressed frames need; make it again"
        )


def _most_compressed(file: DicomFile) -> int:
    """Bytes of a compressed frame at most: more than it has uncompressed, for what codecs put around it."""
    return file.rows * file.columns * file.bits_allocated // 4 + (1 << 16)


def read_frames(file: DicomFile, indices: Sequence[int]) -> Iterator[npt.NDArray[Any]]:
    """Read frames of a file as they are stored, (rows, columns) each, with unused bits as they come.

    Raises:
        InputError: The file is cut off or damaged, or no decoder can be had for it.
        OSError: The file cannot be read.
    """
    with contextlib.ExitStack() as stack:
        with reading(file.path):
            stream = stack.enter_context(open_content(file.path, MOST_DICOM_BYTES))
        for index in indices:
            with reading(file.path):  # not around the yield: it silences warnings everywhere
                values = (_native if file.pixel_bytes is not None else _decoded)(file, stream, index)
            yield values


def without_unused_bits(file: DicomFile, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Stored values without the bits that do not count: overlays were kept there, and rubbish is."""
    above = file.bits_allocated - 1 - file.high_bit
    unused = file.bits_allocated - file.bits_stored
    return (values << above) >> unused if unused else values


def _native(file: DicomFile, stream: BinaryIO, index: int) -> npt.NDArray[Any]:
    count = file.rows * file.columns
    if file.bits_allocated == 1:
        first = index * count  # in bits: frames need not begin at a byte
        stream.seek(file.pixels_at + first // 8)
        content = stream.read(-(-(first % 8 + count) // 8))
        bits = np.unpackbits(np.frombuffer(content, np.uint8), bitorder="little")
        return bits[first % 8 : first % 8 + count].reshape(file.rows, file.columns)
    order = ">" if file.syntax == BIG_ENDIAN else "<"
    dtype = np.dtype(f"{order}{'i' if file.is_signed else 'u'}{file.bits_allocated // 8}")
    stream.seek(file.pixels_at + index * count * dtype.itemsize)
    content = stream.read(count * dtype.itemsize)
    if len(content) < count * dtype.itemsize:
        raise InputError(f"{file.path}: cut off in frame {index + 1} of {file.frame_count}; fetch it again")
    return np.frombuffer(content, dtype).reshape(file.rows, file.columns).astype(dtype.newbyteorder("="))


def _decoded(file: DicomFile, stream: BinaryIO, index: int) -> npt.NDArray[Any]:
    stream.seek(file.pixels_at)
    content = get_frame(cast("Any", stream), index, number_of_frames=file.frame_count)
    if len(content) > _most_compressed(file):
        raise InputError(f"{file.path}: frame {index + 1} has {len(content)} bytes, too many; make it again")
    # One decoder fills up what is missing, another waits for it for ever.
    if content.startswith(b"\xff\xd8") and not content.rstrip(b"\0").endswith(b"\xff\xd9"):
        raise InputError(f"{file.path}: cut off in frame {index + 1} of {file.frame_count}; fetch it again")
    size = _size_in_codestream(content[:_FRAME_HEADER_BYTES])
    if size is not None and size != (file.rows, file.columns):
        raise InputError(
            f"{file.path}: frame {index + 1} is compressed as {size[1]} x {size[0]} pixels, but its header "
            f"has {file.columns} x {file.rows}; make it again"
        )
    decoder = get_decoder(UID(file.syntax))
    plugins = [
        plugin
        for plugin in _DECODERS
        if plugin in decoder.available_plugins and (plugin != "pillow" or file.bits_stored <= 8)
    ]
    if not plugins:
        name = UID(file.syntax).name
        raise InputError(f"{file.path}: {name}: no decoder for it; pip install '.[dicom]' brings them all")
    options: dict[str, Any] = {
        "rows": file.rows,
        "columns": file.columns,
        "number_of_frames": 1,
        "samples_per_pixel": 1,
        "photometric_interpretation": file.photometric,
        "pixel_representation": int(file.is_signed),
        "bits_allocated": file.bits_allocated,
        "bits_stored": file.bits_stored,
        "pixel_keyword": "PixelData",
        "transfer_syntax_uid": UID(file.syntax),
    }
    values, _ = decoder.as_array(
        encapsulate([content]), raw=True, index=0, decoding_plugin=plugins[0], **options
    )
    return values.reshape(file.rows, file.columns)


def _size_in_codestream(content: bytes) -> tuple[int, int] | None:
    """Rows and columns that a compressed frame itself claims: decoders take memory by them.

    None where it is of no kind that claims any (RLE).
    """
    if content[:4] == b"\xff\x4f\xff\x51" and len(content) >= 24:  # JPEG 2000
        right, bottom, left, top = struct.unpack_from(">4I", content, 8)
        return bottom - top, right - left
    if content[:2] != b"\xff\xd8":
        return None
    at = 2
    while at + 9 <= len(content) and content[at] == 0xFF:  # JPEG and JPEG-LS: from mark to mark
        mark = content[at + 1]
        if mark == 0xFF:
            at += 1
            continue
        if (0xC0 <= mark <= 0xCF and mark not in (0xC4, 0xC8, 0xCC)) or mark == 0xF7:
            rows, columns = struct.unpack_from(">2H", content, at + 5)
            return int(rows), int(columns)
        at += 2 + int.from_bytes(content[at + 2 : at + 4], "big")
    return 0, 0
