"""Pictures and masks from CT volumes and their labels.

A label volume is read once, front to back, and what is organ kept at one bit a voxel; then the slices are
chosen, and of the image only these are kept. Nothing of a volume is written before all that is needed of it
has been read and found sound: a volume is extracted whole or not at all.
"""

import functools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from isegm.errors import InputError
from isegm.extract.batch import Outcome, run_batch
from isegm.extract.manifest import Row, read_manifest, write_manifest
from isegm.extract.volume_pairs import check_match, list_images, pair_image
from isegm.pictures import write_image
from isegm.volumes.organs import Organ
from isegm.volumes.orientation import RAW, SlicePlan, upright
from isegm.volumes.volume import (
    Volume,
    as_integers,
    check_finite,
    list_volumes,
    open_volume,
    read_slabs,
    stem,
)
from isegm.volumes.windows import Window, apply_window


@dataclass(frozen=True, kw_only=True)
class Extraction:
    """What to extract, and how; the same for every volume.

    Attributes:
        organ: Whose slices.
        folder: ``<path_dataset>/<organ>``.
        window: The window asked for; None takes the organ's.
        min_pixels: Take every slice with at least so many organ pixels; None takes the one with the most.
        every: Take every so-manieth slice of those that hold the organ; None as for ``min_pixels``.
        raw: Whether to keep the array's order (slices along the last axis, the first axis running down)
            rather than turn the pictures upright.
        force: Whether a volume that was extracted before is done anew.
    """

    organ: Organ
    folder: Path
    window: Window | None = None
    min_pixels: int | None = None
    every: int | None = None
    raw: bool = False
    force: bool = False

    def __post_init__(self) -> None:
        for flag, number in (("--min-pixels", self.min_pixels), ("--every", self.every)):
            if number is not None and number < 1:
                raise InputError(f"{flag} {number}: must be at least 1")

    def picture_paths(self, name: str) -> tuple[Path, Path]:
        """The files of a picture and its mask."""
        return self.folder / "images" / f"{name}.png", self.folder / "masks" / f"{name}.png"


@dataclass(frozen=True)
class ExtractionJob:
    """One volume's part of an extraction.

    Attributes:
        path: The label volume.
        image: The image volume that belongs to it.
        extraction: What to extract.
    """

    path: Path
    image: Path
    extraction: Extraction


@dataclass(frozen=True)
class Extracted:
    """What came of one volume: a manifest row for each picture, and lines that the user should read."""

    rows: list[Row]
    notes: list[str]


@dataclass(frozen=True)
class Report:
    """What came of an extraction.

    Attributes:
        pictures: How many were written.
        volumes: From how many volumes.
        notes: Lines about volumes that were extracted.
        problems: Lines about volumes that were not.
    """

    pictures: int
    volumes: int
    notes: list[str]
    problems: list[str]


def extract(labels: Path, images: Path | None, extraction: Extraction, workers: int | None = None) -> Report:
    """Extract pictures and masks of every label volume, and note them in the manifest.

    Args:
        labels: A label volume, or a folder of them.
        images: The image volumes' folder, or the one image; None takes the sibling ``imagesTr`` of a
            ``labelsTr``.
        extraction: What to extract.
        workers: Processes; by default one a core.

    Raises:
        InputError: A path is missing, no images folder is given or known, or the manifest that lies in
            the folder is not one.
    """
    label_paths = list_volumes(labels)
    image_paths = list_images(labels, images)
    # A single label and a single image belong together whatever their names.
    image = images if images is not None and images.is_file() and len(label_paths) == 1 else None
    manifest = extraction.folder / "manifest.csv"
    present = _pictures_by_stem(read_manifest(manifest))

    jobs: list[ExtractionJob] = []
    problems: dict[Path, str] = {}
    names = Counter(stem(path.name) for path in label_paths)
    for path in label_paths:
        name = stem(path.name)
        kept = [n for n in present.get(name, []) if any(p.exists() for p in extraction.picture_paths(n))]
        try:
            if names[name] > 1:
                raise InputError(f"{path}: another label has its pictures' name, {name}; rename one")
            if kept and not extraction.force:
                raise InputError(
                    f"{path}: {extraction.folder} has its pictures already; --force replaces them"
                )
            jobs.append(ExtractionJob(path, image or pair_image(path, image_paths), extraction))
        except InputError as error:
            problems[path] = str(error)

    outcomes: dict[int, Outcome[Extracted]] = {}
    try:
        # One by one, so that what was done before an interrupt is known.
        for index, outcome in run_batch(extract_volume, jobs, workers, extraction.organ.name):
            outcomes[index] = outcome  # noqa: PERF403
    finally:
        extracted = {jobs[i].path: o.result for i, o in outcomes.items() if o.result is not None}
        if extracted:
            _merge_manifest(extraction, extracted)
    problems |= {jobs[i].path: outcome.problem for i, outcome in outcomes.items() if outcome.problem}
    return Report(
        pictures=sum(len(result.rows) for result in extracted.values()),
        volumes=len(extracted),
        notes=[note for path in label_paths if path in extracted for note in extracted[path].notes],
        problems=[problems[path] for path in label_paths if path in problems],
    )


def _pictures_by_stem(rows: Sequence[Row]) -> dict[str, list[str]]:
    pictures: dict[str, list[str]] = {}
    for row in rows:
        pictures.setdefault(_volume_stem(row), []).append(row["name"])
    return pictures


def _volume_stem(row: Row) -> str:
    return row["name"].rpartition("_")[0]


def _merge_manifest(extraction: Extraction, extracted: dict[Path, Extracted]) -> None:
    """Put the new rows in the place of the same volumes' old ones; pictures left without a row go."""
    manifest = extraction.folder / "manifest.csv"
    redone = {stem(path.name) for path in extracted}
    old = read_manifest(manifest)
    new = [row for result in extracted.values() for row in result.rows]
    write_manifest(manifest, [row for row in old if _volume_stem(row) not in redone] + new)
    stale = {row["name"] for row in old if _volume_stem(row) in redone} - {row["name"] for row in new}
    for name in stale:
        for path in extraction.picture_paths(name):
            path.unlink(missing_ok=True)


def extract_volume(job: ExtractionJob) -> Extracted:
    """Write the pictures and masks of one volume.

    Returns:
        The manifest's rows for them.

    Raises:
        InputError: Either volume cannot be read, they do not match, the label has no (or too little)
            organ or values that are no integers, a chosen slice has NaN, or a picture is there already.
    """
    extraction, organ = job.extraction, job.extraction.organ
    label, image = open_volume(job.path), open_volume(job.image)
    notes = check_match(label, image)
    # What a header without orientation lacks, the other one may know.
    placed = image if image.has_orientation or not label.has_orientation else label
    plan = RAW if extraction.raw else upright(placed.affine)

    voxels = find_organ_voxels(label, organ.labels)
    pixels = voxels.count(plan.axis)
    chosen = _choose(job, pixels)
    names = [f"{stem(job.path.name)}_{index:03d}" for index in chosen]
    for name in names:
        for path in extraction.picture_paths(name):
            if path.exists() and not extraction.force:
                raise InputError(f"{job.path}: {path} exists already; --force replaces it")

    window = None if image.is_8bit else extraction.window or organ.window
    if image.is_8bit and extraction.window is not None:
        notes.append(f"{image.path}: 8-bit already, taken as it is; --window not applied")
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
            }
        )
    return Extracted(rows, notes)


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
    for start, slab in read_slabs(label):
        organ = functools.reduce(np.logical_or, [as_integers(label, slab) == value for value in values])
        if organ.any():
            bits[:, :, start : start + slab.shape[2]] = np.packbits(organ, axis=0)
    return OrganVoxels(bits, label.shape)


def _choose(job: ExtractionJob, pixels: npt.NDArray[np.int64]) -> list[int]:
    """Indices of the slices to write, by the organ pixels of each."""
    extraction, organ = job.extraction, job.extraction.organ
    best = int(pixels.argmax())
    if not pixels[best]:
        labels = " or ".join(map(str, organ.labels))
        raise InputError(f"{job.path}: holds no {organ.name} (no voxel is {labels}); give its --labels?")
    if extraction.min_pixels is None and extraction.every is None:
        return [best]
    least = extraction.min_pixels or 1
    if pixels[best] < least:
        raise InputError(
            f"{job.path}: no slice holds {least} pixels of {organ.name}, the most are {pixels[best]} in "
            f"slice {best}; lower --min-pixels"
        )
    return [int(index) for index in np.flatnonzero(pixels >= least)[:: extraction.every or 1]]


def _read_pictures(
    image: Volume, plan: SlicePlan, chosen: Sequence[int], window: Window | None
) -> list[npt.NDArray[np.uint8]]:
    """The chosen slices of an image as pictures (H, W); ``window`` None takes the bytes as they are."""

    def grey(part: npt.NDArray[np.generic], index: int) -> npt.NDArray[np.uint8]:
        check_finite(image, part, f"slice {index} of axis {plan.axis}")
        if window is None:
            return part.astype(np.uint8)
        return apply_window(part, window, image.slope, image.inter)

    if plan.axis == 2:
        slices = [grey(slab[:, :, 0], index) for index, slab in read_slabs(image, wanted=chosen)]
    else:
        other = 1 - plan.axis
        slices = [np.empty((image.shape[other], image.shape[2]), np.uint8) for _ in chosen]
        for start, slab in read_slabs(image):
            for picture, index in zip(slices, chosen, strict=True):
                part = slab[index] if plan.axis == 0 else slab[:, index]
                picture[:, start : start + slab.shape[2]] = grey(part, index)
    return [plan.picture(part).astype(np.uint8, copy=False) for part in slices]
