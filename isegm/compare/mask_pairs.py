"""Which file is compared with which: pairs of exactly equal stems."""

from dataclasses import dataclass
from pathlib import Path

from isegm.errors import InputError
from isegm.pictures import PICTURE_SUFFIXES
from isegm.storage import warn_of_links
from isegm.volumes import files
from isegm.wording import composed


@dataclass(frozen=True)
class Pair:
    """The two files of one image.

    Attributes:
        name: The stem they share; of two files named one by one, the truth's.
        truth: File with the true mask.
        prediction: File with the predicted one.
    """

    name: str
    truth: Path
    prediction: Path


@dataclass(frozen=True)
class Pairing:
    """What was found in two folders.

    Attributes:
        pairs: In the order of their names.
        unmatched: Masks of either folder without a counterpart, in the order of their names.
    """

    pairs: list[Pair]
    unmatched: list[Path]


def pair_masks(truth_path: Path, prediction_path: Path) -> Pairing:
    """Pair the masks of two folders by exact stem, or two files as they are.

    Masks are PNG, JPEG, BMP and TIFF pictures, NIfTI volumes and DICOM SEGs (``.dcm``); ``.nii.gz`` is one
    suffix. A pair of files,
    ``.hdr`` and ``.img``, counts by its header. Hidden files, sub-folders and other files are passed over.

    Raises:
        InputError: A path does not exist, one is a file and the other a folder, a file is no mask, two files
            of a folder have the same stem, or there is no pair at all.
    """
    for path in (truth_path, prediction_path):
        if not path.exists():
            raise InputError(f"{path}: no such file or folder; check the path")
    if truth_path.is_file() != prediction_path.is_file():
        raise InputError(f"{prediction_path}: give two folders or two files; {truth_path} is not of its kind")
    if truth_path.is_file():
        return Pairing([Pair(_name_of_file(truth_path), truth_path, prediction_path)], [])
    truths, predictions = _masks_by_stem(truth_path), _masks_by_stem(prediction_path)
    pairs = [
        Pair(name, truths[name], predictions[name]) for name in sorted(truths.keys() & predictions.keys())
    ]
    if not pairs:
        raise InputError(
            f"{prediction_path}: none of its {len(predictions)} masks has the name of one of the "
            f"{len(truths)} in {truth_path}; names must be equal up to the suffix"
        )
    lone = truths.keys() ^ predictions.keys()
    return Pairing(
        pairs, [masks[name] for name in sorted(lone) for masks in (truths, predictions) if name in masks]
    )


def mask_name(path: Path) -> str | None:
    """The name of a mask file without its suffix; None for a file that is no mask.

    Composed and decomposed characters (as in archives made on a Mac) give the same name.
    """
    if files.is_mask_volume(path):
        return files.stem(path.name)
    is_picture = path.suffix.lower() in PICTURE_SUFFIXES
    return composed(path.stem) if is_picture else None


def _name_of_file(path: Path) -> str:
    name = mask_name(path)
    if name is None:
        raise InputError(
            f"{path}: not a mask; give a picture (PNG, JPEG, BMP, TIFF), a NIfTI volume or a DICOM SEG"
        )
    return name


def _masks_by_stem(folder: Path) -> dict[str, Path]:
    masks: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        name = None if path.name.startswith(".") or path.is_dir() else mask_name(path)
        if name is None:
            continue
        if name in masks:
            raise InputError(f"{path}: {masks[name].name} has the same stem; keep one of the two")
        masks[name] = path
    warn_of_links(folder, [path for path in masks.values() if path.is_symlink()])
    return masks
