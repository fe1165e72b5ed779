"""Finding images and their label volumes, and what tells patients whose files have the same names apart."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from isegm.errors import InputError
from isegm.volumes.files import dicom_in, is_mask_volume, is_volume, list_volumes, stem, volumes_in
from isegm.wording import counted

# The last word of the name of a label volume that lies in its patient's folder.
_LABEL_WORDS = frozenset({"segmentation", "seg", "label", "labels", "mask"})


@dataclass(frozen=True)
class VolumePair:
    """A label volume and its image.

    Attributes:
        label: The label volume.
        image: The image volume.
        name: What the patient's pictures are called: what tells the label from other patients'.
    """

    label: Path
    image: Path
    name: str


def pair_volumes(
    labels: Path, images: Path | None, organ: str, wants_dicom: bool = False
) -> tuple[list[VolumePair], list[str]]:
    """Find the image of each label volume.

    Args:
        labels: A label volume; a folder of them; a folder with such a ``labelsTr``; or a folder with one
            folder a patient, as TotalSegmentator (``s0001/ct.nii.gz``, ``s0001/segmentations/liver.nii.gz``)
            and KiTS (``case_00000/imaging.nii.gz``, ``case_00000/segmentation.nii.gz``) have it.
        images: The image volume or their folder; None takes the sibling ``imagesTr`` of a ``labelsTr``, or
            the other volume in a patient's folder.
        organ: Which of a patient's ``segmentations`` is meant.
        wants_dicom: Whether of ``images`` only DICOM counts.

    Returns:
        The pairs, in the order of labels, and a line for each label that has none.

    Raises:
        InputError: A path is missing or holds no volume, or no images are given or known.
    """
    if images is None and (labels / "labelsTr").is_dir():
        labels = labels / "labelsTr"
    if labels.is_dir() and images is None and not labels.absolute().name.startswith("labels"):
        found, problems = _pair_patients(labels, organ)
    else:
        found, problems = _pair_labels(labels, images, wants_dicom)
    names = Counter(pair.name for pair in found)
    same = [pair for pair in found if names[pair.name] > 1]
    problems += [f"{pair.label}: another label has the same name, {pair.name}; rename one" for pair in same]
    return [pair for pair in found if pair not in same], problems


def list_images(path: Path, wants_dicom: bool = False) -> dict[Path, str]:
    """Find the image volumes at a path: itself, those of a folder, or those of a folder with one a patient.

    Labels in a patient's folder (see :func:`pair_volumes`) are left out.

    Args:
        path: A file or folder.
        wants_dicom: Whether NIfTI files are passed over.

    Returns:
        The images, in the order of their names, and what stands before each one's name to tell it from those
        of other patients: ``s0001_`` or nothing.

    Raises:
        InputError: As :func:`isegm.volumes.files.list_volumes`.
    """
    if wants_dicom:
        return dict.fromkeys(list_volumes(path, wants_dicom), "")
    patient = path if path.is_dir() else path.parent
    own = volumes_in(patient) if patient.is_dir() else []
    images = [volume for volume in own if not _is_label(volume)]
    is_patient = len(images) == 1 and (len(own) > 1 or (patient / "segmentations").is_dir())
    if is_patient and path in (patient, *images):
        return dict.fromkeys(images, f"{stem(patient.resolve().name)}_")
    found = {
        image: f"{stem(folder.name)}_"
        for folder in (_folders_in(path) if path.is_dir() and not own else ())
        for image in volumes_in(folder)
        if not _is_label(image)
    }
    return found or dict.fromkeys(list_volumes(path), "")


def _folders_in(folder: Path) -> list[Path]:
    return sorted(entry for entry in folder.iterdir() if entry.is_dir() and entry.name[0] != ".")


def _is_label(path: Path) -> bool:
    """Whether a volume is a label volume, by the last word of its name."""
    return re.split(r"[\W_]", stem(path.name))[-1] in _LABEL_WORDS


def _pair_labels(labels: Path, images: Path | None, wants_dicom: bool) -> tuple[list[VolumePair], list[str]]:
    """The pairs of a label volume, or a folder of them, with images that lie elsewhere."""
    found: list[VolumePair] = []
    problems = []
    label_paths = list_volumes(labels)
    image_paths = _list_images(labels, images, wants_dicom)
    for label in label_paths:
        try:
            if len(label_paths) == 1 and images is not None and _is_one(images, image_paths):
                # A single label and a single image belong together whatever their names.
                pair = VolumePair(label, image_paths[0], _name_of_two(label, image_paths[0]))
            else:
                pair = VolumePair(label, _image_of(label, image_paths), stem(label.name))
            if label.resolve() == pair.image.resolve():
                raise InputError(f"{label}: taken for its own image; give the CT volumes as images")
            found.append(pair)
        except InputError as error:
            problems.append(str(error))
    return found, problems


def _is_one(path: Path, volumes: Sequence[Path]) -> bool:
    """Whether a path is a volume, a file or a DICOM folder, rather than a folder with volumes in it."""
    return path.is_file() or [volume.resolve() for volume in volumes] == [path.resolve()]


def _list_images(labels: Path, images: Path | None, wants_dicom: bool) -> list[Path]:
    if images is not None:
        return list_volumes(images, wants_dicom)
    folder = labels if labels.is_dir() else labels.parent
    name = folder.absolute().name
    if not name.startswith("labels"):
        raise InputError(
            f"{labels}: not in a labelsTr folder with an imagesTr beside it; give the images, too"
        )
    return list_volumes(folder.absolute().parent / name.replace("labels", "images", 1), wants_dicom)


def _image_of(label: Path, images: Sequence[Path]) -> Path:
    """The image with the label's stem, or with nnU-Net's ``_0000`` after it."""
    for suffix in ("", "_0000"):
        found = [path for path in images if stem(path.name) == stem(label.name) + suffix]
        if len(found) > 1:
            raise InputError(
                f"{label}: {found[0].name} and {found[1].name} may both be its image; remove one"
            )
        if found:
            return found[0]
    raise InputError(f"{label}: no image {stem(label.name)}.nii.gz for it in {images[0].parent}; add it")


def _pair_patients(folder: Path, organ: str) -> tuple[list[VolumePair], list[str]]:
    """The pairs of a folder with one folder a patient, or the pair of a patient's own folder."""
    own = _pair_patient(folder, organ)
    if isinstance(own, VolumePair):
        return [own], []
    found = [_pair_patient(patient, organ) for patient in _folders_in(folder)]
    pairs = [pair for pair in found if isinstance(pair, VolumePair)]
    if not pairs:
        raise InputError(
            f"{folder}: no folder with one label volume of {organ} and one image, in itself or in a folder a "
            f"patient (segmentations/{organ}.nii.gz and ct.nii.gz, say); give the images, too"
        )
    return pairs, [line for line in found if isinstance(line, str)]


def _pair_patient(patient: Path, organ: str) -> VolumePair | str | None:
    """The pair in a patient's folder, a line why there is none, or None where there are no volumes."""
    own, organs = _volumes_or_segmentations(patient), patient / "segmentations"
    organs_in = _volumes_or_segmentations(organs) if organs.is_dir() else []
    labels = [path for path in organs_in if stem(path.name) == organ]
    labels = labels or [path for path in own if _is_label(path) or not is_volume(path)]
    images = [path for path in own if path not in labels]
    if labels and not images:
        images = [path for path in dicom_in(patient) if path.is_dir()]
    if len(labels) == len(images) == 1:
        return VolumePair(labels[0], images[0], _name_of_two(labels[0], images[0]))
    problem = f"{counted(len(labels), 'label volume')} of {organ} and {counted(len(images), 'image')}"
    return f"{patient}: holds {problem}; one of each is needed" if own else None


def _volumes_or_segmentations(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.name[0] != "." and is_mask_volume(path))


def _name_of_two(label: Path, image: Path) -> str:
    """Name the pictures of a label and an image that were not paired by name.

    Where the label lies in the folder of its image, or below, that folder tells patients apart, since the
    names of the files may be the same in all of them.
    """
    # Where the files lie, not where they lead if they are links, as those of git-annex are.
    folder, own, name = image.parent.resolve(), label.parent.resolve(), stem(label.name)
    if image.is_dir() and image.resolve() in (own, *own.parents):
        folder = image.resolve()
    is_folder_of_patient = folder in (own, *own.parents) and stem(image.name) not in (
        name,
        f"{name}_0000",
    )
    return f"{stem(folder.name)}_{name}" if is_folder_of_patient and folder.name else name
