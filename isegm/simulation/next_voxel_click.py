"""The click simulator for volumes: in the middle of the largest error.

Source: the evaluation of the CVPR 2025 challenge "Foundation Models for Interactive 3D Biomedical Image
Segmentation". Wrong voxels of both kinds that touch by a face, an edge or a corner are one error.
"""

import numpy as np
import numpy.typing as npt

from isegm.geometry import VoxelClick
from isegm.simulation.distance import measure_depth

_TIE_SEED = 42
"""Decides among voxels that are equally deep, as in the challenge."""

Region = npt.NDArray[np.bool_]


class NextVoxelClick:
    """Place click after click in one volume, each in the middle of the largest error.

    Nothing is remembered: a click that has changed nothing is placed once more, as in the challenge.

    Args:
        truth: (X, Y, Z), True on the object.

    Raises:
        ValueError: ``truth`` is not a three-dimensional boolean array.
    """

    def __init__(self, truth: Region) -> None:
        if truth.ndim != 3 or truth.dtype != np.bool_:
            raise ValueError(f"the truth must be (X, Y, Z) bool, not {truth.shape} {truth.dtype}")
        self._truth = truth

    def click(self, mask: Region) -> VoxelClick | None:
        """Place the next click.

        Of the errors the one with the most voxels is clicked (the first of several in the order of Z, Y, X),
        and in it the voxel furthest from the error's outside, counted in voxels; beyond the volume is
        outside. Of equally deep voxels one is drawn, always the same one.

        Args:
            mask: The current mask, (X, Y, Z) bool.

        Returns:
            The click, positive on a false negative; None where the mask is perfect.

        Raises:
            ValueError: ``mask`` is not a boolean array of the truth's shape.
        """
        if mask.shape != self._truth.shape or mask.dtype != np.bool_:
            raise ValueError(f"the mask must be {self._truth.shape} bool, not {mask.shape} {mask.dtype}")
        wrong = (mask ^ self._truth).transpose()  # (Z, Y, X), the order of the challenge's arrays
        box = _bounding_box(wrong)
        if box is None:
            return None
        error, corner = _largest_part(np.ascontiguousarray(wrong[box]))
        deepest = deepest_voxels(error)
        chosen = deepest[np.random.RandomState(_TIE_SEED).choice(len(deepest))]
        k, j, i = (int(at + start + side.start) for at, start, side in zip(chosen, corner, box, strict=True))
        return VoxelClick(i, j, k, bool(self._truth[i, j, k]))


def deepest_voxels(region: Region) -> npt.NDArray[np.int64]:
    """Find the voxels of a region that are furthest from what is outside, beyond the array's border too.

    Distances are Euclidean, in voxels, and exact. Those within its slice and along Z bound a voxel's depth
    from above; only where that leaves it possible that no voxel is deeper, its column is looked at.

    Args:
        region: (Z, Y, X), with at least one voxel.

    Returns:
        (N, 3) indices of all that are equally deep, in row-major order.
    """
    # A slice of nothing at either end: as far as one has to look, for it is outside everywhere.
    in_slice = np.zeros((region.shape[0] + 2, *region.shape[1:]), np.float32)
    for depth, part in zip(in_slice[1:], region, strict=False):
        squared, top, left = measure_depth(part)
        depth[top : top + squared.shape[0], left : left + squared.shape[1]] = squared
    bound = np.minimum(in_slice, np.square(_depth_along_z(region), dtype=np.float32))
    z, y, x = np.nonzero(bound)
    squared = bound[z, y, x]
    best = np.float32(0)  # a depth that some voxel has, or more
    step = 1
    # A slice so many steps away can make a voxel's squared depth no smaller than the steps' square.
    while step**2 < squared.max():
        likely = int(squared.argmax())
        column = in_slice[:, y[likely], x[likely]] + (np.arange(len(in_slice)) - z[likely]) ** 2.0
        best = max(best, column.min())
        left_over = squared >= best
        z, y, x, squared = z[left_over], y[left_over], x[left_over], squared[left_over]
        for beside in (np.maximum(z - step, 0), np.minimum(z + step, len(in_slice) - 1)):
            # Beyond the slice of nothing the distance to it counts, which is shorter.
            np.minimum(squared, in_slice[beside, y, x] + (beside - z) ** 2, out=squared)
        step += 1
    deepest = squared == squared.max()
    return np.column_stack((z - 1, y, x))[deepest]


def _depth_along_z(region: Region) -> npt.NDArray[np.uint16]:
    """Steps from each voxel to the outside along Z alone; with a slice of nothing at either end."""
    below = np.zeros((region.shape[0] + 2, *region.shape[1:]), np.uint16)
    above = np.zeros_like(below)
    for index in range(len(region)):
        below[index + 1] = (below[index] + 1) * region[index]
        above[-index - 2] = (above[-index - 1] + 1) * region[-index - 1]
    return np.minimum(below, above)


def _largest_part(error: Region) -> tuple[Region, tuple[int, int, int]]:
    """The connected part with the most voxels in its bounding box, and the box's first corner."""
    from scipy import ndimage  # slow to import, and only volumes need it

    labels, _ = ndimage.label(error, np.ones((3, 3, 3)))
    sizes = np.bincount(labels.reshape(-1))
    sizes[0] = 0
    largest = int(sizes.argmax())
    box = ndimage.find_objects(labels)[largest - 1]
    z, y, x = (side.start for side in box)
    return labels[box] == largest, (z, y, x)


def _bounding_box(region: Region) -> tuple[slice, slice, slice] | None:
    sides = []
    for axis in range(3):
        used = np.flatnonzero(region.any(axis=tuple({0, 1, 2} - {axis})))
        if not used.size:
            return None
        sides.append(slice(int(used[0]), int(used[-1]) + 1))
    z, y, x = sides
    return z, y, x
