"""Outlines, tubes and smooth noise: the geometry that generated pictures are made of.

Points are (x, y): x runs right, y runs down, the patient's left and back in an upright axial picture. What is
drawn is moved, bent and warped as points; pixels are touched once, when an outline is filled (see
:mod:`isegm.phantom.canvas`). So a zoom costs nothing and blurs nothing.
"""

from dataclasses import dataclass
from statistics import NormalDist

import cv2
import numpy as np
import numpy.typing as npt

Points = npt.NDArray[np.float64]  # (N, 2)
Field = npt.NDArray[np.float32]  # (H, W)

# Vertices of an outline: a 200 px organ's chords stay within 0.2 px of its arcs.
_VERTICES = 56
_ANGLES = np.linspace(0, 2 * np.pi, _VERTICES, endpoint=False)
_CIRCLE = np.stack((np.cos(_ANGLES), np.sin(_ANGLES)), axis=1)
# Points between two control points of a spline.
_SPLINE_STEPS = 6
_QUANTILES = np.array([NormalDist().inv_cdf((i + 0.5) / 256) for i in range(256)], np.float32)


@dataclass(frozen=True)
class Tubes:
    """Straight pieces of tubes in a plane: vessels, ribs, the table.

    Attributes:
        segments: (S, 2, 2), the ends of each piece.
        widths: (S,) in the unit of the points.
    """

    segments: npt.NDArray[np.float64]
    widths: npt.NDArray[np.float64]


@dataclass(frozen=True)
class RadialShape:
    """A star-shaped outline about the origin, of mean radius about 1, that changes smoothly along z.

    The logarithm of its radius is a Fourier series of the angle whose terms shrink with their order, which
    gives the smooth, never self-crossing outlines of organs.

    Attributes:
        amplitudes: (K,) of the orders 2, 3, ... K + 1 (order 1 would only shift the shape).
        phases: (K,) in radians.
        drifts: (K,) radians that the phases turn for a step of 1 along the third axis.
    """

    amplitudes: npt.NDArray[np.float64]
    phases: npt.NDArray[np.float64]
    drifts: npt.NDArray[np.float64]

    @classmethod
    def draw(cls, rng: np.random.Generator, roughness: float, orders: int = 6) -> "RadialShape":
        """A random shape.

        Args:
            rng: Source of randomness.
            roughness: Standard deviation of the strongest term; 0 a circle, 0.1 an organ, 0.3 a star fish.
            orders: Terms of the series; more make finer lobes.
        """
        strengths, drifts = rng.standard_normal((2, orders))
        amplitudes = roughness * strengths / np.arange(1, orders + 1)
        return cls(amplitudes, 2 * np.pi * rng.random(orders), 0.8 * drifts)

    def outline(self, u: float = 0.0) -> Points:
        """The outline (N, 2) at ``u`` along the third axis."""
        orders = np.arange(2, len(self.amplitudes) + 2)
        waves = np.cos(np.outer(_ANGLES, orders) + self.phases + u * self.drifts)
        return np.exp(waves @ self.amplitudes)[:, None] * _CIRCLE


def superellipse(half_width: float, half_height: float, exponent: float = 2.4) -> Points:
    """A rounded box about the origin; exponent 2 is an ellipse, larger ones are squarer."""
    rounded = np.sign(_CIRCLE) * np.abs(_CIRCLE) ** (2 / exponent)
    return rounded * (half_width, half_height)


def rotate(points: Points, radians: float) -> Points:
    """Turn points about the origin, clockwise as seen in a picture."""
    cos, sin = np.cos(radians), np.sin(radians)
    return points @ np.array([[cos, sin], [-sin, cos]])


def bend(points: Points, curvature: float) -> Points:
    """Bend the plane so that the x axis becomes a circle: kidneys, the pancreas, crescents.

    Args:
        points: (N, 2).
        curvature: One over the circle's radius; 0 leaves the points as they are, positive ones make an
            arch, its ends down.
    """
    if abs(curvature) < 1e-6:
        return points
    radius = 1 / curvature
    angle = points[:, 0] * curvature
    reach = radius - points[:, 1]
    return np.stack((reach * np.sin(angle), radius - reach * np.cos(angle)), axis=1)


def spline(control: Points) -> Points:
    """A smooth closed outline through control points (Catmull-Rom).

    Args:
        control: (M, 2) in order, M >= 3.

    Returns:
        (M * 6, 2).
    """
    t = np.linspace(0, 1, _SPLINE_STEPS, endpoint=False)[None, :, None]
    before, start = np.roll(control, 1, axis=0)[:, None], control[:, None]
    end, after = np.roll(control, -1, axis=0)[:, None], np.roll(control, -2, axis=0)[:, None]
    curve = start + 0.5 * t * (
        (end - before)
        + t * ((2 * before - 5 * start + 4 * end - after) + t * (3 * (start - end) + after - before))
    )
    return curve.reshape(-1, 2)


def polyline(points: Points, width: float | npt.NDArray[np.float64]) -> Tubes:
    """The tube along points; ``width`` is one for all, or one a piece."""
    segments = np.stack((points[:-1], points[1:]), axis=1)
    return Tubes(segments, np.broadcast_to(np.asarray(width, np.float64), len(segments)))


def wander(rng: np.random.Generator, start: Points, step: float, steps: int, turn: float) -> Points:
    """A smooth random path.

    Args:
        rng: Source of randomness.
        start: (2,).
        step: Length of a step.
        steps: How many.
        turn: Standard deviation of the change of the turning rate, radians a step.

    Returns:
        (steps + 1, 2).
    """
    heading = rng.uniform(0, 2 * np.pi) + np.cumsum(np.cumsum(rng.normal(0, turn, steps)))
    moves = step * np.stack((np.cos(heading), np.sin(heading)), axis=1)
    return np.concatenate((start[None], start + np.cumsum(moves, axis=0)))


@dataclass(frozen=True)
class Warp:
    """A smooth random displacement of space: a few plane waves, evaluated at points only.

    Attributes:
        waves: (K, 3) wave vectors, radians a unit of x, y, z.
        phases: (K,) in radians.
        shifts: (K, 2), how far each wave moves a point in x and y.
    """

    waves: npt.NDArray[np.float64]
    phases: npt.NDArray[np.float64]
    shifts: npt.NDArray[np.float64]

    @classmethod
    def draw(
        cls, rng: np.random.Generator, shift: float, wavelength: float, z_wavelength: float = 150.0
    ) -> "Warp":
        """A random warp.

        Args:
            rng: Source of randomness.
            shift: Standard deviation of the displacement along each axis.
            wavelength: The shortest in the plane; the longest is three times that.
            z_wavelength: The shortest along z.
        """
        count = 6
        lengths = wavelength * rng.uniform(1, 3, count)
        angles = rng.uniform(0, 2 * np.pi, count)
        along_z = rng.uniform(-1, 1, count) * 2 * np.pi / z_wavelength
        waves = np.stack(
            (2 * np.pi / lengths * np.cos(angles), 2 * np.pi / lengths * np.sin(angles), along_z), axis=1
        )
        # A sine's variance is 1/2, and there are ``count`` of them.
        shifts = rng.normal(0, shift * np.sqrt(2 / count), (count, 2))
        return cls(waves, rng.uniform(0, 2 * np.pi, count), shifts)

    def apply(self, points: Points, z: float = 0.0) -> Points:
        """Points (..., 2) moved, in the plane ``z``."""
        return (
            points + np.sin(points @ self.waves[:, :2].T + z * self.waves[:, 2] + self.phases) @ self.shifts
        )


@dataclass(frozen=True)
class VesselTree:
    """A tree of straight vessels in space, each thinner than the one it leaves.

    Attributes:
        starts: (S, 3).
        ends: (S, 3).
        radii: (S,).
    """

    starts: npt.NDArray[np.float64]
    ends: npt.NDArray[np.float64]
    radii: npt.NDArray[np.float64]

    @classmethod
    def draw(
        cls,
        rng: np.random.Generator,
        root: tuple[float, float, float],
        reach: tuple[float, float, float],
        radius: float,
        generations: tuple[int, ...],
    ) -> "VesselTree":
        """A tree that fills an ellipsoid from its root.

        Args:
            rng: Source of randomness.
            root: Where the tree starts.
            reach: Semi-axes of the ellipsoid about the root.
            radius: Of the first generation; each next one has 0.68 of it (Murray's law for two to three
                daughters gives 0.69 to 0.79, and vessels taper).
            generations: How many daughters each vessel has, generation by generation.
        """
        tips = np.array([root], np.float64)
        heading = np.zeros((1, 3))
        starts, ends, radii = [], [], []
        for depth, daughters in enumerate(generations):
            tips, heading = np.repeat(tips, daughters, axis=0), np.repeat(heading, daughters, axis=0)
            heading = 0.7 * heading + rng.normal(0, 1, heading.shape)
            heading /= np.linalg.norm(heading, axis=1, keepdims=True)
            length = rng.uniform(0.25, 0.5, (len(tips), 1)) * 0.85**depth
            starts.append(tips)
            tips = tips + heading * length * reach
            ends.append(tips)
            radii.append(np.full(len(tips), radius * 0.68**depth))
        return cls(np.concatenate(starts), np.concatenate(ends), np.concatenate(radii))

    def cut(self, z: float, thickness: float) -> Tubes:
        """The part of the tree in a slice of that thickness about ``z``: dots, and streaks in the plane."""
        low, high = self.starts[:, 2], self.ends[:, 2]
        rise = high - low
        rise = np.where(np.abs(rise) < 1e-6, 1e-6, rise)
        at = np.sort(np.stack(((z - thickness / 2 - low) / rise, (z + thickness / 2 - low) / rise)), axis=0)
        first, last = np.clip(at, 0, 1)
        seen = (at[1] > 0) & (at[0] < 1)
        along = (self.ends - self.starts)[seen, :2]
        base = self.starts[seen, :2]
        ends = (base + first[seen, None] * along, base + last[seen, None] * along)
        return Tubes(np.stack(ends, axis=1), 2 * self.radii[seen])


def normals(rng: np.random.Generator, *shape: int) -> Field:
    """Standard normal noise from one random byte a value: ten times the speed of the exact distribution.

    The 256 values are quantiles of the normal distribution; the largest is 2.9.
    """
    content = np.frombuffer(rng.bytes(int(np.prod(shape))), np.uint8)
    return np.asarray(cv2.LUT(content, _QUANTILES), np.float32).reshape(shape)


def blurred(field: Field, sigma: float) -> Field:
    """A Gaussian blur cut off at 2.5 standard deviations: a third faster than cv2's own choice of 4."""
    size = 2 * int(np.ceil(2.5 * sigma)) + 1
    return np.asarray(cv2.GaussianBlur(field, (size, size), sigma), np.float32)


def noise_field(rng: np.random.Generator, height: int, width: int, cell: float) -> Field:
    """Smooth noise of mean 0 and standard deviation about 1, alike in all directions.

    White noise on a grid a few times finer than its bumps, blurred there, then interpolated linearly.

    Args:
        rng: Source of randomness.
        height: Of the field, in pixels.
        width: Of the field, in pixels.
        cell: About the size of a bump in pixels: twice the standard deviation of the blur.
    """
    step = min(8, max(1, int(cell / 3)))
    sigma = cell / (2 * step)
    white = normals(rng, height // step + 2, width // step + 2)
    # The blur leaves 1 / (2 sqrt(pi) sigma) of the standard deviation; a narrow one leaves a little less.
    white *= np.float32(2 * np.sqrt(np.pi) * max(sigma, 0.5))
    field = blurred(white, sigma)
    if step > 1:
        size = (width + 2 * step, height + 2 * step)
        field = np.asarray(cv2.resize(field, size, interpolation=cv2.INTER_LINEAR), np.float32)
    return field[:height, :width]
