"""Objects of other pictures pasted into a training picture: few labelled pictures then show many scenes.

Source: Ghiasi et al., "Simple Copy-Paste is a Strong Data Augmentation Method for Instance Segmentation",
CVPR 2021. One object at a time here, turned as well, with an edge as soft as the picture's own may be.
"""

import math

import cv2
import numpy as np
import numpy.typing as npt

from isegm.errors import InputError
from isegm.masks import Labels
from isegm.training.phantom_source import only_visible
from isegm.training.scenes import Scene, Source

_DRAWS = 8
"""Pictures drawn, at most, to find one of the same kind that has an object."""
_SCALES = (0.5, 1.6)
"""Factors of its size, relative to the picture's shorter side, that an object is pasted at."""
_LARGEST = 0.7
"""The most of the picture's height or width that what is pasted takes."""
_LEAST_PIXELS = 64
"""Objects of fewer are not taken, and not pasted."""
_SOFTNESS = (0.4, 1.5)
"""Standard deviation of the Gaussian that softens the edge, in pixels."""
_PLACES = 8
"""Places tried, at most, to find one where the picture is not black."""
_BLACK = 8
"""The most that any channel of a black pixel is, of 255."""
_GREY_SHIFT = 60.0
"""Grey levels, of 255, by which an object in CT is at most made lighter or darker."""
_MARGIN = 5
"""Pixels around the object that come along, for the edge."""


def paste_another(source: Source, share: float, scene: Scene, rng: np.random.Generator) -> Scene:
    """Paste an object of another scene of a source into one of its scenes, now and then.

    Photographs go into photographs and CT into CT, windowed as either may be: what is generated into what was
    scanned, and the other way round.

    Args:
        source: Where the other scene is drawn. A file of it that cannot be used is passed over: what is said
            of it is said when it is drawn as a scene.
        share: How often, 0 to 1.
        scene: As it was drawn from ``source``.
        rng: The only source of chance.

    Returns:
        What :func:`paste` makes of it; ``scene`` itself if it is left alone, or nothing was found to paste.
    """
    if rng.random() >= share:
        return scene
    for _ in range(_DRAWS):
        try:
            other = source.draw(rng)
        except (InputError, OSError):
            continue
        if other.is_ct == scene.is_ct and (labels := _large_enough(other.labels)):
            return paste(scene, other, labels[int(rng.integers(len(labels)))], rng)
    return scene


def paste(scene: Scene, other: Scene, label: int, rng: np.random.Generator) -> Scene:
    """Paste an object of another scene somewhere into a scene, mirrored, turned and scaled.

    It covers what was there, and gets a number of its own. Half of the time objects in CT are made lighter or
    darker. One that nobody could outline where it has come to lie is not pasted.

    Args:
        scene: With an image (H, W, 3).
        other: Of any size; its object keeps its size relative to the picture's shorter side but for a factor.
        label: The object's number in ``other.labels``.
        rng: Where place, size and turn come from.

    Returns:
        Another scene; nothing is known of the slice beside it. ``scene`` itself if nothing was pasted.
    """
    image, mask = _cut_out(other, label, rng)
    shape = scene.labels.shape
    factor = min(shape) / min(other.labels.shape) * math.exp(rng.uniform(*np.log(_SCALES)))
    factor = min(factor, *(_LARGEST * side / own for side, own in zip(shape, mask.shape, strict=True)))
    size = tuple(max(1, round(side * factor)) for side in mask.shape)
    interpolation = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    image = np.asarray(cv2.resize(image, size[::-1], interpolation=interpolation), np.uint8)
    cover = np.asarray(
        cv2.resize(mask.astype(np.float32), size[::-1], interpolation=interpolation), np.float32
    )
    middle = _place(scene.image, rng)
    rows, cols = (_strips(*lengths) for lengths in zip(middle, shape, size, strict=True))
    image, cover = image[rows[1], cols[1]], cover[rows[1], cols[1]]
    pasted = cover > 0.5
    if pasted.sum() < _LEAST_PIXELS:
        return scene
    shift = rng.uniform(-_GREY_SHIFT, _GREY_SHIFT) if scene.is_ct and rng.random() < 0.5 else 0.0
    soft = cv2.GaussianBlur(cover, (0, 0), rng.uniform(*_SOFTNESS))[..., None]
    box = (rows[0], cols[0])
    mixed = scene.image.copy()
    mixed[box] = np.rint(mixed[box] + soft * ((image + shift).clip(0, 255) - mixed[box])).astype(np.uint8)
    alone = np.zeros_like(scene.labels)
    alone[box][pasted] = 1
    if not only_visible(alone, mixed[:, :, 1]).any():
        return scene
    labels = scene.labels.copy()
    labels[box][pasted] = max(0, labels.max()) + 1
    return Scene(mixed, labels, scene.is_ct)


def _large_enough(labels: Labels) -> list[int]:
    pixels = np.bincount(labels[labels > 0])
    return [int(number) for number in np.flatnonzero(pixels >= _LEAST_PIXELS)]


def _cut_out(
    scene: Scene, label: int, rng: np.random.Generator
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
    """An object with a margin, its image and mask, perhaps mirrored, and turned by some right angle."""
    own = scene.labels == label
    left, top, width, height = cv2.boundingRect(own.view(np.uint8))
    box = np.s_[
        max(0, top - _MARGIN) : top + height + _MARGIN, max(0, left - _MARGIN) : left + width + _MARGIN
    ]
    image, mask, quarters = scene.image[box], own[box], int(rng.integers(4))
    if rng.random() < 0.5:
        image, mask = image[:, ::-1], mask[:, ::-1]
    return np.ascontiguousarray(np.rot90(image, quarters)), np.ascontiguousarray(np.rot90(mask, quarters))


def _place(image: npt.NDArray[np.uint8], rng: np.random.Generator) -> tuple[int, int]:
    """Where the middle of what is pasted comes to lie: not where it is black, as air around a body is."""
    for _ in range(_PLACES):
        row, col = (int(rng.integers(side)) for side in image.shape[:2])
        if image[row, col].max() > _BLACK:
            break
    return row, col


def _strips(middle: int, side: int, own: int) -> tuple[slice, slice]:
    """What of something around ``middle`` lies in the picture: the part of the side, and its own part."""
    start = middle - own // 2
    inside = slice(max(0, start), min(side, start + own))
    return inside, slice(inside.start - start, inside.stop - start)
