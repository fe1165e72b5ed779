"""A body of random build, cut at any height: which outlines of which tissue a slice meets.

Millimetres of a middle-sized adult: x to the patient's left, y to the back, z to the head; the origin is in
the middle of the body at the height of the kidneys. Sizes and places are rough textbook values, varied far
more than patients do: a picture should be cluttered like a CT slice, not teach anatomy.
"""

from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from isegm.phantom.shapes import (
    Points,
    RadialShape,
    Tubes,
    VesselTree,
    Warp,
    bend,
    polyline,
    rotate,
    spline,
    superellipse,
)

# The part of the body that can be cut: from the hips to the shoulders.
LOWEST_MM, HIGHEST_MM = -110.0, 240.0

# How far organs are from their usual place.
_PLACE_SD_MM = np.array((6.0, 6.0, 9.0))
# Thickness of a slice above which it shows no longer pieces of vessels.
_MOST_VESSEL_MM = 4.0


@dataclass(frozen=True)
class Tissue:
    """How a tissue looks.

    Attributes:
        low: HU of its mean, at the least.
        high: HU of its mean, at the most.
        grain: Its texture, a name in ``textures.GRAIN_MM``.
        grain_hu: The texture's standard deviation.
    """

    low: float
    high: float
    grain: str = "medium"
    grain_hu: float = 0.0


# HU without contrast medium; the common ranges of radiology textbooks.
TISSUES = {
    "air": Tissue(-1005, -995),
    "table": Tissue(-700, 50),
    "skin": Tissue(0, 40),
    "fat": Tissue(-120, -85, "medium", 7),
    "visceral fat": Tissue(-115, -75, "medium", 10),
    "muscle": Tissue(40, 68, "medium", 10),
    "diaphragm": Tissue(30, 60),
    "lung": Tissue(-880, -740, "fine", 28),
    "lung vessel": Tissue(0, 60),
    "lung wall": Tissue(-300, 30),
    "airway": Tissue(-990, -950),
    "cortical bone": Tissue(450, 1100, "fine", 90),
    "marrow": Tissue(110, 280, "fine", 45),
    "disc": Tissue(60, 110, "medium", 8),
    "canal": Tissue(5, 35),
    "liver": Tissue(48, 66, "medium", 5),
    "liver tumour": Tissue(15, 50, "medium", 10),
    "lung tumour": Tissue(-30, 70, "medium", 15),
    "cyst": Tissue(-5, 15),
    "spleen": Tissue(40, 56, "medium", 4),
    "pancreas": Tissue(30, 50, "medium", 12),
    "kidney cortex": Tissue(28, 40, "medium", 4),
    "kidney medulla": Tissue(26, 38, "medium", 4),
    "kidney pelvis": Tissue(-70, 10, "medium", 8),
    "gallbladder": Tissue(0, 22, "medium", 2),
    "adrenal": Tissue(15, 45),
    "stomach wall": Tissue(30, 60),
    "gastric content": Tissue(5, 60, "medium", 18),
    "gas": Tissue(-1000, -850),
    "bowel wall": Tissue(20, 65),
    "bowel content": Tissue(5, 45, "medium", 10),
    "stool": Tissue(-100, 80, "medium", 90),
    "artery": Tissue(36, 52, "medium", 2),
    "vein": Tissue(36, 52, "medium", 3),
    "portal vein": Tissue(36, 52),
    "heart muscle": Tissue(38, 55, "medium", 5),
    "blood pool": Tissue(36, 52, "medium", 4),
    "mouth contrast": Tissue(150, 500, "medium", 25),
    "metal": Tissue(2000, 3000),
}

# What contrast medium in the blood changes, by the time after its injection: HU of the mean.
PHASES: dict[str, dict[str, tuple[float, float]]] = {
    "native": {},
    "arterial": {
        "liver": (55, 85),
        "liver tumour": (40, 130),
        "spleen": (90, 170),
        "pancreas": (70, 120),
        "kidney cortex": (130, 230),
        "kidney medulla": (45, 95),
        "artery": (220, 400),
        "vein": (50, 120),
        "portal vein": (60, 130),
        "heart muscle": (80, 120),
        "blood pool": (180, 350),
        "lung vessel": (100, 300),
        "bowel wall": (60, 110),
    },
    "portal": {
        "liver": (90, 135),
        "liver tumour": (40, 95),
        "spleen": (105, 145),
        "pancreas": (75, 115),
        "kidney cortex": (160, 230),
        "kidney medulla": (110, 210),
        "artery": (120, 190),
        "vein": (110, 180),
        "portal vein": (140, 195),
        "heart muscle": (85, 120),
        "blood pool": (120, 180),
        "lung vessel": (80, 160),
        "bowel wall": (60, 115),
    },
    "late": {
        "liver": (75, 110),
        "liver tumour": (45, 85),
        "spleen": (80, 115),
        "pancreas": (55, 85),
        "kidney cortex": (110, 180),
        "kidney medulla": (110, 190),
        "kidney pelvis": (150, 900),
        "artery": (85, 130),
        "vein": (85, 130),
        "portal vein": (90, 130),
        "heart muscle": (70, 100),
        "blood pool": (85, 130),
        "lung vessel": (60, 110),
    },
}
# Tissues whose contrasts a domain-randomised scan draws at random.
_RANDOMISED = (
    *("liver", "liver tumour", "spleen", "pancreas", "kidney cortex", "kidney medulla", "muscle", "vein"),
    *("artery", "portal vein", "blood pool", "heart muscle"),
    *("gastric content", "bowel content", "bowel wall"),
)


@dataclass(frozen=True)
class Part:
    """A shape in a slice; later ones lie on top of earlier ones.

    Attributes:
        shape: Millimetres.
        tissue: What it is filled with, a name in ``TISSUES``.
        label: The object it belongs to; "" for none, None for that of what it lies on.
        within: The region it is confined to.
        region: The region that it makes, or makes grow.
        soft: How oblique its surface lies, 0 to about 1: how softly it ends in a thick slice.
    """

    shape: Points | Tubes
    tissue: str
    label: str | None = None
    within: str | None = "body"
    region: str | None = None
    soft: float = 0.2


@dataclass(frozen=True)
class Lump:
    """An organ that is round in space: an ellipsoid, roughened, tilted and bent.

    Attributes:
        centre: (3,).
        axes: (3,), its semi-axes before it is turned and bent.
        shape: Roughness of its outline.
        turn: Radians that it is turned in the plane, clockwise in the picture.
        curve: One over the radius it is bent by, in units of its first axis.
        tilt: (2,), how far the centre moves in x and y for a millimetre up.
        power: Above 2 the ends are blunt, like a cylinder's.
    """

    centre: npt.NDArray[np.float64]
    axes: npt.NDArray[np.float64]
    shape: RadialShape
    turn: float = 0.0
    curve: float = 0.0
    tilt: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(2))
    power: float = 2.0

    def cut(self, z: float, scale: float = 1.0) -> Points | None:
        """Its outline in the plane z, None where the plane misses it.

        Args:
            z: Height.
            scale: Shrinks it about its centre, for what lies inside of it.
        """
        u = (z - self.centre[2]) / (self.axes[2] * scale)
        if abs(u) >= 1:
            return None
        radius = (1 - abs(u) ** self.power) ** (1 / self.power)
        outline = bend(self.shape.outline(u) * radius, self.curve) * self.axes[:2] * scale
        return rotate(outline, self.turn) + self.centre[:2] + self.tilt * (z - self.centre[2])

    def obliqueness(self, z: float) -> float:
        """How flat its surface lies at height z: 0 at its equator, 1 at its poles."""
        return min(1.0, abs(z - self.centre[2]) / float(self.axes[2])) ** 3


@dataclass(frozen=True)
class _Usual:
    """Where an organ usually is, its semi-axes, and options as in :class:`Lump`.

    ``spread`` scales how far it may be from its place; ``upright`` organs run straight up.
    """

    centre: tuple[float, float, float]
    axes: tuple[float, float, float]
    turn: float = 0.0
    curve: float = 0.0
    roughness: float = 0.07
    power: float = 2.0
    spread: float = 1.0
    upright: bool = False
    orders: int = 6

    def reaches(self, low: float, high: float) -> bool:
        """Whether one drawn about here may be met between two heights."""
        most = 1.5 * self.axes[2] + 3 * self.spread * float(_PLACE_SD_MM[2])
        return self.centre[2] - most < high and low < self.centre[2] + most

    def draw(self, rng: np.random.Generator) -> Lump:
        normal = rng.standard_normal(10)  # one call, for speed
        return Lump(
            centre=np.array(self.centre) + self.spread * normal[:3] * _PLACE_SD_MM,
            axes=np.array(self.axes) * np.exp(0.14 * normal[3:6]),
            shape=RadialShape.draw(rng, self.roughness, self.orders),
            turn=self.turn + 0.15 * float(normal[6]),
            curve=self.curve * (1 + 0.2 * float(normal[9])),
            tilt=0.0 * normal[7:9] if self.upright else 0.1 * normal[7:9],
            power=self.power,
        )


_LUMPS = {
    # abdomen
    "spleen": _Usual((98, 28, 42), (50, 21, 58), turn=1.25, curve=0.5, roughness=0.06),
    "stomach": _Usual((52, -38, 42), (50, 32, 62), turn=0.5, curve=-0.4, roughness=0.08, spread=1.6),
    "pancreas": _Usual((14, -12, 5), (56, 9.5, 24), turn=-0.3, curve=0.5, roughness=0.14, spread=1.3),
    "duodenum": _Usual((-36, -6, -12), (13, 17, 40), roughness=0.1),
    "gallbladder": _Usual((-55, -34, -12), (15, 21, 26), roughness=0.05, spread=1.4),
    "kidney right": _Usual((-64, 36, -22), (33, 24, 56), turn=0.9, curve=0.45, roughness=0.04),
    "kidney left": _Usual((66, 34, -10), (33, 24, 56), turn=-0.9, curve=0.45, roughness=0.04),
    "colon right": _Usual((-92, 2, -70), (25, 27, 75), roughness=0.09, power=3),
    "colon left": _Usual((98, 16, -50), (17, 19, 90), roughness=0.09, power=3),
    "colon across": _Usual((8, -64, -42), (76, 17, 32), roughness=0.12, curve=0.1, spread=1.6),
    # chest
    "heart": _Usual((22, -20, 128), (66, 52, 56), turn=0.5, roughness=0.05, power=2.4),
    "ventricle left": _Usual((46, -8, 118), (36, 18, 38), turn=0.6, roughness=0.08, spread=0.5),
    "ventricle right": _Usual((18, -44, 115), (34, 15, 36), turn=0.3, roughness=0.1, spread=0.5),
    "atrium left": _Usual((12, 14, 148), (30, 16, 22), roughness=0.08, spread=0.5),
    "atrium right": _Usual((-22, -22, 132), (19, 24, 32), roughness=0.08, spread=0.5),
    "ascending aorta": _Usual((-6, -22, 180), (17, 17, 34), roughness=0.03, power=4, spread=0.5),
    "arch": _Usual((4, -8, 204), (36, 13, 13), turn=0.9, roughness=0.04, spread=0.5),
    "upper vena cava": _Usual((-26, -20, 205), (10, 11, 60), roughness=0.06, power=4, spread=0.5),
    "pulmonary trunk": _Usual((12, -20, 172), (34, 14, 16), turn=0.6, curve=0.3, spread=0.5),
    "oesophagus": _Usual((2, 18, 170), (9, 6, 90), roughness=0.08, power=6, spread=0.4),
    "azygos": _Usual((-10, 24, 150), (4, 4, 110), roughness=0.03, power=6, spread=0.3),
    "trachea": _Usual((-2, 4, 235), (10, 10, 62), roughness=0.05, power=8, spread=0.4),
    "bronchus right": _Usual((-18, 8, 168), (15, 8, 14), turn=-0.3, roughness=0.06, spread=0.3),
    "bronchus left": _Usual((18, 8, 165), (17, 7, 13), turn=0.3, roughness=0.06, spread=0.3),
    # along the spine
    "psoas right": _Usual((-40, 38, -95), (23, 19, 125), turn=0.9, roughness=0.06, spread=0.5),
    "psoas left": _Usual((40, 38, -95), (23, 19, 125), turn=-0.9, roughness=0.06, spread=0.5),
    "back muscle right": _Usual((-34, 71, 60), (31, 17, 400), turn=0.15, spread=0.4, power=6, upright=True),
    "back muscle left": _Usual((34, 71, 60), (31, 17, 400), turn=-0.15, spread=0.4, power=6, upright=True),
    "aorta": _Usual((10, 4, 40), (11.5, 11.5, 165), roughness=0.02, power=8, spread=0.5, upright=True),
    "vena cava": _Usual((-19, 4, -20), (14, 10.5, 150), power=8, spread=0.5, upright=True),
    "vertebra": _Usual((0, 34, 60), (22, 17, 600), roughness=0.03, power=8, spread=0.4, upright=True),
}

# The trunk's muscular wall by height: factors on its half width and half depth.
_WALL_Z = (-110.0, -40.0, 40.0, 110.0, 180.0, 225.0, 260.0)
_WALL_WIDTH = (1.05, 0.96, 1.0, 1.03, 0.98, 1.05, 1.12)
_WALL_DEPTH = (0.95, 0.95, 1.0, 1.04, 0.98, 0.86, 0.72)
# Half width and depth of the chest cavity, in parts of the trunk's inside: it narrows to its apex.
_CHEST_WIDTH = (1.0, 1.0, 1.0, 1.0, 0.86, 0.66, 0.4)

# The liver, in parts of the cavity's half width and depth (the wall cuts it off), at three heights.
_LIVER_Z = (-75.0, -10.0, 35.0, 100.0)
_LIVER = np.array(
    [
        # right back, right front, front, left tip, left lobe below, hilum, by the vena cava, behind
        [(-1.2, 0.4), (-1.2, -0.3), (-0.9, -0.5), (-0.75, -0.35), (-0.7, -0.1), (-0.7, 0.1), (-0.75, 0.3)],
        [(-1.2, 0.8), (-1.2, -0.6), (-0.7, -1.1), (-0.3, -0.7), (-0.32, -0.3), (-0.4, 0.05), (-0.5, 0.4)],
        [(-1.2, 1.1), (-1.2, -0.9), (-0.3, -1.2), (0.45, -0.75), (0.1, -0.35), (-0.15, 0.1), (-0.28, 0.55)],
        [(-1.2, 1.1), (-1.2, -0.9), (-0.3, -1.2), (0.5, -0.85), (0.35, -0.3), (-0.05, 0.15), (-0.15, 0.7)],
    ]
)


@dataclass(frozen=True)
class Tumour:
    """A tumour or a cyst.

    Attributes:
        lump: Where.
        tissue: What it is filled with.
        core: Whether its middle is liquid.
    """

    lump: Lump
    tissue: str
    core: bool = False


@dataclass(frozen=True)
class Body:
    """A patient. Everything random is drawn at once, so that neighbouring slices fit together.

    Attributes:
        hu: Mean HU of each tissue.
        size: (2,), factors on x and y.
        fat_mm: Thickness of the fat under the skin at the sides.
        lean: (2,), half width and depth of the trunk's muscular wall.
        wall_mm: Thickness of that wall.
        warp: Bends everything in the slice a little.
        liver: (4, 7, 2), as the table above.
        lumps: What is round, by name.
        tumours: In liver and lungs, and cysts of the kidneys, by name; the name starts with the organ's.
        trees: Vessels, by the name of what they run in.
        dome: (3,), heights of the right and left diaphragm, and of its rim.
        rib_phase: Where the ribs are, in spacings.
        arms: Whether the arms lie beside the body.
        traits: Random numbers from 0 to 1 that all slices share.
    """

    hu: dict[str, float]
    size: npt.NDArray[np.float64]
    fat_mm: float
    lean: tuple[float, float]
    wall_mm: float
    warp: Warp
    liver: npt.NDArray[np.float64]
    lumps: dict[str, Lump]
    tumours: dict[str, Tumour]
    trees: dict[str, VesselTree]
    dome: tuple[float, float, float]
    rib_phase: float
    arms: bool
    traits: dict[str, float]

    @classmethod
    def draw(
        cls,
        rng: np.random.Generator,
        low: float = LOWEST_MM,
        high: float = HIGHEST_MM,
        *,
        tumours: int | None = None,
        randomise: float = 0.0,
    ) -> "Body":
        """A random body.

        Args:
            rng: Source of randomness.
            low: Height of the lowest cut that will be wanted; what is not met is not drawn.
            high: Height of the highest.
            tumours: So many in the liver and in each lung, well inside and not tiny; None draws their
                number, and some miss their organ.
            randomise: Chance that the soft tissues' HU are drawn far beyond what is plausible.
        """
        lean = (rng.normal(138, 9), rng.normal(92, 7))
        return cls(
            hu=draw_hu(rng, randomise),
            size=np.exp(rng.normal(0, 0.07, 2)),
            fat_mm=float(np.exp(rng.uniform(np.log(5), np.log(42)))),
            lean=lean,
            wall_mm=rng.uniform(8, 16),
            warp=Warp.draw(rng, 3.5, 70),
            liver=_LIVER + rng.normal(0, 0.07, _LIVER.shape) + rng.normal(0, 0.1, (1, *_LIVER.shape[1:])),
            lumps=_draw_lumps(rng, low, high),
            tumours=_draw_tumours(rng, tumours),
            trees=_draw_trees(rng, low, high),
            dome=(rng.normal(105, 10), rng.normal(90, 10), rng.normal(20, 10)),
            rib_phase=rng.uniform(),
            arms=bool(rng.random() < 0.12),
            traits={
                name: float(rng.random()) for name in ("pelvis", "table", "curve", "hollow", "crus", "screws")
            },
        )

    def cavity(self, z: float, inset: float = 0.0, chest: bool = False) -> Points:
        """The inside of the trunk's wall."""
        wide, deep = self._half_axes(z)
        narrow = float(np.interp(z, _WALL_Z, _CHEST_WIDTH)) if chest else 1.0
        return superellipse(
            (wide - self.wall_mm - inset) * narrow, (deep - self.wall_mm - inset) * (0.3 + 0.7 * narrow)
        )

    def _half_axes(self, z: float) -> tuple[float, float]:
        wide = self.lean[0] * float(np.interp(z, _WALL_Z, _WALL_WIDTH))
        return wide, self.lean[1] * float(np.interp(z, _WALL_Z, _WALL_DEPTH))

    def place(self, points: Points, z: float) -> Points:
        """Where points of the middle-sized body are in this one."""
        return self.warp.apply(points, z) * self.size

    def cut(self, z: float, thickness: float = 3.0) -> list[Part]:
        """The slice at height z, what lies below first.

        Args:
            z: ``LOWEST_MM`` to ``HIGHEST_MM``.
            thickness: Of the slice in millimetres; a thick one shows longer pieces of vessels.
        """
        parts = [
            *self._hull(z),
            *(self._chest(z, thickness) if z > self.dome[2] else []),
            *self._abdomen(z, thickness),
            *self._back(z),
            *self._spine(z),
            *self._ribs(z),
            *self._girdles(z),
        ]
        # All points are moved at once, for speed.
        corners = [
            part.shape.segments.reshape(-1, 2) if isinstance(part.shape, Tubes) else part.shape
            for part in parts
        ]
        placed = self.place(np.concatenate(corners), z)
        ends = np.cumsum([len(points) for points in corners])
        thick = float(self.size.mean())
        return [
            replace(
                part,
                shape=Tubes(points.reshape(-1, 2, 2), part.shape.widths * thick)
                if isinstance(part.shape, Tubes)
                else points,
            )
            for part, points in zip(parts, np.split(placed, ends[:-1]), strict=True)
        ]

    def _hull(self, z: float) -> list[Part]:
        """Table, skin, the fat under it, and the muscular wall with the cavity in it."""
        wide, deep = self._half_axes(z)
        fat = self.fat_mm
        skin = superellipse(wide + fat, deep + 0.8 * fat) + np.array((0, 0.1 * fat))
        # A groove in the back, along the spine.
        skin[:, 1] -= 7 * np.exp(-((skin[:, 0] / 18) ** 2)) * (skin[:, 1] > 0)
        parts = [Part(skin, "skin", "", None, "body", 0)]
        if self.traits["table"] < 0.8:
            parts[:0] = self._table(deep + 0.9 * fat)
        if self.arms:
            parts += self._arms(wide + fat)
        parts.append(Part(skin * (1 - 2 / wide), "fat", "", "body", None, 0))
        parts.append(Part(superellipse(wide, deep), "muscle", "", "body", None, 0))
        # The layers of the wall are parted by fat, and the front of the chest has little muscle.
        layer = self.cavity(z, -0.45 * self.wall_mm)
        parts.append(Part(polyline(layer[8:49], 1.4), "fat", "", "body", None, 0))
        if z > self.dome[2]:
            # Where the chest narrows, muscle lies between it and the skin.
            parts.append(Part(self.cavity(z), "muscle", "", "body", "cavity", 0))
            parts.append(Part(self.cavity(z, chest=True), "visceral fat", "", "body", "chest", 0))
        else:
            parts.append(Part(self.cavity(z), "visceral fat", "", "body", "cavity", 0))
            parts.append(Part(self.cavity(z), "visceral fat", "", "body", "abdomen", 0))
        return parts

    def _table(self, below: float) -> list[Part]:
        x = np.linspace(-210, 210, 24)
        curve = self.traits["curve"] * 0.0016
        top = np.stack((x, below + 6 - curve * x**2 + 2), axis=1)
        bottom = top + np.stack((np.zeros(24), 24 - 0.0003 * x**2), axis=1)
        foam = np.concatenate((top, bottom[::-1]))
        return [
            Part(foam, "air", "", None),
            *(Part(polyline(line, 2.2), "table", "", None, None, 0.1) for line in (top, bottom)),
        ]

    def _arms(self, beside: float) -> list[Part]:
        parts = []
        for side, name in ((-1, "right"), (1, "left")):
            centre = np.array((side * (beside + 42), 10.0))
            for radius, tissue, label in ((38, "fat", ""), (31, "muscle", f"arm {name}")):
                parts.append(Part(superellipse(radius, radius * 1.15, 2) + centre, tissue, label, None))
            for bone, tissue in ((11.0, "cortical bone"), (6.5, "marrow")):
                outline = superellipse(bone, bone, 2) + centre
                parts.append(Part(outline, tissue, f"arm bone {name}", None))
        return parts

    def _chest(self, z: float, thickness: float) -> list[Part]:
        """Lungs, their vessels and tumours, heart, great vessels, airways."""
        wide, deep = self.cavity(z, 2, chest=True).max(axis=0)
        parts: list[Part] = []
        for side, name in ((-1, "right"), (1, "left")):
            inner = 0.2 if side < 0 else 0.24
            lung = spline(
                np.array(((inner, -0.75), (0.5, -1.2), (1.2, -0.6), (1.2, 0.7), (0.6, 1.2), (0.2, 0.95)))
                * (side * wide, deep)
                + np.stack((np.sin(z / 40 + np.arange(6)) * 4, np.cos(z / 30 + np.arange(6)) * 4), axis=1)
            )
            region = f"lung {name}"
            parts.append(Part(lung, "lung", region, "chest", region, 0.1))
            tree = self._vessels(z, thickness, region)
            parts.append(Part(tree, "lung vessel", None, region, None, 0))
            airways = self._vessels(z, thickness, f"airways {name}")
            parts.append(
                Part(Tubes(airways.segments, airways.widths + 2.5), "lung wall", None, region, None, 0)
            )
            parts.append(Part(airways, "airway", None, region, None, 0))
            parts += self._tumour_parts(z, f"lung tumour {name}", region)
        parts += self._heart(z)
        for name, tissue, label in (
            ("ascending aorta", "artery", "aorta ascending"),
            ("arch", "artery", "aorta"),
            ("upper vena cava", "vein", "vena cava upper"),
            ("pulmonary trunk", "blood pool", "pulmonary trunk"),
            ("oesophagus", "muscle", "oesophagus"),
            ("azygos", "vein", ""),
        ):
            parts += self._lump_parts(z, name, tissue, label)
        for name in ("trachea", "bronchus right", "bronchus left"):
            outline = self._outline(z, name)
            if outline is not None:
                parts.append(Part(_resized(outline, 1.25), "lung wall", "", "body", None, 0))
                parts.append(Part(outline, "airway", "airway", "body", None, 0))
        return parts

    def _heart(self, z: float) -> list[Part]:
        outline = self._outline(z, "heart")
        if outline is None:
            return []
        soft = self.lumps["heart"].obliqueness(z)
        parts = [
            Part(_resized(outline, 1.1), "visceral fat", "", "chest", None, soft),
            Part(outline, "heart muscle", "heart", "chest", "heart", soft),
        ]
        for name in ("ventricle left", "ventricle right", "atrium left", "atrium right"):
            chamber = self._outline(z, name)
            if chamber is not None:
                parts.append(Part(chamber, "blood pool", None, "heart", None, 0.4))
        return parts

    def _abdomen(self, z: float, thickness: float) -> list[Part]:
        parts: list[Part] = []
        if z > self.dome[2]:
            parts += self._domes(z)
        for name in self.lumps:
            if name.startswith("loop"):
                parts += self._bowel(z, name)
        fine = self._vessels(z, thickness, "mesentery")
        parts.append(Part(fine, "vein", None, "abdomen", None, 0))
        for name in ("colon right", "colon left", "colon across"):
            parts += self._bowel(z, name, "stool")
        parts += self._stomach(z)
        parts += self._lump_parts(z, "pancreas", "pancreas", "pancreas", "abdomen")
        parts += self._lump_parts(z, "duodenum", "bowel content", "duodenum", "abdomen")
        parts += self._lump_parts(z, "spleen", "spleen", "spleen", "abdomen")
        parts += self._liver(z, thickness)
        parts += self._lump_parts(z, "gallbladder", "gallbladder", "gallbladder", "abdomen")
        for side in ("right", "left"):
            kidney = self.lumps.get(f"kidney {side}")
            if kidney is not None and abs(z - kidney.centre[2] - 62) < 14:
                adrenal = kidney.centre[:2] + np.array((0, -12))
                strokes = np.array(((-9, 12), (0, 0), (9, 13), (0, 0), (-1, -8)))
                parts.append(Part(polyline(strokes + adrenal, 4), "adrenal", "", "abdomen"))
            parts += self._kidney(z, side)
        return parts

    def _domes(self, z: float) -> list[Part]:
        """The diaphragm's two domes bulge into the chest; the lungs' back corners are the last to go."""
        wide, deep = self._half_axes(z)
        parts = []
        for side, top in ((-1, self.dome[0]), (1, self.dome[1])):
            up = (z - self.dome[2]) / (top - self.dome[2])
            if up >= 1:
                continue
            radius = (1 - up) ** 0.5
            dome = superellipse(0.62 * wide * radius, 0.98 * deep * radius, 2.2)
            dome += (side * (0.37 * wide), -0.1 * deep * (1 - radius) - 0.13 * deep)
            soft = up**2
            parts.append(Part(dome, "diaphragm", "", "cavity", None, soft))
            inside = _resized(dome, 1 - 3 / (0.6 * wide * radius + 3))
            parts.append(Part(inside, "visceral fat", "", "cavity", "abdomen", soft))
        return parts

    def _bowel(self, z: float, name: str, content: str = "") -> list[Part]:
        """A loop: its wall, and in it fluid, contrast medium, stool or gas that rises to the front."""
        outline = self._outline(z, name)
        if outline is None:
            return []
        lump = self.lumps[name]
        kind = lump.shape.phases[0] / (2 * np.pi)  # uniform, and the same in every slice
        tissue = content or ("mouth contrast" if kind < 0.12 else "bowel content")
        inside = _resized(outline, 0.82)
        parts = [Part(outline, "bowel wall", name, "abdomen"), Part(inside, tissue, None, "abdomen")]
        if kind > (0.55 if content else 0.85):
            parts.append(Part(_above(inside, 0.25 + 0.6 * (1 - kind)), "gas", None, "abdomen"))
        return parts

    def _stomach(self, z: float) -> list[Part]:
        outline = self._outline(z, "stomach")
        if outline is None:
            return []
        lump = self.lumps["stomach"]
        kind = lump.shape.phases[1] / (2 * np.pi)
        content = "mouth contrast" if kind < 0.2 else "gastric content"
        inside = _resized(outline, 0.88)
        parts = [
            Part(outline, "stomach wall", "stomach", "abdomen", None, lump.obliqueness(z)),
            Part(inside, content, None, "abdomen"),
        ]
        if kind > 0.35:
            parts.append(Part(_above(inside, 0.15 + 0.5 * (kind - 0.35)), "gas", None, "abdomen"))
        return parts

    def _liver(self, z: float, thickness: float) -> list[Part]:
        if not _LIVER_Z[0] < z < self.dome[0]:
            return []
        index = np.interp(z, _LIVER_Z, range(len(_LIVER_Z)))
        lower = min(int(index), len(_LIVER_Z) - 2)
        part = index - lower
        control = (1 - part) * self.liver[lower] + part * self.liver[lower + 1]
        outline = spline(control) * self.cavity(z).max(axis=0)
        if z < _LIVER_Z[1]:  # the tip of the right lobe
            shrink = 0.15 + 0.85 * float(np.sqrt((z - _LIVER_Z[0]) / (_LIVER_Z[1] - _LIVER_Z[0])))
            anchor = np.array((-0.9, -0.05)) * self.cavity(z).max(axis=0)
            outline = anchor + (outline - anchor) * shrink
        parts = [Part(outline, "liver", "liver", "abdomen", "liver", 0.3)]
        for tree, tissue in (("portal", "portal vein"), ("hepatic", "vein")):
            parts.append(Part(self._vessels(z, thickness, tree), tissue, None, "liver", None, 0))
        return parts + self._tumour_parts(z, "liver tumour", "liver")

    def _tumour_parts(self, z: float, kind: str, within: str) -> list[Part]:
        """Tumours are objects of their own, inside their organ."""
        parts = []
        for name, tumour in self.tumours.items():
            outline = tumour.lump.cut(z)
            if outline is None or not name.startswith(kind):
                continue
            soft = 0.1 + tumour.lump.obliqueness(z)
            parts.append(Part(outline, tumour.tissue, name, within, None, soft))
            core = tumour.lump.cut(z, 0.6)
            if tumour.core and core is not None:
                parts.append(Part(core, "cyst", None, within, None, 0.8))
        return parts

    def _kidney(self, z: float, side: str) -> list[Part]:
        outline = self._outline(z, f"kidney {side}")
        if outline is None:
            return []
        label = f"kidney {side}"
        lump = self.lumps[label]
        parts = [Part(outline, "kidney cortex", label, "cavity", label, lump.obliqueness(z))]
        medulla = lump.cut(z, 0.74)
        if medulla is not None:
            parts.append(Part(medulla, "kidney medulla", None, label, None, 0.5))
        sinus = self._outline(z, f"sinus {side}")
        if sinus is not None:
            inwards = np.array((-14.0 if side == "left" else 14.0, -4.0))
            middle = sinus.mean(axis=0)
            parts.append(
                Part(sinus, "visceral fat", "" if self.traits["hollow"] < 0.6 else None, "cavity", None, 0.3)
            )
            parts.append(Part(_resized(sinus, 0.45) + 0.2 * inwards, "kidney pelvis", None, "cavity"))
            stem = np.stack((middle, middle + 2.4 * inwards))
            parts.append(Part(polyline(stem, 7), "vein", "", "cavity"))
            parts.append(Part(polyline(stem + np.array((0, 4)), 4), "artery", "", "cavity"))
        return parts + self._tumour_parts(z, f"cyst {side}", "cavity")

    def _back(self, z: float) -> list[Part]:
        """Muscles along the spine, the large vessels before it."""
        parts: list[Part] = []
        for side in ("right", "left"):
            sign = -1 if side == "right" else 1
            if z < 25:
                parts += self._lump_parts(z, f"psoas {side}", "muscle", f"psoas {side}")
            parts += self._lump_parts(z, f"back muscle {side}", "muscle", f"back muscle {side}")
            outline = self._outline(z, f"back muscle {side}")
            if outline is not None:  # fat between its strands
                middle = outline.mean(axis=0)
                strand = middle + np.array(((-9.0 * sign, -12.0), (0.0, 0.0), (3.0 * sign, 14.0)))
                parts.append(Part(polyline(strand, 1.5), "fat", None, "body", None, 0))
            if z < 110 and self.traits["crus"] < 0.8 and z > -30:
                crus = np.array(((sign * 3.0, -6.0), (sign * 16.0, 4.0), (sign * 24.0, 24.0)))
                parts.append(Part(polyline(crus, 5), "muscle", "", "body"))
        parts += self._lump_parts(z, "aorta", "artery", "aorta")
        parts += self._lump_parts(z, "vena cava", "vein", "vena cava")
        return parts

    def _vessels(self, z: float, thickness: float, name: str) -> Tubes:
        tree = self.trees.get(name)
        if tree is None:
            return Tubes(np.empty((0, 2, 2)), np.empty(0))
        # In a thick slice a vessel takes a part of the thickness only and is faint; shorter stands for it.
        return tree.cut(z, min(thickness, _MOST_VESSEL_MM))

    def _outline(self, z: float, name: str) -> Points | None:
        lump = self.lumps.get(name)
        return None if lump is None else lump.cut(z)

    def _lump_parts(
        self, z: float, name: str, tissue: str, label: str, within: str | None = "body"
    ) -> list[Part]:
        outline = self._outline(z, name)
        if outline is None:
            return []
        return [Part(outline, tissue, label, within, None, self.lumps[name].obliqueness(z))]

    def _spine(self, z: float) -> list[Part]:
        """A vertebra, or the disc between two; canal, arch and processes."""
        body = self._outline(z, "vertebra")
        if body is None:
            return []
        centre = body.mean(axis=0)
        height = (z / 31 + self.rib_phase) % 1  # vertebrae are some 31 mm apart
        disc = height < 0.22
        parts = [Part(body, "cortical bone", "spine", "body", None, 0.3)]
        inner = _resized(body, 0.94 if disc else 0.86)
        parts.append(Part(inner, "disc" if disc else "marrow", "disc" if disc else None, "body", None, 0.4))
        back = float(body[:, 1].max())
        canal = superellipse(11, 9, 2) + np.array((centre[0], back + 9))
        strokes = np.array(
            [
                [(-15, back), (-13, back + 18)],
                [(15, back), (13, back + 18)],
                [(-13, back + 18), (0, back + 25)],
                [(13, back + 18), (0, back + 25)],
            ]
        ) + np.array((centre[0], 0))
        parts.append(Part(Tubes(strokes, np.full(4, 8.0)), "cortical bone", "spine", "body"))
        if 0.35 < height < 0.8:
            wings = np.array([[(-15, back + 12), (-40, back + 20)], [(15, back + 12), (40, back + 20)]])
            tubes = Tubes(wings + np.array((centre[0], 0)), np.full(2, 7.0))
            parts.append(Part(tubes, "cortical bone", "spine", "body"))
        if height > 0.3:
            spike = np.array([[(0, back + 24), (0, back + 40 + 8 * height)]]) + np.array((centre[0], 0))
            parts.append(Part(Tubes(spike, np.array([7.0])), "cortical bone", "spine", "body"))
        parts.append(Part(Tubes(strokes, np.full(4, 3.5)), "marrow", None, "body"))
        parts.append(Part(canal, "canal", "", "body", None, 0.2))
        if self.traits["screws"] < 0.03 and 0.4 < height < 0.7:
            screws = np.array([[(-20, back + 22), (-7, back - 18)], [(20, back + 22), (7, back - 18)]])
            screws = screws + np.array((centre[0], 0))
            parts.append(Part(Tubes(screws, np.full(2, 5.0)), "metal", None, "body"))
        return parts

    def _ribs(self, z: float) -> list[Part]:
        """Ribs fall from the spine to the front, so a slice meets several on each side."""
        if z < -15:
            return []
        rim = self.cavity(z, -0.4 * self.wall_mm, chest=True)
        parts: list[Part] = []
        first = int(np.ceil((z / 25) - self.rib_phase))
        for step in range(5):
            number = first + step
            fall = (number + self.rib_phase) * 25 - z  # mm below the rib's start at the spine
            angle = np.pi * fall / 105  # 0 at the spine, pi at the breastbone
            # Floating ribs end early, and the front ends are cartilage.
            if not 0.3 < angle < min(2.65, 1.6 + z / 60):
                continue
            width = 0.032 * np.pi * (2.2 if angle < 0.7 else 1)  # half its length; long beside the spine
            index = (np.pi / 2 - np.linspace(angle - width, angle + width, 6)) / (2 * np.pi) % 1 * len(rim)
            x, y = (np.interp(index, range(len(rim) + 1), np.append(c, c[0])) for c in rim.T)
            for name, path in (("left", np.stack((x, y), axis=1)), ("right", np.stack((-x, y), axis=1))):
                label = f"rib {name} {number}"
                parts.append(Part(polyline(path, 7.5), "cortical bone", label, "body", None, 0.3))
                parts.append(Part(polyline(path[1:-1], 3.5), "marrow", None, "body", None, 0.3))
        return parts

    def _girdles(self, z: float) -> list[Part]:
        """Breastbone, shoulder blades, hip bones."""
        wide, deep = self._half_axes(z)
        parts: list[Part] = []
        if z > 95:
            plate = np.array(((-20.0, -deep + 7), (0, -deep + 4), (20, -deep + 7)))
            parts.append(Part(polyline(plate, 11), "cortical bone", "breastbone"))
            parts.append(Part(polyline(plate * (0.9, 1), 6), "marrow"))
        for side, name in ((-1, "right"), (1, "left")):
            if z > 165:
                blade = np.array(
                    ((0.5 * wide, deep + 1), (0.78 * wide, 0.68 * deep), (0.95 * wide, 0.3 * deep))
                )
                blade = blade * (side, 1)
                parts.append(Part(polyline(blade, 5), "cortical bone", f"shoulder blade {name}"))
            if z < -88 and self.traits["pelvis"] < 0.7:
                wing = np.array(((0.38, 0.66), (0.58, 0.6), (0.72, 0.4), (0.82, 0.1), (0.8, -0.15)))
                wing = wing * (side * wide, deep)
                parts.append(Part(polyline(wing, 12), "cortical bone", f"hip bone {name}"))
                parts.append(Part(polyline(wing, 6), "marrow"))
        return parts


def _resized(outline: Points, factor: float) -> Points:
    """An outline made larger or smaller about its middle."""
    middle = outline.mean(axis=0)
    return middle + (outline - middle) * factor


def _above(outline: Points, part: float) -> Points:
    """The front part of an outline, cut off by a level: gas over fluid in a patient who lies on the back."""
    top, bottom = outline[:, 1].min(), outline[:, 1].max()
    cut = outline.copy()
    cut[:, 1] = np.minimum(cut[:, 1], top + part * (bottom - top))
    return cut


def draw_hu(rng: np.random.Generator, randomise: float = 0.0) -> dict[str, float]:
    """Mean HU of every tissue, in one phase after the injection of contrast medium.

    Args:
        rng: Source of randomness.
        randomise: Chance that the soft tissues' are drawn far beyond what is plausible (domain
            randomisation: a network that cannot rely on HU looks at edges and at the clicks).
    """
    phase = PHASES[str(rng.choice(list(PHASES), p=(0.25, 0.2, 0.4, 0.15)))]
    means = {name: phase.get(name, (tissue.low, tissue.high)) for name, tissue in TISSUES.items()}
    hu = {name: float(rng.uniform(low, high)) for name, (low, high) in means.items()}
    if rng.random() < 0.15:  # a fatty liver
        hu["liver"] -= rng.uniform(15, 60)
    hu["liver tumour"] = min(hu["liver tumour"], hu["liver"] - 8) if rng.random() < 0.8 else hu["liver"] + 30
    if rng.random() < randomise:
        spread = rng.uniform(15, 70)
        for name in _RANDOMISED:
            hu[name] += float(rng.normal(0, spread))
    return hu


def _draw_lumps(rng: np.random.Generator, low: float, high: float) -> dict[str, Lump]:
    """Everything round that may be met between two heights."""
    lumps = {name: usual.draw(rng) for name, usual in _LUMPS.items() if usual.reaches(low, high)}
    for side, sign in (("right", -1), ("left", 1)):
        if f"kidney {side}" in lumps:
            x, y, z = map(float, lumps[f"kidney {side}"].centre + np.array((-sign * 13, -7, 0)))
            sinus = _Usual((x, y, z), (15, 9, 27), turn=-0.6 * sign, roughness=0.2, spread=0.15)
            lumps[f"sinus {side}"] = sinus.draw(rng)
    for number in range(int(rng.integers(16, 31))):
        x, y, z, wide, long, turn = map(float, rng.random(6))
        radius = 9 + 10 * wide
        loop = _Usual(
            (170 * x - 85, 74 * y - 66, 170 * z - 150),
            (radius * (1 + 1.2 * long), radius, radius * (1 + 1.5 * turn)),
            turn=np.pi * turn,
            curve=0.7 * wide,
            roughness=0.1,
        )
        if loop.reaches(low, high):
            lumps[f"loop {number}"] = loop.draw(rng)
    return lumps


# Where tumours grow: the middle of the organ, how far from it, and the largest radius.
_TUMOURS = {
    "liver tumour": ("liver tumour", (-70.0, 0.0, 30.0), (45.0, 50.0, 55.0), 38.0),
    "lung tumour right": ("lung tumour", (-80.0, 5.0, 155.0), (40.0, 55.0, 60.0), 26.0),
    "lung tumour left": ("lung tumour", (85.0, 10.0, 155.0), (35.0, 55.0, 60.0), 26.0),
}
# How often an organ has 0, 1, 2, ... of them.
_TUMOUR_COUNTS = (0.45, 0.2, 0.15, 0.1, 0.06, 0.04)


def _draw_tumours(rng: np.random.Generator, count: int | None) -> dict[str, Tumour]:
    """Tumours in the liver and the lungs, cysts in the liver and on the kidneys."""
    tumours: dict[str, Tumour] = {}
    for name, (tissue, middle, reach, largest) in _TUMOURS.items():
        number = int(rng.choice(len(_TUMOUR_COUNTS), p=_TUMOUR_COUNTS)) if count is None else count
        for index in range(number):
            radius = float(np.exp(rng.uniform(np.log(4 if count is None else 12), np.log(largest))))
            away = rng.uniform(-1, 1, 3) * reach * (1 if count is None else 0.4)
            x, y, z = map(float, np.array(middle) + away)
            lump = _Usual((x, y, z), (radius, radius, radius), roughness=0.12, orders=9).draw(rng)
            kind = "cyst" if tissue == "liver tumour" and rng.random() < 0.2 else tissue
            tumours[f"{name} {index}"] = Tumour(lump, kind, kind == tissue and rng.random() < 0.4)
    for side, sign in (("right", -1), ("left", 1)):
        if rng.random() < 0.2:
            radius = rng.uniform(5, 28)
            place = (sign * 88.0, 36.0, rng.uniform(-60, 20))
            cyst = _Usual(place, (radius, radius, radius), roughness=0.03).draw(rng)
            tumours[f"cyst {side}"] = Tumour(cyst, "cyst")
    return tumours


# Vessels and airways: root, how far the tree reaches, radius of its stem, daughters of each vessel.
_TREES: dict[str, tuple[tuple[float, float, float], tuple[float, float, float], float, tuple[int, ...]]] = {
    "portal": ((-28, -6, 12), (120, 100, 100), 6.5, (3, 3, 3)),
    "hepatic": ((-25, 6, 88), (120, 100, 100), 5.5, (4, 3, 3)),
    "lung right": ((-30, 6, 152), (95, 105, 130), 6.0, (5, 3, 3, 3, 2)),
    "lung left": ((34, 8, 150), (90, 105, 130), 6.0, (5, 3, 3, 3, 2)),
    "airways right": ((-28, 8, 160), (70, 80, 80), 3.5, (3, 2, 2)),
    "airways left": ((30, 8, 158), (70, 80, 80), 3.5, (3, 2, 2)),
    "mesentery": ((0, -10, -10), (150, 90, 150), 4.0, (5, 3, 3, 2)),
}


def _draw_trees(rng: np.random.Generator, low: float, high: float) -> dict[str, VesselTree]:
    return {
        name: VesselTree.draw(rng, root, reach, radius, generations)
        for name, (root, reach, radius, generations) in _TREES.items()
        if root[2] - reach[2] < high and low < root[2] + reach[2]
    }
