"""Merging a click's change into a mask that was there before the first click.

Source: Chen et al., "FocalClick", CVPR 2022, section 3.3 (progressive merge).
"""

import cv2
import numpy as np
import numpy.typing as npt

from isegm.geometry import Click
from isegm.inference.segmenter import Probability, Segmenter
from isegm.metrics.overlap import Mask


def merge_change(
    previous: npt.NDArray[np.bool_], proposed: npt.NDArray[np.bool_], row: int, col: int
) -> npt.NDArray[np.bool_]:
    """Take over only the connected region of change that holds the click.

    Args:
        previous: The mask before the click, (H, W).
        proposed: The network's mask after the click, (H, W).
        row: The click's row, in whole pixels.
        col: The click's column, in whole pixels.

    Returns:
        ``proposed`` within the 8-connected region of changed pixels that holds the click, ``previous``
        elsewhere; ``previous`` everywhere if the click's own pixel did not change.
    """
    changed = previous != proposed
    if not changed[row, col]:
        return previous.copy()
    _, regions = cv2.connectedComponents(changed.view(np.uint8), connectivity=8)
    return np.where(regions == regions[row, col], proposed, previous)


class MergingSegmenter:
    """A segmenter whose changes are merged into the previous mask, which it never sees: as published.

    A :class:`isegm.inference.predictor.Predictor` that is given a previous mask by itself lets its network
    correct it. Published figures of DAVIS-585 come from networks that segment as from nothing.

    Args:
        segmenter: What segments; its masks are those of its clicks alone.
    """

    def __init__(self, segmenter: Segmenter) -> None:
        self._segmenter = segmenter
        self._mask: Mask | None = None

    def set_image(self, image: npt.NDArray[np.uint8], previous_mask: Mask | None = None) -> None:
        """Start on an image, perhaps from a mask (H, W); without one nothing is merged."""
        self._segmenter.set_image(image)
        self._mask = None if previous_mask is None else previous_mask.copy()

    def click(self, row: float, col: float, positive: bool = True) -> Probability:
        """Place a click and return the object's probability, (H, W), which nothing is merged with."""
        probability = self._segmenter.click(row, col, positive)
        if self._mask is not None:
            self._mask = merge_change(self._mask, self._segmenter.mask, round(row), round(col))
        return probability

    @property
    def clicks(self) -> tuple[Click, ...]:
        """The clicks so far."""
        return self._segmenter.clicks

    @property
    def mask(self) -> Mask:
        """The previous mask with each click's change, (H, W); without one the segmenter's own."""
        return self._segmenter.mask if self._mask is None else self._mask.copy()

    @property
    def probability(self) -> Probability | None:
        """The segmenter's own probability after the last click, (H, W); None before the first."""
        return self._segmenter.probability
