"""Pictures with their labelled objects: what every reader of a data set gives.

Evaluation (:class:`isegm.datasets.Dataset`) takes samples of one object each from them, training scenes with
all objects (:mod:`isegm.training.picture_source`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import numpy.typing as npt

from isegm.errors import InputError
from isegm.masks import Labels
from isegm.pictures import is_turned, read_image, read_values
from isegm.reading import NOTHING_SAID, Reading
from isegm.volumes.windows import Window, apply_window


@dataclass(frozen=True, eq=False)
class LabelledPicture:
    """A picture that was read, with its objects.

    Attributes:
        pixels: (H, W, 3) RGB uint8; or (H, W) HU, where there is a window.
        labels: (H, W): 0 background, 1..n the objects (numbers may be missing), -1 ignored.
        window: The window in which HU are shown; None for a picture of grey values or colours.
        beside: (H, W), the labels of the slice beside; None of what is no slice of a volume, or its only one.
    """

    pixels: npt.NDArray[Any]
    labels: Labels
    window: Window | None = None
    beside: Labels | None = None

    def image(self, window: Window | None = None) -> npt.NDArray[np.uint8]:
        """The picture as it is shown, (H, W, 3) RGB; of HU in ``window``, or else in its own."""
        if self.window is None:
            return self.pixels
        grey = apply_window(self.pixels, window or self.window)
        return np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB), np.uint8)


class StoredPicture(Protocol):
    """A picture of a data set, not read yet. It holds paths only and travels to other processes."""

    @property
    def name(self) -> str:
        """Its name in the data set."""

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file that it is read from: that of the image first, then that of the labels."""

    def numbers(self) -> list[int]:
        """The numbers of its objects, in order, read without the image where that is possible.

        Raises:
            InputError: As :meth:`read`.
            OSError: Likewise.
        """

    def read(self) -> LabelledPicture:
        """Read it.

        Raises:
            InputError: A file is missing or cannot be used, or there is no object; the line names the file.
            OSError: A file cannot be read.
        """


@dataclass(frozen=True)
class PictureFiles:
    """A picture of two files: an image, and a mask or label map.

    Attributes:
        name: Its name in the data set.
        image: The image file.
        mask: The file of the labels.
        read_labels: Reads it.
        reading: What the data set's ``reading.yml`` says.
    """

    name: str
    image: Path
    mask: Path
    read_labels: Callable[[Path], npt.NDArray[np.integer[Any]]]
    reading: Reading = NOTHING_SAID

    @property
    def files(self) -> tuple[Path, ...]:
        """Image, mask, and ``reading.yml`` if there is one."""
        return (self.image, self.mask, *([self.reading.path] if self.reading.path else []))

    def numbers(self) -> list[int]:
        """The labels above 0."""
        labels = self.read_labels(self.mask)
        return [int(number) for number in np.unique(labels[labels > 0])]

    def read(self) -> LabelledPicture:
        """Read image and labels."""
        window = self.reading.window
        pixels = read_image(self.image) if window is None else read_values(self.image)
        labels = np.asarray(self.read_labels(self.mask), np.int32)
        check_same_size(self.mask, labels, self.image, pixels)
        check_objects(self.mask, labels)
        if pixels.ndim == 3:
            return LabelledPicture(pixels, labels)
        return LabelledPicture(pixels + float(self.reading.offset or 0), labels, window)


def check_same_size(
    mask_path: Path, mask: npt.NDArray[np.generic], image_path: Path, image: npt.NDArray[np.generic]
) -> None:
    """Refuse a mask that is not of its image's size.

    Raises:
        InputError: It is not.
    """
    if mask.shape == image.shape[:2]:
        return
    (rows, columns), (image_rows, image_columns) = mask.shape, image.shape[:2]
    turned = " once turned by its EXIF orientation, as viewers do" if is_turned(image_path) else ""
    raise InputError(
        f"{mask_path}: has {rows} rows and {columns} columns, but {image_path} has {image_rows} and "
        f"{image_columns}{turned}; they must be of one size"
    )


def check_objects(mask_path: Path, labels: npt.NDArray[np.signedinteger[Any]]) -> None:
    """Refuse a mask without an object.

    Raises:
        InputError: It has none.
    """
    if not (labels > 0).any():
        raise InputError(f"{mask_path}: has no object pixel; mark the object or remove image and mask")
