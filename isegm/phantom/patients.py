"""Generated patients: whole volumes in HU with labelled organs, also as files in the Decathlon's layout."""

import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import nibabel as nib
import numpy as np
import numpy.typing as npt

from isegm.errors import InputError
from isegm.phantom.anatomy import HIGHEST_MM, LOWEST_MM, Body
from isegm.phantom.canvas import Canvas
from isegm.phantom.slices import MIN_SIDE, Pose, paint_parts
from isegm.phantom.textures import Scanner, grains
from isegm.storage import write_bytes, write_text

# Named labels of a patient. A part whose name starts with one of these belongs to it.
LABELS = {
    "background": 0,
    "liver": 1,
    "liver tumour": 2,
    "spleen": 3,
    "lung right": 4,
    "lung left": 5,
    "lung tumour": 6,
    "kidney right": 7,
    "kidney left": 8,
    "pancreas": 9,
    "stomach": 10,
    "gallbladder": 11,
    "heart": 12,
    "aorta": 13,
    "vena cava": 14,
    "spine": 15,
    "rib": 16,
    "colon": 17,
    "psoas": 18,
}


@dataclass(frozen=True)
class Patient:
    """A generated patient.

    Attributes:
        hu: (X, Y, Z) int16; indices grow to the right, to the front and to the head (RAS).
        labels: (X, Y, Z) uint8, values of ``LABELS``.
        affine: (4, 4), from voxel indices to RAS millimetres.
    """

    hu: npt.NDArray[np.int16]
    labels: npt.NDArray[np.uint8]
    affine: npt.NDArray[np.float64]


def random_patient(
    rng: np.random.Generator,
    shape: tuple[int, int, int] = (160, 160, 64),
    spacing_mm: tuple[float, float, float] = (2.5, 2.5, 5.0),
) -> Patient:
    """Draw a patient with a tumour in the liver and in each lung, from the hips to the shoulders.

    The volume is centred on the body's middle at 65 mm above the kidneys; one of less than 350 mm along z
    misses parts of the body at both ends.

    Args:
        rng: Source of all randomness.
        shape: (X, Y, Z) voxels.
        spacing_mm: Millimetres between voxel centres along X, Y and Z.

    Raises:
        InputError: X or Y is below 32 voxels or Z below 1, or a spacing is not finite and above 0.
    """
    x, y, z = shape
    if min(x, y) < MIN_SIDE or z < 1:
        raise InputError(
            f"patient of shape {shape}: X and Y must be at least {MIN_SIDE} voxels, Z at least 1"
        )
    if not all(np.isfinite(step) and step > 0 for step in spacing_mm):
        raise InputError(f"patient with spacing {spacing_mm}: millimetres must be finite and above 0")
    body = Body.draw(rng, tumours=1)
    # A routine scan in thick slices: moderate noise, hardly any artefact.
    scanner = Scanner(
        noise_hu=rng.uniform(6, 14), blur_px=rng.uniform(0.45, 0.6), cupping_hu=rng.uniform(0, 6), bias_hu=2.0
    )
    matrix = np.diag((1 / spacing_mm[0], 1 / spacing_mm[1]))
    pose = Pose(matrix, np.array(((x - 1) / 2, (y - 1) / 2)))
    middle = (LOWEST_MM + HIGHEST_MM) / 2
    hu = np.empty(shape, np.int16)
    labels = np.empty(shape, np.uint8)
    for index in range(z):
        level = middle + (index - (z - 1) / 2) * spacing_mm[2]
        canvas = Canvas.blank(y, x, -1000, grains(rng, y, x, pose.px_per_mm))
        parts = body.cut(float(np.clip(level, LOWEST_MM - 40, HIGHEST_MM + 40)), spacing_mm[2])
        paint_parts(canvas, parts, body.hu, pose, _patient_label, spacing_mm[2])
        # Pictures run left to the patient's left and down to the back, the volume right and front.
        hu[:, :, index] = np.rint(scanner.scan(rng, canvas.hu)).T[::-1, ::-1]
        labels[:, :, index] = canvas.labels.T[::-1, ::-1]
    affine = np.diag((*spacing_mm, 1.0))
    affine[:3, 3] = -(np.array(shape) - 1) / 2 * spacing_mm
    return Patient(hu, labels, affine)


def _patient_label(name: str) -> int:
    """The value of the longest of ``LABELS`` that a part's name starts with; 0 for what has none."""
    return LABELS[max((known for known in LABELS if name.startswith(known)), key=len, default="background")]


# What each of the Decathlon's tasks calls its labels, and what they are in ``LABELS``.
_LUNG = ("lung right", "lung left", "lung tumour")
_TASKS: dict[str, tuple[str, dict[str, tuple[str, ...]]]] = {
    "liver": ("Task03_Liver", {"liver": ("liver",), "cancer": ("liver tumour",)}),
    "lung": ("Task06_Lung", {"lung": _LUNG}),
    "spleen": ("Task09_Spleen", {"spleen": ("spleen",)}),
}
_LUNG_TUMOUR: dict[str, tuple[str, ...]] = {"cancer": ("lung tumour",)}


def write_decathlon(
    folder: Path,
    seed: int,
    patients: int,
    *,
    shape: tuple[int, int, int] = (160, 160, 64),
    spacing_mm: tuple[float, float, float] = (2.5, 2.5, 5.0),
    lung: Literal["tissue", "tumour"] = "tissue",
) -> dict[str, Path]:
    """Write generated patients in the Medical Segmentation Decathlon's layout.

    ``Task03_Liver``, ``Task06_Lung`` and ``Task09_Spleen`` each get ``imagesTr/<organ>_000.nii.gz``,
    ``labelsTr`` with the same names, and ``dataset.json``; patient 0 is the same body in all three. The
    same arguments always give the same bytes.

    Args:
        folder: Where the three task folders come.
        seed: Of the patients.
        patients: How many.
        shape: (X, Y, Z) voxels of each.
        spacing_mm: Millimetres between voxel centres.
        lung: What label 1 of ``Task06_Lung`` is: lung tissue, tumours included, as ``extraer_imagenes.py``
            takes it, or tumour only, as in the Decathlon.

    Returns:
        The task folders by organ.

    Raises:
        InputError: A task folder exists already, there is no patient to write, the seed is negative,
            ``lung`` is neither word, or as :func:`random_patient` does.
    """
    if patients < 1 or seed < 0:
        raise InputError(f"{patients} patients with seed {seed}: give at least 1 patient, and a seed from 0")
    if lung not in ("tissue", "tumour"):
        raise InputError(f"lung {lung!r}: give 'tissue' or 'tumour'")
    tasks = {organ: (folder / name, labels) for organ, (name, labels) in _TASKS.items()}
    if lung == "tumour":
        tasks["lung"] = (tasks["lung"][0], _LUNG_TUMOUR)
    for task, _ in tasks.values():
        if task.exists():
            raise InputError(f"{task}: exists already; remove it or give another folder")
    for index in range(patients):
        patient = random_patient(np.random.default_rng((seed, index)), shape, spacing_mm)
        image = _nifti_bytes(patient.hu, patient.affine)
        for organ, (task, names) in tasks.items():
            values = np.zeros(len(LABELS), np.uint8)
            for value, parts in enumerate(names.values(), 1):
                values[[LABELS[part] for part in parts]] = value
            write_bytes(task / "imagesTr" / f"{organ}_{index:03d}.nii.gz", image)
            label = _nifti_bytes(values[patient.labels], patient.affine)
            write_bytes(task / "labelsTr" / f"{organ}_{index:03d}.nii.gz", label)
    for organ, (task, names) in tasks.items():
        write_text(task / "dataset.json", _dataset_json(organ, list(names), patients))
    return {organ: task for organ, (task, _) in tasks.items()}


def _nifti_bytes(voxels: npt.NDArray[np.generic], affine: npt.NDArray[np.float64]) -> bytes:
    """A .nii.gz whose bytes depend on the arguments only: gzip files usually carry the time."""
    image = nib.Nifti1Image(voxels, affine)  # type: ignore[no-untyped-call]
    image.header.set_xyzt_units("mm")  # type: ignore[no-untyped-call]
    compressor = zlib.compressobj(6, zlib.DEFLATED, 31)
    return compressor.compress(image.to_bytes()) + compressor.flush()


def _dataset_json(organ: str, names: Sequence[str], patients: int) -> str:
    files = [f"{organ}_{index:03d}.nii.gz" for index in range(patients)]
    content = {
        "name": organ.capitalize(),
        "description": f"Generated phantoms, no patients. Labels: {', '.join(names)}",
        "tensorImageSize": "3D",
        "modality": {"0": "CT"},
        "labels": {str(value): name for value, name in enumerate(("background", *names))},
        "numTraining": patients,
        "numTest": 0,
        "training": [{"image": f"./imagesTr/{name}", "label": f"./labelsTr/{name}"} for name in files],
        "test": [],
    }
    return json.dumps(content, indent=2) + "\n"
