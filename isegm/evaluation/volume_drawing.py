"""Pictures of a volume's result, in three planes."""

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
import numpy.typing as npt

from isegm.datasets import Sample
from isegm.datasets.labelled_volumes import VolumeSample
from isegm.evaluation.drawing import Picture, draw_contours, view
from isegm.geometry import Click, VoxelClick
from isegm.inference.volume_segmenter import VolumeMask
from isegm.volumes.orientation import AXES, upright
from isegm.volumes.windowed import read_pictures

SIDE = 360
"""Pixels a side of the axial plane's panel; the others' sides are half as long."""
_MOST_PIXELS = 1024
"""A plane is enlarged to cubic voxels up to so many pixels a side."""


def draw_volume(sample: VolumeSample, mask: VolumeMask, clicks: Sequence[VoxelClick] = ()) -> Picture:
    """Draw a mask over its volume in three planes: axial, coronal and sagittal, each where it is worst.

    The truth's outline is wide and yellow, the mask's narrow and blue upon it. Clicks in the planes shown are
    numbered in their order among these. Pixels are square in millimetres; the patient's right, or front, is
    on the left.

    Args:
        sample: The volume and its truth.
        mask: (X, Y, Z).
        clicks: On the volume's voxels.

    Returns:
        (``SIDE``, 1.5 ``SIDE``, 3) RGB: the axial plane, and beside it the coronal above the sagittal one.

    Raises:
        InputError: The volume cannot be read.
    """
    axial = upright(sample.volume.affine)
    grey = axial.array(read_pictures(sample.volume, axial, sample.window))
    wrong = mask ^ sample.truth
    shown = wrong if wrong.any() else sample.truth
    spacing = np.array(sample.volume.spacing_mm)
    panels = []
    for plan in (upright(sample.volume.affine, axis) for axis in AXES):
        index = int(shown.sum(axis=tuple({0, 1, 2} - {plan.axis})).argmax())
        places = [(plan.place(click.voxel, mask.shape), click.positive) for click in clicks]
        here = [Click(row, col, positive) for (at, row, col), positive in places if at == index]
        picture, truth, drawn = (plan.pictures(array)[index] for array in (grey, sample.truth, mask))
        side = SIDE if plan.axis == axial.axis else SIDE // 2
        panels.append(_draw_plane(picture, truth, drawn, here, spacing[[plan.row_axis, plan.col_axis]], side))
    return np.concatenate([panels[0], np.concatenate(panels[1:])], axis=1)


def _draw_plane(
    grey: npt.NDArray[np.uint8],
    truth: npt.NDArray[np.bool_],
    mask: npt.NDArray[np.bool_],
    clicks: Sequence[Click],
    spacing: npt.NDArray[np.float64],
    side: int,
) -> Picture:
    """Draw the part of a plane that matters, (side, side, 3), black where there is none."""
    factors = spacing / spacing.min()
    factors *= min(1.0, _MOST_PIXELS / (factors * grey.shape).max())
    rows, cols = (max(1, round(size * factor)) for size, factor in zip(grey.shape, factors, strict=True))
    image = cv2.resize(np.ascontiguousarray(grey), (cols, rows), interpolation=cv2.INTER_LINEAR)
    areas = [
        cv2.resize(area.astype(np.uint8), (cols, rows), interpolation=cv2.INTER_NEAREST) > 0
        for area in (truth, mask)
    ]
    scaled = [click.scaled(rows / grey.shape[0], cols / grey.shape[1]) for click in clicks]
    marked = areas[0] | areas[1]
    for click in scaled:
        marked[int(click.row), int(click.col)] = True
    if not marked.any():
        marked[:] = True
    part = view(marked, 1.0)
    moved = [replace(click, row=click.row - part[0].start, col=click.col - part[1].start) for click in scaled]
    picture = np.asarray(cv2.cvtColor(image, cv2.COLOR_GRAY2RGB), np.uint8)
    cut = Sample("", np.ascontiguousarray(picture[part]), areas[0][part].astype(np.int8), None)
    drawn = draw_contours(cut, np.ascontiguousarray(areas[1][part]), moved, side, side)
    panel = np.zeros((side, side, 3), np.uint8)
    top, left = (side - drawn.shape[0]) // 2, (side - drawn.shape[1]) // 2
    panel[top : top + drawn.shape[0], left : left + drawn.shape[1]] = drawn
    return panel
