"""Reading a mask picture: which pixels are object is decided here, once, for every tool."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from isegm.errors import InputError
from isegm.storage import read_unchanged

LOSSY_SUFFIXES = frozenset({".jpg", ".jpeg"})


def read_mask(path: Path) -> npt.NDArray[np.bool_]:
    """Read a mask picture as (H, W) bool.

    An object pixel is one above 127. A lossless picture in which nothing is above 127 is a label map
    (0/1, say): there every non-zero pixel is object. A JPEG is never read that way, because compression
    leaves noise about its zeros. Of a colour picture the largest channel counts; alpha does not.

    Raises:
        InputError: The file is missing, unreadable, or not an 8- or 16-bit picture.
    """
    pixels = read_unchanged(path)
    if pixels.dtype not in (np.uint8, np.uint16):
        raise InputError(f"{path}: a mask must be an 8- or 16-bit picture, not {pixels.dtype}")
    levels = pixels if pixels.ndim == 2 else pixels[:, :, :3].max(axis=2)
    is_label_map = path.suffix.lower() not in LOSSY_SUFFIXES and not (levels > 127).any()
    return levels > (0 if is_label_map else 127)
