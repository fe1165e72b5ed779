"""Scenes from picture files: folders of images and masks, and the training lists of SBD and PascalVOC."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from isegm.datasets.dataset import DatasetProblems
from isegm.datasets.instances import VOC_BORDER, read_list, read_sbd_labels, read_voc_labels
from isegm.datasets.listing import JPEG_SUFFIXES, files_of
from isegm.datasets.picture_pairs import find_pairs
from isegm.masks import Labels, MaskReading, read_labels, read_mask
from isegm.pictures import read_image
from isegm.reading import read_reading
from isegm.training.ct_appearance import vary_tone
from isegm.training.scenes import Scene, check_scene

Content = Literal["auto", "ct", "photo"]
"""What pictures show; ``auto`` takes grey ones for CT."""

CONTENTS: tuple[Content, ...] = get_args(Content)


@dataclass(frozen=True)
class PictureSource:
    """Scenes from pairs of an image file and a label file, each pair as often as any other.

    Attributes:
        name: What messages call it.
        pairs: Image and label file of each picture.
        read_labels: Reads a label file.
        content: What the images show.
        to_8_bits: As for :func:`isegm.pictures.read_image`.
        notes: Lines that the user should read.
    """

    name: str
    pairs: Sequence[tuple[Path, Path]]
    read_labels: Callable[[Path], Labels]
    content: Content = "auto"
    to_8_bits: Callable[[npt.NDArray[Any]], npt.NDArray[np.uint8]] | None = None
    notes: tuple[str, ...] = ()

    def draw(self, rng: np.random.Generator) -> Scene:
        """Draw a picture (:meth:`isegm.training.scenes.Source.draw`); of CT the tone is varied."""
        image_path, labels_path = self.pairs[int(rng.integers(len(self.pairs)))]
        image = read_image(image_path, self.to_8_bits)
        labels = self.read_labels(labels_path)
        check_scene(labels, labels_path, image, image_path)
        is_ct = self.content == "ct" or (self.content == "auto" and _is_grey(image))
        return Scene(vary_tone(image, rng) if is_ct else image, labels, is_ct)


def open_folder(
    name: str,
    folder: Path,
    *,
    images: str = "images",
    masks: str = "masks",
    content: Content = "auto",
    kind: Literal["auto", "labels", "binary"] = "auto",
    ignored: int | Literal["none"] | None = None,
) -> PictureSource:
    """A folder with images and masks, paired by name and read as those of the evaluation are.

    Args:
        name: What messages call it.
        folder: Holds the two folders.
        images: The images' folder in it.
        masks: The masks' folder in it.
        content: What the images show.
        kind: As for :class:`isegm.masks.MaskReading`, before what ``reading.yml`` says.
        ignored: Likewise.

    Raises:
        DatasetProblems: The files do not pair; every problem is listed.
        InputError: ``reading.yml`` cannot be used.
    """
    reading = read_reading(folder)
    own = reading.masks
    masks_are = MaskReading(own.kind if kind == "auto" else kind, own.ignored if ignored is None else ignored)
    records = find_pairs(folder, images=images, masks=masks, read_truth=read_mask)
    pairs = [(record.image, record.mask) for record in records]
    return PictureSource(name, pairs, partial(read_labels, reading=masks_are), content, reading.to_8_bits)


def open_sbd(name: str, folder: Path, *, split: str = "train") -> PictureSource:
    """The pictures of SBD in the list ``<split>.txt``; the layout is that of the evaluation.

    Raises:
        DatasetProblems: A file or folder is missing; every problem is listed.
    """
    pairs = _find_listed(folder, image_list=f"{split}.txt", images="img", labels="inst", label_suffix=".mat")
    return PictureSource(name, pairs, _read_sbd, "photo")


def open_pascal_voc(name: str, folder: Path, *, split: str = "train") -> PictureSource:
    """The pictures of PascalVOC in the segmentation list ``<split>.txt``; objects' borders are ignored.

    Raises:
        DatasetProblems: As :func:`open_sbd`.
    """
    pairs = _find_listed(
        folder,
        image_list=f"ImageSets/Segmentation/{split}.txt",
        images="JPEGImages",
        labels="SegmentationObject",
        label_suffix=".png",
    )
    return PictureSource(name, pairs, _read_voc, "photo")


def _read_sbd(path: Path) -> Labels:
    return read_sbd_labels(path).astype(np.int32)


def _read_voc(path: Path) -> Labels:
    labels = read_voc_labels(path).astype(np.int32)
    labels[labels == VOC_BORDER] = -1
    return labels


def _is_grey(image: npt.NDArray[Any]) -> bool:
    return bool((image[:, :, 0] == image[:, :, 1]).all() and (image[:, :, 1] == image[:, :, 2]).all())


def _find_listed(
    folder: Path, *, image_list: str, images: str, labels: str, label_suffix: str
) -> list[tuple[Path, Path]]:
    """The image and label file of every name in a list."""
    problems: list[str] = []
    listed = read_list(folder / image_list, problems)
    image_files = files_of(folder / images, JPEG_SUFFIXES, problems)
    label_files = files_of(folder / labels, frozenset({label_suffix}), problems)
    for files, place in ((image_files, images), (label_files, labels)):
        problems += [
            f"{folder / image_list}: lists {name!a}, but {folder / place} has no such file"
            for name in listed
            if files and name not in files
        ]
    if not listed and not problems:
        problems.append(f"{folder / image_list}: lists no image; take the original file")
    if problems:
        raise DatasetProblems(problems)
    return [(image_files[name], label_files[name]) for name in listed]
