"""Reading the two masks of a pair, with the spacing of their pixels."""

import csv
import io
import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from isegm.compare.mask_pairs import Pair, is_volume
from isegm.errors import InputError
from isegm.limits import MOST_TEXT_BYTES, read_text
from isegm.masks import read_mask
from isegm.reading import read_reading_beside
from isegm.volumes.nifti import check_header, check_shape

Mask = npt.NDArray[np.bool_]
Spacing = tuple[float, ...]

MANIFEST = "manifest.csv"
MANIFEST_COLUMNS = ("name", "spacing_row_mm", "spacing_col_mm")
MM_PER_UNIT = {"mm": 1.0, "unknown": 1.0, "meter": 1000.0, "micron": 0.001}
# Voxels of a label volume that are read at once, and whole slices of it at least.
_SLAB_VOXELS = 1 << 24
# Headers hold float32; two of the same grid may differ in the last digits.
AFFINE_TOLERANCE_MM = 1e-3


@dataclass(frozen=True)
class MaskPair:
    """A prediction and its truth, ready to be compared.

    Attributes:
        truth: (H, W) or a volume, True on the object.
        prediction: The same shape.
        spacing: mm between pixel centres along each axis; None where unknown.
    """

    truth: Mask
    prediction: Mask
    spacing: Spacing | None


def read_pair(
    pair: Pair,
    manifest: dict[str, Spacing],
    labels: Sequence[int] | None = None,
    spacing: Spacing | None = None,
) -> MaskPair:
    """Read both masks of a pair.

    Args:
        pair: Two pictures or two NIfTI volumes.
        manifest: Spacing of pictures by name; see :func:`read_manifest`.
        labels: Which label values of a volume are object; None is every value but 0.
        spacing: In mm, one number an axis; goes before manifest and header.

    Raises:
        InputError: The files are of different kinds, sizes or grids, one cannot be read or is no mask, or
            the spacing has another number of axes.
    """
    if is_volume(pair.truth) != is_volume(pair.prediction):
        raise InputError(f"{pair.prediction}: cannot be compared with {pair.truth}; give both in one format")
    if is_volume(pair.truth):
        masks = _read_volumes(pair, labels)
    else:
        truth, prediction = (
            read_mask(path, read_reading_beside(path.parent).masks) for path in (pair.truth, pair.prediction)
        )
        _check_shapes(pair, truth.shape, prediction.shape)
        # As in the evaluation, ignored pixels are left out of both.
        masks = MaskPair(truth == 1, (prediction == 1) & (truth != -1), manifest.get(pair.name))
    if spacing is None:
        return masks
    if len(spacing) != masks.truth.ndim:
        raise InputError(
            f"{pair.truth}: has {masks.truth.ndim} axes, --spacing {len(spacing)}; give one number each"
        )
    return MaskPair(masks.truth, masks.prediction, spacing)


def read_manifest(truth_path: Path) -> dict[str, Spacing]:
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
    path = next((place / MANIFEST for place in (folder, folder.parent) if (place / MANIFEST).is_file()), None)
    if path is None:
        return {}
    try:
        text = io.StringIO(read_text(path, MOST_TEXT_BYTES), newline="")
        return _spacing_by_name(csv.DictReader(text), path)
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(
            f"{path}: not a CSV file in UTF-8 ({error}); write it again or give --spacing"
        ) from None


def _spacing_by_name(rows: "csv.DictReader[str]", path: Path) -> dict[str, Spacing]:
    if not {*MANIFEST_COLUMNS[1:]} & {*(rows.fieldnames or ())}:
        return {}
    missing = [column for column in MANIFEST_COLUMNS if column not in (rows.fieldnames or ())]
    if missing:
        raise InputError(f"{path}: has no column {', '.join(missing)}; write it again or give --spacing")
    spacings: dict[str, Spacing] = {}
    for row in rows:
        name, *cells = (row[column] or "" for column in MANIFEST_COLUMNS)
        if not any(cell.strip() for cell in cells):
            continue
        try:
            spacing = tuple(float(cell) for cell in cells)
        except ValueError:
            spacing = (math.nan, math.nan)
        if not all(0 < step < math.inf for step in spacing) or spacings.get(name, spacing) != spacing:
            raise InputError(
                f"{path}: line {rows.line_num}: {name!r} needs one positive spacing in mm a column, "
                f"not {','.join(cells)!r}; mend the line or give --spacing"
            )
        spacings[name] = spacing
    return spacings


def _read_volumes(pair: Pair, labels: Sequence[int] | None) -> MaskPair:
    truth, prediction = _open_volume(pair.truth), _open_volume(pair.prediction)
    _check_shapes(pair, _mask_shape(truth, pair.truth), _mask_shape(prediction, pair.prediction))
    if not np.allclose(truth.affine, prediction.affine, rtol=0, atol=AFFINE_TOLERANCE_MM):
        raise InputError(
            f"{pair.prediction}: lies elsewhere in space than {pair.truth}; resample it to the same grid"
        )
    return MaskPair(
        _read_labels(truth, pair.truth, labels),
        _read_labels(prediction, pair.prediction, labels),
        _header_spacing(truth, pair.truth),
    )


def _open_volume(path: Path) -> Any:  # noqa: ANN401 - nibabel has no types
    import nibabel

    try:
        check_header(path)
        # The file stays open from slab to slab: a compressed one would be read from its beginning each time.
        volume = nibabel.load(path, keep_file_open=True)
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f"{path}: no such volume; check the path") from None
    except (nibabel.filebasedimages.ImageFileError, nibabel.spatialimages.HeaderDataError) as error:
        raise InputError(
            f"{path}: not a readable NIfTI volume ({_one_line(error)}); write it again"
        ) from None
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise InputError(f"{path}: damaged or cut short ({_one_line(error)}); write it again") from None
    if not isinstance(volume, nibabel.Nifti1Image):
        raise InputError(f"{path}: a {type(volume).__name__}, not a NIfTI volume; give one label a voxel")
    return volume


def _mask_shape(volume: Any, path: Path) -> tuple[int, ...]:  # noqa: ANN401 - nibabel has no types
    """The volume's shape without trailing axes of length 1, which would make every pixel a boundary pixel."""
    shape = tuple(int(side) for side in volume.shape)
    while len(shape) > 2 and shape[-1] == 1:
        shape = shape[:-1]
    dtype = volume.get_data_dtype()
    if len(shape) not in (2, 3) or min(shape) < 1 or dtype.kind not in "biuf":
        raise InputError(
            f"{path}: {shape} values of type {dtype} are no mask; give one label a voxel, 2 or 3 axes"
        )
    check_shape(path, shape)
    return shape


def _header_spacing(volume: Any, path: Path) -> Spacing:  # noqa: ANN401 - nibabel has no types
    try:
        unit = volume.header.get_xyzt_units()[0]
    except KeyError:  # no code of NIfTI's
        unit = "unknown"
    zooms = volume.header.get_zooms()[: len(_mask_shape(volume, path))]
    spacing = tuple(float(zoom) * MM_PER_UNIT[unit] for zoom in zooms)
    if not all(0 < step < math.inf for step in spacing):
        raise InputError(f"{path}: its header has spacing {spacing}; mend the header")
    return spacing


def _read_labels(volume: Any, path: Path, labels: Sequence[int] | None) -> Mask:  # noqa: ANN401 - as above
    shape = _mask_shape(volume, path)
    mask = np.empty(shape, np.bool_, order="F")
    count = max(1, _SLAB_VOXELS // math.prod(shape[:-1]))
    # Slab by slab: a mask takes a byte a voxel, whatever it is stored as.
    for start in range(0, shape[-1], count):
        part = (*(slice(None) for _ in shape[:-1]), slice(start, start + count))
        try:
            values = np.asanyarray(volume.dataobj[part + (0,) * (len(volume.shape) - len(shape))])
        except (OSError, EOFError, zlib.error, ValueError) as error:
            raise InputError(f"{path}: damaged or cut short ({_one_line(error)}); write it again") from None
        if values.dtype.kind == "f" and not (np.isfinite(values) & (values == np.rint(values))).all():
            raise InputError(
                f"{path}: holds values that are no labels; give whole numbers (threshold probabilities)"
            )
        mask[part] = values != 0 if labels is None else np.isin(values, labels)
    return mask


def _check_shapes(pair: Pair, truth: tuple[int, ...], prediction: tuple[int, ...]) -> None:
    if truth != prediction:
        raise InputError(
            f"{pair.prediction}: is {_sides(prediction)} but its truth {pair.truth} is {_sides(truth)}; "
            "save the prediction at the truth's size"
        )


def _sides(shape: tuple[int, ...]) -> str:
    return " x ".join(str(side) for side in shape)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())
