"""Scenes from picture files: folders of images and masks, and the training lists of SBD and PascalVOC."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
from PIL import Image

from isegm.datasets.dataset import DatasetProblems
from isegm.datasets.instances import VOC_BORDER, read_list, read_sbd_labels, read_voc_labels
from isegm.datasets.listing import JPEG_SUFFIXES, files_of
from isegm.datasets.picture_pairs import find_pairs, read_object
from isegm.errors import InputError
from isegm.masks import LOSSY_SUFFIXES, read_mask
from isegm.storage import read_image, read_unchanged
from isegm.training.ct_appearance import vary_tone
from isegm.training.scenes import Labels, Scene, check_scene

Content = Literal["auto", "ct", "photo"]
"""What pictures show; ``auto`` takes grey ones for CT."""

CONTENTS: tuple[Content, ...] = get_args(Content)

USUAL_IGNORED = 255
"""The label that marks ignored pixels in most label maps."""


@dataclass(frozen=True)
class PictureSource:
    """Scenes from pairs of an image file and a label file, each pair as often as any other.

    Attributes:
        name: What messages call it.
        pairs: Image and label file of each picture.
        read_labels: Reads a label file.
        content: What the images show.
        notes: Lines that the user should read.
    """

    name: str
    pairs: Sequence[tuple[Path, Path]]
    read_labels: Callable[[Path], Labels]
    content: Content = "auto"
    notes: tuple[str, ...] = ()

    def draw(self, rng: np.random.Generator) -> Scene:
        """Draw a picture (:meth:`isegm.training.scenes.Source.draw`); of CT the tone is varied."""
        image_path, labels_path = self.pairs[int(rng.integers(len(self.pairs)))]
        image = read_image(image_path)
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
    binary: bool = False,
    ignored: int | Literal["none"] | None = None,
) -> PictureSource:
    """A folder with images and masks, paired by name as those of the evaluation are.

    Args:
        name: What messages call it.
        folder: Holds the two folders.
        images: The images' folder in it.
        masks: The masks' folder in it.
        content: What the images show.
        binary: Whether a mask holds one object, whatever its values (:func:`isegm.masks.read_mask`).
        ignored: As for :func:`read_label_map`.

    Raises:
        DatasetProblems: The files do not pair; every problem is listed.
    """
    records = find_pairs(folder, images=images, masks=masks, read_truth=read_object)
    read_labels = _read_binary if binary else partial(read_label_map, ignored=ignored)
    return PictureSource(name, [(record.image, record.mask) for record in records], read_labels, content)


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


def read_label_map(path: Path, *, ignored: int | Literal["none"] | None = None) -> Labels:
    """Read a mask picture in which every value but 0 is an object of its own.

    A mask of 0 and one other value, whichever, holds one object. In a colour or palette picture black is the
    background and every other colour an object. A JPEG holds one object, above 127
    (:func:`isegm.masks.read_mask`), because compression makes values of its own.

    Args:
        path: The picture, of 8 or 16 bits.
        ignored: The value (palette index) of ignored pixels, or ``none``. By default, where there are
            other objects, 255 in an 8-bit or palette picture.

    Raises:
        InputError: The file is missing, unreadable or of another depth; or 255 may be either the object or
            ignored: nothing is said, there are other values, but most object pixels have this one, as in a
            mask with soft edges.
    """
    if path.suffix.lower() in LOSSY_SUFFIXES:
        return _read_binary(path)
    values, may_be_ignored = _read_values(path)
    found, positions = np.unique(values, return_inverse=True) if values.max() > 0xFFFF else _find(values)
    # Objects are numbered from 1 in the order of their values.
    numbers = np.cumsum(found != 0, dtype=np.int32) * (found != 0)
    if isinstance(ignored, int):
        numbers[found == ignored] = -1
    elif ignored is None and may_be_ignored and USUAL_IGNORED in found and numbers.max() > 1:
        objects = np.count_nonzero(values)
        if 2 * np.count_nonzero(values == USUAL_IGNORED) > objects:
            raise InputError(
                f"{path}: most of what is marked has the value {USUAL_IGNORED}, but not all: say read=binary "
                f"if it is one object with soft edges, ignore={USUAL_IGNORED} if it is to be ignored, "
                "ignore=none if it is an object of its own"
            )
        numbers[found == USUAL_IGNORED] = -1
    return numbers[positions].reshape(values.shape)


def _find(values: npt.NDArray[np.integer[Any]]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]:
    """``np.unique`` with its inverse by counting, not sorting: faster for small values."""
    present = np.bincount(values.ravel()) > 0
    return np.flatnonzero(present), (np.cumsum(present, dtype=np.int32) - 1)[values]


def _read_values(path: Path) -> tuple[npt.NDArray[np.integer[Any]], bool]:
    """The values of a lossless mask picture, 0 background, and whether 255 among them may mean ignored."""
    if _has_palette(path):
        return _read_palette(path), True
    pixels = read_unchanged(path)
    if pixels.dtype not in (np.uint8, np.uint16):
        raise InputError(f"{path}: a mask must be an 8- or 16-bit picture, not {pixels.dtype}")
    if pixels.ndim == 3 and _is_grey(pixels):
        pixels = pixels[:, :, 0]
    if pixels.ndim == 3:
        red, green, blue = np.moveaxis(pixels[:, :, :3].astype(np.int64), 2, 0)
        return red << 32 | green << 16 | blue, False
    return pixels, pixels.dtype == np.uint8


def _has_palette(path: Path) -> bool:
    """Whether a file is a PNG with a palette, of which OpenCV gives the colours only."""
    try:
        with path.open("rb") as file:
            head = file.read(26)
    except FileNotFoundError:
        raise InputError(f"{path}: no such picture; check the path") from None
    return head.startswith(b"\x89PNG") and head[25:] == b"\x03"


def _read_palette(path: Path) -> npt.NDArray[np.integer[Any]]:
    """The palette indexes of a PNG, but 0 where the colour is black, wherever black is in the palette."""
    indexes = read_voc_labels(path)
    with Image.open(path, formats=["PNG"]) as picture:
        colours = np.array(picture.getpalette("RGB") or [], np.uint8).reshape(-1, 3)
    values = np.arange(256)
    values[0] = 256  # an object, if its colour is not black
    values[: len(colours)][~colours.any(axis=1)] = 0
    return values[indexes]


def _read_binary(path: Path) -> Labels:
    return read_mask(path).astype(np.int32)


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
