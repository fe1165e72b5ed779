"""What a NIfTI file claims, held against the limits before nibabel reads it.

nibabel reads a header's extensions whole, as long as they say they are, and of one with a negative length all
that follows: from a compressed file that can be a thousand times what lies on the disk.
"""

import math
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, cast

from isal import igzip

from isegm.errors import InputError
from isegm.limits import MOST_BESIDE_VOXELS, MOST_PIXELS, MOST_VOXELS, check_bytes

_SIZES = {348: ("f", 108), 540: ("q", 168)}
"""By the header's size, which it begins with: type and place of the offset of the voxels."""

_MOST_EXTENSIONS = 1000
_MOST_FILE_BYTES = 2**40


def check_header(path: Path) -> None:
    """Refuse a header with more beside it than can be meant.

    What is no NIfTI header at all is left to nibabel, which tells what it is.

    Args:
        path: A single file, or the header of a pair; ``.gz`` is compressed.

    Raises:
        InputError: Before the voxels there are more than ``MOST_BESIDE_VOXELS`` bytes or too many extensions,
            or an extension has no length.
        OSError: The file is missing or cannot be read; isal and zlib have errors of their own for its stream.
    """
    check_bytes(path, _MOST_FILE_BYTES)
    lower = path.name.lower()
    opened = igzip.open(path) if lower.endswith(".gz") else path.open("rb")  # type: ignore[no-untyped-call]
    with cast("BinaryIO", opened) as file:
        start = file.read(4)
        order = next(
            (o for o in "<>" if len(start) == 4 and struct.unpack(f"{o}i", start)[0] in _SIZES), None
        )
        if order is None:
            return
        (size,) = struct.unpack(f"{order}i", start)
        header = start + file.read(size - 4)
        if len(header) < size:
            return
        kind, place = _SIZES[size]
        (offset,) = struct.unpack_from(f"{order}{kind}", header, place)
        is_single = ".nii" in lower[-7:]
        # Not the other way round: the offset may be NaN.
        if is_single and not offset <= MOST_BESIDE_VOXELS:
            raise InputError(f"{path}: its header puts the voxels at byte {offset:g}; make the file anew")
        if file.read(4)[:1] not in (b"", b"\0"):
            _check_extensions(path, file, order, size + 4, offset if is_single else math.inf)


def _check_extensions(path: Path, file: BinaryIO, order: str, position: int, end: float) -> None:
    """Follow the extensions as nibabel does, from ``position`` as far as ``end`` or the file's end."""
    for _ in range(_MOST_EXTENSIONS):
        if end - position < 16:
            return
        head = file.read(8)
        if len(head) < 8:
            return
        (length,) = struct.unpack_from(f"{order}i", head)
        position += length
        if length < 8 or position > MOST_BESIDE_VOXELS:
            raise InputError(f"{path}: a header extension claims {length} bytes; make the file anew")
        if len(file.read(length - 8)) < length - 8:
            return
    raise InputError(f"{path}: has more than {_MOST_EXTENSIONS} header extensions; make the file anew")


def check_shape(path: Path, shape: Sequence[int]) -> None:
    """Refuse a volume larger than the limits.

    Args:
        path: For messages.
        shape: Voxels along each axis.

    Raises:
        InputError: It has more than ``MOST_VOXELS`` voxels, or ``MOST_PIXELS`` in a slice.
    """
    sides = [int(side) for side in shape]
    if math.prod(sides) > MOST_VOXELS or math.prod(sorted(sides)[-2:]) > MOST_PIXELS:
        raise InputError(
            f"{path}: claims {' x '.join(map(str, sides))} voxels, more than the {MOST_VOXELS} (and "
            f"{MOST_PIXELS} in a slice) that are read; crop it, or mend its header"
        )
