"""DICOM series as volumes.

A series becomes the array that dcm2niix makes of it, so that labels made on its NIfTI files fit: columns run
along the first axis, rows from the last to the first along the second, slices along the third, in the
direction of the normal of their planes. Where slices lie is told by their positions alone, never by names,
instance numbers, SliceThickness or SpacingBetweenSlices; each has its own slope and intercept.
"""

import itertools
import math
import warnings
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from isegm.errors import FileWarning, InputError
from isegm.volumes.dicom_file import Frame
from isegm.volumes.dicom_frames import check_pixels, read_frames, without_unused_bits
from isegm.volumes.dicom_series import Series, choose_series
from isegm.volumes.volume import Volume, Voxels
from isegm.wording import counted

SPACING_TOLERANCE_MM = 0.2
"""How much distances between slices may differ: as much as in dcm2niix."""

PADDING_HU = -1024.0
"""What voxels get that a CT scanner has no value for."""

# Slices whose shift against each other is below this angle lie straight above each other.
_LEAST_TILT_DEGREES = 0.1
_TO_RAS = np.diag([-1.0, -1.0, 1.0])  # DICOM's millimetres run to the patient's left and back


@dataclass(frozen=True, kw_only=True, eq=False)
class DicomVolume(Volume):
    """A volume of DICOM slices.

    Attributes:
        frames: The slices, front to back along the last axis.
        flips: Whether the first axis runs against the columns, and the second against the rows.
        series: Where they are from.
    """

    frames: tuple[Frame, ...]
    flips: tuple[bool, bool]
    series: Series

    def slabs(self, wanted: Collection[int] | None = None) -> Iterator[tuple[int, Voxels]]:
        """As :meth:`Volume.slabs`, a slice a slab, each with a scale of its own."""
        order = sorted(wanted) if wanted is not None else range(len(self.frames))
        for _, group in itertools.groupby(order, key=lambda z: self.frames[z].path):
            places = list(group)  # neighbours in one file, which is opened once
            file = self.frames[places[0]].file
            stored = read_frames(file, [self.frames[z].index for z in places])
            for z, values in zip(places, stored, strict=True):
                yield z, self._voxels(self.frames[z], values)

    def _voxels(self, frame: Frame, stored: npt.NDArray[Any]) -> Voxels:
        """A slice as the volume has it, (X, Y, 1), without the values that stand for none."""
        values = without_unused_bits(frame.file, stored)
        slope, inter = frame.slope, frame.inter
        if frame.file.padding is not None:
            low, high = frame.file.padding
            is_padding = ((stored >= low) & (stored <= high)) | ((values >= low) & (values <= high))
            if is_padding.any():
                padding = PADDING_HU if frame.file.modality == "CT" else 0.0
                fill, limits = (padding - inter) / slope, np.iinfo(values.dtype)
                if fill != int(fill) or not limits.min <= fill <= limits.max:
                    values, slope, inter, fill = values * slope + inter, 1.0, 0.0, padding
                values = np.where(is_padding, values.dtype.type(fill), values)
        return Voxels(frame.path, lying(values, self.flips), slope, inter)

    def on_grid_of(self, other: Volume) -> "DicomVolume":
        """As :meth:`Volume.on_grid_of`."""
        if self.shape != other.shape or not other.has_orientation:
            return self
        along = np.einsum("ij,ij->j", self.affine[:3, :3], other.affine[:3, :3])
        signs = np.where(along < 0, -1.0, 1.0)
        turned = np.diag([*signs, 1.0])
        turned[:3, 3] = np.where(signs < 0, np.array(self.shape) - 1, 0)
        return replace(
            self,
            affine=self.affine @ turned,
            frames=self.frames[:: int(signs[2])],
            flips=(self.flips[0] ^ bool(signs[0] < 0), self.flips[1] ^ bool(signs[1] < 0)),
        )


def lying(picture: npt.NDArray[Any], flips: tuple[bool, bool]) -> npt.NDArray[Any]:
    """A picture (rows, columns) as a volume has it, (X, Y, 1), turned round where its axes run against it."""
    picture = picture[:: -1 if flips[1] else 1, :: -1 if flips[0] else 1]
    return np.ascontiguousarray(picture).T[:, :, None]


def stacked_affine(first: Frame, step: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The affine (4, 4) of slices as :func:`lying` gives them, flipped along the rows as dcm2niix does.

    Args:
        first: The first slice.
        step: (3,) mm from slice to slice, in DICOM's directions.
    """
    along_row, along_column = (
        first.directions * np.array(first.spacing)[::-1, None]
    )  # a column, a row further
    affine = np.eye(4)
    affine[:3, 0] = _TO_RAS @ along_row
    affine[:3, 1] = -(_TO_RAS @ along_column)
    affine[:3, 2] = _TO_RAS @ step
    affine[:3, 3] = _TO_RAS @ (first.position + (first.file.rows - 1) * along_column)
    return affine


def open_dicom_volume(path: Path, series: str | int | None = None, untilt: bool = False) -> Volume:
    """Find a series and check that its slices make a volume.

    Args:
        path: A folder, searched with all folders below; a DICOM file; or a DICOMDIR.
        series: Number, description or UID of the series; None takes the only CT volume.
        untilt: Whether slices of a tilted gantry are moved straight above each other. Otherwise the affine
            is sheared, and the voxels are as stored.

    Warns:
        FileWarning: Something was left out or put right; the gantry was tilted; or the values are not HU.

    Raises:
        InputError: There is no such series, or its slices do not make a volume: some are missing or doubled,
            lie unevenly or shifted, or a file is cut off or in colours.
    """
    chosen = choose_series(path, series)
    if chosen.file.is_segmentation:
        from isegm.volumes.dicom_seg import segmentation_volume

        return segmentation_volume(chosen)
    for frame in chosen.frames:
        if frame.index == 0:
            check_pixels(frame.file)
    # Before slices that are missed are: they may be here, but left out.
    for note in chosen.notes:
        warnings.warn(FileWarning(path, note), stacklevel=2)
    volume = _volume(chosen)
    notes = []
    if chosen.file.modality != "CT":
        kind, units = chosen.file.modality or "no modality", chosen.file.units
        notes.append(
            f"{kind}, not CT: its values are {f'in {units}' if units else 'of no known unit'}, not HU"
        )
    angle = tilt_degrees(volume)
    if angle and not untilt:
        notes.append(
            f"the gantry was tilted by {angle:.1f} degrees, so that its slices are sheared; `untilt` "
            "moves them straight above each other"
        )
    for note in notes:
        warnings.warn(FileWarning(path, note), stacklevel=2)
    if angle and untilt:
        from isegm.volumes.untilt import UntiltedVolume

        return UntiltedVolume.of(volume)
    return volume


def tilt_degrees(volume: Volume) -> float:
    """By what angle slices are shifted against each other; 0 where they lie straight above each other."""
    across = np.cross(volume.affine[:3, 0], volume.affine[:3, 1])
    step = volume.affine[:3, 2]
    cosine = abs(across @ step) / (np.linalg.norm(across) * np.linalg.norm(step))
    angle = math.degrees(math.acos(min(1.0, float(cosine))))
    return angle if angle > _LEAST_TILT_DEGREES else 0.0


def _volume(series: Series) -> DicomVolume:
    first = series.frames[0]
    normal = np.cross(*first.directions)
    frames = sorted(series.frames, key=lambda frame: float(frame.position @ normal))
    step = _step(series.folder, frames, normal)
    is_8bit = first.file.bits_allocated == 8 and not first.file.is_signed
    return DicomVolume(
        path=series.folder,
        shape=(first.file.columns, first.file.rows, len(frames)),
        affine=stacked_affine(frames[0], step),
        is_8bit=is_8bit and all((frame.slope, frame.inter) == (1.0, 0.0) for frame in frames),
        frames=tuple(frames),
        flips=(False, True),
        series=series,
    )


def _step(folder: Path, frames: Sequence[Frame], normal: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The step from slice to slice in mm, if it is the same everywhere.

    Raises:
        InputError: Slices are doubled or missing, or lie unevenly or shifted.
    """
    places = np.array([frame.position for frame in frames])  # (n, 3)
    along = places @ normal
    steps = np.diff(along)
    if not len(steps):
        return normal * 1.0  # nothing is known of one slice's thickness
    doubled = np.flatnonzero(steps < 0.01)
    if len(doubled):
        one, other = frames[doubled[0]], frames[doubled[0] + 1]
        raise InputError(
            f"{folder}: {counted(len(doubled), 'slice')} at the place of another, {_named(other, folder)} "
            f"and {_named(one, folder)} first ({along[doubled[0]]:.2f} mm); remove what does not belong"
        )
    if np.abs(steps - steps[0]).max() > SPACING_TOLERANCE_MM:
        usual = float(np.percentile(steps, 25, method="lower"))  # fewer may be missing than are there
        multiples = np.rint(steps / usual)
        if (multiples >= 1).all() and np.abs(steps - multiples * usual).max() <= SPACING_TOLERANCE_MM:
            gap = int(np.argmax(multiples > 1))
            raise InputError(
                f"{folder}: {counted(int((multiples - 1).sum()), 'slice')} missing, the first between "
                f"{_named(frames[gap], folder)} and {_named(frames[gap + 1], folder)} ({along[gap]:.2f} and "
                f"{along[gap + 1]:.2f} mm); fetch the series again"
            )
        raise InputError(
            f"{folder}: its slices are between {steps.min():.2f} and {steps.max():.2f} mm apart; resample "
            "them to one distance (dcm2niix does)"
        )
    step = (places[-1] - places[0]) / (len(places) - 1)
    off = np.linalg.norm(places[0] + np.arange(len(places))[:, None] * step - places, axis=1)
    if off.max() > max(SPACING_TOLERANCE_MM, 0.5 * float(np.linalg.norm(step))):
        worst = int(off.argmax())
        raise InputError(
            f"{folder}: slice {_named(frames[worst], folder)} is {off[worst]:.2f} mm away from where the "
            "others put it; resample the series, or remove what does not belong"
        )
    return np.asarray(step, np.float64)


def _named(frame: Frame, folder: Path) -> str:
    """A frame's file as seen from the folder: in several folders files may have one name."""
    path = frame.path
    return str(path.relative_to(folder)) if path != folder and path.is_relative_to(folder) else path.name
