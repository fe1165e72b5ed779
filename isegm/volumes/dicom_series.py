"""The series in a folder of DICOM files: found, listed, and the wanted one chosen.

Files are told by their content, in all folders below, whatever they are called and whatever lies between; a
DICOMDIR adds nothing to that. A series whose slices do not fit together (several acquisitions at the same
places, sizes, orientations) is in parts, each a volume of its own; localizers among its slices are left out.
"""

import contextlib
import warnings
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from isegm.errors import FileWarning, InputError
from isegm.storage import warn_of_links
from isegm.volumes.dicom_file import DicomFile, Frame, read_file
from isegm.volumes.files import files_below
from isegm.wording import counted

# Apart by less, in mm, two slices lie at the same place.
_SAME_PLACE_MM = 0.01
# Directions differ by less in every component, and pixel spacings by less than this share.
_SAME_DIRECTION, _SAME_SPACING = 1e-3, 1e-3


@dataclass(frozen=True, kw_only=True, eq=False)
class Series:
    """A series, or a part of one, whose frames fit together in size and direction.

    Attributes:
        folder: The file or folder that the user named.
        part: Which part of the series it is, from 1; 0 for all of it.
        frames: Its frames, in no order.
        is_localizer: Whether it says that it is one.
        notes: What was done to it, one a line.
    """

    folder: Path
    part: int
    frames: tuple[Frame, ...]
    is_localizer: bool = False
    notes: tuple[str, ...] = ()

    @property
    def file(self) -> DicomFile:
        """One of its files, which stands for what is the same in all."""
        return self.frames[0].file

    @property
    def names(self) -> tuple[str, str]:
        """What it can be asked for by: its number, and its UID, each with ``/2`` for a second part."""
        part = f"/{self.part}" if self.part else ""
        number = "-" if self.file.number is None else str(self.file.number)
        return number + part, self.file.series + part

    @property
    def is_ct_volume(self) -> bool:
        """Whether it may be what is meant where none is named."""
        return self.file.modality == "CT" and not self.is_localizer and not self.file.is_segmentation

    def __str__(self) -> str:
        """What a user sees of it in a list."""
        file = self.file
        size = f"{file.columns} x {file.rows} x {len(self.frames)}"
        kind = f"{file.modality or 'no modality'}{' localizer' if self.is_localizer else ''}"
        return f"{self.names[0]} ({file.description or 'no description'}, {kind}, {size})"


def find_series(path: Path) -> list[Series]:
    """The series of pictures in a DICOM file, or in a folder and all folders below, by number.

    Warns:
        FileWarning: A file is damaged, and left out.

    Raises:
        InputError: There is nothing to read.
        OSError: A file cannot be read.
    """
    if path.is_file() and path.name.upper() == "DICOMDIR":
        path = path.parent
    paths = [path] if path.is_file() else list(files_below(path))
    warn_of_links(path, [each for each in paths if each.is_symlink()])
    files: list[DicomFile] = []
    placeless: defaultdict[str, list[DicomFile]] = defaultdict(list)
    damaged: list[str] = []
    for each in paths:
        try:
            file = read_file(each)
            if file is not None and file.frames:
                files.append(file)
            elif file is not None:
                placeless[file.series].append(file)
        except InputError as error:
            damaged.append(str(error))
    if not files:
        if damaged:
            raise InputError(damaged[0])
        raise InputError(f"{path}: holds no DICOM pictures that say where they lie; name another")
    by_series: defaultdict[str, list[DicomFile]] = defaultdict(list)
    for file in files:
        by_series[file.series].append(file)
    series = [part for uid, of_one in by_series.items() for part in _parts(path, of_one, placeless[uid])]
    if damaged:
        more = f" (and {len(damaged) - 1} more)" if len(damaged) > 1 else ""
        warnings.warn(FileWarning(path, f"a file is left out: {damaged[0]}{more}"), stacklevel=2)
    return sorted(series, key=_order)


def study_of(folder: Path) -> str | None:
    """The UID of the study that the first picture in a folder, or below, is of; None where there is none."""
    for path in files_below(folder):
        with contextlib.suppress(InputError):
            if file := read_file(path):
                return file.study
    return None


def choose_series(path: Path, wanted: str | int | None = None) -> Series:
    """The series that is asked for, or the only CT volume.

    Args:
        path: A DICOM file, or a folder.
        wanted: Number (``3``, or ``3/2`` for a part), description or UID; None takes the only CT volume, or
            a segmentation that is alone.

    Raises:
        InputError: There is none, or several: they are listed, with number, description and size.
    """
    found = find_series(path)
    if wanted is None:
        ct = [series for series in found if series.is_ct_volume]
        chosen = [series for series in ct if len(series.frames) > 1] or ct
        if len(found) == 1 and found[0].file.is_segmentation:
            chosen = found
        if len(chosen) != 1:
            what = "several CT volumes" if chosen else "no CT volume"
            raise _problem(path, f"holds {what}; name one of its series by `series`", found)
    else:
        text = str(wanted).strip()
        chosen = [one for one in found if text in one.names]
        chosen = chosen or [one for one in found if text in (one.names[0].partition("/")[0], one.file.series)]
        chosen = chosen or [one for one in found if one.file.description.lower() == text.lower() != ""]
        chosen = [one for one in chosen if not one.is_localizer] or chosen
        if len(chosen) != 1:
            what = "is several" if chosen else "is none"
            raise _problem(
                path, f"series {text!r} {what} of those that it holds; name one by `series`", found
            )
    return _with_notes(chosen[0], found)


def _with_notes(chosen: Series, found: Sequence[Series]) -> Series:
    """A series with a line about what else is in it and was left out."""
    others = [one for one in found if one is not chosen and one.file.series == chosen.file.series]
    if not others:
        return chosen
    left_out = ", ".join(
        f"{counted(len(one.frames), 'localizer' if one.is_localizer else 'slice')} of "
        f"{one.file.columns} x {one.file.rows}"
        for one in others
    )
    note = f"its slices do not all fit together; left out: {left_out}"
    return replace(chosen, notes=(*chosen.notes, note))


def _problem(path: Path, said: str, found: Sequence[Series]) -> InputError:
    """The line that lists series; those of one number with their UIDs."""
    numbers = Counter(series.names[0] for series in found)
    listed = (f"{one}{f' UID {one.names[1]}' if numbers[one.names[0]] > 1 else ''}" for one in found)
    return InputError(f"{path}: {said}: {'; '.join(listed)}")


def _order(series: Series) -> tuple[bool, int, str, int]:
    number = series.file.number
    return number is None, number or 0, series.file.series, series.part


def _parts(path: Path, files: Sequence[DicomFile], placeless: Sequence[DicomFile]) -> list[Series]:
    """The parts of a series whose frames fit together, largest first; copies of a file are left out.

    So is what of the series does not say where it lies.
    """
    # Some anonymisers give all files one UID.
    by_instance = {(file.instance, *file.frames[0].position.tolist()): file for file in files}
    copies = len(files) - len(by_instance)
    notes: list[str] = []
    if copies:
        notes.append(f"{counted(copies, 'file')} that are there twice, left out once")
    if placeless:
        more = f" (and {len(placeless) - 1} more)" if len(placeless) > 1 else ""
        notes.append(f"{placeless[0].path.name}{more} does not say where it lies, and is left out")
    fitting: list[list[Frame]] = []
    for frame in (frame for file in by_instance.values() for frame in file.frames):
        like = next((part for part in fitting if _fits(part[0], frame)), None)
        if like is None:
            fitting.append([frame])
        else:
            like.append(frame)
    parts = [own for part in fitting for own in _acquisitions(part)]
    parts.sort(key=lambda part: (part[0].file.is_localizer, -len(part)))
    return [
        Series(
            folder=path,
            part=place if len(parts) > 1 else 0,
            frames=tuple(part),
            is_localizer=part[0].file.is_localizer,
            notes=tuple(notes),
        )
        for place, part in enumerate(parts, start=1)
    ]


def _fits(one: Frame, other: Frame) -> bool:
    same_file = (
        one.file.rows == other.file.rows
        and one.file.columns == other.file.columns
        and one.file.is_localizer == other.file.is_localizer
        and one.file.modality == other.file.modality
    )
    return (
        same_file
        and bool(np.abs(one.directions - other.directions).max() < _SAME_DIRECTION)
        and bool(np.allclose(one.spacing, other.spacing, rtol=_SAME_SPACING, atol=0))
    )


def _acquisitions(frames: list[Frame]) -> list[list[Frame]]:
    """Frames at the same places, as of several phases, apart by acquisition; else all of them together."""
    if frames[0].file.is_segmentation or not _has_doubles(frames):
        return [frames]
    by_number: defaultdict[int | None, list[Frame]] = defaultdict(list)
    for frame in frames:
        by_number[frame.file.acquisition].append(frame)
    apart = [
        by_number[number] for number in sorted(by_number, key=lambda number: (number is None, number or 0))
    ]
    return [frames] if any(_has_doubles(part) for part in apart) else apart


def _has_doubles(frames: Sequence[Frame]) -> bool:
    places = np.array([frame.position for frame in frames])
    along = np.sort(places @ np.cross(*frames[0].directions))
    return bool((np.diff(along) < _SAME_PLACE_MM).any())
