"""Scenes of generated CT, so that a network can be trained without anybody's data."""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from isegm.masks import Labels
from isegm.phantom.slices import random_slice
from isegm.training.ct_appearance import WindowJitter, random_window
from isegm.training.scenes import Scene
from isegm.volumes.windows import apply_window

_LEAST_CONTRAST = 4  # grey levels
_LEAST_OUTLINE = 0.5  # part of an object's outline
_SMOOTHING = 5  # pixels


@dataclass(frozen=True)
class PhantomSource:
    """Scenes of generated CT slices, each seen through a window of its own.

    Attributes:
        name: What messages call it.
        height: Pixels.
        width: Pixels.
        jitter: How far the window may be from a named one, where it is one.
        family: Which of the generator's families; None for all.
        notes: Lines that the user should read.
    """

    name: str
    height: int
    width: int
    jitter: WindowJitter
    family: str | None = None
    notes: tuple[str, ...] = ()

    def draw(self, rng: np.random.Generator) -> Scene:
        """Generate a slice and draw a window (:meth:`isegm.training.scenes.Source.draw`).

        What cannot be seen in that window is background. Nothing may be left.
        """
        phantom = random_slice(rng, self.height, self.width, self.family, beside=True)
        hu_of_objects = phantom.hu[phantom.labels > 0]
        hu = float(rng.choice(hu_of_objects)) if hu_of_objects.size else 0.0
        grey = apply_window(phantom.hu, random_window(hu, self.jitter, rng))
        return Scene.of_ct(grey, only_visible(phantom.labels, grey), phantom.beside)


def only_visible(labels: Labels, grey: npt.NDArray[np.uint8]) -> Labels:
    """Turn objects that nobody could outline into background.

    An object can be seen if along half of its outline the picture, smoothed over 5 pixels, is 4 grey levels
    lighter or darker than the object's mean.

    Args:
        labels: (H, W): 0 background, 1..n the objects, -1 ignored.
        grey: (H, W), the picture as it is shown.
    """
    smooth = cv2.blur(grey, (_SMOOTHING, _SMOOTHING)).astype(np.float32)
    visible = labels.copy()
    margin = _SMOOTHING
    for number in np.flatnonzero(np.bincount(labels[labels > 0])):
        left, top, width, height = cv2.boundingRect((labels == number).view(np.uint8))
        box = np.s_[
            max(0, top - margin) : top + height + margin, max(0, left - margin) : left + width + margin
        ]
        own = (labels[box] == number).view(np.uint8)
        # The smoothed picture mixes inside and outside this near to the edge.
        mixed = cv2.dilate(own, np.ones((_SMOOTHING, _SMOOTHING), np.uint8))
        beyond = cv2.dilate(mixed, np.ones((3, 3), np.uint8)) > mixed
        contrast = np.abs(smooth[box][beyond] - grey[box][own > 0].mean())
        if contrast.size == 0 or (contrast >= _LEAST_CONTRAST).mean() < _LEAST_OUTLINE:
            visible[box][own > 0] = 0
    return visible
