"""Masks to be corrected, made from the truth: superpixels of the picture added to it and taken away.

Source: Chen et al., "FocalClick", CVPR 2022, section 4: how DAVIS-585's ``D585_SP`` was made. Its own files
and numbers of superpixels are not known here; its range of IoU is.
"""

import hashlib

import cv2
import numpy as np
import numpy.typing as npt

from isegm.masks import Truth
from isegm.metrics.overlap import Mask, mask_iou

LEAST_IOU, MOST_IOU = 0.75, 0.85
"""Between which the IoU of a perturbed mask with the truth lies."""

_ACROSS = 5
"""Superpixels across an object, by the root of its area."""

_SMALLEST = 4
"""Pixels between the superpixels' seeds at least."""

_MOST_DRAWS = 1000
"""An object of a few pixels may have no mask of such an IoU."""


def perturbed_mask(image: npt.NDArray[np.uint8], truth: Truth, name: str) -> Mask:
    """The true mask with some superpixels too many and some too few.

    Args:
        image: (H, W, 3) or (H, W); superpixels end at its edges.
        truth: (H, W): 1 object, 0 background, -1 ignored, which is never in the mask.
        name: Chance is a function of this, so that a sample always gets the same mask.

    Returns:
        (H, W). Its IoU is within ``LEAST_IOU`` and ``MOST_IOU`` wherever that can be had.
    """
    rng = np.random.default_rng(list(hashlib.sha256(name.encode()).digest()))
    whole = truth == 1
    superpixels = _superpixels(image, max(_SMALLEST, round(np.sqrt(whole.sum()) / _ACROSS)), rng)
    mask = whole
    for _ in range(_MOST_DRAWS):
        adds = bool(rng.integers(2))
        around = cv2.dilate(mask.view(np.uint8), np.ones((3, 3), np.uint8)) > 0
        rows, columns = np.nonzero(around & (truth == 0) & ~mask if adds else mask & whole)
        if not len(rows):
            continue
        at = int(rng.integers(len(rows)))
        piece = superpixels == superpixels[rows[at], columns[at]]
        changed = mask | (piece & (truth == 0)) if adds else mask & ~(piece & whole)
        if mask_iou(changed, truth) >= LEAST_IOU:
            mask = changed
            if mask_iou(mask, truth) <= MOST_IOU:
                break
    return mask


def _superpixels(
    image: npt.NDArray[np.uint8], spacing: int, rng: np.random.Generator
) -> npt.NDArray[np.int32]:
    """The number of each pixel's superpixel, (H, W): a watershed from seeds on a grid that is shaken."""
    height, width = image.shape[:2]
    seeds = np.zeros((height, width), np.int32)
    rows, columns = np.meshgrid(
        np.arange(spacing // 2, height, spacing), np.arange(spacing // 2, width, spacing), indexing="ij"
    )
    shake = rng.integers(-(spacing // 4), spacing // 4 + 1, (2, *rows.shape))
    rows = np.clip(rows + shake[0], 0, height - 1)
    columns = np.clip(columns + shake[1], 0, width - 1)
    seeds[rows, columns] = np.arange(1, rows.size + 1).reshape(rows.shape)
    colours = np.atleast_3d(image)
    smooth = cv2.GaussianBlur(np.ascontiguousarray(np.broadcast_to(colours, (height, width, 3))), (0, 0), 1)
    regions = cv2.watershed(smooth, seeds)
    # Lines between regions, and the picture's rim, belong to the nearest region.
    is_line = (regions <= 0).view(np.uint8)
    _, nearest = cv2.distanceTransformWithLabels(
        is_line, cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    numbers = np.zeros(int(nearest.max()) + 1, np.int32)
    numbers[nearest[is_line == 0]] = regions[is_line == 0]
    return np.asarray(numbers[nearest], np.int32)
