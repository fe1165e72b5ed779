"""Series of a tilted gantry, with their slices moved straight above each other."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from math import ceil

import numpy as np
import numpy.typing as npt

from isegm.volumes.volume import Volume, Voxels

OUTSIDE_HU = -1024.0
"""What voxels get that no slice reaches."""


@dataclass(frozen=True, kw_only=True, eq=False)
class UntiltedVolume(Volume):
    """A sheared volume, resampled slice by slice to axes at right angles.

    Each slice is moved within its plane, by linear interpolation; none is mixed with another.

    Attributes:
        sheared: The volume.
        shift: Voxels along the first two axes by which each slice lies further than the one before.
        first: Voxels along these axes at which the first slice begins.
    """

    sheared: Volume
    shift: tuple[float, float]
    first: tuple[int, int]

    @classmethod
    def of(cls, volume: Volume) -> "UntiltedVolume":
        """Give it room for all of the slices, wherever they are moved to."""
        plane = volume.affine[:3, :2]
        across = np.cross(plane[:, 0], plane[:, 1])
        across /= np.linalg.norm(across)
        step = volume.affine[:3, 2]
        shift, *_ = np.linalg.lstsq(plane, step, rcond=None)
        reach = shift * (volume.shape[2] - 1)
        sides = [side + ceil(abs(far) - 1e-6) for side, far in zip(volume.shape[:2], reach, strict=True)]
        first = [max(0, ceil(-far - 1e-6)) for far in reach]
        affine = volume.affine.copy()
        affine[:3, 2] = (across @ step) * across
        affine[:3, 3] -= plane @ first
        return cls(
            path=volume.path,
            shape=(sides[0], sides[1], volume.shape[2]),
            affine=affine,
            has_orientation=volume.has_orientation,
            sheared=volume,
            shift=(float(shift[0]), float(shift[1])),
            first=(first[0], first[1]),
        )

    def slabs(self, wanted: Collection[int] | None = None) -> Iterator[tuple[int, Voxels]]:
        """As :meth:`Volume.slabs`, a slice a slab, in HU."""
        for start, slab in self.sheared.slabs(wanted):
            hu = slab.hu()
            moved = np.stack(
                [self._moved(hu[:, :, offset], start + offset) for offset in range(hu.shape[2])], axis=2
            )
            yield start, Voxels(slab.path, moved)

    def _moved(self, picture: npt.NDArray[np.float64], index: int) -> npt.NDArray[np.float32]:
        for axis in (0, 1):
            picture = _move(picture, axis, self.first[axis] + index * self.shift[axis], self.shape[axis])
        return picture.astype(np.float32)


def _move(picture: npt.NDArray[np.float64], axis: int, by: float, side: int) -> npt.NDArray[np.float64]:
    """A picture moved along an axis into one of another length."""
    rows = np.moveaxis(picture, axis, 0)
    at = np.arange(side) - by
    low = np.floor(at).astype(np.intp)
    share = (at - low)[:, None]
    is_inside = (at > -1e-3) & (at < len(rows) - 1 + 1e-3)
    one, other = (rows[np.clip(place, 0, len(rows) - 1)] for place in (low, low + 1))
    moved = np.where(is_inside[:, None], one * (1 - share) + other * share, OUTSIDE_HU)
    return np.moveaxis(moved, 0, axis)
