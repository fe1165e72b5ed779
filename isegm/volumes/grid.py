"""Whether two volumes lie on one grid, voxel by voxel."""

import warnings

import numpy as np
import numpy.typing as npt

from isegm.errors import FileWarning, InputError
from isegm.volumes.orientation import is_singular
from isegm.volumes.volume import Volume

GRID_TOLERANCE = 0.01
"""Corresponding voxels may lie this far apart, in the smallest spacing: files hold their affine in single
precision or as rounded text, while a true mismatch is off by half a voxel or more."""


def align(first: Volume, second: Volume) -> tuple[Volume, Volume]:
    """Turn round the axes of what can be turned round (DICOM) so that two volumes lie on each other.

    Returns:
        Both volumes; what does not fit is as it was.
    """
    first = first.on_grid_of(second)
    return first, second.on_grid_of(first)


def common_grid(first: Volume, second: Volume) -> Volume:
    """Check that two volumes lie on one grid, and return the one whose affine holds for both.

    That is the second, unless only the first says how it lies in the patient.

    Warns:
        FileWarning: One of them, or neither, says how it lies in the patient.

    Raises:
        InputError: Their shapes or affines differ, or an affine is singular or NaN.
    """
    if first.shape != second.shape:
        raise InputError(
            f"{first.path}: has {_sides(first)} voxels, but {second.path} has {_sides(second)}; give two "
            "of one grid"
        )
    holds = first if first.has_orientation and not second.has_orientation else second
    for volume in (first, second):
        if (volume.has_orientation or volume is holds) and is_singular(volume.affine):
            raise InputError(f"{volume.path}: its affine is singular or NaN; correct its header")
    if first.has_orientation and second.has_orientation:
        apart = _furthest(first.affine - second.affine, first.shape)
        if apart > GRID_TOLERANCE * min(second.spacing_mm):
            raise InputError(
                f"{first.path}: lies elsewhere than {second.path}, by up to {apart:.3g} mm; resample it to "
                "the same grid"
            )
    else:
        lacking = first if second.has_orientation else second
        taken = "the other volume's" if holds.has_orientation else "LAS"
        text = f"does not say how it lies in the patient; {taken} is taken"
        warnings.warn(FileWarning(lacking.path, text), stacklevel=2)
    return holds


def _sides(volume: Volume) -> str:
    return " x ".join(map(str, volume.shape))


def _furthest(difference: npt.NDArray[np.float64], shape: tuple[int, int, int]) -> float:
    """How far apart two affines put a voxel at most: it is at one of the corners, the map being affine."""
    corners = np.indices((2, 2, 2)).reshape(3, 8) * (np.array(shape)[:, None] - 1)  # (3, 8) voxel indices
    apart = difference[:3, :3] @ corners + difference[:3, 3:]
    return float(np.linalg.norm(apart, axis=0).max())
