"""Pictures and masks from CT volumes and their labels.

A label volume is read once, front to back, and what is organ kept at one bit a voxel; then the slices are
chosen, and of the image only these are kept. Nothing of a volume is written before all that is needed of it
has been read and found sound: a volume is extracted whole or not at all.
"""

import functools
import warnings
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from isegm.errors import FileWarning, InputError, SettingError
from isegm.extract.batch import JobOutcome, run_batch
from isegm.extract.manifest import Row, read_manifest, write_manifest
from isegm.extract.volume_pairs import VolumePair, pair_volumes
from isegm.pictures import write_image
from isegm.storage import seen_from
from isegm.volumes.files import open_volume
from isegm.volumes.grid import align, common_grid
from isegm.volumes.hu_check import HuCheck
from isegm.volumes.organs import Organ
from isegm.volumes.orientation import RAW, SlicePlan, upright
from isegm.volumes.volume import Volume, Voxels
from isegm.volumes.windows import Window

# Slices that are looked at, besides the chosen ones, to see whether a volume holds HU.
_SLICES_CHECKED = 8


@dataclass(frozen=True, kw_only=True)
class Extraction:
    """What to extract, and how; the same for every volume.

    Attributes:
        organ: Whose slices, seen in its window.
        folder: ``<path_dataset>/<organ>``.
        min_pixels: Take every slice with at least so many organ pixels; None takes the one with the most.
        every: Take the first and then every ``every``-th slice of those that hold the organ; None as for
            ``min_pixels``.
        raw: Whether to keep the array's order (slices along the last axis, the first axis running down)
            rather than turn the pictures upright.
        force: Whether a volume that was extracted before is extracted again.
        series: Of images that are DICOM, as for :func:`isegm.volumes.files.open_volume`.
        untilt: The same.
    """

    organ: Organ
    folder: Path
    min_pixels: int | None = None
    every: int | None = None
    raw: bool = False
    force: bool = False
    series: str | None = None
    untilt: bool = False

    def __post_init__(self) -> None:
        for name, number in (("min_pixels", self.min_pixels), ("every", self.every)):
            if number is not None and number < 1:
                raise SettingError(name, f"must be at least 1, not {number}")

    @property
    def manifest(self) -> Path:
        """Where each picture came from."""
        return self.folder / "manifest.csv"

    def picture_paths(self, name: str) -> tuple[Path, Path]:
        """The files of a picture and its mask."""
        return self.folder / "images" / f"{name}.png", self.folder / "masks" / f"{name}.png"


@dataclass(frozen=True)
class ExtractionJob:
    """One volume's part of an extraction.

    Attributes:
        pair: The label volume and its image.
        extraction: What to extract.
    """

    pair: VolumePair
    extraction: Extraction

    @property
    def path(self) -> Path:
        """The label volume."""
        return self.pair.label


@dataclass(frozen=True)
class ExtractionReport:
    """What came of an extraction.

    Attributes:
        pictures: How many were written.
        volumes: From how many volumes.
        problems: Lines about volumes that were not extracted.
    """

    pictures: int
    volumes: int
    problems: list[str]


def extract(
    labels: Path, images: Path | None, extraction: Extraction, workers: int | None = None
) -> ExtractionReport:
    """Extract pictures and masks of every label volume, and note them in the manifest.

    Args:
        labels: As for :func:`isegm.extract.volume_pairs.pair_volumes`.
        images: As for the same.
        extraction: What to extract.
        workers: Processes; by default one a core.

    Raises:
        InputError: A path is missing, no images folder is given or known, or the manifest that lies in
            the folder is not one.
    """
    wants_dicom = extraction.series is not None or extraction.untilt
    pairs, problems = pair_volumes(labels, images, extraction.organ.name, wants_dicom)
    present: defaultdict[str, list[Row]] = defaultdict(list)
    for row in read_manifest(extraction.manifest):
        present[_name_of_volume(row)].append(row)
    jobs: list[ExtractionJob] = []
    for pair in pairs:
        try:
            _check_place(pair, present[pair.name], extraction)
            jobs.append(ExtractionJob(pair, extraction))
        except InputError as error:
            problems.append(str(error))

    outcomes: dict[int, JobOutcome[list[Row]]] = {}
    try:
        # One by one, so that what was done before an interrupt is known.
        for index, outcome in run_batch(extract_volume, jobs, workers, extraction.organ.name):
            outcomes[index] = outcome  # noqa: PERF403
    finally:
        extracted = {jobs[i].pair.name: o.result for i, o in outcomes.items() if o.result is not None}
        if extracted:
            _merge_manifest(extraction, extracted)
    problems += [outcomes[index].problem for index in sorted(outcomes) if outcomes[index].problem]
    return ExtractionReport(sum(map(len, extracted.values())), len(extracted), sorted(problems))


def _check_place(pair: VolumePair, rows: Sequence[Row], extraction: Extraction) -> None:
    """Refuse a volume whose pictures would replace others, but its own if that is wanted.

    Args:
        pair: The volume.
        rows: What the manifest has under the volume's name.
        extraction: Where its pictures go.
    """
    if not pair.name.isprintable():
        raise InputError(f"{pair.label}: its name cannot be printed; rename it")
    if not any(path.exists() for row in rows for path in extraction.picture_paths(row["name"])):
        return
    own = (seen_from(extraction.folder, pair.label.parent), pair.label.name)
    for row in rows:
        if (row["label_folder"], row["label"]) != own:
            raise InputError(
                f"{pair.label}: {extraction.folder} has pictures of another volume of that name, of "
                f"{row['label_folder']}/{row['label']}; extract into another folder, or rename one"
            )
    if not extraction.force:
        raise InputError(f"{pair.label}: {extraction.folder} has its pictures already; `force` replaces them")


def _name_of_volume(row: Row) -> str:
    return row["name"].rpartition("_")[0]


def _merge_manifest(extraction: Extraction, extracted: dict[str, list[Row]]) -> None:
    """Put the new rows in the place of the same volumes' old ones; pictures left without a row go."""
    old = read_manifest(extraction.manifest)
    new = [row for rows in extracted.values() for row in rows]
    write_manifest(extraction.manifest, [row for row in old if _name_of_volume(row) not in extracted] + new)
    stale = {row["name"] for row in old if _name_of_volume(row) in extracted} - {row["name"] for row in new}
    for name in stale:
        for path in extraction.picture_paths(name):
            path.unlink(missing_ok=True)


def extract_volume(job: ExtractionJob) -> list[Row]:
    """Write the pictures and masks of one volume.

    Returns:
        The manifest's rows for them.

    Raises:
        InputError: Either volume cannot be read, they do not match, the label has no (or too little)
            organ or values that are no integers, a chosen slice has NaN, or a picture is there already.
    """
    extraction, organ = job.extraction, job.extraction.organ
    image = open_volume(job.pair.image, extraction.series, untilt=extraction.untilt)
    label, image = align(open_volume(job.pair.label), image)
    placed = common_grid(label, image)
    plan = RAW if extraction.raw else upright(placed.affine)

    voxels = find_organ_voxels(label, organ.labels)
    pixels = voxels.count(plan.axis)
    chosen = _choose(job, pixels)
    names = [f"{job.pair.name}_{index:03d}" for index in chosen]
    for name in names:
        for path in extraction.picture_paths(name):
            if path.exists() and not extraction.force:
                raise InputError(f"{job.path}: {path} exists already; `force` replaces it")

    window = None if image.is_8bit else organ.window
    if image.is_8bit:
        text = "8-bit already, so taken as grey values rather than HU, without a window"
        warnings.warn(FileWarning(image.path, text), stacklevel=2)
    pictures = _read_pictures(image, plan, chosen, window)

    rows: list[Row] = []
    for name, index, grey in zip(names, chosen, pictures, strict=True):
        image_path, mask_path = extraction.picture_paths(name)
        mask = plan.picture(voxels.slice(plan.axis, index))
        write_image(image_path, np.ascontiguousarray(grey))
        write_image(mask_path, np.ascontiguousarray(mask).astype(np.uint8) * 255)
        rows.append(
            {
                "name": name,
                "volume": image.path.name,
                "label": label.path.name,
                "slice": str(index),
                "axis": str(plan.axis),
                "height": str(grey.shape[0]),
                "width": str(grey.shape[1]),
                "spacing_row_mm": f"{placed.spacing_mm[plan.row_axis]:.7g}",
                "spacing_col_mm": f"{placed.spacing_mm[plan.col_axis]:.7g}",
                "window_level": f"{window.level:g}" if window else "",
                "window_width": f"{window.width:g}" if window else "",
                "orientation": "raw" if extraction.raw else "upright",
                "labels": "+".join(map(str, organ.labels)),
                "organ_pixels": str(pixels[index]),
                "label_folder": seen_from(extraction.folder, label.path.parent),
            }
        )
    return rows


@dataclass(frozen=True)
class OrganVoxels:
    """Where the organ is in a label volume, one bit a voxel.

    Attributes:
        bits: (ceil(X / 8), Y, Z), packed along the first axis.
        shape: (X, Y, Z).
    """

    bits: npt.NDArray[np.uint8]
    shape: tuple[int, int, int]

    def count(self, axis: int) -> npt.NDArray[np.int64]:
        """Organ voxels in each slice along ``axis``."""
        counts = np.zeros(self.shape[axis], np.int64)
        for z in np.flatnonzero(self.bits.any(axis=(0, 1))):
            part = self.slice(2, int(z))
            if axis == 2:
                counts[z] = np.count_nonzero(part)
            else:
                counts += np.count_nonzero(part, axis=1 - axis)
        return counts

    def slice(self, axis: int, index: int) -> npt.NDArray[np.bool_]:
        """One slice along ``axis``; the two other axes keep their order."""
        if axis == 0:
            plane: npt.NDArray[np.uint8] = self.bits[index // 8] >> np.uint8(7 - index % 8) & 1
            return plane.astype(np.bool_)
        return self._unpack(self.bits[:, index] if axis == 1 else self.bits[:, :, index]).astype(np.bool_)

    def _unpack(self, bits: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        return np.unpackbits(bits, axis=0, count=self.shape[0])


def find_organ_voxels(label: Volume, values: Sequence[int]) -> OrganVoxels:
    """Read a label volume and keep which voxels have one of ``values``.

    Raises:
        InputError: The volume cannot be read to its end, or holds a value that is no integer.
    """
    x, y, z = label.shape
    bits = np.zeros((-(-x // 8), y, z), np.uint8, order="F")
    for start, slab in label.slabs():
        labels = slab.labels()
        organ = functools.reduce(np.logical_or, [labels == value for value in values])
        if organ.any():
            bits[:, :, start : start + organ.shape[2]] = np.packbits(organ, axis=0)
    return OrganVoxels(bits, label.shape)


def _choose(job: ExtractionJob, pixels: npt.NDArray[np.int64]) -> list[int]:
    """Indices of the slices to write, by the organ pixels of each."""
    extraction, organ = job.extraction, job.extraction.organ
    best = int(pixels.argmax())
    if not pixels[best]:
        labels = " or ".join(map(str, organ.labels))
        raise InputError(f"{job.path}: holds no {organ.name} (no voxel is {labels}); give its `labels`")
    if extraction.min_pixels is None and extraction.every is None:
        return [best]
    least = extraction.min_pixels or 1
    if pixels[best] < least:
        raise InputError(
            f"{job.path}: no slice holds {least} pixels of {organ.name}, the most are {pixels[best]} in "
            f"slice {best}; ask for fewer"
        )
    return [int(index) for index in np.flatnonzero(pixels >= least)[:: extraction.every or 1]]


def _read_pictures(
    image: Volume, plan: SlicePlan, chosen: Sequence[int], window: Window | None
) -> list[npt.NDArray[np.uint8]]:
    """The chosen slices of an image as pictures (H, W); ``window`` None takes the bytes as they are.

    A few slices more are looked at to see whether the volume holds HU.
    """
    check = HuCheck(image.path)

    def grey(part: Voxels, index: int) -> npt.NDArray[np.uint8]:
        part.check_finite(f"slice {index} of axis {plan.axis}")
        return part.stored.astype(np.uint8) if window is None else part.windowed(window)

    found: dict[int, npt.NDArray[np.uint8]] = {}
    if plan.axis == 2:
        depth = image.shape[2]
        spread = range(0, depth, -(-depth // _SLICES_CHECKED))
        for index, slab in image.slabs(wanted={*chosen, *spread}):
            check.add(slab)
            if index in chosen:
                found[index] = grey(slab[:, :, 0], index)
    else:
        other = 1 - plan.axis
        found = {index: np.empty((image.shape[other], image.shape[2]), np.uint8) for index in chosen}
        for start, slab in image.slabs():
            check.add(slab)
            for index, picture in found.items():
                part = slab[index] if plan.axis == 0 else slab[:, index]
                picture[:, start : start + slab.stored.shape[2]] = grey(part, index)
    if window is not None:
        check.warn()
    return [plan.picture(found[index]) for index in chosen]
