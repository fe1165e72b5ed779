"""A data set of the evaluation: samples by index, read when they are asked for."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np

from isegm.datasets.picture import StoredPicture, check_objects, check_same_size
from isegm.datasets.sample import Sample
from isegm.errors import InputError, InputProblems, describe
from isegm.pictures import read_grey

SampleT_co = TypeVar("SampleT_co", covariant=True)


class StoredSample(Protocol):
    """A sample of a data set, not read yet."""

    @property
    def name(self) -> str:
        """Its name, unique in the data set."""

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file that it is read from, that of the image first."""


class SampleSet(Protocol[SampleT_co]):
    """What can be evaluated: samples, pictures or volumes, in a fixed order, read when they are asked for."""

    @property
    def name(self) -> str:
        """Its name in tables and files."""

    @property
    def names(self) -> tuple[str, ...]:
        """The samples' names, in order."""

    @property
    def records(self) -> Sequence[StoredSample]:
        """Where each sample comes from, in order."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> SampleT_co:
        """Read one sample.

        Raises:
            InputError: A file cannot be used; the line names it.
            IndexError: ``index`` is outside the data set.
        """


@dataclass(frozen=True)
class Record:
    """Where one sample comes from.

    Attributes:
        name: The sample's name.
        picture: The picture with its objects.
        number: The number of the sample's object; None takes all objects as one.
        initial_mask: The file of the initial mask, if there is one; its object is above 128.
    """

    name: str
    picture: StoredPicture
    number: int | None = None
    initial_mask: Path | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file that the sample is read from."""
        return (*self.picture.files, *([self.initial_mask] if self.initial_mask else []))


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
        image = record.files[0]
        try:
            return _read_sample(record)
        except OSError as error:
            raise InputError(describe(error, image)) from None
        except MemoryError:
            raise InputError(f"{image}: not enough memory to read it; use fewer processes") from None


def whole_pictures(pictures: Iterable[StoredPicture]) -> list[Record]:
    """One sample a picture, called like it: all its objects as one."""
    return [Record(picture.name, picture) for picture in pictures]


def single_objects(pictures: Iterable[StoredPicture], problems: list[str]) -> list[Record]:
    """One sample an object, called ``<picture>_<number>``; this reads the labels of every picture.

    What cannot be read is added to ``problems``, a line each.
    """
    records = []
    for picture in pictures:
        try:
            records += [Record(f"{picture.name}_{number}", picture, number) for number in picture.numbers()]
        except InputError as error:
            problems.append(str(error))
        except OSError as error:
            problems.append(describe(error, picture.files[1]))
    return records


def _read_sample(record: Record) -> Sample:
    picture = record.picture.read()
    image_path, labels_path = record.files[:2]
    image, labels = picture.image(), picture.labels
    truth = (labels > 0 if record.number is None else labels == record.number).astype(np.int8)
    truth[labels < 0] = -1
    check_objects(labels_path, truth)
    if record.initial_mask is None:
        return Sample(record.name, image, truth, None)
    initial_mask = read_grey(record.initial_mask) > 128
    check_same_size(record.initial_mask, initial_mask, image_path, image)
    return Sample(record.name, image, truth, initial_mask)
