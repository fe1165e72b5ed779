"""Curves of IoU or Dice by clicks: Dice from IoU and back, and the area below a curve."""

import math
from collections.abc import Sequence

DICE_CLICKS = (1, 3, 5, 10)
"""The numbers of clicks after which an evaluation tells the mean Dice."""


def dice_of_iou(iou: float) -> float:
    """The Dice of two masks whose IoU is known: 2 IoU / (1 + IoU), exact for any two masks."""
    return 2 * iou / (1 + iou)


def iou_of_dice(dice: float) -> float:
    """The IoU of two masks whose Dice is known: Dice / (2 - Dice)."""
    return dice / (2 - dice)


def area_under_curve(values: Sequence[float]) -> float:
    """The area under a curve over clicks 1, 2, ..., n by trapezoids, over its width n - 1.

    It is linear in the values: the area under a mean curve is the mean of the areas under its parts.

    Args:
        values: After each click, one at least for a result.

    Returns:
        In the values' own unit: 0 to 1 for IoU and Dice. Of a single click it is that value, of none NaN.
    """
    if len(values) < 2:
        return values[0] if len(values) else math.nan
    ends = (values[0] + values[-1]) / 2
    return (math.fsum(values) - ends) / (len(values) - 1)
