"""The row of numbers of one image."""

import math
from dataclasses import dataclass

from numpy.linalg import det

from isegm.compare.mask_reading import MaskPair
from isegm.metrics import boundary, overlap


@dataclass(frozen=True)
class Scores:
    """All that is measured of one prediction; NaN is undefined (see the conventions of each metric).

    Attributes:
        name: The image's stem.
        dice: Dice.
        iou: Intersection over union.
        precision: Right share of the prediction.
        recall: Found share of the truth.
        hd95: 95 % Hausdorff distance, in ``unit``.
        nsd: Surface Dice at the tolerance, which is in ``unit``.
        unit: "mm", or "px" where the spacing is unknown.
        truth_area_px: Object pixels (voxels of a volume) of the truth.
        prediction_area_px: The same of the prediction.
        truth_area_mm: Area in mm² (mm³ of a volume) of the truth; NaN where the spacing is unknown.
        prediction_area_mm: The same of the prediction.
        axes: 2 for a picture, 3 for a volume.
        included: Whether the truth is large enough to enter summary and plots.
    """

    name: str
    dice: float
    iou: float
    precision: float
    recall: float
    hd95: float
    nsd: float
    unit: str
    truth_area_px: int
    prediction_area_px: int
    truth_area_mm: float
    prediction_area_mm: float
    axes: int
    included: bool


def score(name: str, masks: MaskPair, tolerance: float, min_area: int = 0) -> Scores:
    """Measure one prediction.

    Args:
        name: The image's stem.
        masks: Truth and prediction.
        tolerance: Of the surface Dice, in mm, or in pixels where the spacing is unknown.
        min_area: Object pixels below which the truth is too small to be included.
    """
    counts = overlap.count(masks.prediction, masks.truth)
    spacing = masks.spacing
    distances = boundary.surface_distances(masks.prediction, masks.truth, spacing)
    # mm² of a pixel, mm³ of a voxel
    element = math.nan if spacing is None else math.prod(spacing) if spacing.ndim == 1 else abs(det(spacing))
    return Scores(
        name=name,
        dice=overlap.dice(counts),
        iou=overlap.iou(counts),
        precision=overlap.precision(counts),
        recall=overlap.recall(counts),
        hd95=boundary.hd95(distances),
        nsd=boundary.nsd(distances, tolerance),
        unit="px" if spacing is None else "mm",
        truth_area_px=counts.truth_area,
        prediction_area_px=counts.prediction_area,
        truth_area_mm=float(counts.truth_area * element),
        prediction_area_mm=float(counts.prediction_area * element),
        axes=masks.truth.ndim,
        included=counts.truth_area >= min_area,
    )
