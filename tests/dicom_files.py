"""DICOM series as the tests need them, written by pydicom."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    CTImageStorage,
    EnhancedCTImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGLossless,
    JPEGLosslessSV1,
    RLELossless,
    generate_uid,
)

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
_UIDS = ("1.2.826.0.1.3680043.8.498.1", "1.2.826.0.1.3680043.8.498.2")


def stored_values(shape=(4, 12, 10), low=0, high=2000, seed=0, dtype=np.int16):
    """(slices, rows, columns) of noise, all slices and corners different."""
    return np.random.default_rng(seed).integers(low, high, shape).astype(dtype)


def normal_of(orientation):
    return np.cross(orientation[:3], orientation[3:])


def dataset(pixels, position, **tags):
    """A classic CT slice in Explicit VR Little Endian; ``tags`` replace, add, or with None take away."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    slice_ = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    slice_.SOPClassUID = CTImageStorage
    slice_.SOPInstanceUID = generate_uid(
        entropy_srcs=[str(position), str(tags), pixels.tobytes().hex()[:2000]]
    )
    slice_.StudyInstanceUID, slice_.SeriesInstanceUID = _UIDS
    slice_.FrameOfReferenceUID = _UIDS[0] + ".9"
    slice_.PatientID = slice_.PatientName = "phantom"
    slice_.Modality = "CT"
    slice_.SeriesNumber, slice_.AcquisitionNumber, slice_.InstanceNumber = 3, 1, 1
    slice_.SeriesDescription = "abdomen"
    slice_.StudyID, slice_.AccessionNumber, slice_.ReferringPhysicianName = "1", "", ""
    slice_.PatientBirthDate, slice_.PatientSex = "", ""
    slice_.StudyDate, slice_.StudyTime = "20240102", "101112"
    slice_.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    slice_.ImagePositionPatient = [f"{float(number):.10g}" for number in position]
    slice_.ImageOrientationPatient = list(AXIAL)
    slice_.PixelSpacing = [0.7, 0.9]
    slice_.SliceThickness = 5
    slice_.Rows, slice_.Columns = pixels.shape[-2:]
    slice_.SamplesPerPixel, slice_.PhotometricInterpretation = 1, "MONOCHROME2"
    slice_.BitsAllocated = slice_.BitsStored = pixels.dtype.itemsize * 8
    slice_.HighBit = slice_.BitsStored - 1
    slice_.PixelRepresentation = int(pixels.dtype.kind == "i")
    slice_.RescaleSlope, slice_.RescaleIntercept = 1, -1024
    slice_.PixelData = pixels.tobytes() + bytes(pixels.nbytes % 2)
    slice_["PixelData"].VR = "OB" if pixels.dtype.itemsize == 1 else "OW"
    for keyword, value in tags.items():
        if value is None:
            delattr(slice_, keyword)
        elif isinstance(value, pydicom.DataElement):
            slice_.add(value)
        else:
            setattr(slice_, keyword, value)
    return slice_


def write(path, slice_, syntax=ExplicitVRLittleEndian):
    """Write a dataset in a transfer syntax, compressed if that is."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    syntax = pydicom.uid.UID(syntax)
    if syntax in (JPEGLosslessSV1, JPEGLossless):
        return _write_by_gdcm(path, slice_)
    if syntax.is_encapsulated:
        plugin = "pydicom" if syntax == RLELossless else ""  # another one writes half of a byte's values
        slice_.compress(syntax, encoding_plugin=plugin, generate_instance_uid=False)
    elif syntax == ExplicitVRBigEndian and slice_.BitsAllocated == 16:
        slice_.PixelData = np.frombuffer(slice_.PixelData, "<u2").astype(">u2").tobytes()
    slice_.file_meta.TransferSyntaxUID = syntax
    slice_.file_meta.MediaStorageSOPInstanceUID = slice_.SOPInstanceUID
    pydicom.dcmwrite(
        path,
        slice_,
        implicit_vr=syntax == ImplicitVRLittleEndian,
        little_endian=syntax != ExplicitVRBigEndian,
        enforce_file_format=True,
    )
    return path


def _write_by_gdcm(path, slice_):
    """As lossless JPEG, for which pydicom has no encoder."""
    plain = write(path.with_suffix(".plain"), slice_)
    program = shutil.which("gdcmconv", path=Path(sys.executable).parent)
    subprocess.run([program, "--jpeg", plain, path], check=True, capture_output=True)
    plain.unlink()
    return path


def places(count, orientation=AXIAL, step=2.5, first=(-30.0, -40.0, 100.0), shift=(0.0, 0.0, 0.0)):
    """Positions of slices along their normal, ``step`` mm apart or at ``step``'s own distances."""
    along = np.arange(count) * step if np.isscalar(step) else np.asarray(step, float)
    return [
        np.array(first) + far * normal_of(orientation) + number * np.array(shift)
        for number, far in enumerate(along)
    ]


def write_series(
    folder, stored=None, positions=None, names=None, syntax=ExplicitVRLittleEndian, each=None, **tags
):
    """Write a slice a file; ``each(number)`` gives tags of a slice's own. Returns the paths."""
    stored = stored_values() if stored is None else stored
    positions = (
        places(len(stored), tags.get("ImageOrientationPatient", AXIAL)) if positions is None else positions
    )
    paths = []
    for number, (pixels, position) in enumerate(zip(stored, positions, strict=True)):
        own = {"InstanceNumber": number + 1, **tags, **(each(number) if each else {})}
        name = names[number] if names else f"slice{number:03d}.dcm"
        paths.append(write(Path(folder) / name, dataset(pixels, position, **own), syntax))
    return paths


def enhanced(stored, positions, slopes=None, orientation=AXIAL, **tags):
    """An enhanced multi-frame CT, with a slope for each frame if wanted."""
    many = dataset(stored, positions[0], NumberOfFrames=len(stored), **tags)
    many.SOPClassUID = many.file_meta.MediaStorageSOPClassUID = EnhancedCTImageStorage
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "RescaleSlope", "RescaleIntercept"):
        delattr(many, keyword)
    measures, plane, scale = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = many.PixelSpacing, 5
    plane.ImageOrientationPatient = list(orientation)
    del many.PixelSpacing
    scale.RescaleSlope, scale.RescaleIntercept, scale.RescaleType = 1, -1024, "HU"
    shared = Dataset()
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = Sequence([measures]), Sequence([plane])
    if slopes is None:
        shared.PixelValueTransformationSequence = Sequence([scale])
    many.SharedFunctionalGroupsSequence = Sequence([shared])
    frames = []
    for number, position in enumerate(positions):
        frame, place, content = Dataset(), Dataset(), Dataset()
        place.ImagePositionPatient = [float(value) for value in position]
        content.StackID, content.InStackPositionNumber = "1", number + 1
        content.DimensionIndexValues = [1, number + 1]
        frame.PlanePositionSequence, frame.FrameContentSequence = Sequence([place]), Sequence([content])
        if slopes is not None:
            own = Dataset()
            own.RescaleSlope, own.RescaleIntercept, own.RescaleType = slopes[number], -1000, "HU"
            frame.PixelValueTransformationSequence = Sequence([own])
        frames.append(frame)
    many.PerFrameFunctionalGroupsSequence = Sequence(frames)
    return many
