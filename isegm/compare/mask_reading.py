"""Reading the two masks of a pair, with the spacing of their pixels."""

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from isegm.compare.mask_pairs import Pair
from isegm.errors import InputError
from isegm.limits import MOST_TEXT_BYTES, read_text
from isegm.masks import read_mask
from isegm.metrics.overlap import Mask
from isegm.reading import read_reading_beside
from isegm.volumes.files import is_mask_volume, open_volume
from isegm.volumes.grid import align, common_grid
from isegm.volumes.label_mask import read_label_mask
from isegm.wording import composed

Spacing = tuple[float, ...]

_MANIFEST = "manifest.csv"
_COLUMNS = ("name", "spacing_row_mm", "spacing_col_mm")
# Axes whose angle is further than this from a right one (its cosine) are sheared, as by a tilted gantry.
_SHEAR_TOLERANCE = 1e-3


@dataclass(frozen=True)
class MaskPair:
    """A prediction and its truth, ready to be compared.

    Attributes:
        truth: (H, W) or a volume, True on the object.
        prediction: The same shape.
        spacing: (axes,) mm between pixel centres along each axis, or (axes, axes) from pixel indices to mm
            where the axes are not at right angles; None where unknown.
    """

    truth: Mask
    prediction: Mask
    spacing: npt.NDArray[np.float64] | None


def read_mask_pair(
    pair: Pair,
    manifest: dict[str, Spacing],
    labels: Sequence[int] | None = None,
    spacing: Spacing | None = None,
) -> MaskPair:
    """Read both masks of a pair.

    Args:
        pair: Two pictures or two volumes, each NIfTI or a DICOM SEG.
        manifest: Spacing of pictures by name; see :func:`read_spacings`.
        labels: Which label values of a volume are object; None is every value but 0.
        spacing: In mm, one number an axis; overrides manifest and affine.

    Raises:
        InputError: The files are of different kinds, sizes or grids, one cannot be read or is no mask, or
            the spacing has another number of axes.
    """
    if is_mask_volume(pair.truth) != is_mask_volume(pair.prediction):
        raise InputError(f"{pair.prediction}: cannot be compared with {pair.truth}; give both in one format")
    masks = _read_volumes(pair, labels) if is_mask_volume(pair.truth) else _read_pictures(pair, manifest)
    if spacing is None:
        return masks
    if len(spacing) != masks.truth.ndim:
        raise InputError(
            f"{pair.truth}: has {masks.truth.ndim} axes, but {len(spacing)} spacings are given; give one each"
        )
    return MaskPair(masks.truth, masks.prediction, np.array(spacing))


def read_spacings(truth_path: Path) -> dict[str, Spacing]:
    """Read the spacing of pictures from the ``manifest.csv`` in the truth's folder or else in its parent.

    Its columns ``name`` (the picture's stem), ``spacing_row_mm`` and ``spacing_col_mm`` are used; a picture
    whose two spacings are blank, or that is not listed, has none. A manifest with neither of the spacing
    columns is another tool's and says nothing.

    Args:
        truth_path: Folder of the true masks, or one of them.

    Returns:
        (row, col) spacing in mm by name; empty if there is no manifest.

    Raises:
        InputError: The manifest is not a CSV file, lacks some of these columns, or a row has no positive
            spacing or contradicts an earlier one.
    """
    folder = (truth_path if truth_path.is_dir() else truth_path.parent).resolve()
    places = (folder / _MANIFEST, folder.parent / _MANIFEST)
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        return {}
    try:
        text = io.StringIO(read_text(path, MOST_TEXT_BYTES), newline="")
        return _spacing_by_name(csv.DictReader(text), path)
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(
            f"{path}: not a CSV file in UTF-8 ({error}); write it again or give the `spacing`"
        ) from None


def _spacing_by_name(rows: "csv.DictReader[str]", path: Path) -> dict[str, Spacing]:
    if not {*_COLUMNS[1:]} & {*(rows.fieldnames or ())}:
        return {}
    missing = [column for column in _COLUMNS if column not in (rows.fieldnames or ())]
    if missing:
        raise InputError(f"{path}: has no column {', '.join(missing)}; write it again or give the `spacing`")
    spacings: dict[str, Spacing] = {}
    for row in rows:
        name, *cells = (composed(row[column] or "") for column in _COLUMNS)
        if not any(cell.strip() for cell in cells):
            continue
        try:
            spacing = tuple(float(cell) for cell in cells)
        except ValueError:
            spacing = (math.nan, math.nan)
        if not all(0 < step < math.inf for step in spacing) or spacings.get(name, spacing) != spacing:
            raise InputError(
                f"{path}: line {rows.line_num}: {name!r} needs one positive spacing in mm a column, "
                f"not {','.join(cells)!r}; correct the line or give the `spacing`"
            )
        spacings[name] = spacing
    return spacings


def _read_pictures(pair: Pair, manifest: dict[str, Spacing]) -> MaskPair:
    truth, prediction = (
        read_mask(path, read_reading_beside(path.parent).masks) for path in (pair.truth, pair.prediction)
    )
    if truth.shape != prediction.shape:
        sides, wanted = (" x ".join(map(str, mask.shape)) for mask in (prediction, truth))
        raise InputError(
            f"{pair.prediction}: is {sides} but its truth {pair.truth} is {wanted}; save the prediction at "
            "the truth's size"
        )
    spacing = manifest.get(pair.name)
    # As in the evaluation, ignored pixels are left out of both.
    predicted = (prediction == 1) & (truth != -1)
    return MaskPair(truth == 1, predicted, None if spacing is None else np.array(spacing))


def _read_volumes(pair: Pair, labels: Sequence[int] | None) -> MaskPair:
    truth, prediction = align(open_volume(pair.truth), open_volume(pair.prediction))
    placed = common_grid(prediction, truth)
    # A volume of one slice is a picture: as a volume, all of its pixels would be boundary.
    axes = [axis for axis in range(3) if placed.shape[axis] > 1]
    axes = axes if len(axes) > 1 else [0, 1]
    sides = [placed.shape[axis] for axis in axes]
    spacing = np.array(placed.spacing_mm)[axes]
    steps = placed.affine[:3, axes]
    cosines = steps.T @ steps / np.outer(spacing, spacing)
    if np.abs(cosines - np.eye(len(axes))).max() > _SHEAR_TOLERANCE:
        spacing = np.asarray(np.linalg.qr(steps, mode="r"))  # the steps turned, which changes no distance
    return MaskPair(
        read_label_mask(truth, labels).reshape(sides),
        read_label_mask(prediction, labels).reshape(sides),
        spacing,
    )
