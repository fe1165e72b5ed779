"""DAVIS-585: objects in frames of DAVIS, two of its three variants with an initial mask to correct."""

import re
from pathlib import Path

from isegm.datasets.dataset import DatasetProblems, Record
from isegm.datasets.listing import by_stem, list_files, list_folders
from isegm.datasets.picture import PictureFiles
from isegm.datasets.picture_pairs import read_bright
from isegm.pictures import JPEG_SUFFIXES

_INITIAL_PREFIX = "init_"
_MASK_NAME = re.compile(r"\w+_(?P<frame>\d+)", re.ASCII)


def find_davis585(folder: Path, *, initial: str | None) -> list[Record]:
    """The samples of DAVIS-585: every ``<sequence>/objectK_NNNNN.png``, called ``<sequence>-objectK_NNNNN``.

    The image is ``NNNNN.jpg`` beside it, the initial mask ``init_<initial>_objectK_NNNNN.png``. Folders
    without pictures are no sequences.

    Args:
        folder: The data set's folder, which holds one folder a sequence.
        initial: Which initial masks: ``sp``, ``stm``, or None for none.

    Raises:
        DatasetProblems: There is no sequence, a sequence has no mask, a mask has no image or no initial mask,
            or a PNG is named neither as a mask nor as an initial mask.
    """
    problems: list[str] = []
    records: list[Record] = []
    for sequence in list_folders(folder, problems):
        records += _find_sequence(sequence, initial, problems)
    if not records and not problems:
        problems.append(f"{folder}: holds no folder with pictures; it needs one a sequence")
    if problems:
        raise DatasetProblems(problems)
    return records


def _find_sequence(sequence: Path, initial: str | None, problems: list[str]) -> list[Record]:
    if not sequence.name.isprintable():
        problems.append(f"{sequence.parent}: {sequence.name!a} is not printable; rename the folder")
        return []
    files = list_files(sequence, problems)
    images = by_stem(files, JPEG_SUFFIXES, problems)
    pictures = by_stem(files, frozenset({".png"}), problems)
    masks = {stem: path for stem, path in pictures.items() if not stem.startswith(_INITIAL_PREFIX)}
    if images and not masks:
        problems.append(f"{sequence}: holds no mask (objectK_NNNNN.png); add one or remove the folder")
    records = []
    for stem, mask in masks.items():
        name = _MASK_NAME.fullmatch(stem)
        if name is None:
            problems.append(f"{mask}: is not named as a mask (objectK_NNNNN.png); rename or remove it")
            continue
        image = images.get(name["frame"])
        initial_mask = pictures.get(f"{_INITIAL_PREFIX}{initial}_{stem}") if initial else None
        if image is None:
            problems.append(f"{mask}: has no image {name['frame']}.jpg beside it; add it or remove the mask")
        if initial and initial_mask is None:
            problems.append(f"{mask}: has no {_INITIAL_PREFIX}{initial}_{stem}.png beside it; add it")
        if image is not None:
            picture = PictureFiles(f"{sequence.name}-{stem}", image, mask, read_bright)
            records.append(Record(picture.name, picture, initial_mask=initial_mask))
    return records
