"""How deep inside a region its pixels lie, which is what every simulated click goes by."""

from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt


class Depth(NamedTuple):
    """The depth of a region's pixels, within the smallest box that holds the region.

    Attributes:
        squared: Squared distance of each pixel of the box to the nearest pixel outside the region, (h, w)
            float64, in pixels: whole numbers, 0 outside the region. An empty region has an empty box.
        top: The picture's row of the box's first row.
        left: The picture's column of the box's first column.
    """

    squared: npt.NDArray[np.float64]
    top: int
    left: int

    @property
    def greatest(self) -> float:
        """The squared depth of the region's deepest pixel; 0 if the region is empty."""
        return float(self.squared.max(initial=0.0))


def measure_depth(region: npt.NDArray[np.bool_]) -> Depth:
    """Measure a region's depth by the exact Euclidean distance; beyond the picture's border is outside.

    Args:
        region: (H, W).
    """
    left, top, width, height = cv2.boundingRect(region.view(np.uint8))
    if width == 0:
        return Depth(np.zeros((0, 0)), 0, 0)
    # All is zero around the box, so the transform within it is that of the whole, padded, picture.
    padded = np.pad(region[top : top + height, left : left + width].view(np.uint8), 1)
    distance = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
    # OpenCV's last bit depends on the version and the place. Squared distances are whole numbers, and
    # rounding to them makes equal distances equal again.
    squared = np.square(distance, dtype=np.float64)
    return Depth(np.rint(squared, out=squared), top, left)
