"""Data sets of one mask an image: two folders whose files pair by name (exact stem, any picture suffix)."""

import functools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from isegm.datasets.dataset import DatasetProblems, Record
from isegm.datasets.listing import PICTURE_SUFFIXES, files_of
from isegm.masks import Truth, read_mask
from isegm.pictures import read_grey, read_image
from isegm.reading import read_reading


def find_pairs(folder: Path, *, images: str, masks: str, read_truth: Callable[[Path], Truth]) -> list[Record]:
    """Pair the pictures of two folders by name; one sample an image, called as the file without its suffix.

    Pictures are PNG, JPEG, BMP and TIFF, the suffix in any case; other and hidden files are not looked at.

    Args:
        folder: The data set's folder.
        images: The name of the images' folder in it.
        masks: The name of the masks' folder in it.
        read_truth: Reads a mask file.

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
        Record(stem, image_files[stem], mask_files[stem], functools.partial(read_truth, mask_files[stem]))
        for stem in sorted(image_files)
    ]


def find_folder(folder: Path) -> list[Record]:
    """The samples of a folder with ``images/`` and ``masks/``, read as its ``reading.yml`` says.

    Raises:
        DatasetProblems: As :func:`find_pairs`.
        InputError: ``reading.yml`` cannot be used.
    """
    reading = read_reading(folder)
    read_truth = functools.partial(read_mask, reading=reading.masks)
    records = find_pairs(folder, images="images", masks="masks", read_truth=read_truth)
    return [replace(record, to_8_bits=reading.to_8_bits) for record in records]


def read_bright(path: Path) -> Truth:
    """A mask in which the grey levels above 128 are the object (COCO_MVal, DAVIS-585)."""
    return (read_grey(path) > 128).astype(np.int8)


def read_any_colour(path: Path) -> Truth:
    """A mask in which every pixel that is not black is the object (DAVIS)."""
    image = read_image(path)
    truth = np.zeros(image.shape[:2], np.int8)
    truth[(image > 0).any(axis=2)] = 1
    return truth


def read_trimap(path: Path) -> Truth:
    """A mask of three grey levels: above 128 object, 128 ignored, below background (GrabCut, Berkeley)."""
    levels = read_grey(path)
    truth = np.zeros(levels.shape, np.int8)
    truth[levels > 128] = 1
    truth[levels == 128] = -1
    return truth


def _without_partner(files: dict[str, Path], partners: dict[str, Path], missing: str) -> list[str]:
    alone = sorted(files.keys() - partners.keys())
    return [f"{files[stem]}: has no {missing}; add it or remove this file" for stem in alone]
