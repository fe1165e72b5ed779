"""How far apart two boundaries are: HD95 and surface Dice, in two or three dimensions.

The boundary of a mask is its pixels with a neighbour outside the mask, neighbours sharing an edge (4 in a
picture) or a face (6 in a volume); beyond the picture's border everything is outside. Distances are
Euclidean, from pixel centre to the nearest pixel centre of the other boundary, in the unit of the spacing.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from isegm.metrics.overlap import Mask

# Up to this many pairs of boundary pixels, trying all of them is quicker than importing SciPy.
PAIRS_TRIED_ALL = 250_000
# Header spacings are float32: five pixels of 0.4 mm come out a little above 2 mm, and must count as 2 mm.
ROUNDING = 1e-6


@dataclass(frozen=True)
class SurfaceDistances:
    """Distances between two boundaries, both ways.

    Attributes:
        from_prediction: (P,) from each boundary pixel of the prediction to the nearest of the truth;
            infinite where the truth is empty.
        from_truth: (T,) the other way round; infinite where the prediction is empty.
    """

    from_prediction: npt.NDArray[np.float64]
    from_truth: npt.NDArray[np.float64]


def surface_distances(
    prediction: Mask, truth: Mask, spacing: npt.NDArray[np.floating] | Sequence[float] | None = None
) -> SurfaceDistances:
    """Measure every boundary pixel of each mask against the other mask's boundary.

    Time and memory grow with the boundaries, not with the picture: the pixels are looked up in a k-d tree
    (short boundaries pair by pair) rather than in a distance map of the whole volume.

    Args:
        prediction: (H, W) or a volume, True on the object.
        truth: The same shape.
        spacing: (axes,) distances between pixel centres along each axis, in mm say; where axes are not at
            right angles (axes, axes), from pixel indices to mm. None is 1 (pixels).

    Raises:
        ValueError: The shapes differ, a mask is not bool, or the spacing is not one positive number an axis
            (or a matrix that maps nothing to 0).
    """
    if prediction.shape != truth.shape:
        raise ValueError(f"the prediction is {prediction.shape} but the truth is {truth.shape}")
    if prediction.dtype != np.bool_ or truth.dtype != np.bool_:
        raise ValueError(f"masks must be bool, not {prediction.dtype} and {truth.dtype}")
    steps = np.ones(truth.ndim) if spacing is None else np.asarray(spacing, np.float64)
    if steps.shape == (truth.ndim, truth.ndim):
        is_spacing = np.isfinite(steps).all() and np.linalg.det(steps) != 0
    else:
        is_spacing = steps.shape == (truth.ndim,) and (np.isfinite(steps) & (steps > 0)).all()
    if not is_spacing:
        raise ValueError(f"the spacing must be {truth.ndim} positive numbers, not {spacing}")
    return _between(boundary_pixels(prediction), boundary_pixels(truth), steps)


def hd95(distances: SurfaceDistances) -> float:
    """The larger of the two 95th percentiles of directed distances, linearly interpolated.

    This is the Hausdorff distance with each maximum replaced by a percentile. Pooling both sets before
    taking the percentile would let the longer boundary outvote the shorter one.

    Returns:
        In the unit of the spacing; NaN where either mask is empty.
    """
    if not distances.from_prediction.size or not distances.from_truth.size:
        return math.nan
    return float(max(np.percentile(distances.from_prediction, 95), np.percentile(distances.from_truth, 95)))


def nsd(distances: SurfaceDistances, tolerance: float) -> float:
    """The normalised surface Dice (NSD): the share of both boundaries within a tolerance of the other.

    Every boundary pixel weighs the same. A distance equal to the tolerance is within it.

    Args:
        distances: Of a prediction and its truth.
        tolerance: In the unit of the spacing, not negative.

    Returns:
        In [0, 1]; 0 where exactly one mask is empty, NaN where both are.

    Raises:
        ValueError: The tolerance is negative, infinite or NaN.
    """
    if not 0 <= tolerance < math.inf:
        raise ValueError(f"a tolerance is finite and not negative, unlike {tolerance}")
    limit = tolerance * (1 + ROUNDING)
    total = distances.from_prediction.size + distances.from_truth.size
    within = np.count_nonzero(distances.from_prediction <= limit)
    within += np.count_nonzero(distances.from_truth <= limit)
    return within / total if total else math.nan


def boundary_pixels(mask: Mask) -> npt.NDArray[np.int64]:
    """Find the pixels of a mask with a neighbour outside it.

    Args:
        mask: True on the object; any number of axes.

    Returns:
        (N, axes) indices into the mask, in row-major order; (0, axes) for an empty mask.
    """
    if not mask.any():
        return np.empty((0, mask.ndim), np.int64)
    box = _bounding_box(mask)
    # Outside its bounding box a mask is empty, as it is beyond the picture: cropping changes no neighbour.
    cropped = mask[box]
    inner = cropped.copy()
    for axis in range(mask.ndim):
        inner_along, along = np.moveaxis(inner, axis, 0), np.moveaxis(cropped, axis, 0)
        inner_along[1:] &= along[:-1]
        inner_along[:-1] &= along[1:]
        inner_along[0] = inner_along[-1] = False
    corner = np.array([side.start for side in box], np.int64)
    return np.argwhere(cropped & ~inner).astype(np.int64, copy=False) + corner


def _bounding_box(mask: Mask) -> tuple[slice, ...]:
    sides = []
    for axis in range(mask.ndim):
        others = tuple(other for other in range(mask.ndim) if other != axis)
        used = np.flatnonzero(mask.any(axis=others))
        sides.append(slice(int(used[0]), int(used[-1]) + 1))
    return tuple(sides)


def _between(
    prediction: npt.NDArray[np.int64], truth: npt.NDArray[np.int64], steps: npt.NDArray[np.float64]
) -> SurfaceDistances:
    """Distances between the boundary pixels of a prediction (P, axes) and of its truth (T, axes)."""
    if not len(prediction) or not len(truth):
        return SurfaceDistances(np.full(len(prediction), np.inf), np.full(len(truth), np.inf))
    if steps.ndim == 1 and len(prediction) * len(truth) <= PAIRS_TRIED_ALL:
        squares = np.zeros((len(prediction), len(truth)))
        for axis, step in enumerate(steps):
            squares += (np.subtract.outer(prediction[:, axis], truth[:, axis]) * step) ** 2
        return SurfaceDistances(np.sqrt(squares.min(axis=1)), np.sqrt(squares.min(axis=0)))
    from scipy.spatial import KDTree

    def mm(pixels: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        return pixels * steps if steps.ndim == 1 else pixels @ steps.T

    _, nearest_truth = KDTree(mm(truth)).query(mm(prediction))
    _, nearest_prediction = KDTree(mm(prediction)).query(mm(truth))
    return SurfaceDistances(
        _lengths(mm(prediction - truth[nearest_truth])), _lengths(mm(truth - prediction[nearest_prediction]))
    )


def _lengths(offsets: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Lengths of (N, axes) offsets. Taken from whole pixels apart, they do not depend on the place."""
    return np.asarray(np.sqrt((offsets**2).sum(axis=1)), np.float64)
