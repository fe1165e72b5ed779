"""A segmentation of volumes by clicks that needs no weights: what a network has to be better than.

As :mod:`isegm.inference.geodesic`, in three dimensions and millimetres. The volume is first shrunk: shortest
paths through all voxels of a scan would take minutes a click.
"""

import numpy as np
import numpy.typing as npt

from isegm.geometry import VoxelClick
from isegm.inference.volume_segmenter import VolumeMask
from isegm.volumes.orientation import upright
from isegm.volumes.volume import Volume
from isegm.volumes.windowed import read_pictures
from isegm.volumes.windows import Window

VOXELS = 400_000
"""Voxels that distances are computed on at most: about 2 s a click on one core."""

_SMOOTHING_MM = 1.0
"""Standard deviation of the Gaussian before the gradient, beyond what shrinking smooths."""

_STEP = 0.1
"""Cost of a millimetre of path where nothing changes, in grey levels."""

Distances = npt.NDArray[np.float64]  # (X', Y', Z') of the shrunken volume


class GeodesicVolumeSegmenter:
    """Segment a volume by clicks, without a network.

    A voxel belongs to the object if a positive click is nearer to it than any negative click and the volume's
    sides. Its first and last axial slice count as no sides, for an organ may go on beyond them. Distances are
    geodesic: a path is as long as the grey values change along it.

    Args:
        threshold: ``mask`` is where the background's part of both distances is above this.
        voxels: The volume is shrunk to so many voxels at most.

    Raises:
        ValueError: ``threshold`` is not within [0, 1), or ``voxels`` is below 8.
    """

    def __init__(self, *, threshold: float = 0.5, voxels: int = VOXELS) -> None:
        if not 0 <= threshold < 1:
            raise ValueError(f"threshold must be at least 0 and below 1, not {threshold}")
        if voxels < 8:
            raise ValueError(f"voxels must be at least 8, not {voxels}")
        self.threshold = threshold
        self.voxels = voxels

    def set_volume(self, volume: Volume, window: Window) -> None:
        """Start on a volume; all clicks on the last one are forgotten.

        Raises:
            InputError: The volume cannot be read.
        """
        self._shape = volume.shape
        self._spacing = np.array(volume.spacing_mm)
        plan = upright(volume.affine)
        grey = plan.array(read_pictures(volume, plan, window))
        small = _shrink(grey, self._spacing, self.voxels)
        self._small_spacing = self._spacing * volume.shape / small.shape
        self._cost = _cost_of(small, self._small_spacing)
        self._to_object = np.full(small.shape, np.inf)
        self._to_background = self._distances(_sides(small.shape, plan.axis))
        self._clicks: list[VoxelClick] = []

    @property
    def clicks(self) -> tuple[VoxelClick, ...]:
        """The clicks so far."""
        return tuple(self._clicks)

    @property
    def mask(self) -> VolumeMask:
        """The current mask, (X, Y, Z); empty before the first positive click."""
        if not np.isfinite(self._to_object).any():
            return np.zeros(self._shape, np.bool_)
        # Where both are 0, a click lies on the other side's seed: undecided.
        both = self._to_object + self._to_background
        part = np.full(both.shape, 0.5, np.float32)
        known = np.isfinite(both) & (both > 0)
        np.divide(self._to_background, both, out=part, where=known, casting="same_kind")
        part[np.isinf(self._to_background)] = 1
        mask = np.asarray(_enlarge(part, self._shape) > self.threshold)
        # Clicks decide their own voxels, as a user expects.
        for click in self._clicks:
            mask[click.voxel] = click.positive
        return mask

    def click(self, voxel: tuple[int, int, int], positive: bool = True) -> None:
        """Place a click.

        Args:
            voxel: (i, j, k), within the volume.
            positive: True on the object, False on the background.
        """
        small = tuple(
            int((at + 0.5) * new / old)
            for at, new, old in zip(voxel, self._cost.shape, self._shape, strict=True)
        )
        nearer = self._to_object if positive else self._to_background
        np.minimum(nearer, self._distances([small]), out=nearer)
        self._clicks.append(VoxelClick(*voxel, bool(positive)))

    def _distances(self, starts: list[tuple[int, ...]]) -> Distances:
        from skimage.graph import MCP_Geometric  # slow to import, and only wanted for comparison

        if not starts:
            return np.full(self._cost.shape, np.inf)
        costs, _ = MCP_Geometric(self._cost, sampling=tuple(self._small_spacing)).find_costs(starts)
        return np.asarray(costs)


def _shrink(
    grey: npt.NDArray[np.uint8], spacing: npt.NDArray[np.float64], voxels: int
) -> npt.NDArray[np.float32]:
    """Average blocks of voxels, as nearly cubes as their spacing allows, until so many are left at most."""
    from scipy import ndimage

    step = spacing.min()
    while True:
        blocks = np.maximum(1, np.round(step / spacing)).astype(int)
        shape = np.maximum(1, np.array(grey.shape) // blocks)
        if shape.prod() <= voxels:
            break
        step *= 1.05
    smooth = grey.astype(np.float32)
    for axis, block in enumerate(blocks):
        if block > 1:
            ndimage.uniform_filter1d(smooth, int(block), axis=axis, output=smooth)
    places = [_middles(old, new) for old, new in zip(grey.shape, shape, strict=True)]
    return np.ascontiguousarray(smooth[np.ix_(*places)])


def _middles(old: int, new: int) -> npt.NDArray[np.int64]:
    """The voxels in the middle of ``new`` equal parts of ``old`` voxels."""
    return ((np.arange(new) + 0.5) * old / new).astype(np.int64)


def _enlarge(small: npt.NDArray[np.float32], shape: tuple[int, int, int]) -> npt.NDArray[np.float32]:
    """Interpolate linearly between the middles of equal parts, axis after axis."""
    for axis, size in enumerate(shape):
        at = np.clip((np.arange(size) + 0.5) * small.shape[axis] / size - 0.5, 0, small.shape[axis] - 1)
        low = np.floor(at).astype(np.int64)
        high = np.minimum(low + 1, small.shape[axis] - 1)
        part = (at - low).astype(np.float32).reshape([-1 if other == axis else 1 for other in range(3)])
        small = small.take(low, axis) * (1 - part) + small.take(high, axis) * part
    return small


def _cost_of(grey: npt.NDArray[np.float32], spacing: npt.NDArray[np.float64]) -> Distances:
    """Cost of a millimetre of path: the gradient, in grey levels per millimetre."""
    from scipy import ndimage

    smooth = ndimage.gaussian_filter(grey, _SMOOTHING_MM / spacing)
    squares = np.zeros(grey.shape)
    for axis, step in enumerate(spacing):
        if grey.shape[axis] > 1:
            squares += np.square(np.gradient(smooth, step, axis=axis))
    return np.sqrt(squares) + _STEP


def _sides(shape: tuple[int, ...], axis: int) -> list[tuple[int, ...]]:
    """The voxels at the sides of a volume, but for those along an axis."""
    sides = np.ones(shape, np.bool_)
    sides[tuple(slice(None) if other == axis else slice(1, -1) for other in range(3))] = False
    return [tuple(map(int, voxel)) for voxel in np.argwhere(sides)]
