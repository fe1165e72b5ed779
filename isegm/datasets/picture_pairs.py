"""Data sets of one mask an image: two folders whose files pair by name (exact stem, any picture suffix)."""

import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np

from isegm.datasets.dataset import DatasetProblems
from isegm.datasets.listing import files_of
from isegm.datasets.picture import PictureFiles
from isegm.masks import Labels, MaskReading, read_labels
from isegm.pictures import PICTURE_SUFFIXES, read_grey, read_image
from isegm.reading import NOTHING_SAID, Reading, read_reading


def find_pairs(
    folder: Path,
    *,
    images: str,
    masks: str,
    read_labels: Callable[[Path], Labels],
    reading: Reading = NOTHING_SAID,
) -> list[PictureFiles]:
    """Pair the pictures of two folders by name; each is called as its file without the suffix.

    Pictures are PNG, JPEG, BMP and TIFF, the suffix in any case; other and hidden files are not looked at.

    Args:
        folder: The data set's folder.
        images: The name of the images' folder in it.
        masks: The name of the masks' folder in it.
        read_labels: Reads a mask file.
        reading: How the images are read.

    Raises:
        DatasetProblems: A folder is missing or without pictures, an image has no mask or a mask no image,
            or two have the same name.
    """
    problems: list[str] = []
    image_files = files_of(folder / images, PICTURE_SUFFIXES, problems)
    mask_files = files_of(folder / masks, PICTURE_SUFFIXES, problems)
    if image_files and mask_files:
        problems += _without_partner(image_files, mask_files, f"mask of the same name in {folder / masks}")
        problems += _without_partner(mask_files, image_files, f"image of the same name in {folder / images}")
    if problems:
        raise DatasetProblems(problems)
    return [
        PictureFiles(stem, image_files[stem], mask_files[stem], read_labels, reading)
        for stem in sorted(image_files)
    ]


def find_folder(
    folder: Path, *, images: str = "images", masks: str = "masks", known: MaskReading | None = None
) -> list[PictureFiles]:
    """The pictures of a folder of images and masks, read as its ``reading.yml`` says.

    Args:
        folder: Holds the two folders.
        images: The images' folder in it.
        masks: The masks' folder in it.
        known: How the user says the masks are read, which goes first.

    Raises:
        DatasetProblems: As :func:`find_pairs`.
        InputError: ``reading.yml`` cannot be used.
    """
    reading = read_reading(folder)
    read = functools.partial(read_labels, reading=reading.masks.overruled_by(known))
    return find_pairs(folder, images=images, masks=masks, read_labels=read, reading=reading)


def read_bright(path: Path) -> Labels:
    """A mask in which the grey levels above 128 are the object (COCO_MVal, DAVIS-585)."""
    return (read_grey(path) > 128).astype(np.int32)


def read_any_colour(path: Path) -> Labels:
    """A mask in which every pixel that is not black is the object (DAVIS)."""
    return np.asarray((read_image(path) > 0).any(axis=2), np.int32)


def read_trimap(path: Path) -> Labels:
    """A mask of three grey levels: above 128 object, 128 ignored, below background (GrabCut, Berkeley)."""
    levels = read_grey(path)
    labels = (levels > 128).astype(np.int32)
    labels[levels == 128] = -1
    return labels


def _without_partner(files: dict[str, Path], partners: dict[str, Path], missing: str) -> list[str]:
    alone = sorted(files.keys() - partners.keys())
    return [f"{files[stem]}: has no {missing}; add it or remove this file" for stem in alone]
