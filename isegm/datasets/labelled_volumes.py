"""Volumes with a labelled organ, each a sample to be segmented whole."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from isegm.datasets.dataset import DatasetProblems
from isegm.errors import InputError, describe
from isegm.extract.volume_pairs import VolumePair, pair_volumes
from isegm.volumes.files import files_below, open_volume
from isegm.volumes.grid import align, common_grid
from isegm.volumes.label_mask import read_label_mask
from isegm.volumes.nifti import nifti_files
from isegm.volumes.organs import Organ
from isegm.volumes.volume import Volume
from isegm.volumes.windows import Window


@dataclass(frozen=True, eq=False)
class VolumeSample:
    """A volume with one object in it.

    Attributes:
        name: Unique in its data set, and usable as the name of a file.
        volume: The CT volume; its voxels are read on demand.
        truth: (X, Y, Z), True on the object.
        window: The window that the organ is seen in.
    """

    name: str
    volume: Volume
    truth: npt.NDArray[np.bool_]
    window: Window


@dataclass(frozen=True)
class VolumeRecord:
    """Where a volume and its labels come from.

    Attributes:
        pair: Both volumes.
        organ: Which labels are the object.
        series: Of an image that is DICOM, as for :func:`isegm.volumes.files.open_volume`.
        untilt: Likewise.
    """

    pair: VolumePair
    organ: Organ
    series: str | None = None
    untilt: bool = False

    @property
    def name(self) -> str:
        """What the patient is called."""
        return self.pair.name

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file of the image, then of the labels."""
        return (*_files_of(self.pair.image), *_files_of(self.pair.label))

    def read(self) -> VolumeSample:
        """Read the labels, and the image's header.

        Raises:
            InputError: A volume cannot be used, they do not lie on one grid, or no voxel is labelled.
        """
        image = open_volume(self.pair.image, self.series, untilt=self.untilt)
        label, image = align(open_volume(self.pair.label), image)
        holds = common_grid(label, image)
        image = dataclasses.replace(image, affine=holds.affine, has_orientation=holds.has_orientation)
        truth = read_label_mask(label, self.organ.labels)
        if not truth.any():
            values = ", ".join(map(str, self.organ.labels))
            raise InputError(
                f"{label.path}: no voxel is {self.organ.name} (label {values}); give other labels, or "
                "remove it"
            )
        return VolumeSample(self.name, image, truth, self.organ.window)


class VolumeDataset:
    """Volumes of one organ in a fixed order; indexing reads them each time.

    Args:
        organ: The organ, after which the data set is called.
        pairs: The volumes.
        series: Of images that are DICOM, as for :func:`isegm.volumes.files.open_volume`.
        untilt: Likewise.

    Attributes:
        name: The organ's name.
        names: The patients' names, in order.
        records: Where each volume comes from, in order.
        organ: The organ.
    """

    def __init__(
        self, organ: Organ, pairs: list[VolumePair], series: str | None = None, *, untilt: bool = False
    ) -> None:
        self.name = organ.name
        self.organ = organ
        self.records = tuple(VolumeRecord(pair, organ, series, untilt) for pair in pairs)
        self._dicom = ({"series": series} if series else {}) | ({"untilt": "yes"} if untilt else {})
        self.names: tuple[str, ...] = tuple(record.name for record in self.records)

    @property
    def settings(self) -> dict[str, str]:
        """What decides besides the files what the samples are, to be kept with results."""
        labels = self.organ.labels
        return {"labels": ", ".join(map(str, labels)), "shown_in": str(self.organ.window)} | self._dicom

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> VolumeSample:
        """Read one volume's labels and header.

        Raises:
            InputError: As for :meth:`VolumeRecord.read`.
            IndexError: ``index`` is outside the data set.
        """
        record = self.records[index]
        try:
            return record.read()
        except OSError as error:
            raise InputError(describe(error, record.pair.image)) from None


def find_volumes(
    labels: Path,
    images: Path | None,
    organ: Organ,
    series: str | None = None,
    *,
    untilt: bool = False,
) -> VolumeDataset:
    """Find the volumes of an organ, as the extraction of pictures does.

    Args:
        labels: As for :func:`isegm.extract.volume_pairs.pair_volumes`.
        images: As for the same.
        organ: The organ.
        series: Of images that are DICOM, as for :func:`isegm.volumes.files.open_volume`.
        untilt: Likewise.

    Raises:
        InputError: A path is missing or holds no volume, or no images are given or known.
        DatasetProblems: A label has no image; all are listed.
    """
    pairs, problems = pair_volumes(labels, images, organ.name, wants_dicom=series is not None)
    if problems:
        raise DatasetProblems(problems)
    return VolumeDataset(organ, pairs, series, untilt=untilt)


def _files_of(path: Path) -> tuple[Path, ...]:
    """A volume's files: one or two of NIfTI, all in a folder of DICOM."""
    if path.is_dir():
        return tuple(sorted(files_below(path)))
    return tuple(dict.fromkeys(nifti_files(path)))
