"""How large a file may be: the limits that keep one bad file from taking all memory, each decided here.

They are far above what CT, photographs and networks need. To raise one, change its number here; for pictures
the environment variable ``OPENCV_IO_MAX_IMAGE_PIXELS`` is enough.
"""

import errno
import os
import stat
from pathlib import Path

from isegm.errors import InputError, naming

MOST_PIXELS = 2**26
"""Pixels of a picture, or of one slice of a volume: 8192 x 8192.

``isegm/__init__.py`` tells OpenCV, which holds every header against it before it takes memory.
"""

MOST_VOXELS = 2**30
"""Voxels of a volume: 1024 x 1024 x 1024, or 4096 slices of 512 x 512."""

MOST_INPUT_SIDE = 6144
"""Pixels of the longer side of a network's input: at the published 384, images 16 times as long as wide.

A picture of 3 x 512 pixels whose shorter side became 384 would have 65,536 on the other, and need 12 GB.
"""

MOST_BESIDE_VOXELS = 2**24
"""Bytes of a volume's file before its voxels, and after them, decompressed."""

MOST_DICOM_BYTES = 2**32
"""Bytes of a DICOM file."""

MOST_PICTURE_BYTES = 2**29
"""Bytes of a picture's or a label picture's file."""

MOST_CONFIG_BYTES = 2**20
"""Bytes of a ``config.yml``."""

MOST_TEXT_BYTES = 2**26
"""Bytes of a manifest, a list of pictures or a table of windows."""

MOST_ANNOTATION_BYTES = 2**32
"""Bytes of an annotation file of COCO's format; that of LVIS, the largest known, has 1.1e9."""

MOST_NETWORK_BYTES = 2**31
"""Bytes of a checkpoint, or of one ONNX file; the largest network here has 0.2e9."""


def check_bytes(path: Path, most: int) -> None:
    """Refuse what is not a file, or is larger than such a file can be, before it is opened.

    Raises:
        InputError: It is larger than ``most`` bytes, or a pipe or device, which might never end.
        OSError: It is missing or a folder.
    """
    status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(status.st_mode):
        raise InputError(f"{path}: a pipe or device, not a file; copy what it gives into a file")
    if status.st_size > most:
        raise InputError(
            f"{path}: has {status.st_size} bytes, more than the {most} that such a file may have; is it the "
            "right one?"
        )


def read_bytes(path: Path, most: int) -> bytes:
    """A file's content, of ``most`` bytes at most.

    Raises:
        InputError: As :func:`check_bytes`.
        OSError: It is missing, a folder, or cannot be read.
    """
    check_bytes(path, most)
    with naming(path):
        return path.read_bytes()


def read_text(path: Path, most: int) -> str:
    """A file's content as UTF-8; a mark of the byte order at its beginning is left out.

    Raises:
        InputError: As :func:`check_bytes`.
        OSError: It is missing, a folder, or cannot be read.
        UnicodeDecodeError: It is no UTF-8.
    """
    return read_bytes(path, most).decode("utf-8-sig")
