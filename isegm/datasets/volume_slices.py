"""CT volumes, slice by slice.

A compressed volume can only be read from its beginning, which takes seconds: too long for one slice. So each
volume's labelled slices are once turned upright and written uncompressed into a cache folder, from which a
slice is read in a millisecond. The cache depends on the volumes alone, not on the organ or window, and is
remade where a volume has changed. It takes about 0.75 MiB a labelled slice of 512 x 512.
"""

import hashlib
import json
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from isegm.datasets.dataset import DatasetProblems
from isegm.datasets.picture import LabelledPicture
from isegm.errors import InputError, InputWarning
from isegm.extract.batch import run_batch
from isegm.extract.volume_pairs import VolumePair, pair_volumes
from isegm.storage import whole_file, write_text
from isegm.volumes.files import files_below, open_volume
from isegm.volumes.grid import align, common_grid
from isegm.volumes.hu_check import HuCheck
from isegm.volumes.nifti import nifti_files
from isegm.volumes.orientation import SlicePlan, upright
from isegm.volumes.volume import Volume, Voxels
from isegm.volumes.windows import Window

_CACHE_VERSION = 2


@dataclass(frozen=True)
class CachedVolume:
    """The labelled slices of one volume in the cache.

    Attributes:
        prefix: Path of its files without ``.hu.npy`` and ``.labels.npy``: stacks (slices, H, W) of HU (or
            grey values, if 8-bit) and of indices into ``values``, counted from 1; upright.
        values: The label values it holds, in order.
        pixels: How many pixels of each value each slice holds, (slices, values).
        is_8bit: Whether the volume holds grey values 0-255 rather than HU.
        notes: Lines that the user should read.
    """

    prefix: Path
    values: tuple[int, ...]
    pixels: npt.NDArray[np.int64]
    is_8bit: bool
    notes: tuple[str, ...]

    def read(self, index: int) -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any] | None]:
        """HU (or grey values) and label indices of one slice, and the indices of one beside it, each (H, W).

        The one beside is the next, or the one before the last; None where there is one slice.

        Raises:
            InputError: The cache is not as it was made.
        """
        try:
            # Opened each time: a few files of many, and a picture must travel to other processes.
            hu, labels = (np.load(path, mmap_mode="r") for path in _stacks(self.prefix))
            other = index + 1 if index + 1 < len(labels) else index - 1
            beside = np.array(labels[other]) if other >= 0 else None
            return np.array(hu[index]), np.array(labels[index]), beside
        except (OSError, EOFError, ValueError, IndexError):
            raise InputError(
                f"{self.prefix}: the cached slices are missing or damaged; remove the cache folder and begin "
                "again"
            ) from None


@dataclass(frozen=True)
class _CacheJob:
    """A volume to be written into the cache.

    Attributes:
        pair: The label volume and its image.
        prefix: Where to.
        series: Of an image that is DICOM, as for :func:`isegm.volumes.files.open_volume`.
    """

    pair: VolumePair
    prefix: Path
    series: str | None = None

    @property
    def path(self) -> Path:
        """The label volume."""
        return self.pair.label


@dataclass(frozen=True, eq=False)
class VolumeSlice:
    """A slice of a cached volume, with its objects.

    Attributes:
        volume: The volume.
        index: The slice's place among those that were kept.
        objects: The object, from 1, that each label index of the volume belongs to; 0 for none.
        window: The window in which HU are shown.
    """

    volume: CachedVolume
    index: int
    objects: npt.NDArray[np.int32]
    window: Window

    @property
    def name(self) -> str:
        """The volume's name and the slice's place."""
        return f"{self.volume.prefix.name.rpartition('-')[0]}_{self.index:03d}"

    @property
    def files(self) -> tuple[Path, ...]:
        """The cached slices and their labels."""
        return _stacks(self.volume.prefix)

    def numbers(self) -> list[int]:
        """The numbers of its objects, which the cache knows."""
        held = self.objects[1:][self.volume.pixels[self.index] > 0]
        return [int(number) for number in np.unique(held[held > 0])]

    def read(self) -> LabelledPicture:
        """Read it; of a volume that holds grey values they are not windowed."""
        hu, indices, others = self.volume.read(self.index)
        labels, beside = self.objects[indices], None if others is None else self.objects[others]
        if self.volume.is_8bit:
            grey = np.asarray(cv2.cvtColor(hu, cv2.COLOR_GRAY2RGB), np.uint8)
            return LabelledPicture(grey, labels, beside=beside)
        return LabelledPicture(hu, labels, self.window, beside)


def find_slices(
    labels: Path,
    images: Path | None,
    *,
    organ: str = "",
    cache: Path,
    objects: Sequence[Sequence[int]] | None,
    window: Window,
    workers: int | None = None,
    series: str | None = None,
) -> tuple[list[VolumeSlice], list[str]]:
    """Pair label and image volumes, as the extraction of pictures does, and write the cache where it lacks.

    Args:
        labels: As for :func:`isegm.extract.volume_pairs.pair_volumes`.
        images: As for the same.
        organ: As for the same.
        cache: The cache's folder; several data sets and runs may share it.
        objects: Label values of each object; None makes every value an object.
        window: The window in which HU are shown.
        workers: Processes that write the cache; by default one a core.
        series: Of images that are DICOM, as for :func:`isegm.volumes.files.open_volume`.

    Returns:
        Every slice that holds a wanted object, and lines that the user should read.

    Raises:
        InputError: A path is missing, or no volume holds one of the objects.
        DatasetProblems: Volumes cannot be used: damaged, without an image, not matching it; all are listed.
    """
    pairs, problems = pair_volumes(labels, images, organ, wants_dicom=series is not None)
    jobs = [_CacheJob(pair, cache / f"{pair.name}-{_fingerprint(pair, series)}", series) for pair in pairs]
    missing = [job for job in jobs if not _index_path(job.prefix).is_file()]
    outcomes = dict(run_batch(_write_cache, missing, workers, "cache")) if missing else {}
    problems += [outcomes[i].problem for i in sorted(outcomes) if outcomes[i].problem]
    if problems:
        raise DatasetProblems(problems)
    volumes = [_read_index(job.prefix) for job in jobs]
    slices = [each for volume in volumes for each in _slices_of(volume, objects, window)]
    if not slices:
        held = sorted({value for volume in volumes for value in volume.values})
        raise InputError(
            f"{labels}: no volume holds what is wanted; the labels are {held or 'all 0'}: give others"
        )
    return slices, [note for volume in volumes for note in volume.notes]


def _slices_of(
    volume: CachedVolume, objects: Sequence[Sequence[int]] | None, window: Window
) -> list[VolumeSlice]:
    numbers = _object_numbers(volume.values, objects)
    held = np.flatnonzero(volume.pixels @ (numbers[1:] > 0))
    return [VolumeSlice(volume, int(index), numbers, window) for index in held]


def _fingerprint(pair: VolumePair, series: str | None) -> str:
    """Tells volumes apart, and a volume from what it was before it was changed."""
    facts: list[object] = [_CACHE_VERSION, series] if series else [_CACHE_VERSION]
    for file in (*nifti_files(pair.label), *_files_of(pair.image)):
        if file.is_file():  # or else reading it ends in a line
            status = file.stat()
            facts += [str(file.resolve()), status.st_size, status.st_mtime_ns]
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]


def _files_of(image: Path) -> Iterable[Path]:
    return files_below(image) if image.is_dir() else nifti_files(image)


def _stacks(prefix: Path) -> tuple[Path, Path]:
    return prefix.with_name(f"{prefix.name}.hu.npy"), prefix.with_name(f"{prefix.name}.labels.npy")


def _index_path(prefix: Path) -> Path:
    return prefix.with_name(f"{prefix.name}.json")


def _write_cache(job: _CacheJob) -> None:
    """Write a volume's labelled slices; the index comes last, so that with it all is there."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", InputWarning)
        label, image = align(open_volume(job.pair.label), open_volume(job.pair.image, job.series))
        plan = upright(common_grid(label, image).affine)
        values, kept = _find_labelled(label, plan.axis)
        check = HuCheck(image.path)

        def index_of(slab: Voxels, kept: Any) -> npt.NDArray[Any]:  # noqa: ANN401 - an index of NumPy's
            integers = slab[kept].labels()
            return np.where(integers > 0, np.searchsorted(values, integers) + 1, 0)

        def hu_of(slab: Voxels, kept: Any) -> npt.NDArray[Any]:  # noqa: ANN401 - as above
            check.add(slab)
            labelled = slab[kept]
            labelled.check_finite("its labelled slices")
            return labelled.stored if image.is_8bit else np.rint(labelled.hu()).clip(-(2**15), 2**15 - 1)

        indices = _stack(label, plan, kept, index_of, np.uint8 if len(values) < 2**8 else np.uint16)
        hu = _stack(image, plan, kept, hu_of, np.uint8 if image.is_8bit else np.int16)
        if not image.is_8bit:
            check.warn()
    notes = [str(one.message) for one in caught]
    pixels = [np.bincount(part.ravel(), minlength=len(values) + 1)[1:].tolist() for part in indices]
    for path, stack in zip(_stacks(job.prefix), (hu, indices), strict=True):
        # Opened for reading, too, so that NumPy writes through Python, which says it if the disk is full.
        with whole_file(path) as temporary, temporary.open("w+b") as file:
            np.save(file, stack)
    index = {"values": values.tolist(), "pixels": pixels, "is_8bit": image.is_8bit, "notes": notes}
    write_text(_index_path(job.prefix), json.dumps(index))


def _read_index(prefix: Path) -> CachedVolume:
    try:
        index = json.loads(_index_path(prefix).read_text(encoding="utf-8"))
        values = tuple(int(value) for value in index["values"])
        pixels = np.array(index["pixels"], np.int64).reshape(len(index["pixels"]), len(values))
        return CachedVolume(prefix, values, pixels, bool(index["is_8bit"]), tuple(index["notes"]))
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(f"{_index_path(prefix)}: damaged; remove it and begin again") from None


def _find_labelled(label: Volume, axis: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.intp]]:
    """The label values above 0, in order, and the slices along ``axis`` that hold any."""
    values: set[int] = set()
    has_label = np.zeros(label.shape[axis], np.bool_)
    others = tuple(other for other in range(3) if other != axis)
    for start, slab in label.slabs():
        integers = slab.labels()
        labelled = integers > 0
        values.update(int(value) for value in np.unique(integers[labelled]))
        part = slice(start, start + integers.shape[2]) if axis == 2 else slice(None)
        has_label[part] |= labelled.any(axis=others)
    if len(values) >= 2**16:
        raise InputError(f"{label.path}: holds {len(values)} label values; is it a label volume?")
    return np.array(sorted(values), np.int64), np.flatnonzero(has_label)


def _stack(
    volume: Volume,
    plan: SlicePlan,
    kept: npt.NDArray[np.intp],
    convert: Callable[[Voxels, Any], npt.NDArray[Any]],
    dtype: npt.DTypeLike,
) -> npt.NDArray[Any]:
    """Some slices of a volume as upright pictures, (slices, H, W)."""
    stack = np.empty((len(kept), volume.shape[plan.row_axis], volume.shape[plan.col_axis]), dtype)
    array = plan.array(stack)  # so that slabs are put where they belong as they come
    for start, slab in volume.slabs():
        stop = start + slab.stored.shape[2]
        if plan.axis == 2:
            inside = np.flatnonzero((start <= kept) & (kept < stop))
            array[:, :, inside] = convert(slab, np.s_[:, :, kept[inside] - start])
        else:
            array[:, :, start:stop] = convert(slab, (slice(None),) * plan.axis + (kept,))
    return stack


def _object_numbers(values: Sequence[int], objects: Sequence[Sequence[int]] | None) -> npt.NDArray[np.int32]:
    """The object, from 1, that each of a volume's label indices belongs to; 0 for none."""
    if objects is None:
        return np.arange(len(values) + 1, dtype=np.int32)
    numbers = np.zeros(len(values) + 1, np.int32)
    for index, value in enumerate(values, start=1):
        numbers[index] = next((i for i, own in enumerate(objects, start=1) if value in own), 0)
    return numbers
