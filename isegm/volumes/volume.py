"""Reading NIfTI volumes a few slices at a time.

A volume is an array (X, Y, Z) in Fortran order: the slices along its last axis lie one after another in the
file. So a file is read as slabs of such slices, whether compressed or not, in the type it is stored in;
no more than a slab is in memory, and a compressed file is decompressed once and its checksum verified.
nibabel reads the headers, isal decompresses: some three times as fast as Python's own gzip.
"""

import contextlib
import gzip
import math
import os
import zlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import nibabel as nib
import numpy as np
import numpy.typing as npt
from isal import igzip, isal_zlib
from nibabel.filebasedimages import ImageFileError
from nibabel.imageglobals import LoggingOutputSuppressor
from nibabel.spatialimages import HeaderDataError, HeaderTypeError
from nibabel.wrapstruct import WrapStructError

from isegm.errors import InputError
from isegm.limits import MOST_BESIDE_VOXELS
from isegm.storage import warn_of_links
from isegm.volumes.nifti import check_header, check_shape

HEADER_SUFFIXES = (".nii", ".nii.gz", ".hdr", ".hdr.gz")
_SUFFIXES = (*HEADER_SUFFIXES, ".img", ".img.gz")

# What is decompressed is worked on while it is still in the processor's cache.
_SLAB_BYTES = 1 << 19
# A scaled label, 255 / 255 say, misses its integer by single precision.
_LABEL_TOLERANCE = 1e-3
# A deflate stream cannot grow more than this on decompression.
_DEFLATE_RATIO = 1032
# Of nibabel, which reads headers by Python's gzip, and of isal.
_GZIP_ERRORS: tuple[type[Exception], ...] = (
    EOFError,
    zlib.error,
    gzip.BadGzipFile,
    isal_zlib.error,  # type: ignore[assignment]  # isal's stubs take the class for an instance
)
# By NIfTI's code for the unit of space. Files that state none, or nonsense, mean millimetres.
_MM_PER_UNIT = {1: 1000.0, 2: 1.0, 3: 0.001}


@dataclass(frozen=True)
class Volume:
    """A volume on disk: its header is read and found usable, its voxels are not read yet.

    Attributes:
        path: The file the user named.
        data_path: The file that holds the voxels; another than ``path`` for a pair of files.
        data_offset: Bytes before the first voxel in it, after decompression.
        header: nibabel's ``Nifti1Header`` or ``Nifti2Header``, whose methods have no types.
        shape: (X, Y, Z) voxels.
        dtype: Type of a stored voxel, with its byte order.
        slope: HU a stored unit.
        inter: HU of a stored 0.
        affine: (4, 4), from voxel indices to the patient's right-anterior-superior coordinates.
        has_orientation: Whether the header says how the volume lies in the patient. If not, ``affine``
            is NIfTI's fallback (LAS).
    """

    path: Path
    data_path: Path
    data_offset: int
    header: Any
    shape: tuple[int, int, int]
    dtype: np.dtype[np.generic]
    slope: float
    inter: float
    affine: npt.NDArray[np.float64]
    has_orientation: bool

    @property
    def is_8bit(self) -> bool:
        """Whether the voxels are grey values 0-255 already, not HU: unsigned bytes without scaling."""
        return self.dtype == np.uint8 and (self.slope, self.inter) == (1.0, 0.0)

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Millimetres between neighbouring voxel centres along each array axis, by the affine."""
        scale = _MM_PER_UNIT.get(int(self.header["xyzt_units"]) & 7, 1.0)
        x, y, z = np.linalg.norm(self.affine[:3, :3], axis=0) * scale
        return float(x), float(y), float(z)


def stem(name: str) -> str:
    """A volume's file name without its NIfTI suffix: ``liver_0`` of ``liver_0.nii.gz``."""
    lower = name.lower()
    for suffix in (".nii.gz", ".hdr.gz", ".img.gz", ".nii", ".hdr", ".img"):
        if lower.endswith(suffix):
            return name[: -len(suffix)]
    return name


def list_volumes(path: Path) -> list[Path]:
    """The NIfTI files at ``path``: itself if it is a file, else those right in that folder, by name.

    A pair of files counts by its header. Hidden files are left out (macOS leaves ``._name.nii.gz`` files
    beside the true ones).

    Raises:
        InputError: The path is not there, or the folder holds no NIfTI file.
    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise InputError(f"{path}: no such file or folder; check the path")
    found = sorted(
        entry
        for entry in path.iterdir()
        if entry.name.lower().endswith(HEADER_SUFFIXES) and not entry.name.startswith(".") and entry.is_file()
    )
    if not found:
        raise InputError(f"{path}: no NIfTI file ({', '.join(HEADER_SUFFIXES)}) in this folder; name another")
    warn_of_links(path, [entry for entry in found if entry.is_symlink()])
    return found


def open_volume(path: Path) -> Volume:
    """Read a volume's header and check that its voxels can be read.

    A volume has one value a voxel and three dimensions; further dimensions of length 1, and missing ones,
    do not matter.

    Raises:
        InputError: The file is missing, empty, damaged, shorter than its header claims, or not NIfTI; or
            its voxels are complex or colours; or it has a fourth dimension (a time series, say).
    """
    # nibabel would try readers of many kinds on other names, some of them for formats that can do harm.
    if not path.name.lower().endswith(_SUFFIXES):
        raise InputError(f"{path}: not a NIfTI volume ({', '.join(HEADER_SUFFIXES)}); convert it to NIfTI")
    if not path.name.isprintable():
        raise InputError(f"{path}: its name cannot be printed; rename the file")
    # What nibabel finds odd but can mend it logs, without the file's name.
    try:
        check_header(_header_path(path))
        with LoggingOutputSuppressor():
            image = nib.load(path)
            if not isinstance(image, nib.Nifti1Pair):
                raise InputError(f"{path}: a {type(image).__name__}, not a NIfTI volume; convert it to NIfTI")
            header: Any = image.header
            # nibabel clears offset and scaling in the header it hands out; its array proxy knows them.
            proxy: Any = image.dataobj
            data_path = Path(str(image.file_map["image"].filename))
            data_offset, slope, inter = int(proxy.offset), float(proxy.slope), float(proxy.inter)
            dtype = header.get_data_dtype()
            affine = np.asarray(image.affine, np.float64)
    except _GZIP_ERRORS as error:
        raise _damaged(path, error) from None
    except (ImageFileError, HeaderDataError, HeaderTypeError, WrapStructError) as error:
        reason = " ".join(str(error).replace(str(path), "it").replace(path.name, "it").split())
        raise InputError(f"{path}: not a readable NIfTI file ({reason}); is it complete?") from None
    except FileNotFoundError as error:
        raise InputError(f"{path}: {error.filename or path} is missing; check the path") from None
    except InputError:
        raise
    except (ValueError, OverflowError, KeyError, ArithmeticError) as error:
        raise InputError(f"{path}: its NIfTI header makes no sense ({error}); make the file anew") from None

    if dtype.kind == "V":
        raise InputError(f"{path}: its voxels are RGB colours, not HU; give the volume they were made of")
    if dtype.kind not in "iuf":
        raise InputError(f"{path}: its voxels are {dtype.name} numbers, not HU; take their real part, say")
    volume = Volume(
        path=path,
        data_path=data_path,
        data_offset=data_offset,
        header=header,
        shape=_shape(path, header.get_data_shape()),
        dtype=dtype,
        slope=slope,
        inter=inter,
        affine=affine,
        has_orientation=bool(header["sform_code"] or header["qform_code"]),
    )
    _check_size(volume)
    check_shape(path, volume.shape)
    return volume


def _header_path(path: Path) -> Path:
    """The file with the header: of a pair that is named by its voxels, the other one."""
    lower = path.name.lower()
    for voxels in (".img", ".img.gz"):
        if lower.endswith(voxels):
            header = path.with_name(path.name[: -len(voxels)] + voxels.replace("img", "hdr"))
            return header if header.exists() else path
    return path


def _shape(path: Path, dimensions: tuple[int, ...]) -> tuple[int, int, int]:
    sizes = [int(size) for size in dimensions]
    if not sizes or min(sizes) < 1:
        raise InputError(f"{path}: its header claims a shape of {tuple(sizes)}; make the file anew")
    if any(size > 1 for size in sizes[3:]):
        raise InputError(f"{path}: {len(sizes)}D, shape {tuple(sizes)}; give one 3D volume a file")
    x, y, z = (*sizes, 1, 1)[:3]
    return x, y, z


def _check_size(volume: Volume) -> None:
    """Refuse a file too short for its header before anything is allocated by what the header claims."""
    try:
        size = volume.data_path.stat().st_size
    except FileNotFoundError:
        raise InputError(f"{volume.path}: {volume.data_path.name} is missing beside it") from None
    claimed = volume.data_offset + math.prod(volume.shape) * volume.dtype.itemsize
    if volume.data_offset < 0 or claimed > size * (_DEFLATE_RATIO if _is_compressed(volume) else 1):
        raise InputError(
            f"{volume.path}: too short: the header claims {claimed} bytes of shape {volume.shape}, the file "
            f"has {size}{' compressed' if _is_compressed(volume) else ''}; fetch or make it anew"
        )


def _is_compressed(volume: Volume) -> bool:
    return volume.data_path.name.lower().endswith(".gz")


def _damaged(path: Path, error: Exception) -> InputError:
    return InputError(f"{path}: the gzip stream is damaged ({error}); fetch or make the file anew")


@contextlib.contextmanager
def _voxel_stream(volume: Volume) -> Iterator[BinaryIO]:
    try:
        if not _is_compressed(volume):
            with volume.data_path.open("rb") as plain:
                yield plain
            return
        with igzip.open(volume.data_path) as stream:  # type: ignore[no-untyped-call]
            yield cast("BinaryIO", stream)
            end = volume.data_offset + math.prod(volume.shape) * volume.dtype.itemsize
            while stream.read(_SLAB_BYTES):  # gzip verifies its checksum at the end only
                if stream.tell() > end + MOST_BESIDE_VOXELS:
                    raise InputError(
                        f"{volume.data_path}: goes on for more than {MOST_BESIDE_VOXELS} bytes after its "
                        "last voxel; is its header right?"
                    )
    except _GZIP_ERRORS as error:
        raise _damaged(volume.data_path, error) from None


def read_slabs(
    volume: Volume, wanted: Collection[int] | None = None
) -> Iterator[tuple[int, npt.NDArray[np.generic]]]:
    """Read a volume front to back.

    Args:
        volume: What to read.
        wanted: Indices along the last axis; only these slices are read, one a slab. Without, all are, in
            slabs of some 512 KiB.

    Yields:
        The index of the slab's first slice along the last axis, and the slab (X, Y, slices) as stored:
        Fortran order, read-only, before slope and intercept.

    Raises:
        InputError: The file ends too soon or its compressed stream is damaged. That may be after the
            last slab, for the checksum is at the end of the file.
    """
    x, y, z = volume.shape
    slice_bytes = x * y * volume.dtype.itemsize
    count = 1 if wanted is not None else max(1, _SLAB_BYTES // slice_bytes)
    starts = range(0, z, count) if wanted is None else sorted(wanted)
    with _voxel_stream(volume) as stream:
        for start in starts:
            stop = min(start + count, z)
            stream.seek(volume.data_offset + start * slice_bytes, os.SEEK_SET)
            content = stream.read((stop - start) * slice_bytes)
            if len(content) < (stop - start) * slice_bytes:
                raise InputError(
                    f"{volume.data_path}: ends in slice {start + len(content) // slice_bytes} of {z}; "
                    "fetch or make the file anew"
                )
            yield start, np.frombuffer(content, volume.dtype).reshape((x, y, stop - start), order="F")


def check_finite(volume: Volume, values: npt.NDArray[np.generic], where: str) -> None:
    """Refuse NaN and infinity, which have no HU.

    Args:
        volume: Where the voxels are from.
        values: Stored voxels.
        where: What to call them in the message, ``slice 12`` say.

    Raises:
        InputError: A voxel is NaN or infinite.
    """
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise InputError(f"{volume.path}: NaN or infinite voxels in {where}; replace them, by -1024 HU say")


def as_integers(label: Volume, slab: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    """Label values of stored voxels, of any shape.

    Raises:
        InputError: A value is no integer.
    """
    unscaled = (label.slope, label.inter) == (1.0, 0.0)
    if slab.dtype.kind != "f" and unscaled:
        return slab
    scaled = slab.astype(np.float64) * label.slope + label.inter
    rounded = np.rint(scaled)
    wrong = ~(np.abs(scaled - rounded) <= _LABEL_TOLERANCE)  # also true of NaN
    if wrong.any():
        raise InputError(f"{label.path}: holds {scaled[wrong][0]:g}, no integer; is it a label volume?")
    return rounded
