"""Volumes by the names of their files: what is one, what it is called, and how it is opened."""

import unicodedata
from pathlib import Path

from isegm.errors import InputError
from isegm.storage import warn_of_links
from isegm.volumes.volume import Volume

LISTED_SUFFIXES = (".nii", ".nii.gz", ".hdr", ".hdr.gz")
"""Of the files that stand for a volume: a pair of files counts by its header."""

_SUFFIXES = (".nii.gz", ".hdr.gz", ".img.gz", ".nii", ".hdr", ".img")


def is_volume(path: Path) -> bool:
    """Whether a file stands for a volume, by its name."""
    return path.name.lower().endswith(LISTED_SUFFIXES)


def stem(name: str) -> str:
    """A volume's file name without its suffix: ``liver_0`` of ``liver_0.nii.gz``.

    Composed characters and decomposed ones (as in archives made on a Mac) give the same stem.
    """
    lower = name.lower()
    suffix = next((suffix for suffix in _SUFFIXES if lower.endswith(suffix)), "")
    return unicodedata.normalize("NFC", name[: len(name) - len(suffix)])


def list_volumes(path: Path) -> list[Path]:
    """The volumes at ``path``: itself if it is a file, else those right in that folder, by name.

    Hidden files are left out (macOS leaves ``._name.nii.gz`` files beside the true ones).

    Raises:
        InputError: The path is not there, or the folder holds no volume.
    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise InputError(f"{path}: no such file or folder; check the path")
    found = volumes_in(path)
    if not found:
        raise InputError(f"{path}: no NIfTI file ({', '.join(LISTED_SUFFIXES)}) in this folder; name another")
    warn_of_links(path, [entry for entry in found if entry.is_symlink()])
    return found


def volumes_in(folder: Path) -> list[Path]:
    """The volumes right in a folder, by name; none if there are none.

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


def open_volume(path: str | Path, series: str | int | None = None, *, untilt: bool = False) -> Volume:
    """Read a volume's header, NIfTI's or DICOM's, and check that its voxels can be read.

    A volume has one value a voxel and three dimensions; further dimensions of length 1, and missing ones,
    do not matter.

    Args:
        path: A NIfTI file; or a DICOM file, a DICOMDIR, or a folder of DICOM files, which is searched with
            all folders below.
        series: Of a folder of DICOM files the number, description or UID of the series that is meant; None
            takes the only CT volume.
        untilt: Whether DICOM slices of a tilted gantry are moved straight above each other.

    Warns:
        FileWarning: Something about it should be known; docs/dicom.md lists what of DICOM.

    Raises:
        InputError: The file is missing, empty, damaged, shorter than its header claims, or no volume; its
            name cannot be printed; its voxels are complex or colours; or it has a fourth dimension (a time
            series, say). Of DICOM: there is not the one series that is meant, its slices do not make a
            volume, or what reads DICOM is not installed.
    """
    path = Path(path)
    if not path.name.isprintable():
        raise InputError(f"{path}: its name cannot be printed; rename it")
    # nibabel and pydicom take a while to import, and most masks are pictures.
    if path.name.lower().endswith(_SUFFIXES):
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
