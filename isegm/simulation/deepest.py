"""The deepest pixel of a region, without measuring the depth of all its pixels.

An exact distance transform of a 512 x 512 picture takes some 3 ms, and a simulated click would need two. But
only the deepest pixel is wanted, and cheap bounds rule out nearly all others: in thin regions by how often
they can be eroded, in thick ones by the transform of a coarse grid. What is left is measured exactly, in
whole squared pixels. Where too much is left (many parts of equal, middling depth), the whole is transformed.
"""

import functools
import math

import cv2
import numpy as np
import numpy.typing as npt

from isegm.simulation.distance import measure_depth

Region = npt.NDArray[np.uint8]  # (H, W), 0 outside
Deepest = tuple[int, int, int]  # squared depth, row, column

# A region that 3 x 3 can erode more often than this is thick.
_THIN = 8
# A power of two, for cells are halved down to pixels.
_CELL = 8
# Distances to measure; beyond, the transform of the whole is faster.
_WORTHWHILE = 1 << 20
# Pixels of nothing around a region: a multiple of the cell, and further than the depth of what is thin.
_AROUND = 16
_ROUNDING = 0.01
_NOTHING = (0, 0, 0)


def deepest_pixel(region: npt.NDArray[np.bool_], allowed: npt.NDArray[np.bool_], at_least: int) -> Deepest:
    """Find the pixel of a region that is furthest from what is outside, beyond the picture's border too.

    Args:
        region: (H, W).
        allowed: (H, W), the pixels to choose from. The others still belong to the region.
        at_least: Squared depth, in pixels, below which the result does not matter.

    Returns:
        The squared Euclidean distance to the nearest pixel outside, which is a whole number, and the row and
        column of the first pixel, in row-major order, that has it. Zeros if no pixel of the region is
        allowed, or if none is as deep as ``at_least``.
    """
    left, top, width, height = cv2.boundingRect(region.view(np.uint8))
    if ((min(height, width) + 1) // 2) ** 2 < max(1, at_least):
        return _NOTHING
    box = slice(top, top + height), slice(left, left + width)
    inside, free = _surrounded(region[box]), _surrounded(allowed[box])
    free &= inside
    is_thick = _meet(_erode(inside, 2 * _THIN + 1), free)
    found = (_deepest_of_thick if is_thick else _deepest_of_thin)(inside, free, at_least)
    if found is None:
        found = _deepest_of_all(inside, free)
    squared, row, col = found
    return (squared, row - _AROUND + top, col - _AROUND + left) if squared >= max(1, at_least) else _NOTHING


def _surrounded(part: npt.NDArray[np.bool_]) -> Region:
    """A part of a picture with nothing around it; below and to the right up to whole cells."""
    below, right = (_AROUND + -size % _CELL for size in part.shape)
    padded = cv2.copyMakeBorder(
        part.view(np.uint8), _AROUND, below, _AROUND, right, cv2.BORDER_CONSTANT, value=0
    )
    return np.asarray(padded, np.uint8)


def _erode(region: Region, size: int, anchor: tuple[int, int] = (-1, -1)) -> Region:
    return np.asarray(cv2.erode(region, np.ones((size, size), np.uint8), anchor=anchor), np.uint8)


def _meet(one: Region, other: Region) -> bool:
    return bool((one & other).view(np.bool_).any())


def _deepest_of_thin(inside: Region, free: Region, at_least: int) -> Deepest | None:
    """None where too many pixels may be the deepest."""
    # eroded[i] holds the pixels whose chessboard distance to the outside is above i.
    eroded = [inside]
    while _meet(smaller := _erode(eroded[-1], 3), free):
        eroded.append(smaller)
    chessboard = len(eroded)
    if 2 * chessboard**2 < at_least:
        return _NOTHING
    # The Euclidean distance is the chessboard's at least and sqrt(2) times it at most.
    certain = math.isqrt((chessboard**2 - 1) // 2)
    pixels = np.flatnonzero((eroded[certain] & free).view(np.bool_))
    if not pixels.size:
        return _NOTHING
    offsets, lengths = _ring(certain, 2 * chessboard**2, inside.shape[1])
    if pixels.size * offsets.size > _WORTHWHILE:
        return None
    # The first offset that leads outside: there is one, the ring being wide enough.
    squared = lengths[inside.reshape(-1)[pixels[:, None] + offsets].argmin(axis=1)]
    row, col = divmod(int(pixels[squared.argmax()]), inside.shape[1])
    return int(squared.max()), row, col


@functools.lru_cache(maxsize=64)
def _ring(beyond: int, squared: int, width: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Where pixels lie that are further off than ``beyond`` by the chessboard's distance, the nearest first.

    Args:
        beyond: Pixels.
        squared: The largest squared Euclidean distance.
        width: Of the picture.

    Returns:
        Flat offsets (N,), and their squared Euclidean lengths (N,).
    """
    reach = math.isqrt(squared)
    rows, cols = np.indices((2 * reach + 1, 2 * reach + 1)).reshape(2, -1) - reach
    lengths = rows**2 + cols**2
    order = np.argsort(lengths)
    order = order[(lengths[order] <= squared) & (np.maximum(abs(rows), abs(cols))[order] > beyond)]
    return (rows * width + cols)[order], lengths[order]


def _deepest_of_thick(inside: Region, free: Region, at_least: int) -> Deepest | None:
    """By halving cells; None where too many cells, or too long an edge, are left.

    A pixel's depth differs from another's by no more than the distance between the two. So a cell can be left
    out if the depth at its centre and the way from there to its corner fall short of a depth that is known.
    """
    full_cells, free_cells = (
        np.ascontiguousarray(_erode(part, _CELL, anchor=(0, 0))[::_CELL, ::_CELL]) for part in (inside, free)
    )
    # From a pixel of one cell to a pixel of another it is as far as from cell to cell, give or take this.
    play = math.hypot(_CELL - 1, _CELL - 1) + _ROUNDING
    coarse = _CELL * cv2.distanceTransform(full_cells, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    # The nearest pixel outside always touches the region.
    cross = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], np.uint8)
    edge = _pixels(np.greater(cv2.dilate(inside, cross), inside))
    best = math.sqrt(at_least)
    if free_cells.any():
        likely = np.array(np.unravel_index((coarse * free_cells).argmax(), coarse.shape))
        best = max(best, math.sqrt(_squared_distances(likely[None] * _CELL + _CELL // 2, edge)[0]))
    corners = _pixels(coarse + play >= best) * _CELL
    size = _CELL
    while len(corners):
        if len(corners) * len(edge) > _WORTHWHILE:
            return None
        centres = corners + size // 2
        squared = _squared_distances(centres, edge)
        is_free = free[centres[:, 0], centres[:, 1]] > 0
        if size == 1:
            break
        best = max(best, math.sqrt(squared[is_free].max(initial=0)))
        reach = math.hypot(size // 2, size // 2) + _ROUNDING
        corners = corners[np.sqrt(squared) + reach >= best]
        size //= 2
        corners = (corners[:, None] + size * np.array([[0, 0], [0, 1], [1, 0], [1, 1]])).reshape(-1, 2)
    if not len(corners) or not is_free.any():
        return _NOTHING
    centres, squared = centres[is_free], squared[is_free]
    row, col = min(centres[squared == squared.max()].tolist())
    return int(squared.max()), row, col


def _pixels(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    return np.column_stack(np.divmod(np.flatnonzero(mask), mask.shape[1]))  # faster than np.argwhere


def _squared_distances(points: npt.NDArray[np.int64], edge: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """From each point (N, 2) to the nearest of the edge (M, 2), squared: whole numbers, exact in float64."""
    towards = np.column_stack((-2 * points, np.ones(len(points)))) @ np.vstack(
        (edge.T, (edge**2).sum(axis=1))
    )
    return towards.min(axis=1) + (points**2).sum(axis=1)


def _deepest_of_all(inside: Region, free: Region) -> Deepest:
    squared, top, left = measure_depth(inside.view(np.bool_))
    height, width = squared.shape
    squared = squared * free[top : top + height, left : left + width]
    row, col = divmod(int(squared.argmax()), width)
    return int(squared[row, col]), top + row, left + col
