"""How much two masks overlap: confusion counts, taken once, and the ratios made of them.

One convention for empty masks holds everywhere. A ratio whose denominator is zero is undefined and NaN: all
four of them where both masks are empty, precision where only the prediction is, recall where only the truth
is. Dice and IoU are 0 where exactly one mask is empty.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]
_Truth = npt.NDArray[np.bool_] | npt.NDArray[np.integer]


@dataclass(frozen=True)
class Counts:
    """Pixels (or voxels) of a prediction against its truth, ignored ones left out.

    Attributes:
        true_positive: Object in both.
        false_positive: Object in the prediction only.
        false_negative: Object in the truth only.
    """

    true_positive: int
    false_positive: int
    false_negative: int

    @property
    def prediction_area(self) -> int:
        """Object pixels of the prediction."""
        return self.true_positive + self.false_positive

    @property
    def truth_area(self) -> int:
        """Object pixels of the truth."""
        return self.true_positive + self.false_negative


def count(prediction: Mask, truth: _Truth) -> Counts:
    """Count where two masks agree and where they do not.

    Args:
        prediction: True on the object; any number of axes.
        truth: The same shape. True or 1 is object, False or 0 is not, and pixels labelled -1 are ignored:
            they count neither for nor against the prediction.

    Raises:
        ValueError: The shapes differ, the prediction is not bool, or the truth holds other values.
    """
    if prediction.shape != truth.shape:
        raise ValueError(f"the prediction is {prediction.shape} but the truth is {truth.shape}")
    if prediction.dtype != np.bool_:
        raise ValueError(f"the prediction must be bool, not {prediction.dtype}; threshold it first")
    if truth.dtype == np.bool_:
        truth_object = truth
        predicted = int(np.count_nonzero(prediction))
    else:
        if truth.size and not (
            np.issubdtype(truth.dtype, np.integer) and -1 <= truth.min() <= truth.max() <= 1
        ):
            raise ValueError("the truth must be bool, or of integers that are 1 (object), 0 or -1 (ignored)")
        truth_object = truth == 1
        predicted = int(np.count_nonzero(prediction & (truth != -1)))
    both = int(np.count_nonzero(prediction & truth_object))
    return Counts(both, predicted - both, int(np.count_nonzero(truth_object)) - both)


def dice(counts: Counts) -> float:
    """Twice the common area over the sum of both areas, in [0, 1]; NaN where both masks are empty."""
    return _ratio(2 * counts.true_positive, counts.prediction_area + counts.truth_area)


def iou(counts: Counts) -> float:
    """The common area over the area of the union, in [0, 1]; NaN where both masks are empty."""
    return _ratio(counts.true_positive, counts.true_positive + counts.false_positive + counts.false_negative)


def precision(counts: Counts) -> float:
    """The share of the prediction that is right, in [0, 1]; NaN where the prediction is empty."""
    return _ratio(counts.true_positive, counts.prediction_area)


def recall(counts: Counts) -> float:
    """The share of the truth that was found, in [0, 1]; NaN where the truth is empty."""
    return _ratio(counts.true_positive, counts.truth_area)


def mask_iou(prediction: Mask, truth: _Truth) -> float:
    """IoU over the pixels not labelled -1, as the click loop needs it after every click.

    Args:
        prediction: True on the object.
        truth: The same shape; 1 or True is object, -1 is ignored.

    Returns:
        In [0, 1]. NaN where neither mask has an object pixel, which cannot happen as long as the truth has
        one: reject empty truths before the first click.

    Raises:
        ValueError: As :func:`count`.
    """
    return iou(count(prediction, truth))


def mask_dice(prediction: Mask, truth: _Truth) -> float:
    """Dice over the pixels not labelled -1; arguments, NaN and errors as :func:`mask_iou`."""
    return dice(count(prediction, truth))


def _ratio(numerator: int, denominator: int) -> float:
    return numerator / denominator if denominator else math.nan
