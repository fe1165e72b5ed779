"""One integer matrix out of a MATLAB file, which is all that SBD's label pictures need.

SciPy's reader can crash the interpreter on a malformed file and says itself that it is not meant for files
from strangers. This one reads the part of the format (MATLAB's "MAT-File Format", level 5) that leads to one
field of one struct. It checks every length before it follows it, bounds what it decompresses, and runs
nothing that a file may hold.
"""

import math
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

_HEADER_SIZE = 128
_LEVEL_5_LITTLE_ENDIAN = b"\x00\x01IM"  # the header's last four bytes
_MOST_DECOMPRESSED = 64 * 2**20  # bytes of a file; a label picture and its outlines take far below 1 MiB

# The kinds of data element
_TEXT, _INT32, _UINT32, _MATRIX, _COMPRESSED = 1, 5, 6, 14, 15
_INTEGERS = {1: "i1", 2: "u1", 3: "<i2", 4: "<u2", 5: "<i4", 6: "<u4", 12: "<i8", 13: "<u8"}
_STRUCT_CLASS = 2

_Element = tuple[int, memoryview]


def read_struct_field(content: bytes, variable: str, field: str) -> npt.NDArray[np.integer[Any]]:
    """The integer matrix ``variable.field`` of a MATLAB file, where ``variable`` is a struct.

    Args:
        content: The bytes of a little-endian file of version 5 to 7.2, compressed or not.
        variable: The name of the struct.
        field: The name of its field.

    Returns:
        The matrix, (rows, columns), read-only.

    Raises:
        ValueError: ``content`` is not such a file, is damaged on the way to the field, or has no such field.
    """
    if content[_HEADER_SIZE - 4 : _HEADER_SIZE] != _LEVEL_5_LITTLE_ENDIAN:
        raise ValueError("not a little-endian MATLAB file of version 5 to 7.2")
    left = _MOST_DECOMPRESSED
    for kind, data in _elements(memoryview(content)[_HEADER_SIZE:]):
        if kind == _COMPRESSED:
            decompressed = _decompress(data, left)
            left -= len(decompressed)
            kind, data = next(_elements(decompressed), (0, memoryview(b"")))
        if kind == _MATRIX:
            parts = _elements(data)
            matrix_class, _, name = _read_matrix_head(parts)
            if matrix_class == _STRUCT_CLASS and name == variable.encode():
                return _read_integers(_find_field(parts, field.encode()))
    raise ValueError(f"no struct {variable}")


def _elements(data: memoryview) -> Iterator[_Element]:
    """The data elements that follow one another in ``data``, as (kind, payload)."""
    position = 0
    while position < len(data):
        kind, size = _integer(data[position : position + 4]), _integer(data[position + 4 : position + 8])
        start = position + 8
        end = start + size
        position = end if kind == _COMPRESSED else end + -end % 8
        if kind >> 16:  # up to four bytes stand in the tag itself, and their number beside the kind
            kind, size = kind & 0xFFFF, kind >> 16
            position, start = start, start - 4
            end = start + min(size, 4)
        if end > len(data):
            raise ValueError("a data element goes beyond the end")
        yield kind, data[start:end]


def _decompress(data: memoryview, most: int) -> memoryview:
    decompressor = zlib.decompressobj()
    try:
        content = decompressor.decompress(data, most + 1)
    except zlib.error as error:
        raise ValueError("damaged compressed data") from error
    if not decompressor.eof:
        raise ValueError("compressed data that is cut off or far too long")
    return memoryview(content)


def _read_matrix_head(parts: Iterator[_Element]) -> tuple[int, tuple[int, ...], bytes]:
    """The class, the size and the name that every matrix begins with."""
    flags = _next(parts, _UINT32)
    dimensions = _next(parts, _INT32)
    size = tuple(_integer(dimensions[i : i + 4]) for i in range(0, len(dimensions), 4))
    return _integer(flags[:1]), size, bytes(_next(parts, _TEXT))


def _find_field(parts: Iterator[_Element], field: bytes) -> memoryview:
    """The matrix of one field of a struct, of which ``parts`` has given the head already."""
    name_length = _integer(_next(parts, _INT32))
    names = bytes(_next(parts, _TEXT))
    if name_length == 0:
        raise ValueError("a struct whose fields have no names")
    for i in range(0, len(names), name_length):
        data = _next(parts, _MATRIX)
        if names[i : i + name_length].split(b"\0")[0] == field:
            return data
    raise ValueError(f"no field {field.decode()}")


def _read_integers(data: memoryview) -> npt.NDArray[np.integer[Any]]:
    parts = _elements(data)
    _, size, _ = _read_matrix_head(parts)
    kind, payload = next(parts, (0, memoryview(b"")))
    if kind not in _INTEGERS or len(size) != 2:
        raise ValueError("not a matrix of integers")
    dtype = np.dtype(_INTEGERS[kind])
    if math.prod(size) * dtype.itemsize != len(payload):
        raise ValueError("a matrix with more or fewer numbers than its size says")
    return np.frombuffer(payload, dtype).reshape(size, order="F")


def _next(parts: Iterator[_Element], wanted: int) -> memoryview:
    kind, data = next(parts, (0, memoryview(b"")))
    if kind != wanted:
        raise ValueError("a matrix whose parts are missing or out of order")
    return data


def _integer(data: memoryview) -> int:
    return int.from_bytes(data, "little")
