"""Clicks as tensors, and as maps that a network can read.

Letters: B batch, N clicks of a polarity at most, H and W the network input's height and width.

Points are (B, 2N, 3): (row, col, order) in network-input pixels; the first N rows are positive clicks, the
last N negative ones, order counts from 0 over both, and an unused row is (-1, -1, -1).
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from isegm.geometry import Click

DISK_RADIUS = 5.0
"""Radius of a click's disk, in network-input pixels."""

NO_CLICK = 1e6
"""Squared distance to the nearest click where there is none."""


def encode_clicks(clicks: Sequence[Click]) -> Tensor:
    """Lay out one picture's clicks, in the order in which they were placed, as points.

    Args:
        clicks: Coordinates in network-input pixels.

    Returns:
        (2N, 3) float64, where N is the larger of the two polarities' counts and at least 1.
    """
    rows: dict[bool, list[tuple[float, float, float]]] = {True: [], False: []}
    for order, click in enumerate(clicks):
        rows[click.positive].append((click.row, click.col, order))
    n = max(1, len(rows[True]), len(rows[False]))
    points = torch.full((2, n, 3), -1.0, dtype=torch.float64)
    for polarity, placed in enumerate((rows[True], rows[False])):
        if placed:
            points[polarity, : len(placed)] = torch.tensor(placed, dtype=torch.float64)
    return points.flatten(0, 1)


def is_click(points: Tensor) -> Tensor:
    """Tell which rows of ``points`` (B, 2N, 3) hold a click: (B, 2N) bool."""
    return points[..., 2] >= 0


def squared_distances(points: Tensor, height: int, width: int) -> Tensor:
    """Squared distance of every pixel to the nearest click of each polarity.

    Args:
        points: (B, 2N, 3).
        height: H, in pixels.
        width: W, in pixels.

    Returns:
        (B, 2, H, W), positive first; 1e6 where a polarity has no click.
    """
    batch, rows, _ = points.shape
    grid_row = torch.arange(height, dtype=points.dtype, device=points.device)
    grid_col = torch.arange(width, dtype=points.dtype, device=points.device)
    d_row = (grid_row - points[..., 0:1]).square()  # (B, 2N, H)
    d_col = (grid_col - points[..., 1:2]).square()  # (B, 2N, W)
    distances = d_row.unsqueeze(3) + d_col.unsqueeze(2)  # (B, 2N, H, W)
    distances = distances.masked_fill(~is_click(points)[..., None, None], NO_CLICK)
    return distances.view(batch, 2, rows // 2, height, width).amin(2)  # (B, 2, H, W)


def disk_radii(shape: tuple[int, int], size: tuple[int, int]) -> tuple[float, float]:
    """A click's disk in a picture's own pixels: radii down and across.

    Args:
        shape: The picture's height and width.
        size: Those of the network's input that is made of it.
    """
    return DISK_RADIUS * shape[0] / size[0], DISK_RADIUS * shape[1] / size[1]


def disks(distances: Tensor) -> Tensor:
    """1 within ``DISK_RADIUS`` of a click and 0 elsewhere, from squared distances of any shape."""
    return (distances <= DISK_RADIUS**2).to(distances.dtype)


def first_click_disk(points: Tensor, height: int, width: int) -> Tensor:
    """The disk of the click of order 0 if it is positive, else all zero: (B, 1, H, W)."""
    positive = points[:, : points.shape[1] // 2]
    first = torch.where(positive[..., 2:3] == 0, positive, -1.0)
    both = torch.cat([first, torch.full_like(first, -1.0)], dim=1)
    return disks(squared_distances(both, height, width)[:, :1])
