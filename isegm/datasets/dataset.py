"""A data set: samples by index, read when they are asked for."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from isegm.datasets.sample import Sample
from isegm.errors import InputError, InputProblems, describe
from isegm.masks import Truth
from isegm.pictures import is_turned, read_grey, read_image


@dataclass(frozen=True)
class Record:
    """Where one sample comes from.

    Attributes:
        name: The sample's name.
        image: The image file.
        mask: The file of the true mask.
        read_truth: Reads it: (H, W) of 1 object, 0 background, -1 ignored.
        initial_mask: The file of the initial mask, if there is one.
        to_8_bits: As for :func:`isegm.pictures.read_image`.
    """

    name: str
    image: Path
    mask: Path
    read_truth: Callable[[], Truth]
    initial_mask: Path | None = None
    to_8_bits: Callable[[npt.NDArray[Any]], npt.NDArray[np.uint8]] | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file that the sample is read from."""
        return (self.image, self.mask, *([self.initial_mask] if self.initial_mask else []))


class DatasetProblems(InputProblems):
    """A data set's files do not fit together."""


class Dataset:
    """Samples in a fixed order that does not depend on the file system.

    Nothing is kept: indexing reads the sample's files each time. ``for sample in dataset`` works too.

    Args:
        name: Its name in its canonical spelling, such as ``GrabCut`` or ``liver``.
        records: Where each sample comes from, in order.
        folder: Its folder, where it has one of its own.

    Attributes:
        names: The samples' names, in order.
    """

    def __init__(self, name: str, records: Sequence[Record], folder: Path | None = None) -> None:
        self.name = name
        self.folder = folder
        self.names: tuple[str, ...] = tuple(record.name for record in records)
        self.records = tuple(records)

    def __len__(self) -> int:
        return len(self.records)

    def part(self, start: int, stop: int | None) -> "Dataset":
        """A data set of the samples from ``start`` up to, but without, ``stop``; None for all that follow."""
        return Dataset(self.name, self.records[start:stop], self.folder)

    def __getitem__(self, index: int) -> Sample:
        """Read one sample.

        Raises:
            InputError: A file is missing or corrupt, a mask and the image differ in size, or the true mask
                has no object pixel. The line names the file.
            IndexError: ``index`` is outside the data set.
        """
        record = self.records[index]
        try:
            return _read_sample(record)
        except OSError as error:
            raise InputError(describe(error, record.image)) from None
        except MemoryError:
            raise InputError(f"{record.image}: not enough memory to read it; use fewer processes") from None


def _read_sample(record: Record) -> Sample:
    image = read_image(record.image, record.to_8_bits)
    truth = record.read_truth()
    check_size(record.mask, truth, record.image, image)
    if not (truth == 1).any():
        raise InputError(f"{record.mask}: has no object pixel; mark the object or remove image and mask")
    initial_mask = None
    if record.initial_mask is not None:
        initial_mask = read_grey(record.initial_mask) > 128
        check_size(record.initial_mask, initial_mask, record.image, image)
    return Sample(record.name, image, truth, initial_mask)


def check_size(
    mask_path: Path, mask: npt.NDArray[np.generic], image_path: Path, image: npt.NDArray[np.uint8]
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
