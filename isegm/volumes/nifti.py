"""NIfTI files as volumes, and volumes as NIfTI files.

NIfTI's array is in Fortran order: the slices along its last axis lie one after another in the file. So a file
is read as slabs of such slices, whether compressed or not; a compressed file is decompressed once, and its
checksum verified. nibabel reads the headers, but only once what they claim has been held against the limits:
it would read extensions of any length. isal decompresses, some three times as fast as Python's own gzip.
"""

import contextlib
import io
import math
import struct
import warnings
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import numpy.typing as npt
from isal import igzip
from nibabel.filebasedimages import ImageFileError
from nibabel.imageglobals import logger
from nibabel.nifti1 import Nifti1Header, Nifti1PairHeader
from nibabel.nifti2 import Nifti2Header, Nifti2PairHeader
from nibabel.spatialimages import HeaderDataError, HeaderTypeError
from nibabel.wrapstruct import WrapStructError

from isegm.errors import FileWarning, InputError, naming
from isegm.limits import MOST_BESIDE_VOXELS, MOST_PIXELS, MOST_VOXELS, check_bytes
from isegm.storage import whole_file
from isegm.volumes.gzip_reader import GZIP_ERRORS, GZIP_MAGIC, GzipReader
from isegm.volumes.volume import Volume, Voxels, is_sheared

# What is decompressed is worked on while it is still in the processor's cache.
_SLAB_BYTES = 1 << 19
# A deflate stream cannot grow more than this on decompression.
_DEFLATE_RATIO = 1032
# Of isal's levels 0 to 3 the one that makes windowed CT smallest; level 3 is no smaller and slower.
_COMPRESSION = 2
_MOST_EXTENSIONS = 1000
_MOST_FILE_BYTES = 2**40
# By NIfTI's code for the unit of space. Files that state none, or nonsense, mean millimetres.
_MM_PER_UNIT = {1: 1000.0, 2: 1.0, 3: 0.001}
# Dense CIFTI-2 is NIfTI-2 by its magic, but has no voxels.
_CIFTI_INTENTS = range(3000, 3100)
# Apart by more than this share, the header's two spacings contradict each other.
_SPACING_TOLERANCE = 0.01


@dataclass(frozen=True, kw_only=True, eq=False)
class NiftiVolume(Volume):
    """A volume in a NIfTI file, or in a pair of them.

    Attributes:
        data_path: The file that holds the voxels; another than ``path`` for a pair.
        data_offset: Bytes before the first voxel in it, after decompression.
        header: nibabel's ``Nifti1Header`` or ``Nifti2Header``, whose methods have no types.
        dtype: Type of a stored voxel, with its byte order.
        slope: HU a stored unit.
        inter: HU of a stored 0.
    """

    data_path: Path
    data_offset: int
    header: Any
    dtype: np.dtype[np.generic]
    slope: float
    inter: float

    def slabs(self, wanted: Collection[int] | None = None) -> Iterator[tuple[int, Voxels]]:
        """As :meth:`Volume.slabs`; without ``wanted`` in slabs of some 512 KiB."""
        x, y, z = self.shape
        slice_bytes = x * y * self.dtype.itemsize
        count = 1 if wanted is not None else max(1, _SLAB_BYTES // slice_bytes)
        starts = range(0, z, count) if wanted is None else sorted(wanted)
        with _errors_named(self.data_path), _open_by_content(self.data_path) as stream:
            for start in starts:
                stop = min(start + count, z)
                stream.seek(self.data_offset + start * slice_bytes)
                content = stream.read((stop - start) * slice_bytes)
                if len(content) < (stop - start) * slice_bytes:
                    raise InputError(
                        f"{self.data_path}: ends in slice {start + len(content) // slice_bytes} of {z}; "
                        "fetch or make the file again"
                    )
                slab = np.frombuffer(content, self.dtype).reshape((x, y, stop - start), order="F")
                yield start, Voxels(self.path, slab, self.slope, self.inter)
            if isinstance(stream, GzipReader):
                self._verify_end(stream)

    def _verify_end(self, stream: GzipReader) -> None:
        """Read a compressed file to its end, where its checksum is."""
        end = self.data_offset + math.prod(self.shape) * self.dtype.itemsize
        while stream.read(_SLAB_BYTES):
            if stream.tell() > end + MOST_BESIDE_VOXELS:
                raise InputError(
                    f"{self.data_path}: goes on for more than {MOST_BESIDE_VOXELS} bytes after its last "
                    "voxel; is its header right?"
                )
        if stream.has_other_bytes:
            said = FileWarning(self.data_path, "has other bytes after its gzip stream, which are ignored")
            warnings.warn(said, stacklevel=2)


def open_nifti_volume(path: Path) -> NiftiVolume:
    """Read a NIfTI file's header and check it: :func:`isegm.volumes.files.open_volume` says how.

    A file is decompressed if its content is compressed, whatever its name says.
    """
    header_path, data_path = nifti_files(path)
    is_pair = header_path != data_path
    try:
        with _errors_named(path):
            header = _read_header(header_path, is_pair)
            slope, inter = header.get_slope_inter()
            offset = int(header["vox_offset"])
            dtype = header.get_data_dtype()
            dimensions = header.get_data_shape()
            affine = np.asarray(header.get_best_affine(), np.float64)
    except (ImageFileError, HeaderDataError, HeaderTypeError, WrapStructError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: not a readable NIfTI file ({reason}); is it complete?") from None
    except FileNotFoundError as error:
        raise InputError(f"{error.filename or path} is missing; check the path") from None
    except InputError:
        raise
    except (ValueError, OverflowError, KeyError, ArithmeticError) as error:
        raise InputError(f"{path}: its NIfTI header makes no sense ({error}); make the file again") from None

    if dtype.kind == "V":
        raise InputError(f"{path}: its voxels are RGB colours, not HU; give the volume they were made of")
    if dtype.kind not in "iuf":
        raise InputError(f"{path}: its voxels are {dtype.name} numbers, not HU; take their real part, say")
    affine[:3] *= _MM_PER_UNIT.get(int(header["xyzt_units"]) & 7, 1.0)
    volume = NiftiVolume(
        path=path,
        shape=_shape(path, dimensions),
        affine=affine,
        has_orientation=bool(header["sform_code"] or header["qform_code"]),
        is_8bit=dtype == np.uint8 and (slope, inter) in ((None, None), (1.0, 0.0)),
        data_path=data_path,
        data_offset=offset if is_pair else max(offset, int(header.sizeof_hdr) + 4),
        header=header,
        dtype=dtype,
        slope=1.0 if slope is None else float(slope),
        inter=0.0 if inter is None else float(inter),
    )
    _check_size(volume)
    _warn_of_two_spacings(volume)
    return volume


def nifti_files(path: Path) -> tuple[Path, Path]:
    """The files of a volume's header and of its voxels: one file, or a pair ``.hdr`` and ``.img``."""
    name, dot, suffix = path.name.rpartition(".")
    if suffix.lower() == "gz":
        name, dot, suffix = path.name[: -len(".gz")].rpartition(".")
    if suffix.lower() not in ("hdr", "img"):
        return path, path
    rest = path.name[len(f"{name}.{suffix}") :]
    words = ("HDR", "IMG") if suffix.isupper() else ("hdr", "img")
    header, voxels = (path.with_name(f"{name}{dot}{word}{rest}") for word in words)
    return header, voxels


def _read_header(path: Path, is_pair: bool) -> Any:  # noqa: ANN401 - nibabel has no types
    """Read a header with its extensions by nibabel; no more is read than they may take.

    Raises:
        InputError: It is no NIfTI header, puts more than ``MOST_BESIDE_VOXELS`` bytes before the voxels, has
            too many extensions, or one without a length.
        OSError: The file is missing or cannot be read. nibabel, isal and zlib have errors of their own.
    """
    check_bytes(path, _MOST_FILE_BYTES)
    with _open_by_content(path) as stream:
        content = stream.read(Nifti2Header.sizeof_hdr)
        kinds: Any = (Nifti1PairHeader, Nifti2PairHeader) if is_pair else (Nifti1Header, Nifti2Header)
        kind = next((kind for kind in kinds if kind.may_contain_header(content)), None)
        if content.startswith(GZIP_MAGIC):
            raise InputError(f"{path}: compressed twice; decompress it once")
        if kind is None:
            raise InputError(f"{path}: not a NIfTI file; is it complete, and of this format?")
        bare = kind(content[: kind.sizeof_hdr], check=False)
        if kind is kinds[1] and int(bare["intent_code"]) in _CIFTI_INTENTS:
            raise InputError(f"{path}: a CIFTI-2 file, not a NIfTI volume; convert it to NIfTI")
        end = MOST_BESIDE_VOXELS + 1 if is_pair else float(bare["vox_offset"])
        # Not the other way round: the offset may be NaN.
        if not is_pair and not end <= MOST_BESIDE_VOXELS:
            raise InputError(f"{path}: its header puts the voxels at byte {end:g}; make the file again")
        content += stream.read(max(0, int(end) - len(content)))
    if content[kind.sizeof_hdr : kind.sizeof_hdr + 1] not in (b"", b"\0"):
        _check_extensions(path, content[: int(end)], bare.endianness, kind.sizeof_hdr + 4)
    logger.disabled = True  # what nibabel finds odd but can correct, it would print without the file's name
    try:
        return kind.from_fileobj(io.BytesIO(content))
    finally:
        logger.disabled = False


def _check_extensions(path: Path, content: bytes, order: str, position: int) -> None:
    """Follow the header extensions from ``position``, as nibabel does."""
    for _ in range(_MOST_EXTENSIONS):
        if len(content) - position < 16:
            return
        (length,) = struct.unpack_from(f"{order}i", content, position)
        position += length
        if length < 8 or position > MOST_BESIDE_VOXELS:
            raise InputError(f"{path}: a header extension claims {length} bytes; make the file again")
    raise InputError(f"{path}: has more than {_MOST_EXTENSIONS} header extensions; make the file again")


def _shape(path: Path, dimensions: tuple[int, ...]) -> tuple[int, int, int]:
    sizes = [int(size) for size in dimensions]
    if not sizes or min(sizes) < 1:
        raise InputError(f"{path}: its header claims a shape of {tuple(sizes)}; make the file again")
    if any(size > 1 for size in sizes[3:]):
        raise InputError(f"{path}: {len(sizes)}D, shape {tuple(sizes)}; give one 3D volume a file")
    x, y, z = (*sizes, 1, 1)[:3]
    return x, y, z


def _check_size(volume: NiftiVolume) -> None:
    """Refuse a file too short for its header, or too large, before anything is allocated by its claims."""
    path, data_path, shape = volume.path, volume.data_path, volume.shape
    try:
        size = data_path.stat().st_size
        is_compressed = _is_compressed(data_path)
    except FileNotFoundError:
        raise InputError(f"{path}: {data_path.name} is missing beside it") from None
    claimed = volume.data_offset + math.prod(shape) * volume.dtype.itemsize
    if volume.data_offset < 0 or claimed > size * (_DEFLATE_RATIO if is_compressed else 1):
        raise InputError(
            f"{path}: too short: the header claims {claimed} bytes of shape {shape}, the file has {size}"
            f"{' compressed' if is_compressed else ''}; fetch or make it again"
        )
    if math.prod(shape) > MOST_VOXELS or math.prod(sorted(shape)[-2:]) > MOST_PIXELS:
        raise InputError(
            f"{path}: claims {' x '.join(map(str, shape))} voxels, more than the {MOST_VOXELS} (and "
            f"{MOST_PIXELS} in a slice) that are read; crop it, or correct its header"
        )
    for file in dict.fromkeys(nifti_files(path)):
        if _is_compressed(file) != file.name.lower().endswith(".gz"):
            is_not, suffix = ("is", "with") if _is_compressed(file) else ("is not", "without")
            said = FileWarning(file, f"{is_not} compressed, whatever its name says; rename it {suffix} .gz")
            warnings.warn(said, stacklevel=2)


def _warn_of_two_spacings(volume: NiftiVolume) -> None:
    """Say so where the header's voxel sizes are not those of its affine."""
    sides = [axis for axis in range(3) if volume.shape[axis] > 1]
    sizes = np.abs(volume.header["pixdim"][1:4].astype(np.float64))
    sizes *= _MM_PER_UNIT.get(int(volume.header["xyzt_units"]) & 7, 1.0)
    spacing = np.array(volume.spacing_mm)
    if volume.has_orientation and not np.allclose(
        sizes[sides], spacing[sides], rtol=_SPACING_TOLERANCE, atol=0
    ):
        said, taken = (" x ".join(f"{size:.4g}" for size in of) for of in (sizes, spacing))
        text = f"has voxels of {said} mm by pixdim, but of {taken} mm by its affine, which is taken"
        warnings.warn(FileWarning(volume.path, text), stacklevel=2)


def _is_compressed(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(GZIP_MAGIC)) == GZIP_MAGIC


@contextlib.contextmanager
def _open_by_content(path: Path) -> Iterator[BinaryIO | GzipReader]:
    with path.open("rb") as file:
        if _is_compressed(path):
            yield GzipReader(file)
        else:
            yield file


@contextlib.contextmanager
def _errors_named(path: Path) -> Iterator[None]:
    """Turn what gzip and deflate say of a damaged stream into a line with the file's name."""
    try:
        with naming(path):
            yield
    except GZIP_ERRORS as error:
        raise InputError(
            f"{path}: the gzip stream is damaged ({error}); fetch or make the file again"
        ) from None


def write_nifti(
    path: Path,
    volume: Volume,
    slabs: Iterable[npt.NDArray[Any]],
    *,
    dtype: npt.DTypeLike = np.uint8,
    description: str = "",
    shown: tuple[int, int] = (0, 0),
) -> None:
    """Write voxels as a NIfTI file in a volume's own geometry, whole or not at all.

    Args:
        path: Where to; ``.gz`` compresses. The same bytes always give the same file.
        volume: Whose shape, affine, and (of a NIfTI file) sform and qform with their codes, units, byte
            order, version and extensions the file gets; of a pair it becomes a single file.
        slabs: (X, Y, slices) each, front to back along the last axis, together (X, Y, Z).
        dtype: What a voxel is stored as.
        description: At most 79 bytes of ASCII.
        shown: The values that a viewer should show as black and white; (0, 0) leaves it to the viewer.

    Raises:
        ValueError: The slabs are not of the volume's shape.
        OSError: The file cannot be written. Whatever ``slabs`` raises is passed on.
    """
    header = _header_of_copy(volume, np.dtype(dtype), description, shown)
    # The file's byte order is that of its header.
    stored = np.dtype(dtype).newbyteorder(header.endianness)
    with whole_file(path) as temporary, _open_output(temporary) as file:
        header.write_to(file)
        left = math.prod(volume.shape)
        for slab in slabs:
            file.write(np.ascontiguousarray(slab.T, stored).data.cast("B"))
            left -= slab.size
        if left:
            raise ValueError(
                f"slabs of {math.prod(volume.shape) - left} voxels for a volume of {volume.shape}"
            )


def _header_of_copy(volume: Volume, dtype: np.dtype[Any], description: str, shown: tuple[int, int]) -> Any:  # noqa: ANN401 - as above
    if isinstance(volume, NiftiVolume):
        kind: Any = Nifti2Header if isinstance(volume.header, Nifti2Header) else Nifti1Header
        header = kind(volume.header.binaryblock, volume.header.endianness, check=False)
        header.extensions.extend(volume.header.extensions)
    else:
        kind = Nifti1Header if max(volume.shape) < 2**15 else Nifti2Header
        header = kind()
        header.set_data_shape(volume.shape)
        header.set_sform(volume.affine, int(volume.has_orientation))
        header.set_qform(volume.affine, int(volume.has_orientation and not is_sheared(volume.affine)))
        header.set_xyzt_units("mm")
    header["magic"] = kind.single_magic  # of a pair it is another
    header.set_data_dtype(dtype)
    header.set_slope_inter(1, 0)
    header.set_data_offset(0)  # nibabel puts the voxels right behind the extensions
    header["cal_min"], header["cal_max"] = shown
    header["descrip"] = description.encode()
    return header


@contextlib.contextmanager
def _open_output(path: Path) -> Iterator[BinaryIO]:
    with path.open("wb") as file:
        if not path.name.lower().endswith(".gz"):
            yield file
            return
        # Neither name nor time in it, so that the same volume always gives the same bytes.
        compressed = igzip.IGzipFile("", "wb", _COMPRESSION, file, mtime=0)  # type: ignore[no-untyped-call]
        with compressed:
            yield cast("BinaryIO", compressed)
