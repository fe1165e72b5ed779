"""Pictures of a result, to be looked at."""

import cv2
import numpy as np
import numpy.typing as npt

from isegm.data.sample import Sample
from isegm.evaluation.sample import SampleResult
from isegm.inference.predictor import Mask, Probability

MASK_COLOUR = (40, 120, 255)
TRUTH_COLOUR = (255, 215, 0)
POSITIVE_COLOUR = (0, 200, 80)
NEGATIVE_COLOUR = (230, 30, 30)
TINT = 0.35
"""How much of a masked pixel is the mask's colour."""


def draw_result(sample: Sample, mask: Mask, result: SampleResult) -> npt.NDArray[np.uint8]:
    """Draw a result over its image.

    The mask is tinted and outlined in blue, the truth outlined in yellow; clicks are numbered in their order,
    green on the object and red on the background.

    Args:
        sample: The image (H, W, 3) and its truth (H, W).
        mask: The final mask, (H, W).
        result: Whose clicks to draw.

    Returns:
        (H, W, 3) RGB.
    """
    picture = sample.image.copy()
    tinted = picture[mask] * (1 - TINT) + np.array(MASK_COLOUR) * TINT
    picture[mask] = tinted.astype(np.uint8)
    for area, colour in ((sample.truth == 1, TRUTH_COLOUR), (mask, MASK_COLOUR)):
        contours, _ = cv2.findContours(area.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(picture, contours, -1, colour, 1)

    radius = max(4, min(picture.shape[:2]) // 60)
    for order, click in enumerate(result.clicks, start=1):
        centre = round(click.col), round(click.row)
        colour = POSITIVE_COLOUR if click.positive else NEGATIVE_COLOUR
        cv2.circle(picture, centre, radius, colour, -1, cv2.LINE_AA)
        cv2.circle(picture, centre, radius, (255, 255, 255), 1, cv2.LINE_AA)
        at = centre[0] + radius + 1, centre[1] + radius // 2
        scale = radius / 12
        cv2.putText(picture, str(order), at, cv2.FONT_HERSHEY_SIMPLEX, scale, (0, 0, 0), 3, cv2.LINE_AA)
        cv2.putText(picture, str(order), at, cv2.FONT_HERSHEY_SIMPLEX, scale, (255, 255, 255), 1, cv2.LINE_AA)
    return picture


def draw_probability(probability: Probability) -> npt.NDArray[np.uint8]:
    """A probability map (H, W) in [0, 1] as grey, 0 to 255."""
    return np.rint(probability * 255).astype(np.uint8)
