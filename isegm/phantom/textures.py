"""The artefacts that a CT scanner adds to the true HU: blur, noise, streaks, bias, rings.

Noise in reconstructed CT is not white: the reconstruction filter takes its low frequencies away and the
kernel its high ones, so it is band-limited, grainy, and stronger in the middle of a large body. Measured in
real abdominal slices: 10 to 40 HU; neighbours are correlated by 0.3 to 0.7, pixels three apart are not.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np

from isegm.phantom.shapes import Field, blurred, noise_field, normals

# 12-bit CT starts at -1024 and most scanners end at 3071.
MIN_HU, MAX_HU = -1024.0, 3071.0

# Size of the bumps of each grain in mm of the body: fine for trabecular bone and lung, medium for
# parenchyma, coarse for slow changes of perfusion.
GRAIN_MM = {"fine": 1.6, "medium": 4.0, "coarse": 22.0}

# HU from which streaks come: dense bone, contrast medium, metal.
_DENSE_HU = 700.0


def grains(rng: np.random.Generator, height: int, width: int, px_per_mm: float) -> dict[str, Field]:
    """The noise fields that textures are made of.

    Args:
        rng: Source of randomness.
        height: In pixels.
        width: In pixels.
        px_per_mm: Zoom.
    """
    return {
        name: noise_field(rng, height, width, max(1.2, size * px_per_mm)) for name, size in GRAIN_MM.items()
    }


@dataclass(frozen=True, kw_only=True)
class Scanner:
    """A scan's quality; the same for all slices of a volume.

    Attributes:
        pixel: Size of a native pixel in pixels of the picture, above 1 where the picture is an enlargement.
        noise_hu: Standard deviation of the noise in the middle of a body.
        grain_px: Standard deviation of the kernel's blur of the noise, in native pixels.
        low_cut: Part of the noise's low frequencies that is taken away, 0 to 1.
        blur_px: Standard deviation of the picture's blur, in native pixels.
        sharpening: Overshoot that an edge-enhancing kernel adds, 0 for none.
        starvation_hu: Strength of the horizontal streaks where the rays find too little light.
        streak_hu: Strength of the streaks from what is dense.
        bias_hu: Strength of the slow drift.
        cupping_hu: How much darker the middle is than the rim (beam hardening).
        ring_hu: Strength of rings about the centre of rotation, 0 nearly always.
    """

    pixel: float = 1.0
    noise_hu: float = 0.0
    grain_px: float = 0.7
    low_cut: float = 0.5
    blur_px: float = 0.6
    sharpening: float = 0.0
    starvation_hu: float = 0.0
    streak_hu: float = 0.0
    bias_hu: float = 0.0
    cupping_hu: float = 0.0
    ring_hu: float = 0.0

    @classmethod
    def draw(cls, rng: np.random.Generator, pixel: float = 1.0, most_noise_hu: float = 50.0) -> "Scanner":
        """A random scanner, dose and kernel.

        Args:
            rng: Source of randomness.
            pixel: Size of a native pixel in pixels of the picture, 1 or more.
            most_noise_hu: Standard deviation of the noise at the lowest dose, at least 8.
        """
        sharp = rng.random() < 0.25
        low, high = (0.3, 0.55) if sharp else (0.4, 0.95)
        return cls(
            pixel=pixel,
            # Some scans are thick slices or strongly denoised: nearly smooth.
            noise_hu=float(np.exp(rng.uniform(np.log(2), np.log(7))))
            if rng.random() < 0.15
            else float(np.exp(rng.uniform(np.log(8), np.log(most_noise_hu)))),
            grain_px=rng.uniform(low, high),
            low_cut=rng.uniform(0.2, 0.9),
            blur_px=rng.uniform(0.4, 0.6) if sharp else rng.uniform(0.45, 0.85),
            sharpening=rng.uniform(0.1, 0.6) if sharp else 0.0,
            starvation_hu=_sometimes(rng, 0.2, 3, 15),
            streak_hu=_sometimes(rng, 0.25, 5, 40),
            bias_hu=_sometimes(rng, 0.5, 1, 12),
            cupping_hu=_sometimes(rng, 0.3, 2, 20),
            ring_hu=_sometimes(rng, 0.03, 5, 25),
        )

    def scan(self, rng: np.random.Generator, hu: Field) -> Field:
        """The slice (H, W) as this scanner shows it.

        Args:
            rng: Source of randomness.
            hu: True HU.

        Returns:
            HU in [-1024, 3071].
        """
        # The native kernel, and the interpolation of an enlargement, which is about a box a pixel wide.
        blur = math.hypot(self.blur_px, 0.35 if self.pixel > 1 else 0.0) * self.pixel
        scanned = blurred(hu, blur)
        if self.sharpening:
            wider = blurred(scanned, 1.5 * self.pixel)
            scanned = scanned + np.float32(self.sharpening) * (scanned - wider)
        thickness = _attenuation(hu)
        if self.noise_hu:
            scanned += self._noise(rng, *hu.shape) * thickness
        if self.starvation_hu:
            scanned += np.float32(self.starvation_hu) * thickness * _starvation(rng, *hu.shape)
        if self.streak_hu:
            scanned += _streaks(rng, hu, self.streak_hu)
        if self.bias_hu:
            bias = noise_field(rng, hu.shape[0], hu.shape[1], max(hu.shape) / 3)
            scanned += np.float32(self.bias_hu) * bias
        if self.cupping_hu:
            scanned -= np.float32(self.cupping_hu) * (thickness - thickness.mean())
        if self.ring_hu:
            scanned += np.float32(self.ring_hu) * _rings(rng, *hu.shape)
        return np.clip(scanned, MIN_HU, MAX_HU, out=scanned)

    def _noise(self, rng: np.random.Generator, height: int, width: int) -> Field:
        rows, cols = (max(8, math.ceil(size / self.pixel)) for size in (height, width))
        noise = blurred(normals(rng, rows, cols), self.grain_px)
        # The mean over a window of some 5 pixels holds the low frequencies.
        noise -= np.float32(self.low_cut) * cv2.blur(noise, (5, 5))
        if (rows, cols) != (height, width):
            noise = np.asarray(cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC), np.float32)
        noise *= np.float32(self.noise_hu / max(float(cv2.meanStdDev(noise)[1][0, 0]), 1e-6))
        return noise


def _sometimes(rng: np.random.Generator, chance: float, low: float, high: float) -> float:
    """A number between low and high, uniform in its logarithm, or 0."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high)))) if rng.random() < chance else 0.0


def _attenuation(hu: Field) -> Field:
    """About how strongly rays through a pixel are weakened: 0.35 in air, up to some 1.1 deep in the body."""
    height, width = hu.shape
    small = cv2.resize(hu, (max(8, width // 16), max(8, height // 16)), interpolation=cv2.INTER_AREA)
    small = np.clip(small * np.float32(1e-3) + 1, 0, 1.3)
    small = 0.35 + 0.65 * np.asarray(cv2.GaussianBlur(small, (0, 0), 2.5, borderType=cv2.BORDER_REFLECT))
    return np.asarray(cv2.resize(small.astype(np.float32), (width, height)), np.float32)


def _starvation(rng: np.random.Generator, height: int, width: int) -> Field:
    """Unit noise drawn out along the rows, as between the shoulders, the arms or the hips."""
    coarse = normals(rng, height, max(3, width // 60))
    drawn = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(cv2.blur(drawn, (1, 2)), np.float32)


def _streaks(rng: np.random.Generator, hu: Field, strength: float) -> Field:
    """Bright and dark rays from one or two dense places; none where nothing is dense.

    Worked out at half the resolution: streaks are smooth along their length, and no finer than that across.
    """
    height, width = hu.shape
    rows, cols = np.nonzero(hu[::4, ::4] > _DENSE_HU)
    if not len(rows):
        return np.zeros_like(hu)
    y, x = np.indices((height // 2 + 1, width // 2 + 1), np.float32)
    total = np.zeros_like(x)
    for _ in range(int(rng.integers(1, 3))):
        chosen = int(rng.integers(len(rows)))
        radius, angle = cv2.cartToPolar(x - 2 * int(cols[chosen]), y - 2 * int(rows[chosen]))
        rays = normals(rng, 1, 257)
        rays[0, -1] = rays[0, 0]
        profile = np.asarray(cv2.resize(rays, (1024, 1), interpolation=cv2.INTER_CUBIC))[0]
        index = (np.asarray(angle) * np.float32(1023 / (2 * np.pi))).astype(np.int32)
        total += profile[index] / (1 + np.asarray(radius) * np.float32(2 / rng.uniform(15, 90)))
    return np.asarray(np.float32(strength) * cv2.resize(total, (width, height)), np.float32)


def _rings(rng: np.random.Generator, height: int, width: int) -> Field:
    """Faint circles about the centre of rotation, of detector elements that are off."""
    y, x = np.ogrid[:height, :width]
    centre = rng.normal((height / 2, width / 2), (height / 12, width / 12))
    radius = np.hypot(y - centre[0], x - centre[1])
    profile = rng.standard_normal(int(radius.max()) + 2) * (rng.random(int(radius.max()) + 2) < 0.15)
    return np.asarray(profile[radius.astype(np.int32)], np.float32)
