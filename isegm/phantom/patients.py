"""Generated CT: slices with objects to train click-based segmentation on, and whole patients.

There are no annotated scans whose licence lets a trained network be given away, so the data are made.
Networks trained on shapes and contrasts drawn at random, far more varied than real ones, carry over to real
scans: SynthSeg (Billot et al., 2023) and SynthMorph (Hoffmann et al., 2022) showed it for label maps with
random intensities, UniverSeg (Butoi et al., 2023) and ScribblePrompt (Wong et al., 2024) used such tasks
beside real ones. Three families of slices are mixed here:

- anatomy: a body of random build, contrast phase and pose, cut anywhere from the hips to the shoulders, seen
  whole or zoomed into; in part with soft-tissue HU drawn at random;
- shapes: blobs, nested and hollow ones, tubes, crescents, touching neighbours of nearly the same HU;
- noise maps: the arg-max of smooth noise fields, which tiles the picture with random regions.

All of them pass through a random scanner (:mod:`isegm.phantom.textures`). Everything is a function of the
random generator that is handed in: the same seed gives the same bytes, whatever was drawn before and on
however many threads OpenCV runs.
"""

import functools
import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import nibabel as nib
import numpy as np
import numpy.typing as npt

from isegm.errors import InputError
from isegm.phantom.anatomy import HIGHEST_MM, LOWEST_MM, TISSUES, Body, Part, Tissue
from isegm.phantom.canvas import Canvas, tidy_labels
from isegm.phantom.shapes import Points, RadialShape, Tubes, Warp, bend, noise_field, polyline, rotate, wander
from isegm.phantom.textures import MIN_HU, Scanner, grains
from isegm.storage import write_bytes, write_text

FAMILIES = {"anatomy": 0.6, "shapes": 0.25, "noise": 0.15}
"""How often each family of slices is drawn."""

# Pixels of the least part of an object, and of the least object: what a user can see and click at.
_MIN_PART, _MIN_OBJECT = 16, 80
# Heights at which half of the bodies are cut: from the lower ends of the kidneys to the liver's dome.
_UPPER_ABDOMEN_MM = (-60.0, 110.0)
# Below this a picture has no room for objects of that size.
_MIN_SIDE = 32

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
class PhantomSlice:
    """A generated slice.

    Attributes:
        hu: (H, W) HU.
        labels: (H, W), 0 where there is no object, else the object's number 1..n. An object is what a user
            may want to outline: an organ, a tumour, a rib, a shape. It may have several parts.
    """

    hu: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int32]


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


@dataclass(frozen=True)
class _Pose:
    """Where millimetres of the body are in a picture.

    Attributes:
        matrix: (2, 2) pixels a millimetre; it may turn and mirror.
        shift: (2,), the pixel of the body's origin.
    """

    matrix: npt.NDArray[np.float64]
    shift: npt.NDArray[np.float64]

    @functools.cached_property
    def px_per_mm(self) -> float:
        return float(np.sqrt(abs(np.linalg.det(self.matrix))))

    def apply(self, shape: Points | Tubes) -> Points | Tubes:
        if isinstance(shape, Tubes):
            return Tubes(shape.segments @ self.matrix.T + self.shift, shape.widths * self.px_per_mm)
        return shape @ self.matrix.T + self.shift


def random_slice(
    rng: np.random.Generator, height: int, width: int, family: str | None = None
) -> PhantomSlice:
    """Draw a slice of one of the families.

    Args:
        rng: Source of all randomness.
        height: In pixels, at least 32.
        width: In pixels, at least 32.
        family: Which of ``FAMILIES``; None for one at random.

    Raises:
        InputError: A side is too short, or there is no such family.
    """
    if min(height, width) < _MIN_SIDE:
        raise InputError(f"phantom of {height}x{width} pixels: both sides must be at least {_MIN_SIDE}")
    if family is None:
        family = str(rng.choice(list(FAMILIES), p=list(FAMILIES.values())))
    elif family not in FAMILIES:
        raise InputError(f"phantom family {family}: not one of {', '.join(FAMILIES)}")
    if family == "anatomy":
        return _anatomy_slice(rng, height, width)
    if family == "shapes":
        return _shapes_slice(rng, height, width)
    return _noise_map_slice(rng, height, width)


def _anatomy_slice(rng: np.random.Generator, height: int, width: int) -> PhantomSlice:
    # Most of what users outline is in the upper abdomen.
    low, high = _UPPER_ABDOMEN_MM if rng.random() < 0.55 else (LOWEST_MM, HIGHEST_MM)
    z = rng.uniform(low, high)
    body = Body.draw(rng, z, z, randomise=0.35)
    thickness = float(np.exp(rng.uniform(np.log(1), np.log(7))))
    parts = body.cut(z, thickness)
    pose = _draw_pose(rng, parts, height, width)
    canvas = Canvas.blank(height, width, -1000, grains(rng, height, width, pose.px_per_mm))
    names = _Names(rng.random() < 0.35, rng.random() < 0.5)
    _paint_parts(canvas, parts, body.hu, pose, names.number, thickness)
    # Reconstructed pixels measure 0.5 to 0.9 mm.
    pixel = max(1.0, pose.px_per_mm * rng.uniform(0.5, 0.9))
    hu = Scanner.draw(rng, pixel).scan(rng, canvas.hu)
    if rng.random() < 0.06:
        _blank_outside_circle(hu)
    return PhantomSlice(hu, tidy_labels(canvas.labels, _MIN_PART, _MIN_OBJECT))


class _Names:
    """Numbers for the names of parts, in the order they are met.

    Args:
        pairs: Whether both lungs are one object, and both kidneys.
        whole: Whether tumours belong to their organ.
    """

    def __init__(self, pairs: bool, whole: bool) -> None:
        self._pairs = pairs
        self._whole = whole
        self._numbers: dict[str, int] = {}

    def number(self, name: str) -> int | None:
        if self._whole and " tumour" in name:
            return None
        if self._pairs and name.startswith(("lung ", "kidney ")) and " tumour" not in name:
            name = name.partition(" ")[0]
        return self._numbers.setdefault(name, len(self._numbers) + 1)


def _draw_pose(rng: np.random.Generator, parts: Sequence[Part], height: int, width: int) -> _Pose:
    """Most pictures show the whole body, the others zoom in on some part of it."""
    whole = min(width / 400, height / 290)  # pixels a millimetre that show a middle-sized body
    if rng.random() < 0.6:
        zoom = whole * rng.uniform(0.85, 1.4)
        centre = rng.normal(0, 20, 2)
    else:
        zoom = whole * float(np.exp(rng.uniform(np.log(1.2), np.log(2.8))))
        wanted = [p for p in parts if p.label and not isinstance(p.shape, Tubes)]
        part = wanted[int(rng.integers(len(wanted)))] if wanted else parts[0]
        corners = part.shape if not isinstance(part.shape, Tubes) else part.shape.segments[:, 0]
        inside = np.clip(corners, (-140, -100), (140, 100))
        centre = inside.mean(axis=0) + rng.normal(0, 18, 2)
    angle = rng.normal(0, 0.1)
    matrix = zoom * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    if rng.random() < 0.3:  # as volumes come that nobody turned upright
        matrix = rotate(matrix, np.pi / 2 * float(rng.integers(4)))
        matrix = matrix * (1, -1) if rng.random() < 0.5 else matrix
    return _Pose(matrix, np.array((width / 2, height / 2)) - matrix @ centre)


def _paint_parts(
    canvas: Canvas,
    parts: Sequence[Part],
    hu: Mapping[str, float],
    pose: _Pose,
    number: Callable[[str], int | None],
    thickness: float,
) -> None:
    """Paint a cut through a body.

    Args:
        canvas: What to paint on.
        parts: The cut, in millimetres.
        hu: Mean HU by tissue.
        pose: Where it is in the picture.
        number: The label value of a part's name; None leaves what is there.
        thickness: Of the slice in millimetres: surfaces that lie oblique in it end softly.
    """
    for part in parts:
        ramp = max(1, round(2 * part.soft * thickness * pose.px_per_mm))
        patch = canvas.cover(pose.apply(part.shape), ramp, part.within)
        label = part.label and number(part.label)
        tissue = TISSUES[part.tissue]
        canvas.paint(patch, hu[part.tissue], 0 if label == "" else label, tissue.grain, tissue.grain_hu)
        if part.region is not None:
            canvas.add_region(part.region, patch)


def _blank_outside_circle(hu: npt.NDArray[np.float32]) -> None:
    """Scanners reconstruct a circle; its corners are padded."""
    height, width = hu.shape
    y, x = np.ogrid[:height, :width]
    hu[np.hypot(y - height / 2, x - width / 2) > max(height, width) / 2] = MIN_HU


# -- domain-randomised families


@dataclass(frozen=True)
class _Contrast:
    """From which HU a picture's objects are drawn.

    Attributes:
        base: Of the background.
        spread: Standard deviation of the objects' means about it.
    """

    base: float
    spread: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "_Contrast":
        kind = rng.random()
        if kind < 0.82:  # soft tissue and fat
            low, high, least, most = -120.0, 120.0, 25.0, 200.0
        elif kind < 0.92:  # lung
            low, high, least, most = -900.0, -700.0, 50.0, 500.0
        else:  # anything
            low, high, least, most = -1000.0, 400.0, 80.0, 500.0
        return cls(rng.uniform(low, high), float(np.exp(rng.uniform(np.log(least), np.log(most)))))

    def draw_tissue(self, rng: np.random.Generator) -> Tissue:
        mean = float(np.clip(self.base + rng.normal(0, self.spread), MIN_HU, 2500))
        grain = str(rng.choice(("fine", "medium", "coarse")))
        strength = rng.uniform(0, 0.25) * min(self.spread, 120.0) if rng.random() < 0.6 else 0.0
        return Tissue(mean, mean, grain, strength)


class _Scene:
    """A canvas with the objects of the shapes family.

    Args:
        rng: Source of randomness.
        height: In pixels.
        width: In pixels.
    """

    def __init__(self, rng: np.random.Generator, height: int, width: int) -> None:
        self.rng = rng
        self.side = min(height, width)
        self.size = np.array((width, height))
        self.contrast = _Contrast.draw(rng)
        self.warp = Warp.draw(rng, 0.02 * self.side, 0.2 * self.side)
        fields = grains(rng, height, width, float(np.exp(rng.uniform(0, 1.1))))
        self.canvas = Canvas.blank(height, width, self.contrast.base, fields)
        self.canvas.hu += np.float32(0.15 * min(self.contrast.spread, 100.0)) * fields["coarse"]
        self.count = 0

    def fill(
        self, shape: Points | Tubes, tissue: Tissue | None = None, label: int | None = -1, within: str = ""
    ) -> None:
        """Paint a shape; label -1 makes a new object, tissue None draws one, 0 is background."""
        tissue = tissue or self.contrast.draw_tissue(self.rng)
        if label == -1:
            self.count += 1
            label = self.count
        warped = (
            Tubes(self.warp.apply(shape.segments), shape.widths)
            if isinstance(shape, Tubes)
            else self.warp.apply(shape)
        )
        ramp = int(self.rng.integers(2, 9)) if self.rng.random() < 0.3 else 1
        patch = self.canvas.cover(warped, ramp, within or None)
        self.canvas.paint(patch, tissue.low, label, tissue.grain, tissue.grain_hu)
        self.canvas.regions["last"] = np.zeros(self.canvas.hu.shape, np.uint8)
        self.canvas.add_region("last", patch)

    def place(self) -> tuple[Points, float]:
        """A random centre and radius."""
        radius = self.side * float(np.exp(self.rng.uniform(np.log(0.04), np.log(0.38))))
        return self.rng.uniform(0, 1, 2) * self.size, radius

    def outline(self, centre: Points, radius: float) -> Points:
        """A random blob, round to long, straight to bent."""
        rng = self.rng
        shape = RadialShape.draw(rng, rng.uniform(0.02, 0.2), int(rng.integers(3, 11)))
        aspect = float(np.exp(rng.uniform(0, 1.0)))
        outline = bend(shape.outline(), rng.uniform(0, 0.9)) * (aspect**0.5, aspect**-0.5)
        return rotate(outline * radius, rng.uniform(0, 2 * np.pi)) + centre


def _shapes_slice(rng: np.random.Generator, height: int, width: int) -> PhantomSlice:
    scene = _Scene(rng, height, width)
    kinds = (_blob, _nested, _hollow, _tube, _crescent, _neighbours, _cluster)
    for _ in range(int(rng.integers(3, 13))):
        kinds[int(rng.choice(len(kinds), p=(0.25, 0.15, 0.1, 0.12, 0.1, 0.18, 0.1)))](scene)
    labels = tidy_labels(scene.canvas.labels, _MIN_PART, _MIN_OBJECT)
    return PhantomSlice(_draw_scanner(rng, scene.contrast).scan(rng, scene.canvas.hu), labels)


def _draw_scanner(rng: np.random.Generator, contrast: _Contrast) -> Scanner:
    """A scanner for pictures without a scale: a third are enlargements, and noise does not hide all."""
    pixel = float(np.exp(rng.uniform(0, 1.0))) if rng.random() < 0.35 else 1.0
    return Scanner.draw(rng, pixel, float(np.clip(0.7 * contrast.spread, 8, 50)))


def _blob(scene: _Scene) -> None:
    scene.fill(scene.outline(*scene.place()))


def _nested(scene: _Scene) -> None:
    """A blob with smaller ones in it: half of them objects, half only visible."""
    centre, radius = scene.place()
    scene.fill(scene.outline(centre, radius))
    scene.canvas.regions["host"] = scene.canvas.regions["last"]
    for _ in range(int(scene.rng.integers(1, 5))):
        inner = centre + scene.rng.normal(0, 0.4 * radius, 2)
        own = -1 if scene.rng.random() < 0.5 else None
        scene.fill(scene.outline(inner, radius * scene.rng.uniform(0.12, 0.5)), None, own, "host")


def _hollow(scene: _Scene) -> None:
    """A blob with a hole that shows the background and belongs to no object."""
    centre, radius = scene.place()
    outline = scene.outline(centre, radius)
    scene.fill(outline)
    hole = centre + (outline - centre) * scene.rng.uniform(0.35, 0.8)
    background = Tissue(scene.contrast.base, scene.contrast.base, "coarse", 3.0)
    scene.fill(hole + scene.rng.normal(0, 0.05 * radius, 2), background, 0)


def _tube(scene: _Scene) -> None:
    rng = scene.rng
    start, radius = scene.place()
    path = wander(rng, start, 0.03 * scene.side, int(rng.integers(8, 30)), 0.06)
    width = max(2.0, min(radius, 0.15 * scene.side) * rng.uniform(0.15, 0.6))
    scene.fill(polyline(path, np.linspace(width, width * rng.uniform(0.4, 1), len(path) - 1)))


def _crescent(scene: _Scene) -> None:
    """A thin bent sheet."""
    rng = scene.rng
    centre, radius = scene.place()
    shape = RadialShape.draw(rng, 0.06).outline() * (1, rng.uniform(0.08, 0.3))
    sheet = rotate(bend(shape, rng.uniform(0.3, 1.4)) * 1.6 * radius, rng.uniform(0, 2 * np.pi))
    scene.fill(sheet + centre)


def _neighbours(scene: _Scene) -> None:
    """A blob cut in two or three that touch along a curve; their means differ by little."""
    rng = scene.rng
    centre, radius = scene.place()
    tissue = scene.contrast.draw_tissue(rng)
    scene.fill(scene.outline(centre, 1.3 * radius), tissue)
    scene.canvas.regions["host"] = scene.canvas.regions["last"]
    for _ in range(int(rng.integers(1, 3))):
        angle = rng.uniform(0, 2 * np.pi)
        beside = centre + 1.5 * radius * np.array((np.cos(angle), np.sin(angle)))
        mean = tissue.low + float(rng.choice((-1, 1)) * np.exp(rng.uniform(np.log(6), np.log(40))))
        like = Tissue(mean, mean, tissue.grain, tissue.grain_hu)
        scene.fill(scene.outline(beside, 1.3 * radius), like, -1, "host")


def _cluster(scene: _Scene) -> None:
    """Many small blobs side by side, as bowel loops or lymph nodes lie."""
    rng = scene.rng
    centre, radius = scene.place()
    small = max(radius * 0.35, 0.03 * scene.side)
    tissue = scene.contrast.draw_tissue(rng)
    for _ in range(int(rng.integers(4, 10))):
        mean = tissue.low + rng.normal(0, 15)
        place = centre + rng.normal(0, 0.7 * radius, 2)
        scene.fill(scene.outline(place, small), Tissue(mean, mean, tissue.grain, tissue.grain_hu))


def _noise_map_slice(rng: np.random.Generator, height: int, width: int) -> PhantomSlice:
    """The arg-max of smooth noise fields (SynthMorph's random label maps); each region is an object."""
    contrast = _Contrast.draw(rng)
    cell = min(height, width) * float(np.exp(rng.uniform(np.log(0.1), np.log(0.4))))
    fields = grains(rng, height, width, float(np.exp(rng.uniform(0, 1.1))))
    highest = noise_field(rng, height, width, cell)
    labels = np.zeros((height, width), np.int32)
    hu = np.full((height, width), contrast.base, np.float32)
    backgrounds = int(rng.integers(1, 3))
    for number in range(1, int(rng.integers(3, 9))):
        field = noise_field(rng, height, width, cell)
        higher = field > highest
        np.maximum(highest, field, out=highest)
        labels[higher] = max(0, number - backgrounds + 1)
        tissue = contrast.draw_tissue(rng)
        np.copyto(
            hu, fields[tissue.grain] * np.float32(tissue.grain_hu) + np.float32(tissue.low), where=higher
        )
    # The edges of an arg-max are hard; half a pixel's blur makes them partial volume.
    hu = np.asarray(cv2.GaussianBlur(hu, (0, 0), rng.uniform(0.5, 1.2)), np.float32)
    tidy = tidy_labels(labels, _MIN_PART, _MIN_OBJECT, split=True)
    return PhantomSlice(_draw_scanner(rng, contrast).scan(rng, hu), tidy)


# -- patients


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
    if min(x, y) < _MIN_SIDE or z < 1:
        raise InputError(
            f"patient of shape {shape}: X and Y must be at least {_MIN_SIDE} voxels, Z at least 1"
        )
    if not all(np.isfinite(step) and step > 0 for step in spacing_mm):
        raise InputError(f"patient with spacing {spacing_mm}: millimetres must be finite and above 0")
    body = Body.draw(rng, tumours=1)
    scanner = _patient_scanner(rng)
    matrix = np.diag((1 / spacing_mm[0], 1 / spacing_mm[1]))
    pose = _Pose(matrix, np.array(((x - 1) / 2, (y - 1) / 2)))
    middle = (LOWEST_MM + HIGHEST_MM) / 2
    hu = np.empty(shape, np.int16)
    labels = np.empty(shape, np.uint8)
    for index in range(z):
        level = middle + (index - (z - 1) / 2) * spacing_mm[2]
        canvas = Canvas.blank(y, x, -1000, grains(rng, y, x, pose.px_per_mm))
        parts = body.cut(float(np.clip(level, LOWEST_MM - 40, HIGHEST_MM + 40)), spacing_mm[2])
        _paint_parts(canvas, parts, body.hu, pose, _patient_label, spacing_mm[2])
        # Pictures run left to the patient's left and down to the back, the volume right and front.
        hu[:, :, index] = np.rint(scanner.scan(rng, canvas.hu)).T[::-1, ::-1]
        labels[:, :, index] = canvas.labels.T[::-1, ::-1]
    affine = np.diag((*spacing_mm, 1.0))
    affine[:3, 3] = -(np.array(shape) - 1) / 2 * spacing_mm
    return Patient(hu, labels, affine)


def _patient_scanner(rng: np.random.Generator) -> Scanner:
    """A routine scan in thick slices: moderate noise, hardly any artefact."""
    return Scanner(
        noise_hu=rng.uniform(6, 14), blur_px=rng.uniform(0.45, 0.6), cupping_hu=rng.uniform(0, 6), bias_hu=2.0
    )


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
