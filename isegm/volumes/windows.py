"""CT windows: which HU become black, which white.

A window of level L and width W maps HU in [L - W/2, L + W/2] linearly to [0, 255]. It is the same for every
volume: nothing that happens to be in a volume moves it.
"""

import functools
import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from isegm.errors import InputError

# Voxels worked on at once: 512 KiB of float64 stay in a processor's cache, which doubles the speed.
_BLOCK = 1 << 16
# Before version 5 its tables have 256 entries.
_CV2_HAS_LARGE_TABLES = cv2.getVersionMajor() >= 5


@dataclass(frozen=True)
class Window:
    """A CT window.

    Attributes:
        level: HU in the middle of the window.
        width: HU from black to white, above 0.
    """

    level: float
    width: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.level) and math.isfinite(self.width) and self.width > 0):
            raise InputError(
                f"window {self.level:g},{self.width:g}: level and width must be finite, the width above 0"
            )

    def __str__(self) -> str:
        return f"level {self.level:g}, width {self.width:g}"


WINDOWS = {
    "lung": Window(-500, 1400),
    "abdomen": Window(40, 350),
    "bone": Window(400, 1000),
    "air": Window(-426, 1000),
    "brain": Window(50, 100),
    "mediastinum": Window(50, 350),
}


def parse_window(text: str) -> Window:
    """The window that ``text`` means: one of the names in ``WINDOWS``, or ``level,width`` in HU.

    Raises:
        InputError: The text is neither, or its width is not above 0.
    """
    if text.strip() in WINDOWS:
        return WINDOWS[text.strip()]
    try:
        level, width = (float(number) for number in text.split(","))
    except ValueError:
        names = ", ".join(WINDOWS)
        raise InputError(
            f"window {text.strip()!r}: give {names}, or level,width in HU (40,350, say)"
        ) from None
    return Window(level, width)


def apply_window(
    values: npt.NDArray[np.generic], window: Window, slope: float = 1.0, inter: float = 0.0
) -> npt.NDArray[np.uint8]:
    """Map voxels to 0-255 by a window.

    The grey value is ``255 * (HU - (L - W/2)) / W``, clipped to [0, 255] and rounded to the nearest
    integer, halves up; ``HU = slope * value + inter``. It is computed in float64, so that the same HU give
    the same grey whatever type they are stored in. Of integers of 8 or 16 bits it is looked up.

    Args:
        values: Stored voxels of any shape, integers or floats, free of NaN.
        window: Level and width in HU.
        slope: HU a stored unit.
        inter: HU of a stored 0.

    Returns:
        Grey values in the shape and memory order of ``values``.
    """
    if values.flags.f_contiguous and not values.flags.c_contiguous:
        return apply_window(values.T, window, slope, inter).T
    flat = np.ascontiguousarray(values).reshape(-1)
    if flat.dtype.kind not in "iu" or flat.dtype.itemsize > 2:
        return _compute(flat, window, slope, inter).reshape(values.shape)
    table = _table(flat.dtype.newbyteorder("="), window, slope, inter)
    return _look_up(table, flat.view(flat.dtype.str.replace("i", "u"))).reshape(values.shape)


def _look_up(
    table: npt.NDArray[np.uint8], entries: npt.NDArray[np.unsignedinteger[Any]]
) -> npt.NDArray[np.uint8]:
    """``table[entries]``, entries being all in range: in a seventh of that time with cv2, else in a third."""
    if _CV2_HAS_LARGE_TABLES and entries.size:
        native = entries.astype(entries.dtype.newbyteorder("="), copy=False)
        return np.asarray(cv2.LUT(native, table), np.uint8).reshape(entries.shape)
    grey = np.empty(entries.shape, np.uint8)
    for start in range(0, entries.size, _BLOCK):
        block = slice(start, start + _BLOCK)
        np.take(table, entries[block], out=grey[block], mode="clip")  # of take's modes the fastest
    return grey


@functools.lru_cache(maxsize=8)
def _table(dtype: np.dtype[np.generic], window: Window, slope: float, inter: float) -> npt.NDArray[np.uint8]:
    """The grey of every value of a type, in the order of the values' bits read as unsigned."""
    bits = np.arange(1 << 8 * dtype.itemsize).astype(f"u{dtype.itemsize}")
    return _compute(bits.view(dtype), window, slope, inter)


def _compute(
    flat: npt.NDArray[np.generic], window: Window, slope: float, inter: float
) -> npt.NDArray[np.uint8]:
    grey = np.empty(flat.shape, np.uint8)
    for start in range(0, flat.size, _BLOCK):
        block = flat[start : start + _BLOCK].astype(np.float64)
        with np.errstate(over="ignore"):  # infinity is clipped, too
            if (slope, inter) != (1.0, 0.0):
                block *= slope
                block += inter
            block -= window.level - window.width / 2
            block *= 255
            block /= window.width
        np.clip(block, 0, 255, out=block)
        block += 0.5  # the conversion to integers below drops the fraction
        grey[start : start + _BLOCK] = block.astype(np.uint8)
    return grey
