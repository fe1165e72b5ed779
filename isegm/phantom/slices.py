"""Generated CT slices with objects, to train click-based segmentation on.

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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from isegm.errors import InputError
from isegm.phantom.anatomy import HIGHEST_MM, LOWEST_MM, TISSUES, Body, Part, Tissue
from isegm.phantom.canvas import Canvas, tidy_labels
from isegm.phantom.shapes import Points, RadialShape, Tubes, Warp, bend, noise_field, polyline, rotate, wander
from isegm.phantom.textures import MIN_HU, Scanner, grains

FAMILIES = {"anatomy": 0.6, "shapes": 0.25, "noise": 0.15}
"""How often each family of slices is drawn."""

MIN_SIDE = 32
"""Below so many pixels a picture has no room for objects of that size."""

# Pixels of the least part of an object, and of the least object: what a user can see and click at.
_MIN_PART, _MIN_OBJECT = 16, 80
# Heights at which half of the bodies are cut: from the lower ends of the kidneys to the liver's dome.
_UPPER_ABDOMEN_MM = (-60.0, 110.0)
# How far away a slice beside another one lies: from thin slices to thick ones.
_BESIDE_MM = (1.0, 10.0)


@dataclass(frozen=True)
class PhantomSlice:
    """A generated slice.

    Attributes:
        hu: (H, W) HU.
        labels: (H, W), 0 where there is no object, else the object's number 1..n. An object is what a user
            may want to outline: an organ, a tumour, a rib, a shape. It may have several parts.
        beside: (H, W), where the same objects are in a slice some millimetres above or below; None where
            that was not asked for, or is not known.
    """

    hu: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int32]
    beside: npt.NDArray[np.int32] | None = None


@dataclass(frozen=True)
class Pose:
    """Where millimetres of the body are in a picture.

    Attributes:
        matrix: (2, 2) pixels a millimetre; it may turn and mirror.
        shift: (2,), the pixel of the body's origin.
    """

    matrix: npt.NDArray[np.float64]
    shift: npt.NDArray[np.float64]

    @functools.cached_property
    def px_per_mm(self) -> float:
        """Pixels a millimetre."""
        return float(np.sqrt(abs(np.linalg.det(self.matrix))))

    def apply(self, shape: Points | Tubes) -> Points | Tubes:
        """Where a shape of the body is in the picture."""
        if isinstance(shape, Tubes):
            return Tubes(shape.segments @ self.matrix.T + self.shift, shape.widths * self.px_per_mm)
        return shape @ self.matrix.T + self.shift


def random_slice(
    rng: np.random.Generator, height: int, width: int, family: str | None = None, *, beside: bool = False
) -> PhantomSlice:
    """Draw a slice of one of the families.

    Args:
        rng: Source of all randomness.
        height: In pixels, at least 32.
        width: In pixels, at least 32.
        family: Which of ``FAMILIES``; None for one at random.
        beside: Whether to tell where its objects are in a slice beside it. Of the families only bodies have
            slices beside; what is drawn of ``rng`` before is the same.

    Raises:
        InputError: A side is too short, or there is no such family.
    """
    if min(height, width) < MIN_SIDE:
        raise InputError(f"phantom of {height}x{width} pixels: both sides must be at least {MIN_SIDE}")
    if family is None:
        family = str(rng.choice(list(FAMILIES), p=list(FAMILIES.values())))
    elif family not in FAMILIES:
        raise InputError(f"phantom family {family}: not one of {', '.join(FAMILIES)}")
    if beside and family == "anatomy":
        return _anatomy_slice(rng, height, width, beside=True)
    return _DRAW[family](rng, height, width)


def _anatomy_slice(rng: np.random.Generator, height: int, width: int, beside: bool = False) -> PhantomSlice:
    # Most of what users outline is in the upper abdomen.
    low, high = _UPPER_ABDOMEN_MM if rng.random() < 0.55 else (LOWEST_MM, HIGHEST_MM)
    z = rng.uniform(low, high)
    body = Body.draw(rng, z, z, randomise=0.35)
    thickness = float(np.exp(rng.uniform(np.log(1), np.log(7))))
    parts = body.cut(z, thickness)
    pose = _draw_pose(rng, parts, height, width)
    canvas = Canvas.blank(height, width, -1000, grains(rng, height, width, pose.px_per_mm))
    names = _Names(rng.random() < 0.35, rng.random() < 0.5)
    paint_parts(canvas, parts, body.hu, pose, names.number, thickness)
    # Reconstructed pixels measure 0.5 to 0.9 mm.
    pixel = max(1.0, pose.px_per_mm * rng.uniform(0.5, 0.9))
    hu = Scanner.draw(rng, pixel).scan(rng, canvas.hu)
    if rng.random() < 0.06:
        _blank_outside_circle(hu)
    labels = tidy_labels(canvas.labels, _MIN_PART, _MIN_OBJECT)
    if not beside:
        return PhantomSlice(hu, labels)
    level = float(np.clip(z + rng.choice((-1, 1)) * rng.uniform(*_BESIDE_MM), LOWEST_MM, HIGHEST_MM))
    other = Canvas.blank(height, width, -1000, canvas.grains)
    paint_parts(other, body.cut(level, thickness), body.hu, pose, names.number, thickness)
    numbers = np.zeros(1 + max(canvas.labels.max(), other.labels.max()), np.int32)
    numbers[canvas.labels[labels > 0]] = labels[labels > 0]
    return PhantomSlice(hu, labels, numbers[other.labels])


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


def _draw_pose(rng: np.random.Generator, parts: Sequence[Part], height: int, width: int) -> Pose:
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
    return Pose(matrix, np.array((width / 2, height / 2)) - matrix @ centre)


def paint_parts(
    canvas: Canvas,
    parts: Sequence[Part],
    hu: Mapping[str, float],
    pose: Pose,
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
        self,
        shape: Points | Tubes,
        tissue: Tissue | None = None,
        label: int | None = -1,
        within: str | None = None,
    ) -> None:
        """Paint a shape; label -1 makes a new object, tissue None draws one, 0 is background."""
        tissue = tissue or self.contrast.draw_tissue(self.rng)
        if label == -1:
            self.count += 1
            label = self.count
        if isinstance(shape, Tubes):
            warped: Points | Tubes = Tubes(self.warp.apply(shape.segments), shape.widths)
        else:
            warped = self.warp.apply(shape)
        ramp = int(self.rng.integers(2, 9)) if self.rng.random() < 0.3 else 1
        patch = self.canvas.cover(warped, ramp, within)
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
        texture = fields[tissue.grain] * np.float32(tissue.grain_hu)
        np.copyto(hu, texture + np.float32(tissue.low), where=higher)
    # The edges of an arg-max are hard; half a pixel's blur makes them partial volume.
    hu = np.asarray(cv2.GaussianBlur(hu, (0, 0), rng.uniform(0.5, 1.2)), np.float32)
    tidy = tidy_labels(labels, _MIN_PART, _MIN_OBJECT, split=True)
    return PhantomSlice(_draw_scanner(rng, contrast).scan(rng, hu), tidy)


_DRAW = {"anatomy": _anatomy_slice, "shapes": _shapes_slice, "noise": _noise_map_slice}
