"""Merging a click's change into a mask that was there before the first click.

Source: Chen et al., "FocalClick", CVPR 2022, section 3.3 (progressive merge).
"""

import cv2
import numpy as np
import numpy.typing as npt


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
