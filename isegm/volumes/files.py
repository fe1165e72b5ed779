"""Where volumes are: what stands for one, what it is called, and how it is opened."""

import os
from collections.abc import Iterator
from pathlib import Path

from isegm.errors import InputError
from isegm.storage import warn_of_links
from isegm.volumes.volume import Volume
from isegm.wording import composed

LISTED_SUFFIXES = (".nii", ".nii.gz", ".hdr", ".hdr.gz")
"""Of the files that stand for a volume: a pair of files counts by its header."""

SEGMENTATION_CLASSES = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
"""DICOM's classes of Segmentation Storage, and of Label Map Segmentation Storage."""

_NIFTI_SUFFIXES = (".nii.gz", ".hdr.gz", ".img.gz", ".nii", ".hdr", ".img")
_SUFFIXES = (*_NIFTI_SUFFIXES, ".dcm")
_MOST_FILES = 100_000


def is_volume(path: Path) -> bool:
    """Whether a file stands for a NIfTI volume, by its name."""
    return path.name.lower().endswith(LISTED_SUFFIXES)


def stem(name: str) -> str:
    """A volume's file name without its suffix: ``liver_0`` of ``liver_0.nii.gz``.

    Composed characters and decomposed ones (as in archives made on a Mac) give the same stem.
    """
    lower = name.lower()
    suffix = next((suffix for suffix in _SUFFIXES if lower.endswith(suffix)), "")
    return composed(name[: len(name) - len(suffix)])


def list_volumes(path: Path, wants_dicom: bool = False) -> list[Path]:
    """The volumes at ``path``: itself if it is a file, else those of that folder, by name.

    Those are the NIfTI files right in it, or if there are none, what :func:`dicom_in` finds. Hidden files are
    left out (macOS leaves ``._name.nii.gz`` files beside the true ones).

    Args:
        path: A file or folder.
        wants_dicom: Whether NIfTI files are passed over.

    Raises:
        InputError: The path is not there, or the folder holds no volume.
    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise InputError(f"{path}: no such file or folder; check the path")
    found = [] if wants_dicom else volumes_in(path)
    if found:
        warn_of_links(path, [entry for entry in found if entry.is_symlink()])
    found = found or dicom_in(path)
    if not found:
        nifti = "" if wants_dicom else f"NIfTI file ({', '.join(LISTED_SUFFIXES)}) in this folder, and no "
        raise InputError(f"{path}: no {nifti}DICOM; name another")
    return found


def volumes_in(folder: Path) -> list[Path]:
    """The NIfTI volumes right in a folder, by name; none if there are none.

    Hidden files are left out, but not links that lead nowhere: what they stand for would be missed.
    """
    return sorted(
        entry
        for entry in folder.iterdir()
        if is_volume(entry) and not entry.name.startswith(".") and not entry.is_dir()
    )


def is_dicom(path: Path) -> bool:
    """Whether a file begins as a DICOM file does; one without the usual preamble by its first element."""
    try:
        with path.open("rb") as file:
            head = file.read(132)
    except OSError:
        return False
    return head[128:] == b"DICM" or head[:2] in (b"\x02\0", b"\x08\0")


def is_segmentation(path: Path) -> bool:
    """Whether a file is a DICOM SEG, by the class that stands at its beginning."""
    if not path.is_file() or not is_dicom(path):
        return False
    with path.open("rb") as file:
        head = file.read(1024)
    class_at = head.find(b"\x02\0\x02\0UI")
    length = int.from_bytes(head[class_at + 6 : class_at + 8], "little")
    return head[class_at + 8 : class_at + 8 + length].decode("latin-1").strip("\0 ") in SEGMENTATION_CLASSES


def is_mask_volume(path: Path) -> bool:
    """Whether a file stands for a volume that may hold masks: NIfTI by its name, or a DICOM SEG."""
    return is_volume(path) or (path.suffix.lower() == ".dcm" and is_segmentation(path))


def dicom_in(folder: Path) -> list[Path]:
    """The DICOM volumes of a folder; none if there are none.

    A folder with DICOM files right in it is one volume, or each file if all are SEGs. Without, a folder whose
    folders hold one study is one volume, too; of several studies each folder right in it that holds
    DICOM files, somewhere below, is one.
    """
    entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    own = [entry for entry in entries if entry.is_file() and is_dicom(entry)]
    folder = folder if folder.name else folder.resolve()
    if own:
        segmentations = [entry for entry in own if is_segmentation(entry)]
        return segmentations if len(segmentations) == len(own) else [folder]
    holding = [entry for entry in entries if entry.is_dir() and any(map(is_dicom, files_below(entry)))]
    if len(holding) > 1:
        from isegm.volumes.dicom_series import study_of

        if len({study_of(entry) for entry in holding}) > 1:
            return holding
    return [folder] if holding else []


def files_below(folder: Path) -> Iterator[Path]:
    """All files in a folder and below, hidden ones left out, in a fixed order.

    Raises:
        InputError: There are more than any study has.
    """
    count = 0
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        visible = sorted(name for name in names if not name.startswith("."))
        count += len(visible)
        if count > _MOST_FILES:
            raise InputError(f"{folder}: holds more than {_MOST_FILES} files; name the folder of one study")
        yield from (path for path in (Path(place, name) for name in visible) if path.is_file())


def open_volume(path: str | Path, series: str | int | None = None, *, untilt: bool = False) -> Volume:
    """Read a volume's header, NIfTI's or DICOM's, and check that its voxels can be read.

    A volume has one value a voxel and three dimensions; further dimensions of length 1, and missing ones,
    do not matter.

    Args:
        path: A NIfTI file; or a DICOM file, a DICOMDIR, or a folder of DICOM files, which is searched with
            all folders below.
        series: For a folder of DICOM files: the number, description or UID of the series that is meant; None
            takes the only CT volume.
        untilt: Whether DICOM slices of a tilted gantry are moved straight above each other.

    Warns:
        FileWarning: The volume can be used, but something about it should be known; docs/dicom.md lists what
            that may be for DICOM.

    Raises:
        InputError: The file is missing, empty, damaged, shorter than its header claims, or no volume; its
            name cannot be printed; its voxels are complex or colours; or it has a fourth dimension (a time
            series, say). For DICOM also: no series or several are what is meant, its slices do not make a
            volume, or what reads DICOM is not installed.
    """
    path = Path(path)
    if not path.name.isprintable():
        raise InputError(f"{path}: its name cannot be printed; rename it")
    # nibabel and pydicom take a while to import, and most masks are pictures.
    if path.name.lower().endswith(_NIFTI_SUFFIXES) and not path.is_dir():
        if series is not None or untilt:
            setting = "untilt" if series is None else "series"
            raise InputError(f"{path}: a NIfTI file, but `{setting}` is for DICOM; leave it out")
        from isegm.volumes.nifti import open_nifti_volume

        return open_nifti_volume(path)
    if not path.exists():
        raise InputError(f"{path}: no such file or folder; check the path")
    if not path.is_dir() and not is_dicom(path):
        raise InputError(
            f"{path}: not a NIfTI volume ({', '.join(LISTED_SUFFIXES)}), and no DICOM; convert it to NIfTI"
        )
    from isegm.volumes.dicom import open_dicom_volume

    return open_dicom_volume(path, series, untilt)
