"""Pictures of a result, to be looked at."""

import math
from collections.abc import Iterator, Sequence

import cv2
import numpy as np
import numpy.typing as npt

from isegm.datasets.sample import Sample
from isegm.evaluation.record import SampleResult
from isegm.geometry import Click
from isegm.inference.segmenter import Probability
from isegm.metrics.overlap import Mask

MASK_COLOUR = (40, 120, 255)
TRUTH_COLOUR = (255, 215, 0)
POSITIVE_COLOUR = (0, 200, 80)
NEGATIVE_COLOUR = (230, 30, 30)
LEGEND = {
    "truth": TRUTH_COLOUR,
    "mask": MASK_COLOUR,
    "click on the object": POSITIVE_COLOUR,
    "click on the background": NEGATIVE_COLOUR,
}
TINT = 0.35
"""How much of a masked pixel is the mask's colour."""
LEGIBLE = 500
"""Pixels of the shorter side from which on numbers can be read: smaller images are drawn larger."""
SURROUNDINGS = 0.15
"""How far beyond what is marked :func:`view` reaches, as a part of the marks' extent."""

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_CONTOUR_DISK = 5
"""Radius of a click's disk among outlines, in pixels."""

Picture = npt.NDArray[np.uint8]
Box = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels, the last two exclusive."""


def draw_result(sample: Sample, mask: Mask, result: SampleResult) -> Picture:
    """Draw a result over its image.

    The mask is tinted and outlined in blue, the truth outlined in yellow; clicks are numbered in their order,
    green on the object and red on the background.

    Args:
        sample: The image (H, W, 3) and its truth (H, W).
        mask: The final mask, (H, W).
        result: Whose clicks to draw.

    Returns:
        (k H, k W, 3) RGB: every pixel is k by k, k being 1 unless the image is small (:func:`enlargement`).
    """
    picture = draw_areas(sample, mask)
    factor = enlargement(*mask.shape)
    _draw_clicks(picture, result.clicks, (factor, factor), max(4, min(picture.shape[:2]) // 100))
    return picture


def draw_contours(sample: Sample, mask: Mask, clicks: Sequence[Click], height: int, width: int) -> Picture:
    """Draw a result as outlines, so that the image below stays visible, as large as a box holds it.

    The truth's outline is wide and yellow, the mask's narrow and blue upon it; clicks as for
    :func:`draw_result`.

    Args:
        sample: The image (H, W, 3) and its truth (H, W).
        mask: (H, W).
        clicks: In the image's pixels.
        height: Of the box, in pixels.
        width: Of the box, in pixels.

    Returns:
        (h, w, 3) RGB in the image's proportions, with h = ``height`` or w = ``width``.
    """
    factor = min(height / mask.shape[0], width / mask.shape[1])
    rows, cols = (max(1, round(side * factor)) for side in mask.shape)
    smooth = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    picture = np.asarray(cv2.resize(sample.image, (cols, rows), interpolation=smooth), np.uint8)
    for area, colour, line in ((sample.truth == 1, TRUTH_COLOUR, 4), (mask, MASK_COLOUR, 2)):
        pixels = cv2.resize(area.astype(np.uint8), (cols, rows), interpolation=cv2.INTER_NEAREST)
        contours, _ = cv2.findContours(pixels, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(picture, contours, -1, colour, line, cv2.LINE_AA)
    _draw_clicks(picture, clicks, (rows / mask.shape[0], cols / mask.shape[1]), _CONTOUR_DISK)
    return picture


def draw_areas(sample: Sample, mask: Mask, width: int = 1) -> Picture:
    """Draw a result without its clicks.

    Args:
        sample: As for :func:`draw_result`.
        mask: As for :func:`draw_result`.
        width: Of the outlines, in the picture's pixels; above 1 their edges are smooth.

    Returns:
        As :func:`draw_result`.
    """
    picture = sample.image.copy()
    tinted = picture[mask] * (1 - TINT) + np.array(MASK_COLOUR) * TINT
    picture[mask] = tinted.astype(np.uint8)

    picture = enlarged(picture)
    line = cv2.LINE_8 if width == 1 else cv2.LINE_AA
    for area, colour in ((sample.truth == 1, TRUTH_COLOUR), (mask, MASK_COLOUR)):
        pixels = enlarged(area.astype(np.uint8))
        contours, _ = cv2.findContours(pixels, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(picture, contours, -1, colour, width, line)
    return picture


def draw_probability(probability: Probability) -> Picture:
    """A probability map (H, W) in [0, 1] as grey, 0 to 255."""
    return np.rint(probability * 255).astype(np.uint8)


def view(marked: Mask, aspect: float) -> tuple[slice, slice]:
    """Return the rows and columns to show: what is marked and its surroundings, in a shape if possible.

    Args:
        marked: (H, W), with at least one pixel.
        aspect: Width of the shape over its height.
    """
    extents = [np.flatnonzero(marked.any(axis=axis)) for axis in (1, 0)]
    height, width = ((extent[-1] - extent[0] + 1) * (1 + 2 * SURROUNDINGS) for extent in extents)
    wanted = max(height, width / aspect), max(width, height * aspect)
    rows, cols = map(_interval, extents, wanted, marked.shape)
    return rows, cols


def _interval(extent: npt.NDArray[np.intp], wanted: float, limit: int) -> slice:
    """Return so many pixels about an extent's middle, moved and cut to lie in ``range(limit)``."""
    length = min(math.ceil(wanted), limit)
    middle = (extent[0] + extent[-1] + 1) / 2
    start = int(np.clip(round(middle - length / 2), 0, limit - length))
    return slice(start, start + length)


def enlargement(height: int, width: int) -> int:
    """How many times larger a picture of so many pixels has to be drawn for its numbers to be legible."""
    return max(1, min(-(-LEGIBLE // min(height, width)), 4 * LEGIBLE // max(height, width)))


def enlarged(pixels: Picture) -> Picture:
    """An image, or a mask of it, with pixels as large as :func:`draw_result` draws them."""
    factor = enlargement(*pixels.shape[:2])
    return np.ascontiguousarray(pixels.repeat(factor, axis=0).repeat(factor, axis=1))


def _draw_clicks(
    picture: Picture, clicks: Sequence[Click], factors: tuple[float, float], radius: int
) -> None:
    """Draw a disk a click, then the numbers, each where it covers no disk and no other number if possible.

    Args:
        picture: (H, W, 3), drawn on.
        clicks: In the image's pixels.
        factors: How many times higher and wider than the image the picture is.
        radius: Of a disk, in the picture's pixels.
    """
    scale = radius / 10
    down, across = factors
    centres = [
        (round((click.col + 0.5) * across - 0.5), round((click.row + 0.5) * down - 0.5)) for click in clicks
    ]
    for centre, click in zip(centres, clicks, strict=True):
        colour = POSITIVE_COLOUR if click.positive else NEGATIVE_COLOUR
        cv2.circle(picture, centre, radius, colour, -1, cv2.LINE_AA)
        cv2.circle(picture, centre, radius, (255, 255, 255), 1, cv2.LINE_AA)

    taken = np.zeros(picture.shape[:2], np.uint8)
    for centre in centres:
        cv2.circle(taken, centre, radius + 1, 1, -1)
    for order, centre in enumerate(centres, start=1):
        (width, height), _ = cv2.getTextSize(str(order), _FONT, scale, 1)
        size = width + 2, height + 2
        places = [_within(place, taken.shape) for place in _places_around(centre, radius + 2, size)]
        left, top, right, bottom = min(places, key=lambda box: int(_part(taken, box).sum()))
        _part(taken, (left, top, right, bottom))[:] = 1
        at = left + 1, bottom - 1
        cv2.putText(picture, str(order), at, _FONT, scale, (0, 0, 0), 3, cv2.LINE_AA)
        cv2.putText(picture, str(order), at, _FONT, scale, (255, 255, 255), 1, cv2.LINE_AA)


def _places_around(centre: tuple[int, int], away: int, size: tuple[int, int]) -> Iterator[Box]:
    """Boxes of a size around a disk: to the right first, then left, above, below and at the corners."""
    (col, row), (width, height) = centre, size
    for x, y in ((1, 0), (-1, 0), (0, -1), (0, 1), (1, -1), (-1, -1), (1, 1), (-1, 1)):
        left = col + x * away - (width * (1 - x)) // 2
        top = row + y * away - (height * (1 - y)) // 2
        yield left, top, left + width, top + height


def _within(box: Box, shape: tuple[int, ...]) -> Box:
    """The same box, moved into a picture of this shape."""
    left, top, right, bottom = box
    x = max(0, min(left, shape[1] - (right - left))) - left
    y = max(0, min(top, shape[0] - (bottom - top))) - top
    return left + x, top + y, right + x, bottom + y


def _part(pixels: Picture, box: Box) -> Picture:
    left, top, right, bottom = box
    return pixels[top:bottom, left:right]
