"""Masks with the faults that other tools, a neighbouring slice or a hasty hand would leave."""

import cv2
import numpy as np
import numpy.typing as npt

_WARPED_SHARE = 0.7
_SHIFT = 0.15
"""The most by which a mask is moved along each axis, of the object's size (the root of its area)."""
_SCALE = 1.3
"""The most by which it is made smaller or larger."""
_TURN = 15.0
"""The most by which it is turned, in degrees."""
_RIM = 0.08
"""The most by which its rim moves in or out, of the object's size."""
_DISKS = 3
"""At most so many disks are taken away or added."""
_DISK_RADII = (0.1, 0.45)
"""Their radii, of the object's size."""


def faulty_mask(truth: npt.NDArray[np.bool_], rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    """Draw a mask that is roughly an object's, with faults.

    It is moved, scaled and turned, its rim moved in or out, as a neighbouring slice's mask would be; and
    disks are taken away from it or added to it, as parts that were missed or taken for the object.

    Args:
        truth: The object, (H, W); not empty.
        rng: Where the faults come from.

    Returns:
        (H, W). It may be empty, or without fault.
    """
    mask = truth.astype(np.uint8)
    size = float(np.sqrt(mask.sum()))
    rows, columns = np.nonzero(mask)
    if rng.random() < _WARPED_SHARE:
        turn, scale = rng.uniform(-_TURN, _TURN), _SCALE ** rng.uniform(-1, 1)
        centre = (float(columns.mean()), float(rows.mean()))
        matrix = np.asarray(cv2.getRotationMatrix2D(centre, turn, scale), np.float64)
        matrix[:, 2] += rng.uniform(-_SHIFT, _SHIFT, 2) * size
        mask = np.asarray(cv2.warpAffine(mask, matrix, mask.shape[::-1], flags=cv2.INTER_NEAREST), np.uint8)
        rim = round(rng.uniform(-_RIM, _RIM) * size)
        if rim:
            kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * abs(rim) + 1,) * 2)
            mask = np.asarray((cv2.dilate if rim > 0 else cv2.erode)(mask, kernel), np.uint8)
    for _ in range(int(rng.integers(_DISKS + 1))):
        number = int(rng.integers(len(rows)))
        radius = rng.uniform(*_DISK_RADII) * size
        # Not far from a pixel of the object: on its rim, as often as not.
        at = np.array([columns[number], rows[number]]) + rng.uniform(-1, 1, 2) * radius
        value = int(rng.integers(2))
        cv2.circle(mask, (round(at[0]), round(at[1])), max(1, round(radius)), value, thickness=cv2.FILLED)
    return mask.astype(bool)
