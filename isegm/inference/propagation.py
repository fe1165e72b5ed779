"""From a slice's mask to its neighbour's: clicks without a person, and when the object has ended.

Letters: H and W a slice's height and width.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from isegm.geometry import Click
from isegm.metrics.overlap import Mask
from isegm.simulation.deepest import deepest_pixel

MOST_ANCHORS = 4
"""The most clicks that a slice gets by itself, one in each of the object's largest parts."""

_SMALLEST_PART = 0.05
"""Parts with a smaller share of the largest one's pixels get no click."""

_SMOOTHING = 1.0
"""Standard deviation, in pixels, of the Gaussian before greys are compared."""

_RIM = 2
"""Pixels of an object's rim, whose greys are mixed with what lies beside it."""

_LEAST_SPREAD = 3.0
"""Grey levels by which smoothed pixels of one tissue differ at least."""

_FURTHEST = 3.5
"""Spreads from the middle within which a grey is the object's."""

_LEAST_LEFT = 0.15
"""The object has ended where less of the neighbour's mask looks like it."""


@dataclass(frozen=True)
class Appearance:
    """How an object looks in a slice that a person has clicked on.

    Attributes:
        middle: The median of its smoothed greys.
        spread: How far they lie from it, as a standard deviation.
    """

    middle: float
    spread: float

    @classmethod
    def of(cls, picture: npt.NDArray[np.uint8], mask: Mask) -> "Appearance":
        """Look at an object, by its mask (H, W) on a slice (H, W); the mask must not be empty."""
        inner = np.asarray(cv2.erode(mask.view(np.uint8), np.ones((2 * _RIM + 1,) * 2, np.uint8))) > 0
        greys = _smooth(picture)[inner if inner.any() else mask]
        middle = float(np.median(greys))
        # 1.4826 median deviations are a standard deviation of what is normal but for a few.
        spread = 1.4826 * float(np.median(np.abs(greys - middle)))
        return cls(middle, max(spread, _LEAST_SPREAD))

    def seen_in(self, picture: npt.NDArray[np.uint8], mask: Mask) -> Mask:
        """The part of a mask (H, W) where a slice (H, W) looks like the object, without specks."""
        similar = np.abs(_smooth(picture) - self.middle) < _FURTHEST * self.spread
        kept = (similar & mask).view(np.uint8)
        return np.asarray(cv2.morphologyEx(kept, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))) > 0


def has_ended(before: Mask, left: Mask) -> bool:
    """Whether too little of the neighbour's mask looks like the object: 15 percent of it, or nothing."""
    return not left.any() or left.sum() < _LEAST_LEFT * before.sum()


def anchors(mask: Mask) -> list[Click]:
    """Positive clicks in the middle of a mask's parts, the largest part's first.

    Args:
        mask: (H, W).

    Returns:
        One click a part, at most ``MOST_ANCHORS``; none in an empty mask.
    """
    _, parts, figures, _ = cv2.connectedComponentsWithStats(mask.view(np.uint8), connectivity=8)
    areas = figures[1:, cv2.CC_STAT_AREA]
    clicks = []
    for number in np.argsort(-areas, kind="stable")[:MOST_ANCHORS]:
        if areas[number] < _SMALLEST_PART * areas.max():
            break
        part = parts == number + 1
        _, row, col = deepest_pixel(part, part, 1)
        clicks.append(Click(row, col, positive=True))
    return clicks


def _smooth(picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    return np.asarray(cv2.GaussianBlur(picture.astype(np.float32), (0, 0), _SMOOTHING), np.float32)
