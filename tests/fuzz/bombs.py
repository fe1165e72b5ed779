"""Small files that claim, or unpack to, far more than there is memory for."""

import gzip
import struct
import zipfile
import zlib
from pathlib import Path

import nibabel as nib
import numpy as np

HUGE = 32767


def nifti_header(shape, dtype=np.float64, extension=None, offset=352) -> bytes:
    """A header that claims a shape, perhaps an extension of so many bytes, and where the voxels begin."""
    header = nib.Nifti1Header()
    header.set_data_shape(shape)
    header.set_data_dtype(dtype)
    header["magic"] = b"n+1"
    header["vox_offset"] = offset
    header["sform_code"] = 1
    header["srow_x"], header["srow_y"], header["srow_z"] = np.eye(4)[:3]
    if extension is None:
        return header.binaryblock + bytes(4)
    return header.binaryblock + b"\1\0\0\0" + struct.pack("<ii", extension, 6)


def png(path: Path, width: int, height: int, rows: int, *, palette: bool = False) -> Path:
    """Write a PNG that claims a size and holds so many rows of zeros."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        )

    packer = zlib.compressobj(1)
    row = bytes(width + 1)
    data = b"".join([packer.compress(row) for _ in range(rows)]) + packer.flush()
    head = struct.pack(">IIBBBBB", width, height, 8, 3 if palette else 0, 0, 0, 0)
    colours = chunk(b"PLTE", bytes(range(6))) if palette else b""
    content = chunk(b"IHDR", head) + colours + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + content)
    return path


def matlab(path: Path, megabytes: int, elements: int) -> Path:
    """Write a MATLAB file of so many compressed elements, each of so many MB of numbers that are 0."""
    packed = zlib.compress(struct.pack("<II", 5, megabytes * 2**20) + bytes(megabytes * 2**20), 1)
    element = struct.pack("<II", 15, len(packed)) + packed
    path.write_bytes(bytes(124) + b"\x00\x01IM" + element * elements)
    return path


def zip_bomb(path: Path, pickled: bytes, megabytes: int) -> Path:
    """Write a checkpoint with a compressed entry of so many MB of zeros."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/byteorder", "little")
        with archive.open("archive/data/0", "w") as file:
            for _ in range(megabytes):
                file.write(bytes(2**20))
        archive.writestr("archive/version", "3\n")
    return path


def aliases(levels: int) -> bytes:
    """YAML in which each row names the one before nine times: a thousand million in a kilobyte."""
    rows = ["A0_PATH: &a0 [x, x]"]
    rows += [f"A{i}_PATH: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, levels)]
    return "\n".join(rows).encode()


def bytearray_pickle(length: int) -> bytes:
    """A pickle that asks for an array of bytes."""
    return b"\x80\x02}X\x01\x00\x00\x00acbuiltins\nbytearray\nJ" + struct.pack("<i", length) + b"\x85Rs."


def nested_pickle(levels: int) -> bytes:
    """A pickle of metadata that are a list of lists, each of which holds the one before it twice."""
    lists = b"](K\x01K\x02eq\x00"
    for i in range(levels):
        lists += b"](h" + bytes([i]) + b"h" + bytes([i]) + b"eq" + bytes([i + 1])
    return b"\x80\x02}X\x08\x00\x00\x00metadata}X\x07\x00\x00\x00windows](" + lists + b"ess."


def gzip_of(content: bytes) -> bytes:
    return gzip.compress(content, mtime=0)
