"""Objects that nobody labelled: regions of a picture that its own edges bound.

Labels exist for few kinds of objects. Regions of any picture teach a network what the clicks' user wants of
objects that it has never seen.

Source: Wong et al., "ScribblePrompt: Fast and Flexible Interactive Segmentation for Any Biomedical Image",
ECCV 2024, whose synthetic labels are superpixels. Here they grow from random places until they meet at edges
(watershed), and those that look alike are joined.
"""

import math

import cv2
import numpy as np
import numpy.typing as npt

from isegm.metrics.overlap import Mask
from isegm.training.phantom_source import only_visible
from isegm.training.scenes import Scene

_SIDE = 256
"""Pixels of the shorter side at which regions are found."""
_PLACES = (15, 150)
"""How many places regions grow from, few as often as many."""
_BLUR = (0.6, 2.5)
"""Standard deviation of the Gaussian before, in pixels: less is more ragged."""
_ALIKE = (3.0, 25.0)
"""Grey levels by which neighbours that are joined may differ from the first region."""
_BLACK = 8
"""Of 255. Regions this dark are no part of an object, but air around it."""
_PARTS = (0.003, 0.25)
"""The least and the most of a picture that an object takes."""
_SMOOTHING = (3, 5, 7)
"""Sides of the median filter that smooths an outline, in pixels."""
_TRIES = 4
"""Regions tried, at most, to find one that can be an object."""


def take_region(share: float, scene: Scene, rng: np.random.Generator) -> Scene:
    """Take a region that nobody labelled in place of a scene's objects, now and then.

    Args:
        share: How often, 0 to 1.
        scene: With an image (H, W, 3).
        rng: The only source of chance.

    Returns:
        The scene with that region as object 1; ``scene`` itself if it is left alone, or no region was found.
    """
    if rng.random() >= share:
        return scene
    for _ in range(_TRIES):
        region = find_region(scene.image, rng)
        if region is not None:
            return Scene(scene.image, region.astype(np.int32), scene.is_ct)
    return scene


def find_region(image: npt.NDArray[np.uint8], rng: np.random.Generator) -> Mask | None:
    """Find a connected region that the picture's edges bound, at least along half of its outline.

    Args:
        image: (H, W, 3) RGB.
        rng: Where place and size come from.

    Returns:
        (H, W); None if what was found is too small, too large or black, or has no edge.
    """
    height, width = image.shape[:2]
    factor = min(1.0, _SIDE / min(height, width))
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    small = np.asarray(cv2.GaussianBlur(small, (0, 0), rng.uniform(*_BLUR)), np.uint8)
    count = round(math.exp(rng.uniform(*np.log(_PLACES))))
    markers = np.zeros(small.shape[:2], np.int32)
    places = rng.choice(markers.size, min(count, markers.size), replace=False)
    markers.ravel()[places] = np.arange(1, len(places) + 1)
    parts = np.asarray(cv2.watershed(small, markers.copy()), np.int32)
    # Lines between the parts are -1: they go to the part with the higher number, where there is one beside.
    beside = cv2.dilate(parts.astype(np.float32), np.ones((3, 3), np.uint8)).astype(np.int32)
    parts = np.where(parts > 0, parts, np.maximum(beside, 0))
    pixels = np.bincount(parts.ravel(), minlength=count + 1)
    sums = [np.bincount(parts.ravel(), small[..., c].ravel(), count + 1) for c in range(3)]
    means = np.stack(sums, axis=1) / np.maximum(pixels, 1)[:, None]
    bright = np.flatnonzero((pixels > 0) & (means.max(1) > _BLACK) & (np.arange(count + 1) > 0))
    if not len(bright):
        return None
    seed = int(bright[int(rng.integers(len(bright)))])
    most = math.exp(rng.uniform(*np.log(_ALIKE)))
    alike = (np.abs(means - means[seed]).max(1) <= most) & (means.max(1) > _BLACK)
    mask = cv2.medianBlur(alike[parts].view(np.uint8), int(rng.choice(_SMOOTHING)))
    _, pieces = cv2.connectedComponents(mask, connectivity=4)
    own = np.bincount(pieces[(parts == seed) & (mask > 0)])
    if not own.size or not _PARTS[0] <= (pieces == own.argmax()).mean() <= _PARTS[1]:
        return None
    mask = (pieces == own.argmax()).astype(np.float32)
    region = np.asarray(cv2.resize(mask, (width, height), interpolation=cv2.INTER_LINEAR)) > 0.5
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return region if only_visible(region.astype(np.int32), np.asarray(grey, np.uint8)).any() else None
