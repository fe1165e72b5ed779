"""CT windows: which HU become black, which white.

A window of level L and width W maps HU in [L - W/2, L + W/2] linearly to [0, 255]. It is the same for every
volume: nothing that happens to be in a volume moves it.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from isegm.errors import InputError

# Voxels worked on at once: 512 KiB of float64 stay in a processor's cache, which doubles the speed.
_BLOCK = 1 << 16


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


def shield_negative_levels(argv: Sequence[str]) -> list[str]:
    """Let ``--window -500,1400`` through argparse, which takes a leading minus for an option.

    A space put before such an argument hides the minus; :func:`parse_window` drops it again.

    Args:
        argv: Command-line arguments without the program's name.
    """
    return [f" {argument}" if re.match(r"-[\d.]+,", argument) else argument for argument in argv]


def apply_window(
    values: npt.NDArray[np.generic], window: Window, slope: float = 1.0, inter: float = 0.0
) -> npt.NDArray[np.uint8]:
    """Map voxels to 0-255 by a window.

    The grey value is ``255 * (HU - (L - W/2)) / W``, clipped to [0, 255] and rounded to the nearest
    integer, halves up; ``HU = slope * value + inter``. It is computed in float64, block by block, so that
    the same HU give the same grey whatever type they are stored in.

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
    grey = np.empty(flat.shape, np.uint8)
    for start in range(0, flat.size, _BLOCK):
        block = flat[start : start + _BLOCK].astype(np.float64)
        if (slope, inter) != (1.0, 0.0):
            block *= slope
            block += inter
        block -= window.level - window.width / 2
        block *= 255
        block /= window.width
        np.clip(block, 0, 255, out=block)
        block += 0.5  # the conversion to integers below drops the fraction
        grey[start : start + _BLOCK] = block.astype(np.uint8)
    return grey.reshape(values.shape)
