"""DICOM files, one by one: what their headers say.

pydicom parses the headers. What a header claims is held against the limits and
the file's length before memory is taken by it, and what it says is checked here, once: behind
:func:`read_file` everything is a number of the right kind, or the file was refused by name.
"""

import io
import logging
import math
import struct
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import numpy.typing as npt

from isegm.errors import InputError, is_out_of_memory, naming
from isegm.limits import MOST_BESIDE_VOXELS, MOST_DICOM_BYTES, MOST_PIXELS, MOST_VOXELS, check_bytes
from isegm.volumes.files import SEGMENTATION_CLASSES, is_dicom

try:
    import pydicom
    from pydicom import config
    from pydicom.dataset import Dataset
    from pydicom.uid import UID
except ImportError as missing:
    raise InputError(
        f"{missing.name or 'pydicom'} is not installed, which DICOM needs; pip install '.[dicom]' brings it"
    ) from None

_MOST_INFLATED = 2 * MOST_PIXELS + MOST_BESIDE_VOXELS
_MOST_META_BYTES = 1 << 16
_DEFLATED = b"1.2.840.10008.1.2.1.99"
_EXPLICIT = b"1.2.840.10008.1.2.1\0\0\0"
_IMPLICIT, BIG_ENDIAN = "1.2.840.10008.1.2", "1.2.840.10008.1.2.2"
_DIRECTORY_CLASS = "1.2.840.10008.1.3.10"
_PIXEL_DATA = 0x7FE00010
_KEYWORDS = (
    "SpecificCharacterSet",
    "ImageType",
    "SOPClassUID",
    "SOPInstanceUID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "Modality",
    "SeriesDescription",
    "SeriesNumber",
    "AcquisitionNumber",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "PixelPaddingValue",
    "PixelPaddingRangeLimit",
    "RescaleIntercept",
    "RescaleSlope",
    "ModalityLUTSequence",
    "Units",
    "SegmentSequence",
    "SegmentationType",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Frame:
    """A picture in a DICOM file, and where it lies.

    Attributes:
        file: The file.
        index: Its place in the file, from 0.
        position: (3,) the centre of its first pixel in the patient's left-posterior-superior mm.
        directions: (2, 3) unit vectors, along which columns and rows are counted.
        spacing: mm between rows, and between columns.
        slope: HU, or whatever the series holds, a stored unit.
        inter: The same of a stored 0.
        segment: Of a segmentation, the number of the segment; else 0.
    """

    file: "DicomFile"
    index: int
    position: npt.NDArray[np.float64]
    directions: npt.NDArray[np.float64]
    spacing: tuple[float, float]
    slope: float
    inter: float
    segment: int = 0

    @property
    def path(self) -> Path:
        """The file's path."""
        return self.file.path


@dataclass(frozen=True, kw_only=True, eq=False)
class DicomFile:
    """What the header of a DICOM file says.

    Attributes:
        path: The file.
        study: UID of the study.
        series: UID of the series.
        instance: UID of the file's content; its path where it has none.
        sop_class: UID of the kind of content.
        modality: ``CT``, say.
        number: The series' number; None where it has none.
        description: The series' description.
        acquisition: The acquisition's number; None where it has none.
        is_localizer: Whether it says that it is one.
        units: What its values are in, where it says so: ``BQML``, say.
        rows: Of a frame.
        columns: Of a frame.
        frame_count: Frames that the header claims.
        bits_allocated: Bits a stored value takes: 1 (of segmentations), 8, 16 or 32.
        bits_stored: How many of them count.
        high_bit: The highest of these.
        is_signed: Whether stored values are signed.
        samples: Values a pixel.
        has_table: Whether stored values become HU by a table rather than slope and intercept.
        photometric: The photometric interpretation.
        padding: The stored values, lowest and highest, that stand for no value.
        syntax: UID of the transfer syntax.
        pixels_at: Where the value of the pixel data begins in the file, or in what is inflated of it.
        pixel_bytes: How many bytes it has; None of compressed frames, which end by a mark.
        frames: The frames with their places; none where the file does not say where they lie.
        header: The header, without pixel data.
    """

    path: Path
    study: str
    series: str
    instance: str
    sop_class: str
    modality: str
    number: int | None
    description: str
    acquisition: int | None
    is_localizer: bool
    units: str
    rows: int
    columns: int
    frame_count: int
    bits_allocated: int
    bits_stored: int
    high_bit: int
    is_signed: bool
    samples: int
    has_table: bool
    photometric: str
    padding: tuple[int, int] | None
    syntax: str
    pixels_at: int
    pixel_bytes: int | None
    header: Dataset

    @property
    def is_segmentation(self) -> bool:
        """Whether it is a DICOM SEG."""
        return self.sop_class in SEGMENTATION_CLASSES

    @cached_property
    def frames(self) -> tuple[Frame, ...]:
        """The frames that say where they lie, in the file's order.

        Raises:
            InputError: What it says of them makes no sense.
        """
        with reading(self.path):
            return tuple(_frames(self))


def read_file(path: Path) -> DicomFile | None:
    """Read a DICOM file's header; None of what holds no pictures.

    That is a report, a plan, a DICOMDIR, or no DICOM at all.

    Raises:
        InputError: It is a DICOM file, but damaged, without pixel data, or of values that are not read.
        OSError: The file cannot be read.
    """
    if not is_dicom(path):
        return None
    check_bytes(path, MOST_DICOM_BYTES)
    with reading(path), open_content(path, MOST_BESIDE_VOXELS) as file:
        file.seek(128)
        has_preamble = file.read(4) == b"DICM"
        file.seek(0)
        header = pydicom.dcmread(file, stop_before_pixels=True, force=True, specific_tags=list(_KEYWORDS))
        meta = header.file_meta
        sop_class = str(header.get("SOPClassUID") or meta.get("MediaStorageSOPClassUID") or "")
        if sop_class == _DIRECTORY_CLASS or not (has_preamble or sop_class):
            return None
        if "Rows" not in header and "Columns" not in header:
            # pydicom is content with a header that ends anywhere.
            if not header or "ImageType" in header or UID(sop_class).name.endswith("Image Storage"):
                raise InputError(f"{path}: cut off in its header; fetch it again")
            return None
        return _file(path, header, sop_class, file)


def _file(path: Path, header: Dataset, sop_class: str, file: BinaryIO) -> DicomFile:
    bits = _integer(header, "BitsAllocated", 0)
    frame_count = _integer(header, "NumberOfFrames", 1)
    rows, columns = (_integer(header, side, 0) for side in ("Rows", "Columns"))
    if rows < 1 or columns < 1 or frame_count < 1:
        raise InputError(f"{path}: claims {frame_count} frames of {columns} x {rows} pixels; make it again")
    if rows * columns > MOST_PIXELS or rows * columns * frame_count > MOST_VOXELS:
        raise InputError(
            f"{path}: claims {frame_count} x {columns} x {rows} voxels, more than the {MOST_VOXELS} (and "
            f"{MOST_PIXELS} in a slice) that are read; crop it, or correct its header"
        )
    is_signed = bool(_integer(header, "PixelRepresentation", 0))
    image_type = header.get("ImageType")
    words = [image_type] if isinstance(image_type, str) else list(image_type or ())
    meta = header.file_meta
    syntax = str(meta.get("TransferSyntaxUID") or "")
    if not syntax:
        is_implicit, is_little = header.original_encoding
        syntax = _IMPLICIT if is_implicit else "1.2.840.10008.1.2.1" if is_little else BIG_ENDIAN
    pixels_at, pixel_bytes = _pixels(file, syntax)
    number, acquisition = (
        _integer(header, keyword, 0) if header.get(keyword) not in (None, "") else None
        for keyword in ("SeriesNumber", "AcquisitionNumber")
    )
    stored = _integer(header, "BitsStored", bits)
    return DicomFile(
        path=path,
        study=str(header.get("StudyInstanceUID") or ""),
        series=str(header.get("SeriesInstanceUID") or ""),
        instance=str(header.get("SOPInstanceUID") or meta.get("MediaStorageSOPInstanceUID") or path),
        sop_class=sop_class,
        modality=str(header.get("Modality") or "").strip().upper(),
        number=number,
        description=" ".join(str(header.get("SeriesDescription") or "").split()),
        acquisition=acquisition,
        is_localizer=any("LOCALIZER" in str(word).upper() for word in words),
        units=str(header.get("Units") or "").strip().upper(),
        rows=rows,
        columns=columns,
        frame_count=frame_count,
        bits_allocated=bits,
        bits_stored=stored,
        high_bit=_integer(header, "HighBit", stored - 1),
        is_signed=is_signed,
        samples=_integer(header, "SamplesPerPixel", 1),
        has_table=bool(header.get("ModalityLUTSequence")),
        photometric=str(header.get("PhotometricInterpretation") or "").strip().upper(),
        padding=_padding(header, is_signed, bits),
        syntax=syntax,
        pixels_at=pixels_at,
        pixel_bytes=pixel_bytes,
        header=Dataset(header),  # without the file that it was read from
    )


def _padding(header: Dataset, is_signed: bool, bits: int) -> tuple[int, int] | None:
    """The range of stored values that stand for none."""
    if header.get("PixelPaddingValue") is None:
        return None
    first = _integer(header, "PixelPaddingValue", 0)
    last = _integer(header, "PixelPaddingRangeLimit", first)

    def as_stored(value: int) -> int:  # many write it with the other sign's type
        if is_signed and value >= 1 << (bits - 1):
            return value - (1 << bits)
        return value + (1 << bits) if not is_signed and value < 0 else value

    low, high = sorted((as_stored(first), as_stored(last)))
    return low, high


def _pixels(file: BinaryIO, syntax: str) -> tuple[int, int | None]:
    """Where the value of the pixel data begins, from where pydicom stopped, and its length.

    0 where there is none; a length of None where it is compressed.
    """
    is_big = syntax == BIG_ENDIAN
    at = file.tell()
    head = file.read(12)
    if len(head) < 8:
        return 0, 0
    group, element = struct.unpack_from(">2H" if is_big else "<2H", head)
    if (group << 16) + element != _PIXEL_DATA:
        return 0, 0
    if head[4:6].isalpha() and len(head) == 12:
        length, start = struct.unpack_from(">I" if is_big else "<I", head, 8)[0], at + 12
    else:
        length, start = struct.unpack_from("<I", head, 4)[0], at + 8
    if length == 0xFFFFFFFF:
        return start, None
    return start, min(length, _size(file) - start)


def _frames(file: DicomFile) -> Iterator[Frame]:
    header = file.header
    shared = _item(header, "SharedFunctionalGroupsSequence")
    each = header.get("PerFrameFunctionalGroupsSequence") or ()
    if len(each) not in (0, file.frame_count):
        raise InputError(
            f"{file.path}: describes {len(each)} of its {file.frame_count} frames; make it again"
        )
    if not each and file.frame_count > 1:
        return  # frames one after another in time, or pictures of anything
    for index in range(file.frame_count):
        groups = (each[index], shared, header) if each else (header,)

        def find(sequence: str, keyword: str, groups: Sequence[Any] = groups) -> Any:  # noqa: ANN401 - as stored
            for group in groups:
                place = group if group is header else _item(group, sequence)
                if place is not None and place.get(keyword) not in (None, ""):
                    return place[keyword].value
            return None

        position = _vector(find("PlanePositionSequence", "ImagePositionPatient"), 3)
        directions = _vector(find("PlaneOrientationSequence", "ImageOrientationPatient"), 6)
        spacing = _vector(find("PixelMeasuresSequence", "PixelSpacing"), 2)
        if position is None or directions is None or spacing is None:
            return
        slope = find("PixelValueTransformationSequence", "RescaleSlope")
        inter = find("PixelValueTransformationSequence", "RescaleIntercept")
        scale = _vector([1 if slope is None else slope, 0 if inter is None else inter], 2)
        if scale is None or not scale[0]:
            raise InputError(
                f"{file.path}: RescaleSlope {slope} and RescaleIntercept {inter} are no scale; correct its "
                "header"
            )
        axes = directions.reshape(2, 3)
        lengths = np.linalg.norm(axes, axis=1)
        if np.abs(lengths - 1).max() > 0.01 or abs(axes[0] @ axes[1]) > 0.01 or min(spacing) <= 0:
            raise InputError(
                f"{file.path}: ImageOrientationPatient {directions.tolist()} and PixelSpacing "
                f"{spacing.tolist()} are no picture's; correct its header"
            )
        segment = find("SegmentIdentificationSequence", "ReferencedSegmentNumber")
        yield Frame(
            file=file,
            index=index,
            position=position,
            directions=axes / lengths[:, None],
            spacing=(float(spacing[0]), float(spacing[1])),
            slope=float(scale[0]),
            inter=float(scale[1]),
            segment=int(segment or 0),
        )


def _item(dataset: Dataset | None, keyword: str) -> Dataset | None:
    """The first item of a sequence; None where there is none."""
    sequence = None if dataset is None else dataset.get(keyword)
    return sequence[0] if sequence else None


def _vector(value: Any, length: int) -> npt.NDArray[np.float64] | None:  # noqa: ANN401 - as stored
    """Some finite numbers; None where a header has none, or others."""
    try:
        numbers = np.array([float(number) for number in value], np.float64)
    except (TypeError, ValueError):
        return None
    return numbers if len(numbers) == length and np.isfinite(numbers).all() else None


def _integer(dataset: Dataset, keyword: str, default: int) -> int:
    value = dataset.get(keyword)
    if value is None or value == "":
        return default
    number = float(value)
    if not math.isfinite(number) or number != int(number):
        raise ValueError(f"{keyword} {value}")
    return int(number)


@contextmanager
def open_content(path: Path, most: int) -> Iterator[BinaryIO]:
    """A file's content, of which ``most`` bytes are read; a deflated one inflated as far as limits allow."""
    with path.open("rb") as file:
        head = file.read(144)
        if head[128:136] == b"DICM\2\0\0\0":
            head += file.read(min(int.from_bytes(head[140:], "little"), _MOST_META_BYTES))
            if _DEFLATED in head:
                inflater = zlib.decompressobj(-zlib.MAX_WBITS)
                content = inflater.decompress(file.read(_MOST_INFLATED), _MOST_INFLATED)
                if inflater.unconsumed_tail:
                    raise InputError(
                        f"{path}: inflates to more than {_MOST_INFLATED} bytes; is it the right one?"
                    )
                inflated = io.BytesIO(head.replace(_DEFLATED, _EXPLICIT) + content)
                yield cast("BinaryIO", _BoundedFile(inflated, most))
                return
        file.seek(0)
        yield cast("BinaryIO", _BoundedFile(file, most))


def _size(file: BinaryIO) -> int:
    here = file.tell()
    size = file.seek(0, io.SEEK_END)
    file.seek(here)
    return size


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Keep pydicom from printing, and turn whatever it raises of a file into a line with the file's name.

    Raises:
        InputError: The file makes no sense.
    """
    logger = logging.getLogger("pydicom")
    was_disabled, logger.disabled = logger.disabled, True
    try:
        with naming(path), warnings.catch_warnings(), config.disable_value_validation():
            warnings.simplefilter("ignore")
            yield
    except InputError:
        raise
    except Exception as error:  # pydicom and its decoders raise whatever a damaged file leads them to
        if is_out_of_memory(error) or (isinstance(error, OSError) and error.errno):
            raise  # of the operating system
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{path}: not readable as DICOM ({reason:.200}); fetch or make it again") from None
    finally:
        logger.disabled = was_disabled


class _BoundedFile:
    """A file that takes no more memory than it has bytes, whatever length it is asked for.

    Args:
        file: The file.
        most: Bytes that may be read of it altogether; what is passed over does not count.
    """

    def __init__(self, file: BinaryIO, most: int) -> None:
        self._file = file
        self._size = _size(file)
        self._left = most

    def read(self, size: int = -1) -> bytes:
        behind = max(0, self._size - self._file.tell())
        size = behind if size < 0 else min(size, behind)
        self._left -= size
        if self._left < 0:
            raise ValueError("it claims more than a header can hold")
        return self._file.read(size)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()
