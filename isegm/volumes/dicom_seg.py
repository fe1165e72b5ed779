"""DICOM SEG: label volumes read, and masks of a series written.

A SEG holds frames of one bit a pixel, each of one segment at one place; places where a segment is not may be
left out, so that its extent says little of the series' own. :meth:`SegmentationVolume.on_grid_of` puts it
there.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from isegm._version import __version__
from isegm.errors import InputError
from isegm.storage import whole_file
from isegm.volumes.dicom import DicomVolume, lying, stacked_affine
from isegm.volumes.dicom_file import DicomFile, Frame, reading
from isegm.volumes.dicom_frames import check_pixels, read_frames
from isegm.volumes.dicom_series import Series
from isegm.volumes.volume import Volume, Voxels

try:
    import highdicom as hd
except ImportError:
    raise InputError(
        "highdicom is not installed, which DICOM SEG needs; pip install '.[dicom]' brings it"
    ) from None

# What a SEG has from its sources, if only as blanks.
_COPIED = (
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "AccessionNumber",
    "StudyID",
    "StudyDate",
    "StudyTime",
)
# Voxels by which a frame may lie beside a grid's own place.
_PLACE_TOLERANCE = 0.05
_ORGAN = Code("113343008", "SCT", "Organ")
# SNOMED CT's codes of what is often segmented, by the first word of a name; others are tissue.
_TYPES = {
    word: Code(code, "SCT", meaning)
    for word, code, meaning in (
        ("liver", "10200004", "Liver"),
        ("spleen", "78961009", "Spleen"),
        ("lung", "39607008", "Lung"),
        ("kidney", "64033007", "Kidney"),
        ("pancreas", "15776009", "Pancreas"),
        ("heart", "80891009", "Heart"),
        ("stomach", "69695003", "Stomach"),
        ("aorta", "15825003", "Aorta"),
        ("prostate", "41216001", "Prostate"),
        ("brain", "12738006", "Brain"),
    )
}


@dataclass(frozen=True, kw_only=True, eq=False)
class SegmentationVolume(Volume):
    """The segments of a DICOM SEG as labels; where two of them meet, the one of the higher number wins.

    Attributes:
        planes: The frames of each slice along the last axis, by segment; none where it is not there.
        flips: As of :class:`isegm.volumes.dicom.DicomVolume`.
    """

    planes: Mapping[int, tuple[Frame, ...]]
    flips: tuple[bool, bool]

    def slabs(self, wanted: Collection[int] | None = None) -> Iterator[tuple[int, Voxels]]:
        """As :meth:`Volume.slabs`, a slice a slab."""
        for z in range(self.shape[2]) if wanted is None else sorted(wanted):
            labels = np.zeros((self.shape[1], self.shape[0]), np.uint16)
            frames = self.planes.get(z, ())
            for frame in frames:
                (bits,) = read_frames(frame.file, [frame.index])
                is_label_map = frame.file.bits_allocated > 1
                np.copyto(labels, bits if is_label_map else frame.segment, where=bits > 0, casting="unsafe")
            yield z, Voxels(self.path, lying(labels, self.flips))

    def on_grid_of(self, other: Volume) -> Volume:
        """As :meth:`Volume.on_grid_of`: with empty slices where the other volume goes on."""
        if not other.has_orientation or abs(np.linalg.det(other.affine)) < 1e-12:
            return self
        places = np.linalg.inv(other.affine) @ self.affine  # from this volume's voxels to the other's
        signs = np.sign(np.diag(places)[:2])
        if (
            other.shape[:2] != self.shape[:2]
            or np.abs(places[:3, :2] - np.eye(3)[:, :2] * signs).max() > 1e-3
        ):
            return self
        corner = np.where(signs < 0, np.array(self.shape[:2]) - 1, 0)
        planes: dict[int, tuple[Frame, ...]] = {}
        for z, frames in self.planes.items():
            x, y, place = places[:3, 2] * z + places[:3, 3]
            nearest = round(place)
            off = max(abs(x - corner[0]), abs(y - corner[1]), abs(place - nearest))
            if off > _PLACE_TOLERANCE or not 0 <= nearest < other.shape[2]:
                return self
            planes[nearest] = frames
        flips = (self.flips[0] ^ bool(signs[0] < 0), self.flips[1] ^ bool(signs[1] < 0))
        return replace(self, shape=other.shape, affine=other.affine, planes=planes, flips=flips)


def segmentation_volume(series: Series) -> SegmentationVolume:
    """The label volume of a DICOM SEG, from its first slice to its last.

    Raises:
        InputError: The series has several files, fractions, or frames at uneven places.
    """
    files = {frame.file.path: frame.file for frame in series.frames}
    if len(files) > 1:
        first, second, *_ = files
        raise InputError(f"{series.folder}: {first.name} and {second.name} are segmentations; name one file")
    (file,) = files.values()
    check_pixels(file)
    with reading(file.path):
        kind = str(file.header.get("SegmentationType"))
    if kind not in ("BINARY", "LABELMAP"):
        raise InputError(f"{file.path}: holds fractions, no labels; threshold it")
    if len(file.frames) < file.frame_count:
        raise InputError(f"{file.path}: does not say where its frames lie; make it again")
    normal = np.cross(*file.frames[0].directions)
    along = np.array([frame.position @ normal for frame in file.frames])
    steps = np.diff(np.unique(np.round(along, 3)))
    step = float(steps[steps > 0.01].min()) if (steps > 0.01).any() else 0.0
    at = np.rint((along - along.min()) / step).astype(int) if step else np.zeros(len(along), int)
    if step and np.abs(along - along.min() - at * step).max() > 0.5 * step:
        raise InputError(f"{file.path}: its frames lie at uneven distances; resample it")
    planes: defaultdict[int, list[Frame]] = defaultdict(list)
    for frame, z in zip(file.frames, at, strict=True):
        planes[int(z)].append(frame)
    lowest, highest = planes[0][0], planes[int(at.max())][0]
    vector = (highest.position - lowest.position) / at.max() if step else normal * _thickness(file)
    return SegmentationVolume(
        path=series.folder,
        shape=(file.columns, file.rows, int(at.max()) + 1),
        affine=stacked_affine(lowest, vector),
        planes={z: tuple(sorted(frames, key=lambda frame: frame.segment)) for z, frames in planes.items()},
        flips=(False, True),
    )


def _thickness(file: DicomFile) -> float:
    """What a SEG of a single slice says of its thickness, in mm; 1 where it says nothing."""
    with reading(file.path):
        for kind in ("Shared", "PerFrame"):
            groups = file.header.get(f"{kind}FunctionalGroupsSequence")
            measures = groups[0].get("PixelMeasuresSequence") if groups else None
            thickness = measures[0].get("SliceThickness") if measures else None
            if thickness:
                return float(thickness)
    return 1.0


def write_dicom_seg(path: Path, volume: Volume, mask: npt.NDArray[Any], names: Mapping[int, str]) -> None:
    """Write labels of a DICOM series as a DICOM SEG: see :func:`isegm.volumes.mask_writing.write_mask`."""
    if not isinstance(volume, DicomVolume):
        raise InputError(
            f"{path}: a DICOM SEG refers to a DICOM series, but {volume.path} is none as it is stored; write "
            "NIfTI (.nii.gz)"
        )
    values = [int(value) for value in np.unique(mask) if value]
    if not values:
        raise InputError(
            f"{path}: a DICOM SEG must have a segment, but the mask is empty; write NIfTI (.nii.gz)"
        )
    sources = _sources(volume.frames)
    # Segments are counted from 1 without gaps; labels that are not are told by their names.
    numbers = {value: number for number, value in enumerate(values, start=1)}
    pictures = np.zeros((mask.shape[2], mask.shape[1], mask.shape[0]), np.uint16)
    order = _order_of_sources(volume.frames)
    for place, z in enumerate(order):
        labels = mask[:, :, z].T[:: -1 if volume.flips[1] else 1, :: -1 if volume.flips[0] else 1]
        for value, number in numbers.items():
            pictures[place][labels == value] = number
    segments = [_segment(numbers[value], names.get(value, f"label {value}")) for value in values]
    with reading(volume.path):
        made = hd.seg.Segmentation(
            source_images=sources,
            pixel_array=pictures,
            segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
            segment_descriptions=segments,
            series_instance_uid=generate_uid(),
            series_number=(volume.series.file.number or 0) + 1000,
            sop_instance_uid=generate_uid(),
            instance_number=1,
            manufacturer="isegm",
            manufacturer_model_name="isegm",
            software_versions=__version__,
            device_serial_number="0",
            series_description="Segmentation",
            transfer_syntax_uid=ExplicitVRLittleEndian,
        )
    with whole_file(path) as temporary:
        made.save_as(temporary)


def _sources(frames: Sequence[Frame]) -> list[Dataset]:
    """The headers of the files that the frames are from, with what a SEG must copy from them."""
    sources: list[Dataset] = []
    for file in dict.fromkeys(frames[z].file for z in _order_of_sources(frames)):
        with reading(file.path):
            source = pydicom.dcmread(file.path, stop_before_pixels=True, force=True)
            source.SOPClassUID = source.get("SOPClassUID") or file.sop_class
            source.SOPInstanceUID = file.instance
            for keyword in _COPIED:
                if keyword not in source:
                    setattr(source, keyword, "")
            if not source.get("FrameOfReferenceUID"):
                raise InputError(f"{file.path}: has no FrameOfReferenceUID, which a SEG needs; write NIfTI")
            for keyword in ("ImageOrientationPatient", "PixelSpacing"):
                # Files may differ in the last digits, and highdicom wants all alike.
                if sources and keyword in source:
                    setattr(source, keyword, sources[0][keyword].value)
            sources.append(source)
    return sources


def _order_of_sources(frames: Sequence[Frame]) -> list[int]:
    """The slices in the order that highdicom has of them: that of the files, or of the frames in one."""
    places = list(range(len(frames)))
    files = {frame.file.path for frame in frames}
    if len(files) == 1 and len(frames) == frames[0].file.frame_count:
        return sorted(places, key=lambda z: frames[z].index)
    if len(files) < len(frames):
        raise InputError(
            f"{frames[0].path}: a SEG of a part of its frames is not written; write NIfTI (.nii.gz)"
        )
    return places


def _segment(number: int, name: str) -> hd.seg.SegmentDescription:
    known = _TYPES.get(name.lower().replace("_", " ").partition(" ")[0])
    return hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=name[:64],
        segmented_property_category=_ORGAN if known else codes.SCT.Tissue,
        segmented_property_type=known or codes.SCT.Tissue,
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.MANUAL,
    )
