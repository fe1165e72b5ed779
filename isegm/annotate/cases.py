"""What can be annotated: which cases a path holds, their pixels, and the views in which they are seen.

A case's pixels are a stack (slices, rows, columns): a volume's upright axial slices, or one picture. Each
view is a :class:`SlicePlan` of that stack: one object says how pictures are taken from it and put back.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from nibabel.orientations import io_orientation

from isegm.compare.mask_pairs import mask_name
from isegm.errors import InputError
from isegm.masks import read_labels
from isegm.pictures import PICTURE_SUFFIXES, read_image, read_values
from isegm.reading import read_reading_beside
from isegm.storage import warn_of_links
from isegm.volumes.files import dicom_in, is_dicom, is_volume, open_volume, stem, volumes_in
from isegm.volumes.grid import common_grid
from isegm.volumes.hu_check import HuCheck
from isegm.volumes.orientation import RAW, SlicePlan, upright
from isegm.volumes.volume import Volume, Voxels
from isegm.volumes.windows import WINDOWS, Window, apply_window
from isegm.wording import composed

AXIAL, CORONAL, SAGITTAL = "axial", "coronal", "sagittal"

_CHANNEL = "_0000"
_INT16 = np.iinfo(np.int16)


@dataclass(frozen=True)
class CaseFiles:
    """A case that was found.

    Attributes:
        name: What it is called, and what is saved of it.
        path: The picture, volume, or folder of a DICOM series.
        is_picture: Whether it is a picture rather than a volume.
        masks: Masks to begin with, if any.
        series: Which series of DICOM is meant; None for the only CT volume.
        untilt: Whether DICOM slices of a tilted gantry are moved straight above each other.
    """

    name: str
    path: Path
    is_picture: bool
    masks: Path | None = None
    series: str | None = None
    untilt: bool = False

    @property
    def is_dicom(self) -> bool:
        """Whether it is DICOM: a folder of a series' files, or a file."""
        return not self.is_picture and not is_volume(self.path)


@dataclass(frozen=True)
class View:
    """One of the three ways through a stack.

    Attributes:
        plan: How pictures are taken from the stack.
        sides: What lies at the picture's left, right, top and bottom, as letters; empty where unknown.
    """

    plan: SlicePlan
    sides: tuple[str, str, str, str] = ("", "", "", "")


@dataclass(frozen=True, eq=False)
class Pixels:
    """A case's content.

    Attributes:
        values: (slices, rows, columns) of int16, uint8 or float32; colours are (1, rows, columns, 3) uint8.
        views: By name; pictures have one.
        spacing: mm between slices, rows and columns; None where unknown.
        window: What becomes black and white; None for grey values and colours as they are.
        unit: Of the values, ``HU`` or nothing.
        volume: The volume; None for a picture.
        plan: How the stack is taken from the volume's array.
    """

    values: npt.NDArray[Any]
    views: dict[str, View]
    spacing: tuple[float, float, float] | None = None
    window: Window | None = None
    unit: str = ""
    volume: Volume | None = None
    plan: SlicePlan = RAW

    @property
    def shape(self) -> tuple[int, int, int]:
        """(slices, rows, columns)."""
        slices, rows, columns = self.values.shape[:3]
        return slices, rows, columns

    def image(self, index: int, window: Window | None) -> npt.NDArray[np.uint8]:
        """A slice of the main view as a network sees it, (H, W) or (H, W, 3)."""
        part = self.values[index]
        return np.ascontiguousarray(part) if window is None else apply_window(part, window)


def find_cases(
    paths: Sequence[Path], masks: Path | None = None, series: str | None = None, *, untilt: bool = False
) -> list[CaseFiles]:
    """The cases at some paths, in the order of their names within each.

    Args:
        paths: Pictures, NIfTI volumes, DICOM series, and folders of these. A folder with ``imagesTr`` or
            ``images`` in it stands for that one, and nnU-Net's ``_0000`` is no part of a name.
        masks: Masks to begin with, a file or a folder, matched by their names without suffix.
        series: Of folders of DICOM files the number, description or UID of the series that is meant.
        untilt: Whether DICOM slices of a tilted gantry are moved straight above each other.

    Raises:
        InputError: A path is missing or holds nothing that can be annotated, two cases have one name, no mask
            matches, or nothing is DICOM that the last two are for.
    """
    found: dict[str, CaseFiles] = {}
    for case in (case for path in paths for case in _cases_at(path)):
        if case.name in found:
            other = found[case.name].path
            raise InputError(f"{case.path}: {other} has the same name without suffix; annotate them apart")
        found[case.name] = case
    if series is not None or untilt:
        dicom = {name: case for name, case in found.items() if case.is_dicom}
        if not dicom:
            setting = "untilt" if series is None else "series"
            raise InputError(f"{paths[0]}: no DICOM, which `{setting}` is for; leave it out")
        found |= {name: replace(case, series=series, untilt=untilt) for name, case in dicom.items()}
    if masks is None:
        return list(found.values())
    return _with_masks(list(found.values()), masks)


def read_case(case: CaseFiles, progress: Callable[[float], None]) -> Pixels:
    """Read a case's content.

    Args:
        case: The case.
        progress: Told now and then which part is read, 0 to 1.

    Raises:
        InputError: It cannot be read, holds NaN, or has a singular affine.
    """
    return _read_picture(case.path) if case.is_picture else _read_volume(case, progress)


def read_masks(case: CaseFiles, pixels: Pixels) -> dict[int, npt.NDArray[np.bool_]]:
    """The masks that a case begins with, by label, (slices, rows, columns) each.

    Raises:
        InputError: They cannot be read, are of another size or grid, or have labels that are no bytes.
    """
    if case.masks is None:
        return {}
    if case.is_picture:
        labels = read_labels(case.masks, read_reading_beside(case.masks.parent).masks)[np.newaxis]
        if labels.shape != pixels.shape:
            raise InputError(
                f"{case.masks}: is {labels.shape[1]} x {labels.shape[2]}, but {case.path} is "
                f"{pixels.shape[1]} x {pixels.shape[2]}; give masks of its size"
            )
    else:
        image = pixels.volume
        if image is None:
            raise ValueError(f"{case.name} was not read as a volume")
        volume = open_volume(case.masks).on_grid_of(image)
        common_grid(volume, image)
        labels = np.empty(pixels.shape, np.int32)
        array = pixels.plan.array(labels)
        for start, slab in volume.slabs():
            array[:, :, start : start + slab.stored.shape[2]] = slab.labels()
    numbers = [int(number) for number in np.unique(labels) if number > 0]
    if numbers and numbers[-1] > 255:
        raise InputError(f"{case.masks}: has the label {numbers[-1]}; labels to correct go to 255")
    return {number: labels == number for number in numbers}


def _cases_at(path: Path) -> list[CaseFiles]:
    if path.is_file():
        if is_volume(path):
            return [CaseFiles(_volume_name(path), path, is_picture=False)]
        if path.suffix.lower() in PICTURE_SUFFIXES:
            return [CaseFiles(composed(path.stem), path, is_picture=True)]
        if is_dicom(path):
            return [CaseFiles(composed(path.stem), path, is_picture=False)]
        raise InputError(f"{path}: neither a picture (PNG, JPEG, BMP, TIFF) nor NIfTI or DICOM; name another")
    if not path.is_dir():
        raise InputError(f"{path}: no such file or folder; check the path")
    folder = next((path / name for name in ("imagesTr", "images") if (path / name).is_dir()), path)
    volumes = volumes_in(folder)
    pictures = sorted(
        entry
        for entry in folder.iterdir()
        if entry.suffix.lower() in PICTURE_SUFFIXES and not entry.name.startswith(".") and entry.is_file()
    )
    if not volumes and not pictures:
        series = dicom_in(folder)
        if not series:
            raise InputError(f"{path}: holds no pictures, NIfTI volumes or DICOM series; name another folder")
        return [CaseFiles(composed(each.resolve().name), each, is_picture=False) for each in series]
    warn_of_links(folder, [entry for entry in (*volumes, *pictures) if entry.is_symlink()])
    channels = {_volume_name(entry) for entry in volumes if stem(entry.name).endswith(_CHANNEL)}
    # Of nnU-Net's channels the first is annotated.
    volumes = [
        entry
        for entry in volumes
        if not (stem(entry.name)[-5:-2] == "_00" and stem(entry.name)[:-5] in channels)
        or stem(entry.name).endswith(_CHANNEL)
    ]
    return [
        *(CaseFiles(_volume_name(entry), entry, is_picture=False) for entry in volumes),
        *(CaseFiles(composed(entry.stem), entry, is_picture=True) for entry in pictures),
    ]


def _volume_name(path: Path) -> str:
    return stem(path.name).removesuffix(_CHANNEL)


def _with_masks(cases: list[CaseFiles], masks: Path) -> list[CaseFiles]:
    if masks.is_file() and len(cases) == 1:
        return [replace(cases[0], masks=masks)]
    if not masks.is_dir():
        raise InputError(f"{masks}: no such folder of masks; check --masks")
    by_name = {mask_name(entry): entry for entry in sorted(masks.iterdir()) if not entry.name.startswith(".")}
    found = [replace(case, masks=by_name.get(case.name)) for case in cases]
    if not any(case.masks for case in found):
        raise InputError(f"{masks}: no mask is named after a case, as {cases[0].name} is; check --masks")
    return found


def _read_picture(path: Path) -> Pixels:
    values = read_values(path)
    view = {AXIAL: View(SlicePlan(axis=0, row_axis=1, col_axis=2))}
    if values.ndim == 2:  # of another depth than 8 bits
        reading = read_reading_beside(path.parent)
        deep = values[np.newaxis].astype(np.float32) + (reading.offset or 0)
        unit = "" if reading.offset is None else "HU"
        return Pixels(deep, view, window=reading.window or _spread(deep), unit=unit)
    colours = read_image(path)
    is_grey = bool((colours[..., :1] == colours[..., 1:]).all())
    return Pixels(colours[np.newaxis, ..., 0] if is_grey else colours[np.newaxis], view)


def _read_volume(case: CaseFiles, progress: Callable[[float], None]) -> Pixels:
    volume = open_volume(case.path, case.series, untilt=case.untilt)
    plan = upright(common_grid(volume, volume).affine)
    check = HuCheck(case.path)
    values = _read_stack(volume, plan, np.uint8 if volume.is_8bit else np.int16, check, progress)
    is_hu = not volume.is_8bit and not check.reason()
    window = None if volume.is_8bit else WINDOWS["abdomen"] if is_hu else _spread(values)
    spacing = volume.spacing_mm
    return Pixels(
        values,
        _views(volume, plan),
        (spacing[plan.axis], spacing[plan.row_axis], spacing[plan.col_axis]),
        window,
        "HU" if is_hu else "",
        volume,
        plan,
    )


def _views(volume: Volume, plan: SlicePlan) -> dict[str, View]:
    orientation = io_orientation(volume.affine)  # type: ignore[no-untyped-call]
    head_last = bool(orientation[plan.axis, 1] > 0)
    known = volume.has_orientation
    return {
        AXIAL: View(SlicePlan(axis=0, row_axis=1, col_axis=2), ("R", "L", "A", "P") if known else ("",) * 4),
        CORONAL: View(
            SlicePlan(axis=1, row_axis=0, col_axis=2, flip_rows=head_last),
            ("R", "L", "H", "F") if known else ("",) * 4,
        ),
        SAGITTAL: View(
            SlicePlan(axis=2, row_axis=0, col_axis=1, flip_rows=head_last),
            ("A", "P", "H", "F") if known else ("",) * 4,
        ),
    }


def _read_stack(
    volume: Volume,
    plan: SlicePlan,
    dtype: npt.DTypeLike,
    check: HuCheck,
    progress: Callable[[float], None],
) -> npt.NDArray[Any]:
    """A volume as its upright slices; read again as float32 where 16 bits do not hold its values."""
    sides = [volume.shape[axis] for axis in (plan.axis, plan.row_axis, plan.col_axis)]
    stack = np.empty(sides, dtype)
    array = plan.array(stack)
    for start, slab in volume.slabs():
        if dtype != np.float32:
            check.add(slab)
        slab.check_finite(f"slices from {start} on")
        values = _values(slab, stack.dtype)
        if values is None:
            return _read_stack(volume, plan, np.float32, check, progress)
        stop = start + values.shape[2]
        array[:, :, start:stop] = values
        progress(stop / volume.shape[2])
    return stack


def _values(slab: Voxels, dtype: np.dtype[Any]) -> npt.NDArray[Any] | None:
    """A slab's values; None where they are no integers of 16 bits but should be."""
    stored = slab.stored
    if (slab.slope, slab.inter) == (1, 0) and np.can_cast(stored.dtype, dtype):
        return stored
    values = slab.hu()
    if dtype == np.int16:
        held = values.size == 0 or (values.min() >= _INT16.min and values.max() <= _INT16.max)
        if not held or (np.rint(values) != values).any():
            return None
    return values


def _spread(values: npt.NDArray[Any]) -> Window:
    """A window from nearly the lowest to nearly the highest of some values."""
    sample = values.ravel()[:: max(1, values.size // 100_000)]
    low, high = (float(edge) for edge in np.percentile(sample, (0.5, 99.5)))
    return Window((low + high) / 2, max(high - low, 1e-6 * max(abs(low), 1.0)))
