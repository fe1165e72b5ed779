"""From a slice's mask to its neighbour's: clicks without a person, and when the object has ended.

Letters: H and W a slice's height and width.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from isegm.geometry import Click
from isegm.inference.segmenter import Probability
from isegm.metrics.overlap import Mask

MOST_ANCHORS = 4
"""The most clicks that a slice gets by itself, one in each of the object's largest parts."""

_SMALLEST_PART = 0.05
"""Parts with a smaller share of the largest one's pixels get no click."""

_DEEP_ENOUGH = 0.35
"""The share of the deepest pixel's depth that a known place must have to be clicked on."""

_MIDDLE = 0.5
"""The share of the deepest pixel's depth from which on a click is one in the middle of a part."""

GIVEN_REACH = 3.0
"""How far a click frees pixels of a mask from elsewhere, by how far it lies from the mask's edge."""

OWN_REACH = 2.0
"""The same of a mask that the network itself has made of the picture; three times took more clicks."""

_LEAST_FREED = 2.0
"""How many pixels a click that is not on an error, as far as the mask's pixels tell, frees all the same."""

_SMOOTHING = 1.0
"""Standard deviation, in pixels, of the Gaussian before greys are compared."""

_RIM = 2
"""Pixels of an object's rim, whose greys are mixed with what lies beside it."""

_LEAST_SPREAD = 3.0
"""Grey levels by which smoothed pixels of one tissue differ at least."""

_FURTHEST = 3.5
"""Spreads from the middle within which a grey is the object's."""

VOUCHED_MM = 25.0
"""How far a positive click speaks against a mask's being false as a whole, in millimetres."""

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


def parts_meeting(mask: Mask, other: Mask) -> Mask:
    """The 8-connected parts of a mask (H, W) that share a pixel with another one (H, W)."""
    _, parts = cv2.connectedComponents(mask.view(np.uint8), connectivity=8)
    return np.isin(parts, parts[mask & other])


def parts_clicked_on(mask: Mask, clicks: Sequence[Click]) -> Mask:
    """The 8-connected parts of a mask (H, W) that hold a positive one of some clicks."""
    clicked = np.zeros(mask.shape, np.bool_)
    for click in clicks:
        clicked[round(click.row), round(click.col)] |= click.positive
    return parts_meeting(mask, clicked)


def parts_mostly_in(mask: Mask, other: Mask) -> Mask:
    """The 8-connected parts of a mask (H, W) more than half of whose pixels are in another one (H, W)."""
    count, parts = cv2.connectedComponents(mask.view(np.uint8), connectivity=8)
    covered = np.bincount(parts[mask & other], minlength=count)
    return np.asarray((2 * covered > np.bincount(parts[mask], minlength=count))[parts])


def bulk_of(change: Mask) -> tuple[Mask, float]:
    """What a click was meant to change, (H, W), and how deep it is, in pixels.

    It is without what is less than half as wide as the widest place: outlines come along with most changes,
    where the network draws them a little otherwise.
    """
    depths = _depths(change)
    depth = float(depths.max())
    return change & widened(depths > depth / 2, round(depth / 2)), depth


def widened(mask: Mask, margin: int) -> Mask:
    """A mask (H, W) with all pixels that are so few rows and columns away."""
    return np.asarray(cv2.dilate(mask.view(np.uint8), np.ones((2 * margin + 1,) * 2, np.uint8))) > 0


def anchors(mask: Mask, known: Sequence[Click]) -> list[Click]:
    """Positive clicks well inside a mask's parts, the largest part's first.

    A wrong mask is deepest where it is wrong. So a place that a person has clicked on, in another slice, goes
    before the deepest one if it lies deep enough.

    Args:
        mask: (H, W).
        known: Positive clicks of people on other slices, the nearest slice's first.

    Returns:
        One click a part, at most ``MOST_ANCHORS``; none in an empty mask.
    """
    _, parts, figures, _ = cv2.connectedComponentsWithStats(mask.view(np.uint8), connectivity=8)
    areas = figures[1:, cv2.CC_STAT_AREA]
    clicks = []
    for number in np.argsort(-areas, kind="stable")[:MOST_ANCHORS]:
        if areas[number] < _SMALLEST_PART * areas.max():
            break
        depths = _depths(parts == number + 1)
        deep = (click for click in known if _at(depths, click) >= _DEEP_ENOUGH * depths.max())
        row, col = np.unravel_index(depths.argmax(), depths.shape)
        clicks.append(next(deep, Click(int(row), int(col), positive=True)))
    return clicks


def denied(mask: Mask, click: Click, known: Sequence[Click]) -> Mask:
    """The part of a mask that a negative click says is no object at all.

    A click in the middle of a part in which nobody has clicked positively means the whole part; one nearer to
    its rim means a piece of it, which is the network's to find.

    Args:
        mask: (H, W).
        click: Negative.
        known: Positive clicks of people on slices within ``VOUCHED_MM``.

    Returns:
        (H, W), empty if it is not the whole of a part.
    """
    _, parts = cv2.connectedComponents(mask.view(np.uint8), connectivity=8)
    part = (parts == _at(parts, click)) & mask
    depths = _depths(part)
    is_middle = part.any() and _at(depths, click) >= _MIDDLE * depths.max()
    is_known = any(_at(depths, other) >= _DEEP_ENOUGH * depths.max() for other in known)
    return part if is_middle and not is_known else np.zeros_like(mask)


def freed(mask: Mask, click: Click, others: Sequence[Click], reach: float) -> Probability:
    """A mask (H, W) to be corrected by a click, 0.5 where that click may change it.

    These are the wrong pixels around the click, within ``reach`` times its distance from the nearest right
    one, that lie nearer to it than to any click of the other kind.
    """
    wrong = mask != click.positive
    most = max(reach**2 * _squared_depth(wrong, click), _LEAST_FREED**2)
    window = (_within(click.row, math.sqrt(most)), _within(click.col, math.sqrt(most)))
    distance = _distance_to([click], window, mask.shape)
    undecided = wrong[window] & (distance <= most)
    opposite = [other for other in others if other.positive != click.positive]
    if opposite:
        undecided &= distance < _distance_to(opposite, window, mask.shape)
    known = mask.astype(np.float32)
    known[window][undecided] = 0.5
    return known


def to_correct(mask: Mask, middle: Click, clicks: Sequence[Click]) -> tuple[tuple[Click, ...], Probability]:
    """What the head is shown of a mask that was given, to correct it by the last of some clicks.

    Args:
        mask: (H, W), with what the clicks before have changed.
        middle: A positive click in the middle of the mask as it was given.
        clicks: Those that were placed, in order; at least one.

    Returns:
        The clicks, after the middle as long as the mask holds that; and the mask, (H, W), as :func:`freed`
        gives it.
    """
    is_held = mask[round(middle.row), round(middle.col)]
    seen = (middle, *clicks) if is_held else tuple(clicks)
    return seen, freed(mask, clicks[-1], seen, GIVEN_REACH)


def to_carry(mask: Mask, seen: Mask) -> Probability:
    """What the head is shown, on a slice, of the mask of the slice before.

    What does not look like the object is left to the network, not taken from it.

    Args:
        mask: (H, W), of the slice before.
        seen: (H, W), the part of it where this slice looks like the object (:meth:`Appearance.seen_in`).

    Returns:
        (H, W): 1 where it was seen, 0.5 in the rest of the mask.
    """
    return np.where(seen, np.float32(1), mask * np.float32(0.5))


def stamped(mask: Mask, click: Click, radii: tuple[float, float]) -> Mask:
    """A mask (H, W) with a click's disk in it, or taken from it: what a click does that the network ignores.

    Args:
        mask: (H, W).
        click: Its polarity decides.
        radii: Of the disk, down and across, in pixels.
    """
    rows, cols = np.ogrid[: mask.shape[0], : mask.shape[1]]
    disk = ((rows - click.row) / radii[0]) ** 2 + ((cols - click.col) / radii[1]) ** 2 <= 1
    return np.where(disk, click.positive, mask)


def _within(place: float, reach: float) -> slice:
    """The rows or columns that are no further than ``reach`` from a place."""
    return slice(max(0, math.ceil(place - reach)), math.floor(place + reach) + 1)


def _distance_to(
    clicks: Sequence[Click], window: tuple[slice, slice], shape: tuple[int, ...]
) -> npt.NDArray[np.float64]:
    """Squared distance, in pixels, of a window of a picture (H, W) to the nearest of some clicks."""
    rows = np.arange(shape[0])[window[0], None]
    cols = np.arange(shape[1])[None, window[1]]
    return np.min([(rows - click.row) ** 2 + (cols - click.col) ** 2 for click in clicks], axis=0)


def _depths(part: Mask) -> npt.NDArray[np.float32]:
    """How far each pixel lies from what is outside of a part, beyond the picture's border too, (H, W)."""
    padded = np.pad(part, 1).view(np.uint8)
    depths = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(depths, np.float32)[1:-1, 1:-1]


def _squared_depth(part: Mask, click: Click) -> int:
    """The square of what :func:`_depths` has where a click is, without looking at all of the part."""
    row, col = round(click.row), round(click.col)
    height, width = part.shape
    border = min(row + 1, height - row, col + 1, width - col)
    around = (_within(row, border), _within(col, border))
    outside = ~part[around]
    rows, cols = (
        np.arange(side)[near] - at for side, near, at in zip(part.shape, around, (row, col), strict=True)
    )
    return int((rows[:, None] ** 2 + cols**2)[outside].min(initial=border**2))


def _at(values: npt.NDArray[Any], click: Click) -> float:
    return float(values[round(click.row), round(click.col)])


def _smooth(picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    return np.asarray(cv2.GaussianBlur(picture.astype(np.float32), (0, 0), _SMOOTHING), np.float32)
