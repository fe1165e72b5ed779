"""A volume's slices as pictures of 8 bits, all of them in memory."""

import numpy as np
import numpy.typing as npt

from isegm.errors import InputError
from isegm.volumes.hu_check import HuCheck
from isegm.volumes.orientation import SlicePlan
from isegm.volumes.volume import Volume
from isegm.volumes.windows import Window


def read_pictures(volume: Volume, plan: SlicePlan, window: Window) -> npt.NDArray[np.uint8]:
    """Read a volume as windowed pictures, a byte a voxel.

    Args:
        volume: HU are windowed; grey values of 8 bits are taken as they are.
        plan: How pictures are taken from it.
        window: The CT window.

    Returns:
        (slices, H, W), contiguous.

    Warns:
        FileWarning: The values are not like HU.

    Raises:
        InputError: A voxel is NaN or infinite, all pictures have one grey everywhere, or the file is damaged.
    """
    grey = np.empty(volume.shape, np.uint8, order="F")
    check = HuCheck(volume.path)
    for start, slab in volume.slabs():
        slab.check_finite(f"slices {start} to {start + slab.stored.shape[2] - 1} of axis 2")
        part = slice(start, start + slab.stored.shape[2])
        if volume.is_8bit:
            grey[:, :, part] = slab.stored
        else:
            check.add(slab)
            grey[:, :, part] = slab.windowed(window)
    if not volume.is_8bit:
        check.warn()
    if grey.min() == grey.max():
        where = "" if volume.is_8bit else f" in the window of {window}"
        raise InputError(
            f"{volume.path}: all voxels have one grey value{where}; check the file, or choose another window"
        )
    return np.ascontiguousarray(plan.pictures(grey))
